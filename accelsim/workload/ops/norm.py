"""Normalisation of rows: layer norm and RMS norm, with their scale and shift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops._shape import attribute, require_elements, require_inputs
from accelsim.workload.tensor import Role, Tensor

__all__ = ["DIMS", "OPS_PER_ELEMENT", "OPTIONAL_DIMS", "REDUCED", "check", "counts", "example"]

DIMS: Final = ("rows", "columns")
"""Rows that are normalised, and the elements of one; for norms of images positions and channels.

Attribute: ``function``.
"""
OPTIONAL_DIMS: Final = ()
REDUCED: Final[frozenset[str]] = frozenset()

OPS_PER_ELEMENT: Final[Mapping[str, int]] = {
    # square, accumulate; scale by the root mean square, multiply by the weight
    "rmsnorm": 4,
    # accumulate the mean, subtract it, square, accumulate; scale, weight, bias
    "layernorm": 7,
    # as a layer norm, with statistics over positions too: of a group of channels, of one channel
    "groupnorm": 7,
    "instancenorm": 7,
    # statistics are constants in inference: one multiply and one add
    "batchnorm": 2,
    # divide by the root of the sum of squares
    "l2norm": 3,
}
"""Function -> vector operations per element; the operations per row are neglected."""


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` where function or tensors do not fit.

    The first input holds the rows, or has them as a part (query and key of a fused QKV); further
    ones are weights.
    """
    require_inputs(operator, 1, 5)
    attribute(operator, "function", OPS_PER_ELEMENT)
    size = operator.dims["rows"] * operator.dims["columns"]
    require_elements(operator, tensors, operator.inputs[:1], size, exactly=False)
    for name in operator.inputs[1:]:
        require_elements(operator, tensors, (name,), operator.dims["columns"])
    require_elements(operator, tensors, operator.outputs, size)


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the counts."""
    columns = operator.dims["columns"]
    size = operator.dims["rows"] * columns
    reads = [(tensors[operator.inputs[0]], size)]
    reads += [(tensors[name], columns) for name in operator.inputs[1:]]
    return tally(
        vector_ops=OPS_PER_ELEMENT[operator.attributes["function"]] * size,
        reads=reads,
        writes=((tensors[operator.outputs[0]], size),),
    )


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return an RMS norm over 4 rows of 16."""
    tensors = {name: Tensor(name, (4, 16), "bf16", Role.ACTIVATION) for name in ("x", "y")}
    tensors["w"] = Tensor("w", (16,), "bf16", Role.WEIGHT)
    dims, attributes = {"rows": 4, "columns": 16}, {"function": "rmsnorm"}
    return Operator("norm", "norm", dims, ("x", "w"), ("y",), attributes=attributes), tensors
