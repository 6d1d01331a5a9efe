"""Facts of a session are recorded beside the table, and clocks are only ever read."""

from __future__ import annotations

import io
import math
import os
import stat
import time
from pathlib import Path

import pytest
import yaml

from accelsim.measure.bench.boards import BOARDS, board_name
from accelsim.measure.bench.environment import (
    Clocks,
    ClockWatch,
    cpu_name,
    describe,
    free_memory_bytes,
    write_session,
)  # fmt: skip
from accelsim.measure.bench.progress import Progress
from tests.reference import reference_file


def test_boards_have_the_names_of_the_measured_tables() -> None:
    """Every name that is mapped to is one that hardware.yaml lists."""
    known = yaml.safe_load(reference_file("measured/hardware.yaml").read_text(encoding="utf-8"))
    assert set(BOARDS.values()) <= set(known)
    assert board_name("NVIDIA H200") == "H200-SXM-141GB"
    assert board_name(" Some GPU ") == "Some GPU"


def test_sessions_gather_in_one_file(tmp_path: Path) -> None:
    """Each session keeps its facts; the same session is rewritten, not repeated."""
    table = tmp_path / "t.csv"
    facts = describe({"board": "B"}, ["quick", "--device", "cpu"])
    write_session(table, "one", facts)
    write_session(table, "two", facts)
    path = write_session(table, "one", facts | {"clocks_seen": {}})
    read = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert path.name == "t.csv.env.yaml"
    assert list(read) == ["one", "two"]
    assert read["one"]["command"] == "accelsim measure quick --device cpu"
    assert read["one"]["device"] == {"board": "B"}
    assert read["one"]["host"]["cpu"] == cpu_name()
    assert read["one"]["nvidia_smi"] == {}


def test_the_host_is_known() -> None:
    """Processor and free memory are read off the system."""
    assert cpu_name()
    assert free_memory_bytes() > 2**20


def test_clocks_are_medians_of_what_was_seen() -> None:
    """A row gets the median since its case began; before any new sample, the last one."""
    watch = ClockWatch("")
    assert watch.seen(0.0) is None
    for at_s, line in (
        (1.0, "345, 3201, 80.5, 40"),
        (2.0, "1980, 3201, 600, 50"),
        (3.0, "1900, 3201, 700, 55"),
    ):
        watch.take(line, at_s)
    watch.take("garbage", 3.5)
    assert watch.seen(1.5) == Clocks(1940.0, 3201.0, 650.0)
    assert watch.seen(9.0) == Clocks(1900.0, 3201.0, 700.0)
    assert watch.overall()["clocks.sm"] == {"min": 345.0, "median": 1900.0, "max": 1980.0}
    watch.take("1900, 3201, [N/A], 55", 4.0)
    assert math.isnan(watch.seen(3.9).power_w)  # type: ignore[union-attr]


_SMI = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *loop-ms*) while :; do echo "1755, 2619, 300.25, 45"; sleep 0.05; done;;
  *) echo "NVIDIA H200, 580.1, 96.00, 143771 MiB, 700 W, 1980 MHz, 3201 MHz, On, On, Off";;
esac
"""


def test_nvidia_smi_is_asked_and_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A background reader sees the clocks; nothing is set; it ends with the run."""
    log = tmp_path / "log"
    program = tmp_path / "nvidia-smi"
    program.write_text(_SMI.format(log=log))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    watch = ClockWatch("GPU-1")
    try:
        end = time.monotonic() + 10
        while watch.seen(0.0) is None and time.monotonic() < end:
            time.sleep(0.02)
        assert watch.seen(0.0) == Clocks(1755.0, 2619.0, 300.25)
        process = watch._process
    finally:
        watch.close()
    assert process is not None
    assert process.poll() is not None
    facts = describe({}, [], "GPU-1")["nvidia_smi"]
    assert facts["driver_version"] == "580.1"
    assert facts["clocks.max.sm"] == "1980 MHz"
    for line in log.read_text().splitlines():
        assert {word.split("=")[0] for word in line.split()} <= {
            "--id", "--query-gpu", "--format", "--loop-ms"
        }  # fmt: skip


def test_progress_is_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log gets a line when ten seconds have passed, a terminal one that is rewritten."""
    at = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    log = io.StringIO()
    progress = Progress(30, log)
    for _ in range(25):
        at[0] += 1.0
        progress.step("gemm")
    lines = log.getvalue().splitlines()
    assert lines == [
        "[10/30] 10 s, about 20 s left: gemm", "[20/30] 20 s, about 10 s left: gemm"
    ]  # fmt: skip
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    progress = Progress(2, screen)
    progress.step("x")
    progress.close()
    assert screen.getvalue().startswith("\r")
    assert screen.getvalue().endswith("\n")
