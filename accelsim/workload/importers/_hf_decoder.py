"""What each Hugging Face ``model_type`` says in its configuration, as fields of a decoder.

Defaults are those of the type's configuration class in transformers, for files that leave a field
out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.errors import nearest
from accelsim.workload.importers._hf_fields import Fields
from accelsim.workload.importers._hf_more_decoders import MORE_TYPES

__all__ = ["MODEL_TYPES"]

_ACTIVATIONS: Final[Mapping[str, str]] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
}


def _activation(fields: Fields, key: str, default: str) -> str:
    name = fields.get(key, default)
    if name not in _ACTIVATIONS:
        raise fields.error(
            key, f"activation `{name}` is not supported", nearest(name, _ACTIVATIONS)
        )
    return _ACTIVATIONS[name]


def _gpt2(fields: Fields) -> dict[str, Any]:
    width = fields.need("n_embd")
    fields.refuse("add_cross_attention", "cross-attention")
    return {
        "hidden_size": width,
        "num_hidden_layers": fields.need("n_layer"),
        "num_attention_heads": fields.need("n_head"),
        "intermediate_size": fields.get("n_inner") or 4 * width,
        "vocab_size": fields.need("vocab_size"),
        "max_position_embeddings": fields.need("n_positions"),
        "activation": _activation(fields, "activation_function", "gelu_new"),
        "gated": False,
        "norm": "layernorm",
        "positions": "learned",
        "qkv_bias": True,
        "output_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": fields.get("tie_word_embeddings", True),
    }


def _gpt_bigcode(fields: Fields) -> dict[str, Any]:
    heads = 1 if fields.get("multi_query", True) else fields.need("n_head")
    fields.get("num_key_value_heads")  # written by transformers 5, follows from multi_query
    return {**_gpt2(fields), "num_key_value_heads": heads}


def _opt(fields: Fields) -> dict[str, Any]:
    width, bias = fields.need("hidden_size"), fields.get("enable_bias", True)
    if fields.get("word_embed_proj_dim", width) != width:
        raise fields.error(
            "word_embed_proj_dim", "embeddings of another width than hidden_size (OPT-350m)"
        )
    if not fields.get("do_layer_norm_before", True):
        raise fields.error("do_layer_norm_before", "norms after the residual (OPT-350m)")
    if not fields.get("layer_norm_elementwise_affine", True):
        raise fields.error("layer_norm_elementwise_affine", "norms without weights")
    fields.refuse("_remove_final_layer_norm", "no final norm")
    return {
        "hidden_size": width,
        "num_hidden_layers": fields.need("num_hidden_layers"),
        "num_attention_heads": fields.need("num_attention_heads"),
        "intermediate_size": fields.need("ffn_dim"),
        "vocab_size": fields.need("vocab_size"),
        "max_position_embeddings": fields.need("max_position_embeddings"),
        "activation": _activation(fields, "activation_function", "relu"),
        "gated": False,
        "norm": "layernorm",
        "positions": "learned",
        "position_offset": 2,  # OPTLearnedPositionalEmbedding.offset
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": bias,
        "tie_word_embeddings": fields.get("tie_word_embeddings", True),
    }


def _llama_like(fields: Fields, *, kv_heads: int | None = None) -> dict[str, Any]:
    """Map what Llama and its descendants share.

    `kv_heads` is the type's default for a file that does not say; None is as many as heads.
    """
    rotated = fields.get("partial_rotary_factor")  # a field of its own before transformers 5
    rotated = rotated or fields.get("rope_parameters", {}).get("partial_rotary_factor", 1.0)
    if rotated != 1.0:
        raise fields.error("partial_rotary_factor", "heads rotated in part are not supported")
    return {
        "hidden_size": fields.need("hidden_size"),
        "num_hidden_layers": fields.need("num_hidden_layers"),
        "num_attention_heads": fields.need("num_attention_heads"),
        "num_key_value_heads": fields.get("num_key_value_heads", kv_heads),
        "head_dim": fields.get("head_dim"),
        "intermediate_size": fields.need("intermediate_size"),
        "vocab_size": fields.need("vocab_size"),
        "max_position_embeddings": fields.get("max_position_embeddings"),
        "activation": _activation(fields, "hidden_act", "silu"),
        "gated": True,
        "norm": "rmsnorm",
        "tie_word_embeddings": fields.get("tie_word_embeddings", False),
    }


def _attention_bias(fields: Fields) -> dict[str, Any]:
    bias = fields.get("attention_bias", False)
    return {"qkv_bias": bias, "output_bias": bias}


def _llama(fields: Fields) -> dict[str, Any]:
    mlp_bias = fields.get("mlp_bias", False)
    return {**_llama_like(fields), **_attention_bias(fields), "mlp_bias": mlp_bias}


def _mistral(fields: Fields) -> dict[str, Any]:
    window = fields.get("sliding_window", 4096)  # MistralConfig's default, where it is not named
    return {**_llama_like(fields, kv_heads=8), "sliding_window": window}


def _phi3(fields: Fields) -> dict[str, Any]:
    window = fields.get("sliding_window")
    longest = fields.get("max_position_embeddings")
    if window and longest and window >= longest:
        window = None  # a window as long as any sequence masks nothing
    return {**_llama_like(fields), "sliding_window": window}


def _mixtral(fields: Fields) -> dict[str, Any]:
    dims = _llama_like(fields, kv_heads=8)
    return {
        **dims,
        "intermediate_size": None,
        "moe_intermediate_size": dims["intermediate_size"],
        "num_local_experts": fields.get("num_local_experts", 8),
        "num_experts_per_tok": fields.get("num_experts_per_tok", 2),
        "sliding_window": fields.get("sliding_window"),
    }


def _windowed_layers(fields: Fields, layers: int) -> dict[str, Any]:
    """Map Qwen's windows: off by default; on, from layer ``max_window_layers`` to the last."""
    window, first = fields.get("sliding_window"), fields.get("max_window_layers", 28)
    types = fields.get("layer_types")
    if not fields.get("use_sliding_window", False):
        return {}
    types = types or ["full_attention"] * min(first, layers) + ["sliding_attention"] * max(
        0, layers - first
    )
    if "sliding_attention" not in types:
        return {}
    return {"sliding_window": window, "layer_types": tuple(types)}


def _qwen2(fields: Fields) -> dict[str, Any]:
    dims = _llama_like(fields, kv_heads=32)
    return {**dims, **_windowed_layers(fields, dims["num_hidden_layers"]), "qkv_bias": True}


def _qwen3(fields: Fields) -> dict[str, Any]:
    dims = {**_llama_like(fields, kv_heads=32), **_attention_bias(fields)}
    dims["head_dim"] = dims["head_dim"] or 128
    return {**dims, **_windowed_layers(fields, dims["num_hidden_layers"]), "qk_norm": True}


def _qwen_experts(fields: Fields) -> dict[str, Any]:
    return {
        "num_local_experts": fields.get("num_experts") or fields.need("num_local_experts"),
        "num_experts_per_tok": fields.need("num_experts_per_tok"),
        "moe_intermediate_size": fields.need("moe_intermediate_size"),
        "decoder_sparse_step": fields.get("decoder_sparse_step", 1),
        "mlp_only_layers": tuple(fields.get("mlp_only_layers") or ()),
    }


def _qwen2_moe(fields: Fields) -> dict[str, Any]:
    dims = _llama_like(fields, kv_heads=16)
    return {
        **dims,
        **_windowed_layers(fields, dims["num_hidden_layers"]),
        **_qwen_experts(fields),
        "qkv_bias": fields.get("qkv_bias", True),
        "shared_expert_intermediate_size": fields.need("shared_expert_intermediate_size"),
        "shared_expert_gate": True,
    }


def _qwen3_moe(fields: Fields) -> dict[str, Any]:
    window = fields.get("sliding_window") if fields.get("use_sliding_window", False) else None
    fields.get("max_window_layers")  # written by transformers 4, read by no layer of this type
    return {
        **_llama_like(fields, kv_heads=4),
        **_attention_bias(fields),
        **_qwen_experts(fields),
        "qk_norm": True,
        "sliding_window": window,
    }


def _starcoder2(fields: Fields) -> dict[str, Any]:
    bias = fields.get("use_bias", True)
    return {
        **_llama_like(fields, kv_heads=2),
        "activation": _activation(fields, "hidden_act", "gelu_pytorch_tanh"),
        "gated": False,
        "norm": "layernorm",
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": bias,
        "sliding_window": fields.get("sliding_window"),
        "tie_word_embeddings": fields.get("tie_word_embeddings", True),
    }


def _gpt_oss(fields: Fields) -> dict[str, Any]:
    dims = _llama_like(fields, kv_heads=8)
    dims["head_dim"] = dims["head_dim"] or 64
    layers = dims["num_hidden_layers"]
    alternate = ["full_attention" if i % 2 else "sliding_attention" for i in range(layers)]
    bias = fields.get("attention_bias", True)
    return {
        **dims,
        "intermediate_size": None,
        "moe_intermediate_size": dims["intermediate_size"],
        "num_local_experts": fields.need("num_local_experts"),
        "num_experts_per_tok": fields.get("num_experts_per_tok", 4),
        "router_bias": True,
        "expert_bias": True,
        "qkv_bias": bias,
        "output_bias": bias,
        "attention_sinks": True,
        "sliding_window": fields.get("sliding_window", 128),
        "layer_types": tuple(fields.get("layer_types") or alternate),
    }


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    **MORE_TYPES,
    "gpt2": _gpt2,
    "gpt_bigcode": _gpt_bigcode,
    "gpt_oss": _gpt_oss,
    "llama": _llama,
    "mistral": _mistral,
    "mixtral": _mixtral,
    "opt": _opt,
    "phi3": _phi3,
    "qwen2": _qwen2,
    "qwen2_moe": _qwen2_moe,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "starcoder2": _starcoder2,
}
"""Model type -> the function that maps its fields."""
