"""What diffusers' configurations of DiT, PixArt and Wan say, as fields of the `dit` family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.workload.importers._diffusers import COMMON
from accelsim.workload.importers._hf_fields import Fields

__all__ = ["HARMLESS", "MODEL_TYPES"]

HARMLESS: Final = COMMON | frozenset(
    [
        "attention_type",
        "cross_attention_dim",
        "freq_dim",
        "interpolation_scale",
        "num_vector_embeds",
        "only_cross_attention",
        "rope_max_seq_len",
        "use_linear_projection",
        "double_self_attention",
    ]
)
"""Fields without influence on shapes."""


def _transformer(fields: Fields, heads: int, width: int, layers: int) -> dict[str, Any]:
    if not fields.get("attention_bias", True):
        raise fields.error("attention_bias", "projections without biases are not supported")
    given = {
        "num_attention_heads": fields.get("num_attention_heads", heads),
        "attention_head_dim": fields.get("attention_head_dim", width),
        "num_layers": fields.get("num_layers", layers),
    }
    return given


def _square(fields: Fields, default: int) -> tuple[int, int]:
    side = 8 * (fields.get("sample_size") or default)
    return side, side


def _image(fields: Fields) -> dict[str, Any]:
    sizes = _transformer(fields, 16, 72, 28)
    patch, channels = fields.get("patch_size", 2), fields.get("in_channels", 4)
    return {
        **sizes,
        "ffn_dim": 4 * sizes["num_attention_heads"] * sizes["attention_head_dim"],
        "in_channels": channels,
        "out_channels": fields.get("out_channels") or channels,
        "patch_size": (1, patch, patch),
    }


def _dit(fields: Fields) -> dict[str, Any]:
    return {
        **_image(fields),
        "sample_size": _square(fields, 32),
        "conditioning": "per_layer",
        "embedder_per_layer": True,
        "num_classes": fields.get("num_embeds_ada_norm", 1000) + 1,
    }


def _pixart(fields: Fields) -> dict[str, Any]:
    values = _image(fields)
    hidden = values["num_attention_heads"] * values["attention_head_dim"]
    side = fields.get("sample_size") or 128
    extra = fields.get("use_additional_conditions")
    return {
        **values,
        "out_channels": fields.get("out_channels", 8),
        "sample_size": _square(fields, 128),
        "size_embedding": hidden // 3 if (side == 128 if extra is None else extra) else None,
        "text_dim": fields.need("caption_channels"),
        "text_tokens": 120,
    }


def _wan(fields: Fields) -> dict[str, Any]:
    for name in ("image_dim", "added_kv_proj_dim", "pos_embed_seq_len"):
        fields.refuse(name, "conditioning on an image")
    norm = fields.get("qk_norm", "rms_norm_across_heads")
    if norm != "rms_norm_across_heads":
        raise fields.error("qk_norm", f"`{norm}` is not supported")
    return {
        **_transformer(fields, 40, 128, 40),
        "ffn_dim": fields.get("ffn_dim", 13824),
        "in_channels": fields.get("in_channels", 16),
        "out_channels": fields.get("out_channels", 16),
        "patch_size": tuple(fields.get("patch_size", (1, 2, 2))),
        "sample_size": (480, 832),
        "sample_frames": 81,
        "vae_frames": 4,
        "text_dim": fields.get("text_dim", 4096),
        "cross_norm": fields.get("cross_attn_norm", True),
        "qk_norm": "rmsnorm_all",
        "cross_qk_norm": True,
        "rotary": True,
    }


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    "DiTTransformer2DModel": _dit,
    "PixArtTransformer2DModel": _pixart,
    "WanTransformer3DModel": _wan,
}
"""Class of diffusers -> the function that maps its fields."""
