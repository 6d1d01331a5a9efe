"""Shapes of what operators beyond the standard make: those of ONNX Runtime, and mapped ones.

Each rule takes the node and the arrays of its inputs, and gives shape and format of each output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from accelsim.errors import GraphError

if TYPE_CHECKING:
    from accelsim.workload.importers._onnx_read import Array, Node

__all__ = ["EXTENSIONS", "RULES", "shapes"]

Found = tuple[tuple[int, ...], str] | None
Rule = Callable[["Node", Sequence["Array | None"]], list[Found]]


def shapes(rule: str, node: Node, arrays: Sequence[Array | None]) -> list[Found]:
    """Return shape and format of each output of a node.

    Raises
    ------
    GraphError
        If an input that the shape follows from is absent.
    """
    try:
        return RULES[rule](node, arrays)
    except (AttributeError, IndexError, KeyError, TypeError):
        raise GraphError(f"{node}: lacks an input or an attribute") from None


def _need(arrays: Sequence[Array | None], index: int) -> Array:
    array = arrays[index]
    if array is None:
        raise IndexError
    return array


def _same(node: Node, arrays: Sequence[Array | None]) -> list[Found]:
    first = _need(arrays, 0)
    return [(first.shape, first.dtype)] * len(node.outputs)


def _skip_norm(node: Node, arrays: Sequence[Array | None]) -> list[Found]:
    x = _need(arrays, 0)
    row = (*x.shape[:-1], 1)
    return [(x.shape, x.dtype), (row, "fp32"), (row, "fp32"), (x.shape, x.dtype)]


def _matmul_n_bits(node: Node, arrays: Sequence[Array | None]) -> list[Found]:
    x = _need(arrays, 0)
    return [((*x.shape[:-1], int(node.attributes["N"])), x.dtype)]


def _fused_matmul(node: Node, arrays: Sequence[Array | None]) -> list[Found]:
    from accelsim.workload._author_value import broadcast

    a, b = _need(arrays, 0), _need(arrays, 1)
    rows = a.shape[-1] if node.attributes.get("transA") else a.shape[-2]
    columns = b.shape[-2] if node.attributes.get("transB") else b.shape[-1]
    return [((*broadcast(a.shape[:-2], b.shape[:-2]), rows, columns), a.dtype)]


def _grouped_attention(node: Node, arrays: Sequence[Array | None]) -> list[Found]:
    q, past = _need(arrays, 0), arrays[3] if len(arrays) > 3 else None
    heads, kv_heads = int(node.attributes["num_heads"]), int(node.attributes["kv_num_heads"])
    packed = arrays[1] is None
    width = q.shape[2] // (heads + 2 * kv_heads if packed else heads)
    length = q.shape[1] + (past.shape[2] if past else 0)
    cache = ((q.shape[0], kv_heads, length, width), past.dtype if past else q.dtype)
    return [((*q.shape[:2], heads * width), q.dtype), cache, cache]


def _multi_head_attention(node: Node, arrays: Sequence[Array | None]) -> list[Found]:
    q = _need(arrays, 0)
    heads = int(node.attributes["num_heads"])
    if len(q.shape) == 5:  # (batch, tokens, heads, 3, width)
        batch, tokens, _, _, width = q.shape
        return [((batch, tokens, heads * width), q.dtype)]
    key = arrays[1] if len(arrays) > 1 else None
    value = arrays[2] if len(arrays) > 2 else None
    past = arrays[6] if len(arrays) > 6 else None
    if key is not None and len(key.shape) == 5:  # (batch, tokens, heads, 2, width)
        columns, length = heads * key.shape[4], key.shape[1]
    elif value is not None and len(value.shape) == 4:
        columns, length = heads * value.shape[3], value.shape[2]
    else:
        known = value or q
        columns, length = known.shape[2], known.shape[1]
    length += past.shape[2] if past else 0
    cache = ((q.shape[0], heads, length, columns // heads), q.dtype)
    return [((*q.shape[:2], columns), q.dtype), cache, cache]


def _packed_attention(node: Node, arrays: Sequence[Array | None]) -> list[Found]:
    x, weight = _need(arrays, 0), _need(arrays, 1)
    sizes = node.attributes.get("qkv_hidden_sizes")
    width = int(sizes[2]) if sizes else weight.shape[1] // 3
    return [((*x.shape[:2], width), x.dtype)]


def _embed_norm(node: Node, arrays: Sequence[Array | None]) -> list[Found]:
    ids, words = _need(arrays, 0), _need(arrays, 2)
    made = ((*ids.shape, words.shape[1]), words.dtype)
    return [made, ((ids.shape[0],), "int32"), made]


def _quantised_gemm(node: Node, arrays: Sequence[Array | None]) -> list[Found]:
    a, b = _need(arrays, 0), _need(arrays, 3)
    rows = a.shape[1] if node.attributes.get("transA") else a.shape[0]
    columns = b.shape[0] if node.attributes.get("transB") else b.shape[1]
    return [((rows, columns), a.dtype)]


def _quantised_pair(node: Node, arrays: Sequence[Array | None]) -> list[Found]:
    from accelsim.workload._author_value import broadcast

    a, b = _need(arrays, 0), _need(arrays, 3)
    return [(broadcast(a.shape, b.shape), a.dtype)]


_MICROSOFT: Final[Mapping[str, str]] = {
    "FastGelu": "same", "BiasGelu": "same", "QuickGelu": "same", "Gelu": "same",
    "RotaryEmbedding": "same", "SimplifiedLayerNormalization": "same",
    "SkipLayerNormalization": "skip_norm", "SkipSimplifiedLayerNormalization": "skip_norm",
    "MatMulNBits": "matmul_n_bits", "FusedMatMul": "fused_matmul",
    "GroupQueryAttention": "grouped_attention", "MultiHeadAttention": "multi_head_attention",
    "Attention": "packed_attention", "EmbedLayerNormalization": "embed_norm",
    "QGemm": "quantised_gemm", "QLinearAdd": "quantised_pair", "QLinearMul": "quantised_pair",
    "QLinearSigmoid": "same", "QLinearLeakyRelu": "same", "DequantizeLinear": "same",
    "QuantizeLinear": "same",
}  # fmt: skip
EXTENSIONS: Final[Mapping[str, str]] = {
    **{f"com.microsoft.{op}": rule for op, rule in _MICROSOFT.items()},
    "SimplifiedLayerNormalization": "same",  # ONNX Runtime writes it without a domain
}
"""Operator beyond the standard -> name of its rule."""

RULES: Final[Mapping[str, Rule]] = {
    "same": _same,
    "skip_norm": _skip_norm,
    "matmul_n_bits": _matmul_n_bits,
    "fused_matmul": _fused_matmul,
    "grouped_attention": _grouped_attention,
    "multi_head_attention": _multi_head_attention,
    "packed_attention": _packed_attention,
    "embed_norm": _embed_norm,
    "quantised_gemm": _quantised_gemm,
    "quantised_pair": _quantised_pair,
}
