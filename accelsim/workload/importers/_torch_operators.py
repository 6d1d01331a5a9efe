"""From nodes to operators and tensors that the shape rules of the kinds accept.

Where a kind wants a whole array and gets a part of one, the part is read in place if the kind can
do that, and otherwise copied by an operator that costs its bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from accelsim.workload.graph import Operator
from accelsim.workload.importers._torch_nodes import Context, Node
from accelsim.workload.importers._torch_recording import View
from accelsim.workload.tensor import Role, Tensor, packed_bytes

__all__ = ["Flat", "flatten"]

_ROLES: Final = {
    "parameter": Role.WEIGHT, "cache": Role.KV_CACHE, "state": Role.STATE,
}  # fmt: skip
_WHOLE: Final = frozenset({"softmax", "reduce", "route", "gather"})
"""Kinds whose inputs must be whole tensors."""


class Flat:
    """A flat graph in the making.

    Attributes
    ----------
    operators : list of Operator
        In order of execution.
    modules : list of str
        The module of each.
    tensors : dict of str to Tensor
        By name, which is unique in the graph.
    inputs : list of str
        Tensors that nothing makes: what the module was given, and constants.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.operators: list[Operator] = []
        self.modules: list[str] = []
        self.tensors: dict[str, Tensor] = {}
        self.inputs: list[str] = []
        self._names: dict[Any, str] = {}
        self._taken: Counter[str] = Counter()

    def name(self, wanted: str) -> str:
        """Return a name like the wanted one that nothing has."""
        wanted = wanted or "module"
        self._taken[wanted] += 1
        number = self._taken[wanted]
        return wanted if number == 1 else self.name(f"{wanted}.{number - 1}")

    def make(self, view: View, wanted: str, role: Role = Role.ACTIVATION) -> str:
        """Add the tensor of a value that an operator makes, and return its name."""
        value = self.context.values[view.value]
        role = _ROLES.get(value.origin, role)
        name = self._names.get(view.value)
        if name is None:
            name = self._names[view.value] = self.name(wanted)
            self.tensors[name] = Tensor(name, value.shape, value.dtype, role)
        return name

    def read(self, view: View, part: bool = False) -> str:
        """Return the tensor of a value that an operator reads.

        Parameters
        ----------
        view : View
            What is read.
        part : bool
            Whether a part of a weight counts as a weight of its own.
        """
        value = self.context.values[view.value]
        constant = view.value in self.context.constant
        if view.part is not None and (constant or (part and value.origin == "parameter")):
            key: Any = (view.value, view.part)
            if key not in self._names:
                name = self._names[key] = self.name(
                    f"{value.name or 'constant'}[{view.part.start}]"
                )
                role = Role.ACTIVATION if constant else Role.WEIGHT
                self.tensors[name] = Tensor(name, (view.elements,), value.dtype, role)
                self.inputs += [name] if constant else []
            return self._names[key]
        if view.value not in self._names:
            wanted = value.name or f"constant.{value.dtype}{list(value.shape)}"
            name = self.make(replace(view, part=None), wanted)
            if self.tensors[name].role is Role.ACTIVATION:
                self.inputs.append(name)
        return self._names[view.value]

    def add(self, node: Node, inputs: Iterable[str], outputs: Iterable[str], name: str) -> None:
        """Add an operator."""
        self.operators.append(
            Operator(
                name,
                node.kind,
                node.dims,
                tuple(inputs),
                tuple(outputs),
                node.label,
                None,
                node.attributes,
            )
        )
        self.modules.append(node.path)

    def copy(self, node: Node, view: View, dtype: str, expanded: bool = False) -> str:
        """Add the copy of a part, or of a value in another format; return what it makes."""
        source = self.read(view)
        size = view.size if expanded else view.elements
        name = self.name(f"{_base(node)}.select")
        self.tensors[name] = Tensor(name, (size,), dtype, Role.ACTIVATION)
        held, part = self.tensors[source], view.part
        dims = {"size_bytes": packed_bytes(size, dtype)}
        copy = Node("transfer", node.path, "select", [], [], dims, {}, "copy")
        if held.role is Role.WEIGHT and held.dtype == dtype and part is None:
            # One learned row for every image of a batch (a class token).
            dims = {"rows": view.size // held.elements, "columns": held.elements, "table_rows": 1}
            copy = Node("gather", node.path, "select", [], [], dims, {}, "embedding")
        if part and held.dtype == dtype and held.elements % part.width == 0 and view.size == size:
            rows = view.elements // part.width
            dims = {
                "rows": rows, "columns": part.width, "table_rows": held.elements // part.width,
            }  # fmt: skip
            copy = Node("gather", node.path, "select", [], [], dims, {}, "select")
        self.add(copy, (source,), (name,), name)
        return name


def _base(node: Node) -> str:
    return f"{node.path}.{node.suffix}" if node.path else node.suffix


def flatten(context: Context, nodes: list[Node]) -> Flat:
    """Return the operators and tensors of nodes."""
    flat = Flat(context)
    alone = Counter(node.path for node in nodes)
    parents = {frame.path.rpartition(".")[0] for frame in context.recording.frames}
    for node in nodes:
        inputs = _inputs(flat, node)
        plain = node.path and alone[node.path] == 1 and node.path not in parents
        name = flat.name(node.path if plain else _base(node))
        outputs = []
        for place, view in enumerate(node.writes):
            value = context.values[view.value]
            own = f"{node.path}.{value.name}" if value.origin in ("cache", "state") else name
            # The tensor has the operator's name, which is taken by now.
            outputs.append(_output(flat, view, own, place))
        flat.add(node, inputs, outputs, name)
    return flat


def _output(flat: Flat, view: View, wanted: str, place: int) -> str:
    value = flat.context.values[view.value]
    if value.origin in ("cache", "state") or place:
        return flat.make(view, wanted)
    flat._names.setdefault(view.value, wanted)
    flat.tensors[wanted] = Tensor(wanted, value.shape, value.dtype, Role.ACTIVATION)
    return flat._names[view.value]


def _inputs(flat: Flat, node: Node) -> list[str]:
    """Return the tensors that a node reads, copies added where its kind needs them."""
    if node.kind == "elementwise":
        return _operands(flat, node)
    if node.kind == "transfer":
        return _moved(flat, node)
    reads = list(node.reads)
    first = reads[0] if reads else None
    inputs: list[str] = []
    for view in reads:
        part = view.part
        own = node.kind in ("matmul", "conv", "norm", "attention", "scan")
        weight = flat.context.values[view.value].origin == "parameter"
        if part is None or (weight and own) or view.value in flat.context.constant:
            inputs.append(flat.read(view, own))
        elif node.kind == "matmul" and view is first and not _selects(flat, view):
            node.attributes["part"] = True
            inputs.append(flat.read(view))
        elif (node.kind == "matmul" and view is first) or node.kind in _WHOLE:
            inputs.append(flat.copy(node, view, view.dtype))
        else:
            inputs.append(flat.read(view))
    return inputs


def _selects(flat: Flat, view: View) -> bool:
    """Return whether a part takes whole rows: one token of each sequence, not some columns."""
    shape = flat.context.values[view.value].shape
    return view.part is not None and bool(shape) and view.part.width % shape[-1] == 0


def _operands(flat: Flat, node: Node) -> list[str]:
    """Return the operands of an elementwise node, each value once."""
    size = node.writes[0].size if len(node.writes) == 1 else sum(v.size for v in node.writes)
    by_value: dict[int, list[View]] = {}
    for view in node.reads:
        by_value.setdefault(view.value, []).append(view)
    if len(by_value) == 1:
        return _single(flat, node, next(iter(by_value.values())), size)
    views = [max(found, key=lambda v: v.elements) for found in by_value.values()]
    views.sort(key=lambda view: view.elements < size)  # a broadcast operand is never the first
    if any(view.part is not None for view in views[1:]):
        node.attributes["part"] = True
    node.dims["operands"] = len(views)
    return [flat.read(view) for view in views]


def _single(flat: Flat, node: Node, views: list[View], size: int) -> list[str]:
    """Return the one operand of a node, read once or in several parts."""
    held = flat.context.values[views[0].value].elements
    parts = {view.part for view in views}
    node.dims["operands"] = len(parts) if len(parts) * size <= held else 1
    if held >= size * node.dims["operands"]:
        return [flat.read(views[0])]
    view = replace(views[0], shape=node.writes[0].shape)
    return [flat.copy(node, view, view.dtype, expanded=True)]


def _moved(flat: Flat, node: Node) -> list[str]:
    """Return the sources of a movement, which have one format and one role."""
    dtype = flat.context.values[node.writes[0].value].dtype
    formats = {(view.dtype, _role(flat, view)) for view in node.reads}
    if len(formats) == 1:
        return [flat.read(view) for view in node.reads]
    wanted = dtype if any(view.dtype == dtype for view in node.reads) else node.reads[0].dtype
    return [
        flat.read(view)
        if view.dtype == wanted and _role(flat, view) is Role.ACTIVATION
        else flat.copy(node, view, wanted, expanded=True)
        for view in node.reads
    ]


def _role(flat: Flat, view: View) -> Role:
    return _ROLES.get(flat.context.values[view.value].origin, Role.ACTIVATION)
