"""What each standard ONNX operator is as an operator of accelsim: a rule per operator.

A rule takes the context and a node, adds operators to the graph, and returns the values that the
node makes.  Changes of number format are part of what reads them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from accelsim.errors import GraphError
from accelsim.workload.author import Value
from accelsim.workload.importers import _onnx_moves
from accelsim.workload.importers._onnx_context import Context, Rule
from accelsim.workload.importers._onnx_read import Node
from accelsim.workload.tensor import Role

__all__ = ["ELEMENTWISE", "RULES", "elementwise"]

ELEMENTWISE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("Add", "Sub", "Sum", "CumSum", "BitShift", "BitwiseXor", "Mean"), "add"),
    **dict.fromkeys(("Mul", "Div", "Mod", "CumProd"), "mul"),
    **dict.fromkeys(
        ("Where", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not",
         "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseNot", "IsNaN", "IsInf", "Max", "Min", "Abs",
         "Sign", "Floor", "Ceil", "Round", "LeakyRelu", "PRelu", "ThresholdedRelu", "Shrink",
         "Trilu"), "threshold",
    ),
    **dict.fromkeys(
        ("Exp", "Log", "Sqrt", "Reciprocal", "Pow", "Neg", "Erf", "Elu", "Selu", "Celu", "Sin",
         "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"), "exp",
    ),
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Gelu": "gelu", "Softplus": "softplus",
    "Softsign": "softplus", "Mish": "softplus", "HardSwish": "hard_swish", "Swish": "silu",
    "HardSigmoid": "hard_swish", "Clip": "relu6",
    "!gelu": "gelu", "!gelu_tanh": "gelu_tanh", "!silu": "silu", "!quick_gelu": "quick_gelu",
    "com.microsoft.Gelu": "gelu", "com.microsoft.FastGelu": "gelu_tanh",
    "com.microsoft.QuickGelu": "quick_gelu", "com.microsoft.BiasGelu": "gelu",
    "com.microsoft.QLinearAdd": "add", "com.microsoft.QLinearMul": "mul",
    "com.microsoft.QLinearSigmoid": "sigmoid", "com.microsoft.QLinearLeakyRelu": "threshold",
}  # fmt: skip
"""Operator -> elementwise function of the same cost per element."""

_ACTIVATIONS: Final = frozenset(
    {"relu", "sigmoid", "tanh", "gelu", "gelu_tanh", "quick_gelu", "silu", "softplus",
     "hard_swish", "relu6"}
)  # fmt: skip


def elementwise(c: Context, node: Node, function: str = "") -> Value:
    """Add an elementwise function; a constant of one element is part of the operator."""
    function = function or ELEMENTWISE[node.op]
    label = "activation" if function in _ACTIVATIONS else "elementwise"
    data = [0, 3] if node.op.startswith("com.microsoft.QLinear") else range(len(node.inputs))
    names = [node.inputs[i] for i in data if i < len(node.inputs) and node.inputs[i]]
    if node.op in ("Clip", "Trilu", "CumSum", "CumProd"):
        names = names[:1]
    operands = [c.value(name) for name in names if not c.is_scalar(name)]
    if node.op == "Gelu" and node.attributes.get("approximate") == "tanh":
        function = "gelu_tanh"
    if node.op == "PRelu" and operands[1:] and operands[1].shape != operands[0].shape:
        spare = len(operands[0].shape) - len(operands[1].shape) - 1
        shape = operands[1].shape + (1,) * spare if spare > 0 else operands[1].shape
        operands[1] = c.graph.reshape(operands[1], shape)  # one slope per channel
    if function == "add" and len(operands) == 2:
        label = "residual" if all(x.role is Role.ACTIVATION for x in operands) else "bias"
    return c.graph.elementwise(function, *operands, name=c.name(node), label=label)


# ---------------------------------------------------------------- matrix products


def _conv(c: Context, node: Node, places: tuple[int, int, int] = (0, 1, 2)) -> Value:
    x, weight = c.value(node.inputs[places[0]]), c.value(node.inputs[places[1]])
    bias = c.optional(node, places[2])
    shape, made = c.shape(node.inputs[places[1]]), c.made(node).shape
    transposed = node.op == "ConvTranspose"
    if weight.role is not Role.WEIGHT:
        raise GraphError(f"{node}: its kernel is computed from the inputs, not a weight")
    rank = len(shape) - 2
    return c.graph.conv(
        x,
        made[1],
        shape[2:],
        stride=node.attributes.get("strides", (1,) * rank),
        dilation=node.attributes.get("dilations", (1,) * rank),
        groups=node.attributes.get("group", 1),
        bias=False if bias is None else bias,
        transposed=transposed,
        size=made[2:],
        weight=weight,
        name=c.name(node),
    )


def _gemm(c: Context, node: Node) -> Value:
    a, b = c.value(node.inputs[0]), c.value(node.inputs[1])
    if node.attributes.get("transA"):
        a = c.graph.transpose(a)
    if not node.attributes.get("transB"):
        b = c.graph.transpose(b)
    added = c.optional(node, 2)
    name = c.name(node)
    if b.role is Role.WEIGHT:
        features = b.shape[0]
        fits = added is not None and added.role is Role.WEIGHT and added.elements == features
        y = c.graph.linear(
            a, features, weight=b, bias=added if fits and added else False, name=name
        )
        added = None if fits else added
    else:
        y = c.graph.matmul(a, c.graph.transpose(b), name=name)
    if added is None or c.is_scalar(node.inputs[2]):
        return y
    return c.graph.elementwise("add", y, added, name=f"{name}.bias", label="bias")


def _matmul(c: Context, node: Node, places: tuple[int, int] = (0, 1)) -> Value:
    a, b = (c.value(node.inputs[place]) for place in places)
    if node.attributes.get("transA"):
        a = _swapped(c, a)
    if node.attributes.get("transB"):
        b = _swapped(c, b)
    if len(a.shape) == 1:
        a = c.graph.reshape(a, (1, *a.shape))
    if len(b.shape) == 1:
        b = c.graph.reshape(b, (*b.shape, 1))
    return c.graph.matmul(a, b, name=c.name(node))


def _swapped(c: Context, x: Value) -> Value:
    last = len(x.shape) - 1
    return c.graph.transpose(x, *range(last - 1), last, last - 1)


def _linear(c: Context, node: Node) -> Value:
    """Return a linear layer with its bias, which the file adds apart."""
    x, weight, bias = (c.value(name) for name in node.inputs)
    return c.graph.linear(x, weight.shape[1], weight=weight, bias=bias, name=c.name(node))


def _einsum(c: Context, node: Node) -> Value:
    from accelsim.workload.importers._contraction import add_einsum

    operands = [c.value(name) for name in node.inputs]
    return add_einsum(c.graph, str(node.attributes["equation"]), operands, c.name(node))


# ---------------------------------------------------------------- rows


def _layer_norm(c: Context, node: Node) -> Value:
    shape = c.shape(node.inputs[0])
    columns = math.prod(shape[node.attributes.get("axis", -1) :])
    function = "layernorm" if node.op in ("LayerNormalization",) else "rmsnorm"
    return _norm(c, node, function, columns, node.inputs[1:3])


def _norm(c: Context, node: Node, function: str, columns: int, weights: tuple[str, ...]) -> Value:
    """Add a norm whose weights may be spread, or be absent."""
    vectors, x = [], c.value(node.inputs[0])
    for name in weights:
        if name and not c.is_scalar(name):
            vector = c.value(name)
            if vector.elements != columns:
                raise GraphError(f"{node}: `{name}` has not one element for each of {columns}")
            vectors.append(vector)
    return c.graph.norm(x, function, weights=vectors, columns=columns, name=c.name(node))


def _fused_norm(c: Context, node: Node) -> Value:
    function, shape = str(node.attributes["function"]), c.shape(node.inputs[0])
    columns = shape[1] if function == "groupnorm" else shape[-1]
    return _norm(c, node, function, columns, node.inputs[1:])


def _channel_norm(c: Context, node: Node) -> Value:
    functions = {
        "BatchNormalization": "batchnorm", "InstanceNormalization": "instancenorm",
        "GroupNormalization": "groupnorm",
    }  # fmt: skip
    channels = c.shape(node.inputs[0])[1]
    weights = tuple(n for n in node.inputs[1:3] if c.shape(n) == (channels,))
    return _norm(c, node, functions[node.op], channels, weights)


def _lp_norm(c: Context, node: Node) -> Value:
    return _norm(c, node, "l2norm", c.shape(node.inputs[0])[node.attributes.get("axis", -1)], ())


def _mean_variance(c: Context, node: Node) -> Value:
    shape, axes = c.shape(node.inputs[0]), node.attributes.get("axes", (0, 2, 3))
    columns = math.prod(shape[axis] for axis in axes)
    return _norm(c, node, "layernorm", columns, ())


def _lrn(c: Context, node: Node) -> Value:
    """Sum the squares of neighbouring channels, and divide by a power of the sum."""
    x, name = c.value(node.inputs[0]), c.name(node)
    sums = c.windowed(x, x.shape, int(node.attributes["size"]), "sum", f"{name}.sum", "norm")
    return c.graph.elementwise("mul", x, sums, name=name, label="norm")


def _softmax(c: Context, node: Node) -> Value:
    x, axis = c.value(node.inputs[0]), node.attributes.get("axis", -1)
    columns = x.shape[axis]
    y = c.graph.softmax(c.graph.reshape(x, (-1, columns)), name=c.name(node))
    return c.graph.reshape(y, x.shape)


_REDUCTIONS: Final[Mapping[str, str]] = {
    "ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "max", "ReduceMin": "max",
    "ReduceProd": "sum", "ReduceL1": "sum", "ReduceL2": "sum", "ReduceLogSum": "sum",
    "ReduceLogSumExp": "sum", "ReduceSumSquare": "sum", "ArgMax": "max", "ArgMin": "max",
    "GlobalAveragePool": "mean", "GlobalMaxPool": "max", "GlobalLpPool": "sum",
}  # fmt: skip


def _reduce(c: Context, node: Node) -> Value:
    x, made = c.graph.whole(c.value(node.inputs[0])), c.made(node)
    terms = x.elements // made.elements
    if terms == 1:
        return c.graph.reshape(x, made.shape)
    label = "pool" if node.op.startswith("Global") else "reduce"
    return c.windowed(x, made.shape, terms, _REDUCTIONS[node.op], c.name(node), label)


def _pool(c: Context, node: Node) -> Value:
    function = "max" if node.op == "MaxPool" else "mean" if node.op == "AveragePool" else "sum"
    return c.graph.pool(
        c.value(node.inputs[0]),
        node.attributes["kernel_shape"],
        function=function,
        size=c.made(node).shape[2:],
        name=c.name(node),
    )


def _top_k(c: Context, node: Node) -> tuple[Value, ...]:
    x, made = c.value(node.inputs[0]), c.made(node)
    axis = node.attributes.get("axis", -1)
    rows = c.graph.reshape(x, (-1, x.shape[axis]))
    return c.graph.route(rows, made.shape[axis], name=c.name(node))


# ---------------------------------------------------------------- quantisation


def _quantise(c: Context, node: Node) -> Value:
    """Scale, round and clamp."""
    x = c.value(node.inputs[0])
    return c.graph.elementwise("relu6", x, name=c.name(node), label="quantise")


def _dynamic_quantise(c: Context, node: Node) -> tuple[Value, ...]:
    x, name = c.graph.whole(c.value(node.inputs[0])), c.name(node)
    flat = c.graph.reshape(x, (1, -1))
    y = c.graph.elementwise("relu6", x, name=name, label="quantise")
    c.graph.result_dtype = x.dtype
    scale = c.graph.reduce(flat, "max", (-1,), name=f"{name}.scale")
    return y, c.graph.reshape(scale, ()), c.graph.reshape(scale, ())


def _dequantise(c: Context, node: Node) -> Value:
    return c.value(node.inputs[0])


def _quantised_conv(c: Context, node: Node) -> Value:
    return _conv(c, node, (0, 3, 8))


def _quantised_matmul(c: Context, node: Node) -> Value:
    return _matmul(c, node, (0, 3))


def _integer_conv(c: Context, node: Node) -> Value:
    return _conv(c, node, (0, 1, 99))


RULES: Final[Mapping[str, Rule]] = {
    **_onnx_moves.RULES,
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(("AveragePool", "MaxPool", "LpPool"), _pool),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _layer_norm),
    **dict.fromkeys(
        ("BatchNormalization", "InstanceNormalization", "GroupNormalization"), _channel_norm
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _softmax),
    "SimplifiedLayerNormalization": _layer_norm,
    "com.microsoft.SimplifiedLayerNormalization": _layer_norm,
    "!Norm": _fused_norm, "!Linear": _linear,
    "LpNormalization": _lp_norm, "MeanVarianceNormalization": _mean_variance, "LRN": _lrn,
    "Conv": _conv, "ConvTranspose": _conv, "Gemm": _gemm, "MatMul": _matmul, "Einsum": _einsum,
    "com.microsoft.FusedMatMul": _matmul,
    "TopK": _top_k,
    "QuantizeLinear": _quantise, "DequantizeLinear": _dequantise,
    "com.microsoft.QuantizeLinear": _quantise, "com.microsoft.DequantizeLinear": _dequantise,
    "DynamicQuantizeLinear": _dynamic_quantise, "QLinearConv": _quantised_conv,
    "QLinearMatMul": _quantised_matmul, "MatMulInteger": _matmul, "ConvInteger": _integer_conv,
}  # fmt: skip
"""Operator -> its rule; those of ONNX Runtime and attention stand in `_onnx_fused`."""
