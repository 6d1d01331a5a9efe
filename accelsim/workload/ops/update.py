"""Optimizer step: parameters, their gradients and running moments in, parameters and moments out.

One kernel over all parameters of a block, as fused and multi-tensor optimizers run it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from accelsim.errors import GraphError
from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops._shape import attribute, require_elements
from accelsim.workload.tensor import Role, Tensor

__all__ = [
    "DIMS",
    "OPS_PER_ELEMENT",
    "OPTIONAL_DIMS",
    "REDUCED",
    "check",
    "counts",
    "example",
]

DIMS: Final = ("elements",)
"""Parameters that are updated.

Attribute: ``function``.  Inputs are the weights and as many elements of gradients; outputs are
the states that the optimizer keeps per parameter (moments, and a copy in full precision), which
are read and rewritten in place, as the weights are.
"""
OPTIONAL_DIMS: Final = ()
REDUCED: Final[frozenset[str]] = frozenset()

OPS_PER_ELEMENT: Final[Mapping[str, int]] = {
    # m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p = (1 - lr w) p - lr m / (sqrt(v) + eps)
    "adam": 12,
    # m = b m + g; p = p - lr m
    "momentum": 4,
}
"""Function -> vector operations per parameter."""


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` where weights, gradients or states are not of as many elements."""
    attribute(operator, "function", OPS_PER_ELEMENT)
    weights, gradients = _split(operator, tensors)
    elements = operator.dims["elements"]
    require_elements(operator, tensors, weights, elements)
    require_elements(operator, tensors, gradients, elements)
    for name in operator.outputs:
        if tensors[name].role is not Role.STATE:
            raise GraphError(f"update `{operator.name}`: `{name}` is no state")
        require_elements(operator, tensors, (name,), elements)


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the counts; the new weights count among the state written, as they outlive it."""
    elements = operator.dims["elements"]
    names = (*operator.inputs, *operator.outputs)
    weights, _ = _split(operator, tensors)
    written = [replace(tensors[name], role=Role.STATE) for name in (*weights, *operator.outputs)]
    return tally(
        vector_ops=OPS_PER_ELEMENT[operator.attributes["function"]] * elements,
        reads=[(tensors[name], tensors[name].elements) for name in names],
        writes=[(tensor, tensor.elements) for tensor in written],
    )


def _split(
    operator: Operator, tensors: Mapping[str, Tensor]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the weights and of the gradients."""
    weights = tuple(n for n in operator.inputs if tensors[n].role is Role.WEIGHT)
    return weights, tuple(n for n in operator.inputs if tensors[n].role is not Role.WEIGHT)


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return an Adam step over a matrix of 8 x 16 with moments in FP32."""
    tensors = {"w": Tensor("w", (8, 16), "bf16", Role.WEIGHT)}
    tensors["w.gradient"] = Tensor("w.gradient", (8, 16), "bf16", Role.STATE)
    tensors |= {name: Tensor(name, (128,), "fp32", Role.STATE) for name in ("first", "second")}
    operator = Operator(
        "update", "update", {"elements": 128}, ("w", "w.gradient"), ("first", "second"), "update",
        attributes={"function": "adam"},
    )  # fmt: skip
    return operator, tensors
