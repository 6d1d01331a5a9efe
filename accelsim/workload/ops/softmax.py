"""Softmax along rows; inside a fused attention its cost is part of that operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops._shape import require_elements, require_inputs
from accelsim.workload.tensor import Role, Tensor

__all__ = ["DIMS", "OPS_PER_ELEMENT", "OPTIONAL_DIMS", "REDUCED", "check", "counts", "example"]

DIMS: Final = ("rows", "columns")
"""Independent rows, and the elements of one, over which it is normalised."""
OPTIONAL_DIMS: Final = ()
REDUCED: Final[frozenset[str]] = frozenset()

OPS_PER_ELEMENT: Final = 5
"""Vector operations per element: running maximum, subtract, exponential, sum, divide."""


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` where the tensors do not fit; others are sinks and an added bias."""
    require_inputs(operator, 1, 3)
    size = operator.dims["rows"] * operator.dims["columns"]
    require_elements(operator, tensors, operator.inputs[:1], size)
    require_elements(operator, tensors, operator.outputs, size)


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the counts."""
    size = operator.dims["rows"] * operator.dims["columns"]
    reads = [(tensors[operator.inputs[0]], size)]
    reads += [(tensors[name], tensors[name].elements) for name in operator.inputs[1:]]
    return tally(
        vector_ops=OPS_PER_ELEMENT * size,
        reads=reads,
        writes=((tensors[operator.outputs[0]], size),),
    )


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return a softmax over 4 rows of 16 scores."""
    tensors = {name: Tensor(name, (4, 16), "bf16", Role.ACTIVATION) for name in ("x", "y")}
    return Operator("softmax", "softmax", {"rows": 4, "columns": 16}, ("x",), ("y",)), tensors
