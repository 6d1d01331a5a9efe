"""Timelines of commands, as a trace and as a picture."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from accelsim.cost._dram_commands import MAC, OP, RD
from accelsim.cost._pim_beside import Timeline, blocked_and_concurrent
from accelsim.report.commands import (
    COMMAND_BUS,
    MAC_UNIT,
    ROW,
    SECOND_ROW,
    draw_commands,
    slices,
    write_commands,
)
from tests.cost.pim_units import bank, dram, gemv


@pytest.fixture(scope="module")
def lines() -> tuple[Timeline, Timeline]:
    return blocked_and_concurrent(
        bank("hbm2_neupims_pim"), gemv(1024, 1024), dram("hbm2_neupims"), 8192
    )


def test_every_bank_of_a_mac_is_shown(lines: tuple[Timeline, Timeline]) -> None:
    """A MAC of the channel keeps every bank's unit busy; a read one bank's row."""
    for line in lines:
        banks = line.channel.total_banks
        macs = int((line.steps[:, OP] == MAC).sum())
        assert sum(one.part == MAC_UNIT for one in slices(line)) == macs * banks
        reads = [one for one in slices(line) if one.name == "RD" and one.bank >= 0]
        assert len(reads) == int((line.steps[:, OP] == RD).sum()) - _loads(line)


def _loads(line: Timeline) -> int:
    return sum(one.name == "LOAD" and one.bank < 0 for one in slices(line))


def test_the_second_row_buffer_is_shown_where_there_is_one(
    lines: tuple[Timeline, Timeline],
) -> None:
    """Blocked, all rows are in the first; concurrent, the product's are in the second."""
    blocked, concurrent = ({one.part for one in slices(line)} for line in lines)
    assert SECOND_ROW not in blocked
    assert {ROW, SECOND_ROW, MAC_UNIT, COMMAND_BUS} <= concurrent


def test_trace_has_a_process_per_timeline(
    lines: tuple[Timeline, Timeline], tmp_path: Path
) -> None:
    """Microseconds, a thread for every row buffer and unit, and all that `slices` yields."""
    file = tmp_path / "made" / "commands.json.gz"
    count = write_commands(lines, file)
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    done = [event for event in events if event["ph"] == "X"]
    assert len(done) == count == sum(len(list(slices(line))) for line in lines)
    last = max(event["ts"] + event["dur"] for event in done if event["pid"] == 1)
    assert last == pytest.approx(lines[0].end / lines[0].clock_hz * 1e6, rel=0.1)
    names = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    assert {(event["pid"], event["tid"]) for event in done} <= names
    processes = [e["args"]["name"] for e in events if e["name"] == "process_name"]
    assert [name.split(":")[0] for name in processes] == ["blocked", "concurrent"]


def test_trace_is_the_same_again(lines: tuple[Timeline, Timeline], tmp_path: Path) -> None:
    """No time of day in the file, and plain JSON where the name says so."""
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        write_commands(lines, file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_picture_has_both_timelines(lines: tuple[Timeline, Timeline], tmp_path: Path) -> None:
    """A PNG, drawn on one axis of time."""
    from matplotlib.image import imread

    picture = imread(draw_commands(lines, "a product", tmp_path / "commands.png"))
    height, width = picture.shape[:2]
    assert width == 2400
    assert height > 1500
    inked = (picture[..., :3] < 0.97).any(axis=-1)
    assert inked[: height // 2].mean() > 0.01
    assert inked[height // 2 :].mean() > 0.01
