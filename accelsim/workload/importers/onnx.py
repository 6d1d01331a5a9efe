"""Imports ONNX files: any standard operator, and those that ONNX Runtime fuses, as a workload.

Shapes must be static, or made so by ``dims``; an operator that is not known is an error unless it
is mapped, so that nothing is counted as zero in silence.  Needs the extra ``onnx``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from accelsim.errors import ConfigError, GraphError, nearest
from accelsim.workload.author import Graph, Value
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.graph import Workload
from accelsim.workload.importers import _onnx_fused, _onnx_rules
from accelsim.workload.importers._onnx_context import Context, Rule
from accelsim.workload.importers._onnx_fuse import fuse
from accelsim.workload.importers._onnx_read import Model, Node, read
from accelsim.workload.importers._onnx_shapes import EXTENSIONS
from accelsim.workload.ops.elementwise import OPS_PER_ELEMENT
from accelsim.workload.phase import Phase, forward

__all__ = ["from_onnx", "operators"]

RULES: Final[Mapping[str, Rule]] = {**_onnx_rules.RULES, **_onnx_fused.RULES}

_CONVENTIONS: Final = {
    "attention": "full; masks that the file computes are left out",
    "layout": "reshapes, transposes and slices move nothing unless a reader needs a copy",
    "formats": "changes of number format are part of what reads the value",
}


def operators() -> tuple[str, ...]:
    """Return the supported ONNX operators, sorted; those with a dot are ONNX Runtime's.

    Examples
    --------
    >>> "Conv" in operators(), "com.microsoft.MatMulNBits" in operators()
    (True, True)
    """
    return tuple(sorted(name for name in RULES if not name.startswith("!")))


def from_onnx(
    path: str | Path,
    dims: Mapping[str, int] | None = None,
    map: Mapping[str, str] | None = None,
    *,
    name: str = "",
    phase: Phase | None = None,
    dtypes: Dtypes | None = None,
) -> Workload:
    """Return the workload that an ONNX file describes.

    Parameters
    ----------
    path : str or Path
        The file; its weights are not read, and may be missing.
    dims : mapping of str to int, optional
        Sizes of dynamic dimensions: by their name in the file, or as ``<input>.<dimension>``
        where they have none.
    map : mapping of str to str, optional
        Unknown operator -> what it is like: a known operator (``Relu``), an elementwise function
        (``elementwise:silu``), or ``view`` where it moves and computes nothing.
    name : str, optional
        Name of the workload; the file's unless given.
    phase : Phase, optional
        What the pass does, if it is more than a forward pass over the first input's batch.
    dtypes : Dtypes, optional
        Number formats of weights, activations and KV caches that are floats in the file; as in
        the file unless given.

    Returns
    -------
    Workload
        Legal; repeated layers are blocks with a count.

    Raises
    ------
    MissingExtraError
        If the package onnx is not installed.
    ConfigError
        If the file is missing or damaged, or a dynamic dimension has no size.
    GraphError
        If a node is unknown, is control flow, or has a shape that depends on data.
    """
    path = Path(path)
    mapped = _mapped(map or {})
    model = read(path, dims or {}, {**EXTENSIONS, **dict.fromkeys(mapped, "same")})
    graph = Graph(name or model.name, phase or _phase(model))
    context = Context(model, graph, dtypes)
    for node in fuse(model):
        _emit(context, node, mapped)
    outputs = [given for given in model.outputs if given not in model.constants]
    for given in outputs:
        if given not in context.caches:
            graph.output(context.value(given))
    if not graph.added:
        raise GraphError(f"{path}: computes and moves nothing; its nodes only name shapes anew")
    left_out = graph.leave_out_unread()
    conventions = dict(_CONVENTIONS)
    if left_out:
        conventions["left out"] = f"what only masks and tables need: {', '.join(left_out)}"
    return replace(graph.build(), conventions=conventions)


def _mapped(given: Mapping[str, str]) -> dict[str, str]:
    for op, like in given.items():
        kind, _, function = like.partition(":")
        name, known = like, (*operators(), "view")
        if kind == "elementwise" and function:
            name, known = function, tuple(OPS_PER_ELEMENT)
        if name not in known:
            raise ConfigError(
                f"`{op}` is like `{like}`, which is unknown", path="map", hint=nearest(name, known)
            )
    return dict(given)


def _phase(model: Model) -> Phase:
    """Return a forward pass: of sequences where the first input is rows of indices."""
    first = model.arrays[model.inputs[0]] if model.inputs else None
    if first is None or not first.shape:
        return forward(1)
    if first.dtype.startswith("int") and len(first.shape) == 2:
        return forward(*first.shape)
    return forward(first.shape[0])


def _emit(context: Context, node: Node, mapped: Mapping[str, str]) -> None:
    """Add what a node is, and note what it makes."""
    made = [name for name in node.outputs if name and name in context.model.arrays]
    if not made or all(context.is_constant(name) for name in made):
        return
    context.graph.result_dtype = context.dtype(made[0])
    try:
        found = _rule(context, node, mapped)
    except GraphError as error:
        raise GraphError(
            f"{node}: {error}" if node.name not in str(error) else str(error)
        ) from None
    values = found if isinstance(found, tuple) else (found,)
    for name, value in zip(node.outputs, values, strict=False):
        if name:
            context.values[name] = _checked(context, node, name, value)
    for name in node.outputs[len(values) :]:
        if name and (name in context.model.outputs or context.is_read(name)):
            raise GraphError(f"{node}: its output `{name}` is needed and not supported")


def _rule(context: Context, node: Node, mapped: Mapping[str, str]) -> Value | tuple[Value, ...]:
    like = mapped.get(node.op, node.op)
    if like == "view":
        return context.value(node.inputs[0])
    if like.startswith("elementwise:"):
        return _onnx_rules.elementwise(context, node, like.partition(":")[2])
    if like not in RULES:
        raise GraphError(
            f"{node}: is not supported. Say what it is like, for example --map {node.op}=Relu,"
            f" --map {node.op}=elementwise:silu or --map {node.op}=view"
        )
    return RULES[like](context, replace(node, op=like))


def _checked(context: Context, node: Node, name: str, value: Value) -> Value:
    """Return a value in the shape that ONNX infers."""
    shape = context.shape(name)
    if value.shape == shape:
        return value
    if value.elements != context.array(name).elements:
        raise GraphError(f"{node}: made {value} where ONNX infers {list(shape)}")
    return context.graph.reshape(value, shape)
