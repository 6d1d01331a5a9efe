"""Runs a sweep: evaluates every point that has no row yet, on all cores, and stores the rows.

A sweep that was stopped, in whatever way, is continued by running it again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from typing import Final

from accelsim.errors import ConfigError
from accelsim.explore.identity import code_version, point_keys
from accelsim.explore.outcome import EvaluatePoint, Task, blank_row, evaluate_point
from accelsim.explore.progress import reporter
from accelsim.explore.space import Point, exclusion, points, size
from accelsim.explore.store import Row, Status, Store
from accelsim.explore.sweep import SweepSpec
from accelsim.explore.workers import Executor, Processes, Serial, available_cores

__all__ = ["SweepRun", "keys", "parse_shard", "run", "store_path"]

_BATCH: Final = 500  # points looked up in the store at once
_REASONS: Final = 50  # different texts that a tally keeps; further ones count without text


@dataclass(slots=True)
class SweepRun:
    """How far a sweep is, and what became of its points.

    Parameters
    ----------
    name : str
        The sweep's.
    store : Path
        Where the rows are.
    points : int
        Points of the sweep, or of its shard.
    counts : Counter
        Status -> number of points, of this run and of earlier ones.
    evaluated, resumed : int
        Points evaluated by this run; points that had a row already.
    reasons : Counter
        (status, text) -> number of points without a result for that reason.
    wall_s : float
        Duration of this run.
    """

    name: str
    store: Path
    points: int
    counts: Counter[Status] = field(default_factory=Counter)
    evaluated: int = 0
    resumed: int = 0
    reasons: Counter[tuple[Status, str]] = field(default_factory=Counter)
    wall_s: float = 0.0

    def count(self, status: Status, reason: str) -> None:
        """Count a point."""
        self.counts[status] += 1
        known = (status, reason) in self.reasons or len(self.reasons) < _REASONS
        if status != "done" and known:
            self.reasons[status, reason] += 1

    @property
    def finished(self) -> int:
        """Points that have a row."""
        return self.counts.total()


def run(
    spec: SweepSpec,
    *,
    store: Path | None = None,
    jobs: int | None = None,
    shard: tuple[int, int] = (1, 1),
    retry_failed: bool = False,
    quiet: bool = False,
    evaluate_point: EvaluatePoint = evaluate_point,
) -> SweepRun:
    """Evaluate every point of a sweep that has no row in the store yet.

    Parameters
    ----------
    spec : SweepSpec
        The sweep.
    store : Path, optional
        Results file; ``points.sqlite`` in the sweep's folder unless given.
    jobs : int, optional
        Worker processes; all cores unless given.  1 evaluates in this process.
    shard : (int, int)
        ``(i, n)``: of every n points evaluate the i-th, into a file of its own.
    retry_failed : bool
        Evaluate points again whose row says that they failed.
    quiet : bool
        Show no progress.
    evaluate_point : callable
        From a point to summary and breakdown; importable by workers.

    Raises
    ------
    StoreError
        If the store cannot be opened, before anything is evaluated; or written, for example
        because the disk is full.
    KeyboardInterrupt
        After Ctrl-C, with finished rows stored; its text says how to go on.
    """
    path = store or store_path(spec, shard)
    tally = SweepRun(spec.name, path, size(spec, shard))
    started = perf_counter()
    with Store(path) as results, reporter(tally, quiet=quiet) as report:
        tasks = _missing(spec, shard, results, tally, retry_failed=retry_failed)
        try:
            first = list(islice(tasks, 1))
            if first:  # a sweep that is complete starts no worker
                executor = _executor(min(jobs or available_cores(), tally.points), evaluate_point)
                _evaluate(executor, chain(first, tasks), results, tally, report)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{tally.name}: stopped with {tally.finished:,} of {tally.points:,} points in"
                f" {tally.store}; the same command goes on from there"
            ) from None
        tally.wall_s = perf_counter() - started
        report()
    return tally


def _executor(jobs: int, evaluate: EvaluatePoint) -> Executor:
    code = code_version()
    return Serial(evaluate, code) if jobs == 1 else Processes(jobs, evaluate, code)


def _evaluate(
    executor: Executor,
    tasks: Iterator[Task],
    store: Store,
    tally: SweepRun,
    report: Callable[[], None],
) -> None:
    """Store rows as they come; after Ctrl-C those too that are finished."""
    rows: list[Row] = []
    try:
        for rows in executor.map(tasks):
            _keep(rows, store, tally)
            rows = []
            report()
    except KeyboardInterrupt:
        _keep([*rows, *executor.salvage()], store, tally)
        raise
    finally:
        executor.close()


def _keep(rows: list[Row], store: Store, tally: SweepRun) -> None:
    store.insert(rows)
    tally.evaluated += len(rows)
    for row in rows:
        tally.count(row.status, row.error)


def _missing(
    spec: SweepSpec,
    shard: tuple[int, int],
    store: Store,
    tally: SweepRun,
    *,
    retry_failed: bool,
) -> Iterator[Task]:
    """Yield the points to evaluate; store the excluded ones and count those that are known."""
    walk = _keyed(spec, shard)
    while batch := list(islice(walk, _BATCH)):
        known = store.known(key for key, _, _ in batch)
        if retry_failed:
            failed = [key for key, (status, _) in known.items() if status == "failed"]
            store.forget(failed)
            known = {key: value for key, value in known.items() if key not in failed}
        excluded = [
            blank_row((key, point), code_version(), "excluded", reason)
            for key, point, reason in batch
            if reason and key not in known
        ]
        if excluded:
            store.insert(excluded)
        for status, text in (*known.values(), *((row.status, row.error) for row in excluded)):
            tally.count(status, text)
        tally.resumed += len(known)
        yield from ((k, point) for k, point, reason in batch if k not in known and not reason)


def _keyed(spec: SweepSpec, shard: tuple[int, int] = (1, 1)) -> Iterator[tuple[str, Point, str]]:
    """Yield key, point and the reason for which it is excluded."""
    key = point_keys()
    for point in points(spec, shard):
        reason = exclusion(spec, point)
        yield key(point, reason), point, reason


def keys(spec: SweepSpec) -> Iterator[str]:
    """Yield the keys of a sweep's points under the files and code of now, in order."""
    return (key for key, _, _ in _keyed(spec))


def store_path(spec: SweepSpec, shard: tuple[int, int] = (1, 1)) -> Path:
    """Return where a sweep, or a shard of it, keeps its rows unless told otherwise."""
    number, shards = shard
    name = "points" if shards == 1 else f"points.{number}-of-{shards}"
    return spec.folder / f"{name}.sqlite"


def parse_shard(text: str) -> tuple[int, int]:
    """Return (i, n) of a text such as ``3/64``.

    Raises
    ------
    ConfigError
        If it is not of that form, or i is not from 1 to n.

    Examples
    --------
    >>> parse_shard("3/64")
    (3, 64)
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    number, shards = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= shards:
        raise ConfigError(
            f"`{text}` is not a shard", hint="i/n with i from 1 to n, for example 3/64"
        )
    return number, shards
