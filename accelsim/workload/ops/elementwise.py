"""Elementwise functions: residual adds, activations (gated or not), rotary embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.errors import GraphError
from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops._shape import attribute, require_elements, require_inputs
from accelsim.workload.tensor import Role, Tensor

__all__ = ["DIMS", "OPS_PER_ELEMENT", "OPTIONAL_DIMS", "REDUCED", "check", "counts", "example"]

DIMS: Final = ("rows", "columns", "operands")
"""Rows and columns of the output, and input values per output element.

Attributes: ``function``, and ``part`` (bool: of operands after the first only a part is used, as
of the shifts and scales that one layer makes for several uses).  The operands are one input each,
or all parts of a single input (the two halves of a fused gate and up projection).
"""
OPTIONAL_DIMS: Final = ()
REDUCED: Final[frozenset[str]] = frozenset()

_FORWARD: Final[Mapping[str, int]] = {
    "add": 1,
    "mul": 1,
    "relu": 1,
    "sigmoid": 4,  # negate, exponential, add, reciprocal
    "silu": 4,  # negate, exponential, add, divide
    "gelu": 5,  # x / 2 (1 + erf(x / sqrt 2)): scale, erf, add, two multiplies
    # x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
    "gelu_tanh": 9,
    "quick_gelu": 5,  # x sigmoid(1.702 x)
    "tanh": 5,  # 2 sigmoid(2 x) - 1
    "exp": 1,
    "softplus": 3,  # exponential, add, logarithm
    "relu6": 2,
    "hard_swish": 4,
    "scale": 1,
    "modulate": 2,  # x (1 + scale) + shift, one addition of 1 per row neglected
    "gated_add": 2,  # x + gate y
    "interpolate": 8,  # weighted sum of four neighbours and their weights
    "bicubic": 35,  # four sums of four neighbours, and the sum of those
    "threshold": 1,
    "lif": 4,  # leak, add the input, compare with the threshold, reset
    "corner_index": 6,  # arXiv 2201.05989, equation 4: three products, two xors, a mask
    "corner_weight": 3,  # two products, and about one subtraction of a fraction from 1
    "spherical_harmonics": 3,  # of degree 4: 43 for 16 values
    "relu_mul": 2,
    "sigmoid_mul": 5,
    "silu_mul": 5,
    "gelu_mul": 6,
    "gelu_tanh_mul": 10,
    "quick_gelu_mul": 6,
    "rope": 3,  # x cos + rotated x sin; the sines are a small table that stays on chip
    "where": 1,
    "copy": 0,
    "pow": 1,
    "dropout": 3,  # random number, compare, scale
}

_BACKWARD: Final[Mapping[str, int]] = {
    # The function once more, its derivative, and the product with the output's gradient.
    **{f"{name}_backward": ops + 2 for name, ops in _FORWARD.items()},
    "dropout_backward": 1,
    "softmax_backward": 4,  # product, sum along the row, subtract, product
    # Normalised input, its products with the gradient summed along the row, and their combination.
    "layernorm_backward": 11, "groupnorm_backward": 11, "instancenorm_backward": 11,
    "batchnorm_backward": 11, "rmsnorm_backward": 8, "l2norm_backward": 6,
    "scatter_add": 1,  # of rows into a table of zeros
    "accumulate": 1,  # into what is there already
}  # fmt: skip

OPS_PER_ELEMENT: Final[Mapping[str, int]] = {**_FORWARD, **_BACKWARD}
"""Function -> vector operations per output element, a transcendental counted as one."""


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` where function, operands or tensors do not fit."""
    attribute(operator, "function", OPS_PER_ELEMENT)
    operands = operator.dims["operands"]
    size = operator.dims["rows"] * operator.dims["columns"]
    require_inputs(operator, 1, operands)
    if len(operator.inputs) == 1:
        # Rotary embedding reads the query and key columns of a fused QKV.
        if not operator.attributes.get("part"):  # a resize reads its smaller map again and again
            require_elements(operator, tensors, operator.inputs, size * operands, exactly=False)
    elif len(operator.inputs) != operands:
        raise GraphError(
            f"elementwise `{operator.name}`: {operands} operands are one input or {operands},"
            f" not {len(operator.inputs)}"
        )
    for name in operator.inputs[1:]:
        # A smaller operand is broadcast, of a larger one a part is read (the gate of a fused one).
        if operator.attributes.get("part"):
            continue
        if tensors[name].elements < size and size % tensors[name].elements:
            require_elements(operator, tensors, (name,), size)
    require_elements(operator, tensors, operator.outputs, size)


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the counts; a smaller operand is broadcast and read once."""
    size = operator.dims["rows"] * operator.dims["columns"]
    if len(operator.inputs) == 1:
        source = tensors[operator.inputs[0]]
        reads = [(source, min(source.elements, size * operator.dims["operands"]))]
    else:
        reads = [(tensors[n], min(size, tensors[n].elements)) for n in operator.inputs]
    return tally(
        vector_ops=OPS_PER_ELEMENT[operator.attributes["function"]] * size,
        reads=reads,
        writes=((tensors[operator.outputs[0]], size),),
    )


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return a residual add of 4 rows of 16."""
    tensors = {name: Tensor(name, (4, 16), "bf16", Role.ACTIVATION) for name in ("x", "r", "y")}
    dims = {"rows": 4, "columns": 16, "operands": 2}
    operator = Operator(
        "residual", "elementwise", dims, ("x", "r"), ("y",), attributes={"function": "add"}
    )
    return operator, tensors
