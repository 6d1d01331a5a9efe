"""What diffusers' configuration of CogVideoX says, as fields of the `cogvideox` family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.workload.importers._diffusers import COMMON
from accelsim.workload.importers._hf_fields import Fields

__all__ = ["HARMLESS", "MODEL_TYPES"]

HARMLESS: Final = COMMON | frozenset(
    [
        "flip_sin_to_cos",
        "freq_shift",
        "spatial_interpolation_scale",
        "temporal_interpolation_scale",
        "timestep_activation_fn",
    ]
)
"""Fields without influence on shapes."""


def _cogvideox(fields: Fields) -> dict[str, Any]:
    for name, what in (
        ("ofs_embed_dim", "an embedding of the offset"),
        ("patch_size_t", "patches over frames (CogVideoX 1.5)"),
        ("use_learned_positional_embeddings", "learned positions"),
    ):
        fields.refuse(name, what)
    for name in ("attention_bias", "patch_bias"):
        if not fields.get(name, True):
            raise fields.error(name, "layers without biases are not supported")
    patch = fields.get("patch_size", 2)
    return {
        "num_attention_heads": fields.get("num_attention_heads", 30),
        "attention_head_dim": fields.get("attention_head_dim", 64),
        "num_layers": fields.get("num_layers", 30),
        "in_channels": fields.get("in_channels", 16),
        "out_channels": fields.get("out_channels", 16),
        "patch_size": (1, patch, patch),
        "time_embed_dim": fields.get("time_embed_dim", 512),
        "text_embed_dim": fields.get("text_embed_dim", 4096),
        "max_text_seq_length": fields.get("max_text_seq_length", 226),
        "rotary": fields.get("use_rotary_positional_embeddings", False),
        "sample_size": (8 * fields.get("sample_height", 60), 8 * fields.get("sample_width", 90)),
        "sample_frames": fields.get("sample_frames", 49),
        "vae_frames": fields.get("temporal_compression_ratio", 4),
    }


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    "CogVideoXTransformer3DModel": _cogvideox
}
"""Class of diffusers -> the function that maps its fields."""
