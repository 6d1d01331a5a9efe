"""What one DRAM channel remembers of its commands: which of the next are legal, and from when.

The rules of every command stand here once; `_dram_commands` and `_dram_requests` issue by them.
"""

from __future__ import annotations

from typing import Final, cast

import numpy as np
import numpy.typing as npt

from accelsim.cost._dram_timing import ChannelTimings
from accelsim.jit import kernel

__all__ = [
    "ACT", "BARRIER", "BELOW_NODE", "GROUP_NODE", "MAC", "OPEN", "PRE", "RANK_NODE", "RD", "REF",
    "WHOLE_NODE", "WR", "Cycles", "State", "Table", "at_rest", "closed", "counted", "first_dues",
    "later", "legal_at", "moved", "on_pins", "opened", "packed", "put_off", "refreshed",
]  # fmt: skip

Table = npt.NDArray[np.int64]
Cycles = npt.NDArray[np.int64]
State = npt.NDArray[np.int64]
"""What a channel remembers, see `OPEN`; made by `at_rest`."""

ACT, PRE, RD, WR, MAC, REF, BARRIER = range(7)
KINDS: Final = 6
# The state is one table, because compiled code pays for every array it is handed.  A row is a
# node: the banks, then groups, ranks, whole ranks by row buffer (commands to all of their banks)
# and "below" these (the latest of the banks in them).  Its first columns hold the first cycle at
# which each kind of command is legal as far as the node is concerned; then follow
OPEN: Final = 6  # of a bank: 1 where a row is open; of a whole rank: how many banks have one
GROUP_NODE, RANK_NODE, WHOLE_NODE, BELOW_NODE = 7, 8, 9, 10  # of a bank, and of a whole rank
OLDEST, RING = 6, 7  # of a rank: the last four activates, and which of them is the oldest
COLUMNS: Final = 11
WINDOW: Final = 4  # activates that tFAW counts


def packed(c: ChannelTimings) -> ChannelTimings:
    """Return timings as a record, which kernels hand on by address: a third faster."""
    fields = [(name, np.int64) for name in c._fields]
    record = np.array([tuple(c)], dtype=np.dtype((np.record, fields)))[0]
    return cast(ChannelTimings, record)


@kernel
def at_rest(c: ChannelTimings) -> State:
    """Return a channel that has seen no command."""
    rank_banks = c.groups * c.banks
    nodes = c.ranks * rank_banks * c.row_buffers
    groups, ranks = nodes, nodes + c.ranks * c.groups
    wholes = ranks + c.ranks
    belows = wholes + c.ranks * c.row_buffers
    s = np.zeros((belows + c.ranks * c.row_buffers, COLUMNS), dtype=np.int64)
    for b in range(nodes):
        half = b // rank_banks
        s[b, GROUP_NODE] = groups + b % (c.ranks * rank_banks) // c.banks
        s[b, RANK_NODE] = ranks + half % c.ranks
        s[b, WHOLE_NODE], s[b, BELOW_NODE] = wholes + half, belows + half
    for half in range(c.ranks * c.row_buffers):
        s[wholes + half, RANK_NODE] = ranks + half % c.ranks
        s[wholes + half, BELOW_NODE] = belows + half
    s[ranks:wholes, RING : RING + WINDOW] = -c.faw
    return s


@kernel
def later(s: State, node: int, kind: int, cycle: int) -> None:
    """Put off a kind of command at a node until `cycle`, if it may come before."""
    if s[node, kind] < cycle:
        s[node, kind] = cycle


@kernel
def put_off(s: State, b: int, kind: int, cycle: int) -> None:
    """Put off a kind of command at one bank, and with it any that needs the whole rank."""
    if s[b, kind] < cycle:
        s[b, kind] = cycle
        later(s, s[b, BELOW_NODE], kind, cycle)


@kernel
def legal_at(s: State, kind: int, b: int) -> int:
    """Return the first cycle at which one bank allows a kind of command."""
    here = max(s[b, kind], s[s[b, GROUP_NODE], kind])
    return int(max(here, s[s[b, RANK_NODE], kind], s[s[b, WHOLE_NODE], kind]))


@kernel
def counted(c: ChannelTimings, s: State, rank: int, t: int, banks: int) -> None:
    """Record an activate of some banks of a rank: gaps between activates and their window."""
    oldest = s[rank, OLDEST]
    for _ in range(min(banks, WINDOW)):
        s[rank, RING + oldest] = t
        oldest = oldest + 1 if oldest < WINDOW - 1 else 0
    s[rank, OLDEST] = oldest
    later(s, rank, ACT, max(t + c.rrd_s, s[rank, RING + oldest] + c.faw))


@kernel
def opened(c: ChannelTimings, s: State, b: int, t: int) -> None:
    """Record an activate of bank `b` at cycle `t`, but for what its rank remembers of it."""
    put_off(s, b, RD, t + c.rcd)
    put_off(s, b, WR, t + c.rcd_wr)
    put_off(s, b, MAC, t + c.rcd_mac)
    put_off(s, b, PRE, t + c.ras)
    put_off(s, b, ACT, t + c.rc)
    later(s, s[b, GROUP_NODE], ACT, t + c.rrd_l)
    s[b, OPEN] = 1
    s[s[b, WHOLE_NODE], OPEN] += 1


@kernel
def closed(c: ChannelTimings, s: State, b: int, t: int) -> None:
    """Record a precharge of bank `b` at cycle `t`."""
    put_off(s, b, ACT, t + c.rp)
    put_off(s, b, REF, t + c.rp)
    later(s, s[b, RANK_NODE], PRE, t + c.ppd)
    s[s[b, WHOLE_NODE], OPEN] -= s[b, OPEN]
    s[b, OPEN] = 0


@kernel
def on_pins(c: ChannelTimings, s: State, rank: int, t: int, write: bool) -> None:
    """Record that a rank moves a burst over the pins, by a command at cycle `t`."""
    if write:
        later(s, rank, WR, t + c.ccd_s)
        later(s, rank, RD, t + c.write_to_read_s)
    else:
        later(s, rank, RD, t + c.ccd_s)
        later(s, rank, WR, t + c.read_to_write)
    if c.ranks > 1:
        ranks = c.total_nodes + c.ranks * c.groups
        for other in range(ranks, ranks + c.ranks):
            if other != rank:
                later(s, other, WR, t + (c.ccd_r if write else c.read_to_write))
                later(s, other, RD, t + (c.write_to_read_r if write else c.ccd_r))


@kernel
def moved(c: ChannelTimings, s: State, b: int, t: int, write: bool) -> None:
    """Record a read or write of bank `b` at cycle `t`."""
    g = s[b, GROUP_NODE]
    if write:
        put_off(s, b, PRE, t + c.write_to_precharge)
        later(s, g, WR, t + c.ccd_l_wr)
        later(s, g, RD, t + c.write_to_read_l)
    else:
        put_off(s, b, PRE, t + c.rtp)
        later(s, g, RD, t + c.ccd_l)
    if c.row_buffers == 1:
        put_off(s, b, MAC, t + c.ccd_l)
    on_pins(c, s, s[b, RANK_NODE], t, write)


@kernel
def refreshed(c: ChannelTimings, s: State, r: int, t: int) -> None:
    """Record a refresh of all banks of rank `r` at cycle `t`, in all row buffers."""
    wholes = c.total_nodes + c.ranks * c.groups + c.ranks
    for whole in range(wholes + r, wholes + c.ranks * c.row_buffers, c.ranks):
        later(s, whole, ACT, t + c.refresh)
        later(s, whole, REF, t + c.refresh)


@kernel
def first_dues(c: ChannelTimings) -> Cycles:
    """Return when each rank's first refresh is due: all at once, or spread over one interval."""
    return c.first_refresh + np.arange(c.ranks) * (c.interval * c.staggered // c.ranks)
