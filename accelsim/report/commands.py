"""Draws and writes what every bank of a DRAM channel does: timelines of commands.

`write_commands` makes a Chrome trace for ui.perfetto.dev, `draw_commands` a PNG of the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from accelsim.cost._dram_commands import (
    BANK,
    BARRIER,
    BUS,
    CHANNEL,
    GROUP,
    MAC,
    ONE,
    OP,
    RD,
    SAME,
    SCOPE,
    SLOTS,
    WR,
)
from accelsim.cost._dram_timing import ChannelTimings
from accelsim.cost._pim_beside import Timeline
from accelsim.cost._pim_program import BUSY, COUNT, LABEL, LABELS, LOAD, WAIT
from accelsim.report._measured_figures import house_style
from accelsim.result.trace import write_events

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Slice", "draw_commands", "slices", "write_commands"]

SHOWN_CYCLES: Final = 8000
"""Cycles that a drawing shows at most; in more, commands would be thinner than a dot."""

ROW, SECOND_ROW, MAC_UNIT, COMMAND_BUS, COLUMN_BUS = range(5)
_PARTS: Final = ("row", "second row", "MACs", "command bus", "column command bus")
# Okabe and Ito's colours, as in `style`; precharges, which nobody looks for, in grey.
_COLOURS: Final = {
    "ACT": "#D55E00", "MAC": "#0072B2", "RD": "#009E73", "WR": "#000000", "PRE": "#B0B0B0",
    "REF": "#CC79A7", "LOAD": "#E69F00", "RESULT": "#56B4E9",
}  # fmt: skip
_MEANINGS: Final = {
    "ACT": "ACT: row opens", "MAC": "MAC", "RD": "RD: read burst", "WR": "WR: write burst",
    "PRE": "PRE: row closes", "REF": "REF: refresh", "LOAD": "vector load",
    "RESULT": "result read",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slice:
    """What a part of one bank, or a command bus, does for some cycles.

    Attributes
    ----------
    bank : int
        Flat number; -1 for a command bus.
    part : int
        `ROW`, `SECOND_ROW`, `MAC_UNIT`, `COMMAND_BUS` or `COLUMN_BUS`.
    name : str
        A label of `_pim_program.LABELS`.
    start, cycles : int
        Clock cycles.
    macs, program : int
        MACs that the command stands for; number of its program, -1 for refreshes.
    """

    bank: int
    part: int
    name: str
    start: int
    cycles: int
    macs: int = 0
    program: int = -1


def slices(line: Timeline) -> Iterator[Slice]:
    """Yield what every bank and command bus does, command by command."""
    c = line.channel
    rows = zip(line.steps.tolist(), line.start.tolist(), line.program.tolist(), strict=True)
    for step, start, program in rows:
        if step[OP] == BARRIER:
            continue
        name, on_column_bus = LABELS[step[LABEL]], step[OP] in (RD, WR, MAC) and not c.single_bus
        bus = COLUMN_BUS if on_column_bus else COMMAND_BUS
        yield Slice(-1, bus, name, start, step[SLOTS], step[COUNT], program)
        part = SECOND_ROW if step[BANK] >= c.total_banks else ROW
        if step[OP] == MAC:
            part = MAC_UNIT
        cycles = _cycles(c, step)
        for bank in _banks(c, step[SCOPE], step[BANK] % c.total_banks):
            yield Slice(bank, part, name, start, cycles, step[COUNT], program)
    rank_banks = c.groups * c.banks
    refreshes = zip(line.refresh_start.tolist(), line.refresh_rank.tolist(), strict=True)
    for start, rank in refreshes:
        yield Slice(-1, COMMAND_BUS, "REF", start, 1)
        for bank in range(rank * rank_banks, (rank + 1) * rank_banks):
            yield Slice(bank, ROW, "REF", start, c.refresh)


def _cycles(c: ChannelTimings, step: Sequence[int]) -> int:
    """Return the cycles for which a command keeps its banks busy."""
    if step[LABEL] == LOAD:
        return max(step[WAIT], c.burst)
    if step[OP] == MAC:
        return max(step[BUSY], c.mac)
    return (c.rcd, c.rp, c.burst, c.burst)[step[OP]]


def _banks(c: ChannelTimings, scope: int, bank: int) -> range:
    """Return the banks of a scope, as `_dram_commands` has them."""
    rank_banks = c.groups * c.banks
    if scope == BUS:
        return range(0)
    if scope == ONE:
        return range(bank, bank + 1)
    if scope == GROUP:
        return range(bank // c.banks * c.banks, (bank // c.banks + 1) * c.banks)
    if scope == CHANNEL:
        return range(c.total_banks)
    first = bank // rank_banks * rank_banks
    if scope == SAME:
        return range(first + bank % c.banks, first + rank_banks, c.banks)
    return range(first, first + rank_banks)


def write_commands(lines: Sequence[Timeline], path: Path) -> int:
    """Write timelines as a Chrome trace and return the number of slices.

    Parameters
    ----------
    lines : sequence of Timeline
        A process of the trace each.
    path : Path
        ``.json``, or ``.json.gz`` for a compressed file.

    Notes
    -----
    A thread is a command bus, a row buffer of a bank or the MAC unit of a bank; times are
    microseconds, as the format demands.
    """
    events: list[str] = []
    count = 0
    for process, line in enumerate(lines, start=1):
        events += _names(line, process)
        us = 1e6 / line.clock_hz
        for one in slices(line):
            args = {"cycle": one.start, "cycles": one.cycles}
            if one.macs:
                args["MACs per unit"] = one.macs
            events.append(json.dumps({
                "ph": "X", "pid": process, "tid": _thread(one.bank, one.part), "name": one.name,
                "ts": round(one.start * us, 6), "dur": round(one.cycles * us, 6), "args": args,
            }))  # fmt: skip
            count += 1
    write_events(events, path)
    return count


def _thread(bank: int, part: int) -> int:
    return part - COMMAND_BUS if bank < 0 else 2 + bank * 3 + part


def _names(line: Timeline, process: int) -> Iterator[str]:
    """Yield the events that name a process and its threads, and say how these are sorted."""
    c = line.channel
    threads = [(-1, COMMAND_BUS)] + [(-1, COLUMN_BUS)] * (not c.single_bus)
    parts = (ROW, SECOND_ROW, MAC_UNIT) if c.row_buffers == 2 else (ROW, MAC_UNIT)
    threads += [(bank, part) for bank in range(c.total_banks) for part in parts]
    event = {"ph": "M", "pid": process}
    yield json.dumps(event | {"tid": 0, "name": "process_name", "args": {"name": line.name}})
    for bank, part in threads:
        thread = event | {"tid": _thread(bank, part)}
        name = _PARTS[part] if bank < 0 else f"{_bank_name(c, bank)} {_PARTS[part]}"
        yield json.dumps(thread | {"name": "thread_name", "args": {"name": name}})
        order = {"sort_index": _thread(bank, part)}
        yield json.dumps(thread | {"name": "thread_sort_index", "args": order})


def _bank_name(c: ChannelTimings, bank: int) -> str:
    rank, rest = divmod(bank, c.groups * c.banks)
    return f"rank {rank} group {rest // c.banks} bank {rest % c.banks}"


def draw_commands(lines: Sequence[Timeline], title: str, file: Path) -> Path:
    """Draw timelines one above the other on one time axis; write a PNG.

    Parameters
    ----------
    lines : sequence of Timeline
        Of the same channel and clock.
    title : str
        What is computed and read.
    file : Path
        Where to.

    Notes
    -----
    A line is a bank: above, its row for memory traffic (the only one where there is one row
    buffer), below, the row for computing, its MACs a bar on it.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    shown = min(max(line.end for line in lines), SHOWN_CYCLES)
    with house_style():
        banks = lines[0].channel.total_banks
        figure = Figure(
            figsize=(12, (0.13 * banks + 0.6) * len(lines) + 0.8), dpi=200, layout="constrained"
        )
        panels = figure.subplots(len(lines), 1, sharex=True, squeeze=False)[:, 0]
        seen: set[str] = set()
        for panel, line in zip(panels, lines, strict=True):
            seen |= _panel(panel, line, shown)
        panels[-1].set_xlabel("time (µs)")
        figure.suptitle(title, fontsize=9)
        entries = [Patch(color=_COLOURS[name], label=_MEANINGS[name]) for name in _COLOURS]
        figure.legend(
            handles=[e for e, name in zip(entries, _COLOURS, strict=True) if name in seen],
            loc="outside lower center", ncols=len(entries),
        )  # fmt: skip
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".partial")
        figure.savefig(partial, format="png", metadata={"Software": None})
        partial.replace(file)
    return file


def _panel(panel: Axes, line: Timeline, shown: int) -> set[str]:
    """Draw one timeline; return the names of the commands in it."""
    from matplotlib.collections import PolyCollection

    c, us = line.channel, 1e6 / line.clock_hz
    boxes: dict[str, list[tuple[float, float, float, float]]] = {}
    for one in slices(line):
        if one.start < shown:
            low, high = _height(one, c.row_buffers == 2)
            end = min(one.start + one.cycles, shown)
            boxes.setdefault(one.name, []).append((one.start * us, end * us, low, high))
    for name in ("PRE", "REF", "ACT", "LOAD", "MAC", "RESULT", "RD", "WR"):
        if name in boxes:
            left, right, low, high = np.array(boxes[name]).T
            corners = [left, low, left, high, right, high, right, low]
            polygons = np.stack(corners, axis=1).reshape(-1, 4, 2)
            panel.add_collection(
                PolyCollection(list(polygons), facecolor=_COLOURS[name], linewidth=0)
            )
    _axis(panel, c)
    panel.set_xlim(0, shown * us)
    for end in line.ends:
        panel.axvline(end * us, color="#404040", linewidth=0.8, linestyle=(0, (4, 2)))
    ends = "; ".join(
        f"{name} done at {end:,}" for name, end in zip(line.programs, line.ends, strict=True)
    )
    part = f"; first {shown:,} drawn" if line.end > shown else ""
    panel.set_title(
        f"{line.name}: {line.end:,} cycles, {line.end * us:.2f} µs ({ends}{part})", loc="left"
    )
    return set(boxes)


def _height(one: Slice, two_rows: bool) -> tuple[float, float]:
    """Return the lower and upper edge of a slice; the axis points down."""
    if one.bank < 0:
        return -1.45, -0.55
    low, high = one.bank - 0.42, one.bank + 0.42
    if two_rows and one.part == ROW and one.name != "REF":
        high = one.bank - 0.02
    if two_rows and one.part in (SECOND_ROW, MAC_UNIT):
        low = one.bank + 0.02
    if one.part == MAC_UNIT:  # a precharge under a command that still runs stays visible
        return low + 0.2 * (high - low), high - 0.2 * (high - low)
    return low, high


def _axis(panel: Axes, c: ChannelTimings) -> None:
    """Label groups of banks, and part ranks by a line."""
    first = range(0, c.total_banks, c.banks)
    names = [f"rank {b // (c.groups * c.banks)} group {b // c.banks % c.groups}" for b in first]
    panel.set_yticks([-1, *(b + (c.banks - 1) / 2 for b in first)], ["command bus", *names])
    panel.set_ylim(c.total_banks - 0.4, -1.6)
    panel.grid(visible=False, axis="y")
    for b in first:
        whole_rank = b % (c.groups * c.banks) == 0
        panel.axhline(b - 0.5, color="#404040" if whole_rank else "#D0D0D0", linewidth=0.4)
