"""The fast engine: event simulation over flat arrays, compiled, without allocation in its loop.

Same meaning as `accelsim.engine.simpy_engine`, which says it in words; a property test holds
the two to the same picosecond on every task.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelsim.engine._check import check_acyclic, check_structure
from accelsim.engine._edges import read_only, successor_lists
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
    O((n + e) log n) time.  Per task one entry goes through its resource's heap of ready tasks
    and one through the heap of completions, which is only as large as there are servers.

    Examples
    --------
    >>> from accelsim.engine import from_edges
    >>> graph = from_edges(resource=[0, 1, 0], duration_ps=[5, 3, 4], edges=[(0, 1), (1, 2)])
    >>> simulate(graph).start_ps
    array([0, 5, 8])
    """
    check_structure(graph)
    start_ps, finished = _run(
        read_only(graph.resource),
        read_only(graph.duration_ps),
        read_only(graph.priority),
        read_only(graph.release_ps),
        read_only(graph.pred_indptr),
        read_only(graph.pred_indices),
        read_only(graph.servers),
    )
    if finished < graph.n_tasks:
        check_acyclic(graph)
        raise GraphError("the task graph was changed while it was simulated")
    return Schedule(start_ps, start_ps + graph.duration_ps)


@kernel
def _run(
    resource: Int32s,
    duration_ps: Int64s,
    priority: Int64s,
    release_ps: Int64s,
    pred_indptr: Int64s,
    pred_indices: Int64s,
    servers: Int32s,
) -> tuple[Int64s, int]:
    """Start of every task, and how many finished."""
    # One function, longer than a screen: with each phase a kernel of its own it ran at 0.75 of
    # the speed, as such a call hands over seven words, and counts references, per array.
    n, r = resource.size, servers.size
    first, successors = successor_lists(pred_indptr, pred_indices)
    missing = (pred_indptr[1:] - pred_indptr[:-1]).astype(np.int32)
    start_ps = np.empty(n, np.int64)
    # Ready tasks: one heap per resource, in slices of two arrays.
    base, length, idle = _offsets(resource, r), np.zeros(r, np.int64), servers.astype(np.int64)
    best, order = np.empty(n, np.int64), np.empty(n, np.int64)
    # Running tasks by their end, at most one per server; held tasks by their release.
    most = min(n, idle.sum())
    n_running, running_end, running = 0, np.empty(most, np.int64), np.empty(most, np.int64)
    n_held, held_release, held = 0, np.empty(n, np.int64), np.empty(n, np.int64)
    # Resources that may be able to start a task; to scan all would cost r per instant.
    n_changed, changed, is_changed = 0, np.empty(r, np.int64), np.zeros(r, np.bool_)
    now, instant, finished = 0, 0, 0
    any_release = False
    for task in range(n):
        any_release |= release_ps[task] > 0
        if missing[task] == 0:
            push(held_release, held, 0, n_held, release_ps[task], task)
            n_held += 1
    while n_running + n_held > 0:
        following = running_end[0] if n_running > 0 else held_release[0]
        if n_held > 0 and held_release[0] < following:
            following = held_release[0]
        if following > now:  # else a further round at this instant, after zero-length tasks
            now = following
            instant += 1
        while n_held > 0 and held_release[0] == now:
            task = held[0]
            n_held -= 1
            pop(held_release, held, 0, n_held)
            at = resource[task]
            _enqueue(task, at, instant, priority, best, order, base, length)
            n_changed = _note(at, changed, is_changed, n_changed)
        while n_running > 0 and running_end[0] == now:
            task = running[0]
            n_running -= 1
            pop(running_end, running, 0, n_running)
            finished += 1
            at = resource[task]
            idle[at] += 1
            n_changed = _note(at, changed, is_changed, n_changed)
            for edge in range(first[task], first[task + 1]):
                woken = successors[edge]
                missing[woken] -= 1
                if missing[woken] > 0:
                    continue
                if any_release and release_ps[woken] > now:
                    push(held_release, held, 0, n_held, release_ps[woken], woken)
                    n_held += 1
                    continue
                at = resource[woken]
                _enqueue(woken, at, instant, priority, best, order, base, length)
                n_changed = _note(at, changed, is_changed, n_changed)
        while n_changed > 0:
            n_changed -= 1
            at = changed[n_changed]
            is_changed[at] = False
            while idle[at] > 0 and length[at] > 0:
                task = order[base[at]] & _TASK_MASK
                length[at] -= 1
                idle[at] -= 1
                pop(best, order, base[at], length[at])
                start_ps[task] = now
                push(running_end, running, 0, n_running, now + duration_ps[task], task)
                n_running += 1
    return start_ps, finished


@kernel
def _enqueue(
    task: int,
    at: int,
    instant: int,
    priority: Int64s,
    best: Int64s,
    order: Int64s,
    base: Int64s,
    length: Int64s,
) -> None:
    """Make a task ready on its resource."""
    push(best, order, base[at], length[at], priority[task], (instant << _TASK_BITS) | task)
    length[at] += 1


@kernel
def _note(at: int, changed: Int64s, is_changed: NDArray[np.bool_], n_changed: int) -> int:
    """List a resource as changed, once, and return how many are."""
    if is_changed[at]:
        return n_changed
    is_changed[at] = True
    changed[n_changed] = at
    return n_changed + 1


@kernel
def _offsets(resource: Int32s, r: int) -> Int64s:
    """Where each resource's tasks would begin if tasks were sorted by resource."""
    offsets = np.zeros(r + 1, np.int64)
    for task in range(resource.size):
        offsets[resource[task] + 1] += 1
    for index in range(r):
        offsets[index + 1] += offsets[index]
    return offsets
