"""`accelsim sweep`, `pareto` and `merge`, on a sweep of eight points."""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path

import pytest

from accelsim.explore import Store
from tests.cli.conftest import Command

SWEEP = """\
name: small
description: Which of two is faster?
space:
  model: {model}
  arch: [edge-npu, a100-80gb]
  mapping: roofline-best
  batch: [1, 2]
  seq_len: [16, 64]
where:
  - {{require: batch * seq_len <= 64, reason: more than the test needs}}
objectives: {{latency_s: min, energy_j: min}}
"""
REPORTS = {
    "results.csv", "front.csv", "front.md", "pareto.png", "pareto.svg", "timeline.json.gz",
}  # fmt: skip


@pytest.fixture
def sweep_file(tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a sweep of eight points, two of them excluded."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "small.yaml"
    file.write_text(SWEEP.format(model=model_file), encoding="utf-8")
    return file


def test_sweep_evaluates_every_point_and_writes_its_reports(
    accelsim: Command, sweep_file: Path
) -> None:
    """Results, figures, front and a timeline are where the command says."""
    found = accelsim("sweep", sweep_file, "--jobs", 1, "--json").data
    assert found["counts"] == {"done": 6, "excluded": 2}
    assert found["points"] == 8
    assert {"status": "excluded", "reason": "more than the test needs", "points": 2} in found[
        "reasons"
    ]
    assert {Path(file).name for file in found["files"]} >= REPORTS
    assert all(Path(file).stat().st_size for file in (found["store"], *found["files"]))
    with Path("reports/small/results.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 8


def test_a_second_run_evaluates_nothing(accelsim: Command, sweep_file: Path) -> None:
    """What has a row is known; the reports are the same bytes."""
    accelsim("sweep", sweep_file, "--jobs", 1)
    before = {f: Path("reports/small", f).read_bytes() for f in REPORTS - {"timeline.json.gz"}}
    found = accelsim("sweep", sweep_file, "--jobs", 1, "--json").data
    assert (found["evaluated"], found["resumed"]) == (0, 8)
    assert before == {f: Path("reports/small", f).read_bytes() for f in before}


def test_sweep_leaves_no_log_beside_its_store(accelsim: Command, sweep_file: Path) -> None:
    """The store is one file that can be copied."""
    accelsim("sweep", sweep_file, "--jobs", 1, "--output", "out")
    assert {file.name for file in Path("out").glob("points*")} == {"points.sqlite"}


def test_shards_merge_to_the_whole(accelsim: Command, sweep_file: Path) -> None:
    """Two shards, merged, leave a sweep with nothing to evaluate."""
    shards = [
        accelsim("sweep", sweep_file, "-j", 1, "--shard", f"{i}/2", "--json").data["store"]
        for i in (1, 2)
    ]
    assert not Path("reports/small/results.csv").exists()
    merged = accelsim("merge", "reports/small/points.sqlite", *shards, "--json").data
    assert merged["rows"] == merged["copied"] == 8
    found = accelsim("sweep", sweep_file, "-j", 1, "--json").data
    assert (found["evaluated"], found["resumed"]) == (0, 8)


def test_text_says_what_became_of_the_points_and_where_the_files_are(
    accelsim: Command, sweep_file: Path
) -> None:
    """Reasons of points without a result stand in the summary."""
    done = accelsim("sweep", sweep_file, "--jobs", 1)
    assert done.status == 0
    for text in ("8 points", "6 done", "more than the test needs", "pareto.png", "timeline.json"):
        assert text in done.out


def test_pareto_prints_and_draws_the_front(accelsim: Command, sweep_file: Path) -> None:
    """The front of the store is that of the sweep, in text, JSON, CSV and figures."""
    accelsim("sweep", sweep_file, "--jobs", 1)
    options = ("--minimise", "latency_s", "--minimise", "energy_j", "--output", "again")
    done = accelsim("pareto", "reports/small", *options)
    found = accelsim("pareto", "reports/small/points.sqlite", *options, "--json").data
    assert Path("again/front.csv").read_bytes() == Path("reports/small/front.csv").read_bytes()
    assert Path("again/pareto.png").is_file()
    assert f"{len(found['front'])} designs" in done.out
    assert max(map(len, done.out.splitlines())) <= 100


def test_pareto_takes_the_objectives_of_a_sweep(accelsim: Command, sweep_file: Path) -> None:
    """With ``--sweep`` points, objectives and groups are the sweep's, unless an option differs."""
    accelsim("sweep", sweep_file, "--jobs", 1)
    found = accelsim("pareto", "reports/small", "--sweep", sweep_file, "--json").data
    assert found["objectives"] == {"latency_s": "min", "energy_j": "min"}
    changed = accelsim(
        "pareto", "reports/small", "--sweep", sweep_file, "--minimise", "area_mm2",
        "--maximise", "throughput_tokens_per_s", "--per", "model", "--json",
    ).data  # fmt: skip
    assert changed["objectives"] == {"area_mm2": "min", "throughput_tokens_per_s": "max"}
    assert changed["per"] == ["model"]


def test_pareto_takes_the_newest_row_of_a_point(accelsim: Command, sweep_file: Path) -> None:
    """Rows of older code stand beside newer ones, but a point is compared once."""
    accelsim("sweep", sweep_file, "--jobs", 1)
    store = Path("reports/small/points.sqlite")
    with Store(store) as results:
        old = [
            row._replace(key=f"old-{row.key}", code="older", created="2000-01-01T00:00:00+00:00")
            for row in results.rows()
        ]
        results.insert(old)
    found = accelsim("pareto", store, "--json").data
    assert found["designs"] == 8
    assert not any(row["key"].startswith("old-") for row in found["front"])


def test_a_point_that_does_not_fit_is_a_row(
    accelsim: Command, sweep_file: Path, tmp_path: Path
) -> None:
    """The sweep goes on, and the reason says how much is short; without any result status is 2."""
    text = sweep_file.read_text(encoding="utf-8").replace("[edge-npu, a100-80gb]", "edge-npu")
    big = tmp_path / "big.yaml"
    big.write_text(text.replace(str(tmp_path / "tiny.yaml"), "gpt3-175b"), encoding="utf-8")
    done = accelsim("sweep", big, "--jobs", 1, "--output", "out", "--json")
    assert done.status == 2
    assert done.data["counts"] == {"infeasible": 3, "excluded": 1}
    assert all(
        "short by" in r["reason"] for r in done.data["reasons"] if r["status"] != "excluded"
    )
    rows = sqlite3.connect("out/points.sqlite").execute("SELECT status, error FROM points")
    assert len(rows.fetchall()) == 4


def test_json_of_a_sweep_is_all_of_stdout(accelsim: Command, sweep_file: Path) -> None:
    """Progress goes to the other stream, or nowhere."""
    done = accelsim("sweep", sweep_file, "--jobs", 1, "--json")
    assert json.loads(done.out)["name"] == "small"
