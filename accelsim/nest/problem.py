"""What a loop nest computes: named dims, and tensors whose axes are sums of dims.

Matrix products, convolutions and any other product of two operands that is summed over dims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import ConfigError, nearest

__all__ = ["OUTPUT", "Problem", "ProblemArrays", "TensorAccess", "convolution", "matmul"]

OUTPUT = -1
"""Where the result stands among a problem's tensors: last."""

Axis = tuple[tuple[int, str], ...]
"""One axis of a tensor: the sum of (coefficient, dim), as ``2 p + r`` of a strided image."""


@dataclass(frozen=True, slots=True)
class TensorAccess:
    """A tensor of a problem.

    Attributes
    ----------
    name : str
        Role in the operator: ``input``, ``weight``, ``output``.
    axes : tuple of Axis
        Its axes.
    bits : float
        Bits per element, of partial sums too.
    """

    name: str
    axes: tuple[Axis, ...]
    bits: float

    @property
    def dims(self) -> frozenset[str]:
        """The dims on which its elements depend."""
        return frozenset(dim for axis in self.axes for _, dim in axis)


class ProblemArrays(NamedTuple):
    """A problem as the kernels read it: D dims, T tensors of at most A axes.

    Attributes
    ----------
    sizes : (D,) int64
    coefficients : (T, A, D) int64
        Of each dim in each axis; 0 where it has no part.  Sums of dims come first.
    relevant : (T, D) bool
    plain : (T, D) bool
        Whether a dim is an axis of its own, so that tiles at its end may be cut exactly.
    compound : (T,) int64
        Axes that are more than one dim alone.
    bits : (T,) float64
    macs : float
    """

    sizes: NDArray[np.int64]
    coefficients: NDArray[np.int64]
    relevant: NDArray[np.bool_]
    plain: NDArray[np.bool_]
    compound: NDArray[np.int64]
    bits: NDArray[np.float64]
    macs: float


@dataclass(frozen=True)
class Problem:
    """An iteration space and the tensors that it touches; the last tensor is the result.

    Examples
    --------
    >>> product = matmul(4, 8, 16)
    >>> product.macs, product.tensor("output").dims == {"batch", "m", "n"}
    (512, True)
    """

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    tensors: tuple[TensorAccess, ...]

    @property
    def macs(self) -> int:
        """Points of the iteration space."""
        return math.prod(self.sizes)

    def size(self, dim: str) -> int:
        """Return the size of a dim."""
        return self.sizes[self.dims.index(dim)]

    def tensor(self, name: str) -> TensorAccess:
        """Return a tensor by name.

        Raises
        ------
        ConfigError
            If there is none of that name.
        """
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        names = [tensor.name for tensor in self.tensors]
        raise ConfigError(f"no tensor `{name}`; {nearest(name, names)}")

    def words(self, tensor: int) -> int:
        """Return the elements of a tensor by its place."""
        extents = dict(zip(self.dims, self.sizes, strict=True))
        return math.prod(
            1 + sum(factor * (extents[dim] - 1) for factor, dim in axis)
            for axis in self.tensors[tensor].axes
        )

    def with_bits(self, bits: Sequence[float]) -> Problem:
        """Return the same problem with other bits per element of each tensor."""
        tensors = zip(self.tensors, bits, strict=True)
        return replace(self, tensors=tuple(replace(tensor, bits=wide) for tensor, wide in tensors))

    @cached_property
    def places(self) -> dict[str, int]:
        """Dim -> its place."""
        return {dim: i for i, dim in enumerate(self.dims)}

    @cached_property
    def arrays(self) -> ProblemArrays:
        """The problem for the kernels."""
        place = self.places
        most = max(1, *(len(tensor.axes) for tensor in self.tensors))
        coefficients = np.zeros((len(self.tensors), most, len(place)), np.int64)
        plain = np.zeros((len(self.tensors), len(place)), np.bool_)
        compound = np.zeros(len(self.tensors), np.int64)
        for t, tensor in enumerate(self.tensors):
            for a, axis in enumerate(sorted(tensor.axes, key=_alone)):
                for factor, dim in axis:
                    coefficients[t, a, place[dim]] = factor
                plain[t, place[axis[0][1]]] = _alone(axis)
                compound[t] += not _alone(axis)
        relevant = np.asarray(coefficients.any(axis=1), np.bool_)
        return ProblemArrays(
            np.array(self.sizes, np.int64), coefficients, relevant, plain, compound,
            np.array([tensor.bits for tensor in self.tensors], np.float64), float(self.macs),
        )  # fmt: skip

    @cached_property
    def squeezed(self) -> Problem:
        """The same problem without dims of size 1, of which loops need not know."""
        used = [dim for dim, size in zip(self.dims, self.sizes, strict=True) if size > 1]
        used = used or [self.dims[0]]
        tensors = []
        for tensor in self.tensors:
            axes = (tuple(term for term in axis if term[1] in used) for axis in tensor.axes)
            tensors.append(replace(tensor, axes=tuple(axis for axis in axes if axis)))
        return Problem(tuple(used), tuple(map(self.size, used)), tuple(tensors))


def _alone(axis: Axis) -> bool:
    """Return whether an axis is one dim, so that its words are the dim's."""
    return len(axis) == 1 and axis[0][0] == 1


def matmul(
    m: int, n: int, k: int, *, batch: int = 1, bits: tuple[float, float, float] = (8, 8, 8)
) -> Problem:
    """Return ``batch`` products C[m,n] = A[m,k] B[k,n].

    Parameters
    ----------
    m, n, k, batch : int
        Sizes.
    bits : (input, weight, output)
        Bits per element of A, B and C.
    """
    dims, sizes = ("batch", "m", "n", "k"), (batch, m, n, k)
    accesses = (("input", "mk"), ("weight", "kn"), ("output", "mn"))
    tensors = tuple(
        TensorAccess(name, (((1, "batch"),), *(((1, dim),) for dim in axes)), wide)
        for (name, axes), wide in zip(accesses, bits, strict=True)
    )
    return Problem(dims, sizes, tensors)


def convolution(
    out: tuple[int, int],
    kernel: tuple[int, int],
    channels: tuple[int, int],
    *,
    batch: int = 1,
    groups: int = 1,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    bits: tuple[float, float, float] = (8, 8, 8),
) -> Problem:
    """Return a convolution of images; depthwise where groups are channels.

    Parameters
    ----------
    out : (p, q)
        Rows and columns of an output image.
    kernel : (r, s)
        Rows and columns of the kernel.
    channels : (c, m)
        Channels read and made, of one group.
    batch, groups : int
        Images, and groups ``g`` of channels.
    stride, dilation : (rows, columns)
        Of outputs, and of kernel points, in input positions.
    bits : (input, weight, output)
        Bits per element.
    """
    dims = ("n", "g", "m", "c", "p", "q", "r", "s")
    sizes = (batch, groups, channels[1], channels[0], *out, *kernel)
    rows: Axis = ((stride[0], "p"), (dilation[0], "r"))
    columns: Axis = ((stride[1], "q"), (dilation[1], "s"))
    axes: tuple[tuple[Axis, ...], ...] = (
        (((1, "n"),), ((1, "g"),), ((1, "c"),), rows, columns),
        tuple(((1, dim),) for dim in "gmcrs"),
        tuple(((1, dim),) for dim in "ngmpq"),
    )
    names = ("input", "weight", "output")
    tensors = tuple(
        TensorAccess(name, axis, wide) for name, axis, wide in zip(names, axes, bits, strict=True)
    )
    return Problem(dims, sizes, tensors)
