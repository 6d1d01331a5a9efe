"""Time of a convolution on a GPU: one implicit product, or Winograd's algorithms for 3 x 3.

The products are those of `_gpu_product.matmul`; `_gpu_calibration.ConvolutionScalars` says what
each algorithm reaches of their rate.
"""

from __future__ import annotations

from typing import Any

from accelsim.cost._gpu_product import MOST_SPLITS, matmul
from accelsim.jit import kernel

__all__ = ["convolution"]

TAPS = 9  # of a 3 x 3 filter, to which Winograd's algorithms apply


@kernel
def convolution(
    groups: int, images: int, height: int, width: int, n: int, k: int,
    bytes_a: float, bytes_b: float, bytes_c: float,
    memory_a: float, memory_b: float, memory_c: float, fast: bool, tiles: Any, batched: Any,
    sms: int, peak: float, l2: float, implicit: float, winograd: float, winograd_4x4: float,
    fill: float, bandwidth: float,
    efficiency: float, start: float, p: float, edge: float, clock: float, combine: float,
) -> tuple[float, int, int, int, int, float, float, float, float]:  # fmt: skip
    """Time of a convolution by its fastest algorithm.

    Parameters
    ----------
    groups, images, height, width : int
        Groups of channels, images, rows and columns of an output image.
    n, k : int
        Output channels of a group, and the terms of each output: input channels times taps.
    bytes_a, bytes_b, bytes_c : float
        Bytes per element of input, filter and output.
    memory_a, memory_b, memory_c : float
        Compulsory bytes of each over the memory interface.
    fast : bool
        Whether Winograd's algorithms apply: 3 x 3 filters at stride 1.
    tiles, batched : ndarray of int64
        The library's output tiles of products, and of batches of them.
    implicit, winograd, winograd_4x4, fill : float
        Calibration; see `_gpu_calibration.ConvolutionScalars`.
    sms, peak, l2, bandwidth, efficiency, start, p, edge, clock, combine
        As in `_gpu_product.matmul`.

    Returns
    -------
    tuple
        Time (s); outputs on a side of Winograd's tiles, 1 for the implicit product; then what
        `matmul` returns after its time.

    Notes
    -----
    Implicit: one product of images x height x width rows.  F(2x2, 3x3) in one kernel: 16 products
    of a row for each 2 x 2 outputs.  F(4x4, 3x3): 36 products of a row for each 4 x 4 outputs,
    between kernels that write inputs and read outputs transformed, 36/16 of their size, and
    filters four times theirs.

    References
    ----------
    A. Lavin and S. Gray, Fast algorithms for convolutional neural networks, CVPR 2016.
    """
    shelf = tiles if groups == 1 else batched
    best = matmul(
        groups, images * height * width, n, k, bytes_a, bytes_b, bytes_c,
        memory_a, memory_b, memory_c, shelf, MOST_SPLITS, sms, peak, l2, bandwidth,
        min(1.0, efficiency * implicit), start, p, edge, fill, clock, combine, 0.0,
    )  # fmt: skip
    time, side, channels = best[0], 1, k // TAPS
    if fast:
        rows = images * (-(-height // 2)) * (-(-width // 2))
        found = matmul(
            16, rows, n, channels, bytes_a, bytes_b, bytes_c, memory_a, memory_b * 16 / TAPS,
            memory_c, batched, MOST_SPLITS, sms, peak, l2, bandwidth,
            min(1.0, efficiency * winograd), start, p, edge, fill, clock, combine, 0.0,
        )  # fmt: skip
        if found[0] < time:
            best, time, side = found, found[0], 2
        rows = images * (-(-height // 4)) * (-(-width // 4))
        inside = 36.0 * rows * channels * bytes_a
        outside, filters = 36.0 * rows * n * bytes_c, memory_b * 36 / TAPS
        found = matmul(
            36, rows, n, channels, bytes_a, bytes_b, bytes_c, inside, filters, outside, batched,
            MOST_SPLITS, sms, peak, l2, bandwidth,
            min(1.0, efficiency * winograd_4x4), start, p, edge, fill, clock, combine, 0.0,
        )  # fmt: skip
        around = memory_a + inside + memory_b + filters + outside + memory_c
        slower = found[0] + 2.0 * start + around / bandwidth
        if slower < time:
            best, time, side = found, slower, 4
    return time, side, best[1], best[2], best[3], best[4], best[5], best[6], best[7]
