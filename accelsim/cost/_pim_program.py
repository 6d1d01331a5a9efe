"""The commands of one product in memory, and of a stream of reads beside it, on one channel.

`gemv_program` spells out what the closed form of `pim_bank` only counts: vector loads, activates,
MACs, results and precharges of every row visit; `_pim_beside` says when each is issued.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from accelsim.cost._component import Work
from accelsim.cost._dram_commands import ACT, BUS, CHANNEL, GROUP, MAC, ONE, PRE, RANK, RD
from accelsim.cost._dram_timing import ChannelTimings
from accelsim.cost._pim_cycles import (
    COMMANDS,
    LOADS,
    MACS,
    REPEAT,
    REST_COMMANDS,
    REST_MACS,
    RESULTS,
    ROWS,
    TILES,
    _estimate,
)
from accelsim.cost._pim_operands import timings_of
from accelsim.cost.dram import Dram
from accelsim.cost.pim_bank import PimBank
from accelsim.errors import ConfigError

__all__ = [
    "BUSY", "COUNT", "LABEL", "LABELS", "LOAD", "RESULT", "SLACK", "WAIT", "Steps",
    "gemv_program", "pim_channel", "read_program",
]  # fmt: skip

Steps = npt.NDArray[np.int64]
"""One row per command: the four columns of `_dram_commands.Program`, then those below."""
BUSY, WAIT, COUNT, LABEL, SLACK = 4, 5, 6, 7, 8
# BUSY: cycles for which a composite command keeps the MAC units; WAIT: cycles before the next
# command of the same program; COUNT: MACs that the command stands for, in every unit; SLACK:
# cycles that must be left before the next refresh, as the controller reckons (0: does not ask).
LABELS: Final = ("ACT", "PRE", "RD", "WR", "MAC", "REF", "BARRIER", "LOAD", "RESULT")
"""What a command does; the first seven are the operations of `_dram_commands`."""
LOAD, RESULT = 7, 8

_Row = tuple[int, int, int, int, int, int, int, int, int]
_COLUMNS: Final = 9


def pim_channel(unit: PimBank, dram: Dram) -> ChannelTimings:
    """Return the timings of a (pseudo) channel under a unit's commands.

    Ranks are refreshed in turn under the slack rule and all at once otherwise, as in the closed
    form.
    """
    turns = unit.refresh == "slack"
    return dram.channel(
        mac=unit.mac_cycles, rcd_mac=unit.activate_to_mac_cycles, staggered=turns
    )  # fmt: skip


def gemv_program(unit: PimBank, work: Work, dram: Dram) -> Steps:
    """Return the commands of a product on the busiest (pseudo) channel.

    Parameters
    ----------
    unit : PimBank
    work : Work
        A matmul that the unit accepts.
    dram : Dram
        Memory with timings; with two row buffers, the matrix is opened in the second.

    Returns
    -------
    ndarray of int64, shape (n, 9)
        Commands in order.

    Raises
    ------
    ConfigError
        If the unit refuses the work, or does what is no row visit of all banks in step: banks
        read in turn, changes of mode, or activates that name neither banks, groups nor ranks.
    """
    why = unit.refusal(work) if work.kind == "matmul" else f"`{work.kind}` is no single product"
    if why:
        raise ConfigError(f"pim_bank: {why}")
    extra = unit.banks_in_turn > 1 or unit.mode_switch_cycles or unit.setup_cycles
    if extra:
        raise ConfigError(
            "pim_bank: the commands of `banks_in_turn`, `mode_switch_cycles` and `setup_cycles`"
            " are not known one by one",
            hint="take a unit of one bank each without these",
        )
    found: list[_Row] = []
    for _, done in unit._placed(work, dram):
        for run in done.tolist():
            found += _run(unit, dram, run)
    return np.array(found, np.int64).reshape(-1, _COLUMNS)


def _run(unit: PimBank, dram: Dram, run: list[int]) -> Iterator[_Row]:
    """Yield the commands of a run of equal passes."""
    c, costs = pim_channel(unit, dram), unit._commands(dram, timings_of(dram))
    asks = unit.refresh == "slack"
    full = asks * _estimate(costs, run[MACS], run[COMMANDS])
    rest = asks * _estimate(costs, run[REST_MACS], run[REST_COMMANDS])
    load = asks * (costs.load + costs.rp + costs.rcd + costs.shared_row * costs.rtp)
    tiles = run[REPEAT] * run[TILES]
    for number in range(tiles):
        if number % run[TILES] < run[LOADS] and unit.vector_load_cycles:
            yield from _load(unit, load)
        for _ in range(run[ROWS]):
            yield from _visit(unit, c, run[MACS], run[COMMANDS], full)
        if run[REST_MACS]:
            yield from _visit(unit, c, run[REST_MACS], run[REST_COMMANDS], rest)
        if unit.result_cycles:
            reads = (number + 1) * run[RESULTS] // tiles - number * run[RESULTS] // tiles
            yield from [_row(RD, BUS, wait=unit.result_cycles, label=RESULT)] * reads


def _row(
    op: int, scope: int, bank: int = 0, *, slots: int = 1, busy: int = 0, wait: int = 0,
    macs: int = 0, label: int = -1, slack: int = 0,
) -> _Row:  # fmt: skip
    return op, scope, bank, slots, busy, wait, macs, op if label < 0 else label, slack


def _load(unit: PimBank, slack: int) -> Iterator[_Row]:
    """Yield a vector load: its row, in the first row buffer of bank 0, to the vector's buffer."""
    yield _row(ACT, ONE, slack=slack)
    yield _row(RD, ONE, wait=unit.vector_load_cycles, label=LOAD)
    yield _row(PRE, ONE)


def _visit(
    unit: PimBank, c: ChannelTimings, macs: int, commands: int, slack: int
) -> Iterator[_Row]:
    """Yield one row visit of all banks: activates, column commands, precharges."""
    second = c.total_banks if c.row_buffers == 2 else 0
    for scope, bank in _spread(unit.activate_commands, c, "activate_commands"):
        yield _row(ACT, scope, bank + second, slack=slack)
        slack = 0  # asked once, before the first
    yield from _columns(unit, second, macs, commands)
    closing = _spread(unit.precharge_commands, c, "precharge_commands")
    for i, (scope, bank) in enumerate(closing):
        last = i == len(closing) - 1
        yield _row(PRE, scope, bank + second, slots=1 + last * unit.header_cycles)


def _columns(unit: PimBank, bank: int, macs: int, commands: int) -> Iterator[_Row]:
    """Yield the MACs of a row, with the reads of results where these are commands."""
    if unit.mac_command == "single":
        results = commands - macs
        per_result = -(-macs // results)
        for done in range(1, macs + 1):
            yield _row(MAC, CHANNEL, bank, busy=unit.mac_cycles, macs=1)
            if done % per_result == 0 or done == macs:
                yield _row(MAC, CHANNEL, bank, busy=unit.mac_cycles, label=RESULT)
        return
    each = -(-macs // commands)
    busy = (max(each, unit.pipeline_macs) + unit.result_slots) * unit.mac_cycles
    for done in range(0, macs, each):
        yield _row(MAC, CHANNEL, bank, busy=busy, macs=min(each, macs - done))


def _spread(commands: int, c: ChannelTimings, field: str) -> list[tuple[int, int]]:
    """Return scope and bank of each of some commands that reach all banks, ranks in turn."""
    rank_banks = c.groups * c.banks
    if commands == 1:
        return [(CHANNEL, 0)]
    if commands == c.ranks:
        return [(RANK, r * rank_banks) for r in range(c.ranks)]
    if commands in (c.ranks * c.groups, c.total_banks):
        step, scope = (c.banks, GROUP) if commands == c.ranks * c.groups else (1, ONE)
        return [
            (scope, r * rank_banks + b) for b in range(0, rank_banks, step) for r in range(c.ranks)
        ]
    raise ConfigError(
        f"pim_bank: `{field}` is {commands}: {c.ranks} ranks of {c.groups} groups of {c.banks}"
        " banks are reached by one command to all, or one per rank, group or bank"
    )


def read_program(dram: Dram, size_bytes: int) -> Steps:
    """Return the commands of a sequential read of `size_bytes` on one (pseudo) channel.

    Rows are opened while the last one streams and closed behind it, in the order that the
    memory's `interleave` says; only first row buffers are used.

    Raises
    ------
    ConfigError
        Without timings.
    """
    c = dram.channel()
    wide = c.groups if c.groups_first else 1  # banks that bursts go to in turn
    cadence = c.ccd_s if wide > 1 else c.ccd_l
    gap = max(c.rrd_s, -(-c.faw // 4))
    bursts, per_set = -(-size_bytes // dram.burst_bytes), wide * c.row_bursts
    each = max(per_set * cadence, wide * gap, -(-c.rc * wide // c.total_banks))
    timed: list[tuple[int, _Row]] = []  # with cycles as if nothing else went on
    for number, first in enumerate(range(0, bursts, per_set)):
        banks = _set_banks(c, number, wide)
        begin, count = number * each, min(per_set, bursts - first)
        last = begin + (count - 1) * cadence
        for i, bank in enumerate(banks[:count]):
            opened = begin - c.rcd - (len(banks) - 1 - i) * gap
            timed.append((opened, _row(ACT, ONE, bank)))
            timed.append((max(last + c.rtp, opened + c.ras), _row(PRE, ONE, bank)))
        timed += [(begin + i * cadence, _row(RD, ONE, banks[i % wide])) for i in range(count)]
    timed.sort(key=lambda one: one[0])
    return np.array([row for _, row in timed], np.int64).reshape(-1, _COLUMNS)


def _set_banks(c: ChannelTimings, number: int, wide: int) -> list[int]:
    """Return the banks of the numbered set of rows that bursts go to in turn."""
    if wide == 1:
        return [number % c.total_banks]
    rank, bank = number // c.banks % c.ranks, number % c.banks
    return [(rank * c.groups + g) * c.banks + bank for g in range(wide)]
