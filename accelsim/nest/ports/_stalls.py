"""Time and energy of one order of loops on ported memories, compiled: stalls and first fills.

A transfer has a window in each period in which it goes unnoticed; links that share a port share
its time, and what does not fit stalls the array.  The busiest port decides.

References
----------
.. [1] L. Mei et al., "A Uniform Latency Model for DNN Accelerators with Diverse Architectures and
   Dataflows", DATE 2022.
"""

from __future__ import annotations

from accelsim.jit import kernel
from accelsim.nest.ports._arrays import (
    ALLOWED,
    BITS,
    CYCLES,
    DEMAND,
    EXACT,
    KINDS,
    MOVED,
    PERIOD,
    READ_DOWN,
    READ_UP,
    TIMES,
    WRITE_DOWN,
    WRITE_UP,
    Floats,
    Ints,
    PortArrays,
    Scratch,
)
from accelsim.nest.ports._links import allocate, double, fill_links, fill_times, last_sum, settle

__all__ = [
    "COSTS", "DRAIN", "ENERGY", "IDEAL", "OFFLOAD", "ONLOAD", "STALL", "cover", "price",
    "price_cut",
]  # fmt: skip

IDEAL, STALL, ONLOAD, OFFLOAD, DRAIN, ENERGY = 0, 1, 2, 3, 4, 5
"""Columns of a cost: cycles of the array if nothing is waited for, of waiting, of first fills and
last results that nothing hides, of results leaving a systolic array; pJ."""
COSTS = 6

OWN, HALF, COMMON = 0, 1, 2  # columns of the shares: links with neither, one, both ends on a
# port that serves both operands


@kernel
def _energy_pj(a: PortArrays, s: Scratch) -> float:
    """Return the energy; a port reads and writes whole multiples of its narrowest access."""
    total, link, deepest = a.mac_pj, s.link, a.memory.shape[1]
    for t in range(a.levels.shape[0]):
        for level in range(a.levels[t]):
            for kind in range(KINDS):
                i = (t * deepest + level) * KINDS + kind
                if link[i, TIMES] == 0:
                    continue
                least, width = a.rate[i, 0], a.rate[i, 1]
                narrow = -(-link[i, MOVED + EXACT] * link[i, BITS] // least)
                writes = 1 if kind in (WRITE_UP, WRITE_DOWN) else 0
                accesses = narrow * (least / width) * link[i, TIMES] * a.units[t, level + 1]
                total += int(accesses) * a.access_pj[a.memory[t, level], writes]
    return total


@kernel
def _add_window(port: Ints, count: int, period: int, window: int) -> int:
    """Keep one port's windows sorted by period, the longest of each; return how many."""
    i = count
    while i > 0 and port[i - 1, 0] >= period:
        i -= 1
    if i < count and port[i, 0] == period:
        port[i, 1] = max(port[i, 1], window)
        return count
    for j in range(count, i, -1):
        port[j, 0], port[j, 1] = port[j - 1, 0], port[j - 1, 1]
    port[i, 0], port[i, 1] = period, window
    return count + 1


@kernel
def cover(port: Ints, count: int) -> int:
    """Return how many cycles of the longest period lie in any window.

    Parameters
    ----------
    port : (K, 4) int64
        Periods, each a divisor of the next, and the windows at their starts; the other two
        columns are overwritten.
    count : int
        Rows in use.

    Notes
    -----
    With C_j(x) the covered part of the first x cycles by periods up to j, one whole period covers
    ``C_j(P_j) = W_j + (P_j / P_{j-1}) C_{j-1}(P_{j-1}) - C_{j-1}(W_j)``.
    """
    for j in range(count):
        left, hidden = port[j, 1], 0
        for k in range(j - 1, -1, -1):
            hidden += left // port[k, 0] * port[k, 2]
            left %= port[k, 0]
            if left <= port[k, 1]:
                hidden += left
                break
            hidden += port[k, 1] - port[k, 3]
        port[j, 2], port[j, 3] = port[j, 1] - hidden, hidden
        if j > 0:
            port[j, 2] += port[j, 0] // port[j - 1, 0] * port[j - 1, 2]
    return int(port[count - 1, 2])


@kernel
def _stall(links: Ints, link: Ints, windows: Ints) -> int:
    """Return the cycles for which the port of some links keeps the array waiting.

    Transfers that outlast their windows stall by the difference; the others' spare time helps
    only as far as the port is not asked for more than the union of all windows.
    """
    late, spare, asked, whole, used, count, longest, times = 0, 0, 0, 0, 0, 0, 0, 0
    for i in links:
        if link[i, TIMES] == 0:
            continue
        slack = (link[i, CYCLES] - link[i, ALLOWED]) * (link[i, TIMES] - 1)
        late += max(slack, 0)
        spare += min(slack, 0)
        asked += link[i, ALLOWED] * (link[i, TIMES] - 1)
        if link[i, PERIOD] == link[i, ALLOWED]:
            whole = link[i, PERIOD] * link[i, TIMES]
        if link[i, PERIOD] > longest:
            longest, times = link[i, PERIOD], link[i, TIMES]
        count = _add_window(windows, count, link[i, PERIOD], link[i, ALLOWED])
        used += 1
    if used < 2:
        return late
    union = whole if whole > 0 else cover(windows, count) * times
    return late + max(0, spare + asked - union)


@kernel
def _sort_first(
    links: Ints, inwards: int, link: Ints, load: Floats, order: Ints
) -> tuple[int, int]:
    """Note the first transfers of a port, longest first where they are the only ones.

    Returns their number, and the mean bits per cycle that all other links ask for.  Links from
    `inwards` on that lead inwards are the result's: partial sums do not start from outside.
    """
    count, asked = 0, 0
    for i in links:
        kind = i % KINDS
        back = i >= inwards and kind in (READ_DOWN, WRITE_DOWN)
        if link[i, TIMES] == 0 or back:
            continue
        load[i] = link[i, CYCLES]
        if link[i, TIMES] > 1:
            asked += link[i, DEMAND]
            continue
        j = count
        while j > 0 and load[order[j - 1, 0]] < load[i]:
            order[j, 0] = order[j - 1, 0]
            j -= 1
        order[j, 0] = i
        count += 1
    return count, asked


@kernel
def _hide_first(
    links: Ints, inwards: int, needed: Ints, rate: int, hiding: int, busy: int, link: Ints,
    load: Floats, order: Ints,
) -> None:  # fmt: skip
    """Fill in the cycles of each first transfer of a port that the computation does not hide.

    What a port has left while the array works also serves transfers that occur only once; but
    the first tile of the innermost memory, `needed` bits of it, must be there at the start.
    """
    count, asked = _sort_first(links, inwards, link, load, order)
    left = max(0.0, (rate - asked) / rate * busy)
    per_tensor = link.shape[0] // needed.shape[0]
    for j in range(count):
        if left <= 0 or hiding > 1:
            return
        i = order[j, 0]
        can = load[i] + (-needed[i // per_tensor] // rate)  # less a rounded-up quotient
        if hiding == 0:
            cut = min(max(0.0, can), left)
            load[i] -= cut
            left -= cut
            continue
        cut = min(can, left / (j + 1))
        for k in range(j + 1):
            load[order[k, 0]] -= cut
        left = 0.0 if cut < can else left - cut * (j + 1)


@kernel
def _in_turn(shares: Floats, one: int, other: int) -> float:
    """Return the cycles of filling if the shared port serves one operand before the other."""
    rest = shares[one, OWN] + shares[one, HALF]
    after = shares[other, COMMON] + shares[other, HALF] + shares[other, OWN]
    return float(shares[one, COMMON] + max(after, rest))


@kernel
def _onload(a: PortArrays, s: Scratch) -> float:
    """Return the cycles of filling all memories: levels in turn, operands side by side.

    Links on ports of their own run beside those on a port that operands share, which take turns,
    in the better order.
    """
    operands, deepest, shares = a.levels.shape[0] - 1, a.memory.shape[1], s.shares
    shares[:] = 0.0
    for t in range(operands):
        for level in range(a.levels[t] - 1):
            inside = (t * deepest + level) * KINDS + WRITE_DOWN
            outside = (t * deepest + level + 1) * KINDS + READ_DOWN
            longest = max(s.load[inside], s.load[outside])
            if a.common[inside] and a.common[outside]:
                shares[t, COMMON] += longest
            elif a.common[inside] or a.common[outside]:
                shares[t, HALF] = longest
            else:
                shares[t, OWN] += longest
    if operands == 1:
        return float(shares[0, OWN])
    return min(_in_turn(shares, 0, 1), _in_turn(shares, 1, 0))


@kernel
def _offload(a: PortArrays, s: Scratch) -> float:
    """Return the cycles of the last results on their way out, level after level."""
    t, cycles = a.levels.shape[0] - 1, 0.0
    for level in range(a.levels[t] - 1):
        inside = (t * a.memory.shape[1] + level) * KINDS
        cycles += max(s.load[inside + READ_UP], s.load[inside + KINDS + WRITE_UP])
    return cycles


@kernel
def _beaten(objective: int, latency: float, energy_pj: float, best: float) -> bool:
    """Return whether a nest of at least this latency and energy exceeds the best known."""
    if objective == 0:
        return latency > best
    if objective == 1:
        return energy_pj > best
    return latency * energy_pj > best


@kernel
def price_cut(
    a: PortArrays, dims: Ints, loops: Ints, cycles: Ints, last: int, objective: int, best: float,
    s: Scratch, cost: Floats,
) -> bool:  # fmt: skip
    """Fill in the cost of an order whose cuts are given; False once it exceeds `best`.

    Parameters
    ----------
    dims, loops : (n,) int64
        Dim and factor of each loop, innermost first.
    cycles : (n + 1,) int64
        Products of the first i factors.
    last : int
        As of `last_sum`.
    objective : {0, 1, 2}
        What `best` is of: latency, energy, or their product.
    best : float
        What is known; infinite to have all costs.
    s : Scratch
        With sizes and cuts.
    cost : (COSTS,) float64, out
    """
    settle(a, dims, s)
    fill_links(a, dims, loops, cycles, last, s)
    total = int(cycles[dims.shape[0]])
    cost[IDEAL], cost[DRAIN] = total, a.drain_cycles
    least = total + a.drain_cycles
    energy = 0.0
    if objective > 0:
        energy = _energy_pj(a, s)
        if _beaten(objective, least, energy, best):
            return False
    double(a, s)
    fill_times(a, s)
    stall = 0
    for port in range(a.port_rate.shape[0]):
        links = a.links[a.first_link[port] : a.first_link[port + 1]]
        stall = max(stall, _stall(links, s.link, s.port))
        if _beaten(objective, least + stall, energy, best):
            return False
    inwards = s.link.shape[0] - a.memory.shape[1] * KINDS
    for port in range(a.port_rate.shape[0]):
        links = a.links[a.first_link[port] : a.first_link[port + 1]]
        _hide_first(
            links, inwards, s.tile[:, 0], a.port_rate[port], a.hiding, total + stall, s.link,
            s.load, s.port,
        )  # fmt: skip
    cost[STALL], cost[ONLOAD], cost[OFFLOAD] = stall, _onload(a, s), _offload(a, s)
    if _beaten(objective, least + stall + cost[ONLOAD] + cost[OFFLOAD], energy, best):
        return False
    cost[ENERGY] = energy if objective > 0 else _energy_pj(a, s)
    return True


@kernel
def price(
    a: PortArrays, dims: Ints, loops: Ints, cycles: Ints, outside: Ints, objective: int,
    best: float, s: Scratch, cost: Floats,
) -> bool:  # fmt: skip
    """Cut an order into levels and price it; False if it cannot fit or exceeds `best`."""
    last = last_sum(a, dims)
    if not allocate(a, dims.shape[0], last, outside, s):
        return False
    return price_cut(a, dims, loops, cycles, last, objective, best, s, cost)
