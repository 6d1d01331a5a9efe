"""What moves over each transfer link for one order of loops, compiled: tiles, periods, windows.

All tensors share one order of temporal loops, and each cuts it into the levels of its own
memories where it likes ("uneven" mapping), as LOMA does and ZigZag prices.

References
----------
.. [1] A. Symons, L. Mei, M. Verhelst, "LOMA: Fast Auto-Scheduling on DNN Accelerators through
   Loop-Order-based Memory Allocation", AICAS 2021.
.. [2] L. Mei et al., "ZigZag: Enlarging Joint Architecture-Mapping Design Space Exploration for
   DNN Accelerators", IEEE Trans. Computers 70(8), 2021.
"""

from __future__ import annotations

import numpy as np

from accelsim.jit import kernel
from accelsim.nest.ports._arrays import (
    ALLOWED,
    BITS,
    CYCLES,
    DEMAND,
    EXACT,
    FREE,
    KINDS,
    MOVED,
    PERIOD,
    READ_DOWN,
    READ_UP,
    RELEVANT,
    TIMES,
    WHOLE,
    WINDOW,
    WRITE_DOWN,
    WRITE_UP,
    Floats,
    Ints,
    PortArrays,
    Scratch,
)

__all__ = [
    "allocate", "distinct", "double", "fill_links", "fill_sizes", "fill_times", "last_sum",
    "settle",
]  # fmt: skip


@kernel
def distinct(first: int, second: int, stride: int, dilation: int, most: int) -> int:
    """Return the distinct values of ``stride i + dilation j`` for i < first, j < second.

    The coefficients have no common divisor; see `PortArrays.axis_words` for `most`.
    """
    count = first * second - max(0, second - stride) * (first - dilation)
    return min(count, most)


@kernel
def fill_sizes(a: PortArrays, done: Floats, i: int, sizes: Floats) -> None:
    """Fill column `i` of the tile sizes; ``done[i]`` is how far the first i loops get by dim."""
    for view in range(2):
        for t in range(a.levels.shape[0]):
            for level in range(a.levels[t]):
                reach = a.reach[view, t, level]
                words = 1.0
                for d in range(reach.shape[0]):
                    if a.relevance[t, d] == RELEVANT:
                        words *= done[i, d] * reach[d]
                for axis in range(a.axis_words.shape[0]):
                    if a.axis_used[t, axis]:
                        p, q = a.axis_dims[axis, 0], a.axis_dims[axis, 1]
                        words *= distinct(
                            int(done[i, p] * reach[p]), int(done[i, q] * reach[q]),
                            a.axis_strides[axis, 0], a.axis_strides[axis, 1], a.axis_words[axis],
                        )  # fmt: skip
                sizes[view, t, level, i] = words


@kernel
def last_sum(a: PortArrays, dims: Ints) -> int:
    """Return the number of loops up to the outermost over which the result is summed."""
    result = a.levels.shape[0] - 1
    for i in range(dims.shape[0] - 1, -1, -1):
        if a.relevance[result, dims[i]] == FREE:
            return i + 1
    return 0


@kernel
def _choices(a: PortArrays, node: int, loops: int, last: int, s: Scratch) -> int:
    """Note the cuts at which each tensor of a memory fits by itself; return how many tensors.

    -1 if one cannot fit.  The outermost memory of a tensor takes all of its loops.
    """
    result = a.levels.shape[0] - 1
    for k in range(a.tensors.shape[1]):
        t = a.tensors[node, k]
        if t < 0:
            return k
        level, start = s.pick[t, 0], 0
        if level > 0:
            start = s.cuts[t, level - 1]
        bits = a.bits[t, 1]
        if t == result and (last > start or a.sums[level + 1]):
            bits = a.bits[t, 0]
        most = start - 1
        while most < loops and s.sizes[EXACT, t, level, most + 1] * bits <= a.capacity_bits[node]:
            most += 1
        if level == a.levels[t] - 1:
            if most < loops:
                return -1
            start = loops
        if most < start:
            return -1
        s.pick[t, 1], s.pick[t, 2], s.pick[t, 3] = start, most, start
        s.pick[t, 4] = bits
    return int(a.tensors.shape[1])


@kernel
def _cheapest(a: PortArrays, node: int, members: int, outside: Ints, s: Scratch) -> bool:
    """Choose the cuts of a memory's tensors that together fit and cost least traffic above.

    Of equals the last wins: later tensors of the memory, then more loops.
    """
    least, fits = np.inf, False
    while True:
        used = traffic = 0.0
        for k in range(members):
            t = a.tensors[node, k]
            level, cut = s.pick[t, 0], s.pick[t, 3]
            bits = s.sizes[EXACT, t, level, cut] * s.pick[t, 4]
            used += bits
            if level < a.levels[t] - 1:
                traffic += outside[cut] * bits
        if used <= a.capacity_bits[node] and traffic <= least:
            least, fits = traffic, True
            for k in range(members):
                t = a.tensors[node, k]
                s.cuts[t, s.pick[t, 0]] = s.pick[t, 3]
        k = members - 1
        while k >= 0:
            t = a.tensors[node, k]
            s.pick[t, 3] += 1
            if s.pick[t, 3] <= s.pick[t, 2]:
                break
            s.pick[t, 3] = s.pick[t, 1]
            k -= 1
        if k < 0:
            return fits


@kernel
def allocate(a: PortArrays, loops: int, last: int, outside: Ints, s: Scratch) -> bool:
    """Cut an order of loops, memory by memory from the innermost; False if it cannot fit.

    ``outside[i]`` is how often the first i loops run.
    """
    s.pick[:, 0] = 0
    for node in range(a.capacity_bits.shape[0]):
        members = _choices(a, node, loops, last, s)
        if members < 0:
            return False
        if members > 0 and not _cheapest(a, node, members, outside, s):
            return False
        for k in range(members):
            s.pick[a.tensors[node, k], 0] += 1
    return True


@kernel
def settle(a: PortArrays, dims: Ints, s: Scratch) -> None:
    """Count loops that leave a tile as it is to the level below, which then keeps it longer."""
    for t in range(a.levels.shape[0]):
        for level in range(a.levels[t]):
            cut = s.cuts[t, level]
            while cut < dims.shape[0] and a.relevance[t, dims[cut]] == FREE:
                cut += 1
            s.cuts[t, level] = cut


@kernel
def _run(relevance: Ints, dims: Ints, loops: Ints, t: int, start: int, end: int, kind: int) -> int:
    """Return the product of the outermost of some loops, as long as they are of one kind."""
    product, i = 1, end - 1
    while i >= start and relevance[t, dims[i]] == kind:
        product *= loops[i]
        i -= 1
    return product


@kernel
def _fill_link(
    link: Ints, i: int, on: bool, period: int, window: int, times: int, bits: int, exact: float,
    whole: float, demand: float,
) -> None:  # fmt: skip
    link[i, TIMES] = times if on else 0
    link[i, PERIOD], link[i, WINDOW], link[i, BITS] = period, window, bits
    link[i, MOVED + EXACT], link[i, MOVED + WHOLE] = int(exact), int(whole)
    link[i, DEMAND] = int(demand)


@kernel
def fill_links(
    a: PortArrays, dims: Ints, loops: Ints, cycles: Ints, last: int, s: Scratch
) -> None:
    """Fill the links of all tensors; ``cycles[i]`` is the product of the first i loops.

    Edge e of a tensor lies below its level e, the lowest at the units of the array, which hold
    an operand while loops turn that leave it as it is.
    """
    total, tensors, relevance = int(cycles[dims.shape[0]]), a.levels.shape[0], a.relevance
    link, cuts, deepest = s.link, s.cuts, a.memory.shape[1]
    for t in range(tensors):
        is_result, levels = t == tensors - 1, a.levels[t]
        for edge in range(levels + 1):
            period, idle, exact, whole, start, inner = 1, 1, 1, 1, 0, 0
            if edge > 0:
                inner = cuts[t, edge - 1]
                if edge > 1:
                    start = cuts[t, edge - 2]
                period = cycles[inner]
                idle = _run(relevance, dims, loops, t, start, inner, FREE)
                exact = int(np.rint(s.sizes[EXACT, t, edge - 1, inner]))
                whole = int(np.rint(s.sizes[WHOLE, t, edge - 1, inner]))
            elif not is_result:
                held = 0
                while held < cuts[t, 0] and relevance[t, dims[held]] == FREE:
                    held += 1
                period = cycles[held]
            partial = is_result and (last > inner or (edge < levels and a.sums[edge + 1]))
            bits = a.bits[t, 0] if partial else a.bits[t, 1]
            if edge > 0:
                replaced = _run(relevance, dims, loops, t, start, inner, RELEVANT)
                s.tile[t, edge] = exact * bits // replaced
            if edge == 1:
                s.tile[t, 0] = whole * bits
            window, times, rate = period // idle, total // period, whole * bits / period
            # nothing flows back in once the result is final
            outwards, inwards = is_result, not is_result or partial
            if edge < levels:
                i, fan = (t * deepest + edge) * KINDS, a.fan_out[WHOLE, t, edge]
                wide = exact * a.fan_out[EXACT, t, edge]
                _fill_link(link, i + WRITE_UP, outwards, period, window, times, bits, wide,
                           whole * fan, rate * fan)  # fmt: skip
                _fill_link(link, i + READ_DOWN, inwards, period, window, times, bits, wide,
                           whole * fan, rate * fan)  # fmt: skip
            if 0 < edge < levels:
                i = (t * deepest + edge - 1) * KINDS
                _fill_link(link, i + READ_UP, outwards, period, window, times, bits, exact,
                           whole, rate)  # fmt: skip
                _fill_link(link, i + WRITE_DOWN, inwards, period, window, times, bits, exact,
                           whole, rate)  # fmt: skip


@kernel
def double(a: PortArrays, s: Scratch) -> None:
    """Note which tiles have room for the next one beside them; the result chooses first.

    What stays in use is a tile less the part that its level's outermost loops replace.
    """
    tensors = a.levels.shape[0]
    s.filled[:] = 0.0
    for t in range(tensors):
        for level in range(a.levels[t]):
            node = a.memory[t, level]
            s.filled[node] += s.tile[t, level + 1] / a.capacity_bits[node]
    for turn in range(tensors):
        t = (turn + tensors - 1) % tensors
        for level in range(a.levels[t]):
            node = a.memory[t, level]
            own = s.tile[t, level + 1] / a.capacity_bits[node]
            free = s.filled[node] <= 0.5
            s.doubled[t, level + 1] = free or own <= 1.0 - s.filled[node]
            if s.doubled[t, level + 1] and not free:
                s.filled[node] += own


@kernel
def fill_times(a: PortArrays, s: Scratch) -> None:
    """Fill in how long each transfer takes, and how long it may take."""
    link, deepest = s.link, a.memory.shape[1]
    for t in range(a.levels.shape[0]):
        for level in range(a.levels[t]):
            for kind in range(KINDS):
                i = (t * deepest + level) * KINDS + kind
                if link[i, TIMES] == 0:
                    continue
                outside = 1 if kind in (READ_UP, WRITE_DOWN) else 0
                doubled = s.doubled[t, level + outside]
                link[i, ALLOWED] = link[i, PERIOD] if doubled else link[i, WINDOW]
                moved = link[i, MOVED + WHOLE] * link[i, BITS]
                link[i, CYCLES] = -(-moved // a.rate[i, 1])
