"""One DRAM channel command by command: what each command forbids, and for how long.

`issue` runs a given program of commands in order, each at its first legal cycle; `_dram_requests`
builds commands from reads and writes instead, upon the same rules.

Interface
---------
``issue(timings, program, refresh) -> Issued``: `program` is an int64 array with one row per
command and the columns `OP`, `SCOPE`, `BANK`, `SLOTS`.

- `OP`: `ACT`, `PRE`, `RD`, `WR`, `MAC`, `REF`, or `BARRIER` (all later commands wait for all
  earlier ones to be issued).
- `SCOPE`: which banks take part, named by one `BANK` of them: `ONE`, `GROUP` (all of its bank
  group), `SAME` (the same bank of every group of its rank), `RANK`, `CHANNEL`, or `BUS` (none: a
  buffer write or a result read that only uses pins or internal paths).
- `BANK`: flat number (rank x groups + group) x banks + bank.  With two row buffers, the second one
  of bank b is number b + total banks: it opens and closes by itself, and MACs on it do not
  disturb reads and writes of the first.
- `SLOTS`: cycles on the command bus, at least 1; a composite command that stands for many has one.

Row commands (ACT, PRE, REF) and column commands keep their order among themselves; where the
channel has one command bus (`single_bus`) they keep one order.  An activate of k banks counts k
times in the four-activate window.  MAC is a column command with a cadence of its own (`mac`).
With `refresh`, a rank whose refresh is due is refreshed before its next activate that finds all
its rows closed, as controllers do that postpone refreshes between rows.

`_dram_timing.channel_timings` (or `Dram.channel`) makes the timings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.cost._dram_state import (
    ACT,
    BARRIER,
    BELOW_NODE,
    MAC,
    OPEN,
    PRE,
    RANK_NODE,
    RD,
    REF,
    WHOLE_NODE,
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
    on_pins,
    opened,
    packed,
    put_off,
    refreshed,
)
from accelsim.cost._dram_timing import ChannelTimings
from accelsim.errors import ConfigError
from accelsim.jit import kernel

__all__ = [
    "ACT", "BANK", "BARRIER", "BUS", "CHANNEL", "GROUP", "MAC", "ONE", "OP", "PRE", "RANK", "RD",
    "REF", "SAME", "SCOPE", "SLOTS", "WR", "Issued", "Program", "commands", "issue",
]  # fmt: skip

Program = npt.NDArray[np.int64]
"""One row per command; columns `OP`, `SCOPE`, `BANK`, `SLOTS`."""
OP, SCOPE, BANK, SLOTS = range(4)
ONE, GROUP, SAME, RANK, CHANNEL, BUS = range(6)


@dataclass(frozen=True, slots=True)
class Issued:
    """When the commands of a program were issued.

    Attributes
    ----------
    start : ndarray of int64
        Clock cycle of each command, aligned with the program.
    refresh_start, refresh_rank : ndarray of int64
        Refreshes that were inserted: cycle and rank.
    end : int
        Cycle at which the last command has done its work: data moved, row closed, MAC done.
    """

    start: npt.NDArray[np.int64]
    refresh_start: npt.NDArray[np.int64]
    refresh_rank: npt.NDArray[np.int64]
    end: int


def commands(*rows: tuple[int, int, int]) -> Program:
    """Return a program from (op, scope, bank) triples, one cycle each on the command bus.

    Examples
    --------
    >>> commands((ACT, ONE, 3), (RD, ONE, 3)).tolist()
    [[0, 0, 3, 1], [2, 0, 3, 1]]
    """
    return np.array([(*row, 1) for row in rows], dtype=np.int64).reshape(-1, 4)


def issue(c: ChannelTimings, program: Program, *, refresh: bool = False) -> Issued:
    """Issue a program in order, each command at its first legal cycle.

    Parameters
    ----------
    c : ChannelTimings
        Timings in clock cycles.
    program : ndarray of int64, shape (n, 4)
        Commands; see the module's text.
    refresh : bool
        Insert refreshes that fall due.

    Raises
    ------
    ConfigError
        For a command that the channel does not have, a bank outside it, or a column command to a
        bank without an open row; the message names the command's place in the program.
    """
    _check(c, program)
    start, refreshes, end, fault = _issue(packed(c), program, refresh)
    if fault >= 0:
        wrong = "opens a row of a bank that has one open" if program[fault, OP] == ACT else (
            "needs an open row in every bank of its scope"
        )  # fmt: skip
        raise ConfigError(f"command {fault} ({_name(program[fault, OP])}) {wrong}")
    return Issued(start, refreshes[:, 0], refreshes[:, 1], int(end))


def _check(c: ChannelTimings, program: Program) -> None:
    if program.ndim != 2 or program.shape[1] != 4:
        raise ConfigError(f"a program has 4 columns, found an array of shape {program.shape}")
    if not len(program):
        return
    banks = c.total_banks * c.row_buffers
    for column, low, high in ((OP, ACT, BARRIER), (SCOPE, ONE, BUS), (BANK, 0, banks - 1)):
        found = program[:, column]
        wrong = np.flatnonzero((found < low) | (found > high))
        if len(wrong):
            name = ("operation", "scope", "bank", "slots")[column]
            raise ConfigError(
                f"command {wrong[0]}: {name} {found[wrong[0]]} is not in {low} .. {high}"
            )
    if program[:, SLOTS].min() < 1:
        raise ConfigError("every command takes at least one slot of the command bus")


def _name(op: int) -> str:
    return ("ACT", "PRE", "RD", "WR", "MAC", "REF", "BARRIER")[op]


@kernel
def _members(c: ChannelTimings, scope: int, b: int) -> tuple[int, int, int]:
    """Return first bank, step and number of the banks of a scope within one rank."""
    if scope == ONE:
        return b, 1, 1
    if scope == GROUP:
        return b // c.banks * c.banks, 1, c.banks
    rank_banks = c.groups * c.banks
    return b // rank_banks * rank_banks + b % c.banks, c.banks, c.groups


@kernel
def _some(c: ChannelTimings, s: State, op: int, scope: int, b: int, t: int) -> int:
    """Return the first legal cycle of a command to some banks; with `t` >= 0, record it there.

    The answer is -1 where a row is not open, or open, as the command needs it.
    """
    first, step, count = _members(c, scope, b)
    legal = 0
    for i in range(count):
        one = first + i * step
        if t < 0:
            if (op == ACT and s[one, OPEN]) or (op != ACT and op != PRE and not s[one, OPEN]):
                return -1
            legal = max(legal, legal_at(s, op, one))
        elif op == ACT:
            opened(c, s, one, t)
        elif op == PRE:
            closed(c, s, one, t)
        elif op == MAC:
            put_off(s, one, PRE, t + c.rtp)
            if c.row_buffers == 1:
                put_off(s, one, RD, t + c.mac)
                put_off(s, one, WR, t + c.mac)
        else:
            moved(c, s, one, t, op == WR)
    if t >= 0 and op == ACT:
        counted(c, s, s[b, RANK_NODE], t, count)
    if t >= 0 and op == MAC:
        later(s, s[b, RANK_NODE], MAC, t + c.mac)
    return legal


@kernel
def _all_legal_at(c: ChannelTimings, s: State, op: int, whole: int) -> int:
    """Return the first legal cycle of a command to all banks of a rank, -1 as `_some` does."""
    needed = 0 if op in (ACT, REF) else c.groups * c.banks
    if op != PRE and s[whole, OPEN] != needed:
        return -1
    legal = max(s[s[whole, RANK_NODE], op], s[whole, op], s[s[whole, BELOW_NODE], op])
    if op == ACT:
        first = c.total_nodes + (whole - c.total_nodes - c.ranks * c.groups) % c.ranks * c.groups
        for g in range(first, first + c.groups):
            legal = max(legal, s[g, op])
    return int(legal)


@kernel
def _all(c: ChannelTimings, s: State, op: int, whole: int, t: int) -> None:
    """Record a command to all banks of a rank."""
    rank, rank_banks = s[whole, RANK_NODE], c.groups * c.banks
    if op == ACT:
        later(s, whole, RD, t + c.rcd)
        later(s, whole, WR, t + c.rcd_wr)
        later(s, whole, MAC, t + c.rcd_mac)
        later(s, whole, PRE, t + c.ras)
        later(s, whole, ACT, t + c.rc)
        counted(c, s, rank, t, rank_banks)
        first = (whole - c.total_nodes - c.ranks * c.groups - c.ranks) * rank_banks
        s[first : first + rank_banks, OPEN] = 1
        s[whole, OPEN] = rank_banks
    elif op == PRE:
        later(s, whole, ACT, t + c.rp)
        later(s, whole, REF, t + c.rp)
        later(s, rank, PRE, t + c.ppd)
        first = (whole - c.total_nodes - c.ranks * c.groups - c.ranks) * rank_banks
        s[first : first + rank_banks, OPEN] = 0
        s[whole, OPEN] = 0
    elif op == MAC:
        later(s, whole, PRE, t + c.rtp)
        if c.row_buffers == 1:
            later(s, whole, RD, t + c.mac)
            later(s, whole, WR, t + c.mac)
        later(s, rank, MAC, t + c.mac)
    elif op == REF:
        refreshed(c, s, rank - c.total_nodes - c.ranks * c.groups, t)
    else:
        later(s, whole, PRE, t + (c.write_to_precharge if op == WR else c.rtp))
        on_pins(c, s, rank, t, op == WR)


@kernel
def _wholes(c: ChannelTimings, s: State, scope: int, b: int) -> tuple[int, int]:
    """Return the first of the whole ranks that a scope takes in, and one past it."""
    whole = s[b, WHOLE_NODE]
    if scope == CHANNEL:
        wholes = c.total_nodes + c.ranks * c.groups + c.ranks
        first = wholes + (whole - wholes) // c.ranks * c.ranks
        return first, first + c.ranks
    return whole, whole + 1


@kernel
def _first_legal(c: ChannelTimings, s: State, op: int, scope: int, b: int) -> int:
    """Return the first legal cycle of a command, -1 where rows are not as it needs them."""
    t = 0
    if scope == BUS:
        ranks = c.total_nodes + c.ranks * c.groups
        for rank in range(ranks, ranks + c.ranks):
            t = max(t, s[rank, op])
        return t
    if scope < RANK:
        return _some(c, s, op, scope, b, -1)
    first, past = _wholes(c, s, scope, b)
    for whole in range(first, past):
        one = _all_legal_at(c, s, op, whole)
        if one < 0:
            return -1
        t = max(t, one)
    return t


@kernel
def _record(c: ChannelTimings, s: State, op: int, scope: int, b: int, t: int) -> None:
    """Record what a command at cycle `t` forbids to those after it."""
    if scope == BUS:
        ranks = c.total_nodes + c.ranks * c.groups
        if op in (RD, WR):
            on_pins(c, s, ranks, t, op == WR)
        elif op == MAC:
            for rank in range(ranks, ranks + c.ranks):
                later(s, rank, MAC, t + c.mac)
    elif scope < RANK:
        _some(c, s, op, scope, b, t)
    else:
        first, past = _wholes(c, s, scope, b)
        for whole in range(first, past):
            _all(c, s, op, whole, t)


@kernel
def _work_ends(c: ChannelTimings, op: int, t: int) -> int:
    """Return when a command issued at `t` has done its work."""
    if op == ACT:
        return t + c.rcd
    if op == PRE:
        return t + c.rp
    if op == RD:
        return t + c.cl + c.burst
    if op == WR:
        return t + c.cwl + c.burst
    if op == MAC:
        return t + c.mac
    return t + c.refresh


@kernel
def _refresh_due(
    c: ChannelTimings, s: State, due: Cycles, r: int, before: int, bus: int, log: Table, n: int
) -> int:
    """Refresh a rank as often as is due by cycle `before`; return the length of the log."""
    wholes = c.total_nodes + c.ranks * c.groups + c.ranks
    while due[r] <= before and n < log.shape[0]:
        t = max(due[r], bus)
        for whole in range(wholes + r, wholes + c.ranks * c.row_buffers, c.ranks):
            if s[whole, OPEN]:
                return n
            t = max(t, s[s[whole, BELOW_NODE], REF], s[whole, REF])
        refreshed(c, s, r, t)
        log[n] = t, r
        n += 1
        due[r] += c.interval
        before = max(before, t + c.refresh)
    return n


@kernel
def _issue(c: ChannelTimings, program: Program, refresh: bool) -> tuple[Cycles, Table, int, int]:
    """Return starts, inserted refreshes (cycle, rank), the end, and a faulty command or -1."""
    s = at_rest(c)
    n = program.shape[0]
    start = np.zeros(n, dtype=np.int64)
    log = np.zeros((n + 1 if refresh else 0, 2), dtype=np.int64)
    due = first_dues(c)
    logged = end = barrier = newest = row_bus = column_bus = 0
    for i in range(n):
        op, scope, b, slots = program[i, 0], program[i, 1], program[i, 2], program[i, 3]
        if op == BARRIER:
            barrier = start[i] = newest
            continue
        column = op in (RD, WR, MAC)
        bus = max(barrier, column_bus if column and not c.single_bus else row_bus)
        legal = _first_legal(c, s, op, scope, b)
        if legal < 0:
            return start, log[:logged], end, i
        t = max(bus, legal)
        if refresh and op == ACT:
            first, past = _wholes(c, s, scope, b)
            before = logged
            for whole in range(first, past):
                r = s[whole, RANK_NODE] - c.total_nodes - c.ranks * c.groups
                logged = _refresh_due(c, s, due, r, t, bus, log, logged)
            if logged > before:
                row_bus = max(row_bus, log[logged - 1, 0] + 1)
                t = max(barrier, row_bus, _first_legal(c, s, op, scope, b))
        _record(c, s, op, scope, b, t)
        start[i] = t
        if column and not c.single_bus:
            column_bus = t + slots
        else:
            row_bus = t + slots
        newest = max(newest, t + slots)
        end = max(end, _work_ends(c, op, t))
    return start, log[:logged], end, -1
