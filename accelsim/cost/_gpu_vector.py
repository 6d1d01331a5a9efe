"""Times of GPU kernels without products: norms, softmax, elementwise chains, gathers, scans."""

from __future__ import annotations

from accelsim.cost._gpu_product import smooth_max
from accelsim.jit import kernel

__all__ = ["cold", "row_kernel", "softmax_instructions", "vector"]

WARP_SOFTMAX_COLUMNS = 1024  # PyTorch's softmax keeps rows up to this length in registers
VECTOR_LOAD_BYTES = 16
SCALAR_LOADS = 1.3  # traffic where rows do not start at a multiple of a vector load


@kernel
def softmax_instructions(columns: int) -> float:
    """Return the instructions per element of a softmax: conversions, two exponentials, reductions.

    The kernel of long rows computes the exponentials twice.

    Examples
    --------
    >>> softmax_instructions(128), softmax_instructions(4096)
    (20.0, 40.0)
    """
    return 20.0 if columns <= WARP_SOFTMAX_COLUMNS else 40.0


def row_kernel(function: str, columns: int, threads: int = 2048) -> tuple[float, float]:
    """Return how a function of rows runs: times it reads its input again, rows per multiprocessor.

    `threads` is what a multiprocessor runs at once.

    PyTorch's softmax of long rows reads them for the maximum, the sum and the result, in blocks
    of 512 threads; its layer norm for the statistics and the result, in blocks of 128; vLLM's RMS
    norm as that, in blocks of 1024.  0 and 0 for kernels that give no block to a row.

    Examples
    --------
    >>> row_kernel("softmax", 4096), row_kernel("softmax", 128), row_kernel("gelu", 4096)
    ((2.0, 4.0), (0.0, 0.0), (0.0, 0.0))
    """
    if function == "softmax" and columns > WARP_SOFTMAX_COLUMNS:
        return 2.0, float(threads // 512)
    if function == "layernorm":
        return 1.0, float(threads // 128)
    if function == "rmsnorm":
        return 1.0, float(threads // 1024)
    return 0.0, 0.0


@kernel
def cold(moved: float, l2: float) -> float:
    """Return the share of a kernel's traffic that the L2 cache does not hold from the one before.

    Parameters
    ----------
    moved : float
        Bytes read and written.
    l2 : float
        Bytes of the L2 cache.

    Notes
    -----
    An operator's input has just been written, and its output is read next.  Replacement is not
    ideal: kernels that move 0.6 of the cache hit it, those that move 1.3 of it do not.

    Examples
    --------
    >>> cold(10e6, 40e6), cold(80e6, 40e6)
    (0.0, 1.0)
    """
    return min(max(1.4 * (moved / l2 - 0.6), 0.0), 1.0)


@kernel
def vector(
    busy: float, moved: float, rows: float, row_bytes: float, again: float, in_flight: float,
    sms: int, shared: float, l2: float, bandwidth: float, l2_bandwidth: float,
    start: float, p: float, row_s: float,
) -> tuple[float, float]:  # fmt: skip
    """Time (s) of a kernel that streams its operands, and the bytes that it moves.

    Parameters
    ----------
    busy : float
        Seconds of arithmetic.
    moved : float
        Bytes read and written once.
    rows, row_bytes : float
        Rows, and input bytes of each, of a kernel with a thread block per row.
    again, in_flight : float
        See `row_kernel`.
    sms : int
        Multiprocessors.
    shared, l2 : float
        Bytes of shared memory and L1 cache of one multiprocessor, and of the L2 cache.
    bandwidth, l2_bandwidth : float
        Attainable byte/s of memory and L2 cache.
    start : float
        Time of the smallest kernel, s.
    p : float
        Exponent of the smooth maximum.
    row_s : float
        Least time of a row's thread block, s.

    Notes
    -----
    t = start + (max(busy, row_s max(1, rows / (sms in_flight)))^p + stream^p)^(1/p), with stream
    the traffic at the bandwidth of L2 cache and memory, by `cold`.  A row is read again from
    memory as far as the rows in flight, read and written, outgrow the caches: not at all up to
    0.4 of them, wholly from 0.9.
    """
    if again > 0.0:
        held = 2.0 * row_bytes * min(rows, sms * in_flight)
        missed = min(max(2.0 * (held / (l2 + sms * shared) - 0.4), 0.0), 1.0)
        moved += again * missed * rows * row_bytes
        if again > 1.0 and row_bytes % VECTOR_LOAD_BYTES > 0:
            moved *= SCALAR_LOADS
        busy = max(busy, max(1.0, rows / (sms * in_flight)) * row_s)
    share = cold(moved, l2)
    stream = moved * (share / bandwidth + (1.0 - share) / max(bandwidth, l2_bandwidth))
    return start + smooth_max(busy, stream, p), moved
