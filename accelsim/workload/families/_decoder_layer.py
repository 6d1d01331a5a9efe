"""The operators of one decoder layer: attention over cached keys and values, then an MLP."""

from __future__ import annotations

import math

from accelsim.workload.build import BlockBuilder
from accelsim.workload.families._decoder_config import DecoderConfig, LayerKind
from accelsim.workload.phase import Phase, SequenceGroup
from accelsim.workload.tensor import Role, packed_bytes

__all__ = ["add_layer", "add_norm", "cached_length", "expected_experts"]


def expected_experts(experts: int, top_k: int, tokens: int) -> int:
    """Return how many experts a batch is expected to use, to the nearest whole one.

    Parameters
    ----------
    experts, top_k : int
        Experts to choose from, and different ones chosen per token.
    tokens : int
        Tokens that choose, independently and uniformly.

    Notes
    -----
    ``E (1 - (1 - k / E) ** tokens)``: an expert stays idle if no token chooses it.

    Examples
    --------
    >>> [expected_experts(8, 2, tokens) for tokens in (1, 4, 64)]
    [2, 5, 8]
    """
    if top_k == experts:
        return experts
    return round(-experts * math.expm1(tokens * math.log1p(-top_k / experts)))


def cached_length(config: DecoderConfig, kind: LayerKind, group: SequenceGroup) -> int:
    """Return the past tokens whose keys and values a layer still needs.

    A window of w tokens covers the new token and the w - 1 before it.
    """
    if kind.sliding and config.sliding_window:
        return min(group.past_len, config.sliding_window - 1)
    return group.past_len


def add_norm(body: BlockBuilder, config: DecoderConfig, name: str, x: str, rows: int) -> str:
    """Add the model's kind of norm over the hidden dimension."""
    weights: tuple[str, ...] = (body.vector(f"{name}.weight", config.hidden_size),)
    if config.norm == "layernorm":
        weights += (body.vector(f"{name}.bias", config.hidden_size),)
    return body.norm(name, x, rows, config.hidden_size, config.norm, weights)


def add_layer(
    body: BlockBuilder, config: DecoderConfig, kind: LayerKind, phase: Phase, x: str
) -> str:
    """Add one layer to a block; return the name of its output."""
    tokens, h = phase.tokens, config.hidden_size
    normed = add_norm(body, config, "input_norm", x, tokens)
    context = _add_attention(body, config, kind, phase, normed)
    o = body.linear(
        "o_proj", context, tokens, h, config.num_attention_heads * config.head_width,
        bias=config.output_bias, shard="k",
    )  # fmt: skip
    x = body.elementwise("attention_residual", "add", (x, o), tokens, h, label="residual")
    normed = add_norm(body, config, "post_attention_norm", x, tokens)
    if kind.moe:
        y = _add_experts(body, config, tokens, normed)
    else:
        width = config.intermediate_size or 0
        y = _add_mlp(body, config, "", tokens, normed, width, "linear", bias=config.mlp_bias)
    return body.elementwise("mlp_residual", "add", (x, y), tokens, h, label="residual")


def _add_attention(
    body: BlockBuilder, config: DecoderConfig, kind: LayerKind, phase: Phase, x: str
) -> tuple[str, ...]:
    """Add QKV projection, rotation, cache append, and attention per group of sequences."""
    tokens, d = phase.tokens, config.head_width
    heads, kv_heads = config.num_attention_heads, config.kv_heads
    # Query, key and value are one product, as serving kernels run it.
    qkv = body.linear(
        "qkv_proj", x, tokens, (heads + 2 * kv_heads) * d, config.hidden_size,
        bias=config.qkv_bias, shard="n",
    )  # fmt: skip
    qk = qkv
    if config.qk_norm:
        weights = (body.vector("q_norm.weight", d), body.vector("k_norm.weight", d))
        rows = tokens * (heads + kv_heads)
        qk = body.norm("qk_norm", qk, rows, d, "rmsnorm", weights, shard="rows")
    if config.positions == "rotary":
        qk = body.elementwise(
            "rope", "rope", (qk,), tokens, (heads + kv_heads) * d, label="rope", shard="columns"
        )
    caches = _add_caches(body, config, kind, phase)
    size = packed_bytes(2 * tokens * kv_heads * d, body.dtypes.kv_cache)
    body.operator(
        "kv_append", "transfer", {"size_bytes": size}, (qkv,) if qk == qkv else (qk, qkv),
        tuple(name for pair in caches.values() for name in pair), "kv_append", "size_bytes",
    )  # fmt: skip
    sinks = (body.vector("sinks", heads),) if config.attention_sinks else ()
    return tuple(
        _add_attention_group(body, config, kind, group, f"attention{suffix}", (qk, *cache, *sinks))
        for group, (suffix, cache) in zip(phase.groups, caches.items(), strict=True)
    )


def _add_caches(
    body: BlockBuilder, config: DecoderConfig, kind: LayerKind, phase: Phase
) -> dict[str, tuple[str, str]]:
    """Add the key and value cache of each group of sequences; return them by name suffix."""
    caches: dict[str, tuple[str, str]] = {}
    for number, group in enumerate(phase.groups):
        suffix = "" if len(phase.groups) == 1 else f".{number}"
        length = cached_length(config, kind, group) + group.q_len
        shape = (group.count, config.kv_heads, length, config.head_width)
        dtype = body.dtypes.kv_cache
        caches[suffix] = (
            body.tensor(f"k_cache{suffix}", shape, dtype, Role.KV_CACHE),
            body.tensor(f"v_cache{suffix}", shape, dtype, Role.KV_CACHE),
        )
    return caches


def _add_attention_group(
    body: BlockBuilder,
    config: DecoderConfig,
    kind: LayerKind,
    group: SequenceGroup,
    name: str,
    inputs: tuple[str, ...],
) -> str:
    heads, d = config.num_attention_heads, config.head_width
    dims = {
        "batch": group.count,
        "heads": heads,
        "kv_heads": config.kv_heads,
        "q_len": group.q_len,
        "kv_len": cached_length(config, kind, group) + group.q_len,
        "head_dim": d,
        "value_dim": d,
    }
    attributes: dict[str, object] = {"causal": True}
    if kind.sliding:
        attributes["window"] = config.sliding_window
    context = body.activation(name, group.tokens, heads * d)
    body.operator(name, "attention", dims, inputs, (context,), "attention", "heads", attributes)
    return context


def _add_mlp(
    body: BlockBuilder,
    config: DecoderConfig,
    prefix: str,
    tokens: int,
    x: str,
    width: int,
    label: str,
    *,
    bias: bool,
) -> str:
    """Add a dense MLP; gate and up are one product, as serving kernels run it."""
    parts, h = 2 if config.gated else 1, config.hidden_size
    up = body.linear(
        prefix + ("gate_up_proj" if config.gated else "up_proj"), x, tokens, parts * width, h,
        bias=bias, label=label, shard="n",
    )  # fmt: skip
    act = body.elementwise(
        f"{prefix}activation", config.activation + ("_mul" if config.gated else ""), (up,),
        tokens, width, operands=parts, label="activation", shard="columns",
    )  # fmt: skip
    return body.linear(
        f"{prefix}down_proj", act, tokens, h, width, bias=bias, label=label, shard="k"
    )


def _add_experts(body: BlockBuilder, config: DecoderConfig, tokens: int, x: str) -> str:
    """Add router, dispatch, routed experts, combination, and shared experts if there are any."""
    h, experts, top_k = config.hidden_size, config.num_local_experts, config.num_experts_per_tok
    rows, width, parts = tokens * top_k, config.moe_intermediate_size or 0, 1 + config.gated
    logits = body.linear("router", x, tokens, experts, h, bias=config.router_bias, label="router")
    weights = body.activation("routing_weights", tokens, top_k)
    indices = body.activation("routing_indices", tokens, top_k, dtype="int32")
    dims = {"tokens": tokens, "experts": experts, "top_k": top_k}
    body.operator("route", "route", dims, (logits,), (weights, indices), "routing")
    y = body.gather("dispatch", x, indices, (rows, h, tokens), label="dispatch")
    active = expected_experts(experts, top_k, tokens)
    y = body.experts(
        "experts_gate_up_proj" if config.gated else "experts_up_proj", y, rows, parts * width, h,
        experts=experts, active=active, bias=config.expert_bias, shard="n",
    )  # fmt: skip
    y = body.elementwise(
        "experts_activation", config.activation + ("_mul" if config.gated else ""), (y,),
        rows, width, operands=parts, label="activation", shard="columns",
    )  # fmt: skip
    y = body.experts(
        "experts_down_proj", y, rows, h, width,
        experts=experts, active=active, bias=config.expert_bias, shard="k",
    )  # fmt: skip
    combined = body.activation("combine", tokens, h)
    dims, how = {"rows": tokens, "columns": h, "terms": top_k}, {"function": "weighted_sum"}
    body.operator("combine", "reduce", dims, (y, weights), (combined,), "combine", None, how)
    return _add_shared_experts(body, config, tokens, x, combined)


def _add_shared_experts(
    body: BlockBuilder, config: DecoderConfig, tokens: int, x: str, routed: str
) -> str:
    """Add the experts that every token uses and their sum with the routed ones."""
    if not config.shared_width:
        return routed
    h = config.hidden_size
    y = _add_mlp(
        body, config, "shared_", tokens, x, config.shared_width, "shared_experts", bias=False
    )
    if config.shared_expert_gate:
        gate = body.linear("shared_gate", x, tokens, 1, h, label="shared_experts")
        y = body.elementwise(
            "shared_scale", "sigmoid_mul", (y, gate), tokens, h, label="activation"
        )
    return body.elementwise("shared_sum", "add", (routed, y), tokens, h, label="residual")
