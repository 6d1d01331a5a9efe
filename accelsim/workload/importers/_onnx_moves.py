"""Rules of the ONNX operators that compute nothing: views, slices, copies, gathers and scatters.

Reshapes, transposes and slices are views; what must be moved is moved with all its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.workload.author import Value
from accelsim.workload.importers._onnx_context import Context, Rule
from accelsim.workload.importers._onnx_read import Node
from accelsim.workload.tensor import Role, packed_bytes

__all__ = ["RULES"]


def _view(c: Context, node: Node) -> Value:
    """Return the first input in the shape of the result: nothing is moved."""
    return c.graph.reshape(c.value(node.inputs[0]), c.made(node).shape)


def _transpose(c: Context, node: Node) -> Value:
    x = c.value(node.inputs[0])
    order = node.attributes.get("perm") or tuple(reversed(range(len(x.shape))))
    return c.graph.transpose(x, *order)


def _slice(c: Context, node: Node) -> Value:
    x, made = c.value(node.inputs[0]), c.made(node).shape
    for axis, size in enumerate(made):
        if size < x.shape[axis]:
            x = c.graph.part(x, size, axis)
    return x


def _split(c: Context, node: Node) -> tuple[Value, ...]:
    x = c.value(node.inputs[0])
    axis = node.attributes.get("axis", 0)
    return tuple(c.graph.part(x, c.shape(name)[axis], axis) for name in node.outputs)


def _expand(c: Context, node: Node) -> Value:
    return c.graph.expand(c.value(node.inputs[0]), c.made(node).shape)


def _gather(c: Context, node: Node) -> Value:
    table, indices = c.value(node.inputs[0]), node.inputs[1]
    axis = node.attributes.get("axis", 0) % len(table.shape)
    made, count = c.made(node), max(1, c.array(indices).elements)
    if c.is_constant(indices) and count <= table.shape[axis]:  # known places: a part
        return c.graph.reshape(c.graph.part(table, count, axis), made.shape)
    label = "embedding" if table.role is Role.WEIGHT else "gather"
    order = (axis, *(n for n in range(len(table.shape)) if n != axis))
    rows = c.graph.reshape(c.graph.transpose(table, *order), (table.shape[axis], -1))
    if c.is_constant(indices):
        return c.moved(table, made, c.name(node), label)
    found = c.graph.gather(rows, c.value(indices), name=c.name(node), label=label)
    return c.graph.reshape(found, made.shape)


def _gather_elements(c: Context, node: Node) -> Value:
    table, made = c.value(node.inputs[0]), c.made(node)
    places = c.array(node.inputs[1])
    columns = 1
    if node.op == "GatherND":
        columns = made.elements // max(1, places.elements // places.shape[-1])
    flat = c.graph.reshape(table, (-1, columns))
    if node.op == "GatherND" or c.is_constant(node.inputs[1]):
        return c.moved(table, made, c.name(node), "gather")
    found = c.graph.gather(flat, c.value(node.inputs[1]), name=c.name(node))
    return c.graph.reshape(found, made.shape)


def _scatter(c: Context, node: Node) -> Value:
    """Write the updates into a part of the result, which keeps the rest of the data in place."""
    data, updates = c.value(node.inputs[0]), c.value(node.inputs[2])
    y = c.graph.made(c.name(node), c.made(node).shape, data.dtype)
    size = {"size_bytes": packed_bytes(updates.elements, data.dtype)}
    inputs = (c.graph.whole(updates), c.graph.whole(data))
    alike = len({(x.dtype, x.role) for x in inputs}) == 1
    name = c.graph.called(c.name(node))
    c.graph.operator(
        name, "transfer", size, inputs if alike else inputs[:1], (y,), label="scatter"
    )
    return y


def _concat(c: Context, node: Node) -> Value:
    appended = c.cache_append(node)
    if appended is not None:
        return appended
    given = [c.value(name) for name in node.inputs if c.has_elements(name)]
    values = [c.activation(x, c.name(node)) for x in given]
    if len(values) == 1 and values[0].elements == c.made(node).elements:
        return c.graph.reshape(values[0], c.made(node).shape)
    return c.moved_from(values, c.made(node), c.name(node), "concat")


def _move(c: Context, node: Node) -> Value:
    x, made = c.value(node.inputs[0]), c.made(node)
    if node.op in ("Pad", "Tile") and made.shape == x.shape:
        return x
    return c.moved(x, made, c.name(node), node.op.rpartition(".")[2].lower())


def _resize(c: Context, node: Node) -> Value:
    x, made = c.value(node.inputs[0]), c.made(node)
    if made.shape == x.shape:
        return x
    if node.op in ("GridSample", "RoiAlign") or node.attributes.get("mode") in ("linear", "cubic"):
        return c.graph.resize(x, made.shape[2:], linear=True, name=c.name(node))
    return c.moved(x, made, c.name(node), "resize")


_VIEWS: Final = (
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast", "CastLike",
)  # fmt: skip
_MOVES: Final = (
    "Pad", "Tile", "DepthToSpace", "SpaceToDepth", "ReverseSequence", "OneHot", "Col2Im",
    "CenterCropPad",
)  # fmt: skip

RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(_VIEWS, _view),
    **dict.fromkeys(_MOVES, _move),
    **dict.fromkeys(("Resize", "Upsample", "GridSample", "RoiAlign"), _resize),
    **dict.fromkeys(("GatherElements", "GatherND"), _gather_elements),
    **dict.fromkeys(("Scatter", "ScatterElements", "ScatterND", "TensorScatter"), _scatter),
    "Transpose": _transpose, "Slice": _slice, "Split": _split, "Expand": _expand,
    "Gather": _gather, "Concat": _concat,
}  # fmt: skip
"""Operator -> its rule."""
