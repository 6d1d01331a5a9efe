"""Speed of the two engines on layered task graphs, and their ratio.

``python -m benchmarks.bench_engine [--json FILE] [--tasks N] [--simpy-tasks N] [--repeats N]``.
SimPy runs a smaller graph of the same kind, 30,000 tasks unless told otherwise, and Numba that
one too, so that the ratio compares like with like; ``--simpy-tasks 1000000`` runs the full one.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from accelsim.engine import TaskGraph, simulate, task_graph
from benchmarks.timing import Timing, measure

WIDTH = 1_000  # tasks in a layer
PREDECESSORS = 2  # of each task, at random in the layer before
RESOURCES = (16, 64, 256)


def layered(n: int, resources: int, seed: int = 0) -> TaskGraph:
    """Return n tasks in layers of `WIDTH`, on resources of 1 to 3 servers each.

    Durations are uniform in 1 to 1,000 ps, priorities in 0 to 3; a tenth of the tasks has a
    release, uniform over about half of the makespan.
    """
    rng = np.random.default_rng(seed)
    layer = np.arange(n) // WIDTH
    later = np.flatnonzero(layer > 0)
    before = (layer[later, None] - 1) * WIDTH
    predecessors = before + rng.integers(0, WIDTH, (later.size, PREDECESSORS))
    indptr = np.concatenate([[0], np.cumsum(np.where(layer > 0, PREDECESSORS, 0))])
    horizon_ps = 250 * n // resources
    return task_graph(
        rng.integers(0, resources, n),
        rng.integers(1, 1_001, n),
        indptr,
        predecessors.ravel(),
        priority=rng.integers(0, 4, n),
        release_ps=np.where(rng.random(n) < 0.1, rng.integers(0, 1 + horizon_ps, n), 0),
        servers=rng.integers(1, 4, resources),
    )


def line(name: str, n: int, resources: int, timing: Timing) -> str:
    """One row of the printed table."""
    rate = timing.rate(n)
    return (
        f"{name:6} {n:>9,} tasks, {resources:>3} resources: {rate['median'] / 1e6:6.3f} M tasks/s"
        f"  ({rate['min'] / 1e6:.3f} to {rate['max'] / 1e6:.3f}, {timing.repeats} repeats)"
    )


def compare(n: int, resources: int, repeats: int) -> dict[str, object]:
    """Time both engines on one graph, and print their rates and ratio."""
    graph = layered(n, resources)
    slow = measure(lambda: simulate(graph, "simpy"), repeats=3)
    fast = measure(lambda: simulate(graph, "numba"), repeats)
    ratio = slow.median_s / fast.median_s
    print(line("simpy", n, resources, slow), line("numba", n, resources, fast), sep="\n")
    print(f"on that graph numba is {ratio:.0f} times faster")
    return {
        "tasks": n,
        "simpy_tasks_per_s": slow.rate(n),
        "numba_tasks_per_s": fast.rate(n),
        "ratio": ratio,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--tasks", type=int, default=1_000_000, help="for the Numba engine alone")
    parser.add_argument("--simpy-tasks", type=int, default=30_000, help="for the comparison")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args(arguments)

    rates = {}
    for resources in RESOURCES:
        graph = layered(options.tasks, resources)
        timing = measure(functools.partial(simulate, graph), options.repeats)
        print(line("numba", options.tasks, resources, timing), flush=True)
        rates[resources] = timing.rate(options.tasks)
    figures = {
        "tasks": options.tasks,
        "numba_tasks_per_s_by_resources": rates,
        "comparison": compare(options.simpy_tasks, RESOURCES[0], options.repeats),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "versions": {name: version(name) for name in ("numba", "numpy", "simpy")},
    }
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
