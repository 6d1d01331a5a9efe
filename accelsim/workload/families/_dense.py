"""Layers without a cache: self and cross attention, MLPs, embeddings of steps and images.

Encoders, vision networks and diffusion networks are made of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelsim.workload.build import BlockBuilder
from accelsim.workload.frozen import EMPTY

__all__ = [
    "Dense",
    "add_cross_attention",
    "add_plain_norm",
    "add_qk_norm",
    "add_self_attention",
    "add_sum",
]


@dataclass(frozen=True, slots=True)
class Dense:
    """Sizes of an attention without a cache.

    Attributes
    ----------
    width, heads, head_dim : int
        Width of the stream, heads, and width of one head.
    qkv_bias, output_bias : bool
        Biases on the projections.
    qk_norm : str
        Norm of query and key, ``rmsnorm`` or ``layernorm``, over a head's width; over all heads
        together with the suffix ``_all``; empty for none.
    rope : bool
        Rotation of query and key.
    context_width : int
        Width of what a cross attention attends to; that of the stream where 0.
    attributes : mapping
        Of the attention operator.
    """

    width: int
    heads: int
    head_dim: int
    qkv_bias: bool = True
    output_bias: bool = True
    qk_norm: str = ""
    rope: bool = False
    context_width: int = 0
    attributes: Mapping[str, Any] = EMPTY

    @property
    def inner(self) -> int:
        """Width of all heads together."""
        return self.heads * self.head_dim


def add_plain_norm(
    body: BlockBuilder, name: str, x: str, rows: int, columns: int, function: str = "layernorm"
) -> str:
    """Add a norm without weights, as adaptive norms have it."""
    return body.norm(name, x, rows, columns, function, ())


def add_sum(body: BlockBuilder, name: str, x: str, y: str, rows: int, columns: int) -> str:
    """Add a residual sum."""
    return body.elementwise(name, "add", (x, y), rows, columns, label="residual")


def add_qk_norm(body: BlockBuilder, name: str, x: str, rows: int, shape: Dense, parts: int) -> str:
    """Add norm and rotation of the first `parts` parts (query, key) of a projection."""
    if shape.qk_norm:
        function, _, every = shape.qk_norm.partition("_")
        columns, times = (shape.inner, 1) if every else (shape.head_dim, shape.heads)
        kinds = ("weight", "bias") if function == "layernorm" else ("weight",)
        weights = tuple(
            body.vector(f"{name}_norm.{part}.{kind}", columns)
            for part in range(parts)
            for kind in kinds
        )
        x = body.norm(
            f"{name}_norm", x, rows * times * parts, columns, function, weights, shard="rows"
        )
    if shape.rope:
        x = body.elementwise(
            f"{name}_rope", "rope", (x,), rows, parts * shape.inner, operands=1, label="rope",
            shard="columns",
        )  # fmt: skip
    return x


def add_self_attention(
    body: BlockBuilder,
    x: str,
    batch: int,
    tokens: int,
    shape: Dense,
    *,
    prefix: str = "",
    bias: str = "",
    label: str = "linear",
) -> str:
    """Add fused projections, attention over all tokens, and the output projection.

    Parameters
    ----------
    batch, tokens : int
        Sequences and the tokens of each.
    bias : str
        Tensor added to the scores, one value per head and pair; empty for none.
    """
    rows, inner = batch * tokens, shape.inner
    qkv = body.linear(
        f"{prefix}qkv_proj", x, rows, 3 * inner, shape.width, bias=shape.qkv_bias, shard="n",
        label=label,
    )  # fmt: skip
    qk = add_qk_norm(body, f"{prefix}qk", qkv, rows, shape, 2)
    inputs: tuple[str, ...] = (qk, qk, qkv)
    attributes = shape.attributes
    if bias:
        inputs, attributes = (*inputs, bias), {**attributes, "bias": True}
    context = body.attention(
        f"{prefix}attention", inputs, batch, shape.heads, (tokens, tokens), shape.head_dim,
        attributes=attributes,
    )  # fmt: skip
    return body.linear(
        f"{prefix}o_proj", context, rows, shape.width, inner, bias=shape.output_bias, shard="k"
    )


def add_cross_attention(
    body: BlockBuilder,
    x: str,
    context: str,
    batch: int,
    lengths: tuple[int, int],
    shape: Dense,
    *,
    prefix: str = "cross_",
) -> str:
    """Add attention of `lengths[0]` tokens over `lengths[1]` tokens of another sequence."""
    rows, other, inner = batch * lengths[0], batch * lengths[1], shape.inner
    q = body.linear(f"{prefix}q_proj", x, rows, inner, shape.width, bias=shape.qkv_bias, shard="n")
    kv = body.linear(
        f"{prefix}kv_proj", context, other, 2 * inner, shape.context_width or shape.width,
        bias=shape.qkv_bias, shard="n",
    )  # fmt: skip
    k = kv
    if shape.qk_norm:
        q = add_qk_norm(body, f"{prefix}q", q, rows, shape, 1)
        k = add_qk_norm(body, f"{prefix}k", kv, other, shape, 1)
    y = body.attention(
        f"{prefix}attention", (q, k, kv), batch, shape.heads, lengths, shape.head_dim,
        attributes=shape.attributes,
    )  # fmt: skip
    return body.linear(
        f"{prefix}o_proj", y, rows, shape.width, inner, bias=shape.output_bias, shard="k"
    )
