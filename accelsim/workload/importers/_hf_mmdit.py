"""What diffusers' configurations of SD3, FLUX and HunyuanVideo say, for the `mmdit` family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.workload.importers._diffusers import COMMON
from accelsim.workload.importers._hf_fields import Fields

__all__ = ["HARMLESS", "MODEL_TYPES"]

HARMLESS: Final = COMMON | frozenset(
    ["axes_dims_rope", "pos_embed_max_size", "rope_axes_dim", "rope_theta"]
)
"""Fields without influence on shapes."""


def _sd3(fields: Fields) -> dict[str, Any]:
    heads, width = fields.get("num_attention_heads", 18), fields.get("attention_head_dim", 64)
    if fields.get("caption_projection_dim", 1152) != heads * width:
        raise fields.error("caption_projection_dim", f"is not the stream's width {heads * width}")
    dual = list(fields.get("dual_attention_layers", ()))
    if dual != list(range(len(dual))):
        raise fields.error("dual_attention_layers", "only the first layers may be dual")
    norm = fields.get("qk_norm")
    if norm not in (None, "rms_norm"):
        raise fields.error("qk_norm", f"`{norm}` is not supported")
    side, patch = 8 * fields.get("sample_size", 128), fields.get("patch_size", 2)
    return {
        "num_attention_heads": heads,
        "attention_head_dim": width,
        "num_layers": fields.get("num_layers", 18),
        "in_channels": fields.get("in_channels", 16),
        "out_channels": fields.get("out_channels", 16),
        "patch_size": (1, patch, patch),
        "sample_size": (side, side),
        "text_dim": fields.get("joint_attention_dim", 4096),
        "text_tokens": 333,
        "pooled_dim": fields.get("pooled_projection_dim", 2048),
        "qk_norm": "rmsnorm" if norm else "",
        "context_pre_only": True,
        "dual_attention_layers": len(dual),
    }


def _flux(fields: Fields) -> dict[str, Any]:
    packed = fields.get("in_channels", 64)
    if packed % 4 or fields.get("out_channels", packed) != packed:
        raise fields.error("in_channels", "must be 4 latents' channels, as many out as in")
    if fields.get("patch_size", 1) != 1:
        raise fields.error("patch_size", "only 1 is supported: latents are packed beforehand")
    return {
        "num_attention_heads": fields.get("num_attention_heads", 24),
        "attention_head_dim": fields.get("attention_head_dim", 128),
        "num_layers": fields.get("num_layers", 19),
        "num_single_layers": fields.get("num_single_layers", 38),
        "in_channels": packed // 4,
        "out_channels": packed // 4,
        "patch_conv": False,
        "sample_size": (1024, 1024),
        "text_dim": fields.get("joint_attention_dim", 4096),
        "text_tokens": 512,
        "pooled_dim": fields.get("pooled_projection_dim", 768),
        "guidance_embeds": fields.get("guidance_embeds", False),
        "qk_norm": "rmsnorm",
        "rotary": True,
    }


def _hunyuan_video(fields: Fields) -> dict[str, Any]:
    fields.refuse("image_condition_type", "conditioning on an image")
    if fields.get("mlp_ratio", 4.0) != 4 or fields.get("qk_norm", "rms_norm") != "rms_norm":
        raise fields.error("mlp_ratio", "only an mlp_ratio of 4 and rms_norm are supported")
    side, frames = fields.get("patch_size", 2), fields.get("patch_size_t", 1)
    return {
        "num_attention_heads": fields.get("num_attention_heads", 24),
        "attention_head_dim": fields.get("attention_head_dim", 128),
        "num_layers": fields.get("num_layers", 20),
        "num_single_layers": fields.get("num_single_layers", 40),
        "refiner_layers": fields.get("num_refiner_layers", 2),
        "in_channels": fields.get("in_channels", 16),
        "out_channels": fields.get("out_channels", 16),
        "patch_size": (frames, side, side),
        "sample_size": (720, 1280),
        "sample_frames": 129,
        "vae_frames": 4,
        "text_dim": fields.get("text_embed_dim", 4096),
        "text_tokens": 256,
        "pooled_dim": fields.get("pooled_projection_dim", 768),
        "guidance_embeds": fields.get("guidance_embeds", True),
        "qk_norm": "rmsnorm",
        "rotary": True,
    }


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    "FluxTransformer2DModel": _flux,
    "HunyuanVideoTransformer3DModel": _hunyuan_video,
    "SD3Transformer2DModel": _sd3,
}
"""Class of diffusers -> the function that maps its fields."""
