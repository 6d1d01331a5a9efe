"""A DRAM channel behind its controller: reads and writes in, commands out, first ready first.

The controller keeps a window of the oldest requests and serves the one whose data can move first
(the oldest of equals); reads and writes do not overtake each other, and rows stay open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from accelsim.cost._dram_state import (
    ACT,
    BELOW_NODE,
    OPEN,
    PRE,
    RANK_NODE,
    RD,
    REF,
    WR,
    Cycles,
    State,
    Table,
    at_rest,
    closed,
    counted,
    first_dues,
    later,
    legal_at,
    moved,
    opened,
    packed,
    put_off,
)
from accelsim.cost._dram_timing import ChannelTimings
from accelsim.errors import ConfigError
from accelsim.jit import kernel

__all__ = ["QUEUE", "REQUEST_BANK", "ROW", "WRITE", "Requests", "Served", "serve"]

Requests = npt.NDArray[np.int64]
"""One row per burst; columns write (0 or 1), bank, row."""
WRITE, REQUEST_BANK, ROW = range(3)
# A slot of the queue begins as its request does; then follow the next younger slot, since when it
# is there, and a cycle before which it is not ready: that only grows, until its row is opened.
NEXT, ARRIVED, BOUND = 3, 4, 5
NEVER: Final = 1 << 62
HITS: Final = 0  # of the queue's head: how many of the pending find their row open
QUEUE: Final = 32
"""Requests that the controller looks ahead, as many as the read queue of Ramulator 2 holds."""


@dataclass(frozen=True, slots=True)
class Served:
    """What serving a stream of requests took.

    Attributes
    ----------
    cycles : int
        From the first command to the last data on the pins.
    commands : dict
        Commands issued by name: ACT, PRE, RD, WR, REF.
    log : ndarray of int64, shape (n, 3)
        Cycle, operation and bank (rank for REF) of each command in order of issue by bank, where
        asked for.
    """

    cycles: int
    commands: dict[str, int]
    log: npt.NDArray[np.int64]

    @property
    def row_hits(self) -> float:
        """Share of column commands that found their row open."""
        columns = self.commands["RD"] + self.commands["WR"]
        return 1.0 - self.commands["ACT"] / columns if columns else 0.0


def serve(
    c: ChannelTimings,
    requests: Requests,
    *,
    window: int = QUEUE,
    refresh: bool = True,
    log: bool = False,
) -> Served:
    """Serve requests as a controller does that takes the first ready of a window.

    Parameters
    ----------
    c : ChannelTimings
        Timings in clock cycles.
    requests : ndarray of int64, shape (n, 3)
        Bursts in order of arrival, all there at cycle 0: write (0 or 1), bank, row.
    window : int
        Requests that the controller looks ahead.
    refresh : bool
        Refresh ranks (or banks) as they fall due.
    log : bool
        Also return every command.

    Raises
    ------
    ConfigError
        For a bank that the channel does not have, an empty window, or writes without their
        timings.
    """
    if window < 1:
        raise ConfigError(f"a window of {window} requests serves none")
    if len(requests):
        last = int(requests[:, REQUEST_BANK].max())
        if last >= c.total_banks or requests[:, REQUEST_BANK].min() < 0:
            raise ConfigError(f"bank {last} of a channel with {c.total_banks} banks")
        if requests[:, WRITE].any() and c.write_to_precharge <= c.burst:
            raise ConfigError("writes need the timings `cwl`, `wr` and `wtr_s`")
    space = 4 * len(requests) + 16 if log else 0
    counts, end, book, used = _serve(packed(c), requests, window, refresh, space)
    names = ("ACT", "PRE", "RD", "WR", "REF")
    done = {name: int(counts[i]) for name, i in zip(names, (ACT, PRE, RD, WR, REF), strict=True)}
    return Served(int(end), done, book[:used])


@kernel
def _ready(
    c: ChannelTimings, s: State, open_row: Cycles, b: int, row: int, op: int, arrived: int
) -> tuple[int, int, int]:
    """Return when a request's column, activate and precharge can come; -1 where not needed."""
    column = max(legal_at(s, op, b), arrived)
    if open_row[b] == row:
        return column, -1, -1
    precharge = -1
    activate = max(legal_at(s, ACT, b), arrived)
    if open_row[b] >= 0:
        precharge = max(legal_at(s, PRE, b), arrived)
        activate = max(activate, precharge + c.rp)
    gap = c.rcd_wr if op == WR else c.rcd
    return max(column, activate + gap), activate, precharge


@kernel
def _note(book: Table, used: int, t: int, op: int, b: int) -> int:
    if used < book.shape[0]:
        book[used, 0], book[used, 1], book[used, 2] = t, op, b
        used += 1
    return used


@kernel
def _refresh_rank(
    c: ChannelTimings,
    s: State,
    open_row: Cycles,
    r: int,
    due: int,
    counts: Cycles,
    book: Table,
    used: int,
) -> int:
    """Close the rows of a rank and refresh it."""
    rank_banks = c.groups * c.banks
    whole = c.total_nodes + c.ranks * c.groups + c.ranks + r
    below = s[whole, BELOW_NODE]
    at = due
    if s[whole, OPEN] > 0:
        close = max(due, s[below, PRE])  # the latest of its banks
        for b in range(r * rank_banks, (r + 1) * rank_banks):
            if open_row[b] >= 0:
                closed(c, s, b, close)
                open_row[b] = -1
        counts[PRE] += 1
        used = _note(book, used, close, PRE, r * rank_banks)
    at = max(at, s[below, REF], s[whole, REF])
    later(s, whole, ACT, at + c.refresh)
    later(s, whole, REF, at + c.refresh)
    counts[REF] += 1
    return _note(book, used, at, REF, r)


@kernel
def _refresh_bank(
    c: ChannelTimings,
    s: State,
    open_row: Cycles,
    b: int,
    due: int,
    counts: Cycles,
    book: Table,
    used: int,
) -> int:
    """Close one bank's row and refresh it."""
    if open_row[b] >= 0:
        close = max(due, legal_at(s, PRE, b))
        closed(c, s, b, close)
        open_row[b] = -1
        counts[PRE] += 1
        used = _note(book, used, close, PRE, b)
    at = max(due, s[b, REF])
    put_off(s, b, ACT, at + c.refresh)
    put_off(s, b, REF, at + c.refresh)
    later(s, s[b, RANK_NODE], ACT, at + c.rrd_s)
    counts[REF] += 1
    return _note(book, used, at, REF, b)


@kernel
def _refresh(
    c: ChannelTimings,
    s: State,
    open_row: Cycles,
    due: Cycles,
    turn: Cycles,
    r: int,
    counts: Cycles,
    book: Table,
    used: int,
) -> int:
    """Do the refresh of a rank that is due, of all its banks or of the one whose turn it is."""
    if c.per_bank_refresh:
        rank_banks = c.groups * c.banks
        b = r * rank_banks + turn[r]
        used = _refresh_bank(c, s, open_row, b, due[r], counts, book, used)
        turn[r] = turn[r] + 1 if turn[r] < rank_banks - 1 else 0
    else:
        used = _refresh_rank(c, s, open_row, r, due[r], counts, book, used)
    due[r] += c.interval
    return used


@kernel
def _choose(c: ChannelTimings, s: State, open_row: Cycles, queue: Table) -> tuple[int, int]:
    """Return the slot before the pending request that is ready first, and when it is."""
    head = queue.shape[0] - 1
    slot, before = queue[head, NEXT], head
    write = queue[slot, WRITE]
    op = WR if write else RD
    oldest = queue[slot, REQUEST_BANK]
    if open_row[oldest] == queue[slot, ROW]:  # nothing is sooner than what only the pins hold up
        t = max(legal_at(s, op, oldest), queue[slot, ARRIVED])
        if t <= s[s[oldest, RANK_NODE], op]:
            return head, t
    ranks = c.total_nodes + c.ranks * c.groups
    floor = s[ranks, ACT]
    for rank in range(ranks + 1, ranks + c.ranks):
        floor = min(floor, s[rank, ACT])
    floor += c.rcd_wr if write else c.rcd
    best, soonest, only_hits = head, NEVER, False
    while slot >= 0 and queue[slot, WRITE] == write:
        b, row = queue[slot, REQUEST_BANK], queue[slot, ROW]
        if queue[slot, BOUND] < soonest and (not only_hits or open_row[b] == row):
            t = _ready(c, s, open_row, b, row, op, queue[slot, ARRIVED])[0]
            queue[slot, BOUND] = t
            if t < soonest:
                best, soonest = before, t
                # No activate is sooner than one that only the rank's others hold up.
                if t <= s[s[b, RANK_NODE], op]:
                    break
                only_hits = t <= floor
                if only_hits and queue[head, HITS] == 0:
                    break
        before, slot = slot, queue[slot, NEXT]
    return best, soonest


@kernel
def _count_hits(open_row: Cycles, queue: Table) -> None:
    """Count anew which pending requests find their row open."""
    head = queue.shape[0] - 1
    slot, hits = queue[head, NEXT], 0
    while slot >= 0:
        if open_row[queue[slot, REQUEST_BANK]] == queue[slot, ROW]:
            hits += 1
            queue[slot, BOUND] = 0
        slot = queue[slot, NEXT]
    queue[head, HITS] = hits


@kernel
def _enter(queue: Table, slot: int, request: Cycles, t: int, youngest: int) -> None:
    """Put a request into a free slot behind the youngest."""
    queue[slot, WRITE] = request[WRITE]
    queue[slot, REQUEST_BANK] = request[REQUEST_BANK]
    queue[slot, ROW] = request[ROW]
    queue[slot, NEXT], queue[slot, ARRIVED], queue[slot, BOUND] = -1, t, 0
    queue[youngest, NEXT] = slot


@kernel
def _serve(
    c: ChannelTimings, requests: Requests, window: int, refresh: bool, space: int
) -> tuple[Cycles, int, Table, int]:
    """Return command counts, the end, and the log with its length."""
    s = at_rest(c)
    n = requests.shape[0]
    book = np.zeros((space, 3), dtype=np.int64)
    counts = np.zeros(REF + 1, dtype=np.int64)
    open_row = np.full(c.total_nodes, -1)
    due, turn = first_dues(c), np.zeros(c.ranks, dtype=np.int64)
    first_rank = c.total_nodes + c.ranks * c.groups
    queue = np.zeros((window + 1, 6), dtype=np.int64)
    queue[window, NEXT] = -1
    youngest, coming = window, 0
    while coming < min(window, n):
        _enter(queue, coming, requests[coming], 0, youngest)
        youngest = coming
        coming += 1
    used = end = 0
    while queue[window, NEXT] >= 0:
        before, t = _choose(c, s, open_row, queue)
        slot = queue[before, NEXT]
        b, row = queue[slot, REQUEST_BANK], queue[slot, ROW]
        op = WR if queue[slot, WRITE] else RD
        r = s[b, RANK_NODE] - first_rank
        if refresh and t >= due[r]:
            used = _refresh(c, s, open_row, due, turn, r, counts, book, used)
            _count_hits(open_row, queue)
            continue
        t, activate, precharge = _ready(c, s, open_row, b, row, op, queue[slot, ARRIVED])
        queue[before, NEXT] = queue[slot, NEXT]
        if youngest == slot:
            youngest = before
        if precharge >= 0:
            closed(c, s, b, precharge)
            counts[PRE] += 1
            used = _note(book, used, precharge, PRE, b)
        if activate >= 0:
            opened(c, s, b, activate)
            counted(c, s, s[b, RANK_NODE], activate, 1)
            open_row[b] = row
            counts[ACT] += 1
            used = _note(book, used, activate, ACT, b)
            _count_hits(open_row, queue)
        else:
            queue[window, HITS] -= 1
        moved(c, s, b, t, op == WR)
        counts[op] += 1
        used = _note(book, used, t, op, b)
        end = max(end, t + c.burst + (c.cwl if op == WR else c.cl))
        if coming < n:
            _enter(queue, slot, requests[coming], t, youngest)
            queue[window, HITS] += open_row[queue[slot, REQUEST_BANK]] == queue[slot, ROW]
            youngest = slot
            coming += 1
    if refresh:
        for r in range(c.ranks):
            while due[r] <= end:
                used = _refresh(c, s, open_row, due, turn, r, counts, book, used)
    return counts, end, book, used
