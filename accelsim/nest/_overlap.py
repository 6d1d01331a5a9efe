"""What a level of memory takes: tiles that fill, are worked on and drain, one behind the other.

One row of figures says all that counts of a level; the cycles of a nest follow from the rows of
its levels, from the innermost outwards.  The evaluator and the mapper share both steps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelsim.jit import inlined_kernel, kernel

__all__ = ["level_row", "overlapped", "rows_cycles", "widths"]

Floats = NDArray[np.float64]


@inlined_kernel
def widths(tensors: int) -> tuple[int, int]:
    """Return how many figures one level has, and how many are common to all levels."""
    return 2 * tensors + 2, tensors + 1


@kernel
def level_row(
    load: Floats, tiles: Floats, draining: float, skew: int, buffers: int, anew: Floats,
    row: Floats,
) -> float:  # fmt: skip
    """Write the row of a level from what its tiles ask for, and what the levels inside begin anew.

    Returns the cycles in which nothing else moves: waves, and all tiles of a single buffer.

    Parameters
    ----------
    load : (T,) float64
        Cycles in which all tiles of a tensor arrive; the last tensor's are its partial sums.
    tiles : (T,) float64
        How many; 0 for a tensor that the level does not hold.
    draining : float
        Cycles in which all tiles of the result leave.
    skew : int
        Cycles for a wave to cross the fan-outs inside.
    buffers : {1, 2}
    anew : (T + 1,) float64, in and out
        How often single-buffered levels outside make the first tile of each tensor wait, and the
        level begin at all; at least 1.
    row : (2 T + 2,) float64, out
        Cycles of all loads and of those that nothing hides, by tensor; of all drains and of those
        that nothing hides.  Zeros for a single buffer.
    """
    tensors = load.shape[0]
    filling = 0.0
    most = 0.0
    for t in range(tensors):
        most = max(most, float(tiles[t]))
        filling += float(load[t])
    if buffers < 2:
        row[:] = 0.0
        for t in range(tensors):
            if t < tensors - 1 or load[t] > 0.0:
                anew[t] = max(anew[t], tiles[t])
        anew[tensors] = max(float(anew[tensors]), most)
        return float(filling + draining + most * skew)
    rests = min(float(anew[tensors]), most)
    for t in range(tensors):
        row[t], row[tensors + t] = load[t], 0.0
        if load[t] > 0.0:
            row[tensors + t] = load[t] * min(anew[t], tiles[t]) / tiles[t]
    row[2 * tensors], row[2 * tensors + 1] = draining, 0.0
    if draining > 0.0:
        row[2 * tensors + 1] = draining * min(rests, tiles[tensors - 1]) / tiles[tensors - 1]
    return float(rests * skew)


@kernel
def overlapped(row: Floats, tensors: int, inside: float) -> float:
    """Return the cycles of a level around an inside of so many.

    Notes
    -----
    When a part p of the work is done, all tiles that the next step needs must have come:
    ``come(p) = sum over tensors of min(load, p load + first)``, ``first`` being the loads that
    nothing hides.  When a part q is done, ``leave(q) = min(drain, (1 - q) drain + last)`` is still
    to leave.  The level takes the most of ``come(p) + (q - p) inside + leave(q)`` over p <= q:
    concave, so that only the corners of `come` and `leave` need a look.  More of any load, first
    load, drain or inside never takes less: the mapper compares levels by that.
    """
    come, begins = 0.0, 0.0
    for t in range(tensors):
        come += row[tensors + t]
    for t in range(tensors):
        if row[t] <= row[tensors + t]:
            continue
        p = 1.0 - row[tensors + t] / row[t]
        here = _come(row, tensors, p) - p * inside
        if here > come:
            come, begins = here, p
    drain, last = row[2 * tensors], row[2 * tensors + 1]
    leave, ends = inside + last, 1.0
    if drain > last:
        q = last / drain
        if drain + q * inside > leave:
            leave, ends = drain + q * inside, q
    longest = come + leave
    if begins > ends:
        # the best of each would have work done before its tiles came: then both at one moment
        longest = _come(row, tensors, ends) + _leave(row, tensors, ends)
        for t in range(tensors):
            if row[t] > row[tensors + t]:
                p = 1.0 - row[tensors + t] / row[t]
                longest = max(longest, _come(row, tensors, p) + _leave(row, tensors, p))
    return float(longest)


@inlined_kernel
def _come(row: Floats, tensors: int, part: float) -> float:
    total = 0.0
    for t in range(tensors):
        total += min(row[t], part * row[t] + row[tensors + t])
    return total


@inlined_kernel
def _leave(row: Floats, tensors: int, part: float) -> float:
    drain, last = row[2 * tensors], row[2 * tensors + 1]
    return float(min(drain, (1.0 - part) * drain + last))


@kernel
def rows_cycles(rows: Floats, waits: Floats, tensors: int, inside: float) -> float:
    """Return the cycles of levels around an inside of so many.

    Parameters
    ----------
    rows : (M, 2 T + 2) float64
        The outermost level first.
    waits : (M,) float64
        Cycles added outside each level.
    """
    cycles = inside
    for level in range(rows.shape[0] - 1, -1, -1):
        cycles = overlapped(rows[level], tensors, cycles) + waits[level]
    return cycles
