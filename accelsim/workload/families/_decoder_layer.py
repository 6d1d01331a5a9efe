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
from accelsim.workload.phase import Phase

__all__ = ["add_layer"]


def _attention(config: DecoderConfig, kind: LayerKind) -> Attention:
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
    )


def add_layer(
    body: BlockBuilder, config: DecoderConfig, kind: LayerKind, phase: Phase, x: str
) -> str:
    """Add one layer to a block; return the name of its output."""
    tokens, h = phase.tokens, config.hidden_size
    normed = add_norm(body, "input_norm", x, tokens, h, config.norm)
    o = add_cached_attention(body, normed, phase, _attention(config, kind))
    x = body.elementwise("attention_residual", "add", (x, o), tokens, h, label="residual")
    normed = add_norm(body, "post_attention_norm", x, tokens, h, config.norm)
    act, gated = config.activation, config.gated
    if kind.moe:
        y = add_experts(body, normed, tokens, h, _experts(config), activation=act, gated=gated)
    else:
        width, bias = config.intermediate_size or 0, config.mlp_bias
        y = add_mlp(body, normed, tokens, h, width, activation=act, gated=gated, bias=bias)
    return body.elementwise("mlp_residual", "add", (x, y), tokens, h, label="residual")
