"""The critical path: the chain of tasks, by precedence or by waiting for a server, to the end."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelsim.engine import Schedule, TaskGraph
from accelsim.jit import kernel

__all__ = ["critical_path"]

Ints = npt.NDArray[np.int64]


@kernel
def _walk(
    start: Ints, end: Ints, resource: npt.NDArray[np.int32], indptr: Ints, indices: Ints,
    order: Ints, first: Ints,
) -> Ints:  # fmt: skip
    """Walk back from the last task to finish; `order` sorts tasks by (resource, end)."""
    path = np.empty(start.size, np.int64)
    seen = np.zeros(start.size, np.bool_)
    length, task = 0, 0
    for candidate in range(end.size):  # of several that end last, the last in program order
        if end[candidate] >= end[task]:
            task = candidate
    while task >= 0 and not seen[task]:
        seen[task] = True
        path[length] = task
        length += 1
        cause = -1
        for e in range(indptr[task], indptr[task + 1]):
            if end[indices[e]] == start[task] and not seen[indices[e]]:
                cause = indices[e]
        if cause < 0 and start[task] > 0:
            # Nothing it needed ended just then, so it waited for a server of its resource.
            low, high = first[resource[task]], first[resource[task] + 1]
            while low < high:
                middle = (low + high) // 2
                if end[order[middle]] < start[task]:
                    low = middle + 1
                else:
                    high = middle
            while low < first[resource[task] + 1] and end[order[low]] == start[task]:
                if not seen[order[low]]:
                    cause = order[low]
                    break
                low += 1
        task = cause
    return path[:length][::-1].copy()


def critical_path(graph: TaskGraph, schedule: Schedule) -> Ints:
    """Return the tasks of one critical path, first to last.

    Parameters
    ----------
    graph : TaskGraph
    schedule : Schedule
        Of `graph`.

    Notes
    -----
    A task's cause is a predecessor that ended when it started, else a task of its resource that
    did.  Where a release time was the cause, the path begins there.
    """
    if graph.n_tasks == 0:
        return np.empty(0, np.int64)
    order = np.lexsort((schedule.end_ps, graph.resource)).astype(np.int64)
    counts = np.bincount(graph.resource, minlength=graph.n_resources)
    first = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    found: Ints = _walk(
        schedule.start_ps, schedule.end_ps, graph.resource, graph.pred_indptr,
        graph.pred_indices, order, first,
    )  # fmt: skip
    return found
