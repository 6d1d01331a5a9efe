"""Runs the cases of a suite one after another and records every outcome as a row.

The device stands behind `Backend`, so that resuming, skipping and the time limit are the same, and
are tested the same, on a GPU, on a CPU and on none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from accelsim.measure.bench.case import Case
from accelsim.measure.bench.counts import Counts
from accelsim.measure.bench.environment import Clocks
from accelsim.measure.bench.progress import Progress
from accelsim.measure.bench.table import Table, case_row, key_of
from accelsim.measure.bench.timing import (
    CLOCKS,
    DeviceLost,
    OutOfMemory,
    Timing,
    Unsupported,
)  # fmt: skip

__all__ = ["Backend", "Check", "Outcome", "Plan", "Prepared", "run"]


@dataclass(frozen=True)
class Check:
    """What the comparison with the reference found.

    Parameters
    ----------
    max_rel_error : float
        Largest difference, as a share of the reference's largest value.
    tolerance : float
        What the number format allows.
    """

    max_rel_error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance (and is a number)."""
        return self.max_rel_error <= self.tolerance


class Prepared(Protocol):
    """A case with its operands on the device."""

    def time(self, clock: str, l2: str) -> Timing:
        """Return the latency by one clock of `CLOCKS`, the L2 cache ``cold`` or ``warm``."""


class Backend(Protocol):
    """What runs cases: a device and a library."""

    board: str
    """Name of the device in the tables."""
    library: str
    """Name and version of the library."""

    def counts(self, of: Case) -> Counts:
        """Return operations and bytes of a case."""

    def free_bytes(self) -> float:
        """Return the memory that operands may take."""

    def expected_s(self, of: Case, flops: float) -> float:
        """Return about how long one call takes, seconds; 0 where it need not be known."""

    def check(self, of: Case) -> Check:
        """Compare a small case of the same operator with its reference."""

    def prepare(self, of: Case) -> AbstractContextManager[Prepared]:
        """Make the operands; they go when the context ends.

        Raises
        ------
        Unsupported, OutOfMemory
            Outcomes to record.
        """

    def recover(self) -> None:
        """Free what a failed case left; raise `DeviceLost` if the device answers no more."""


@dataclass(frozen=True)
class Plan:
    """How the cases are measured.

    Parameters
    ----------
    clocks : sequence of str
        Keys of `CLOCKS`.
    l2 : str
        ``cold`` or ``warm``.
    budget_s : float
        Wall-clock time after which no case is begun.
    max_call_s : float
        Cases of which one call is expected to take longer are skipped.
    session : str
        Name of the session in the companion file.
    """

    clocks: Sequence[str]
    l2: str = "cold"
    budget_s: float = float("inf")
    max_call_s: float = 10.0
    session: str = ""


@dataclass
class Outcome:
    """What a run did: rows by status, cases found done, and cases that the budget left."""

    rows: dict[str, int] = field(default_factory=dict)
    already: int = 0
    remaining: int = 0
    spent_s: float = 0.0


_FIRST_GUESS_S: Final = 2.0
"""Wall-clock time that a case is taken to need while none like it has run."""


def run(
    cases: Iterable[Case], backend: Backend, table: Table, plan: Plan, *,
    clocks_seen: Callable[[float], Clocks | None] = lambda since_s: None,
    now: Callable[[], float] = time.monotonic, progress: Progress | None = None,
) -> Outcome:  # fmt: skip
    """Measure the cases that the table does not have yet.

    Parameters
    ----------
    cases : iterable of Case
        In the order to measure.
    backend : Backend
        Device and library.
    table : Table
        Where rows go, and what says which are there.
    plan : Plan
        Clocks, L2 state and limits.
    clocks_seen : callable
        Returns the device's clocks since a time of `now`.
    now : callable
        Clock in seconds.
    progress : Progress, optional
        What shows it.

    Returns
    -------
    Outcome
        ``remaining`` above 0 means that the budget ended first.

    Raises
    ------
    DeviceLost
        If the device stops answering; what was measured is in the table.
    """
    started, outcome = now(), Outcome()
    needed = _Needed()
    todo = []
    for one in cases:
        missing = [c for c in plan.clocks if _key(one, c, backend, plan) not in table]
        if missing:
            todo.append((one, missing))
        else:
            outcome.already += 1
    for one, missing in todo:
        begun = now()
        if begun - started + needed.expected_s(one, backend) > plan.budget_s:
            outcome.remaining += 1  # a smaller one behind it may fit
            continue
        try:
            rows = _measure(one, missing, backend, plan)
        except DeviceLost as lost:
            table.append([_row(one, c, backend, plan, "error", str(lost)) for c in missing])
            raise
        spent = now() - begun
        needed.learn(one, backend, spent)
        table.append([row | _seen(clocks_seen(begun)) | _wall(spent) for row in rows])
        for row in rows:
            outcome.rows[row["status"]] = outcome.rows.get(row["status"], 0) + 1
        if progress is not None:
            progress.step(one.label)
    outcome.spent_s = now() - started
    return outcome


def _size(of: Case, backend: Backend) -> float:
    """Return a measure of a case's size: bytes, and operations at a hundred per byte."""
    try:
        work = backend.counts(of)
    except Exception:  # a case without figures becomes an error row where it is measured
        return 0.0
    return work.resident_bytes + (work.flops or 0.0) / 100


class _Needed:
    """How long cases took, to tell whether another one fits into the time that is left."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[float, float]]] = {}

    def learn(self, of: Case, backend: Backend, spent_s: float) -> None:
        """Remember a case."""
        self._seen.setdefault(of.op, []).append((_size(of, backend), spent_s))

    def expected_s(self, of: Case, backend: Backend) -> float:
        """Return the longest time of a like case: same operator, at most twice the size."""
        limit = 2 * _size(of, backend)
        like = [spent for size, spent in self._seen.get(of.op, ()) if size <= limit]
        return max(like, default=_FIRST_GUESS_S)


def _key(of: Case, clock: str, backend: Backend, plan: Plan) -> tuple[str, ...]:
    return key_of(case_row(of) | _identity(clock, backend, plan))


def _identity(clock: str, backend: Backend, plan: Plan) -> dict[str, str]:
    return {
        "gpu": backend.board, "library": backend.library, "timing": CLOCKS[clock], "l2": plan.l2,
        "n_devices": "1",
    }  # fmt: skip


def _measure(
    of: Case, clocks: Sequence[str], backend: Backend, plan: Plan
) -> list[dict[str, str]]:
    """Return one row per clock, whatever becomes of the case."""
    made: list[dict[str, str]] = []
    reason, status = "", "skip"
    try:
        work = backend.counts(of)
        _refuse(of, work, backend, plan)
        check = backend.check(of)
        with backend.prepare(of) as prepared:
            for clock in clocks:  # a failure of the second must not lose the row of the first
                made.append(  # noqa: PERF401
                    _timed(of, clock, work, check, prepared, backend, plan)
                )
        return made
    except Unsupported as refusal:
        reason = f"unsupported: {refusal}"
    except (OutOfMemory, MemoryError) as refusal:
        reason = f"out of memory: {refusal}"
    except (DeviceLost, KeyboardInterrupt):
        raise
    except Exception as error:
        status, reason = "error", f"{type(error).__name__}: {error}"
    backend.recover()
    rest = clocks[len(made) :]
    return made + [_row(of, clock, backend, plan, status, reason) for clock in rest]


def _timed(
    of: Case, clock: str, work: Counts, check: Check, prepared: Prepared, backend: Backend,
    plan: Plan,
) -> dict[str, str]:  # fmt: skip
    """Return the row of one clock; one that is refused does not spoil the others."""
    try:
        timing = prepared.time(clock, plan.l2)
    except Unsupported as refusal:
        return _row(of, clock, backend, plan, "skip", f"unsupported: {refusal}")
    except OutOfMemory as refusal:
        return _row(of, clock, backend, plan, "skip", f"out of memory: {refusal}")
    row = _row(of, clock, backend, plan, "ok" if check.passed else "wrong", "")
    return row | _figures(work, timing, check)


def _refuse(of: Case, work: Counts, backend: Backend, plan: Plan) -> None:
    free = backend.free_bytes()
    if work.resident_bytes > 0.95 * free:
        raise OutOfMemory(
            f"about {work.resident_bytes / 2**30:.2f} GiB needed, {free / 2**30:.2f} GiB free"
        )
    expected = backend.expected_s(of, work.flops or 0.0)
    if expected > plan.max_call_s:
        raise Unsupported(
            f"one call would take about {expected:.0f} s, more than {plan.max_call_s:g} s"
        )


def _row(
    of: Case, clock: str, backend: Backend, plan: Plan, status: str, reason: str
) -> dict[str, str]:
    return case_row(of) | _identity(clock, backend, plan) | {
        "source": "accelsim", "status": status, "reason": reason[:400],
        "session": plan.session, "flag": "wrong_result" if status == "wrong" else "",
    }  # fmt: skip


def _figures(work: Counts, timing: Timing, check: Check) -> dict[str, str]:
    figures = {
        "latency_us": timing.median_us, "lat_min_us": timing.min_us, "lat_std_us": timing.std_us,
        "max_rel_error": check.max_rel_error, "flops": work.flops, "bytes_min": work.bytes_min,
    }  # fmt: skip
    if work.flops:
        figures["tflops"] = work.flops / timing.median_us / 1e6
    if work.bytes_min:
        figures["gbps"] = work.bytes_min / timing.median_us / 1e3
    row = {name: f"{value:.7g}" for name, value in figures.items() if value is not None}
    return row | {
        "stat": "median", "n_merged": "1", "repeats": str(timing.repeats),
        "calls": str(timing.calls), "copies": str(timing.copies), "kernels": timing.kernels[:600],
    }  # fmt: skip


def _seen(clocks: Clocks | None) -> dict[str, str]:
    if clocks is None:
        return {}
    return {
        "sm_mhz": f"{clocks.sm_mhz:.0f}", "mem_mhz": f"{clocks.mem_mhz:.0f}",
        "power_w": f"{clocks.power_w:.1f}",
    }  # fmt: skip


def _wall(seconds: float) -> dict[str, str]:
    return {"wall_s": f"{seconds:.3f}"}
