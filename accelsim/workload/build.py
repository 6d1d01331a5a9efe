"""Writes a block: names its tensors and adds the operators that model families share.

Families call it in the order of execution, so blocks come out in topological order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelsim.workload.dtypes import Dtypes
from accelsim.workload.frozen import EMPTY
from accelsim.workload.graph import Block, Operator
from accelsim.workload.tensor import Role, Tensor

__all__ = ["BlockBuilder"]

_SIDES = ("depth", "height", "width")


def _grid(which: str, size: tuple[int, ...]) -> dict[str, int]:
    """Return the dims of a grid of one to three dimensions; height and width always."""
    full = (1,) * (2 - len(size)) + size
    return {f"{which}_{side}": n for side, n in zip(_SIDES[3 - len(full) :], full, strict=True)}


class BlockBuilder:
    """Collects the operators and tensors of one block.

    Methods that add an operator name its output after it and return that name, so that a body
    reads as a chain of calls.

    Parameters
    ----------
    name : str
        Name of the block.
    dtypes : Dtypes
        Number formats by role.

    Attributes
    ----------
    prefix : str
        Put before every name, where the body holds several layers.

    Examples
    --------
    >>> body = BlockBuilder("mlp", Dtypes())
    >>> up = body.linear("up", body.activation("x", 4, 8), 4, 32, 8, shard="n")
    >>> body.block(1, {"x": up}).operators[0].dims
    {'batch': 1, 'm': 4, 'n': 32, 'k': 8}
    """

    def __init__(self, name: str, dtypes: Dtypes) -> None:
        self.name = name
        self.dtypes = dtypes
        self.prefix = ""
        self._weight, self._activation = dtypes.weight, dtypes.activation
        self._operators: list[Operator] = []
        self._tensors: dict[str, Tensor] = {}

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str, role: Role) -> str:
        """Add a tensor and return its full name."""
        name = self.prefix + name
        self._tensors[name] = Tensor(name, shape, dtype, role)
        return name

    def activation(self, name: str, *shape: int, dtype: str = "") -> str:
        """Add an activation, in the activations' format unless another is given."""
        return self.tensor(name, shape, dtype or self._activation, Role.ACTIVATION)

    def vector(self, name: str, size: int) -> str:
        """Add a weight of one dimension (a norm's, a bias), in the activations' format."""
        return self.tensor(name, (size,), self._activation, Role.WEIGHT)

    def operator(
        self,
        name: str,
        kind: str,
        dims: Mapping[str, int],
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        label: str = "",
        shard: str | None = None,
        attributes: Mapping[str, Any] = EMPTY,
    ) -> None:
        """Add an operator; see `Operator` for the parameters."""
        self._operators.append(
            Operator(self.prefix + name, kind, dims, inputs, outputs, label, shard, attributes)
        )

    def linear(
        self,
        name: str,
        x: str | tuple[str, ...],
        m: int,
        n: int,
        k: int,
        *,
        bias: bool = False,
        label: str = "linear",
        shard: str | None = None,
    ) -> str:
        """Add a linear layer of `m` rows from `k` to `n` columns with its weight."""
        inputs = (x,) if isinstance(x, str) else x
        inputs += (self.tensor(name + ".weight", (n, k), self._weight, Role.WEIGHT),)
        if bias:
            inputs += (self.vector(name + ".bias", n),)
        y = self.activation(name, m, n)
        dims = {"batch": 1, "m": m, "n": n, "k": k}
        self.operator(name, "matmul", dims, inputs, (y,), label, shard)
        return y

    def experts(
        self,
        name: str,
        x: str,
        m: int,
        n: int,
        k: int,
        *,
        experts: int,
        active: int,
        bias: bool,
        shard: str,
    ) -> str:
        """Add a linear layer whose `m` rows are spread over `active` of `experts` weights."""
        dtype = self.dtypes.experts or self._weight
        weight = self.tensor(name + ".weight", (experts, n, k), dtype, Role.WEIGHT)
        inputs: tuple[str, ...] = (x, weight)
        if bias:
            shape = (experts, n)
            inputs += (self.tensor(name + ".bias", shape, self._activation, Role.WEIGHT),)
        y = self.activation(name, m, n)
        dims = {"batch": 1, "m": m, "n": n, "k": k, "experts": experts, "active_experts": active}
        self.operator(name, "matmul", dims, inputs, (y,), "experts", shard)
        return y

    def conv(
        self,
        name: str,
        x: str,
        batch: int,
        channels: tuple[int, int],
        size: tuple[int, ...],
        kernel: tuple[int, ...],
        *,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        transposed: bool = False,
        output: tuple[int, ...] | None = None,
        label: str = "conv",
        shard: str | None = None,
    ) -> str:
        """Add a convolution with its weight.

        Parameters
        ----------
        name, x : str
            Name of the operator and its input.
        batch : int
            Images.
        channels : (int, int)
            Channels of input and output, all groups together.
        size : tuple of int
            Input sizes: (width,), (height, width) or (depth, height, width).
        kernel, stride, padding, dilation : tuple of int or int
            Per dimension; the padding keeps the size of a stride of 1 where absent.
        groups : int
            Channel groups; as many as channels for a depthwise convolution.
        output : tuple of int, optional
            Output sizes, where they do not follow from the others.
        """
        rank = len(size)
        strides = (stride,) * rank if isinstance(stride, int) else stride
        pads = tuple(dilation * (k - 1) // 2 for k in kernel) if padding is None else padding
        pads = (pads,) * rank if isinstance(pads, int) else pads
        sides = zip(size, kernel, strides, pads, strict=True)
        made = output or tuple(
            (i - 1) * s - 2 * p + dilation * (k - 1) + 1
            if transposed
            else (i + 2 * p - dilation * (k - 1) - 1) // s + 1
            for i, k, s, p in sides
        )
        inside, outside = channels
        dims = {
            "batch": batch, "groups": groups,
            "in_channels": inside // groups, "out_channels": outside // groups,
            **_grid("in", size), **_grid("out", made), **_grid("kernel", kernel),
        }  # fmt: skip
        shape = (outside, inside // groups, *kernel)
        inputs: tuple[str, ...] = (
            x,
            self.tensor(f"{name}.weight", shape, self._weight, Role.WEIGHT),
        )
        if bias:
            inputs += (self.vector(f"{name}.bias", outside),)
        y = self.activation(name, batch, outside, *made)
        attributes: dict[str, Any] = {"stride": strides}
        if dilation != 1:
            attributes["dilation"] = dilation
        if transposed:
            attributes["transposed"] = True
        self.operator(name, "conv", dims, inputs, (y,), label, shard, attributes)
        return y

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor that was added before."""
        return self._tensors[name].shape

    def norm(
        self,
        name: str,
        x: str,
        rows: int,
        columns: int,
        function: str,
        weights: tuple[str, ...],
        *,
        shard: str | None = None,
    ) -> str:
        """Add a norm of `rows` rows; `weights` are its tensors, made by `vector`."""
        y = self.activation(name, rows, columns)
        dims, attributes = {"rows": rows, "columns": columns}, {"function": function}
        self.operator(name, "norm", dims, (x, *weights), (y,), "norm", shard, attributes)
        return y

    def elementwise(
        self,
        name: str,
        function: str,
        inputs: tuple[str, ...],
        rows: int,
        columns: int,
        *,
        operands: int = 0,
        label: str,
        shard: str | None = None,
    ) -> str:
        """Add an elementwise function; as many operands as inputs unless given."""
        y = self.activation(name, rows, columns)
        dims = {"rows": rows, "columns": columns, "operands": operands or len(inputs)}
        attributes = {"function": function}
        self.operator(name, "elementwise", dims, inputs, (y,), label, shard, attributes)
        return y

    def gather(
        self,
        name: str,
        table: str,
        indices: str,
        size: tuple[int, int, int],
        *,
        label: str,
        shard: str | None = None,
    ) -> str:
        """Add a gather; `size` is rows taken, columns, rows of the table."""
        rows, columns, table_rows = size
        y = self.activation(name, rows, columns)
        dims = {"rows": rows, "columns": columns, "table_rows": table_rows}
        self.operator(name, "gather", dims, (table, indices), (y,), label, shard)
        return y

    def attention(
        self,
        name: str,
        inputs: tuple[str, ...],
        batch: int,
        heads: int,
        lengths: tuple[int, int],
        head_dim: int,
        *,
        kv_heads: int | None = None,
        value_dim: int | None = None,
        label: str = "attention",
        shard: str | None = "heads",
        attributes: Mapping[str, Any] = EMPTY,
    ) -> str:
        """Add fused attention; `lengths` are those of the query and of the keys and values.

        Inputs are query, key and value, which may be the same fused tensor.
        """
        value = value_dim or head_dim
        y = self.activation(name, batch * lengths[0], heads * value)
        dims = {
            "batch": batch, "heads": heads, "kv_heads": kv_heads or heads,
            "q_len": lengths[0], "kv_len": lengths[1], "head_dim": head_dim, "value_dim": value,
        }  # fmt: skip
        self.operator(name, "attention", dims, inputs, (y,), label, shard, attributes)
        return y

    def block(
        self,
        count: int,
        carry: Mapping[str, str] = EMPTY,
        shared: frozenset[str] = frozenset(),
    ) -> Block:
        """Return the finished block."""
        return Block(self.name, count, tuple(self._operators), self._tensors, carry, shared)
