"""An operator as the loop nest that a spatial array runs: dims, tensors, bits of an element."""

from __future__ import annotations

from functools import lru_cache

from accelsim.cost._component import Work
from accelsim.nest import Problem, convolution, matmul

__all__ = ["problem_of"]


@lru_cache(maxsize=4096)
def problem_of(work: Work, partial_bits: int | None) -> Problem:
    """Return the loops of a matrix product or a convolution.

    Parameters
    ----------
    work : Work
        Of kind matmul or conv; a convolution with more than two dimensions, or transposed, runs
        as the matrix product that it is.
    partial_bits : int or None
        Bits of a result wherever it is; those of the output where absent.

    Notes
    -----
    Compressed weights have the bits that they take on average, what locates them included.
    """
    output = float(partial_bits or work.bits_c)
    if work.conv is not None:
        shape = work.conv
        plain = convolution(
            shape.out, shape.kernel, shape.channels, batch=shape.batch, groups=shape.groups,
            stride=shape.stride, dilation=shape.dilation,
        )  # fmt: skip
    else:
        plain = matmul(work.m, work.n, work.k, batch=work.batch)
    weight = float(work.bits_b)
    if work.weight_bytes and work.density_b < 1.0:
        weight = min(weight, 8.0 * work.weight_bytes / plain.words(1))
    return plain.with_bits((float(work.bits_a), weight, output))
