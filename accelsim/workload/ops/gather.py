"""Gather of table rows: token and position embeddings, dispatch of tokens to experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops._shape import require_elements, require_inputs
from accelsim.workload.tensor import Role, Tensor

__all__ = ["DIMS", "OPTIONAL_DIMS", "REDUCED", "check", "counts", "example"]

DIMS: Final = ("rows", "columns", "table_rows")
"""Rows taken, the elements of one, and rows of the table.  Only the rows taken are read."""
OPTIONAL_DIMS: Final = ()
REDUCED: Final = frozenset({"table_rows"})
"""A device that holds a part of the table yields zero rows for the rest, so outputs add up."""


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` unless the inputs are a table and optionally the indices."""
    require_inputs(operator, 1, 2)
    rows, columns = operator.dims["rows"], operator.dims["columns"]
    require_elements(operator, tensors, operator.inputs[:1], operator.dims["table_rows"] * columns)
    if operator.inputs[1:]:
        require_elements(operator, tensors, operator.inputs[1:], rows)
    require_elements(operator, tensors, operator.outputs, rows * columns)


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the counts: one table row and one index per output row."""
    rows, columns = operator.dims["rows"], operator.dims["columns"]
    reads = [(tensors[operator.inputs[0]], rows * columns)]
    reads += [(tensors[name], rows) for name in operator.inputs[1:]]
    return tally(reads=reads, writes=((tensors[operator.outputs[0]], rows * columns),))


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return an embedding of 4 tokens from a vocabulary of 100."""
    tensors = {
        "table": Tensor("table", (100, 16), "bf16", Role.WEIGHT),
        "ids": Tensor("ids", (4,), "int32", Role.ACTIVATION),
        "y": Tensor("y", (4, 16), "bf16", Role.ACTIVATION),
    }
    dims = {"rows": 4, "columns": 16, "table_rows": 100}
    return Operator("embed", "gather", dims, ("table", "ids"), ("y",), "embedding"), tensors
