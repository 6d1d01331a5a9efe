"""Rules of the ONNX operators that fuse several: attention, and what ONNX Runtime writes.

Keys and values that such an operator appends to a cache become an append of the new tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from accelsim.errors import GraphError
from accelsim.workload.author import Value
from accelsim.workload.importers._onnx_context import Context, Rule
from accelsim.workload.importers._onnx_read import Node
from accelsim.workload.importers._onnx_rules import elementwise
from accelsim.workload.tensor import DTYPE_BITS

__all__ = ["RULES"]


def _found_attention(c: Context, node: Node) -> Value:
    """Attention that was written out: queries, transposed keys, values, and perhaps a bias."""
    q, k, v = (c.value(name) for name in node.inputs[:3])
    if not node.attributes["keys_by_rows"]:
        last = len(k.shape) - 1
        k = c.graph.transpose(k, *range(last - 1), last, last - 1)
    scores: tuple[int, ...] = node.attributes["scores"]
    heads, batch = scores[-3], math.prod(scores[:-3])
    wide = [_four(c, x, batch, heads) for x in (q, k, v)]
    bias = c.value(node.inputs[3]) if len(node.inputs) > 3 else None
    y = c.graph.attention(wide[0], wide[1], wide[2], heads=heads, bias=bias, name=c.name(node))
    return c.graph.reshape(y, c.made(node).shape)


def _four(c: Context, x: Value, batch: int, heads: int) -> Value:
    """Return an operand as (batch, heads, tokens, width); what is broadcast stays so."""
    full = c.graph.expand(x, (*_leading(batch, heads, x), *x.shape[-2:]))
    return c.graph.reshape(full, (batch, heads, *x.shape[-2:]))


def _leading(batch: int, heads: int, x: Value) -> tuple[int, ...]:
    lead = x.shape[:-2]
    return lead if math.prod(lead) == batch * heads else (batch, heads)


def _attention(c: Context, node: Node) -> tuple[Value, ...]:
    """Attention of opset 23."""
    q, k, v = (c.value(name) for name in node.inputs[:3])
    heads = node.attributes.get("q_num_heads") or (q.shape[1] if len(q.shape) == 4 else 0)
    kv_heads = node.attributes.get("kv_num_heads", 0)  # with 4 dimensions the shapes say
    if not heads or (len(k.shape) == 3 and not kv_heads):
        raise GraphError(f"{node}: q_num_heads and kv_num_heads are needed with 3 dimensions")
    layout, name = q.shape, c.name(node)
    q, k, v = _by_heads(c, q, heads), _by_heads(c, k, kv_heads), _by_heads(c, v, kv_heads)
    causal = bool(node.attributes.get("is_causal"))
    caches: tuple[Value, ...] = ()
    if len(node.outputs) > 2 and node.outputs[1]:
        k, v = _appended(c, node, (k, v), node.outputs[1:3])
        caches = (k, v)
    y = c.graph.attention(q, k, v, heads=heads, kv_heads=kv_heads, causal=causal, name=name)
    if len(layout) == 3:
        y = _joined(c, y)
    return y, *caches


def _by_heads(c: Context, x: Value, heads: int) -> Value:
    """Return (batch, tokens, heads * width) as (batch, heads, tokens, width)."""
    if len(x.shape) == 4:
        return x
    batch, tokens, columns = x.shape
    return c.graph.transpose(
        c.graph.reshape(x, (batch, tokens, heads, columns // heads)), 0, 2, 1, 3
    )


def _joined(c: Context, y: Value) -> Value:
    batch, heads, tokens, width = y.shape
    return c.graph.reshape(c.graph.transpose(y, 0, 2, 1, 3), (batch, tokens, heads * width))


def _appended(
    c: Context, node: Node, new: tuple[Value, Value], names: tuple[str, ...]
) -> tuple[Value, Value]:
    """Return the caches of keys and values with the new tokens."""
    k, v = (
        c.cache(name, c.array(name), x, f"{c.name(node)}.{part}")
        for name, x, part in zip(names, new, ("key", "value"), strict=True)
    )
    return k, v


def _grouped_attention(c: Context, node: Node) -> tuple[Value, ...]:
    """Grouped-query attention of ONNX Runtime: causal, over a cache, with rotary embedding."""
    heads, kv_heads = int(node.attributes["num_heads"]), int(node.attributes["kv_num_heads"])
    name = c.name(node)
    if node.inputs[1]:
        q, k, v = (c.value(given) for given in node.inputs[:3])
    else:
        packed = c.value(node.inputs[0])
        width = packed.shape[2] // (heads + 2 * kv_heads)
        sizes = [heads * width, kv_heads * width, kv_heads * width]
        q, k, v = c.graph.split(packed, sizes)
    if node.attributes.get("do_rotary"):
        q = c.graph.rope(q, name=f"{name}.rope_q")
        k = c.graph.rope(k, name=f"{name}.rope_k")
    q, k, v = _by_heads(c, q, heads), _by_heads(c, k, kv_heads), _by_heads(c, v, kv_heads)
    caches: tuple[Value, ...] = ()
    if len(node.outputs) > 2 and node.outputs[1]:
        k, v = _appended(c, node, (k, v), node.outputs[1:3])
        caches = (k, v)
    window = max(0, int(node.attributes.get("local_window_size", -1)))
    y = c.graph.attention(
        q, k, v, heads=heads, kv_heads=kv_heads, causal=True, window=window, name=name
    )
    return _joined(c, y), *caches


def _multi_head(c: Context, node: Node) -> tuple[Value, ...]:
    """Multi-head attention of ONNX Runtime; queries, keys and values may come packed."""
    heads, name = int(node.attributes["num_heads"]), c.name(node)
    given = [c.optional(node, place) for place in range(3)]
    q, k, v = _unpacked(c, given, heads, node)
    bias = c.optional(node, 3)
    if bias is not None:  # one vector for queries, keys and values together
        q = c.graph.elementwise("add", q, c.graph.part(bias, _width(q)), name=f"{name}.bias_q")
        k = c.graph.elementwise("add", k, c.graph.part(bias, _width(k)), name=f"{name}.bias_k")
        v = c.graph.elementwise("add", v, c.graph.part(bias, _width(v)), name=f"{name}.bias_v")
    q, k, v = (_by_heads(c, x, heads) for x in (q, k, v))
    caches: tuple[Value, ...] = ()
    if len(node.outputs) > 2 and node.outputs[1]:
        k, v = _appended(c, node, (k, v), node.outputs[1:3])
        caches = (k, v)
    causal = bool(node.attributes.get("unidirectional"))
    y = c.graph.attention(q, k, v, heads=heads, kv_heads=heads, causal=causal, name=name)
    return _joined(c, y), *caches


def _width(x: Value) -> int:
    return x.shape[-1] if len(x.shape) == 3 else x.shape[1] * x.shape[3]


def _unpacked(
    c: Context, given: list[Value | None], heads: int, node: Node
) -> tuple[Value, Value, Value]:
    q, k, v = given
    if q is not None and k is not None and v is not None:
        return q, k, v
    packed = q if k is None else k
    if q is None or packed is None or len(packed.shape) != 5:
        raise GraphError(f"{node}: queries, keys or values are absent and not packed")
    batch, tokens, _, parts, width = packed.shape
    split = [
        c.graph.reshape(c.graph.part(packed, 1, 3), (batch, tokens, heads * width))
        for _ in range(parts)
    ]
    return (split[0], split[1], split[2]) if k is None else (q, split[0], split[1])


def _packed_attention(c: Context, node: Node) -> Value:
    """Attention of ONNX Runtime: projection to queries, keys and values, then attention."""
    x, weight, bias = c.value(node.inputs[0]), c.value(node.inputs[1]), c.optional(node, 2)
    heads, name, columns = int(node.attributes["num_heads"]), c.name(node), weight.shape[1]
    qkv = c.graph.linear(
        x, columns, weight=weight, bias=False if bias is None else bias, name=f"{name}.qkv"
    )
    sizes = node.attributes.get("qkv_hidden_sizes") or (columns // 3,) * 3
    q, k, v = (_by_heads(c, part, heads) for part in c.graph.split(qkv, list(sizes)))
    causal = bool(node.attributes.get("unidirectional"))
    y = c.graph.attention(q, k, v, heads=heads, kv_heads=heads, causal=causal, name=name)
    return _joined(c, y)


def _rope(c: Context, node: Node) -> Value:
    return c.graph.rope(c.value(node.inputs[0]), name=c.name(node))


def _skip_norm(c: Context, node: Node) -> tuple[Value, ...]:
    """A residual add, and a norm of its result."""
    name = c.name(node)
    total = c.graph.add(c.value(node.inputs[0]), c.value(node.inputs[1]), name=f"{name}.add")
    simple = "Simplified" in node.op
    weights = [c.value(n) for n in node.inputs[2 : 3 if simple else 4] if n]
    bias = c.optional(node, 3 if simple else 4)
    if bias is not None:
        total = c.graph.elementwise("add", total, bias, name=f"{name}.bias", label="bias")
    function = "rmsnorm" if simple else "layernorm"
    y = c.graph.norm(total, function, weights=weights, name=name)
    return y, total, total, total  # the second and third, statistics, are training's


def _embed_norm(c: Context, node: Node) -> tuple[Value, ...]:
    """Embeddings of words, positions and segments, and the norm of their sum."""
    name = c.name(node)
    ids, segments = c.value(node.inputs[0]), c.optional(node, 1)
    words, positions = c.value(node.inputs[2]), c.value(node.inputs[3])
    table = c.optional(node, 4)
    x = c.graph.gather(words, ids, name=f"{name}.words", label="embedding")
    x = c.graph.add(x, c.graph.part(positions, ids.shape[1], 0), name=f"{name}.positions")
    if segments is not None and table is not None:
        y = c.graph.gather(table, segments, name=f"{name}.segments", label="embedding")
        x = c.graph.add(x, y, name=f"{name}.sum")
    weights = [c.value(n) for n in node.inputs[5:7] if n]
    y = c.graph.norm(x, "layernorm", weights=weights, name=name)
    return y, x, x


def _matmul_n_bits(c: Context, node: Node) -> Value:
    """A linear layer whose weight is quantised in groups."""
    bits, group = int(node.attributes["bits"]), int(node.attributes["block_size"])
    features, k = int(node.attributes["N"]), int(node.attributes["K"])
    scale = c.array(node.inputs[2]).dtype
    zero = "z" if len(node.inputs) > 3 and node.inputs[3] else ""
    dtype = f"int{bits}_g{group}{zero}" + ("" if scale == "fp16" else f"_{scale}")
    if f"int{bits}" not in DTYPE_BITS:
        raise GraphError(f"{node}: weights of {bits} bits have no format")
    weight = c.graph.weight(node.inputs[1], (features, k), dtype)
    bias = c.optional(node, 5)
    return c.graph.linear(
        c.value(node.inputs[0]), features, weight=weight,
        bias=False if bias is None else bias, name=c.name(node),
    )  # fmt: skip


def _quantised_gemm(c: Context, node: Node) -> Value:
    x, weight, bias = c.value(node.inputs[0]), c.value(node.inputs[3]), c.optional(node, 6)
    features = weight.shape[0 if node.attributes.get("transB") else 1]
    return c.graph.linear(
        x, features, weight=weight, bias=False if bias is None else bias, name=c.name(node)
    )


def _bias_gelu(c: Context, node: Node) -> Value:
    x, bias = c.value(node.inputs[0]), c.optional(node, 1)
    if bias is not None:
        x = c.graph.elementwise("add", x, bias, name=f"{c.name(node)}.bias", label="bias")
    tanh = node.op.endswith("FastGelu")
    return c.graph.gelu(x, tanh=tanh, name=c.name(node))


RULES: Final[Mapping[str, Rule]] = {
    "!Attention": _found_attention, "!Rope": _rope,
    "Attention": _attention, "RotaryEmbedding": _rope,
    "com.microsoft.RotaryEmbedding": _rope,
    "com.microsoft.GroupQueryAttention": _grouped_attention,
    "com.microsoft.MultiHeadAttention": _multi_head,
    "com.microsoft.Attention": _packed_attention,
    "com.microsoft.SkipLayerNormalization": _skip_norm,
    "com.microsoft.SkipSimplifiedLayerNormalization": _skip_norm,
    "com.microsoft.EmbedLayerNormalization": _embed_norm,
    "com.microsoft.MatMulNBits": _matmul_n_bits, "com.microsoft.QGemm": _quantised_gemm,
    "com.microsoft.BiasGelu": _bias_gelu, "com.microsoft.FastGelu": _bias_gelu,
    "com.microsoft.QuickGelu": elementwise, "com.microsoft.Gelu": elementwise,
}  # fmt: skip
"""Operator -> its rule; they come before those of `_onnx_rules`."""
