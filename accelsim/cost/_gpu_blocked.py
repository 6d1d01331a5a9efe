"""Times of matrix products on a GPU as a roofline over tiles of any size that the caches hold.

What analytical simulators assume where `_gpu_product` has a library's kernels: no padding, no
start of a pipeline, and of both peaks the share of the multiprocessors that have a block.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from accelsim.cost._gpu_product import FRAGMENT, smooth_max
from accelsim.jit import kernel

__all__ = ["MEMORY_DEPTH_PARTS", "SHARED_DEPTH", "SIDES", "blocked", "occupied"]

SIDES: Final = np.array([8, 16, 32, 64, 128, 192, 256, 320, 384, 448, 512])
"""Sides of the output tiles of one thread block, cut to the product's own."""
SHARED_DEPTH: Final = 32
"""Steps of the reduction that shared memory holds beside a tile."""
MEMORY_DEPTH_PARTS: Final = 64
"""Parts of the reduction, of which the L2 cache holds one beside its tile."""


@kernel
def occupied(blocks: int, sms: int) -> float:
    """Return the share of the multiprocessors that have a block, over whole waves.

    Examples
    --------
    >>> occupied(54, 108), occupied(108, 108), occupied(162, 108)
    (0.5, 1.0, 0.75)
    """
    return float(blocks / (np.ceil(blocks / sms) * sms))


@kernel
def _block_tile(
    batch: int, m: int, n: int, k: int, a: float, b: float, c: float, sms: int, shared: float
) -> tuple[int, int, float]:
    """Return the tile of least traffic from L2 over the occupied share squared, and that share."""
    best, best_m, best_n, best_share = np.inf, min(SIDES[0], m), min(SIDES[0], n), 1.0
    for i in range(SIDES.size):
        tm = min(SIDES[i], m)
        for j in range(SIDES.size):
            tn = min(SIDES[j], n)
            if SHARED_DEPTH * (tm * a + tn * b) + tm * tn * c > shared:
                continue
            rows, columns = -(-m // tm), -(-n // tn)
            share = occupied(batch if batch > 1 else rows * columns, sms)
            traffic = k * (float(columns) * m * a + float(rows) * n * b) + float(m) * n * c
            if traffic / share**2 < best:
                best, best_m, best_n, best_share = traffic / share**2, tm, tn, share
    return best_m, best_n, best_share


@kernel
def _rereads(
    m: int, n: int, k: int, a: float, b: float, c: float, tm: int, tn: int, l2: float
) -> tuple[int, int]:
    """Return how often A and B cross the memory interface for the best tile in the L2 cache.

    The tile is a multiple of a block's, or the whole side; where not even a block's own fits, that
    is taken.
    """
    depth = k / MEMORY_DEPTH_PARTS
    high, wide = -(-m // tm), -(-n // tn)
    best, best_rows, best_columns = np.inf, high, wide
    for i in range(1, high + 1):
        rows = min(i * tm, m)
        for j in range(1, wide + 1):
            columns = min(j * tn, n)
            held = depth * (rows * a + columns * b) + float(rows) * columns * c
            if held > l2 and i + j > 2:
                break
            again_a, again_b = -(-n // columns), -(-m // rows)
            moved = k * (float(again_a) * m * a + float(again_b) * n * b)
            if moved < best:
                best, best_rows, best_columns = moved, again_b, again_a
    return best_columns, best_rows


@kernel
def blocked(
    batch: int, m: int, n: int, k: int, bytes_a: float, bytes_b: float, bytes_c: float,
    memory_a: float, memory_b: float, memory_c: float,
    sms: int, peak: float, shared: float, l2: float, bandwidth: float,
    efficiency: float, start: float, p: float,
) -> tuple[float, int, int, int, float, float, float, float]:  # fmt: skip
    """Time of `batch` products C[m,n] = A[m,k] B[k,n] as a roofline with tiles.

    Parameters
    ----------
    batch, m, n, k : int
        Iteration space.
    bytes_a, bytes_b, bytes_c : float
        Bytes per element.
    memory_a, memory_b, memory_c : float
        Compulsory bytes of each operand over the memory interface, all products together.
    sms : int
        Streaming multiprocessors.
    peak, bandwidth : float
        Datasheet rate (FLOP/s) and attainable memory bandwidth (byte/s).
    shared, l2 : float
        Bytes of one multiprocessor's L1 cache and shared memory, and of the L2 cache.
    efficiency, start, p : float
        As of `_gpu_product.matmul`.

    Returns
    -------
    tuple
        As of `_gpu_product.matmul`; the reduction is never split.

    Notes
    -----
    t = t0 + (t_comp^p + t_mem^p)^(1/p); t_comp = 2 batch m n k / (peak efficiency u),
    t_mem = bytes / (bandwidth u), with u = blocks / (SMs ceil(blocks / SMs)). One product has a
    block for every tile, several have one each. A block's tile is the one of least
    traffic from L2 / u^2 that shared memory holds, the L2 cache's the one of least memory traffic.

    References
    ----------
    J. Park et al., AttAcc, ASPLOS 2024, section 7; scale-snu/attacc_simulator c600051,
    src/devices.py (sides, depths, the share of both peaks).
    """
    tm, tn, share = _block_tile(batch, m, n, k, bytes_a, bytes_b, bytes_c, sms, shared)
    again_a, again_b = _rereads(m, n, k, bytes_a, bytes_b, bytes_c, tm, tn, l2)
    compute = 2.0 * batch * m * n * k / (peak * efficiency * share)
    moved = again_a * memory_a + again_b * memory_b + memory_c
    time = start + smooth_max(compute, moved / (bandwidth * share), p)
    rows, columns = -(-m // tm), -(-n // tn)
    output = batch * m * n * bytes_c
    from_l2 = batch * k * (columns * m * bytes_a + rows * n * bytes_b) + output
    small_m, small_n = -(-m // FRAGMENT), -(-n // FRAGMENT)
    from_shared = batch * k * (small_n * m * bytes_a + small_m * n * bytes_b) + output
    return time, tm, tn, 1, float(again_a), float(again_b), from_l2, from_shared
