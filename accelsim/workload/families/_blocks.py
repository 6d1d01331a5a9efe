"""The parts that transformer layers of every family are made of: norms, MLPs, experts, attention.

Each takes the sizes it needs and no family's configuration, so that a new family is a few calls.
"""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.workload.build import BlockBuilder
from accelsim.workload.families._routing import UNIFORM, Routing, expected_experts
from accelsim.workload.phase import Phase, SequenceGroup
from accelsim.workload.tensor import Role, packed_bytes

__all__ = [
    "Attention",
    "Experts",
    "add_cached_attention",
    "add_experts",
    "add_mlp",
    "add_norm",
]


@dataclass(frozen=True, slots=True)
class Attention:
    """Sizes of a self-attention with a KV cache.

    Attributes
    ----------
    hidden, heads, kv_heads, head_dim : int
        Width of the residual stream, query heads, KV heads, width of a head.
    window : int
        Tokens that one attends to at most, itself included; 0 for all.
    rotary, qk_norm, qkv_bias, output_bias, sinks, causal : bool
        Rotation of query and key, an RMS norm of both, biases, a learned sink per head, and
        whether a token sees only those before it.
    chunk : int
        A token sees only its own chunk of so many positions; 0 for all.
    query_rank : int
        Rank of a query projection of two matrices with a norm between; 0 for one matrix.
    """

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    window: int = 0
    rotary: bool = True
    qk_norm: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    sinks: bool = False
    causal: bool = True
    chunk: int = 0
    query_rank: int = 0

    def cached(self, group: SequenceGroup) -> int:
        """Return the past tokens whose keys and values are still needed.

        A window of w tokens covers the new token and the w - 1 before it; a chunk ends where its
        multiple is reached.
        """
        if self.chunk:
            return group.past_len % self.chunk
        return min(group.past_len, self.window - 1) if self.window else group.past_len


@dataclass(frozen=True, slots=True)
class Experts:
    """Sizes of a mixture of experts.

    Attributes
    ----------
    experts, top_k, width : int
        Routed experts, those that one token uses, and the width of one.
    shared_width : int
        Width of the experts that every token uses, together; 0 without any.
    shared_gate, router_bias, bias : bool
        A learned gate of the shared experts, a bias on the router, biases in the routed experts.
    routing : Routing
        How tokens spread over the experts.
    capacity : float
        Rows that every expert computes, over the mean; tokens beyond them are dropped.  0 for as
        many rows as are routed.
    """

    experts: int
    top_k: int
    width: int
    shared_width: int = 0
    shared_gate: bool = False
    router_bias: bool = False
    bias: bool = False
    routing: Routing = UNIFORM
    capacity: float = 0.0

    def rows(self, tokens: int) -> int:
        """Return the rows that the routed experts compute together."""
        if not self.capacity:
            return tokens * self.top_k
        each = -(-tokens * self.top_k * self.capacity // self.experts)
        return self.experts * max(1, int(each))


def add_norm(body: BlockBuilder, name: str, x: str, rows: int, columns: int, norm: str) -> str:
    """Add a norm with its weights: scale and shift of a ``layernorm``, scale of an ``rmsnorm``."""
    weights: tuple[str, ...] = (body.vector(f"{name}.weight", columns),)
    if norm == "layernorm":
        weights += (body.vector(f"{name}.bias", columns),)
    return body.norm(name, x, rows, columns, norm, weights)


def add_mlp(
    body: BlockBuilder,
    x: str,
    tokens: int,
    hidden: int,
    width: int,
    *,
    activation: str,
    gated: bool,
    bias: bool,
    prefix: str = "",
    label: str = "linear",
) -> str:
    """Add a dense MLP; gate and up are one product, as serving kernels run it."""
    parts = 2 if gated else 1
    up = body.linear(
        prefix + ("gate_up_proj" if gated else "up_proj"), x, tokens, parts * width, hidden,
        bias=bias, label=label, shard="n",
    )  # fmt: skip
    act = body.elementwise(
        f"{prefix}activation", activation + ("_mul" if gated else ""), (up,),
        tokens, width, operands=parts, label="activation", shard="columns",
    )  # fmt: skip
    return body.linear(
        f"{prefix}down_proj", act, tokens, hidden, width, bias=bias, label=label, shard="k"
    )


def add_experts(
    body: BlockBuilder,
    x: str,
    tokens: int,
    hidden: int,
    shape: Experts,
    *,
    activation: str,
    gated: bool,
) -> str:
    """Add router, dispatch, routed experts, combination, and shared experts if there are any."""
    experts, top_k, width, parts = shape.experts, shape.top_k, shape.width, 1 + gated
    rows = shape.rows(tokens)
    logits = body.linear(
        "router", x, tokens, experts, hidden, bias=shape.router_bias, label="router"
    )
    weights = body.activation("routing_weights", tokens, top_k)
    indices = body.activation("routing_indices", tokens, top_k, dtype="int32")
    dims = {"tokens": tokens, "experts": experts, "top_k": top_k}
    body.operator("route", "route", dims, (logits,), (weights, indices), "routing")
    if rows == tokens * top_k:
        sent, active = indices, min(rows, expected_experts(experts, top_k, tokens, shape.routing))
    else:
        sent, active = body.activation("capacity_indices", rows, dtype="int32"), experts
        size = packed_bytes(rows, "int32")
        body.operator("fill", "transfer", {"size_bytes": size}, (indices,), (sent,), "routing")
    y = body.gather("dispatch", x, sent, (rows, hidden, tokens), label="dispatch")
    y = body.experts(
        "experts_gate_up_proj" if gated else "experts_up_proj", y, rows, parts * width, hidden,
        experts=experts, active=active, bias=shape.bias, shard="n",
    )  # fmt: skip
    y = body.elementwise(
        "experts_activation", activation + ("_mul" if gated else ""), (y,),
        rows, width, operands=parts, label="activation", shard="columns",
    )  # fmt: skip
    y = body.experts(
        "experts_down_proj", y, rows, hidden, width,
        experts=experts, active=active, bias=shape.bias, shard="k",
    )  # fmt: skip
    combined = body.activation("combine", tokens, hidden)
    dims = {"rows": tokens, "columns": hidden, "terms": top_k}
    how: dict[str, object] = {"function": "weighted_sum"}
    if rows != tokens * top_k:
        how["window"] = True  # of a capacity's rows only the routed ones are read
    body.operator("combine", "reduce", dims, (y, weights), (combined,), "combine", None, how)
    if not shape.shared_width:
        return combined
    y = add_mlp(
        body, x, tokens, hidden, shape.shared_width, activation=activation, gated=gated,
        bias=False, prefix="shared_", label="shared_experts",
    )  # fmt: skip
    if shape.shared_gate:
        gate = body.linear("shared_gate", x, tokens, 1, hidden, label="shared_experts")
        y = body.elementwise(
            "shared_scale", "sigmoid_mul", (y, gate), tokens, hidden, label="activation"
        )
    return body.elementwise("shared_sum", "add", (combined, y), tokens, hidden, label="residual")


def add_cached_attention(body: BlockBuilder, x: str, phase: Phase, shape: Attention) -> str:
    """Add QKV projection, rotation, cache append, attention per group of sequences, output."""
    tokens, d, heads, kv_heads = phase.tokens, shape.head_dim, shape.heads, shape.kv_heads
    qkv = _add_projection(body, x, tokens, shape)
    qk = qkv
    if shape.qk_norm:
        weights = (body.vector("q_norm.weight", d), body.vector("k_norm.weight", d))
        rows = tokens * (heads + kv_heads)
        qk = body.norm("qk_norm", qk, rows, d, "rmsnorm", weights, shard="rows")
    if shape.rotary:
        qk = body.elementwise(
            "rope", "rope", (qk,), tokens, (heads + kv_heads) * d, label="rope", shard="columns"
        )
    caches = _add_caches(body, phase, shape)
    size = packed_bytes(2 * tokens * kv_heads * d, body.dtypes.kv_cache)
    body.operator(
        "kv_append", "transfer", {"size_bytes": size}, (qkv,) if qk == qkv else (qk, qkv),
        tuple(name for pair in caches.values() for name in pair), "kv_append", "size_bytes",
    )  # fmt: skip
    sinks = (body.vector("sinks", heads),) if shape.sinks else ()
    attributes: dict[str, object] = {"causal": True} if shape.causal else {}
    if shape.window:
        attributes["window"] = shape.window
    if shape.chunk:
        attributes["chunk"] = shape.chunk
    context = tuple(
        body.attention(
            f"attention{suffix}", (qk, *cache, *sinks), group.count, heads,
            (group.q_len, shape.cached(group) + group.q_len), d,
            kv_heads=kv_heads, attributes=attributes,
        )
        for group, (suffix, cache) in zip(phase.groups, caches.items(), strict=True)
    )  # fmt: skip
    return body.linear(
        "o_proj", context, tokens, shape.hidden, heads * d, bias=shape.output_bias, shard="k"
    )


def _add_projection(body: BlockBuilder, x: str, tokens: int, shape: Attention) -> str:
    """Add query, key and value as one product, as serving kernels run it.

    A query of low rank makes its latent in the first product, and queries in a second one; keys
    and values are then what the first made besides, and the result stands for both.
    """
    query, keys = shape.heads * shape.head_dim, 2 * shape.kv_heads * shape.head_dim
    if not shape.query_rank:
        return body.linear(
            "qkv_proj", x, tokens, query + keys, shape.hidden, bias=shape.qkv_bias, shard="n"
        )
    rank = shape.query_rank
    latent = body.linear("q_a_kv_proj", x, tokens, rank + keys, shape.hidden, bias=shape.qkv_bias)
    weight = (body.vector("q_a_norm.weight", rank),)
    normed = body.norm("q_a_norm", latent, tokens, rank, "rmsnorm", weight)
    q = body.linear("q_b_proj", normed, tokens, query, rank, shard="n")
    joined = body.activation("qkv", tokens, query + keys)
    size = packed_bytes(tokens * (query + keys), body.dtypes.activation)
    body.operator("qkv", "transfer", {"size_bytes": size}, (q, latent), (joined,), "copy")
    return joined


def _add_caches(body: BlockBuilder, phase: Phase, shape: Attention) -> dict[str, tuple[str, str]]:
    """Add the key and value cache of each group of sequences; return them by name suffix."""
    caches: dict[str, tuple[str, str]] = {}
    for number, group in enumerate(phase.groups):
        suffix = "" if len(phase.groups) == 1 else f".{number}"
        length = shape.cached(group) + group.q_len
        size = (group.count, shape.kv_heads, length, shape.head_dim)
        dtype = body.dtypes.kv_cache
        caches[suffix] = (
            body.tensor(f"k_cache{suffix}", size, dtype, Role.KV_CACHE),
            body.tensor(f"v_cache{suffix}", size, dtype, Role.KV_CACHE),
        )
    return caches
