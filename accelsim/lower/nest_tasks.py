"""The event view of a mapped operator: its tiles as tasks on ports, chains and the units.

Every memory level moves event by event; what nothing delays takes the time that
`accelsim.nest.evaluate` says, and what waits for a port shows by how much it does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.engine import Schedule, busy_ps, simulate
from accelsim.lower._nest_lower import CHUNKS, MARKS, Beside, NestTasks, lower_nest
from accelsim.lower._nest_streams import ORDER, WAVES, streams_of
from accelsim.nest import Hierarchy, Nest, Problem, evaluate

__all__ = [
    "CHUNKS", "Beside", "Contention", "NestTasks", "agreement_cycles", "contention", "lower_nest",
    "slices",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Contention:
    """The analytic and the event view of a mapped operator side by side.

    Attributes
    ----------
    analytic_s, event_s : float
        Latency in seconds: of `accelsim.nest.evaluate`, and as simulated.
    busy : dict of str to float
        Part of the event latency for which each resource was busy with anything.
    shared : dict of str to tuple of str
        Ports that more than one stream occupies, and which.
    copies : int
    tasks : int
    """

    analytic_s: float
    event_s: float
    busy: dict[str, float]
    shared: dict[str, tuple[str, ...]]
    copies: int
    tasks: int

    @property
    def excess(self) -> float:
        """How much longer the event view takes than the analytic one, as a part of that."""
        return self.event_s / self.analytic_s - 1.0

    @property
    def busiest(self) -> str:
        """The resource that was busy longest."""
        return max(self.busy, key=lambda name: self.busy[name])


def contention(
    problem: Problem, hierarchy: Hierarchy, nest: Nest, *, chunks: int = CHUNKS, copies: int = 1,
    shared: str | None = None, beside: Sequence[Beside] = (), engine: str = "numba",
) -> Contention:  # fmt: skip
    """Return what a mapped operator takes by the analytic and by the event view, and why.

    Parameters
    ----------
    problem, hierarchy, nest, chunks, copies, shared, beside
        As of `lower_nest`.
    engine : {"numba", "simpy"}

    Raises
    ------
    MappingError, ConfigError
        As of `lower_nest`.
    """
    tasks = lower_nest(
        problem, hierarchy, nest, chunks=chunks, copies=copies, shared=shared, beside=beside
    )
    schedule = simulate(tasks.graph, engine)
    took = tasks.latency_ps(schedule)
    # What runs beside may go on when the operator has ended, which is not its business.
    cut = Schedule(np.minimum(schedule.start_ps, took), np.minimum(schedule.end_ps, took))
    busy = busy_ps(tasks.graph, cut) / took
    names, servers = tasks.graph.resource_names, tasks.graph.servers
    return Contention(
        tasks.figures.latency_s, took * 1e-12,
        {names[i]: float(busy[i]) for i in np.flatnonzero(servers == 1) if busy[i] > 0.0},
        {name: tasks.users[name] for name in tasks.users if len(tasks.users[name]) > 1},
        copies, tasks.graph.n_tasks,
    )  # fmt: skip


def agreement_cycles(problem: Problem, hierarchy: Hierarchy, nest: Nest) -> float:
    """Return how far apart the two views may be where no port serves two streams.

    Notes
    -----
    Where one memory is inside the outermost they are equal, to the rounding of events.  Where
    levels are nested, events also show what the first and last tiles of an inner level wait for
    the level outside: at most, for each tile of the single-buffered levels outside, one tile's
    load of every tensor, its wave and its drain.
    """
    streams = streams_of(problem, hierarchy, nest, evaluate(problem, hierarchy, nest))
    if len(streams.levels) < 2:
        return 0.0
    total, outer = 0.0, 1
    for level in streams.levels:
        once = float(level.skew)
        for stream in streams.tiles:
            if stream.node == level.node and stream.lanes:
                once += max(lane.cycles for lane in stream.lanes) / stream.tiles
        total += once * outer
        if level.buffers == 1:
            outer = max(outer, level.tiles)
    return total


def slices(tasks: NestTasks, schedule: Schedule) -> Iterator[str]:
    """Yield a schedule as the JSON of Chrome trace events, as `accelsim.result.trace` writes.

    Parameters
    ----------
    tasks : NestTasks
    schedule : Schedule
        Of its graph.
    """
    graph = tasks.graph
    for thread, name in enumerate(graph.resource_names):
        about = {"ph": "M", "pid": 0, "tid": thread, "name": "thread_name", "args": {"name": name}}
        yield json.dumps(about)
    labels = [json.dumps(label) for label in tasks.labels]
    columns = (
        schedule.start_ps, schedule.end_ps, graph.resource, graph.owner, graph.priority,
        graph.size_bytes,
    )  # fmt: skip
    shown = np.flatnonzero((graph.owner != ORDER) & (graph.duration_ps > 0))
    rows: NDArray[np.int64] = np.stack([column[shown] for column in columns], axis=1)
    for start, end, resource, owner, chunk, size in rows.tolist():
        kind = MARKS[owner] if owner <= WAVES else "transfer"
        yield (
            f'{{"ph":"X","pid":0,"tid":{resource},"ts":{start / 1e6:.6f},'
            f'"dur":{(end - start) / 1e6:.6f},"name":{labels[owner]},"cat":"{kind}",'
            f'"args":{{"chunk":{chunk // 2},"bytes":{size}}}}}'
        )
