"""What diffusers' configurations of UNets say, as fields of the `unet` family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.workload.importers._diffusers import COMMON, each
from accelsim.workload.importers._hf_fields import Fields

__all__ = ["HARMLESS", "MODEL_TYPES"]

HARMLESS: Final = COMMON | frozenset(
    [
        "addition_embed_type_num_heads",
        "addition_time_embed_dim",
        "attention_type",
        "center_input_sample",
        "conv_in_kernel",
        "conv_out_kernel",
        "downsample_padding",
        "flip_sin_to_cos",
        "freq_shift",
        "mid_block_scale_factor",
        "motion_max_seq_length",
        "resnet_out_scale_factor",
        "time_embedding_type",
        "upcast_attention",
        "up_block_types",
        "mid_block_type",
        "resnet_time_scale_shift",
        "temporal_transformer_layers_per_block",
        "temporal_transformer_layers_per_mid_block",
        "mid_block_layers",
    ]
)
"""Fields without influence on shapes, or that only their usual value is accepted of."""

_USUAL: Final[Mapping[str, Any]] = {
    "mid_block_type": "UNetMidBlock2DCrossAttn", "resnet_time_scale_shift": "default",
    "conv_in_kernel": 3, "conv_out_kernel": 3, "attention_type": "default",
    "time_embedding_type": "positional", "temporal_transformer_layers_per_block": 1,
    "temporal_transformer_layers_per_mid_block": 1, "mid_block_layers": 1,
}  # fmt: skip


def _unet(fields: Fields) -> dict[str, Any]:
    for name, usual in _USUAL.items():
        if fields.get(name, usual) != usual:
            raise fields.error(name, f"only `{usual}` is supported")
    widths = tuple(fields.get("block_out_channels", (320, 640, 1280, 1280)))
    types = fields.get("down_block_types") or (
        *("CrossAttnDownBlock2D",) * (len(widths) - 1), "DownBlock2D",
    )  # fmt: skip
    depths = each(fields.get("transformer_layers_per_block", 1), len(widths))
    heads = fields.get("num_attention_heads") or fields.get("attention_head_dim", 8)
    fields.get("attention_head_dim")
    added = fields.get("addition_embed_type")
    if added not in (None, "text_time"):
        raise fields.error("addition_embed_type", f"`{added}` is not supported")
    return {
        "sample_size": fields.get("sample_size") or 64,
        "in_channels": fields.get("in_channels", 4),
        "out_channels": fields.get("out_channels", 4),
        "block_out_channels": widths,
        "layers_per_block": fields.get("layers_per_block", 2),
        "transformer_layers_per_block": tuple(
            depth if "CrossAttn" in kind else 0 for depth, kind in zip(depths, types, strict=True)
        ),
        "mid_layers": depths[-1],
        # diffusers calls the number of heads `attention_head_dim`.
        "num_attention_heads": each(heads, len(widths)),
        "cross_attention_dim": fields.get("cross_attention_dim", 1280),
        "use_linear_projection": fields.get("use_linear_projection", False),
        "added_dim": fields.get("projection_class_embeddings_input_dim") or 0,
    }


def _motion(fields: Fields) -> dict[str, Any]:
    heads = fields.get("motion_num_attention_heads", 8)
    if isinstance(heads, (list, tuple)):
        raise fields.error("motion_num_attention_heads", "one number is supported, not a list")
    return {
        **_unet(fields),
        "motion": True,
        "motion_heads": heads,
        "motion_mid": fields.get("use_motion_mid_block", True),
    }


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    "UNet2DConditionModel": _unet,
    "UNetMotionModel": _motion,
}
"""Class of diffusers -> the function that maps its fields."""
