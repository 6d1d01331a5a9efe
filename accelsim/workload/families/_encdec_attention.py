"""Attention of an encoder-decoder: over a text and its cache, and over a source and its cache."""

from __future__ import annotations

from accelsim.workload.build import BlockBuilder
from accelsim.workload.families._dense import Dense, add_cross_attention, add_self_attention
from accelsim.workload.families._encdec_config import EncDecConfig
from accelsim.workload.phase import Phase
from accelsim.workload.tensor import Role, packed_bytes

__all__ = ["ENCODED", "add_source_attention", "add_text_attention", "dense"]

ENCODED = "encoded"
"""Name of the encoder's output."""


def dense(config: EncDecConfig, *, causal: bool = False) -> Dense:
    """Return the sizes of an attention without a cache."""
    attributes = {"causal": True} if causal else {}
    return Dense(
        config.d_model, config.num_heads, config.d_kv, qkv_bias=False, output_bias=False,
        attributes=attributes,
    )  # fmt: skip


def add_text_attention(
    body: BlockBuilder, config: EncDecConfig, phase: Phase, x: str, bias: str
) -> str:
    """Add causal attention of the decoder, over the cache unless the pass keeps none."""
    group, heads, d = phase.groups[0], config.num_heads, config.d_kv
    if phase.kind == "forward":
        sizes = dense(config, causal=True)
        return add_self_attention(body, x, group.count, group.q_len, sizes, bias=bias)
    rows, inner, dtype = phase.tokens, config.inner, body.dtypes.kv_cache
    qkv = body.linear("qkv_proj", x, rows, 3 * inner, config.d_model, shard="n")
    shape = (group.count, heads, group.kv_len, d)
    cache = tuple(body.tensor(f"{part}_cache", shape, dtype, Role.KV_CACHE) for part in "kv")
    _add_write(body, "kv_append", qkv, cache, packed_bytes(2 * rows * inner, dtype))
    context = body.attention(
        "attention", (qkv, *cache, bias), group.count, heads, (group.q_len, group.kv_len), d,
        attributes={"causal": True, "bias": True},
    )  # fmt: skip
    return body.linear("o_proj", context, rows, config.d_model, inner, shard="k")


def add_source_attention(
    body: BlockBuilder, config: EncDecConfig, phase: Phase, source: int, x: str, *, encodes: bool
) -> str:
    """Add attention over the source, whose keys and values are made where the encoder ran.

    A decoding step reads them; they stop growing, so they are state of the sequence.
    """
    group, heads, d, h = phase.groups[0], config.num_heads, config.d_kv, config.d_model
    tokens, lengths = group.count * source, (group.q_len, source)
    if phase.kind == "forward":
        encoded = body.activation(ENCODED, tokens, h)
        return add_cross_attention(body, x, encoded, group.count, lengths, dense(config))
    rows, inner, dtype = phase.tokens, config.inner, body.dtypes.kv_cache
    q = body.linear("cross_q_proj", x, rows, inner, h, shard="n")
    shape = (group.count, heads, source, d)
    cache = tuple(body.tensor(f"cross_{part}_cache", shape, dtype, Role.STATE) for part in "kv")
    if encodes:
        encoded = body.activation(ENCODED, tokens, h)
        kv = body.linear("cross_kv_proj", encoded, tokens, 2 * inner, h, shard="n")
        _add_write(body, "cross_kv_write", kv, cache, packed_bytes(2 * tokens * inner, dtype))
    context = body.attention("cross_attention", (q, *cache), group.count, heads, lengths, d)
    return body.linear("cross_o_proj", context, rows, h, inner, shard="k")


def _add_write(
    body: BlockBuilder, name: str, kv: str, cache: tuple[str, ...], size_bytes: int
) -> None:
    """Add the write of keys and values to their cache."""
    dims = {"size_bytes": size_bytes}
    body.operator(name, "transfer", dims, (kv,), cache, "kv_append", "size_bytes")
