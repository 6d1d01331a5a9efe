"""Cycles and buffer accesses of a matrix product on a systolic array, compiled.

The equations are SCALE-Sim's: an operator is cut into folds, one array-full of the stationary
operand each, and a partial fold costs as much as a full one.

References
----------
.. [1] A. Samajdar et al., "A systematic methodology for characterizing scalability of DNN
   accelerators using SCALE-Sim", ISPASS 2020.
"""

from __future__ import annotations

import math
from typing import Final

from accelsim.cost._tiling import ACCUMULATOR_BITS, ceil_div, search_tiles
from accelsim.jit import kernel

__all__ = [
    "DATAFLOWS", "IS", "OS", "WS", "accesses", "best_dataflow", "cycles", "folds", "plan",
    "products_along",
]  # fmt: skip

OS, WS, IS = 0, 1, 2
DATAFLOWS: Final = ("os", "ws", "is")
"""Dataflow by its number in the kernels; -1 lets them choose."""


@kernel
def products_along(k: int, rate: float) -> int:
    """Return ceil(k / rate): the k that an array of `rate` products per element and cycle sees.

    Examples
    --------
    >>> products_along(7, 2.0), products_along(1, 1 / 49)
    (4, 49)
    """
    return max(1, math.ceil(k / rate - 1e-6))  # 1 / (1 / 49) is above 49


@kernel
def folds(dataflow: int, m: int, n: int, k: int, rows: int, columns: int) -> int:
    """Return the folds of one product: array-fulls of the operand that stays.

    os keeps outputs (m over rows, n over columns), ws weights (k, n), is inputs (k, m).
    """
    if dataflow == 0:
        return ceil_div(m, rows) * ceil_div(n, columns)
    if dataflow == 1:
        return ceil_div(k, rows) * ceil_div(n, columns)
    return ceil_div(k, rows) * ceil_div(m, columns)


@kernel
def cycles(
    dataflow: int, batch: int, m: int, n: int, k: int, rows: int, columns: int, arrays: int,
    double_buffer: bool, shadow: bool = True, split_streams: bool = False,
    hide_drain: bool = False,
) -> int:  # fmt: skip
    """Return the cycles of ``batch`` products C[m,n] = A[m,k] B[k,n] on a gang of arrays.

    Parameters
    ----------
    dataflow : {0, 1, 2}
        Output, weight or input stationary.
    batch, m, n, k : int
        The products.
    rows, columns, arrays : int
        R rows and C columns of one array, and how many arrays share the folds.
    double_buffer : bool
        The next fold's stationary operand loads before the present one's results have drained.
    shadow : bool
        It loads into registers of its own, even while the present one computes; otherwise into
        the present one's, behind the last vector that meets that.
    split_streams : bool
        All arrays hold the same fold and share its vectors, instead of sharing the folds.
    hide_drain : bool
        Output stationary: finished outputs leave through registers of their own while the next
        fold, skewed as the last, follows behind it.

    Notes
    -----
    With F = ceil(batch * folds / arrays) folds per array, one after the other, and S vectors
    streamed through each (k for os, m for ws, n for is); where streams are split F is
    batch * folds and S a part of the vectors, of os outputs that of the k partial products:

    - os: F (k + R + C - 2): skewed fill, k steps, drain; with the drain hidden F k + R + C - 2;
    - ws, is, single buffered: F (S + 2R + C - 2): load R rows, stream S vectors, drain;
    - ws, is, double buffered: R + (F - 1) max(S, R) + S + R + C - 2: the first load, then folds
      back to back, each as long as its stream or the next load, then the last stream and drain;
    - the same without shadow registers: F (R + S) + R + C - 2.

    Output stationary has no stationary operand to load, so it is the same with both settings.
    For ws and is double buffering saves exactly (F - 1) (min(S, R) + R + C - 2) cycles, nothing
    for a single fold.

    The single-buffered forms equal SCALE-Sim's "Total Cycles" plus one on every case compared
    (168 public and 192 further ones): its figure is the 0-based index of the last cycle, so that
    a one-cycle run would report 0.

    Examples
    --------
    One token on a 128 x 128 array; double buffering leaves the loads alone to be seen.

    >>> cycles(WS, 1, 1, 4096, 4096, 128, 128, 1, False)
    392192
    >>> cycles(WS, 1, 1, 4096, 4096, 128, 128, 1, True)
    131327
    """
    mine = batch * folds(dataflow, m, n, k, rows, columns)
    stream = k if dataflow == 0 else m if dataflow == 1 else n
    if split_streams:
        stream = ceil_div(stream, arrays)
    else:
        mine = ceil_div(mine, arrays)
    if dataflow == 0 and hide_drain:
        return mine * stream + rows + columns - 2
    if dataflow == 0:
        return mine * (stream + rows + columns - 2)
    if double_buffer and not shadow:
        return mine * (rows + stream) + rows + columns - 2
    if double_buffer:
        return rows + (mine - 1) * max(stream, rows) + stream + rows + columns - 2
    return mine * (stream + 2 * rows + columns - 2)


@kernel
def accesses(
    dataflow: int, batch: int, m: int, n: int, k: int, k_folds: int, rows: int, columns: int
) -> tuple[int, int, int, int]:
    """Return the buffer's element accesses: reads of A and B, writes and reads of C.

    Parameters
    ----------
    k_folds : int
        ceil(k / rows), of the k that the array sees (ws, is).

    Notes
    -----
    As SCALE-Sim counts reads of A and B and (ws, is) writes of C [1]_.  It writes os outputs
    too often, by R + C per fold; here each is written once.  Partial sums of all folds along k
    but the first are read back, which it does not count.

    References
    ----------
    .. [1] SCALE-Sim 3.0.0, ``scalesim/compute/systolic_compute_{os,ws,is}.py``.
    """
    a, b, c = batch * m * k, batch * k * n, batch * m * n
    if dataflow == 0:
        return a * ceil_div(n, columns), b * ceil_div(m, rows), c, 0
    if dataflow == 1:
        return a * ceil_div(n, columns), b, c * k_folds, c * (k_folds - 1)
    return a, b * ceil_div(m, columns), c * k_folds, c * (k_folds - 1)


@kernel
def _accessed_bytes(
    dataflow: int, batch: int, m: int, n: int, k: int, k_folds: int, rows: int, columns: int,
    bits_a: float, bits_b: float, bits_c: float,
) -> float:  # fmt: skip
    """Return the bytes that the array reads from and writes to its buffer."""
    a, b, writes, reads = accesses(dataflow, batch, m, n, k, k_folds, rows, columns)
    # All writes but the last pass over k, and all reads back, are of whole partial sums.
    partial = max(bits_c, float(ACCUMULATOR_BITS))
    final = batch * m * n
    bits = a * bits_a + b * bits_b + final * bits_c + (writes - final + reads) * partial
    return bits / 8.0


@kernel
def best_dataflow(
    batch: int, m: int, n: int, k: int, rows: int, columns: int, arrays: int, double_buffer: bool,
    shadow: bool = True, split_streams: bool = False, hide_drain: bool = False,
) -> int:  # fmt: skip
    """Return the dataflow of fewest cycles; of equal ones the first of ws, os, is."""
    best, fewest = 1, 0
    for dataflow in (1, 0, 2):
        found = cycles(
            dataflow, batch, m, n, k, rows, columns, arrays, double_buffer, shadow, split_streams,
            hide_drain,
        )  # fmt: skip
        if dataflow == 1 or found < fewest:
            best, fewest = dataflow, found
    return best


@kernel
def plan(
    dataflow: int, batch: int, m: int, n: int, k: int, rows: int, columns: int, arrays: int,
    rate: float, double_buffer: bool, bits_a: float, bits_b: float, bits_c: float,
    bytes_a: int, bytes_b: int, bytes_c: int, capacity: float, copies: int,
    shadow: bool = True, split_streams: bool = False, hide_drain: bool = False,
) -> tuple[int, int, float, int, int, int, int, int, int, int]:  # fmt: skip
    """Return everything an estimate needs in one call.

    Parameters
    ----------
    dataflow : int
        0 to 2, or -1 for the fastest.
    rate : float
        Products along k per element and cycle.
    bits_a, bits_b, bits_c : float
        Bits per element.
    bytes_a, bytes_b, bytes_c : int
        Compulsory bytes of the operands.
    capacity : float
        Bytes of the buffer.
    copies : int
        Tiles of each stream that the buffer holds.
    shadow, split_streams, hide_drain : bool
        As of `cycles`.

    Returns
    -------
    dataflow, cycles : int
    accessed : float
        Bytes between array and buffer.
    factor_a, factor_b, factor_c, tm, tn, tk, tiles : int
        As of `accelsim.cost._tiling.search_tiles`.
    """
    seen = products_along(k, rate)
    if dataflow < 0:
        dataflow = best_dataflow(
            batch, m, n, seen, rows, columns, arrays, double_buffer, shadow, split_streams,
            hide_drain,
        )  # fmt: skip
    spent = cycles(
        dataflow, batch, m, n, seen, rows, columns, arrays, double_buffer, shadow, split_streams,
        hide_drain,
    )  # fmt: skip
    k_folds = ceil_div(seen, rows)
    accessed = _accessed_bytes(
        dataflow, batch, m, n, k, k_folds, rows, columns, bits_a, bits_b, bits_c
    )
    unit_k = max(1, int(rows * rate))
    unit_m = columns if dataflow == 2 else rows
    fa, fb, fc, tm, tn, tk, tiles = search_tiles(
        (m, n, k), batch, (unit_m, columns, unit_k), (bits_a, bits_b, bits_c),
        (bytes_a, bytes_b, bytes_c), capacity, copies,
    )  # fmt: skip
    return dataflow, spent, accessed, fa, fb, fc, tm, tn, tk, tiles
