"""A workload as a table: one row per operator, and one for the sum.

Figures are those of all repetitions of a row's block, so that the rows add up to the totals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from accelsim.workload.counts import Counts, counts
from accelsim.workload.graph import Operator, Workload

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "OperatorRow", "dims_text", "operator_rows", "table"]


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """One operator of a workload with its counts.

    Attributes
    ----------
    block, name, kind, label : str
        As in the graph.
    count : int
        Repetitions of the block.
    operator : Operator
        The operator itself.
    counts : Counts
        Work and compulsory traffic of all repetitions.
    """

    block: str
    count: int
    operator: Operator
    counts: Counts

    @property
    def dims(self) -> str:
        """The dims as text."""
        return dims_text(self.operator)


COLUMNS: Final = (
    "block", "count", "name", "kind", "label", "dims", "macs", "masked_macs", "zero_macs",
    "vector_ops", "weight_bytes", "activation_bytes", "kv_bytes", "state_bytes",
)  # fmt: skip
"""Columns of `table`; bytes are read and written together."""


def operator_rows(workload: Workload) -> list[OperatorRow]:
    """Return a row for each operator of each block, in order.

    Examples
    --------
    >>> from accelsim.workload import decode, workload
    >>> rows = operator_rows(workload("llama3-8b", decode(1, 1023)))
    >>> rows[2].operator.name, rows[2].count, rows[2].counts.macs
    ('qkv_proj', 32, 805306368)
    """
    return [
        OperatorRow(
            block.name, block.count, operator, counts(operator, block.tensors) * block.count
        )
        for block, operator in workload.operators()
    ]


def dims_text(operator: Operator) -> str:
    """Return the dims of an operator as a person would write them, and its function.

    A batch or a group count of 1, and the sizes of a depth that an image does not have, are left
    out.

    Examples
    --------
    >>> dims_text(Operator("up", "matmul", {"batch": 1, "m": 4, "n": 8, "k": 2}, (), ()))
    'm 4, n 8, k 2'
    """
    dims = operator.dims
    if operator.kind == "conv":
        return _conv_text(operator)
    sizes = [f"{name} {size}" for name, size in dims.items() if (name, size) != ("batch", 1)]
    attributes = operator.attributes
    if attributes.get("causal"):
        sizes.append("causal")
        sizes += [
            f"{name} {attributes[name]}" for name in ("window", "chunk") if name in attributes
        ]
    if "density" in attributes:
        sizes.append(f"density {attributes['density']:.3g}")
    function = attributes.get("function")
    return (f"{function}: " if function else "") + ", ".join(sizes)


def _conv_text(operator: Operator) -> str:
    dims, attributes = operator.dims, operator.attributes

    def grid(which: str) -> str:
        sides = [dims.get(f"{which}_{side}") for side in ("depth", "height", "width")]
        return "x".join(str(side) for side in sides if side)

    channels = f"{dims['groups'] * dims['in_channels']} -> {dims['groups'] * dims['out_channels']}"
    parts = [f"{grid('kernel')}, {channels}, {grid('in')} -> {grid('out')}"]
    if dims["batch"] != 1:
        parts.append(f"batch {dims['batch']}")
    if dims["groups"] != 1:
        parts.append(f"groups {dims['groups']}")
    if attributes.get("transposed"):
        parts.append("transposed")
    return ", ".join(parts)


def table(workload: Workload) -> pd.DataFrame:
    """Return the operators of a workload as a data frame with the columns `COLUMNS`.

    The last row, of block ``total``, holds the sums.

    Parameters
    ----------
    workload : Workload
        Any.

    Returns
    -------
    pandas.DataFrame
        Figures of all repetitions; bytes are compulsory traffic.

    Examples
    --------
    >>> from accelsim.workload import decode, totals, workload
    >>> llama = workload("llama3-8b", decode(1, 1023))
    >>> int(table(llama)["macs"].iloc[-1]) == totals(llama).macs
    True
    """
    import pandas as pd

    rows = operator_rows(workload)
    cells = [
        (row.block, row.count, row.operator.name, row.operator.kind, row.operator.label, row.dims,
         *_figures(row.counts))
        for row in rows
    ]  # fmt: skip
    summed = _sum(row.counts for row in rows)
    cells.append(("total", 1, "", "", "", "", *_figures(summed)))
    frame = pd.DataFrame(cells, columns=list(COLUMNS))
    # Counts of a large model exceed no 64-bit integer, but an empty frame would be of objects.
    return frame.astype(dict.fromkeys(COLUMNS[6:], "int64"))


def _figures(one: Counts) -> tuple[int, ...]:
    return (
        one.macs,
        one.masked_macs,
        one.zero_macs,
        one.vector_ops,
        one.weight_read_bytes,
        one.activation_read_bytes + one.activation_write_bytes,
        one.kv_read_bytes + one.kv_write_bytes,
        one.state_read_bytes + one.state_write_bytes,
    )


def _sum(parts: Iterable[Counts]) -> Counts:
    held = [[getattr(part, f.name) for f in fields(Counts)] for part in parts]
    return Counts(*map(sum, zip(*held, strict=True))) if held else Counts()
