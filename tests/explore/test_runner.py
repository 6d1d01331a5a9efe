"""Running a sweep: its rows are those of an undisturbed run, whatever happens on the way."""

from __future__ import annotations

import gc
import os
import tracemalloc
from pathlib import Path

import pytest

from accelsim.errors import ConfigError, StoreError
from accelsim.explore import Store, SweepSpec, export, keys, merge, parse_shard, run, to_frame
from accelsim.explore.outcome import EvaluatePoint
from accelsim.explore.workers import available_cores
from tests.explore import evaluators
from tests.explore.conftest import MakeSweep
from tests.explore.rows import content


def fresh(spec: SweepSpec, folder: Path, name: str = "fresh") -> Path:
    """Return the store of an undisturbed run in this process."""
    path = folder / f"{name}.sqlite"
    run(spec, store=path, jobs=1, quiet=True, evaluate_point=evaluators.trivial)
    return path


def test_every_point_gets_its_row(make_sweep: MakeSweep, library: Path) -> None:
    """A sweep of 24 points stores 24 rows in its folder, with metrics and breakdown."""
    done = run(make_sweep(), jobs=1, quiet=True, evaluate_point=evaluators.trivial)
    assert done.store == Path("reports/test/points.sqlite")
    assert (done.points, done.evaluated, done.counts) == (24, 24, {"done": 24})
    rows = content(done.store)
    assert len(rows) == 24
    assert all(r.metrics[0] and '"bound"' in r.extras and "work" in b["parts"] for r, b in rows)


def test_workers_give_the_rows_of_a_serial_run(make_sweep: MakeSweep, library: Path) -> None:
    """Two processes and one give the same store."""
    spec = make_sweep(space={"batch": {"from": 1, "to": 100, "step": 1}})
    run(spec, store=library / "two.sqlite", jobs=2, quiet=True, evaluate_point=evaluators.trivial)
    assert content(library / "two.sqlite") == content(fresh(spec, library))


def test_a_finished_sweep_is_not_evaluated_again(make_sweep: MakeSweep, library: Path) -> None:
    """Running it again evaluates no point and starts no worker."""
    spec = make_sweep()
    store = fresh(spec, library)
    again = run(spec, store=store, jobs=2, quiet=True, evaluate_point=evaluators.forbidden)
    assert (again.evaluated, again.resumed, again.counts) == (0, 24, {"done": 24})


def test_a_larger_space_adds_only_what_is_new(make_sweep: MakeSweep, library: Path) -> None:
    """Points that were evaluated for a smaller sweep are kept; the frame has the new order."""
    store = fresh(make_sweep(), library)
    larger = make_sweep(space={"batch": [8, 4, 2, 1]})
    more = run(larger, store=store, jobs=1, quiet=True, evaluate_point=evaluators.trivial)
    assert (more.evaluated, more.resumed) == (8, 24)
    with Store(store) as kept, Store(fresh(larger, library, "whole")) as whole:
        grown, anew = (to_frame(s, keys(larger)).drop(columns="wall_s") for s in (kept, whole))
    assert grown.equals(anew)


def test_the_frame_is_in_the_order_of_the_space(make_sweep: MakeSweep, library: Path) -> None:
    """Whatever order workers finish in, rows are exported as the space is walked."""
    spec = make_sweep(space={"batch": [4, 1, 2], "arch.technology_nm": [8, 2]})
    run(spec, store=library / "s.sqlite", jobs=2, quiet=True, evaluate_point=evaluators.trivial)
    with Store(library / "s.sqlite") as store:
        frame = to_frame(store, keys(spec))
    assert frame["batch"].tolist()[:12] == [4] * 4 + [1] * 4 + [2] * 4
    assert frame["arch.technology_nm"].tolist() == [8, 2] * 24
    assert frame["bound"].isin(["memory", "compute"]).all()


def test_rows_of_other_sweeps_stay_out_of_the_frame(make_sweep: MakeSweep, library: Path) -> None:
    """A store may hold more than the sweep; its frame has the sweep's points only."""
    spec = make_sweep(space={"batch": 1})
    run(make_sweep(), store=library / "s.sqlite", jobs=1, quiet=True,
        evaluate_point=evaluators.trivial)  # fmt: skip
    with Store(library / "s.sqlite") as store:
        assert len(to_frame(store)) == 24
        assert set(to_frame(store, keys(spec))["batch"]) == {1}


def test_equal_results_give_equal_exports(make_sweep: MakeSweep, library: Path) -> None:
    """CSV and Parquet of two runs are the same bytes."""
    spec = make_sweep(space={"arch.technology_nm": [2, "8 nm"]})
    written = []
    for name in ("a", "b"):
        with Store(fresh(spec, library, name)) as store:
            files, remark = export(to_frame(store, keys(spec)), library / name)
        written.append({f.name: f.read_bytes() for f in files})
        assert ("results.parquet" in written[-1]) != bool(remark)
    assert written[0] == written[1]
    assert written[0]["results.csv"].startswith(b"model,arch,mapping,phase,batch,seq_len,arch.tec")


def test_export_says_when_parquet_is_left_out(
    make_sweep: MakeSweep, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pyarrow there is a CSV and a remark how to get the other."""
    monkeypatch.setattr("accelsim.explore.frames.find_spec", lambda name: None)
    with Store(fresh(make_sweep(), library)) as store:
        files, remark = export(to_frame(store), library)
    assert [f.name for f in files] == ["results.csv"]
    assert "accelsim[parquet]" in remark


@pytest.mark.parametrize("jobs", [1, 2])
def test_failures_become_rows(make_sweep: MakeSweep, library: Path, jobs: int) -> None:
    """No exception of an evaluation ends a sweep; its row says what happened and where."""
    spec = make_sweep(
        space={"model": "tiny-gpt", "phase": "decode", "seq_len": 128, "batch": list(range(1, 9))}
    )
    done = run(spec, store=library / "s.sqlite", jobs=jobs, quiet=True,
               evaluate_point=evaluators.troubled)  # fmt: skip
    assert done.counts == {"done": 3, "infeasible": 1, "failed": 4}
    rows = {r.batch: r for r, _ in content(library / "s.sqlite")}
    assert rows[2].error == "memory hbm: needs 2.00 GiB, has 1.00 GiB (short by 1.00 GiB)"
    assert rows[3].error == "no unit runs `scan`"
    assert rows[4].error.startswith("ZeroDivisionError: division by zero (evaluators.py:")
    assert "1 / 0" in rows[4].error
    assert rows[5].error.startswith("SystemExit: left")
    assert rows[6].error.startswith("ValueError: could not convert string to float")
    assert (rows[7].status, rows[7].metrics[0], rows[7].extras) == (
        "done",
        None,
        '{"ratio": null}',
    )


@pytest.mark.parametrize("jobs", [2, 5])
def test_a_dying_worker_costs_its_point_only(
    make_sweep: MakeSweep, library: Path, jobs: int
) -> None:
    """Points that kill their worker are failed rows; all others are as in an undisturbed run."""
    axes = {"batch": {"from": 1, "to": 100, "step": 1}, "model": "tiny-gpt", "phase": "decode"}
    spec = make_sweep(space=axes)
    done = run(spec, store=library / "s.sqlite", jobs=jobs, quiet=True,
               evaluate_point=evaluators.deadly)  # fmt: skip
    assert done.counts == {"done": 196, "failed": 4}
    expected = content(fresh(spec, library))
    for (row, _), (good, _) in zip(content(library / "s.sqlite"), expected, strict=True):
        if row.batch in (13, 57):
            assert row.status == "failed"
            assert "the worker process died on this point" in row.error
        else:
            assert row == good


def test_failed_points_are_tried_again_on_request(make_sweep: MakeSweep, library: Path) -> None:
    """`retry_failed` evaluates failed rows anew, and those only."""
    spec = make_sweep(space={"batch": [1, 2, 3]})
    store = library / "s.sqlite"
    run(spec, store=store, jobs=1, quiet=True, evaluate_point=evaluators.troubled)
    done = run(spec, store=store, jobs=1, quiet=True, retry_failed=True,
               evaluate_point=evaluators.trivial)  # fmt: skip
    assert done.evaluated == 8
    assert done.counts == {"done": 16, "infeasible": 8}


def test_excluded_points_are_rows_with_a_reason(make_sweep: MakeSweep, library: Path) -> None:
    """Excluded points are stored and counted, and never evaluated."""
    rule = {"require": "batch != 2 and batch != 3", "reason": "odd cards only"}
    spec = make_sweep(where=[rule])
    done = run(spec, store=library / "s.sqlite", jobs=1, quiet=True,
               evaluate_point=evaluators.troubled)  # fmt: skip
    assert done.counts == {"excluded": 8, "failed": 8, "done": 8}
    assert done.reasons["excluded", "odd cards only"] == 8
    again = run(spec, store=library / "s.sqlite", jobs=1, quiet=True,
                evaluate_point=evaluators.forbidden)  # fmt: skip
    assert (again.counts, again.evaluated) == (done.counts, 0)


def test_a_point_is_evaluated_once_its_rule_is_gone(make_sweep: MakeSweep, library: Path) -> None:
    """The row of an exclusion does not stand in for a result."""
    store = library / "s.sqlite"
    rule = {"require": "batch < 4", "reason": "small"}
    run(make_sweep(where=[rule]), store=store, jobs=1, quiet=True,
        evaluate_point=evaluators.trivial)  # fmt: skip
    done = run(make_sweep(), store=store, jobs=1, quiet=True, evaluate_point=evaluators.trivial)
    assert (done.evaluated, done.counts) == (8, {"done": 24})


def test_merged_shards_are_the_whole(make_sweep: MakeSweep, library: Path) -> None:
    """Three shards in files of their own, merged, are the store of one run."""
    spec = make_sweep(where=[{"require": "batch != 2", "reason": "no"}])
    shards = [
        run(spec, shard=(i, 3), jobs=1, quiet=True, evaluate_point=evaluators.trivial)
        for i in (1, 2, 3)
    ]
    assert [s.points for s in shards] == [8, 8, 8]
    assert len({s.store for s in shards}) == 3
    with Store(library / "merged.sqlite") as target:
        assert merge(target, [Store(s.store, read_only=True) for s in shards]) == 24
    assert content(library / "merged.sqlite") == content(fresh(spec, library))


def test_shards_are_written_i_of_n() -> None:
    """1/4 to 4/4 are shards; 0/4, 5/4 and other texts are errors."""
    assert parse_shard("4/4") == (4, 4)
    for text in ("0/4", "5/4", "1", "a/b", "1/0", "-1/4"):
        with pytest.raises(ConfigError, match="is not a shard"):
            parse_shard(text)


@pytest.mark.parametrize(
    "interrupted", [evaluators.interrupted, evaluators.interrupted_in_a_kernel]
)
def test_ctrl_c_keeps_finished_rows(
    make_sweep: MakeSweep, library: Path, interrupted: EvaluatePoint
) -> None:
    """What was finished is stored, and the message says how to go on."""
    spec = make_sweep(space={"batch": [1, 2, 8, 4]})
    with pytest.raises(KeyboardInterrupt, match=r"stopped with 4 of 32 points in .*goes on"):
        run(spec, store=library / "s.sqlite", jobs=1, quiet=True,
            evaluate_point=interrupted)  # fmt: skip
    done = run(spec, store=library / "s.sqlite", jobs=1, quiet=True,
               evaluate_point=evaluators.trivial)  # fmt: skip
    assert (done.resumed, done.evaluated) == (4, 28)
    assert content(library / "s.sqlite") == content(fresh(spec, library))


def test_a_store_that_cannot_be_opened_stops_before_evaluating(
    make_sweep: MakeSweep, library: Path
) -> None:
    """No point is evaluated for a store that could not take its row."""
    (library / "s.sqlite").write_text("not a database")
    with pytest.raises(StoreError):
        run(make_sweep(), store=library / "s.sqlite", jobs=1, evaluate_point=evaluators.forbidden)


def test_a_full_store_stops_the_sweep_which_then_resumes(
    make_sweep: MakeSweep, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is an error of the store; with room the sweep goes on to the same rows."""
    spec = make_sweep(space={"batch": {"from": 1, "to": 400, "step": 1}})
    inserted = Store.insert
    path = library / "s.sqlite"

    def insert(self: Store, rows: list[object]) -> int:
        if len(self) > 1000:
            count = self._connection.execute("PRAGMA page_count").fetchone()[0]
            self._connection.execute(f"PRAGMA max_page_count = {count}")
        return inserted(self, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "insert", insert)
    with pytest.raises(StoreError, match="disk is full"):
        run(spec, store=path, jobs=2, quiet=True, evaluate_point=evaluators.trivial)
    monkeypatch.undo()
    monkeypatch.chdir(library)
    assert 1000 < len(content(path)) < 3200
    run(spec, store=path, jobs=2, quiet=True, evaluate_point=evaluators.trivial)
    assert content(path) == content(fresh(spec, library))


def test_memory_is_flat(make_sweep: MakeSweep, library: Path) -> None:
    """A sweep of 20,000 points takes no more memory than one of 2,000, within a megabyte."""
    peaks = []
    for last in (250, 2500):
        spec = make_sweep(space={"batch": {"from": 1, "to": last, "step": 1}})
        path = library / f"{last}.sqlite"
        gc.collect()
        tracemalloc.start()
        try:
            run(spec, store=path, jobs=1, quiet=True, evaluate_point=evaluators.trivial)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**20


def test_progress_is_plain_lines_without_a_terminal(
    make_sweep: MakeSweep, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log gets lines with counts, standard output nothing."""
    spec = make_sweep(space={"batch": [1, 2, 3]})
    run(spec, jobs=1, evaluate_point=evaluators.troubled)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "test: 24 of 24 points, 8 failed, 8 infeasible" in shown.err


def test_workers_compute_on_one_thread_each(make_sweep: MakeSweep, library: Path) -> None:
    """There is a worker for each core; this process keeps its setting."""
    before = dict(os.environ)
    run(make_sweep(), store=library / "s.sqlite", jobs=2, quiet=True,
        evaluate_point=evaluators.threads)  # fmt: skip
    assert {r.extras for r, _ in content(library / "s.sqlite")} == {'{"threads": "1"}'}
    assert dict(os.environ) == before


def test_cores_are_those_of_this_process() -> None:
    """At least one core, and none that the scheduler denies."""
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
