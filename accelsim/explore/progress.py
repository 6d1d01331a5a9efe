"""Shows how far a sweep is: a bar for people at a terminal, plain lines for logs.

Everything goes to standard error; standard output stays free for results.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from accelsim.explore.runner import SweepRun

__all__ = ["line", "reporter"]

_LINE_EVERY_S: Final = 5.0


@contextmanager
def reporter(tally: SweepRun, *, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """Give the function to call whenever `tally` has changed."""
    if quiet:
        yield lambda: None
    elif sys.stderr.isatty():
        with _bar(tally) as report:
            yield report
    else:
        yield _lines(tally)


def line(tally: SweepRun, points_per_s: float) -> str:
    """Return the state of a sweep in one line."""
    counts = tally.counts
    parts = [f"{tally.name}: {tally.finished:,} of {tally.points:,} points"]
    parts += [f"{counts[s]:,} {s}" for s in ("failed", "infeasible", "excluded") if counts[s]]
    if tally.resumed:
        parts.append(f"{tally.resumed:,} from earlier runs")
    left = tally.points - tally.finished
    if points_per_s > 0:
        parts.append(f"{points_per_s:,.0f} points/s")
        if left:
            parts.append(f"{left / points_per_s:,.0f} s left")
    return ", ".join(parts)


def _lines(tally: SweepRun) -> Callable[[], None]:
    shown = monotonic()
    first: tuple[float, int] | None = None  # rows count from the first on: that one waits for
    told = -1  # imports and compilation

    def report() -> None:
        nonlocal shown, first, told
        now = monotonic()
        if first is None and tally.evaluated:
            first = now, tally.evaluated
        complete = tally.finished >= tally.points
        if tally.finished != told and (complete or now - shown >= _LINE_EVERY_S):
            shown, told = now, tally.finished
            since, already = first or (now, 0)
            rate = (tally.evaluated - already) / max(now - since, 1e-9)
            print(line(tally, rate), file=sys.stderr)  # noqa: T201

    return report


@contextmanager
def _bar(tally: SweepRun) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining(),
        TextColumn("{task.fields[rest]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(tally.name, total=tally.points, rest="")

        def report() -> None:
            bad = [f"{tally.counts[s]:,} {s}" for s in ("failed", "infeasible") if tally.counts[s]]
            bar.update(task, completed=tally.finished, rest=", ".join(bad))

        yield report
