"""A problem on an array of ported memories as the kernels read it, and the columns they fill.

T tensors (the result last), D dims, L memory levels of the deepest tensor, A axes that are sums
of two dims, N memories (innermost first), P ports, and R = T L KINDS transfer links.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.jit import kernel

__all__ = [
    "ALLOWED", "BITS", "COLUMNS", "CYCLES", "DEMAND", "EXACT", "FREE", "HALF", "KINDS", "MOVED",
    "PERIOD", "READ_DOWN", "READ_UP", "RELEVANT", "TIMES", "WHOLE", "WINDOW", "WRITE_DOWN",
    "WRITE_UP", "Bools", "Floats", "Ints", "PortArrays", "Scratch", "scratch",
]  # fmt: skip

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

READ_DOWN, WRITE_UP, READ_UP, WRITE_DOWN = 0, 1, 2, 3
"""Transfer links of one tensor at one memory: read for the level inside, written by it, read for
the level outside, written by it.  Kind k of tensor t at level l is link ``(t L + l) 4 + k``."""
KINDS = 4

FREE, RELEVANT, HALF = 0, 1, 2
"""How a tensor depends on a dim: not at all, as an axis, or as part of a sum of two dims."""

EXACT, WHOLE = 0, 1
"""Unrolled factors as the mean over all passes (energy), or cut to whole units (time)."""

PERIOD, TIMES, WINDOW, MOVED, BITS, DEMAND, CYCLES, ALLOWED = 0, 1, 2, 3, 5, 6, 7, 8
"""Columns of a link: cycles between two transfers of a tile; how many there are; cycles of a
period in which the next tile may arrive without a second buffer; words of a tile, exact and (one
further) whole; bits of a word; mean bits per cycle; cycles that a transfer takes; cycles that it
may take unnoticed."""
COLUMNS = 9


class PortArrays(NamedTuple):
    """A problem, an array and an unrolling.

    Attributes
    ----------
    relevance : (T, D) int64
    axis_dims, axis_strides : (A, 2) int64
        The two dims of each sum, and their coefficients without common divisor.
    axis_words : (A,) int64
        Distinct indices at most: what is left when padding is not stored.
    axis_used : (T, A) bool
    bits : (T, 2) int64
        Of a word that is still summed up, and of a final one.
    levels : (T,) int64
        Memories that a tensor passes.
    memory : (T, L) int64
        Which, innermost first.
    reach : (2, T, L, D) float64
        Unrolled factor of each dim that one unit of a memory serves, exact and whole.
    sums : (L + 2,) bool
        Whether the result is summed over units at or outside a level.
    units : (T, L + 1) float64
        Instances at each level, the units of the array first.
    fan_out : (2, T, L + 1) float64
        Different words that one unit of a level hands to the units inside it.
    capacity_bits : (N,) float64
    tensors : (N, T) int64
        That a memory holds, in the order of its ports, then -1.
    access_pj : (N, 2) float64
        A read and a write of the full width.
    rate : (R, 2) int64
        Bits per access at least, and bits per cycle, of the port of each link; 0 without one.
    common : (R,) bool
        Whether the port serves more than one operand.
    first_link : (P + 1,) int64
    links : (R or fewer,) int64
        Those that a port serves, port by port.
    port_rate : (P,) int64
    mac_pj : float
        Of the whole problem.
    drain_cycles : int
        For the last results to leave a systolic array.
    hiding : int
        Which first fills hide behind the computation: 0 the longest as far as it can, then the
        next; 1 the longest ones alike; 2 none.
    """

    relevance: Ints
    axis_dims: Ints
    axis_strides: Ints
    axis_words: Ints
    axis_used: Bools
    bits: Ints
    levels: Ints
    memory: Ints
    reach: Floats
    sums: Bools
    units: Floats
    fan_out: Floats
    capacity_bits: Floats
    tensors: Ints
    access_pj: Floats
    rate: Ints
    common: Bools
    first_link: Ints
    links: Ints
    port_rate: Ints
    mac_pj: float
    drain_cycles: int
    hiding: int


class Scratch(NamedTuple):
    """Tables that one thread fills for each loop order.

    Attributes
    ----------
    sizes : (2, T, L, n + 1) float64
        Words of a tile in one unit of a level, once the first i loops run inside it.
    cuts : (T, L) int64
        How many loops, counted from the innermost, run inside or at a level.
    link : (R, COLUMNS) int64
    tile : (T, L + 1) int64
        Bits of a level's tile that stay while its outermost loops run, the level counted from 1;
        at 0 the bits of the innermost tile, without which no work starts.
    doubled : (T, L + 1) bool
    load : (R,) float64
        Cycles of the first transfer that nothing hides.
    pick : (T, 5) int64
        Of the search for cuts: levels settled, first and number of choices, chosen, best.
    port : (R, 4) int64
        Of one port, by period: its length, its window, and how much of a period and of a window
        is covered; or links in the order of their first transfers.
    filled : (N,) float64
        Part of a memory that stays in use.
    shares : (T, 3) float64
        Cycles of first fills over ports of a tensor's own, half its own, and shared.
    """

    sizes: Floats
    cuts: Ints
    link: Ints
    tile: Ints
    doubled: Bools
    load: Floats
    pick: Ints
    port: Ints
    filled: Floats
    shares: Floats


@kernel
def scratch(a: PortArrays, loops: int) -> Scratch:
    """Return empty tables for orders of so many loops."""
    tensors, levels = a.memory.shape
    return Scratch(
        np.zeros((2, tensors, levels, loops + 1), np.float64),
        np.zeros((tensors, levels), np.int64),
        np.zeros((tensors * levels * KINDS, COLUMNS), np.int64),
        np.zeros((tensors, levels + 1), np.int64),
        np.zeros((tensors, levels + 1), np.bool_),
        np.zeros(tensors * levels * KINDS, np.float64),
        np.zeros((tensors, 5), np.int64),
        np.zeros((a.links.shape[0], 4), np.int64),
        np.zeros(a.capacity_bits.shape[0], np.float64),
        np.zeros((tensors, 3), np.float64),
    )
