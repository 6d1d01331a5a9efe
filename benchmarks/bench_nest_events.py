"""How far the analytic and the event view of mapped operators are apart, and how long that takes.

``python -m benchmarks.bench_nest_events [--cases N] [--page FILE]``: small operators mapped at
random, where every port serves one stream and where all contend, and products on designs of the
library with their fastest nest.  The page has the tables of ``docs/events-of-nests.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from accelsim.engine import simulate
from accelsim.lower.nest_tasks import (
    CHUNKS,
    Contention,
    NestTasks,
    agreement_cycles,
    contention,
    lower_nest,
)
from accelsim.nest import evaluate
from benchmarks.bench_nest import product
from benchmarks.timing import Timing, measure
from tests.lower.nest_cases import Case, quiet_cases, random_case

__all__ = ["run", "tables"]

LEVELS = (1, 2, 3)
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
FINE = 10**9
"""Chunks of which each tile of any level here is one."""
MOST_TASKS = 40_000

DESIGNS = ("tpuv4i-systolic", "timeloop-output-stationary")
PRODUCTS = ((1, 4096, 4096), (128, 4096, 4096), (4096, 4096, 4096))


def cycles(tasks: NestTasks) -> float:
    """Return the latency of the event view at 1 GHz, in cycles."""
    return tasks.latency_ps(simulate(tasks.graph)) / 1000.0


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of one comparison over many cases."""

    what: str
    values: NDArray[np.float64]
    percent: bool = True

    @property
    def row(self) -> str:
        """A row of a table: quantiles."""
        found = np.quantile(self.values, QUANTILES)
        shown = (f"{100 * x:.3f} %" if self.percent else f"{x:.3f}" for x in found + 0.0)
        return f"| {self.what} | {self.values.size} | {' | '.join(shown)} |"


def agreement(levels: int, count: int) -> list[Spread]:
    """Compare both views where every port serves one stream."""
    figures = []
    for case, tasks in quiet_cases(levels, count):
        took, analytic = cycles(tasks), tasks.figures.cycles
        bound = agreement_cycles(*case) + tasks.graph.n_tasks / 1000
        figures.append((took / analytic - 1, abs(took - analytic) / bound))
    by_kind = np.array(figures).T
    inside = f"{levels} level{'s' * (levels > 1)}"
    return [
        Spread(f"{inside}: events over `evaluate`", by_kind[0]),
        Spread(f"{inside}: difference from `evaluate`, of the bound", by_kind[1], percent=False),
    ]


def busy(levels: int, count: int) -> list[Spread]:
    """Compare them where ports serve many streams, and runs of tiles with single ones."""
    figures, runs = [], []
    for seed in range(count):
        case = random_case(seed, levels, busy=True)
        tasks = lower_nest(*case)
        took = cycles(tasks)
        figures.append(took / tasks.figures.cycles - 1)
        if tasks.graph.n_tasks < 4000:
            runs += list(_runs(case, took))
    inside = f"{levels} level{'s' * (levels > 1)}"
    return [
        Spread(f"{inside}: events over `evaluate`", np.array(figures)),
        Spread(f"{inside}: runs of tiles over single tiles", np.array(runs)),
    ]


def _runs(case: Case, took: float) -> Iterator[float]:
    """Yield how far runs of tiles are from single ones, if there are any and not too many."""
    every = lower_nest(*case, chunks=FINE)
    if lower_nest(*case).graph.n_tasks < every.graph.n_tasks < MOST_TASKS:
        yield took / cycles(every) - 1


def fastest(design: str, size: tuple[int, int, int]) -> Case:
    """Return a product of int8 on a design of the library, with its fastest nest."""
    mapped = product(design, size)
    return mapped.problem, mapped.hierarchy, mapped.nest


def designs() -> Iterator[tuple[str, str, Contention]]:
    """Yield design, product and what its fastest nest takes in either view."""
    for design in DESIGNS:
        for size in PRODUCTS:
            yield design, " x ".join(map(str, size)), contention(*fastest(design, size))


def run(repeats: int = 9) -> dict[str, Timing]:
    """Return the timings by name."""
    case = fastest("tpuv4i-systolic", PRODUCTS[-1])
    tasks = lower_nest(*case)
    name = f"GEMM 4096^3 on tpuv4i-systolic, {tasks.graph.n_tasks} tasks"
    return {
        f"{name}: lower": measure(lambda: lower_nest(*case), repeats),
        f"{name}: simulate": measure(lambda: simulate(tasks.graph), repeats),
        "the same: evaluate": measure(lambda: evaluate(*case), repeats),
    }


def tables(count: int) -> Iterator[str]:
    """Yield the lines of the page."""
    head = f"| | cases | {' | '.join(f'{q:.0%}' for q in QUANTILES)} |"
    rule = "|---|" + "--:|" * (1 + len(QUANTILES))
    for title, compare in (
        ("Every port serves one stream", agreement), ("Ports serve many streams", busy),
    ):  # fmt: skip
        yield from ("", f"### {title}", "", head, rule)
        for levels in LEVELS:
            yield from (spread.row for spread in compare(levels, count))
    yield from ("", "### Products on designs of the library, fastest nest", "")
    yield "| design | m x n x k | `evaluate`, us | events, us | busiest | tasks |"
    yield "|---|---|--:|--:|---|--:|"
    for design, size, found in designs():
        yield (
            f"| {design} | {size} | {1e6 * found.analytic_s:.3f} |"
            f" {1e6 * found.event_s:.3f} | {found.busiest} {found.busy[found.busiest]:.0%} |"
            f" {found.tasks} |"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, print, and write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args(arguments)
    began, lines = perf_counter(), []
    for line in tables(given.cases):
        print(line, flush=True)
        lines.append(line)
    print(f"\n{CHUNKS} chunks; {perf_counter() - began:.0f} s")
    for name, timing in run().items():
        print(f"{name}: {1e3 * timing.median_s:.2f} ms")
    if given.page is not None:
        given.page.write_text("\n".join(lines).strip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
