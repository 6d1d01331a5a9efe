"""What convolutional networks in transformers say, as fields of the `convnet` family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.workload.importers._hf_fields import Fields
from accelsim.workload.importers._vision import COMMON, classes, function, head_of, square

__all__ = ["HARMLESS", "MODEL_TYPES"]

HARMLESS: Final = COMMON | {"classifier_dropout_prob", "depth_divisible_by", "tf_padding"}
"""Fields without influence on shapes; TensorFlow's padding leaves the sizes as they are."""

_MOBILENET_V2: Final = (
    (1, 16, 1), (2, 24, 2), (3, 32, 2), (4, 64, 2), (3, 96, 1), (3, 160, 2), (1, 320, 1),
)  # fmt: skip
"""Blocks, channels and stride of each stage (modeling_mobilenet_v2.py)."""


def _head(fields: Fields, prefix: str) -> dict[str, Any]:
    heads = {f"{prefix}ForImageClassification": "classifier", f"{prefix}Model": ""}
    return {
        "num_channels": fields.get("num_channels", 3),
        "image_size": square(fields, "image_size", 224),
        "num_classes": classes(fields) if head_of(fields, heads) else 0,
    }


def _resnet(fields: Fields) -> dict[str, Any]:
    kind = fields.get("layer_type", "bottleneck")
    if kind not in ("basic", "bottleneck"):
        raise fields.error("layer_type", f"`{kind}` is not known", "legal: basic, bottleneck")
    widths = fields.get("hidden_sizes", (256, 512, 1024, 2048))
    depths = fields.get("depths", (3, 4, 6, 3))
    if len(widths) != len(depths):
        raise fields.error("depths", "depths and hidden_sizes need as many entries")
    first = 2 if fields.get("downsample_in_first_stage") else 1
    return {
        **_head(fields, "ResNet"),
        "block": kind,
        "stem": fields.get("embedding_size", 64),
        "stride_first": bool(fields.get("downsample_in_bottleneck")) and kind == "bottleneck",
        "activation": function(fields, "relu"),
        "stages": [
            {"channels": width, "blocks": depth, "stride": 2 if stage else first}
            for stage, (width, depth) in enumerate(zip(widths, depths, strict=True))
        ],
    }


def _convnext(fields: Fields) -> dict[str, Any]:
    widths = fields.get("hidden_sizes", (96, 192, 384, 768))
    depths = fields.get("depths", (3, 3, 9, 3))
    if len(widths) != len(depths):
        raise fields.error("depths", "depths and hidden_sizes need as many entries")
    scale = fields.get("layer_scale_init_value", 1e-6)
    return {
        **_head(fields, "ConvNext"),
        "block": "convnext",
        "stem": widths[0],
        "stem_patch": square(fields, "patch_size", 4),
        "layer_scale": scale > 0,
        "activation": function(fields, "gelu"),
        "stages": [
            {"channels": width, "blocks": depth, "stride": 2 if stage else 1}
            for stage, (width, depth) in enumerate(zip(widths, depths, strict=True))
        ],
    }


def _mobilenet_v1(fields: Fields) -> dict[str, Any]:
    times, least = fields.get("depth_multiplier", 1.0), fields.get("min_depth", 8)
    stages = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))
    return {
        **_head(fields, "MobileNetV1"),
        "block": "separable",
        "stem": max(int(32 * times), least),
        "activation": function(fields, "relu6"),
        "stages": [
            {"channels": max(int(width * times), least), "blocks": blocks, "stride": stride}
            for width, blocks, stride in stages
        ],
    }


def _divisible(value: int, divisor: int, least: int) -> int:
    """Round to a multiple of a divisor, but not down by more than a tenth."""
    rounded = max(least, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def _mobilenet_v2(fields: Fields) -> dict[str, Any]:
    if fields.get("output_stride", 32) != 32:
        raise fields.error("output_stride", "dilated convolutions are not supported")
    if not fields.get("first_layer_is_expansion", True):
        raise fields.error("first_layer_is_expansion", "an expansion in the stem is not supported")
    ratio = fields.get("expand_ratio", 6.0)
    if ratio != int(ratio):
        raise fields.error("expand_ratio", f"{ratio} is no whole number")
    times, divisor = fields.get("depth_multiplier", 1.0), fields.get("depth_divisible_by", 8)
    least = fields.get("min_depth", 8)

    def wide(channels: int) -> int:
        return _divisible(round(channels * times), divisor, least)

    fine = fields.get("finegrained_output", True) and times < 1
    return {
        **_head(fields, "MobileNetV2"),
        "block": "inverted",
        "stem": wide(32),
        "activation": function(fields, "relu6"),
        "head_channels": 1280 if fine else wide(1280),
        "stages": [
            {"channels": wide(width), "blocks": blocks, "stride": stride,
             "expansion": int(ratio) if stage else 1}
            for stage, (blocks, width, stride) in enumerate(_MOBILENET_V2)
        ],
    }  # fmt: skip


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    "convnext": _convnext,
    "mobilenet_v1": _mobilenet_v1,
    "mobilenet_v2": _mobilenet_v2,
    "resnet": _resnet,
}
"""Model type -> the function that maps its fields."""
