"""The fast engine: event simulation over flat arrays, compiled, without allocation in its loop.

Same meaning as `accelsim.engine.simpy_engine`, which says it in words; a property test holds
the two to the same picosecond on every task.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.engine._check import check_acyclic, check_structure
from accelsim.engine._edges import successor_lists
from accelsim.engine._heap import pop, push
from accelsim.engine.schedule import Schedule
from accelsim.engine.taskgraph import TaskGraph
from accelsim.errors import GraphError
from accelsim.jit import kernel

__all__ = ["simulate"]

Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]

# The key (priority, ready time, task) takes two words of a heap: ready times only grow, so an
# instant's running number, shifted above the task's number, stands for the time.
_TASK_BITS = 32
_TASK_MASK = (1 << _TASK_BITS) - 1
_NEVER = int(np.iinfo(np.int64).max)

# Resources that changed at an instant: a stack threaded through one array, its top at the end.
_UNTOUCHED, _LAST = -2, -1


def simulate(graph: TaskGraph) -> Schedule:
    """Run a task graph on its resources, event by event.

    Parameters
    ----------
    graph : TaskGraph
        n tasks on r resources.

    Returns
    -------
    Schedule
        Start and end of every task in picoseconds.

    Raises
    ------
    GraphError
        If the graph is inconsistent or cyclic; names the task or the cycle.

    Notes
    -----
    O((n + e) log n) time.  Per task one entry goes through its resource's ready heap and one
    through the completion heap, which is only as large as there are servers.

    Examples
    --------
    >>> from accelsim.engine import from_edges
    >>> graph = from_edges(resource=[0, 1, 0], duration_ps=[5, 3, 4], edges=[(0, 1), (1, 2)])
    >>> simulate(graph).start_ps
    array([0, 5, 8])
    """
    check_structure(graph)
    start_ps, end_ps, finished = _run(
        _fixed(graph.resource),
        _fixed(graph.duration_ps),
        _fixed(graph.priority),
        _fixed(graph.release_ps),
        _fixed(graph.pred_indptr),
        _fixed(graph.pred_indices),
        _fixed(graph.servers),
    )
    if finished < graph.n_tasks:
        check_acyclic(graph)
        raise GraphError("the task graph was changed while it was simulated")
    return Schedule(start_ps, end_ps)


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    # Numba compiles writable and read-only arrays apart; arrays lose their flag on unpickling.
    view = array.view()
    view.flags.writeable = False
    return view


@kernel
def _run(
    resource: Int32s,
    duration_ps: Int64s,
    priority: Int64s,
    release_ps: Int64s,
    pred_indptr: Int64s,
    pred_indices: Int64s,
    servers: Int32s,
) -> tuple[Int64s, Int64s, int]:
    """Start and end of every task, and how many finished."""
    n, r = resource.size, servers.size
    first, successors = successor_lists(pred_indptr, pred_indices)
    missing = (pred_indptr[1:] - pred_indptr[:-1]).astype(np.int32)
    words, place = _empty_heaps(resource, servers)
    completions, releases = r, r + 1
    idle = servers.astype(np.int64)
    touched = np.full(r + 1, _UNTOUCHED)
    touched[r] = _LAST
    start_ps, end_ps = np.empty(n, np.int64), np.empty(n, np.int64)
    now, instant, finished = 0, 0, 0
    for task in range(n):
        if missing[task] == 0:
            _arrive(task, now, instant, resource, priority, release_ps, words, place, touched)
    while True:
        _start_ready(now, duration_ps, words, place, idle, touched, start_ps, end_ps)
        following = min(_next(words, place, completions), _next(words, place, releases))
        if following == _NEVER:
            return start_ps, end_ps, finished
        if following > now:  # else a further round at this instant, after zero-length tasks
            now = following
            instant += 1
        while _next(words, place, releases) == now:
            task = pop(words, place, releases)
            _arrive(task, now, instant, resource, priority, release_ps, words, place, touched)
        while _next(words, place, completions) == now:
            task = pop(words, place, completions)
            finished += 1
            idle[resource[task]] += 1
            _touch(resource[task], touched)
            for edge in range(first[task], first[task + 1]):
                task = successors[edge]
                missing[task] -= 1
                if missing[task] == 0:
                    _arrive(
                        task, now, instant, resource, priority, release_ps, words, place, touched
                    )


@kernel
def _arrive(
    task: int,
    now: int,
    instant: int,
    resource: Int32s,
    priority: Int64s,
    release_ps: Int64s,
    words: Int64s,
    place: Int64s,
    touched: Int64s,
) -> None:
    """Take a task whose predecessors have finished: ready now, or when its release comes."""
    if release_ps[task] > now:
        push(words, place, place.shape[0] - 1, release_ps[task], task)
    else:
        order = (instant << _TASK_BITS) | task
        push(words, place, resource[task], priority[task], order)
        _touch(resource[task], touched)


@kernel
def _start_ready(
    now: int,
    duration_ps: Int64s,
    words: Int64s,
    place: Int64s,
    idle: Int64s,
    touched: Int64s,
    start_ps: Int64s,
    end_ps: Int64s,
) -> None:
    """Let every touched resource start ready tasks, best first, while it has idle servers."""
    r = idle.size
    while touched[r] != _LAST:
        resource = touched[r]
        touched[r] = touched[resource]
        touched[resource] = _UNTOUCHED
        while idle[resource] > 0 and place[resource, 1] > 0:
            task = pop(words, place, resource) & _TASK_MASK
            idle[resource] -= 1
            start_ps[task] = now
            end_ps[task] = now + duration_ps[task]
            push(words, place, r, end_ps[task], task)


@kernel
def _touch(resource: int, touched: Int64s) -> None:
    """Put a resource on the stack of those that changed at this instant, once."""
    # A scan of all r resources instead would cost r per instant.
    r = touched.size - 1
    if touched[resource] == _UNTOUCHED:
        touched[resource] = touched[r]
        touched[r] = resource


@kernel
def _next(words: Int64s, place: Int64s, heap: int) -> int:
    """When the first entry of a calendar is due."""
    return int(words[place[heap, 0], 0]) if place[heap, 1] > 0 else _NEVER


@kernel
def _empty_heaps(resource: Int32s, servers: Int32s) -> tuple[Int64s, Int64s]:
    """Room for r heaps of ready tasks, one of completions and one of releases."""
    n, r = resource.size, servers.size
    place = np.zeros((r + 2, 2), np.int64)
    for task in range(n):
        place[resource[task] + 1, 0] += 1
    for heap in range(1, r + 1):
        place[heap, 0] += place[heap - 1, 0]
    running = min(n, servers.astype(np.int64).sum())
    place[r + 1, 0] = n + running
    return np.empty((2 * n + running, 2), np.int64), place
