"""The shared transformer block of Zamba2: one set of weights, used before several layers.

It reads the residual stream beside the embedding of the token; each use has its own adapter of
the MLP and its own output projection, and its own KV cache.

References
----------
Zamba2, arXiv 2411.15242.
"""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.workload.build import BlockBuilder
from accelsim.workload.phase import Phase
from accelsim.workload.tensor import Role, packed_bytes

__all__ = ["EMBEDDED", "SharedAttention", "add_shared_attention", "shared_names"]

EMBEDDED = "embedded"
"""Name of the embedding of the tokens, which shared blocks read again."""

_WEIGHTS = (
    "input_norm.weight", "qkv_proj.weight", "o_proj.weight", "mlp_norm.weight",
    "gate_up_proj.weight", "down_proj.weight",
)  # fmt: skip


def shared_names(number: int) -> set[str]:
    """Return the tensors that all uses of a shared block have in common."""
    return {EMBEDDED, *(f"shared.{number}.{name}" for name in _WEIGHTS)}


@dataclass(frozen=True, slots=True)
class SharedAttention:
    """Sizes of a shared block.

    Attributes
    ----------
    hidden, heads, kv_heads, head_dim : int
        Width of the stream (the block reads twice that), heads, KV heads, width of a head.
    width, rank : int
        Width of the gated MLP, and rank of each use's adapter; 0 for none.
    activation : str
        Function of the MLP.
    rotary : bool
        Rotation of query and key.
    """

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    rank: int
    activation: str
    rotary: bool

    @property
    def shared_parameters(self) -> int:
        """Parameters that all uses share."""
        h, query, keys = self.hidden, self.heads * self.head_dim, self.kv_heads * self.head_dim
        total = 2 * h + 2 * h * (query + 2 * keys) + query * h
        return total + h + 3 * h * self.width

    @property
    def own_parameters(self) -> int:
        """Parameters of one use: the adapter and the output projection."""
        return self.hidden**2 + self.rank * (self.hidden + 2 * self.width)


def add_shared_attention(
    body: BlockBuilder, x: str, phase: Phase, shape: SharedAttention, number: int
) -> str:
    """Add one use of a shared block; return the stream with its result added."""
    tokens, h = phase.tokens, shape.hidden

    def weight(name: str, *size: int) -> str:
        prefix, body.prefix = body.prefix, ""
        dtype = body.dtypes.weight if len(size) > 1 else body.dtypes.activation
        made = body.tensor(f"shared.{number}.{name}", size, dtype, Role.WEIGHT)
        body.prefix = prefix
        return made

    def linear(name: str, given: tuple[str, ...], n: int, k: int, shard: str) -> str:
        made = body.activation(f"shared_{name}", tokens, n)
        dims = {"batch": 1, "m": tokens, "n": n, "k": k}
        inputs = (*given, weight(f"{name}.weight", n, k))
        body.operator(f"shared_{name}", "matmul", dims, inputs, (made,), "linear", shard)
        return made

    prefix, body.prefix = body.prefix, ""
    embedded = body.activation(EMBEDDED, tokens, h)
    body.prefix = prefix
    both = body.activation("shared_input", tokens, 2 * h)
    size = packed_bytes(tokens * 2 * h, body.dtypes.activation)
    body.operator("shared_input", "transfer", {"size_bytes": size}, (x, embedded), (both,), "copy")
    y = body.norm(
        "shared_input_norm", both, tokens, 2 * h, "rmsnorm", (weight("input_norm.weight", 2 * h),)
    )
    inner = (shape.heads + 2 * shape.kv_heads) * shape.head_dim
    qkv = linear("qkv_proj", (y,), inner, 2 * h, "n")
    context = _attend(body, qkv, phase, shape)
    y = linear("o_proj", context, h, shape.heads * shape.head_dim, "k")
    y = body.norm("shared_mlp_norm", y, tokens, h, "rmsnorm", (weight("mlp_norm.weight", h),))
    up = linear("gate_up_proj", (y,), 2 * shape.width, h, "n")
    if shape.rank:
        low = body.linear("adapter_a", y, tokens, shape.rank, h)
        low = body.linear("adapter_b", low, tokens, 2 * shape.width, shape.rank, shard="n")
        up = body.elementwise(
            "adapter_sum", "add", (up, low), tokens, 2 * shape.width, label="residual",
            shard="columns",
        )  # fmt: skip
    act = body.elementwise(
        "shared_activation", f"{shape.activation}_mul", (up,), tokens, shape.width, operands=2,
        label="activation", shard="columns",
    )  # fmt: skip
    y = linear("down_proj", (act,), h, shape.width, "k")
    y = body.linear("shared_output", y, tokens, h, h)
    return body.elementwise("shared_residual", "add", (x, y), tokens, h, label="residual")


def _attend(body: BlockBuilder, qkv: str, phase: Phase, shape: SharedAttention) -> tuple[str, ...]:
    """Add cache append and attention of each group of sequences."""
    tokens, heads, kv_heads, d = phase.tokens, shape.heads, shape.kv_heads, shape.head_dim
    qk = qkv
    if shape.rotary:
        qk = body.elementwise(
            "shared_rope", "rope", (qkv,), tokens, (heads + kv_heads) * d, label="rope"
        )
    caches = []
    for number, group in enumerate(phase.groups):
        size = (group.count, kv_heads, group.kv_len, d)
        caches.append(tuple(
            body.tensor(f"shared_{n}_cache.{number}", size, body.dtypes.kv_cache, Role.KV_CACHE)
            for n in "kv"
        ))  # fmt: skip
    written = packed_bytes(2 * tokens * kv_heads * d, body.dtypes.kv_cache)
    body.operator(
        "shared_kv_append", "transfer", {"size_bytes": written},
        (qkv,) if qk == qkv else (qk, qkv),
        tuple(name for pair in caches for name in pair), "kv_append", "size_bytes",
    )  # fmt: skip
    return tuple(
        body.attention(
            f"shared_attention.{number}", (qk, *cache), group.count, heads,
            (group.q_len, group.kv_len), d, kv_heads=kv_heads, attributes={"causal": True},
        )
        for number, (group, cache) in enumerate(zip(phase.groups, caches, strict=True))
    )  # fmt: skip
