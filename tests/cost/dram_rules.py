"""A second statement of the JEDEC rules, pair by pair, to hold logs of DRAM commands to.

Slow on purpose: every command is compared with every earlier one, nothing is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable

from accelsim.cost._dram_commands import ACT, MAC, PRE, RD, REF, WR
from accelsim.cost._dram_timing import ChannelTimings

Command = tuple[int, int, int]
"""Cycle, operation, bank (rank for a refresh of all banks)."""


def broken_rules(c: ChannelTimings, log: Iterable[Command]) -> list[str]:
    """Return which pairs of commands come too close, in words; empty where all are legal."""
    commands = sorted((int(t), int(op), int(b)) for t, op, b in log)
    faults = []
    for i, (late, op, b) in enumerate(commands):
        for early, before, other in commands[:i]:
            gap = least_gap(c, before, other, op, b)
            if late - early < gap:
                faults.append(f"{before} of {other} at {early}, {op} of {b} at {late}: {gap}")
        faults += _window(c, commands[:i], late, op, b)
    return faults


def least_gap(c: ChannelTimings, before: int, other: int, op: int, b: int) -> int:
    """Return the least cycles from one command to another."""
    rank_banks = c.groups * c.banks
    whole = not c.per_bank_refresh
    rank = b if op == REF and whole else b // rank_banks
    rank_before = other if before == REF and whole else other // rank_banks
    if rank != rank_before:
        return _pins_of_two_ranks(c, before, op)
    if before == REF or op == REF:
        return _with_refresh(c, before, other, op, b)
    same_group = b // c.banks == other // c.banks
    gaps = [_pins(c, before, op, same_group)]
    if before == op == ACT:
        gaps.append(c.rrd_l if same_group else c.rrd_s)
    if b == other:
        gaps.append(_bank(c, before, op))
    return max(gaps)


def _pins(c: ChannelTimings, before: int, op: int, same_group: bool) -> int:
    if (before, op) == (RD, RD):
        return c.ccd_l if same_group else c.ccd_s
    if (before, op) == (WR, WR):
        return c.ccd_l_wr if same_group else c.ccd_s
    if (before, op) == (RD, WR):
        return c.read_to_write
    if (before, op) == (WR, RD):
        return c.write_to_read_l if same_group else c.write_to_read_s
    return 0


def _pins_of_two_ranks(c: ChannelTimings, before: int, op: int) -> int:
    return {
        (RD, RD): c.ccd_r,
        (WR, WR): c.ccd_r,
        (RD, WR): c.read_to_write,
        (WR, RD): c.write_to_read_r,
    }.get((before, op), 0)


def _bank(c: ChannelTimings, before: int, op: int) -> int:
    return {
        (ACT, RD): c.rcd,
        (ACT, WR): c.rcd_wr,
        (ACT, MAC): c.rcd_mac,
        (ACT, PRE): c.ras,
        (ACT, ACT): c.rc,
        (PRE, ACT): c.rp,
        (RD, PRE): c.rtp,
        (WR, PRE): c.write_to_precharge,
        (MAC, PRE): c.rtp,
    }.get((before, op), 0)


def _with_refresh(c: ChannelTimings, before: int, other: int, op: int, b: int) -> int:
    if c.per_bank_refresh and b != other:
        return c.rrd_s if (before, op) == (REF, ACT) else 0
    if before == REF:
        return c.refresh if op in (ACT, REF) else 0
    return c.rp if before == PRE else 0


def _window(c: ChannelTimings, earlier: list[Command], late: int, op: int, b: int) -> list[str]:
    rank_banks = c.groups * c.banks
    if op != ACT:
        return []
    same = [t for t, kind, o in earlier if kind == ACT and o // rank_banks == b // rank_banks]
    if len(same) >= 4 and late - same[-4] < c.faw:
        return [f"five activates within {late - same[-4]} of {c.faw}"]
    return []
