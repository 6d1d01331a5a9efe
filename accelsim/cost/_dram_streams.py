"""Closed forms of what a DRAM channel takes for streams, strides, random places and mixed runs.

They answer in microseconds what `_dram_requests.serve` works out command by command; the tests
state how far the two are apart for every standard and pattern.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from accelsim.cost._dram_timing import ChannelTimings
from accelsim.jit import kernel

EVENTS: Final = 256
"""Refreshes of each rank that are followed one by one."""
ROUNDS: Final = 12

__all__ = [
    "mixed_cycles",
    "random_cycles",
    "refresh_stall_cycles",
    "refreshed_cycles",
    "row_stream_cycles",
    "strided_cycles",
]


@kernel
def row_stream_cycles(
    bursts: float, cadence: float, rrd: int, faw: int, row_cycle: int, banks: int
) -> float:
    """Return the cycles per row of a sequential stream, in steady state.

    Notes
    -----
    max(bursts cadence, tRRD, tFAW / 4, tRC / banks): the next bank is activated while this one
    bursts, so a row costs more than its bursts only where activations come too thick.
    """
    return max(bursts * cadence, float(rrd), faw / 4.0, row_cycle / banks)


@kernel
def refresh_stall_cycles(blocked: float, dwell: float, ranks: int) -> float:
    """Return how long one rank's refresh stalls a stream that walks through the ranks in turn.

    Parameters
    ----------
    blocked : float
        Cycles for which the refreshed rank answers nothing.
    dwell : float
        Cycles that the stream spends in one rank before it moves to the next.
    ranks : int
        Ranks that share the channel; their refreshes are staggered.

    Notes
    -----
    Mean over the phase: if the stream stands in the rank (1 in `ranks`) it waits for all of the
    refresh, else for what is left of it when the stream arrives.
    """
    away = (ranks - 1) * dwell
    part = min(blocked, away)
    return blocked / ranks + (blocked * part - part * part / 2.0) / (ranks * dwell)


@kernel
def refreshed_cycles(busy: float, interval: float, first: float, stall: float) -> float:
    """Return the cycles of `busy` work with every refresh that falls due before it ends.

    Notes
    -----
    T = busy + n stall with n = floor((T - first) / interval) + 1, counted in whole events: the
    average factor 1 / (1 - stall / interval) makes runs shorter than one interval 10 % too slow.

    Examples
    --------
    >>> refreshed_cycles(3810.0, 5070.0, 5070.0, 437.0)
    3810.0
    """
    events = 0.0
    while True:
        due = max(0.0, np.floor((busy + events * stall - first) / interval) + 1.0)
        if due == events:
            return busy + events * stall
        events = due


@kernel
def _greatest(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


@kernel
def _occupied(c: ChannelTimings, hits: float, spacing: float, write: bool) -> float:
    """Return the cycles from one activate of a bank to the next, with `hits` bursts between."""
    if write:
        span = c.rcd_wr + (hits - 1.0) * spacing + c.write_to_precharge
    else:
        span = c.rcd + (hits - 1.0) * spacing + c.rtp
    return max(max(float(c.ras), span) + c.rp, float(c.rc))


@kernel
def _walk(c: ChannelTimings, stride: int) -> tuple[float, int, int, int]:
    """Return how a stride walks through the sets of rows, a set being what is open at a time.

    Returns
    -------
    hits : float
        Bursts per visit of a row.
    groups : int
        Rows of a set: bank groups that successive bursts go to in turn.
    sets : int
        Sets visited before one of them comes again.
    step : int
        Sets from one visit to the next, of all that the channel has.
    """
    if c.groups_first:
        span, places = c.groups * c.row_bursts, c.ranks * c.banks
        groups = c.groups // _greatest(stride, c.groups)
    else:
        span, places = c.row_bursts, c.ranks * c.groups * c.banks
        groups = 1
    # One burst of each group per turn; where even that leaves the span, a visit is one burst.
    turn = stride * groups
    if turn < span:
        return float(span) / turn, groups, places, 1
    common = _greatest(stride, span * places)
    sets = places if common <= span else places * span // common
    return 1.0, groups, sets, max(1, stride // span)


@kernel
def _reach(c: ChannelTimings, sets_ahead: float, step: int, size: int, parts: int) -> float:
    """Return how many of `parts`, of `size` sets each, the controller's window has before it."""
    apart = step % (size * parts)
    if apart >= size and apart % size == 0:
        turns = parts // _greatest(apart // size, parts)
        return min(float(turns), max(1.0, sets_ahead))
    return min(float(parts), max(1.0, sets_ahead * min(step, size) / size))


@kernel
def _steady(
    c: ChannelTimings, stride: int, write: bool, window: int
) -> tuple[float, float, float, float]:
    """Return cycles per burst in steady state and per set of rows, groups and ranks in reach."""
    hits, groups, sets, step = _walk(c, stride)
    ahead = window / (hits * groups)
    if c.groups_first:
        seen = float(groups)
        ranks = _reach(c, ahead, step, c.banks, c.ranks)
    else:
        seen = _reach(c, ahead, step, c.banks, c.groups)
        ranks = _reach(c, ahead, step, c.banks * c.groups, c.ranks)
    ccd_l = float(c.ccd_l_wr if write else c.ccd_l)
    cadence = max(float(c.ccd_s), ccd_l / seen)
    parts = c.ranks if c.groups_first else c.ranks * c.groups
    if groups == 1 and parts > 1 and step < c.banks:
        # Where the walk goes on to another group, the window serves both at the pins' pace; what
        # it holds back of one meets as much again of the next.
        stay = hits * c.banks / step
        met = min(float(parts), max(2.0, 2.0 * window / stay))
        mixed = max(float(c.ccd_r if c.groups_first else c.ccd_s), ccd_l / met)
        cadence = max(min(mixed, ccd_l), ccd_l - 2.0 * window / stay * max(0.0, ccd_l - mixed))
    activates = max(float(c.rrd_s), c.rrd_l / seen, c.faw / 4.0) / ranks
    opening = c.rp + (c.rcd_wr if write else c.rcd)
    per_burst = max(cadence, activates / hits)
    occupied = _occupied(c, hits, cadence * groups, write)
    per_burst = max(per_burst, occupied / (hits * groups * sets))
    # A row is seen `window` bursts ahead; opening it may take longer than that.
    late = 0.0
    if hits * groups < window:
        per_burst = max(per_burst, float(opening) / window)
    elif sets > 1:
        late = max(0.0, opening - window * cadence)
    per_set = hits * groups * per_burst + late
    return per_set / (hits * groups), per_set, seen, ranks


@kernel
def _until_visit(
    c: ChannelTimings, at: float, per_set: float, sets: int, step: int, unit: int, far: float
) -> float:
    """Return the work from `at` until the walk visits a set of rows, `far` if not before."""
    places = c.ranks * c.banks * (1 if c.groups_first else c.groups)
    i = int(at / per_set)
    done = 0.0
    while done < far:
        if i * step % places == unit:
            return float(done)
        i += 1
        done = i * per_set - at
        if done > sets * per_set:
            return far
    return far


@kernel
def _refreshed(
    c: ChannelTimings, busy: float, per_set: float, stride: int, write: bool, window: int
) -> float:
    """Return the cycles of a walk with its refreshes, event by event.

    Notes
    -----
    A refresh stops the walk from when it comes to the refreshed rank (or bank) and the window has
    filled with requests to it, until that answers again.  Walk and refresh keep step, which an
    average over their phase would miss.  After `EVENTS` the rest is extended.
    """
    hits, groups, sets, step = _walk(c, stride)
    per_burst, _, _, ranks = _steady(c, stride, write, window)
    opening = c.rcd_wr if write else c.rcd
    closing = c.write_to_precharge if write else c.rtp
    blocked = closing + c.rp + c.refresh + opening - per_burst
    if not c.per_bank_refresh:
        stall, turns = blocked, 1
        if c.staggered and c.ranks > 1:
            turns = c.ranks
            slack = window * (ranks - 1) * per_burst if hits * groups < window else 0.0
            dwell = per_set * max(1.0, sets / c.ranks)
            stall = refresh_stall_cycles(max(0.0, blocked - slack), dwell, c.ranks)
        return refreshed_cycles(busy, c.interval / turns, float(c.first_refresh), stall)
    rank_banks = c.groups * c.banks
    stalls = until = end = 0.0
    for k in range(EVENTS * c.ranks):
        r, turn = k % c.ranks, k // c.ranks
        due = c.first_refresh + turn * c.interval + r * (c.interval * c.staggered // c.ranks)
        if due >= busy + stalls:
            return busy + stalls
        bank = turn % rank_banks
        unit = r * c.banks + bank % c.banks if c.groups_first else r * rank_banks + bank
        if c.groups_first and bank // c.banks % (c.groups // groups):
            continue
        begin = max(float(due), until)
        at = (begin - stalls) / per_set
        work = _until_visit(c, begin - stalls, per_set, sets, step, unit, blocked)
        left = hits * (1.0 - at % 1.0) if work == 0.0 else hits
        # A window that can hold all bursts of the visit passes them over until the next lap.
        others = groups - 1 if left >= window else groups * sets - 1
        slack = window * others * per_burst
        extra = due + blocked - (begin + work + slack)
        if extra > 0.0:
            stalls += extra
            until = due + blocked
        end = float(due)
    return busy * (1.0 + stalls / max(1.0, end - stalls))


@kernel
def strided_cycles(c: ChannelTimings, bursts: int, stride: int, write: bool, window: int) -> float:
    """Return the cycles of `bursts` bursts, each `stride` bursts after the one before.

    Parameters
    ----------
    c : ChannelTimings
    bursts : int
        Bursts on this channel.
    stride : int
        Distance in bursts within the channel's address space; 1 is a sequential stream.
    write : bool
    window : int
        Requests that the controller looks ahead.

    Notes
    -----
    A row visit of h bursts takes the longest of h bursts at the cadence of the pins or of the
    bank groups in reach, tRRD, tFAW / 4, and the bank's row cycle over the banks visited before
    it comes again.  The first access and the refreshes, in whole events, add to it.
    """
    if bursts <= 0:
        return 0.0
    per_burst, per_set, _, _ = _steady(c, stride, write, window)
    first = (c.rcd_wr + c.cwl if write else c.rcd + c.cl) + c.burst
    busy = first + (bursts - 1) * per_burst
    return _refreshed(c, busy, per_set, stride, write, window)


@kernel
def _banks_at_work(window: float, banks: float) -> float:
    """Return how many of `banks` are busy on average when `window` requests are spread over them.

    Notes
    -----
    Requests that find their bank busy wait: m + p - 1/2 - sqrt((m + p - 1/2)^2 - 2 p m).

    References
    ----------
    Baskett and Smith, Interference in multiprocessor computer systems with interleaved memory,
    Communications of the ACM 19(6), 1976.
    """
    half = banks + window - 0.5
    return float(half - np.sqrt(half * half - 2.0 * window * banks))


@kernel
def _in_order(base: float, occupied: float, banks: float) -> float:
    """Return the cycles per visit to random banks if none could overtake another.

    Notes
    -----
    T = base + sum over k of max(0, occupied - k T) / banks: the bank was last visited k visits
    ago with a chance of about 1 / banks for each k.
    """
    each = base
    for _ in range(ROUNDS):
        last = np.floor(occupied / each)
        waits = last * occupied - each * last * (last + 1.0) / 2.0
        each = (each + base + waits / banks) / 2.0
    return each


@kernel
def random_cycles(c: ChannelTimings, visits: int, hits: int, write: bool, window: int) -> float:
    """Return the cycles of `visits` accesses to random rows of random banks, `hits` bursts each.

    Parameters
    ----------
    c : ChannelTimings
    visits : int
        Accesses on this channel.
    hits : int
        Successive bursts of each, in one row.
    write : bool
    window : int
        Requests that the controller looks ahead.

    Notes
    -----
    An access takes the longest of its bursts on the pins, tRRD and tFAW / 4 shared by the ranks,
    and the bank's row cycle over the banks at work; but no longer than without overtaking.
    """
    if visits <= 0:
        return 0.0
    ccd_l = c.ccd_l_wr if write else c.ccd_l
    opening = c.rcd_wr if write else c.rcd
    banks = float(c.ranks * c.groups * c.banks)
    places = max(1.0, float(window) / hits)
    turned = c.ccd_s + (c.ccd_r - c.ccd_s) * (c.ranks - 1.0) / c.ranks
    # What the window holds are halves of visits, on average.
    pins = hits * max(turned, ccd_l / max(1.0, min(2.0 * places, float(c.groups * c.ranks))))
    activates = max(float(c.rrd_s), c.faw / 4.0) / c.ranks
    occupied = _occupied(c, float(hits), float(ccd_l), write)
    # A bank that still writes back or precharges holds no place in the window.
    tail = occupied - opening - (hits - 1) * ccd_l
    blocked = c.refresh + c.rp + opening
    refreshing = blocked * c.ranks / c.interval if c.per_bank_refresh else 0.0
    each = max(pins, activates)
    for _ in range(ROUNDS):
        stuck = refreshing * blocked / (each * banks)
        waiting = max(1.0, places - stuck) + tail / each / 2.0
        each = max(pins, activates, occupied / _banks_at_work(waiting, banks - refreshing))
    each = min(each, _in_order(max(pins, activates), occupied, banks))
    first = opening + (c.cwl if write else c.cl) + c.burst
    busy = first + (visits - 1) * each + (hits - 1) * ccd_l
    if c.per_bank_refresh:
        return busy * (1.0 + c.rrd_s * c.ranks / c.interval)
    stall = max(blocked / c.ranks, blocked - each - places * (c.ranks - 1) * each)
    turn = c.ranks if c.staggered else 1
    return refreshed_cycles(busy, c.interval / turn, float(c.first_refresh), stall)


@kernel
def mixed_cycles(c: ChannelTimings, bursts: int, reads: int, writes: int, window: int) -> float:
    """Return the cycles of a sequential stream whose bursts are read and written in runs.

    Parameters
    ----------
    c : ChannelTimings
    bursts : int
        Bursts in all.
    reads, writes : int
        Bursts of one run of reads and of the run of writes after it.
    window : int
        Requests that the controller looks ahead.

    Notes
    -----
    Each pair of runs costs the turnarounds besides its bursts: read to write, and write to read
    (tCWL + burst + tWTR_S, or tWTR_L where the group's last write is not long enough ago).
    """
    if bursts <= 0:
        return 0.0
    read, per_set, _, _ = _steady(c, 1, False, window)
    write, _, _, _ = _steady(c, 1, True, window)
    groups = c.groups if c.groups_first else 1
    back = max(float(c.write_to_read_s), c.write_to_read_l - (groups - 1) * write)
    pair = (reads - 1) * read + c.read_to_write + (writes - 1) * write + back
    per_burst = pair / (reads + writes)
    busy = c.rcd + c.cl + c.burst + (bursts - 1) * per_burst
    return _refreshed(c, busy, per_set * per_burst / read, 1, False, window)
