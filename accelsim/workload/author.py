"""Writes a workload in Python: inputs, layers called one after the other, repetitions, `build`.

Shapes follow from what goes in, weights are made and named by the layers that use them, and
layers that repeat are found, so that a model reads as it would in a framework.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from accelsim.workload._author_images import Images
from accelsim.workload._author_products import Products
from accelsim.workload._author_value import Value, broadcast, rows_columns
from accelsim.workload.ops.elementwise import OPS_PER_ELEMENT
from accelsim.workload.tensor import packed_bytes

__all__ = ["Graph", "Value"]

_ACTIVATIONS: Final = frozenset(
    {"relu", "relu6", "gelu", "gelu_tanh", "quick_gelu", "silu", "sigmoid", "tanh", "softplus",
     "hard_swish"}
)  # fmt: skip


class Graph(Images, Products):
    """A model in the making; each method adds an operator and returns what it makes.

    Names are optional: an operator without one is called after what it does, and numbered.  Its
    weights are ``<name>.weight`` and ``<name>.bias``.

    Parameters
    ----------
    name : str
        Name of the workload.
    phase : Phase, optional
        What the pass does, ``forward(1)`` unless given: its batch and its tokens.
    dtypes : Dtypes, optional
        Number formats of inputs, weights and caches that state none.

    Examples
    --------
    >>> from accelsim.workload import totals
    >>> g = Graph("mlp")
    >>> x = g.input("x", (4, 1024))
    >>> def layer(x):
    ...     h = g.gelu(g.linear(g.layer_norm(x), 4096, name="up"))
    ...     return g.add(x, g.linear(h, 1024, name="down"))
    >>> g.output(g.repeat(12, layer, x))
    >>> mlp = g.build()
    >>> [(block.name, block.count, len(block.operators)) for block in mlp.blocks]
    [('layers', 12, 5)]
    >>> totals(mlp).macs == 12 * 4 * 2 * 1024 * 4096
    True

    Layers written out in a loop are folded to the same graph:

    >>> g = Graph("mlp")
    >>> x = g.input("x", (4, 1024))
    >>> for _ in range(12):
    ...     x = layer(x)
    >>> g.output(x)
    >>> totals(g.build()) == totals(mlp), [block.count for block in g.build().blocks]
    (True, [12])
    """

    # ------------------------------------------------------------ elementwise

    def elementwise(
        self, function: str, *operands: Value, name: str = "", label: str = ""
    ) -> Value:
        """Add an elementwise function; shapes broadcast as in NumPy.

        Parameters
        ----------
        function : str
            A name of `accelsim.workload.ops.elementwise.OPS_PER_ELEMENT`.
        *operands : Value
            What it takes.

        Raises
        ------
        GraphError
            If the function is unknown or the shapes do not broadcast.
        """
        name = self.called(name or function)
        if function not in OPS_PER_ELEMENT:
            legal = ", ".join(sorted(OPS_PER_ELEMENT))
            raise self.error("elementwise", name, f"unknown function `{function}`; legal: {legal}")
        shape: tuple[int, ...] = ()
        try:
            for x in operands:
                shape = broadcast(shape, x.shape)
        except ValueError:
            said = " and ".join(map(str, operands))
            raise self.error(function, name, f"{said} do not broadcast") from None
        y = self.made(name, shape, operands[0].dtype)
        rows, columns = rows_columns(shape)
        dims = {"rows": rows, "columns": columns, "operands": len(operands)}
        inputs = operands
        if len(operands) == 1 and operands[0].distinct < operands[0].elements:
            inputs = (self.whole(operands[0]),)  # a broadcast needs a second operand
        attributes: dict[str, Any] = {"function": function}
        if any(x.distinct < self.held(x) < rows * columns for x in operands):
            attributes["part"] = True
        label = label or ("activation" if function in _ACTIVATIONS else "elementwise")
        self.operator(name, "elementwise", dims, inputs, (y,), label=label, attributes=attributes)
        return y

    def gated(self, x: Value, function: str, *, name: str = "activation") -> Value:
        """Add a gated activation of the two halves of `x`: the first, activated, times the other.

        Parameters
        ----------
        x : Value
            Of shape (..., 2 n), as one fused projection makes it.
        function : str
            ``silu``, ``gelu``, ``gelu_tanh``, ``relu`` or ``sigmoid``.
        """
        name = self.called(name)
        if x.shape[-1] % 2 or f"{function}_mul" not in OPS_PER_ELEMENT:
            raise self.error("gated", name, f"{x} has no two halves, or no gate is `{function}`")
        rows, columns = rows_columns(x.shape)
        y = self.made(name, (*x.shape[:-1], columns // 2), x.dtype)
        dims = {"rows": rows, "columns": columns // 2, "operands": 2}
        self.operator(
            name, "elementwise", dims, (x,), (y,),
            label="activation", attributes={"function": f"{function}_mul"},
        )  # fmt: skip
        return y

    def add(self, *operands: Value, name: str = "add", label: str = "residual") -> Value:
        """Add the sum of values."""
        y = operands[0]
        for x in operands[1:]:
            y = self.elementwise("add", y, x, name=name, label=label)
        return y

    def mul(self, a: Value, b: Value, *, name: str = "mul") -> Value:
        """Add the product of two values, element by element."""
        return self.elementwise("mul", a, b, name=name, label="elementwise")

    def relu(self, x: Value, *, name: str = "relu") -> Value:
        """Add max(x, 0)."""
        return self.elementwise("relu", x, name=name)

    def gelu(self, x: Value, *, tanh: bool = False, name: str = "gelu") -> Value:
        """Add the GELU, by its error function or its approximation by tanh."""
        return self.elementwise("gelu_tanh" if tanh else "gelu", x, name=name)

    def silu(self, x: Value, *, name: str = "silu") -> Value:
        """Add x sigmoid(x)."""
        return self.elementwise("silu", x, name=name)

    def rope(self, x: Value, *, name: str = "rope") -> Value:
        """Add the rotary embedding of queries or keys."""
        return self.elementwise("rope", x, name=name, label="rope")

    # ------------------------------------------------------------ rows

    def layer_norm(self, x: Value, *, bias: bool = True, name: str = "norm") -> Value:
        """Add a layer norm over the last dimension, with its scale and shift."""
        return self.norm(x, "layernorm", weights=1 + bias, name=name)

    def rms_norm(self, x: Value, *, name: str = "norm") -> Value:
        """Add an RMS norm over the last dimension, with its scale."""
        return self.norm(x, "rmsnorm", weights=1, name=name)

    def norm(
        self,
        x: Value,
        function: str,
        *,
        weights: int | Sequence[Value],
        columns: int = 0,
        name: str = "norm",
    ) -> Value:
        """Add a norm of any kind.

        Parameters
        ----------
        x : Value
            What it normalises.
        function : str
            A name of `accelsim.workload.ops.norm.OPS_PER_ELEMENT`.
        weights : int or sequence of Value
            How many vectors of `columns` elements it has, or these.
        columns : int
            Elements that share no scale; the last dimension unless given.
        """
        name = self.called(name)
        columns = columns or x.shape[-1]
        names = ("weight", "bias", "mean", "var")
        if isinstance(weights, int):
            weights = [self.vector(f"{name}.{part}", columns) for part in names[:weights]]
        y = self.made(name, x.shape, x.dtype)
        dims = {"rows": x.elements // columns, "columns": columns}
        inputs = (x if x.distinct == x.elements else self.whole(x), *weights)
        attributes = {"function": function}
        self.operator(name, "norm", dims, inputs, (y,), label="norm", attributes=attributes)
        return y

    def softmax(self, x: Value, *, name: str = "softmax") -> Value:
        """Add a softmax over the last dimension."""
        name = self.called(name)
        y = self.made(name, x.shape, x.dtype)
        rows, columns = rows_columns(x.shape)
        dims = {"rows": rows, "columns": columns}
        self.operator(name, "softmax", dims, (self.whole(x),), (y,))
        return y

    def reduce(
        self, x: Value, function: str = "mean", axes: Sequence[int] = (-1,), *, name: str = ""
    ) -> Value:
        """Add a reduction (``mean``, ``sum`` or ``max``) over some dimensions, which go."""
        name = self.called(name or function)
        gone = {axis % len(x.shape) for axis in axes}
        shape = tuple(n for axis, n in enumerate(x.shape) if axis not in gone)
        y = self.made(name, shape, x.dtype)
        rows, columns = rows_columns(shape)
        dims = {"rows": rows, "columns": columns, "terms": x.elements // (rows * columns)}
        self.operator(
            name, "reduce", dims, (self.whole(x),), (y,),
            attributes={"function": function},
        )  # fmt: skip
        return y

    # ------------------------------------------------------------ tables and caches

    def embedding(
        self,
        ids: Value,
        rows: int,
        columns: int,
        *,
        weight: Value | None = None,
        name: str = "embedding",
    ) -> Value:
        """Add the look-up of one row of a table per index."""
        name = self.called(name)
        table = weight or self.weight(f"{name}.weight", (rows, columns))
        return self._gather(table, ids, name, "embedding")

    def gather(
        self, table: Value, indices: Value, *, name: str = "gather", label: str = "gather"
    ) -> Value:
        """Add the choice of rows of a table (rows, columns), one per index."""
        return self._gather(table, indices, self.called(name), label)

    def _gather(self, table: Value, indices: Value, name: str, label: str) -> Value:
        height, columns = rows_columns(table.shape)
        y = self.made(name, (*indices.shape, columns), table.dtype)
        dims = {"rows": indices.elements, "columns": columns, "table_rows": height}
        inputs = (self.whole(table), self.whole(indices))
        self.operator(name, "gather", dims, inputs, (y,), label=label)
        return y

    def route(self, logits: Value, top_k: int, *, name: str = "route") -> tuple[Value, Value]:
        """Add the choice of the `top_k` experts of each token; return weights and indices."""
        name = self.called(name)
        tokens, experts = rows_columns(logits.shape)
        shape = (*logits.shape[:-1], top_k)
        weights = self.made(f"{name}.weights", shape, logits.dtype)
        indices = self.made(f"{name}.indices", shape, "int32")
        dims = {"tokens": tokens, "experts": experts, "top_k": top_k}
        self.operator(name, "route", dims, (self.whole(logits),), (weights, indices))
        return weights, indices

    def append(self, cache: Value, x: Value, *, name: str = "kv_append") -> Value:
        """Add the writing of new tokens' keys or values into a cache, and return the cache."""
        name = self.called(name)
        if x.elements > cache.elements:
            raise self.error("append", name, f"{x} is larger than {cache}")
        size = {"size_bytes": packed_bytes(x.elements, cache.dtype)}
        self.operator(name, "transfer", size, (x,), (cache,), label="kv_append")
        return cache

    def concat(self, values: Sequence[Value], axis: int = -1, *, name: str = "concat") -> Value:
        """Add the joining of values along a dimension: a copy of all."""
        name = self.called(name)
        first = values[0]
        axis %= len(first.shape)
        rest = {(*x.shape[:axis], *x.shape[axis + 1 :]) for x in values}
        if len(rest) > 1:
            said = ", ".join(map(str, values))
            raise self.error("concat", name, f"{said} differ beside dimension {axis}")
        width = sum(x.shape[axis] for x in values)
        y = self.made(name, (*first.shape[:axis], width, *first.shape[axis + 1 :]), first.dtype)
        size = {"size_bytes": packed_bytes(y.elements, y.dtype)}
        self.operator(name, "transfer", size, tuple(values), (y,), label="concat")
        return y

    def copied(self, x: Value, *, name: str = "copy", label: str = "copy") -> Value:
        """Add a copy, of the value in its shape and order."""
        name = self.called(name)
        y = self.made(name, x.shape, x.dtype)
        size = {"size_bytes": packed_bytes(y.elements, y.dtype)}
        self.operator(name, "transfer", size, (x,), (y,), label=label)
        return y
