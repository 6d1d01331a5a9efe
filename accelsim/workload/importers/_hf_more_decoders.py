"""Decoders with latent attention, chunks, parallel layers or norms of their own.

Defaults are those of the type's configuration class in transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.errors import nearest
from accelsim.workload.importers._hf_fields import Fields

__all__ = ["MORE_TYPES"]

_ACTIVATIONS: Final[Mapping[str, str]] = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "silu": "silu",
    "relu": "relu",
}  # fmt: skip


def _activation(fields: Fields, key: str, default: str) -> str:
    name = fields.get(key, default)
    if name not in _ACTIVATIONS:
        raise fields.error(
            key, f"activation `{name}` is not supported", nearest(name, _ACTIVATIONS)
        )
    return _ACTIVATIONS[name]


def _sizes(fields: Fields) -> dict[str, Any]:
    return {
        "hidden_size": fields.need("hidden_size"),
        "num_hidden_layers": fields.need("num_hidden_layers"),
        "num_attention_heads": fields.need("num_attention_heads"),
        "vocab_size": fields.need("vocab_size"),
        "max_position_embeddings": fields.get("max_position_embeddings"),
    }


def _deepseek(fields: Fields) -> dict[str, Any]:
    for name in ("num_key_value_heads", "head_dim", "qk_head_dim", "topk_method", "n_group",
                 "topk_group", "routed_scaling_factor", "scoring_func", "rope_interleave",
                 "num_nextn_predict_layers", "ep_size", "aux_loss_alpha", "seq_aux",
                 "moe_layer_freq"):  # fmt: skip
        fields.get(name)  # of routing weights, rotation and training; they change no shape
    fields.refuse("attention_bias", "a bias on the attention's projections")
    freq = fields.get("moe_layer_freq", 1)
    if freq != 1:
        raise fields.error("moe_layer_freq", f"experts in every {freq}th layer")
    layers = fields.need("num_hidden_layers")
    dense = min(layers, fields.get("first_k_dense_replace", 0))
    return {
        **_sizes(fields),
        "attention": "latent",
        "q_lora_rank": fields.get("q_lora_rank"),
        "kv_lora_rank": fields.need("kv_lora_rank"),
        "qk_nope_head_dim": fields.need("qk_nope_head_dim"),
        "qk_rope_head_dim": fields.need("qk_rope_head_dim"),
        "v_head_dim": fields.need("v_head_dim"),
        "intermediate_size": fields.need("intermediate_size"),
        "num_local_experts": fields.need("n_routed_experts"),
        "num_experts_per_tok": fields.need("num_experts_per_tok"),
        "moe_intermediate_size": fields.need("moe_intermediate_size"),
        "num_shared_experts": fields.get("n_shared_experts", 0),
        "first_k_dense_replace": dense,
        "activation": _activation(fields, "hidden_act", "silu"),
        "gated": True,
        "norm": "rmsnorm",
        "tie_word_embeddings": fields.get("tie_word_embeddings", False),
    }


def _falcon(fields: Fields) -> dict[str, Any]:
    fields.refuse("alibi", "ALiBi")
    sizes, new = _sizes(fields), fields.get("new_decoder_architecture", False)
    heads, bias = sizes["num_attention_heads"], fields.get("bias", False)
    multi, given = fields.get("multi_query", True), fields.get("num_kv_heads")
    parallel = new or fields.get("parallel_attn", True)
    norms = fields.get("num_ln_in_parallel_attn") or (2 if new else 1)
    return {
        **sizes,
        "num_key_value_heads": (given or heads) if new else (1 if multi else heads),
        "intermediate_size": fields.get("ffn_hidden_size") or 4 * sizes["hidden_size"],
        "activation": _activation(fields, "activation", "gelu"),
        "gated": False,
        "norm": "layernorm",
        "parallel": parallel,
        "parallel_norms": norms if parallel else 1,
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": bias,
        "tie_word_embeddings": fields.get("tie_word_embeddings", True),
    }


def _phi(fields: Fields) -> dict[str, Any]:
    fields.refuse("qk_layernorm", "a norm of query and key")
    fields.get("partial_rotary_factor")
    return {
        **_sizes(fields),
        "num_key_value_heads": fields.get("num_key_value_heads"),
        "intermediate_size": fields.need("intermediate_size"),
        "activation": _activation(fields, "hidden_act", "gelu_new"),
        "gated": False,
        "norm": "layernorm",
        "parallel": True,
        "qkv_bias": True,
        "output_bias": True,
        "mlp_bias": True,
        "lm_head_bias": True,
        "tie_word_embeddings": fields.get("tie_word_embeddings", False),
    }


def _gemma(fields: Fields) -> dict[str, Any]:
    fields.refuse("attention_bias", "a bias on the attention's projections")
    fields.refuse("use_bidirectional_attention", "attention in both directions")
    fields.get("hidden_act")  # of Gemma the exact GELU was a mistake in old files
    return {
        **_sizes(fields),
        "num_key_value_heads": fields.get("num_key_value_heads"),
        "head_dim": fields.get("head_dim", 256),
        "intermediate_size": fields.need("intermediate_size"),
        "activation": _activation(fields, "hidden_activation", "gelu_pytorch_tanh"),
        "gated": True,
        "norm": "rmsnorm",
        "tie_word_embeddings": fields.get("tie_word_embeddings", True),
    }


def _gemma2(fields: Fields) -> dict[str, Any]:
    for name in ("query_pre_attn_scalar", "final_logit_softcapping", "attn_logit_softcapping"):
        fields.get(name)  # scales and caps of scores: no shape depends on them
    layers = fields.need("num_hidden_layers")
    alternate = ["full_attention" if i % 2 else "sliding_attention" for i in range(layers)]
    return {
        **_gemma(fields),
        "post_norms": True,
        "sliding_window": fields.get("sliding_window", 4096),
        "layer_types": tuple(fields.get("layer_types") or alternate),
    }


def _llama4_text(fields: Fields) -> dict[str, Any]:
    for name in ("use_qk_norm", "no_rope_layers", "no_rope_layer_interval", "moe_layers",
                 "attn_temperature_tuning", "floor_scale", "attn_scale"):  # fmt: skip
        fields.get(name)  # norms without weights, rotation and scales: no shape depends on them
    fields.refuse("attention_bias", "a bias on the attention's projections")
    layers = fields.need("num_hidden_layers")
    every_fourth = ["full_attention" if i % 4 == 3 else "chunked_attention" for i in range(layers)]
    types = tuple(fields.get("layer_types") or every_fourth)
    chunk = fields.get("attention_chunk_size", 8192)
    return {
        **_sizes(fields),
        "num_key_value_heads": fields.get("num_key_value_heads", 8),
        "head_dim": fields.get("head_dim", 128),
        "intermediate_size": fields.get("intermediate_size_mlp", 16384),
        "num_local_experts": fields.get("num_local_experts", 16),
        "num_experts_per_tok": fields.get("num_experts_per_tok", 1),
        "moe_intermediate_size": fields.get("intermediate_size", 8192),
        "num_shared_experts": 1,
        "decoder_sparse_step": fields.get("interleave_moe_layer_step", 1),
        "attention_chunk_size": chunk if "chunked_attention" in types else None,
        "layer_types": types,
        "activation": _activation(fields, "hidden_act", "silu"),
        "gated": True,
        "norm": "rmsnorm",
        "tie_word_embeddings": fields.get("tie_word_embeddings", False),
    }


def _ernie_moe(fields: Fields) -> dict[str, Any]:
    layers = fields.need("num_hidden_layers")
    first, last = fields.get("moe_layer_start_index", 1), fields.get("moe_layer_end_index", -1)
    last = layers - 1 if last == -1 else last
    if fields.get("moe_layer_interval", 1) != 1:
        raise fields.error("moe_layer_interval", "only 1 is supported")
    bias = fields.get("use_bias", False)
    fields.get("moe_norm_min")
    return {
        **_sizes(fields),
        "num_key_value_heads": fields.get("num_key_value_heads"),
        "head_dim": fields.get("head_dim"),
        "intermediate_size": fields.need("intermediate_size"),
        "num_local_experts": fields.need("moe_num_experts"),
        "num_experts_per_tok": fields.need("moe_k"),
        "moe_intermediate_size": fields.need("moe_intermediate_size"),
        "num_shared_experts": fields.get("moe_num_shared_experts", 2),
        "router_bias": True,  # a correction of the scores, a parameter in transformers
        "mlp_only_layers": tuple(i for i in range(layers) if not first <= i <= last),
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": bias,
        "activation": _activation(fields, "hidden_act", "silu"),
        "gated": True,
        "norm": "rmsnorm",
        "tie_word_embeddings": fields.get("tie_word_embeddings", True),
    }


MORE_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "ernie4_5_moe": _ernie_moe,
    "falcon": _falcon,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "kimi_k2": _deepseek,
    "llama4_text": _llama4_text,
    "phi": _phi,
}
"""Model type -> the function that maps its fields."""
