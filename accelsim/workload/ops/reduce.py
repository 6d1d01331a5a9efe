"""Reduction of several terms to one: combination of expert outputs, pooling, sums and means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops._shape import attribute, require_elements, require_inputs
from accelsim.workload.tensor import Role, Tensor

__all__ = [
    "DIMS",
    "FUNCTIONS",
    "OPTIONAL_DIMS",
    "REDUCED",
    "check",
    "counts",
    "example",
]

DIMS: Final = ("rows", "columns", "terms")
"""Rows and columns of the output, and input values per output element.

Attributes: ``function``; ``weighted_sum`` has the ``rows * terms`` weights as a second input; and
``window`` (bool: outputs share inputs, as those of a pooling with a stride below its kernel).
"""
OPTIONAL_DIMS: Final = ()
REDUCED: Final = frozenset({"terms"})

FUNCTIONS: Final[Mapping[str, tuple[int, int]]] = {
    "sum": (1, -1),
    "max": (1, -1),
    "mean": (1, 0),
    "weighted_sum": (2, -1),
}
"""Function -> (a, b): ``a * terms + b`` vector operations per output element."""


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` where function or tensors do not fit."""
    weighted = attribute(operator, "function", FUNCTIONS) == "weighted_sum"
    require_inputs(operator, 2 if weighted else 1)
    rows, columns, terms = (operator.dims[name] for name in DIMS)
    if not operator.attributes.get("window"):
        require_elements(operator, tensors, operator.inputs[:1], rows * columns * terms)
    if weighted:
        require_elements(operator, tensors, operator.inputs[1:], rows * terms)
    require_elements(operator, tensors, operator.outputs, rows * columns)


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the counts."""
    rows, columns, terms = (operator.dims[name] for name in DIMS)
    per_term, fixed = FUNCTIONS[operator.attributes["function"]]
    source = tensors[operator.inputs[0]]
    reads = [(source, min(source.elements, rows * columns * terms))]
    reads += [(tensors[name], rows * terms) for name in operator.inputs[1:]]
    return tally(
        vector_ops=rows * columns * (per_term * terms + fixed),
        reads=reads,
        writes=((tensors[operator.outputs[0]], rows * columns),),
    )


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return the weighted sum of 2 expert outputs for 4 tokens."""
    tensors = {
        "x": Tensor("x", (8, 16), "bf16", Role.ACTIVATION),
        "weights": Tensor("weights", (4, 2), "bf16", Role.ACTIVATION),
        "y": Tensor("y", (4, 16), "bf16", Role.ACTIVATION),
    }
    dims, attributes = {"rows": 4, "columns": 16, "terms": 2}, {"function": "weighted_sum"}
    operator = Operator("combine", "reduce", dims, ("x", "weights"), ("y",), attributes=attributes)
    return operator, tensors
