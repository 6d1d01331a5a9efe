"""What the rules of ONNX operators share: values by name, constants as weights, movement.

Weights are made when they are first read.  What is computed from weights alone is computed before
the model runs: a weight in another shape or format stays the weight that it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from accelsim.errors import GraphError
from accelsim.workload.author import Graph, Value
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.importers._onnx_read import Array, Model, Node
from accelsim.workload.tensor import Role, packed_bytes

__all__ = ["Context", "Rule"]

_FLOATS: Final = frozenset({"fp64", "fp32", "fp16", "bf16"})

_SAME_WEIGHT: Final = frozenset(
    {"Transpose", "Cast", "CastLike", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten",
     "DequantizeLinear", "com.microsoft.DequantizeLinear"}
)  # fmt: skip
"""Operators whose first input, if a weight, stays the same weight."""


class Context:
    """The graph in the making and what its nodes have made so far."""

    def __init__(self, model: Model, graph: Graph, dtypes: Dtypes | None) -> None:
        self.model, self.graph, self.dtypes = model, graph, dtypes
        self.values: dict[str, Value] = {}
        self.caches: list[str] = []
        self._readers: dict[str, int] = {}
        for node in model.nodes:
            for name in node.inputs:
                self._readers[name] = self._readers.get(name, 0) + 1

    # ------------------------------------------------------------ looking up

    def name(self, node: Node) -> str:
        """Return the name of a node as a path with dots."""
        return node.name.strip("/").replace("/", ".")

    def array(self, name: str) -> Array:
        """Return shape and format of a value."""
        return self.model.arrays[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a value."""
        return self.model.arrays[name].shape

    def made(self, node: Node) -> Array:
        """Return shape and format of what a node makes first."""
        return self.model.arrays[node.outputs[0]]

    def is_constant(self, name: str) -> bool:
        """Say whether a value does not depend on the inputs."""
        return name in self.model.constants

    def is_scalar(self, name: str) -> bool:
        """Say whether a value is a constant of one element."""
        return self.is_constant(name) and self.array(name).elements == 1

    def has_elements(self, name: str) -> bool:
        """Say whether a value is there and not empty."""
        return bool(name) and name in self.model.arrays

    def is_read(self, name: str) -> bool:
        """Say whether a node reads a value."""
        return name in self._readers

    def optional(self, node: Node, place: int) -> Value | None:
        """Return an input that may be absent."""
        given = node.inputs[place] if place < len(node.inputs) else ""
        return self.value(given) if given else None

    def value(self, name: str) -> Value:
        """Return a value: what an earlier node made, an input, or a weight."""
        found = self.values.get(name)
        if found is None:
            if name not in self.model.arrays:
                raise GraphError(f"`{name}` is empty or absent where it is needed")
            found = self._constant(name) if self.is_constant(name) else self._input(name)
            self.values[name] = found
        return found

    def dtype(self, name: str, role: Role = Role.ACTIVATION) -> str:
        """Return the number format of a value: the file's, or for floats the one asked for."""
        stated = self.array(name).dtype
        if self.dtypes is None or stated not in _FLOATS:
            return stated
        if role is Role.WEIGHT and sum(size > 1 for size in self.shape(name)) > 1:
            return self.dtypes.weight
        return self.dtypes.kv_cache if role is Role.KV_CACHE else self.dtypes.activation

    def _input(self, name: str) -> Value:
        return self.graph.input(name, self.shape(name), self.dtype(name))

    def _constant(self, name: str) -> Value:
        """Return a weight, or what is computed from one before the model runs."""
        array, node = self.array(name), self.model.constants[name]
        if node is None or node.op not in _SAME_WEIGHT or node.inputs[0] not in self.model.arrays:
            return self.graph.weight(name, array.shape, self.dtype(name, Role.WEIGHT))
        source = self.value(node.inputs[0])
        if source.elements != array.elements:
            return self.graph.weight(name, array.shape, self.dtype(name, Role.WEIGHT))
        if node.op == "Transpose":
            order = node.attributes.get("perm") or tuple(reversed(range(len(source.shape))))
            return self.graph.transpose(source, *order)
        return self.graph.reshape(source, array.shape)

    # ------------------------------------------------------------ movement and windows

    def windowed(
        self, x: Value, shape: Sequence[int], terms: int, function: str, name: str, label: str
    ) -> Value:
        """Add a reduction of `terms` input values to each element of the result."""
        name = self.graph.called(name)
        x = self.graph.whole(x)
        y = self.graph.made(name, shape, x.dtype)
        rows = math.prod(shape[:-1])
        dims = {"rows": rows, "columns": y.elements // rows, "terms": terms}
        attributes: dict[str, Any] = {"function": function}
        if y.elements * terms != x.elements:
            attributes["window"] = True
        self.graph.operator(name, "reduce", dims, (x,), (y,), label=label, attributes=attributes)
        return y

    def moved(self, x: Value, made: Array, name: str, label: str) -> Value:
        """Add a movement of every element of the result."""
        return self.moved_from([x], made, name, label)

    def moved_from(self, values: Sequence[Value], made: Array, name: str, label: str) -> Value:
        """Add a movement from several values."""
        name = self.graph.called(name)
        y = self.graph.made(name, made.shape, values[0].dtype)
        size = {"size_bytes": packed_bytes(y.elements, y.dtype)}
        self.graph.operator(name, "transfer", size, values, (y,), label=label)
        return y

    def activation(self, x: Value, name: str) -> Value:
        """Return a value as an activation of the result's format: a weight is copied into one."""
        x, wanted = self.graph.whole(x), self.graph.result_dtype
        if x.role is Role.ACTIVATION and x.dtype == wanted:
            return x
        return self.moved(x, Array(x.shape, wanted), f"{name}.copy", "copy")

    # ------------------------------------------------------------ caches

    def cache_append(self, node: Node) -> Value | None:
        """Return the cache if a node joins past keys or values, an input, with new ones."""
        if len(node.inputs) != 2 or node.attributes.get("axis") not in (2, -2):
            return None
        past, new = node.inputs
        made = self.made(node)
        if past not in self.model.inputs or node.outputs[0] not in self.model.outputs:
            return None
        if len(made.shape) != 4 or self._readers[past] != 1:
            return None
        return self.cache(node.outputs[0], made, self.value(new), self.name(node))

    def cache(self, name: str, made: Array, new: Value, operator: str) -> Value:
        """Return a KV cache to which new keys or values are appended."""
        cache = self.graph.kv_cache(name, made.shape, self.dtype(name, Role.KV_CACHE))
        self.graph.append(cache, new, name=f"{operator}.append")
        self.caches.append(name)
        return cache


Rule = Callable[[Context, Node], Value | tuple[Value, ...]]
"""Adds what a node is to the graph; returns what it makes."""
