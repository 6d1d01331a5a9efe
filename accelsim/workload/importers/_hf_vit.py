"""What vision transformers in transformers say, as fields of the `vit` family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.workload.importers._hf_fields import Fields
from accelsim.workload.importers._vision import COMMON, classes, function, head_of, pair, square

__all__ = ["HARMLESS", "MODEL_TYPES", "dinov2"]

HARMLESS: Final = COMMON
"""Fields without influence on shapes."""


def _sizes(fields: Fields, patch: int) -> dict[str, Any]:
    return {
        "hidden_size": fields.get("hidden_size", 768),
        "num_hidden_layers": fields.get("num_hidden_layers", 12),
        "num_attention_heads": fields.get("num_attention_heads", 12),
        "image_size": pair(fields, "image_size", 224),
        "patch_size": square(fields, "patch_size", patch),
        "num_channels": fields.get("num_channels", 3),
    }


def _vit(prefix: str, extra: int) -> Callable[[Fields], dict[str, Any]]:
    """Return the reader of ViT or of DeiT, which have 1 and 2 tokens besides the patches."""

    def read(fields: Fields) -> dict[str, Any]:
        heads = {f"{prefix}ForImageClassification": "classifier", f"{prefix}Model": "pooler"}
        teacher = f"{prefix}ForImageClassificationWithTeacher"
        if extra == 2:
            heads[teacher] = "classifier"
        head, sizes = head_of(fields, heads), _sizes(fields, 16)
        width = fields.get("pooler_output_size", sizes["hidden_size"])
        if head == "pooler" and (
            width != sizes["hidden_size"] or fields.get("pooler_act", "tanh") != "tanh"
        ):
            raise fields.error("pooler_output_size", "another pooler than the usual one")
        return {
            **sizes,
            "intermediate_size": fields.get("intermediate_size", 3072),
            "activation": function(fields, "gelu"),
            "qkv_bias": fields.get("qkv_bias", True),
            "extra_tokens": extra,
            "classifiers": 2 if (fields.get("architectures") or [""])[0] == teacher else 1,
            "num_classes": classes(fields),
            "head": head,
        }

    return read


def dinov2(fields: Fields, patch: int = 14) -> dict[str, Any]:
    """Map the encoder of DINOv2, without its head; `patch` is the default of its patches."""
    sizes = _sizes(fields, patch)
    wide, gated = int(sizes["hidden_size"] * fields.get("mlp_ratio", 4)), False
    if fields.get("use_swiglu_ffn"):
        # Two thirds, rounded up to a multiple of 8 (modeling_dinov2.py).
        wide, gated = (int(wide * 2 / 3) + 7) // 8 * 8, True
    return {
        **sizes,
        "intermediate_size": wide,
        "activation": "silu" if gated else function(fields, "gelu"),
        "gated": gated,
        "qkv_bias": fields.get("qkv_bias", True),
        "layer_scale": True,
        "mask_token": fields.get("use_mask_token", True),
        "head": "none",
    }


def _dinov2(prefix: str, registers: int, patch: int) -> Callable[[Fields], dict[str, Any]]:
    """Return the reader of DINOv2 with so many registers and pixels of a patch by default."""

    def read(fields: Fields) -> dict[str, Any]:
        heads = {f"{prefix}Model": "none", f"{prefix}ForImageClassification": "class_and_mean"}
        fields.get("hidden_act")  # of no use in a gated MLP
        return {
            **dinov2(fields, patch),
            "register_tokens": fields.get("num_register_tokens", registers) if registers else 0,
            "head": head_of(fields, heads),
            "num_classes": classes(fields),
        }

    return read


def _clip_vision(fields: Fields) -> dict[str, Any]:
    heads = {"CLIPVisionModel": "class_token", "CLIPVisionModelWithProjection": "projection"}
    head, width = head_of(fields, heads), fields.get("projection_dim", 512)
    return {
        **_sizes(fields, 32),
        "intermediate_size": fields.get("intermediate_size", 3072),
        "activation": function(fields, "quick_gelu"),
        "patch_bias": False,
        "first_norm": True,
        "head": head,
        "projection_dim": width if head == "projection" else None,
    }


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    "clip_vision_model": _clip_vision,
    "deit": _vit("DeiT", 2),
    "dinov2": _dinov2("Dinov2", 0, 14),
    "dinov2_with_registers": _dinov2("Dinov2WithRegisters", 4, 16),
    "vit": _vit("ViT", 1),
}
"""Model type -> the function that maps its fields."""
