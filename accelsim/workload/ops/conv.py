"""Convolutions in one, two or three dimensions: plain, grouped, depthwise, strided, transposed.

Sizes that a network lacks are 1: a 1-D convolution has height 1, an image has depth 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.errors import GraphError
from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops._shape import require_elements, require_inputs
from accelsim.workload.tensor import Role, Tensor

__all__ = ["DIMS", "OPTIONAL_DIMS", "REDUCED", "check", "counts", "example", "positions"]

DIMS: Final = (
    "batch", "groups", "in_channels", "out_channels",
    "in_height", "in_width", "out_height", "out_width", "kernel_height", "kernel_width",
)  # fmt: skip
"""Images, groups, channels of one group, and sizes of input, output and kernel.

Attributes: ``stride`` and ``dilation`` (tuples of int, for records and tilers; the sizes above
decide the counts) and ``transposed`` (bool: each input position spreads over a kernel's outputs).
Inputs are the image, the weight of ``groups out_channels in_channels kernel`` elements, and
optionally a bias of one element per output channel.  With the attribute ``gradient: weight`` the
convolution makes the gradient of its weight: inputs are the image and the output's gradient.
"""
OPTIONAL_DIMS: Final = ("in_depth", "out_depth", "kernel_depth")
REDUCED: Final = frozenset({"in_channels"})


def positions(dims: Mapping[str, int], which: str) -> int:
    """Return the positions of the ``in``, ``out`` or ``kernel`` grid: depth x height x width.

    Examples
    --------
    >>> positions(example()[0].dims, "kernel")
    9
    """
    return dims.get(f"{which}_depth", 1) * dims[f"{which}_height"] * dims[f"{which}_width"]


def _sizes(dims: Mapping[str, int]) -> tuple[int, int, int, int]:
    """Return the elements of input, weight, bias and output."""
    images, groups = dims["batch"], dims["groups"]
    channels = groups * dims["out_channels"]
    return (
        images * groups * dims["in_channels"] * positions(dims, "in"),
        channels * dims["in_channels"] * positions(dims, "kernel"),
        channels,
        images * channels * positions(dims, "out"),
    )


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` where the tensors are not those of the convolution."""
    require_inputs(operator, 2, 3)
    given, weight, bias, made = _sizes(operator.dims)
    if operator.attributes.get("gradient") == "weight":
        require_inputs(operator, 2)
        require_elements(operator, tensors, operator.inputs[:1], given, exactly=False)
        require_elements(operator, tensors, operator.inputs[1:], made)
        require_elements(operator, tensors, operator.outputs, weight)
        return
    if tensors[operator.inputs[1]].role is not Role.WEIGHT:
        raise GraphError(f"conv `{operator.name}`: `{operator.inputs[1]}` is no weight")
    # A convolution may read a part of a fused tensor (x of a state-space layer's projection).
    require_elements(operator, tensors, operator.inputs[:1], given, exactly=False)
    require_elements(operator, tensors, operator.inputs[1:2], weight)
    for name in operator.inputs[2:]:
        require_elements(operator, tensors, (name,), bias)
    require_elements(operator, tensors, operator.outputs, made)


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the counts; a bias costs one add per output element.

    Notes
    -----
    MACs are ``batch groups out_channels in_channels kernel`` per output position, per input
    position where transposed.  Positions in the padding count: implementations multiply zeros.
    """
    dims = operator.dims
    given, weight, bias, made = _sizes(dims)
    grid = "in" if operator.attributes.get("transposed", False) else "out"
    macs = dims["batch"] * weight * positions(dims, grid)
    kernel = tensors[operator.inputs[1]]
    if operator.attributes.get("gradient") == "weight":
        return tally(
            macs=macs,
            reads=((tensors[operator.inputs[0]], given), (kernel, made)),
            writes=((tensors[operator.outputs[0]], weight),),
        )
    reads = [(tensors[operator.inputs[0]], given), (kernel, weight)]
    reads += [(tensors[name], bias) for name in operator.inputs[2:]]
    zeros = 0 if kernel.sparsity is None else macs - round(macs * kernel.sparsity.density)
    return tally(
        macs=macs,
        zero_macs=zeros,
        vector_ops=made * len(operator.inputs[2:]),
        reads=reads,
        writes=((tensors[operator.outputs[0]], made),),
    )


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return a 3x3 convolution with bias of one 8x8 image."""
    tensors = {
        "x": Tensor("x", (1, 4, 8, 8), "bf16", Role.ACTIVATION),
        "w": Tensor("w", (6, 4, 3, 3), "bf16", Role.WEIGHT),
        "b": Tensor("b", (6,), "bf16", Role.WEIGHT),
        "y": Tensor("y", (1, 6, 8, 8), "bf16", Role.ACTIVATION),
    }
    dims = dict(zip(DIMS, (1, 1, 4, 6, 8, 8, 8, 8, 3, 3), strict=True))
    attributes = {"stride": (1, 1)}
    operator = Operator(
        "conv", "conv", dims, ("x", "w", "b"), ("y",), "conv", "out_channels", attributes
    )
    return operator, tensors
