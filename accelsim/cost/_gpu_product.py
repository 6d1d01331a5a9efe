"""Times of matrix products on a GPU: tiles, waves, splits of the reduction, the power cap.

Scalars and tile catalogues in, scalars out.  `gpu` chooses the catalogue; each scalar's meaning
and source stand in `_gpu_calibration.ProductScalars`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.jit import kernel

__all__ = [
    "BATCHED_TILES",
    "GROUPED_TILES",
    "MOST_SPLITS",
    "TILES",
    "grouped",
    "matmul",
    "smooth_max",
]

Tiles = NDArray[np.int64]


def _tiles(*sizes: tuple[int, int]) -> Tiles:
    return np.array(sizes, dtype=np.int64)


TILES: Final[dict[str, Tiles]] = {
    "tensor": _tiles(
        (256, 128), (128, 256), (192, 128), (128, 192), (128, 160), (256, 64), (128, 128),
        (64, 64), (64, 32),
    ),
    "simt": _tiles((64, 128), (128, 128), (32, 128), (128, 32), (32, 32), (32, 64), (64, 64)),
    "matrix": _tiles(
        (128, 128), (64, 128), (128, 64), (64, 64), (96, 96), (32, 64), (64, 32), (32, 32),
        (64, 192), (192, 64), (16, 64), (64, 16),
    ),
    "rows": _tiles((16, 128), (32, 128), (64, 128), (128, 128)),
    "fixed": _tiles((128, 128)),
}  # fmt: skip
"""Output tiles of one thread block (rows, columns) by arithmetic.

``tensor``: of the tiles that CUTLASS and cuBLAS have for tensor cores, those without which the
products of vidur's fitted models (A100, A40) are predicted worse; a further ten, among them the
16- and 32-row ones, make their error 0.3 points larger.  ``simt``: NVIDIA's sgemm kernels by
their names in profiles; a ``ampere_sgemm_128x64_tn`` has 128 columns and 64 rows of a row-major
result.  ``matrix``: AMD's Tensile (``MT128x64x16``).  ``rows`` and ``fixed``: kernels of serving
libraries for quantised formats (CUTLASS, Marlin), whose tiles follow the tokens or nothing; they
split no reduction.
"""

BATCHED_TILES: Final[dict[str, Tiles]] = {
    "volta": _tiles((64, 64), (128, 32), (32, 128)),
    "turing": _tiles((64, 128), (64, 64), (32, 128), (128, 32)),
    "ampere": _tiles((128, 128)),
}
"""Tiles of strided batched products without tensor cores, by generation.

By the kernel names in profiles of PyTorch 2.1 (cuBLAS 12.1): A100 takes
``ampere_sgemm_128x128_nn`` for 99.6 % of 18,942 shapes however small, V100 and T4 choose among a
few.  Newer generations are taken to do as Ampere, older ones as Volta.
"""

GROUPED_TILES: Final = np.array([16, 32, 64, 128], dtype=np.int64)
"""Rows of the tiles of fused mixture-of-experts kernels (Triton, CUTLASS grouped GEMM)."""

SPLITS = np.array([1, 2, 4, 8, 16])
MOST_SPLITS: Final = 16
SPLIT_K_MIN = 256  # a shorter reduction per thread block would be all prologue
FRAGMENT = 16  # side of the register tile that a tensor-core instruction works on
PARTIAL_BYTES = 8.0  # a partial sum is written and read again, in fp32
CAMPING_FROM = 7  # rows this many powers of two of bytes apart spread over all memory channels
CAMPING_STEPS = 3  # and with so many more all start in the same few


@kernel
def smooth_max(x: float, y: float, p: float) -> float:
    """Return (x^p + y^p)^(1/p): at least the larger, at most the sum.

    Examples
    --------
    >>> smooth_max(3.0, 4.0, 2.0), smooth_max(0.0, 2.0, 3.0)
    (5.0, 2.0)
    """
    high, low = max(x, y), min(x, y)
    if low <= 0.0:
        return high
    return float(high * (1.0 + (low / high) ** p) ** (1.0 / p))


@kernel
def _camped(elements: int, bytes_each: float) -> float:
    """Return how far rows of some length start in the same memory channels, 0 to 1."""
    stride, power = int(elements * bytes_each), 0
    if stride <= 0:
        return 0.0
    while stride % 2 == 0 and power < CAMPING_FROM + CAMPING_STEPS:
        stride //= 2
        power += 1
    return max(0.0, float(power - CAMPING_FROM)) / CAMPING_STEPS


@kernel
def _reread(
    m: int, n: int, k: int, bytes_a: float, bytes_b: float, tm: int, tn: int, sms: int, l2: float
) -> tuple[float, float]:
    """Return how often each operand of one product crosses the memory interface.

    Thread blocks run in roughly square groups of one wave. A group streams its rows of A and its
    columns of B once; what does not stay in the L2 cache is read again by the next group. Half of
    the cache is taken as useful for one operand, the other half streams.
    """
    size_a, size_b = m * k * bytes_a, k * n * bytes_b
    if size_a + size_b <= l2:
        return 1.0, 1.0
    rows, columns = -(-m // tm), -(-n // tn)
    wide = max(1.0, min(np.floor(np.sqrt(sms * tm / tn)), columns))
    high = max(1.0, min(np.floor(sms / wide), rows))
    wide = max(wide, min(np.floor(sms / high), columns))
    again_a = 1.0 if size_a <= l2 / 2 else np.ceil(columns / wide)
    again_b = 1.0 if size_b <= l2 / 2 else np.ceil(rows / high)
    kept_b = 1.0 if wide * tn * k * bytes_b <= l2 / 2 else again_b  # column by column of groups
    kept_a = 1.0 if high * tm * k * bytes_a <= l2 / 2 else again_a  # row by row of groups
    if again_a * size_a + kept_b * size_b <= kept_a * size_a + again_b * size_b:
        return again_a, kept_b
    return kept_a, again_b


@kernel
def _waves(blocks: float, sms: int, clock: float) -> float:
    """Return the blocks that the busiest multiprocessor runs, or the power cap lets it run.

    At the boost clock every wave costs a whole one. Many waves run at the clock that the board's
    power sustains; then an idle multiprocessor leaves its power to the others, and a partly
    filled last wave costs nothing extra.
    """
    each = blocks / sms
    return max(float(np.ceil(each)), each / clock)


@kernel
def matmul(
    batch: int, m: int, n: int, k: int, bytes_a: float, bytes_b: float, bytes_c: float,
    memory_a: float, memory_b: float, memory_c: float, tiles: Any, most: int,
    sms: int, peak: float, l2: float, bandwidth: float,
    efficiency: float, start: float, p: float, edge: float, fill: float, clock: float,
    combine: float, camping: float,
) -> tuple[float, int, int, int, float, float, float, float]:  # fmt: skip
    """Time of `batch` products C[m,n] = A[m,k] B[k,n], by the fastest tile and split of k.

    Parameters
    ----------
    batch, m, n, k : int
        Iteration space.
    bytes_a, bytes_b, bytes_c : float
        Bytes per element.
    memory_a, memory_b, memory_c : float
        Compulsory bytes of each operand over the memory interface, all products together.
    tiles : ndarray of int64
        The library's output tiles, shape (tiles, 2): rows and columns.
    most : int
        Thread blocks among which the library splits a reduction, at most.
    sms : int
        Streaming multiprocessors.
    peak, bandwidth : float
        Datasheet rate (FLOP/s) and attainable memory bandwidth (byte/s).
    l2 : float
        L2 cache, bytes.
    efficiency, start, p, edge, fill, clock, combine, camping : float
        Calibration; see `_gpu_calibration.ProductScalars`.

    Returns
    -------
    tuple
        Time (s), tile rows, tile columns, splits, re-reads of A and of B, bytes from L2 to
        shared memory, bytes from shared memory to registers.

    Notes
    -----
    t = t0 + (t_comp^p + t_mem^p)^(1/p);
    t_comp = max(ceil(x), x / clock) 2 tm tn (k/s + fill) (1 + edge (1/tm + 1/tn))
    (1 + camping (camped(k) + camped(n))) SMs / (peak efficiency) with x tiles per multiprocessor;
    t_mem = bytes / bandwidth, with s > 1 partial sums written and read once, and another kernel's
    `combine` on top.

    References
    ----------
    A. Kerr et al., CUTLASS, https://github.com/NVIDIA/cutlass (tiles, split-K).
    """
    best, best_m, best_n, best_split, best_compute, best_partial = np.inf, 0, 0, 1, 0.0, 0.0
    compulsory = memory_a + memory_b + memory_c
    slow = 1.0 + camping * (_camped(k, bytes_b) + _camped(n, bytes_c))
    rate = peak * efficiency / sms / slow
    for j in range(SPLITS.size):
        split = SPLITS[j]
        if split > most or (split > 1 and k < split * SPLIT_K_MIN):
            break
        compute, tile_m, tile_n = np.inf, 0, 0
        for i in range(tiles.shape[0]):
            tm, tn = tiles[i, 0], tiles[i, 1]
            waves = _waves(batch * split * (-(-m // tm)) * (-(-n // tn)), sms, clock)
            block = 2.0 * tm * tn * (k / split + fill) * (1.0 + edge * (1.0 / tm + 1.0 / tn))
            if waves * block / rate < compute:
                compute, tile_m, tile_n = waves * block / rate, tm, tn
        partial = PARTIAL_BYTES * batch * m * n * split if split > 1 else 0.0
        time = smooth_max(compute, (compulsory + partial) / bandwidth, p)
        time += combine if split > 1 else 0.0
        if time < best:
            best, best_m, best_n, best_split = time, tile_m, tile_n, split
            best_compute, best_partial = compute, partial
    again_a, again_b = _reread(m, n, k, bytes_a, bytes_b, best_m, best_n, sms, l2)
    moved = again_a * memory_a + again_b * memory_b + memory_c + best_partial
    time = start + smooth_max(best_compute, moved / bandwidth, p)
    time += combine if best_split > 1 else 0.0
    rows, columns = -(-m // best_m), -(-n // best_n)
    output = batch * m * n * bytes_c
    from_l2 = batch * k * (columns * m * bytes_a + rows * n * bytes_b) + output + best_partial
    small_m, small_n = -(-m // FRAGMENT), -(-n // FRAGMENT)
    from_shared = batch * k * (small_n * m * bytes_a + small_m * n * bytes_b) + output
    return time, best_m, best_n, best_split, again_a, again_b, from_l2, from_shared


@kernel
def grouped(
    rows: Any, n: int, k: int, bytes_a: float, bytes_b: float, bytes_c: float,
    sms: int, peak: float, bandwidth: float,
    efficiency: float, p: float, edge: float, fill: float, clock: float,
) -> tuple[float, int, float]:  # fmt: skip
    """Time of one grouped product: group g multiplies `rows[g]` rows by its own matrix [k, n].

    Parameters
    ----------
    rows : ndarray
        Rows of each group; a group without rows reads no weights.
    n, k : int
        Columns and reduction of every group.
    bytes_a, bytes_b, bytes_c : float
        Bytes per element of activations, weights, results.
    sms, peak, bandwidth
        As in `matmul`.
    efficiency, p, edge, fill, clock : float
        Calibration; see `_gpu_calibration.GroupedScalars`.

    Returns
    -------
    tuple
        Time without the start (s), rows of the tile, tiles.

    Notes
    -----
    One launch runs all groups with one tile height, which each group pads its rows to; the height
    is the fastest of `GROUPED_TILES`, tiles are 128 columns wide (64 for the lowest).

    References
    ----------
    vLLM's fused_moe and CUTLASS's grouped GEMM schedule so.
    """
    active, total = 0.0, 0.0
    for g in range(rows.size):
        active += 1.0 if rows[g] > 0 else 0.0
        total += rows[g]
    moved = (active * n * k * bytes_b + total * (k * bytes_a + n * bytes_c)) / bandwidth
    best, tile, blocks = np.inf, 0, 0.0
    for i in range(GROUPED_TILES.size):
        tm = GROUPED_TILES[i]
        tn = 64 if i == 0 else 128
        high = 0.0
        for g in range(rows.size):
            high += np.ceil(rows[g] / tm)
        count = high * (-(-n // tn))
        block = 2.0 * tm * tn * (k + fill) * (1.0 + edge * (1.0 / tm + 1.0 / tn))
        compute = _waves(count, sms, clock) * block * sms / (peak * efficiency)
        time = smooth_max(compute, moved, p)
        if time < best:
            best, tile, blocks = time, tm, count
    return best, tile, blocks
