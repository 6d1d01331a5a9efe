"""What an engine refuses, and in which words.

One compiled pass finds the first fault; the words are made only then.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelsim.engine._edges import read_only, stuck_tasks
from accelsim.engine.taskgraph import TaskGraph
from accelsim.errors import GraphError
from accelsim.jit import kernel

__all__ = ["check_acyclic", "check_structure"]

# Engines number successors in 32 bits, and instants (two per task at most) in 31.
_MAX_TASKS = 2**30
_MAX_EDGES = 2**31 - 2
_MAX_TIME = np.iinfo(np.int64).max
_SHOWN = 12  # tasks of a long cycle that a message shows at each end

_OK, _SERVERS, _INDPTR, _DANGLING, _RESOURCE, _DURATION, _RELEASE, _OVERFLOW = range(8)

_COLUMNS = {
    "resource": np.int32,
    "duration_ps": np.int64,
    "priority": np.int64,
    "release_ps": np.int64,
    "size_bytes": np.int64,
    "energy_pj": np.float64,
    "owner": np.int32,
}


def check_structure(graph: TaskGraph) -> None:
    """Refuse everything but a cycle: after this no index leads out of an array.

    Parameters
    ----------
    graph : TaskGraph
        Any.

    Raises
    ------
    GraphError
        Naming the array, task or resource at fault.
    """
    _check_arrays(graph)
    fault, where, edge = _first_fault(
        read_only(graph.resource),
        read_only(graph.duration_ps),
        read_only(graph.release_ps),
        read_only(graph.pred_indptr),
        read_only(graph.pred_indices),
        read_only(graph.servers),
    )
    if fault != _OK:
        raise GraphError(_describe(graph, fault, where, edge))


def check_acyclic(graph: TaskGraph) -> None:
    """Refuse a cycle, in a graph whose structure is right.

    Parameters
    ----------
    graph : TaskGraph
        One that `check_structure` accepts.

    Raises
    ------
    GraphError
        With the tasks of one cycle, in the order of their precedence.
    """
    stuck = stuck_tasks(read_only(graph.pred_indptr), read_only(graph.pred_indices))
    if not stuck.any():
        return
    cycle = [str(task) for task in _cycle(graph, stuck)]
    if len(cycle) > 2 * _SHOWN:
        cycle[_SHOWN:-_SHOWN] = [f"... ({len(cycle) - 2 * _SHOWN} more) ..."]
    raise GraphError("cycle: " + " -> ".join([*cycle, cycle[0]]))


def _check_arrays(graph: TaskGraph) -> None:
    n, r = graph.n_tasks, graph.n_resources
    expected = [(name, n, dtype) for name, dtype in _COLUMNS.items()]
    expected += [("pred_indptr", n + 1, np.int64), ("servers", r, np.int32)]
    expected += [("pred_indices", graph.pred_indices.size, np.int64)]
    for name, length, dtype in expected:
        array = getattr(graph, name)
        if array.dtype != dtype or array.ndim != 1 or not array.flags.c_contiguous:
            raise GraphError(f"{name}: needs a contiguous {np.dtype(dtype)} vector")
        if array.size != length:
            raise GraphError(f"{name}: has {array.size} entries, needs {length}")
    if len(graph.resource_names) != r:
        raise GraphError(f"resource_names: has {len(graph.resource_names)} names, needs {r}")
    if n > _MAX_TASKS or graph.pred_indices.size > _MAX_EDGES:
        raise GraphError(
            f"{n} tasks and {graph.pred_indices.size} edges: engines take at most"
            f" {_MAX_TASKS} and {_MAX_EDGES}; coalesce"
        )


@kernel
def _first_fault(
    resource: NDArray[np.int32],
    duration_ps: NDArray[np.int64],
    release_ps: NDArray[np.int64],
    pred_indptr: NDArray[np.int64],
    pred_indices: NDArray[np.int64],
    servers: NDArray[np.int32],
) -> tuple[int, int, int]:
    """Kind of the first fault, the task or resource, and the edge for a dangling one."""
    n, r, e = resource.size, servers.size, pred_indices.size
    for index in range(r):
        if servers[index] < 1:
            return _SERVERS, index, 0
    total, last_release = 0, 0
    if pred_indptr[0] != 0 or pred_indptr[n] != e:
        return _INDPTR, n, 0
    for task in range(n):
        if resource[task] < 0 or resource[task] >= r:
            return _RESOURCE, task, 0
        if duration_ps[task] < 0:
            return _DURATION, task, 0
        if release_ps[task] < 0:
            return _RELEASE, task, 0
        last_release = max(last_release, release_ps[task])
        if duration_ps[task] > _MAX_TIME - last_release - total:
            return _OVERFLOW, task, 0
        total += duration_ps[task]
        if pred_indptr[task + 1] < pred_indptr[task] or pred_indptr[task + 1] > e:
            return _INDPTR, task, 0
        for edge in range(pred_indptr[task], pred_indptr[task + 1]):
            if pred_indices[edge] < 0 or pred_indices[edge] >= n:
                return _DANGLING, task, edge
    return _OK, 0, 0


def _describe(graph: TaskGraph, fault: int, where: int, edge: int) -> str:
    n, r = graph.n_tasks, graph.n_resources
    if fault == _SERVERS:
        return (
            f"{graph.resource_names[where]}: has {graph.servers[where]} servers, needs one or more"
        )
    if fault == _INDPTR:
        return (
            f"pred_indptr: must rise from 0 to {graph.pred_indices.size}, the number of edges,"
            f" and does not at {where}"
        )
    if fault == _DANGLING:
        missing = graph.pred_indices[edge]
        return f"task {where}: its predecessor {missing} does not exist ({_counted(n, 'task')})"
    if fault == _RESOURCE:
        return (
            f"task {where}: its resource {graph.resource[where]} does not exist"
            f" ({_counted(r, 'resource')})"
        )
    if fault == _DURATION:
        return f"task {where}: its duration is negative, {graph.duration_ps[where]} ps"
    if fault == _RELEASE:
        return f"task {where}: its release is negative, {graph.release_ps[where]} ps"
    return (
        "the sum of all durations and the last release exceeds 2^63 - 1 ps (107 days):"
        f" reached at task {where}"
    )


def _counted(count: int, noun: str) -> str:
    return f"there are {count} {noun}s, counted from 0"


def _cycle(graph: TaskGraph, stuck: NDArray[np.bool_]) -> list[int]:
    """One cycle among stuck tasks, from its smallest task, in order of precedence."""
    # Every stuck task has a stuck predecessor, so a walk back along those must meet itself.
    seen: dict[int, int] = {}
    walk: list[int] = []
    task = int(np.argmax(stuck))
    while task not in seen:
        seen[task] = len(walk)
        walk.append(task)
        before = graph.predecessors(task)
        task = int(before[stuck[before]][0])
    cycle = walk[seen[task] :][::-1]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]
