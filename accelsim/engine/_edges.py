"""Compiled walks over a task graph's edges: successors from predecessors, and order.

A task graph stores whom each task waits for; an engine needs whom each task wakes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.jit import kernel

__all__ = ["read_only", "stuck_tasks", "successor_lists"]


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view, the one form in which arrays of a graph reach a kernel.

    Numba compiles a kernel anew for writable arrays, and unpickled arrays are writable.

    Parameters
    ----------
    array : array
        Any.
    """
    view = array.view()
    view.flags.writeable = False
    return view


@kernel
def successor_lists(
    pred_indptr: NDArray[np.int64], pred_indices: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Turn predecessor lists into successor lists by one counting sort.

    Parameters
    ----------
    pred_indptr : int64[n + 1]
        Where each task's predecessors begin in `pred_indices`.
    pred_indices : int64[e]
        Predecessors, all in ``[0, n)``.

    Returns
    -------
    indptr : int32[n + 1]
        Where each task's successors begin in `indices`.
    indices : int32[e]
        Successors, ascending within a task.  Four bytes, as they decide how much of the
        graph stays in cache.
    """
    n = pred_indptr.size - 1
    # Counts two places up: placing a task then moves its mark to where the next one begins.
    indptr = np.zeros(n + 2, np.int32)
    for edge in range(pred_indices.size):
        indptr[pred_indices[edge] + 2] += 1
    for task in range(n):
        indptr[task + 2] += indptr[task + 1]
    indices = np.empty(pred_indices.size, np.int32)
    for task in range(n):
        for edge in range(pred_indptr[task], pred_indptr[task + 1]):
            mark = pred_indices[edge] + 1
            indices[indptr[mark]] = task
            indptr[mark] += 1
    return indptr[: n + 1], indices


@kernel
def stuck_tasks(
    pred_indptr: NDArray[np.int64], pred_indices: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark the tasks that can never start: those on a cycle or behind one.

    Parameters
    ----------
    pred_indptr : int64[n + 1]
        Where each task's predecessors begin in `pred_indices`.
    pred_indices : int64[e]
        Predecessors, all in ``[0, n)``.

    Returns
    -------
    bool[n]
        True where a topological walk does not arrive; all False for an acyclic graph.

    References
    ----------
    A. B. Kahn, "Topological sorting of large networks", CACM 5 (11), 1962.
    """
    n = pred_indptr.size - 1
    indptr, indices = successor_lists(pred_indptr, pred_indices)
    missing = pred_indptr[1:] - pred_indptr[:-1]
    reached = np.empty(n, np.int32)
    count = 0
    for task in range(n):
        if missing[task] == 0:
            reached[count] = task
            count += 1
    cursor = 0
    while cursor < count:
        task = reached[cursor]
        cursor += 1
        for edge in range(indptr[task], indptr[task + 1]):
            successor = indices[edge]
            missing[successor] -= 1
            if missing[successor] == 0:
                reached[count] = successor
                count += 1
    return missing > 0
