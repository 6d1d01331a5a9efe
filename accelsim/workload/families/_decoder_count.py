"""How many parameters a decoder has, by closed forms that know nothing of its graph."""

from __future__ import annotations

from functools import lru_cache

from accelsim.workload.families._decoder_config import DecoderConfig, LayerKind, layer_kinds
from accelsim.workload.families._latent import Latent, latent_parameters

__all__ = ["active_parameter_count", "latent_shape", "parameter_count"]


def latent_shape(config: DecoderConfig, form: str = "auto") -> Latent:
    """Return the sizes of a latent attention."""
    return Latent(
        config.hidden_size,
        config.num_attention_heads,
        config.q_lora_rank or 0,
        config.kv_lora_rank or 0,
        config.qk_nope_head_dim or 0,
        config.qk_rope_head_dim or 0,
        config.v_head_dim or 0,
        form,
    )


def _mlp(config: DecoderConfig, width: int, bias: bool) -> int:
    """Return the parameters of an MLP of one width."""
    into = 2 if config.gated else 1
    biases = into * width + config.hidden_size if bias else 0
    return (into + 1) * config.hidden_size * width + biases


def _expert(config: DecoderConfig) -> int:
    return _mlp(config, config.moe_intermediate_size or 0, config.expert_bias)


def _norm(config: DecoderConfig) -> int:
    return config.hidden_size * (2 if config.norm == "layernorm" else 1)


def _attention(config: DecoderConfig) -> int:
    if config.attention == "latent":
        return latent_parameters(latent_shape(config))
    h, d, rank = config.hidden_size, config.head_width, config.q_lora_rank
    query, keys = config.num_attention_heads * d, 2 * config.kv_heads * d
    first = (rank or query) + keys
    total = h * first + query * h + first * config.qkv_bias + h * config.output_bias
    total += rank + rank * query if rank else 0
    return total + 2 * d * config.qk_norm + config.num_attention_heads * config.attention_sinks


def _layer(config: DecoderConfig, kind: LayerKind) -> int:
    h = config.hidden_size
    norms = config.parallel_norms if config.parallel else 4 if config.post_norms else 2
    total = _attention(config) + norms * _norm(config)
    if not kind.moe:
        return total + _mlp(config, config.intermediate_size or 0, config.mlp_bias)
    experts = config.num_local_experts
    total += experts * (_expert(config) + h + config.router_bias)
    return total + _mlp(config, config.shared_width, False) + h * config.shared_expert_gate


@lru_cache(maxsize=1024)
def parameter_count(config: DecoderConfig) -> int:
    """Return the number of parameters by a closed form; a tied head counts once."""
    h = config.hidden_size
    total = config.vocab_size * h * (1 if config.tie_word_embeddings else 2) + _norm(config)
    total += config.vocab_size * config.lm_head_bias
    if config.positions == "learned":
        total += ((config.max_position_embeddings or 0) + config.position_offset) * h
    return total + sum(_layer(config, kind) for kind in layer_kinds(config))


@lru_cache(maxsize=1024)
def active_parameter_count(config: DecoderConfig) -> int:
    """Return the parameters that one token uses: all but the routed experts it does not choose."""
    idle = config.num_local_experts - config.num_experts_per_tok
    layers = sum(kind.moe for kind in layer_kinds(config))
    return parameter_count(config) - layers * idle * _expert(config)
