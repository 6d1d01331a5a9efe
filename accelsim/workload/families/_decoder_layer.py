"""The operators of one decoder layer: attention over cached keys and values, then an MLP."""

from __future__ import annotations

from accelsim.workload.build import BlockBuilder
from accelsim.workload.families._blocks import (
    Attention,
    Experts,
    add_cached_attention,
    add_experts,
    add_mlp,
    add_norm,
)
from accelsim.workload.families._decoder_config import DecoderConfig, LayerKind
from accelsim.workload.families._decoder_count import latent_shape
from accelsim.workload.families._dense import Dense, add_self_attention
from accelsim.workload.families._latent import add_latent_attention
from accelsim.workload.phase import Phase

__all__ = ["add_layer", "attention_shape"]


def attention_shape(config: DecoderConfig, kind: LayerKind) -> Attention:
    return Attention(
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_width,
        window=(config.sliding_window or 0) if kind.sliding else 0,
        rotary=config.positions == "rotary",
        qk_norm=config.qk_norm,
        qkv_bias=config.qkv_bias,
        output_bias=config.output_bias,
        sinks=config.attention_sinks,
        causal=not config.bidirectional,
        chunk=(config.attention_chunk_size or 0) if kind.chunked else 0,
        query_rank=config.q_lora_rank or 0,
    )


def _experts(config: DecoderConfig) -> Experts:
    return Experts(
        experts=config.num_local_experts,
        top_k=config.num_experts_per_tok,
        width=config.moe_intermediate_size or 0,
        shared_width=config.shared_width,
        shared_gate=config.shared_expert_gate,
        router_bias=config.router_bias,
        bias=config.expert_bias,
        routing=config.routing,
        capacity=config.expert_capacity_factor,
    )


def _add_attention(
    body: BlockBuilder, config: DecoderConfig, kind: LayerKind, phase: Phase, x: str, form: str
) -> str:
    """Add the layer's attention: latent, of a pass without a cache, or with a KV cache."""
    if config.attention == "latent":
        return add_latent_attention(body, x, phase, latent_shape(config, form))
    if phase.kind == "forward":
        shape = Dense(
            config.hidden_size, config.num_attention_heads, config.head_width,
            qkv_bias=config.qkv_bias, output_bias=config.output_bias,
            rope=config.positions == "rotary",
        )  # fmt: skip
        group = phase.groups[0]
        return add_self_attention(body, x, group.count, group.q_len, shape)
    return add_cached_attention(body, x, phase, attention_shape(config, kind))


def add_layer(
    body: BlockBuilder, config: DecoderConfig, kind: LayerKind, phase: Phase, x: str, form: str
) -> str:
    """Add one layer to a block; return the name of its output.

    Parameters
    ----------
    form : str
        Of latent attention: ``auto``, ``absorbed`` or ``expanded``.
    """
    tokens, h, norm = phase.tokens, config.hidden_size, config.norm
    if config.parallel:
        return _add_parallel_layer(body, config, kind, phase, x, form)
    normed = add_norm(body, "input_norm", x, tokens, h, norm)
    o = _add_attention(body, config, kind, phase, normed, form)
    if config.post_norms:
        o = add_norm(body, "attention_output_norm", o, tokens, h, norm)
    x = body.elementwise("attention_residual", "add", (x, o), tokens, h, label="residual")
    normed = add_norm(body, "post_attention_norm", x, tokens, h, norm)
    y = _add_mlp(body, config, kind, tokens, normed)
    if config.post_norms:
        y = add_norm(body, "mlp_output_norm", y, tokens, h, norm)
    return body.elementwise("mlp_residual", "add", (x, y), tokens, h, label="residual")


def _add_mlp(
    body: BlockBuilder, config: DecoderConfig, kind: LayerKind, tokens: int, x: str
) -> str:
    h, act, gated = config.hidden_size, config.activation, config.gated
    if kind.moe:
        return add_experts(body, x, tokens, h, _experts(config), activation=act, gated=gated)
    width, bias = config.intermediate_size or 0, config.mlp_bias
    return add_mlp(body, x, tokens, h, width, activation=act, gated=gated, bias=bias)


def _add_parallel_layer(
    body: BlockBuilder, config: DecoderConfig, kind: LayerKind, phase: Phase, x: str, form: str
) -> str:
    """Add attention and MLP side by side, with one norm for both or one each."""
    tokens, h = phase.tokens, config.hidden_size
    normed = add_norm(body, "input_norm", x, tokens, h, config.norm)
    o = _add_attention(body, config, kind, phase, normed, form)
    if config.parallel_norms == 2:
        normed = add_norm(body, "mlp_norm", x, tokens, h, config.norm)
    y = _add_mlp(body, config, kind, tokens, normed)
    y = body.elementwise("parallel_sum", "add", (o, y), tokens, h, label="residual")
    return body.elementwise("residual", "add", (x, y), tokens, h, label="residual")
