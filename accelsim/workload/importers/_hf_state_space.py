"""What the configurations of state-space models say, as fields of the `state_space` family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.workload.importers._hf_fields import Fields

__all__ = ["HARMLESS", "MODEL_TYPES"]

HARMLESS: Final = frozenset(
    [
        "hidden_act",
        "mixer_rms_eps",
        "rescale_prenorm_residual",
        "residual_in_fp32",
        "time_step_floor",
        "time_step_init_scheme",
        "time_step_limit",
        "time_step_max",
        "time_step_min",
        "time_step_scale",
        "use_associative_scan",
        "use_falcon_mambapy",
        "use_mambapy",
        "fused_add_norm",
        "ssm_cfg",
        "d_model",
        "n_layer",
    ]
)
"""Fields without influence on shapes."""


def _mamba(fields: Fields) -> dict[str, Any]:
    width = fields.need("hidden_size")
    rank = fields.get("time_step_rank", "auto")
    expand = fields.get("expand", 2)
    return {
        "mixer": "mamba",
        "hidden_size": width,
        "num_hidden_layers": fields.need("num_hidden_layers"),
        "vocab_size": fields.need("vocab_size"),
        "intermediate_size": fields.get("intermediate_size") or expand * width,
        "state_size": fields.get("state_size", 16),
        "conv_kernel": fields.get("conv_kernel", 4),
        "time_step_rank": -(-width // 16) if rank == "auto" else rank,
        "use_bias": fields.get("use_bias", False),
        "use_conv_bias": fields.get("use_conv_bias", True),
        "tie_word_embeddings": fields.get("tie_word_embeddings", True),
    }


def _falcon_mamba(fields: Fields) -> dict[str, Any]:
    return {**_mamba(fields), "plain_norms": True}


def _mamba2(fields: Fields) -> dict[str, Any]:
    fields.get("time_step_rank")  # written by transformers, read by no layer of this type
    width = fields.need("hidden_size")
    return {
        "mixer": "mamba2",
        "hidden_size": width,
        "num_hidden_layers": fields.need("num_hidden_layers"),
        "vocab_size": fields.need("vocab_size"),
        "intermediate_size": int(fields.get("expand", 2) * width),
        "num_heads": fields.need("num_heads"),
        "head_dim": fields.get("head_dim", 64),
        "n_groups": fields.get("n_groups", 8),
        "chunk_size": fields.get("chunk_size", 256),
        "state_size": fields.get("state_size", 128),
        "conv_kernel": fields.get("conv_kernel", 4),
        "use_bias": fields.get("use_bias", False),
        "use_conv_bias": fields.get("use_conv_bias", True),
        "tie_word_embeddings": fields.get("tie_word_embeddings", False),
    }


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    "falcon_mamba": _falcon_mamba,
    "mamba": _mamba,
    "mamba2": _mamba2,
}
"""Model type -> the function that maps its fields."""
