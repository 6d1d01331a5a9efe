"""One rule per canonical class: a recorded call to a node with the dims of its operator kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.errors import GraphError
from accelsim.workload.importers._torch_aten import (
    CONV,
    ELEMENTWISE,
    MATMUL,
    MOVES,
    NORM,
    REDUCE,
    SCATTER,
    base_name,
)
from accelsim.workload.importers._torch_matmul import matmul
from accelsim.workload.importers._torch_nodes import Context, Node
from accelsim.workload.importers._torch_recording import Call, Frame, View
from accelsim.workload.tensor import packed_bytes

__all__ = ["INDEX", "UNARY", "elementwise", "rows_columns", "rule", "transfer"]

INDEX: Final = "index"
"""Kind of a node that no operator kind can express; it must be part of a routing."""

Rule = Callable[[Context, Call, Frame], Node]


def rows_columns(shape: tuple[int, ...]) -> dict[str, int]:
    """Return rows and columns of an array: its last dimension is a row."""
    columns = shape[-1] if shape else 1
    return {"rows": math.prod(shape) // columns, "columns": columns}


def _conv(context: Context, call: Call, frame: Frame) -> Node:
    x = context.resolve(call.inputs[0])
    weight, bias = call.tensor("weight"), call.tensor("bias")
    if weight is None or not context.is_weight(weight):
        raise GraphError(
            f"module `{frame.path}`: `{call.op}` has a kernel that is computed, not a parameter"
        )
    out = call.outputs[0]
    rank = len(weight.shape) - 2
    groups = int(call.arguments.get("groups", 1))
    transposed = "transpose" in call.op or bool(call.arguments.get("transposed"))
    batch = call.inputs[0].shape[0] if len(call.inputs[0].shape) == rank + 2 else 1
    channels = call.inputs[0].shape[-rank - 1]
    dims = {
        "batch": batch, "groups": groups, "in_channels": channels // groups,
        "out_channels": weight.shape[1] if transposed else weight.shape[0] // groups,
    }  # fmt: skip
    shapes = (("in", call.inputs[0].shape), ("out", out.shape), ("kernel", weight.shape))
    for which, shape in shapes:
        sides = ("depth", "height", "width")[-max(rank, 2) :]
        sizes = (1,) * (len(sides) - rank) + shape[-rank:]
        dims |= {f"{which}_{side}": size for side, size in zip(sides, sizes, strict=True)}
    attributes: dict[str, Any] = {"stride": _tuple(call.arguments.get("stride", 1), rank)}
    dilation = _tuple(call.arguments.get("dilation", 1), rank)
    if set(dilation) != {1}:
        attributes["dilation"] = dilation
    if transposed:
        attributes["transposed"] = True
    reads = [x, context.resolve(weight), *([context.resolve(bias)] if bias else [])]
    return Node("conv", frame.path, "conv", reads, [out], dims, attributes, "conv")


def _tuple(value: Any, rank: int) -> tuple[int, ...]:
    sizes = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return tuple(int(n) for n in (sizes * rank if len(sizes) == 1 else sizes))


def _attention(context: Context, call: Call, frame: Frame) -> Node:
    query, key, value = call.inputs[:3]
    mask = call.tensor("attn_mask")
    causal = bool(call.arguments.get("is_causal"))
    q_len = query.shape[-2]
    if mask is not None or q_len == 1:
        causal = causal or bool(frame.facts.get("is_causal"))
    node = attention(context, (query, key, value), call.outputs[0], frame, causal)
    pairs = node.dims["heads"] * q_len * key.shape[-2]
    biased = mask is not None and not context.is_constant(mask) and node.dims["heads"] > 1
    if mask is not None and biased and context.resolve(mask).elements % pairs == 0:
        node.reads.append(context.resolve(mask))
        node.attributes["bias"] = True
    return node


def attention(
    context: Context, operands: tuple[View, View, View], out: View, frame: Frame, causal: bool
) -> Node:
    """Return fused attention of query, key and value of shape (..., heads, tokens, width)."""
    query, key, value = operands
    batch = math.prod(query.shape[:-3])
    heads = query.shape[-3] if len(query.shape) > 2 else 1
    kv_len, width, value_dim = key.shape[-2], key.shape[-1], value.shape[-1]
    # Keys expanded to all query heads are read once per head that has some of its own.
    source = context.resolve(key)
    kv_heads = max(1, min(heads, source.elements // (batch * kv_len * width)))
    if heads % kv_heads:
        kv_heads = key.shape[-3]
    dims = {
        "batch": batch, "heads": heads, "kv_heads": kv_heads, "q_len": query.shape[-2],
        "kv_len": kv_len, "head_dim": width, "value_dim": value_dim,
    }  # fmt: skip
    attributes: dict[str, Any] = {}
    if causal and dims["q_len"] <= kv_len:
        attributes["causal"] = True
        window = frame.facts.get("sliding_window")
        if isinstance(window, int) and not isinstance(window, bool) and window:
            attributes["window"] = window
    reads = [context.resolve(view) for view in operands]
    return Node("attention", frame.path, "attention", reads, [out], dims, attributes, "attention")


def _norm(context: Context, call: Call, frame: Frame) -> Node:
    x, out = context.resolve(call.inputs[0]), call.outputs[0]
    weights = [
        context.resolve(view)
        for name in ("weight", "bias", "gamma", "beta", "input_weight")
        if (view := call.tensor(name)) is not None
    ]
    function = NORM[base_name(call.op)]
    shape = call.arguments.get("normalized_shape")
    if weights:
        columns = weights[0].elements
    elif shape:
        columns = math.prod(shape)
    else:
        columns = call.inputs[0].shape[1]
    dims = {"rows": call.inputs[0].size // columns, "columns": columns}
    return Node(
        "norm", frame.path, "norm", [x, *weights], [out], dims, {"function": function}, "norm"
    )


def _softmax(context: Context, call: Call, frame: Frame) -> Node:
    x = call.inputs[0]
    columns = x.shape[int(call.arguments.get("dim", -1))]
    dims = {"rows": x.size // columns, "columns": columns}
    reads = [context.resolve(x)]
    return Node("softmax", frame.path, "softmax", reads, list(call.outputs[:1]), dims)


def _reduce(context: Context, call: Call, frame: Frame) -> Node:
    x, out = context.resolve(call.inputs[0]), call.outputs[0]
    function = REDUCE[base_name(call.op)]
    kernel = call.arguments.get("kernel_size")
    terms = x.elements // out.size
    if kernel is not None:
        rank = 1 if "1d" in call.op else 3 if "3d" in call.op else 2
        terms = math.prod(_tuple(kernel, rank))
    attributes: dict[str, Any] = {"function": function}
    if terms * out.size != x.elements:
        attributes["window"] = True
    dims = {**rows_columns(out.shape), "terms": max(1, terms)}
    return Node(
        "reduce", frame.path, base_name(call.op), [x], list(call.outputs[:1]), dims,
        attributes, "pool" if "pool" in call.op else "reduce",
    )  # fmt: skip


def elementwise(
    path: str, name: str, function: str, reads: list[View], out: View, **extra: Any
) -> Node:
    """Return an elementwise node; the operand that is a part of a value comes first."""
    label = "activation" if function in UNARY else "elementwise"
    attributes = {"function": function, **extra}
    return Node(
        "elementwise", path, name, reads, [out], rows_columns(out.shape), attributes, label
    )


UNARY: Final = frozenset(
    {"silu", "gelu", "gelu_tanh", "quick_gelu", "relu", "relu6", "sigmoid", "tanh", "hard_swish",
     "softplus"}
)  # fmt: skip
"""Activations: functions of one operand and of no number."""


def _elementwise(context: Context, call: Call, frame: Frame) -> Node:
    name = base_name(call.op)
    function = ELEMENTWISE[name]
    if name == "gelu" and call.arguments.get("approximate") == "tanh":
        function = "gelu_tanh"
    reads = context.dynamic(call.inputs)
    constant = [context.resolve(v) for v in call.inputs if context.is_constant(v) and v.size > 1]
    if name == "mul" and len(call.inputs) == 1:
        function = "scale"
    reads += constant
    return elementwise(frame.path, name, function, reads, call.outputs[0], source=call.op)


def _gather(context: Context, call: Call, frame: Frame) -> Node:
    name, out = base_name(call.op), call.outputs[0]
    table = call.tensor("weight") or call.inputs[0]
    source = context.resolve(table)
    places = [v for v in call.inputs if v is not table]
    index = next((v for v in places if not context.is_constant(v)), places[0] if places else None)
    if name == "gather":
        columns, rows = 1, out.size
    else:
        columns = source.elements // table.shape[0] if name != "index_select" else 0
        if name == "index_select":
            columns = source.elements // table.shape[int(call.arguments.get("dim", 0))]
        if not columns or out.size % columns:
            columns = math.gcd(out.size, source.elements)
        rows = out.size // columns
    dims = {"rows": rows, "columns": columns, "table_rows": source.elements // columns}
    reads = [source]
    if index is not None and index.elements == rows:
        reads.append(context.resolve(index))
    label = "embedding" if context.is_weight(table) else "gather"
    return Node("gather", frame.path, name, reads, [out], dims, {}, label)


def transfer(
    path: str, name: str, reads: list[View], writes: list[View], size_bytes: int, label: str
) -> Node:
    """Return a movement of so many bytes."""
    return Node("transfer", path, name, reads, writes, {"size_bytes": size_bytes}, {}, label)


def _move(context: Context, call: Call, frame: Frame) -> Node:
    reads = [context.resolve(v) for v in call.inputs if v.size]
    out = call.outputs[0]
    size = packed_bytes(out.size, out.dtype)
    if len(reads) > 1 and reads[0].value in context.cached:
        # Serving engines write new keys and values behind the cached ones; nothing is copied.
        context.cached.add(out.value)
        context.retype(out.value, origin="cache", name=context.values[reads[0].value].name)
        size -= packed_bytes(reads[0].elements, out.dtype)
        return transfer(frame.path, "kv_append", reads[1:], [out], size, "kv_append")
    return transfer(frame.path, base_name(call.op), reads, [out], size, "copy")


def _scatter(context: Context, call: Call, frame: Frame) -> Node:
    target = context.resolve(call.inputs[0])
    source = [
        v for v in context.dynamic(call.inputs[1:]) if not v.dtype.startswith(("int", "bool"))
    ]
    out = call.outputs[0]
    moved = source[-1].size if source else out.size
    if target.value in context.cached and source:
        context.cached.add(out.value)
        context.retype(out.value, origin="cache", name=context.values[target.value].name)
        size = packed_bytes(min(moved, out.size), out.dtype)
        return transfer(frame.path, "kv_append", source[-1:], [out], size, "kv_append")
    reads = [*source[-1:], *([] if target.value in context.constant else [target])]
    size = packed_bytes(min(moved, out.size), out.dtype)
    return transfer(frame.path, base_name(call.op), reads or [target], [out], size, "copy")


def _interpolate(context: Context, call: Call, frame: Frame) -> Node:
    reads = [context.resolve(call.inputs[0])]
    return elementwise(
        frame.path, base_name(call.op), "interpolate", reads, call.outputs[0], source=call.op
    )


def _choose(context: Context, call: Call, frame: Frame) -> Node:
    x = context.resolve(call.inputs[0])
    experts = call.inputs[0].shape[int(call.arguments.get("dim", -1))]
    top_k = int(call.arguments["k"])
    dims = {"tokens": call.inputs[0].size // experts, "experts": experts, "top_k": top_k}
    return Node("route", frame.path, "topk", [x], list(call.outputs), dims, {}, "routing")


def _index(context: Context, call: Call, frame: Frame) -> Node:
    """Return the node of an operation on indices, which only a routing may hold."""
    reads = context.dynamic(call.inputs)
    return Node(INDEX, frame.path, base_name(call.op), reads, list(call.outputs))


def _table() -> dict[str, Rule]:
    named: dict[str, Rule] = dict.fromkeys(MATMUL, matmul)
    named |= dict.fromkeys(CONV, _conv)
    named |= dict.fromkeys(NORM, _norm)
    named |= dict.fromkeys(ELEMENTWISE, _elementwise)
    named |= dict.fromkeys(REDUCE, _reduce)
    named |= dict.fromkeys(MOVES, _move)
    named |= dict.fromkeys(SCATTER, _scatter)
    named |= dict.fromkeys(("softmax", "_softmax", "log_softmax", "_safe_softmax"), _softmax)
    named |= dict.fromkeys(("embedding", "index", "index_select", "gather", "take"), _gather)
    named |= dict.fromkeys(
        ("upsample_bilinear2d", "upsample_bicubic2d", "upsample_linear1d", "upsample_trilinear3d",
         "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "grid_sampler"), _interpolate,
    )  # fmt: skip
    named |= dict.fromkeys(
        ("scaled_dot_product_attention", "_scaled_dot_product_attention_math"), _attention
    )
    named["topk"] = _choose
    named |= dict.fromkeys(("sort", "argsort", "histc", "bincount", "searchsorted"), _index)
    return named


_RULES: Final[Mapping[str, Rule]] = _table()


def rule(op: str) -> Rule | None:
    """Return the rule of an operation, None if there is none."""
    name = base_name(op)
    if name.startswith("_scaled_dot_product") and name not in _RULES:
        return _attention
    return _RULES.get(name)
