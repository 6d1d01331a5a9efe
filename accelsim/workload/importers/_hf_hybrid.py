"""What the configurations of hybrid models say, as fields of the `hybrid` family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.workload.importers._hf_fields import Fields

__all__ = ["HARMLESS", "MODEL_TYPES"]

HARMLESS: Final = frozenset(
    [
        "attention_hidden_size",
        "kv_channels",
        "max_position_embeddings",
        "num_logits_to_keep",
        "num_query_groups",
        "time_step_floor",
        "time_step_limit",
        "time_step_max",
        "time_step_min",
        "use_associative_scan",
        "use_long_context",
        "use_mamba_kernels",
        "use_mambapy",
        "use_mem_eff_path",
        "mamba_headdim",
    ]
)
"""Fields without influence on shapes, or that follow from others."""

_ACTIVATIONS: Final[Mapping[str, str]] = {
    "silu": "silu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh",
}  # fmt: skip


def _activation(fields: Fields, default: str) -> str:
    name = fields.get("hidden_act", default)
    if name not in _ACTIVATIONS:
        raise fields.error("hidden_act", f"activation `{name}` is not supported")
    return _ACTIVATIONS[name]


def _jamba(fields: Fields) -> dict[str, Any]:
    layers = fields.need("num_hidden_layers")
    period, offset = fields.get("attn_layer_period", 8), fields.get("attn_layer_offset", 4)
    fields.refuse("mamba_proj_bias", "a bias on the mixer's projections")
    if not fields.get("mamba_conv_bias", True):
        raise fields.error("mamba_conv_bias", "a convolution without bias is not supported")
    width, rank = fields.need("hidden_size"), fields.get("mamba_dt_rank", "auto")
    experts = fields.get("num_experts", 16)
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "vocab_size": fields.need("vocab_size"),
        "tie_word_embeddings": fields.get("tie_word_embeddings", False),
        "layer_types": tuple(
            "attention" if layer % period == offset else "mamba" for layer in range(layers)
        ),
        "intermediate_size": fields.need("intermediate_size"),
        "activation": _activation(fields, "silu"),
        "num_attention_heads": fields.need("num_attention_heads"),
        "num_key_value_heads": fields.get("num_key_value_heads", 8),
        "state_size": fields.get("mamba_d_state", 16),
        "conv_kernel": fields.get("mamba_d_conv", 4),
        "expand": fields.get("mamba_expand", 2),
        "time_step_rank": -(-width // 16) if rank == "auto" else rank,
        "num_local_experts": experts if experts > 1 else 0,
        "num_experts_per_tok": fields.get("num_experts_per_tok", 2) if experts > 1 else 0,
        "expert_layer_period": fields.get("expert_layer_period", 2),
        "expert_layer_offset": fields.get("expert_layer_offset", 1),
    }


def _zamba2(fields: Fields) -> dict[str, Any]:
    for name, what in (
        ("add_bias_linear", "a bias on the projections"),
        ("use_shared_attention_adapter", "adapters of the shared attention"),
    ):
        fields.refuse(name, what)
    types = fields.get("layers_block_type")
    ids = fields.get("hybrid_layer_ids")
    if ids is None:
        if types is None:
            raise fields.error("hybrid_layer_ids", "is missing, and so is layers_block_type")
        ids = [layer for layer, kind in enumerate(types) if kind == "hybrid"]
    width = fields.need("hidden_size")
    heads = fields.need("num_attention_heads")
    if not fields.get("use_conv_bias", True):
        raise fields.error("use_conv_bias", "a convolution without bias is not supported")
    return {
        "hidden_size": width,
        "num_hidden_layers": fields.need("num_hidden_layers"),
        "vocab_size": fields.need("vocab_size"),
        "tie_word_embeddings": fields.get("tie_word_embeddings", True),
        "layer_types": ("mamba2",),
        "mlp_every_layer": False,
        "intermediate_size": fields.get("intermediate_size") or 4 * width,
        "activation": _activation(fields, "gelu"),
        "num_attention_heads": heads,
        "num_key_value_heads": fields.get("num_key_value_heads"),
        "head_dim": fields.get("attention_head_dim") or 2 * width // heads,
        "rotary": fields.get("use_mem_rope", False),
        "state_size": fields.get("mamba_d_state", 64),
        "conv_kernel": fields.get("mamba_d_conv", 4),
        "expand": fields.get("mamba_expand", 2),
        "scan_heads": fields.get("n_mamba_heads", 8),
        "scan_groups": fields.get("mamba_ngroups", 1),
        "chunk_size": fields.get("chunk_size", 256),
        "shared_attention_layers": tuple(ids),
        "shared_blocks": fields.get("num_mem_blocks", 1),
        "adapter_rank": fields.get("adapter_rank", 128),
    }


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    "jamba": _jamba,
    "zamba2": _zamba2,
}
"""Model type -> the function that maps its fields."""
