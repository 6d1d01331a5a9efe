"""The table survives kills, has the columns of the measured tables, and has one writer."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from accelsim.errors import StoreError
from accelsim.measure.bench.session import Plan, run
from accelsim.measure.bench.table import COLUMNS, MEASURED_COLUMNS, Table
from tests.measure.bench.fake import FakeBackend, products
from tests.reference import REPOSITORY, reference_file

GRAPH = Plan(("graph",))


def _filled(path: Path, *sizes: int) -> bytes:
    with Table(path) as table:
        run(products(*sizes), FakeBackend(), table, GRAPH)
    return path.read_bytes()


def test_columns_are_those_of_the_measured_tables() -> None:
    """Names and order of the reference table come first, ours behind."""
    with open_sample() as file:
        header = tuple(next(csv.reader(file)))
    assert header == MEASURED_COLUMNS == COLUMNS[: len(MEASURED_COLUMNS)]


def open_sample():
    import gzip

    return gzip.open(reference_file("measured/ops_sample.csv.gz"), "rt", encoding="utf-8")


def test_a_line_torn_anywhere_is_dropped_and_measured_again(tmp_path: Path) -> None:
    """Wherever a kill cuts the last row, the rows before it stay."""
    whole = _filled(tmp_path / "whole.csv", 8, 16, 32)
    lines = whole.splitlines(keepends=True)
    begin = len(whole) - len(lines[-1])
    torn = tmp_path / "torn.csv"
    for cut in range(begin + 1, len(whole), 7):
        torn.write_bytes(whole[:cut])
        with Table(torn) as table:
            assert len(table.rows) == 2
            assert table.dropped_bytes == cut - begin
        assert torn.read_bytes() == whole[:begin]


def test_a_page_of_zeros_is_dropped(tmp_path: Path) -> None:
    """A file system may show a lost page as zeros, line end included."""
    path = tmp_path / "t.csv"
    whole = _filled(path, 8, 16)
    path.write_bytes(whole + b"\0" * 300 + b"\n")
    with Table(path) as table:
        assert len(table.rows) == 2
    assert path.read_bytes() == whole


def test_a_torn_header_is_written_again(tmp_path: Path) -> None:
    """A kill during the very first write leaves a table that can be used."""
    path = tmp_path / "t.csv"
    path.write_bytes(",".join(COLUMNS).encode()[:50])
    assert _filled(path, 8).splitlines()[0].decode() == ",".join(COLUMNS)


def test_texts_with_commas_and_quotes_come_back(tmp_path: Path) -> None:
    """A reason may hold anything but a line break."""
    path = tmp_path / "t.csv"
    with Table(path) as table:
        table.append([{"status": "error", "reason": 'a, "b"\nc'}])
    with Table(path) as table:
        assert table.rows[0]["reason"] == 'a, "b" c'


def test_a_table_of_other_columns_is_refused(tmp_path: Path) -> None:
    """Appending to a foreign file would spoil it."""
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(StoreError, match="columns"):
        Table(path)
    assert path.read_text() == "a,b\n1,2\n"


def test_two_writers_are_refused(tmp_path: Path) -> None:
    """A second measurement into the same table would mix rows and load the device."""
    path = tmp_path / "t.csv"
    with Table(path), pytest.raises(StoreError, match="another measurement"):
        Table(path)


_ENDLESS = """
import sys, time
from pathlib import Path
from accelsim.measure.bench.session import Plan, run
from accelsim.measure.bench.table import Table
from tests.measure.bench.fake import FakeBackend, products
with Table(Path(sys.argv[1])) as table:
    cases = products(*range(8, 80000))
    run(cases, FakeBackend(free=1e15), table, Plan(("graph",), max_call_s=1e9))
"""


def test_a_killed_run_resumes(tmp_path: Path) -> None:
    """After SIGKILL in the middle, the rows are whole and in order, and none is repeated."""
    path = tmp_path / "t.csv"
    process = subprocess.Popen([sys.executable, "-c", _ENDLESS, str(path)], cwd=REPOSITORY)
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end and (not path.exists() or path.stat().st_size < 20_000):
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with Table(path) as table:
        done = len(table.rows)
        assert done > 10
        assert [int(row["m"]) for row in table.rows] == list(range(8, 8 + done))
        found = run(products(*range(8, 8 + done + 2)), FakeBackend(), table, GRAPH)
    assert (found.already, sum(found.rows.values())) == (done, 2)
