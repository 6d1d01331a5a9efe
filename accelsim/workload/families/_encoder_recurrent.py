"""Attention of Transformer-XL: over a memory of earlier segments, with keys of distances.

References
----------
Dai et al., Transformer-XL, arXiv 1901.02860, section 3.3 (the four terms of the score).
"""

from __future__ import annotations

from accelsim.workload.build import BlockBuilder
from accelsim.workload.families._encoder_config import EncoderConfig
from accelsim.workload.tensor import Role, packed_bytes

__all__ = ["add_recurrent_attention"]


def add_recurrent_attention(
    body: BlockBuilder, config: EncoderConfig, batch: int, lengths: tuple[int, int], x: str
) -> str:
    """Add attention of a segment over itself and `lengths[1]` tokens of memory.

    Notes
    -----
    The score of query i and key j is ``(q_i + u) k_j + (q_i + v) r_(i-j)``.  The second product is
    an operator of its own (label ``attention``) over all distances, read shifted as a bias of the
    fused attention.  Keys and values are made anew from the memory in each pass, which keeps
    hidden states and no keys; queries of the new tokens only (transformers also makes those of
    the memory, and drops them).
    """
    h, heads, d = config.hidden_size, config.num_attention_heads, config.head_width
    new, memory = lengths
    inner, rows, attended = heads * d, batch * new, new + memory
    source = _add_memory(body, x, (batch, attended, h), rows * h) if memory else x
    q = body.linear("q_proj", x, rows, inner, h, shard="n")
    kv = body.linear("kv_proj", source, batch * attended, 2 * inner, h, shard="n")
    distances = body.activation("distance_embedding", attended, h)
    r = body.linear("distance_proj", distances, attended, inner, h, shard="n")
    content, position = (
        body.elementwise(
            f"{name}_query", "add", (q, body.vector(f"{name}_bias", inner)), rows, inner,
            label="attention_bias", shard="columns",
        )
        for name in ("content", "position")
    )  # fmt: skip
    scores = body.activation("distance_scores", batch * heads, new, attended)
    dims = {"batch": heads, "m": rows, "n": attended, "k": d}
    masked = (new * attended - _seen(config, new, memory)) * batch * inner
    body.operator(
        "distance_scores", "matmul", dims, (position, r), (scores,), "attention", "batch",
        {"masked_macs": masked},
    )  # fmt: skip
    attributes: dict[str, object] = {"bias": True}
    if config.causal:
        attributes["causal"] = True
    if config.same_length and memory:
        attributes["window"] = memory
    context = body.attention(
        "attention", (content, kv, kv, scores), batch, heads, (new, attended), d,
        attributes=attributes,
    )  # fmt: skip
    return body.linear("o_proj", context, rows, h, inner, shard="k")


def _add_memory(body: BlockBuilder, x: str, shape: tuple[int, int, int], elements: int) -> str:
    """Add the append of the segment to the memory of its layer; return the memory."""
    dtype = body.dtypes.activation
    memory = body.tensor("memory", shape, dtype, Role.STATE)
    size = packed_bytes(elements, dtype)
    body.operator("memory_append", "transfer", {"size_bytes": size}, (x,), (memory,), "memory")
    return memory


def _seen(config: EncoderConfig, new: int, memory: int) -> int:
    """Return the query-key pairs of a segment that no mask discards."""
    if not config.causal:
        return new * (new + memory)
    if config.same_length and memory:
        return new * memory
    return new * memory + new * (new + 1) // 2
