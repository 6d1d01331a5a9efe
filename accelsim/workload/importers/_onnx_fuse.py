"""Finds in an ONNX graph what exporters wrote out: attention, rotary embedding, norms, GELU, SiLU.

A pattern becomes one node whose operator begins with ``!``.  Nodes that then serve nothing, those
that compute a mask or a table of sines, are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from accelsim.workload.importers._onnx_read import Model, Node

__all__ = ["fuse"]

_PASSED: Final = frozenset({"Cast", "Identity", "Dropout"})
"""What computes nothing."""
_SCORE_PATH: Final = (
    frozenset({"Add", "Sub", "Mul", "Div", "Where", "Max", "Clip", "Tanh"}) | _PASSED
)
"""What may stand between the product of queries and keys, and the softmax."""


def fuse(model: Model) -> list[Node]:
    """Return the nodes of a model that its outputs need, patterns as one node each."""
    view = _View(model)
    for pattern in _PATTERNS:
        for node in list(view.nodes):
            if id(node) in view.alive:
                pattern(view, node)
    return view.needed()


@dataclass(slots=True)
class _View:
    """The nodes that are left, who makes a value and who reads it."""

    model: Model
    nodes: list[Node] = field(init=False)
    maker: dict[str, Node] = field(init=False)
    readers: dict[str, list[Node]] = field(init=False)
    alive: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = list(self.model.nodes)
        self.alive = {id(node) for node in self.nodes}
        self.maker = {made: node for node in self.nodes for made in node.outputs if made}
        self.readers = {}
        for node in self.nodes:
            for given in node.inputs:
                self.readers.setdefault(given, []).append(node)

    def made_by(self, name: str, *ops: str) -> Node | None:
        """Return the node that makes a value if it is of one of these operators."""
        node = self.maker.get(name)
        return node if node is not None and (node.op in ops or not ops) else None

    def only_reader(self, name: str, *ops: str) -> Node | None:
        """Return the one node that reads a value, if it is of one of these operators."""
        readers = self.readers.get(name, [])
        alone = len(readers) == 1 and name not in self.model.outputs
        return readers[0] if alone and readers[0].op in ops else None

    def scalar(self, name: str) -> float | None:
        """Return a constant of one element."""
        value = self.model.known.get(name)
        if value is None or value.size != 1:
            return None
        return float(value.reshape(()))

    def is_scalar(self, name: str) -> bool:
        """Say whether a value is a constant of one element, known or not."""
        return name in self.model.constants and self.model.arrays[name].elements == 1

    def vector(self, name: str) -> bool:
        """Say whether a value is a constant with one dimension longer than 1."""
        if name not in self.model.constants or name not in self.model.arrays:
            return False
        return sum(size > 1 for size in self.model.arrays[name].shape) == 1

    def other(self, node: Node, name: str) -> str:
        """Return the other operand of a node with two."""
        return node.inputs[1] if node.inputs[0] == name else node.inputs[0]

    def replace(self, last: Node, op: str, inputs: tuple[str, ...], **attributes: Any) -> None:
        """Let one node make what `last` made."""
        named = attributes.pop("named", last.name)
        new = Node(op, named, inputs, (last.outputs[0],), attributes)
        self.nodes[next(i for i, node in enumerate(self.nodes) if node is last)] = new
        self.alive.discard(id(last))
        self.alive.add(id(new))
        for given in dict.fromkeys(last.inputs):
            self.readers[given] = [node for node in self.readers[given] if node is not last]
        for given in dict.fromkeys(inputs):
            self.readers.setdefault(given, []).append(new)
        self.maker[last.outputs[0]] = new

    def needed(self) -> list[Node]:
        """Return the nodes that the outputs depend on."""
        wanted, kept = set(self.model.outputs), []
        for node in reversed(self.nodes):
            if wanted & set(node.outputs):
                kept.append(node)
                wanted |= set(node.inputs)
        return kept[::-1]


# ---------------------------------------------------------------- linear layers


def _linear(view: _View, product: Node) -> None:
    """Fuse a product with a weight and the bias that is added to it."""
    if product.op != "MatMul" or product.inputs[1] not in view.model.constants:
        return
    total = view.only_reader(product.outputs[0], "Add")
    if total is None or len(view.model.arrays[product.inputs[1]].shape) != 2:
        return
    bias = view.other(total, product.outputs[0])
    columns = view.model.arrays[product.outputs[0]].shape[-1]
    if view.vector(bias) and view.model.arrays[bias].shape[-1] == columns:
        view.replace(total, "!Linear", (*product.inputs, bias), named=product.name)


# ---------------------------------------------------------------- attention


def _attention(view: _View, softmax: Node) -> None:
    """Fuse product, scale, mask, softmax and product."""
    if softmax.op != "Softmax":
        return
    found = next(_scores(view, softmax.inputs[0], (), 8), None)
    last = _context(view, softmax.outputs[0])
    if found is None or last is None or last.inputs[1] in view.model.constants:
        return
    product, added = found
    query, keys = product.inputs[:2]
    if {query, keys} & view.model.constants.keys():
        return
    arrays = view.model.arrays
    pairs = arrays[product.outputs[0]].shape
    biases = tuple(
        name for name in added if arrays[name].elements % int(np.prod(pairs[-3:])) == 0
    )[:1]  # fmt: skip
    inputs = (_unscaled(view, query), _unscaled(view, keys), last.inputs[1], *biases)
    transposed = bool(product.attributes.get("transB"))
    view.replace(last, "!Attention", inputs, keys_by_rows=transposed, scores=pairs)


def _scores(
    view: _View, name: str, added: tuple[str, ...], depth: int
) -> Iterator[tuple[Node, tuple[str, ...]]]:
    """Yield the product that a value is a scaled or masked form of, and what was added to it."""
    node = view.maker.get(name)
    if node is None or depth == 0 or len(view.readers.get(name, [])) > 1:
        return
    if node.op in ("MatMul", "com.microsoft.FusedMatMul"):
        if len(view.model.arrays[name].shape) >= 3:
            yield node, added
    elif node.op == "Reshape":  # windows of a shifted attention are masked apart
        yield from _scores(view, node.inputs[0], added, depth - 1)
    elif node.op in _SCORE_PATH:
        shape = view.model.arrays[name].shape
        for given in node.inputs:
            if given in view.model.arrays and view.model.arrays[given].shape == shape:
                others = tuple(o for o in node.inputs if o and o != given)
                more = others if node.op == "Add" else ()
                yield from _scores(view, given, (*added, *more), depth - 1)


def _context(view: _View, name: str) -> Node | None:
    """Return the product that probabilities go into, through casts and a guard against NaN."""
    for _ in range(6):
        product = view.only_reader(name, "MatMul")
        if product is not None:
            return product if product.inputs[0] == name else None
        node = view.only_reader(name, *_PASSED, "Reshape") or _guard(view, name)
        if node is None:
            return None
        name = node.outputs[0]
    return None


def _guard(view: _View, name: str) -> Node | None:
    """Return the choice of zero where the probabilities of a row are not a number."""
    readers = view.readers.get(name, [])
    tests = [node for node in readers if node.op == "IsNaN"]
    choices = [node for node in readers if node.op == "Where"]
    if len(readers) == 2 and tests and choices and tests[0].outputs[0] in choices[0].inputs:
        return choices[0]
    return None


def _unscaled(view: _View, name: str) -> str:
    """Return queries or keys before a scale that is part of the attention."""
    node = view.made_by(name, "Mul", "Div")
    if node is None or len(view.readers[name]) > 1:
        return name
    for given in node.inputs:
        if view.is_scalar(view.other(node, given)) and not view.is_scalar(given):
            return given
    return name


# ---------------------------------------------------------------- rotary embedding


def _rope(view: _View, total: Node) -> None:
    """Fuse ``x cos + rotate_half(x) sin``."""
    if total.op != "Add":
        return
    products = [view.made_by(name, "Mul") for name in total.inputs]
    if None in products:
        return
    for straight, turned in (products, products[::-1]):
        for given in turned.inputs:  # type: ignore[union-attr]
            x = _half_turned(view, given)
            if x is not None and x in straight.inputs:  # type: ignore[union-attr]
                view.replace(total, "!Rope", (x,))
                return


def _half_turned(view: _View, name: str) -> str | None:
    """Return x of ``concat(-x2, x1)``."""
    joined = view.made_by(name, "Concat")
    if joined is None or len(joined.inputs) != 2:
        return None
    minus = view.made_by(joined.inputs[0], "Neg")
    if minus is None:
        return None
    one, other = (view.made_by(n, "Slice", "Split") for n in (minus.inputs[0], joined.inputs[1]))
    if one is None or other is None or one.inputs[0] != other.inputs[0]:
        return None
    return one.inputs[0]


# ---------------------------------------------------------------- norms


def _norm(view: _View, root: Node) -> None:
    """Fuse a layer norm or RMS norm that was written out, from its square root on."""
    if root.op != "Sqrt":
        return
    shifted = view.made_by(root.inputs[0], "Add")
    mean = shifted and next(
        (n for n in (view.made_by(name, "ReduceMean") for name in shifted.inputs) if n), None
    )
    squared = view.made_by(mean.inputs[0], "Pow", "Mul") if mean else None
    if squared is None or squared.inputs[0] in view.model.constants:
        return
    deviation = _uncast(view, squared.inputs[0])
    centred = view.made_by(deviation, "Sub")
    x, function = deviation, "rmsnorm"
    if centred is not None:
        average = view.made_by(centred.inputs[1], "ReduceMean")
        if average is not None and average.inputs[0] == centred.inputs[0]:
            x, function = centred.inputs[0], "layernorm"
    last = _divided(view, root, deviation)
    if last is None:
        return
    columns = view.model.arrays[x].shape[-1]
    weights: list[str] = []
    for op in ("Mul", "Add"):
        last = _passed(view, last)
        node = view.only_reader(last.outputs[0], op)
        if node is not None:
            vector = view.other(node, last.outputs[0])
            if view.vector(vector) and view.model.arrays[vector].elements == columns:
                weights.append(vector)
                last = node
    view.replace(last, "!Norm", (_uncast(view, x), *weights), function=function)


def _divided(view: _View, root: Node, deviation: str) -> Node | None:
    """Return the division of the deviation by the root, or the product with its reciprocal."""
    node = view.only_reader(root.outputs[0], "Div", "Reciprocal")
    if node is not None and (node.op == "Reciprocal" or view.scalar(node.inputs[0]) == 1.0):
        node = view.only_reader(node.outputs[0], "Mul")
    if node is None:
        return None
    return node if deviation in {_uncast(view, name) for name in node.inputs} else None


def _uncast(view: _View, name: str) -> str:
    """Return what a value was before a change of format."""
    node = view.made_by(name, "Cast")
    return node.inputs[0] if node is not None else name


def _passed(view: _View, node: Node) -> Node:
    """Return the last of the format changes that follow a node."""
    while after := view.only_reader(node.outputs[0], "Cast"):
        node = after
    return node


def _group_norm(view: _View, norm: Node) -> None:
    """Fuse a group norm that was written as an instance norm of reshaped channels."""
    if norm.op != "InstanceNormalization":
        return
    before = view.made_by(norm.inputs[0], "Reshape")
    last = view.only_reader(norm.outputs[0], "Reshape")
    if before is None or last is None:
        return
    shape = view.model.arrays[before.inputs[0]].shape
    if view.model.arrays[last.outputs[0]].shape != shape:
        return
    weights: list[str] = []
    for op in ("Mul", "Add"):
        node = view.only_reader(last.outputs[0], op)
        vector = view.other(node, last.outputs[0]) if node else ""
        if node is None or not view.vector(vector):
            break
        weights.append(vector)
        last = node
    view.replace(last, "!Norm", (before.inputs[0], *weights), function="groupnorm")


# ---------------------------------------------------------------- activations


def _gelu(view: _View, erf: Node) -> None:
    """Fuse ``x / 2 (1 + erf(x / sqrt 2))``, its two factors in any order."""
    if erf.op != "Erf":
        return
    scaled = view.made_by(erf.inputs[0], "Div", "Mul")
    if scaled is None:
        return
    x = next((n for n in scaled.inputs if not view.is_scalar(n)), None)
    if x is not None:
        _half_of(view, erf, x, "!gelu")


def _gelu_tanh(view: _View, tanh: Node) -> None:
    """Fuse ``x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``."""
    if tanh.op != "Tanh":
        return
    scaled = view.made_by(tanh.inputs[0], "Mul")
    total = scaled and next(
        (n for n in (view.made_by(name, "Add") for name in scaled.inputs) if n), None
    )
    for x in total.inputs if total else ():
        if x not in view.model.constants and _depends(view, total.outputs[0], x, 6):  # type: ignore[union-attr]
            _half_of(view, tanh, x, "!gelu_tanh")


def _depends(view: _View, name: str, source: str, depth: int) -> bool:
    """Say whether a value is computed from a source and constants alone, in few steps."""
    if name == source or name in view.model.constants:
        return True
    node = view.maker.get(name)
    if node is None or depth == 0 or node.op not in ("Add", "Mul", "Pow", "Cast"):
        return False
    return all(_depends(view, given, source, depth - 1) for given in node.inputs)


def _half_of(view: _View, inner: Node, x: str, op: str) -> None:
    """Replace ``x / 2 (1 + inner)`` if that is what follows `inner`."""
    plus = view.only_reader(inner.outputs[0], "Add")
    product = view.only_reader(plus.outputs[0], "Mul") if plus else None
    if plus is None or product is None:
        return
    factor = view.other(product, plus.outputs[0])
    if view.is_scalar(factor):  # (1 + inner) / 2 first, then times x
        last = view.only_reader(product.outputs[0], "Mul")
        if last is not None and x in last.inputs:
            view.replace(last, op, (x,))
        return
    if factor == x:
        halved = view.only_reader(product.outputs[0], "Mul", "Div")
        if halved is not None and view.is_scalar(view.other(halved, product.outputs[0])):
            view.replace(halved, op, (x,))
        return
    half = view.made_by(factor, "Mul", "Div")
    if half is not None and x in half.inputs and view.is_scalar(view.other(half, x)):
        view.replace(product, op, (x,))


def _silu(view: _View, sigmoid: Node) -> None:
    """Fuse ``x sigmoid(x)`` and ``x sigmoid(1.702 x)``."""
    if sigmoid.op != "Sigmoid":
        return
    product = view.only_reader(sigmoid.outputs[0], "Mul")
    if product is None:
        return
    x = view.other(product, sigmoid.outputs[0])
    if x == sigmoid.inputs[0]:
        view.replace(product, "!silu", (x,))
        return
    scaled = view.made_by(sigmoid.inputs[0], "Mul")
    if scaled is not None and x in scaled.inputs and view.is_scalar(view.other(scaled, x)):
        view.replace(product, "!quick_gelu", (x,))


_PATTERNS: Final[tuple[Callable[[_View, Node], None], ...]] = (
    _linear, _attention, _rope, _norm, _group_norm, _gelu, _gelu_tanh, _silu,
)  # fmt: skip
