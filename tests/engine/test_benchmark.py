"""The engines' benchmark runs; its figures are for people, not for tests on a shared machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.mark.checkout
def test_benchmark_writes_what_it_measured(tmp_path: Path) -> None:
    """Rates of both engines and their ratio, on a graph that the engines accept."""
    from benchmarks.bench_engine import main

    file = tmp_path / "engine.json"
    main(["--tasks", "3000", "--simpy-tasks", "2000", "--repeats", "2", "--json", str(file)])
    figures = json.loads(file.read_text(encoding="utf-8"))
    assert figures["comparison"]["ratio"] > 1
    for rate in figures["numba_tasks_per_s_by_resources"].values():
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
