"""Issues programs of commands side by side on one DRAM channel: in-memory compute and traffic.

Each program keeps its own order; the one whose next command is legal first goes first.  The rules
are those of `_dram_commands`, which issues a single program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from accelsim.cost._component import Work
from accelsim.cost._dram_commands import (
    BANK,
    CHANNEL,
    OP,
    SCOPE,
    SLOTS,
    _check,
    _first_legal,
    _record,
    _refresh_due,
    _wholes,
    _work_ends,
)
from accelsim.cost._dram_state import (
    ACT,
    BARRIER,
    MAC,
    RANK_NODE,
    RD,
    WR,
    Cycles,
    State,
    Table,
    at_rest,
    first_dues,
    later,
    packed,
)
from accelsim.cost._dram_timing import ChannelTimings
from accelsim.cost._pim_program import (
    BUSY,
    SLACK,
    WAIT,
    Steps,
    gemv_program,
    pim_channel,
    read_program,
)
from accelsim.cost.dram import Dram
from accelsim.cost.pim_bank import PimBank
from accelsim.errors import ConfigError
from accelsim.jit import kernel

__all__ = ["Timeline", "beside", "blocked_and_concurrent"]


@dataclass(frozen=True, slots=True)
class Timeline:
    """When every command of some programs was issued on one (pseudo) channel.

    Attributes
    ----------
    name : str
    programs : tuple of str
        What each program does.
    channel : ChannelTimings
        Timings in clock cycles, and the organisation.
    clock_hz : float
    steps : ndarray of int64, shape (n, 9)
        Commands of all programs, one program after the other.
    program : ndarray of int64
        Number of each command's program.
    start : ndarray of int64
        Clock cycle of each command.
    refresh_start, refresh_rank : ndarray of int64
        Refreshes that fell due: cycle and rank.
    ends : tuple of int
        Cycle at which each program has done its work.
    """

    name: str
    programs: tuple[str, ...]
    channel: ChannelTimings
    clock_hz: float
    steps: Steps
    program: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    refresh_start: npt.NDArray[np.int64]
    refresh_rank: npt.NDArray[np.int64]
    ends: tuple[int, ...]

    @property
    def end(self) -> int:
        """Cycle at which all programs have done their work."""
        return max(self.ends)


def blocked_and_concurrent(
    unit: PimBank, work: Work, dram: Dram, read_bytes: int
) -> tuple[Timeline, Timeline]:
    """Return a product and a stream of reads with one row buffer per bank, and with two.

    Parameters
    ----------
    unit : PimBank
    work : Work
        The product, spread over all channels of `dram`.
    dram : Dram
        Memory with timings; its `row_buffers` are set to one and to two.
    read_bytes : int
        Bytes read from one (pseudo) channel, as another sub-batch's weights or KV would be.

    Notes
    -----
    With one row buffer the memory serves nothing while the units compute, so the reads follow
    the product.  Refreshes strike where all rows of their rank are closed; with `refresh: slack`
    a visit of the product waits for the next one unless it fits before, with ``none`` there are
    none.
    """
    if read_bytes < 1:
        raise ConfigError(f"{read_bytes} bytes to read, at least 1 is needed")
    found = []
    for buffers in (1, 2):
        memory = dram.model_copy(update={"row_buffers": buffers})
        c = pim_channel(unit, memory)
        programs = [gemv_program(unit, work, memory), read_program(memory, read_bytes)]
        line = beside(
            c, programs, refresh=unit.refresh != "none", in_turn=buffers == 1, clock_hz=dram.clock
        )
        name = ("blocked: one row buffer per bank", "concurrent: two row buffers per bank")
        found.append(replace(line, name=name[buffers - 1], programs=("product", "reads")))
    return found[0], found[1]


def beside(
    c: ChannelTimings,
    programs: Sequence[Steps],
    *,
    refresh: bool,
    in_turn: bool = False,
    clock_hz: float = 1e9,
) -> Timeline:
    """Issue programs side by side, each command at its first legal cycle.

    Parameters
    ----------
    c : ChannelTimings
    programs : sequence of ndarray of int64, shape (n, 9)
        See `_pim_program`.
    refresh : bool
        Insert refreshes that fall due, before an activate that finds its rank closed.
    in_turn : bool
        Let each program wait for the end of those before it.
    clock_hz : float
        Clock of the timings, which drawings turn cycles into time by.

    Raises
    ------
    ConfigError
        If a program needs an open row, or a closed one, that nothing can provide.
    """
    for program in programs:
        _check(c, program[:, : SLOTS + 1])
    first = np.cumsum([0, *(len(program) for program in programs)])
    steps = np.concatenate(programs)
    start, log, ends, fault = _beside(packed(c), steps, first, refresh, in_turn)
    if fault >= 0:
        raise ConfigError(
            f"command {fault} finds rows open, or closed, that it needs otherwise, and no other"
            " program changes that"
        )
    owner = np.repeat(np.arange(len(programs)), np.diff(first))
    names = tuple(f"program {i}" for i in range(len(programs)))
    return Timeline(
        "", names, c, clock_hz, steps, owner, start, log[:, 0], log[:, 1], tuple(ends.tolist())
    )  # fmt: skip


@kernel
def _refreshes(
    c: ChannelTimings, s: State, due: Cycles, step: Cycles, t: int, bus: int, log: Table, n: int
) -> int:
    """Refresh what is due before an activate at `t`; return the length of the log.

    Commands that ask for slack open all ranks, so that all are refreshed before the first.
    """
    ranks = c.total_nodes + c.ranks * c.groups
    low, past = _wholes(c, s, CHANNEL if step[SLACK] else step[SCOPE], step[BANK])
    for whole in range(low, past):
        n = _refresh_due(c, s, due, s[whole, RANK_NODE] - ranks, t, bus, log, n)
    return n


@kernel
def _next_due(due: Cycles, t: int) -> int:
    """Return when the next refresh after cycle `t` is due; one that is overdue does not count."""
    first = 2**62
    for one in due:
        if t < one < first:
            first = one
    return first


@kernel
def _beside(
    c: ChannelTimings, steps: Steps, first: Cycles, refresh: bool, in_turn: bool
) -> tuple[Cycles, Table, Cycles, int]:
    """Return starts, refreshes (cycle, rank), ends of the programs, and a stuck command or -1."""
    s = at_rest(c)
    n, programs = steps.shape[0], first.shape[0] - 1
    ranks = c.total_nodes + c.ranks * c.groups
    start, ends = np.zeros(n, np.int64), np.zeros(programs, np.int64)
    log = np.zeros((n + 1 if refresh else 0, 2), np.int64)
    due, place = first_dues(c), first[:-1].copy()
    ready, newest = np.zeros(programs, np.int64), np.zeros(programs, np.int64)
    served = np.full(programs, -1, np.int64)  # when the program was last served
    logged = row_bus = column_bus = turn = 0
    while True:
        best, best_t, stuck = -1, 0, -1
        for q in range(programs):
            i = place[q]
            while i < first[q + 1] and steps[i, OP] == BARRIER:
                start[i] = newest[q]
                ready[q] = max(ready[q], newest[q])
                i += 1
                place[q] = i
            if i == first[q + 1]:
                continue
            op = steps[i, OP]
            column = op in (RD, WR, MAC)
            t = max(ready[q], column_bus if column and not c.single_bus else row_bus)
            legal = _first_legal(c, s, op, steps[i, SCOPE], steps[i, BANK])
            t = max(t, legal)
            if legal < 0:
                stuck = i
            elif best < 0 or t < best_t or (t == best_t and served[q] < served[best]):
                best, best_t = q, t
            if in_turn:
                break
        if best < 0:
            return start, log[:logged], ends, stuck
        i = place[best]
        op, b, t = steps[i, OP], steps[i, BANK], best_t
        if refresh and op == ACT:
            before = logged
            logged = _refreshes(c, s, due, steps[i], t, row_bus, log, logged)
            if logged > before:  # another program may come first now
                row_bus = max(row_bus, log[logged - 1, 0] + 1)
                continue
            next_due = _next_due(due, t)
            if t + steps[i, SLACK] >= next_due and steps[i, SLACK]:
                ready[best] = next_due
                continue
        _record(c, s, op, steps[i, SCOPE], b, t)
        if steps[i, BUSY] > c.mac:
            for rank in range(ranks, ranks + c.ranks):
                later(s, rank, MAC, t + steps[i, BUSY])
        start[i] = t
        if op in (RD, WR, MAC) and not c.single_bus:
            column_bus = t + steps[i, SLOTS]
        else:
            row_bus = t + steps[i, SLOTS]
        newest[best] = max(newest[best], t + steps[i, SLOTS])
        ready[best] = max(ready[best], t + steps[i, WAIT])
        done = max(_work_ends(c, op, t), t + max(steps[i, BUSY], steps[i, WAIT]))
        ends[best] = max(ends[best], done)
        served[best] = turn
        turn += 1
        place[best] = i + 1
        if in_turn and place[best] == first[best + 1] and best + 1 < programs:
            ready[best + 1] = max(ready[best + 1], ends[best])
