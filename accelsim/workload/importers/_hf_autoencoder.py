"""What diffusers' configuration of AutoencoderKL says, as fields of the `autoencoder` family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.workload.importers._diffusers import COMMON
from accelsim.workload.importers._hf_fields import Fields

__all__ = ["HARMLESS", "MODEL_TYPES"]

HARMLESS: Final = COMMON | frozenset(
    [
        "force_upcast",
        "latents_mean",
        "latents_std",
        "scaling_factor",
        "shift_factor",
        "out_channels",
    ]
)
"""Fields without influence on shapes."""


def _autoencoder(fields: Fields) -> dict[str, Any]:
    widths = tuple(fields.get("block_out_channels", (64,)))
    for name, usual in (
        ("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D"),
    ):  # fmt: skip
        given = fields.get(name, [usual] * len(widths))
        if set(given) != {usual} or len(given) != len(widths):
            raise fields.error(name, f"only `{usual}` is supported, one per resolution")
    quant = fields.get("use_quant_conv", True)
    if fields.get("use_post_quant_conv", True) != quant:
        raise fields.error("use_post_quant_conv", "differs from use_quant_conv")
    return {
        "sample_size": fields.get("sample_size", 32),
        "in_channels": fields.get("in_channels", 3),
        "latent_channels": fields.get("latent_channels", 4),
        "block_out_channels": widths,
        "layers_per_block": fields.get("layers_per_block", 1),
        "use_quant_conv": quant,
        "mid_block_add_attention": fields.get("mid_block_add_attention", True),
    }


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    "AutoencoderKL": _autoencoder
}
"""Class of diffusers -> the function that maps its fields."""
