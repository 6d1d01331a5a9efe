"""Prices loop orders, one or every distinct one of a set of factors, compiled.

Orders follow each other so that most of the tiles of the last one still hold.
"""

from __future__ import annotations

import numpy as np

from accelsim.jit import kernel
from accelsim.nest.ports._arrays import Floats, Ints, PortArrays, Scratch, scratch
from accelsim.nest.ports._links import fill_sizes, last_sum
from accelsim.nest.ports._stalls import ENERGY, price, price_cut

__all__ = ["best_order", "price_order"]


@kernel
def price_order(a: PortArrays, dims: Ints, loops: Ints, cuts: Ints, cost: Floats) -> bool:
    """Price one order; False if it cannot fit.

    Parameters
    ----------
    dims, loops : (n,) int64
        Dim and factor of each loop, innermost first.
    cuts : (T, L) int64
        Loops at or inside each level of each tensor; -1 in front to have them chosen, which
        overwrites them.
    cost : (COSTS,) float64, out
    """
    n = dims.shape[0]
    s = scratch(a, n)
    done, cycles = np.ones((n + 1, a.relevance.shape[1])), np.ones(n + 1, np.int64)
    for i in range(n):
        done[i + 1] = done[i]
        done[i + 1, dims[i]] *= loops[i]
        cycles[i + 1] = cycles[i] * loops[i]
    for i in range(n + 1):
        fill_sizes(a, done, i, s.sizes)
    outside = cycles[n] // cycles
    if cuts[0, 0] >= 0:
        s.cuts[:] = cuts
        return price_cut(a, dims, loops, cycles, last_sum(a, dims), 0, np.inf, s, cost)
    fits = price(a, dims, loops, cycles, outside, 0, np.inf, s, cost)
    cuts[:] = s.cuts
    return fits


@kernel
def _following(order: Ints) -> int:
    """Turn an order into the next one; return the first place that changed, -1 at the end."""
    n = order.shape[0]
    i = n - 2
    while i >= 0 and order[i] >= order[i + 1]:
        i -= 1
    if i < 0:
        return -1
    j = n - 1
    while order[j] <= order[i]:
        j -= 1
    order[i], order[j] = order[j], order[i]
    low, high = i + 1, n - 1
    while low < high:
        order[low], order[high] = order[high], order[low]
        low, high = low + 1, high - 1
    return int(i)


@kernel
def _mirrored(order: Ints, mirror: Ints) -> bool:
    """Return whether the mirror image of an order comes before it, so that it has been tried."""
    for i in range(order.shape[0]):
        image = mirror[order[i]]
        if image != order[i]:
            return bool(image < order[i])
    return False


@kernel
def best_order(
    a: PortArrays, dim: Ints, size: Ints, number: Ints, mirror: Ints, objective: int,
    best: Ints, cost: Floats,
) -> tuple[int, int]:  # fmt: skip
    """Find the order of least latency (0), energy (1) or their product (2).

    Of equal latencies the least energy wins, and the other way round.

    Parameters
    ----------
    dim, size, number : (F,) int64
        Distinct loops and how many there are of each.
    mirror : (F,) int64
        The loop that takes each one's part if two like dims are swapped; itself if none.
    best : (n,) int64, out
        Number of the distinct loop at each place, innermost first.
    cost : (COSTS,) float64, out
        Infinite if no order fits.

    Returns
    -------
    tried, priced : int
        Orders, and those that were not cut short.
    """
    n = best.shape[0]
    order, dims, loops = np.repeat(np.arange(dim.shape[0]), number), best.copy(), best.copy()
    s, trial = scratch(a, n), cost.copy()
    done, cycles = np.ones((n + 1, a.relevance.shape[1])), np.ones(n + 1, np.int64)
    outside = np.ones(n + 1, np.int64)
    total = 1
    for i in range(n):
        total *= size[order[i]]
    fill_sizes(a, done, 0, s.sizes)
    outside[0] = total
    cost[:] = np.inf
    most, second, tried, priced, start = np.inf, np.inf, 0, 0, 0
    while start >= 0:
        if not _mirrored(order, mirror):
            _lay(a, order, dim, size, done, cycles, start, dims, loops, s)
            outside[start:] = total // cycles[start:]
            start = n
            tried += 1
            if price(a, dims, loops, cycles, outside, objective, most, s, trial):
                priced += 1
                latency, energy = trial[:ENERGY].sum(), trial[ENERGY]
                value, other = latency, energy
                if objective == 1:
                    value, other = energy, latency
                elif objective == 2:
                    value, other = latency * energy, latency
                if value < most or (value == most and other < second):
                    most, second = value, other
                    cost[:] = trial
                    best[:] = order
        change = _following(order)
        start = min(start, change)
    return tried, priced


@kernel
def _lay(
    a: PortArrays, order: Ints, dim: Ints, size: Ints, done: Floats, cycles: Ints, start: int,
    dims: Ints, loops: Ints, s: Scratch,
) -> None:  # fmt: skip
    """Lay out an order that agrees with the last one up to `start`."""
    for i in range(start, order.shape[0]):
        dims[i], loops[i] = dim[order[i]], size[order[i]]
        done[i + 1] = done[i]
        done[i + 1, dims[i]] *= loops[i]
        cycles[i + 1] = cycles[i] * loops[i]
        fill_sizes(a, done, i + 1, s.sizes)
