"""Multi-head latent attention (MLA): the cache holds one latent per token for all heads.

Two forms of one layer: `expanded` makes keys and values of every head from the latents attended
to; `absorbed` multiplies the query instead, and attends over the latents themselves.

References
----------
DeepSeek-V2, arXiv 2405.04434, section 2.1; DeepSeek-V3, arXiv 2412.19437.
"""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.workload.build import BlockBuilder
from accelsim.workload.phase import Phase, SequenceGroup
from accelsim.workload.tensor import Role, packed_bytes

__all__ = ["Latent", "add_latent_attention", "latent_parameters"]


@dataclass(frozen=True, slots=True)
class Latent:
    """Sizes of a latent attention.

    Attributes
    ----------
    hidden, heads : int
        Width of the residual stream, and heads.
    query_rank, kv_rank : int
        Widths of the latents of query (0 for one matrix) and of keys and values.
    nope, rope, value : int
        Widths of a head's key without rotation, of the rotated key that all heads share, and of
        a head's value.
    form : str
        ``auto`` (the one of fewer MACs, group by group), ``absorbed`` or ``expanded``.
    """

    hidden: int
    heads: int
    query_rank: int
    kv_rank: int
    nope: int
    rope: int
    value: int
    form: str = "auto"

    @property
    def cached(self) -> int:
        """Elements that the cache holds per token."""
        return self.kv_rank + self.rope

    def absorbs(self, group: SequenceGroup) -> bool:
        """Return whether a group of sequences attends over the latents.

        Notes
        -----
        MACs per head and sequence of q new tokens over T: absorbed
        ``q rank (nope + value) + q T (2 rank + rope)``, expanded
        ``T rank (nope + value) + q T (nope + rope + value)``.
        """
        if self.form != "auto":
            return self.form == "absorbed"
        q, length = group.q_len, group.kv_len
        rebuild = self.kv_rank * (self.nope + self.value)
        absorbed = q * rebuild + q * length * (2 * self.kv_rank + self.rope)
        expanded = length * rebuild + q * length * (self.nope + self.rope + self.value)
        return absorbed < expanded


def latent_parameters(shape: Latent) -> int:
    """Return the parameters of one latent attention."""
    key = shape.heads * (shape.nope + shape.rope)
    query = shape.hidden * key
    if shape.query_rank:
        query = shape.query_rank * (shape.hidden + 1 + key)
    latent = shape.hidden * shape.cached + shape.kv_rank
    up = shape.kv_rank * shape.heads * (shape.nope + shape.value)
    return query + latent + up + shape.heads * shape.value * shape.hidden


def add_latent_attention(body: BlockBuilder, x: str, phase: Phase, shape: Latent) -> str:
    """Add projections, cache append, attention per group of sequences, and output."""
    tokens, heads = phase.tokens, shape.heads
    first = shape.query_rank or heads * (shape.nope + shape.rope)
    down = body.linear("q_a_kv_a_proj", x, tokens, first + shape.cached, shape.hidden)
    weight = (body.vector("kv_a_norm.weight", shape.kv_rank),)
    latent = body.norm("kv_a_norm", down, tokens, shape.kv_rank, "rmsnorm", weight)
    q = down
    if shape.query_rank:
        weight = (body.vector("q_a_norm.weight", shape.query_rank),)
        q = body.norm("q_a_norm", down, tokens, shape.query_rank, "rmsnorm", weight)
        width = heads * (shape.nope + shape.rope)
        q = body.linear("q_b_proj", q, tokens, width, shape.query_rank, shard="n")
    rotated = body.elementwise(
        "rope", "rope", (q,), tokens, (heads + 1) * shape.rope, label="rope"
    )
    caches = _caches(body, phase, shape)
    size = packed_bytes(tokens * shape.cached, body.dtypes.kv_cache)
    body.operator(
        "kv_append", "transfer", {"size_bytes": size}, (latent, rotated), caches, "kv_append"
    )
    parts = tuple(
        _absorbed(body, shape, group, cache, q, rotated, suffix)
        if shape.absorbs(group)
        else _expanded(body, shape, group, cache, q, rotated, suffix)
        for group, cache, suffix in zip(phase.groups, caches, _suffixes(phase), strict=True)
    )
    return body.linear("o_proj", parts, tokens, shape.hidden, heads * shape.value, shard="k")


def _suffixes(phase: Phase) -> tuple[str, ...]:
    several = len(phase.groups) > 1
    return tuple(f".{number}" if several else "" for number in range(len(phase.groups)))


def _caches(body: BlockBuilder, phase: Phase, shape: Latent) -> tuple[str, ...]:
    """Add the latent cache of each group of sequences."""
    return tuple(
        body.tensor(
            f"latent_cache{suffix}", (group.count, group.kv_len, shape.cached),
            body.dtypes.kv_cache, Role.KV_CACHE,
        )
        for group, suffix in zip(phase.groups, _suffixes(phase), strict=True)
    )  # fmt: skip


def _weight(body: BlockBuilder, shape: Latent, name: str, width: int) -> str:
    """Return the matrix that makes keys or values of all heads from a latent."""
    size = (shape.heads, width, shape.kv_rank)
    return body.tensor(f"{name}.weight", size, body.dtypes.weight, Role.WEIGHT)


def _up(
    body: BlockBuilder, shape: Latent, group: SequenceGroup, cache: str, name: str, suffix: str,
    width: int,
) -> str:  # fmt: skip
    """Add the product that makes keys or values of every latent attended to."""
    rows, n = group.count * group.kv_len, shape.heads * width
    made = body.activation(name + suffix, rows, n)
    dims = {"batch": 1, "m": rows, "n": n, "k": shape.kv_rank}
    inputs = (cache, _weight(body, shape, name, width))
    body.operator(name + suffix, "matmul", dims, inputs, (made,), "linear", "n", {"part": True})
    return made


def _expanded(
    body: BlockBuilder, shape: Latent, group: SequenceGroup, cache: str, q: str, rotated: str,
    suffix: str,
) -> str:  # fmt: skip
    k = _up(body, shape, group, cache, "k_up_proj", suffix, shape.nope)
    v = _up(body, shape, group, cache, "v_up_proj", suffix, shape.value)
    # Keys of all heads beside the rotated part that they share, as attention kernels want them.
    rows, width = group.count * group.kv_len, shape.heads * (shape.nope + shape.rope)
    keys = body.activation(f"keys{suffix}", rows, width)
    size = packed_bytes(rows * width, body.dtypes.activation)
    body.operator(f"keys{suffix}", "transfer", {"size_bytes": size}, (k, rotated), (keys,), "copy")
    return body.attention(
        f"attention{suffix}", (q, keys, v), group.count, shape.heads,
        (group.q_len, group.kv_len), shape.nope + shape.rope,
        value_dim=shape.value, attributes={"causal": True},
    )  # fmt: skip


def _absorbed(
    body: BlockBuilder, shape: Latent, group: SequenceGroup, cache: str, q: str, rotated: str,
    suffix: str,
) -> str:  # fmt: skip
    rows, heads, rank = group.tokens, shape.heads, shape.kv_rank
    small = body.activation(f"q_absorbed{suffix}", heads, rows, rank)
    weight = _weight(body, shape, "k_up_proj", shape.nope)
    dims = {"batch": heads, "m": rows, "n": rank, "k": shape.nope}
    body.operator(
        f"q_absorb{suffix}", "matmul", dims, (q, weight), (small,), "linear", "batch",
        {"part": True},
    )  # fmt: skip
    query = body.activation(f"q_latent{suffix}", rows, heads * shape.cached)
    size = packed_bytes(rows * heads * shape.cached, body.dtypes.activation)
    body.operator(
        f"q_latent{suffix}", "transfer", {"size_bytes": size}, (small, rotated), (query,), "copy"
    )
    context = body.attention(
        f"attention{suffix}", (query, cache, cache), group.count, heads,
        (group.q_len, group.kv_len), shape.cached,
        kv_heads=1, value_dim=rank, attributes={"causal": True, "shared_kv": True},
    )  # fmt: skip
    made = body.activation(f"v_absorb{suffix}", rows, heads * shape.value)
    weight = _weight(body, shape, "v_up_proj", shape.value)
    dims = {"batch": heads, "m": rows, "n": shape.value, "k": rank}
    body.operator(
        f"v_absorb{suffix}", "matmul", dims, (context, weight), (made,), "linear", "batch"
    )
    return made
