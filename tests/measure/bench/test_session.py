"""A run records every outcome, goes on where it stopped, and keeps to its time."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from accelsim.measure.bench.case import Case, case
from accelsim.measure.bench.environment import Clocks
from accelsim.measure.bench.session import Plan, run
from accelsim.measure.bench.table import Table
from accelsim.measure.bench.timing import DeviceLost, OutOfMemory, Unsupported
from tests.measure.bench.fake import FakeBackend, products

GRAPH = Plan(("graph",))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "table.csv"


def test_a_row_holds_the_measured_columns(path: Path) -> None:
    """Shape, latency, counts and what is derived from them stand under the tables' names."""
    backend = FakeBackend(latency_us=lambda of: 20.0)
    with Table(path) as table:
        run(products(64), backend, table, Plan(("graph",), "warm", session="s1"),
            clocks_seen=lambda since: Clocks(1980.0, 3201.0, 512.34))  # fmt: skip
        row = table.rows[0]
    expected = {
        "source": "accelsim", "gpu": "FakeBoard", "dtype": "bf16", "op": "gemm", "m": "64",
        "impl": "torch.linear", "latency_us": "20", "lat_min_us": "18", "stat": "median",
        "timing": "cuda_graph", "l2": "warm", "status": "ok", "flag": "", "repeats": "9",
        "calls": "3", "copies": "2", "kernels": "a; b", "session": "s1", "n_devices": "1",
        "sm_mhz": "1980", "mem_mhz": "3201", "power_w": "512.3", "library": "fake-1.0",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert float(row["flops"]) == 2 * 64**3
    assert float(row["bytes_min"]) == 3 * 64 * 64 * 2
    assert float(row["tflops"]) == pytest.approx(2 * 64**3 / 20e-6 / 1e12)
    assert float(row["gbps"]) == pytest.approx(3 * 64 * 64 * 2 / 20e-6 / 1e9)


def test_every_clock_is_a_row(path: Path) -> None:
    """One case measured by two clocks makes two rows that differ in `timing`."""
    with Table(path) as table:
        run(products(8), FakeBackend(), table, Plan(("graph", "events", "kernel")))
        assert [row["timing"] for row in table.rows] == [
            "cuda_graph", "cuda_event_eager", "kernel"
        ]  # fmt: skip


def test_a_rerun_measures_nothing_twice(path: Path) -> None:
    """What is in the table is not measured again; what is new is, by case and by clock."""
    first, second = FakeBackend(), FakeBackend()
    with Table(path) as table:
        run(products(8, 16), first, table, GRAPH)
    with Table(path) as table:
        found = run(products(8, 16, 32), second, table, Plan(("graph", "events")))
    assert len(first.measured) == 2
    assert sorted(clock for _, clock in second.measured) == ["events"] * 3 + ["graph"]
    assert (found.already, found.rows) == (0, {"ok": 4})


@pytest.mark.parametrize(
    ("change", "again"),
    [({}, 0), ({"library": "fake-2.0"}, 1), ({"board": "Other"}, 1)],
    ids=["same", "library", "board"],
)
def test_another_device_or_library_is_another_measurement(
    path: Path, change: dict[str, str], again: int
) -> None:
    """Rows of one version do not stand for those of another."""
    with Table(path) as table:
        run(products(8), FakeBackend(), table, GRAPH)
        backend = FakeBackend(**change)
        run(products(8), backend, table, GRAPH)
    assert len(backend.measured) == again


def test_the_state_of_the_cache_is_part_of_the_key(path: Path) -> None:
    """Cold and warm are different measurements."""
    with Table(path) as table:
        run(products(8), FakeBackend(), table, Plan(("graph",), "cold"))
        backend = FakeBackend()
        run(products(8), backend, table, Plan(("graph",), "warm"))
    assert len(backend.measured) == 1


def test_the_budget_stops_before_it_ends(path: Path) -> None:
    """Cases of 10 s in a budget of 35 s: the fourth could end after it, so it is left."""
    backend = FakeBackend(case_s=10.0)
    cases = products(8, 16, 24, 32, 40)
    with Table(path) as table:
        found = run(cases, backend, table, Plan(("graph",), budget_s=35.0), now=backend.clock)
        assert (len(table.rows), found.remaining) == (3, 2)
        assert backend.clock.at_s <= 35.0
        backend.clock.at_s = 0.0
        again = run(cases, backend, table, Plan(("graph",), budget_s=35.0), now=backend.clock)
    assert (again.already, again.remaining) == (3, 0)


def _failing(error: Exception) -> FakeBackend:
    def latency(of: Case) -> float:
        if of.size("m") == 16:
            raise error
        return 1.0

    return FakeBackend(latency_us=latency)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (OutOfMemory("want 9 GiB"), "skip", "out of memory: want 9 GiB"),
        (MemoryError("host"), "skip", "out of memory: host"),
        (Unsupported("no kernel"), "skip", "unsupported: no kernel"),
        (ValueError("two\nlines"), "error", "ValueError: two lines"),
    ],
    ids=["device memory", "host memory", "unsupported", "error"],
)
def test_a_failure_is_a_row_and_the_run_goes_on(
    path: Path, error: Exception, status: str, reason: str
) -> None:
    """Whatever a case raises becomes a row with a reason; the next case is measured."""
    with Table(path) as table:
        found = run(products(8, 16, 32), _failing(error), table, GRAPH)
    assert found.rows == {"ok": 2, status: 1}
    with Table(path) as table:
        (row,) = (row for row in table.rows if row["m"] == "16")
        assert (row["status"], row["reason"], row["latency_us"]) == (status, reason, "")
        assert run(products(8, 16, 32), FakeBackend(), table, GRAPH).already == 3


def test_a_case_too_large_for_the_memory_is_not_tried(path: Path) -> None:
    """The operands' bytes decide before anything is allocated."""
    backend = FakeBackend(free=1e6)
    with Table(path) as table:
        run(products(64, 4096), backend, table, GRAPH)
        (row,) = (row for row in table.rows if row["m"] == "4096")
    assert row["reason"].startswith("out of memory: about 0.09 GiB needed")
    assert len(backend.measured) == 1


def test_a_case_too_slow_for_the_device_is_not_tried(path: Path) -> None:
    """2 x 16384^3 operations at the fake's 1 TFLOP/s are 9 s."""
    with Table(path) as table:
        run(products(16384), FakeBackend(free=1e12), table, Plan(("graph",), max_call_s=5.0))
        assert "about 9 s, more than 5 s" in table.rows[0]["reason"]


def test_a_wrong_result_marks_its_rows(path: Path) -> None:
    """The latency of a wrong result stays visible, under a status and a flag that exclude it."""
    for error in (0.5, math.nan):
        with Table(path.with_name(f"{error}.csv")) as table:
            run(products(8), FakeBackend(error=error), table, GRAPH)
            row = table.rows[0]
        assert (row["status"], row["flag"], row["latency_us"]) == ("wrong", "wrong_result", "10")


def test_retry_measures_failures_again(path: Path) -> None:
    """With a status to retry, rows of that status do not count as done."""
    with Table(path) as table:
        run(products(8, 16), _failing(ValueError("x")), table, GRAPH)
    backend = FakeBackend()
    with Table(path, retry=("error",)) as table:
        run(products(8, 16), backend, table, GRAPH)
    assert len(backend.measured) == 1


def test_a_lost_device_ends_the_run_with_a_row(path: Path) -> None:
    """After a failure from which the device does not recover no further case is tried."""
    backend = _failing(RuntimeError("illegal address"))
    backend.lost = True
    with Table(path) as table, pytest.raises(DeviceLost):
        run(products(16, 32), backend, table, GRAPH)
    with Table(path) as table:
        assert [row["status"] for row in table.rows] == ["error"]


def test_an_operator_without_a_formula_is_an_error_row(path: Path) -> None:
    """A case that nobody can count is recorded, not raised."""
    with Table(path) as table:
        run([case("sort", "fp32", "x", m=2)], FakeBackend(), table, GRAPH)
        assert (table.rows[0]["status"], table.rows[0]["reason"]) == ("error", "KeyError: 'sort'")
