"""What an engine answers: when every task starts and ends, and the laws that must hold.

`verify` trusts no engine: it checks a schedule against its graph from the definitions alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.engine.taskgraph import TaskGraph
from accelsim.errors import ConservationError

__all__ = ["Schedule", "busy_ps", "verify"]

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Start and end of every task.

    Parameters
    ----------
    start_ps, end_ps : int64[n]
        In picoseconds from the start of the simulation.
    """

    start_ps: Int64s
    end_ps: Int64s

    @property
    def makespan_ps(self) -> int:
        """End of the last task in picoseconds, 0 without tasks."""
        return int(self.end_ps.max(initial=0))


def busy_ps(graph: TaskGraph, schedule: Schedule) -> Int64s:
    """Time that tasks occupy each resource, summed over its servers.

    Parameters
    ----------
    graph : TaskGraph
        n tasks on r resources.
    schedule : Schedule
        Of its tasks.

    Returns
    -------
    int64[r]
        Server-picoseconds; at most servers times makespan.

    Examples
    --------
    >>> from accelsim.engine import from_edges, simulate
    >>> graph = from_edges([0, 0, 1], [5, 3, 4], [(0, 2)])
    >>> busy_ps(graph, simulate(graph))
    array([8, 4])
    """
    busy = np.zeros(graph.n_resources, np.int64)
    np.add.at(busy, graph.resource, schedule.end_ps - schedule.start_ps)
    return busy


def verify(graph: TaskGraph, schedule: Schedule) -> None:
    """Refuse a schedule that breaks a law of its graph.

    Parameters
    ----------
    graph : TaskGraph
        n tasks, as `check` accepts.
    schedule : Schedule
        Of those tasks; 1,000,000 take about a second.

    Raises
    ------
    ConservationError
        If a task does not take its duration, starts before its release or before a predecessor
        ends, or if a resource runs more tasks at once, or for longer, than its servers can.
    """
    start, end = schedule.start_ps, schedule.end_ps
    if start.shape != graph.resource.shape or end.shape != graph.resource.shape:
        raise ConservationError(
            f"schedule of {start.size} starts and {end.size} ends for {graph.n_tasks} tasks"
        )
    for task in np.flatnonzero(end - start != graph.duration_ps)[:1]:
        raise ConservationError(
            f"task {task} takes {graph.duration_ps[task]} ps"
            f" but runs from {start[task]} to {end[task]} ps"
        )
    for task in np.flatnonzero(start < graph.release_ps)[:1]:
        raise ConservationError(
            f"task {task} starts at {start[task]} ps, before its release at"
            f" {graph.release_ps[task]} ps"
        )
    _verify_precedence(graph, schedule)
    _verify_busy(graph, schedule)
    _verify_servers(graph, schedule)


def _verify_precedence(graph: TaskGraph, schedule: Schedule) -> None:
    successor = np.repeat(np.arange(graph.n_tasks), np.diff(graph.pred_indptr))
    early = schedule.start_ps[successor] < schedule.end_ps[graph.pred_indices]
    for edge in np.flatnonzero(early)[:1]:
        task, predecessor = successor[edge], graph.pred_indices[edge]
        raise ConservationError(
            f"task {task} starts at {schedule.start_ps[task]} ps, before its predecessor"
            f" {predecessor} ends at {schedule.end_ps[predecessor]} ps"
        )


def _verify_busy(graph: TaskGraph, schedule: Schedule) -> None:
    busy = busy_ps(graph, schedule)
    # Divided, not multiplied: servers times makespan may exceed int64.
    for resource in np.flatnonzero(-(-busy // graph.servers) > schedule.makespan_ps)[:1]:
        raise ConservationError(
            f"{graph.resource_names[resource]} is busy for {busy[resource]} ps on"
            f" {graph.servers[resource]} server(s) within {schedule.makespan_ps} ps"
        )


def _verify_servers(graph: TaskGraph, schedule: Schedule) -> None:
    # Zero-length tasks occupy a server for no time, so they can overlap nothing.
    tasks = np.flatnonzero(graph.duration_ps > 0)
    time = np.concatenate([schedule.start_ps[tasks], schedule.end_ps[tasks]])
    change = np.repeat([1, -1], tasks.size)
    resource = np.tile(graph.resource[tasks], 2)
    order = np.lexsort((change, time, resource))  # at one instant ends come before starts
    running = np.cumsum(change[order])  # every resource begins and ends at 0
    for event in np.flatnonzero(running > graph.servers[resource[order]])[:1]:
        index = resource[order[event]]
        raise ConservationError(
            f"{graph.resource_names[index]} runs {running[event]} tasks at once"
            f" at {time[order[event]]} ps on {graph.servers[index]} server(s)"
        )
