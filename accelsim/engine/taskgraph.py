"""The task graph: what lowering produces and an engine runs, as flat arrays.

It knows nothing of models or hardware, only of tasks with durations on resources with servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from accelsim.errors import GraphError

__all__ = ["TaskGraph", "check", "from_edges", "task_graph"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TaskGraph:
    """n tasks with e precedence edges on r resources; make one with `task_graph`.

    Parameters
    ----------
    resource : int32[n]
        The resource whose server each task occupies.
    duration_ps : int64[n]
        For how long, in picoseconds.
    priority : int64[n]
        The smaller, the earlier among ready tasks.
    release_ps : int64[n]
        Earliest start in picoseconds.
    pred_indptr : int64[n + 1]
        Where each task's predecessors begin in `pred_indices` (CSR).
    pred_indices : int64[e]
        Tasks that must have finished before.
    size_bytes : int64[n]
        Bytes that each task moves.
    energy_pj : float64[n]
        Energy of each task in picojoules.
    owner : int32[n]
        Record of the operator that each task belongs to, -1 for none.
    resource_names : tuple of str
        r names.
    servers : int32[r]
        How many tasks each resource runs at once.
    """

    resource: NDArray[np.int32]
    duration_ps: NDArray[np.int64]
    priority: NDArray[np.int64]
    release_ps: NDArray[np.int64]
    pred_indptr: NDArray[np.int64]
    pred_indices: NDArray[np.int64]
    size_bytes: NDArray[np.int64]
    energy_pj: NDArray[np.float64]
    owner: NDArray[np.int32]
    resource_names: tuple[str, ...]
    servers: NDArray[np.int32]

    @property
    def n_tasks(self) -> int:
        """Number of tasks, n."""
        return self.resource.size

    @property
    def n_resources(self) -> int:
        """Number of resources, r."""
        return self.servers.size

    def predecessors(self, task: int) -> NDArray[np.int64]:
        """Tasks that `task` waits for."""
        return self.pred_indices[self.pred_indptr[task] : self.pred_indptr[task + 1]]

    def __repr__(self) -> str:
        return (
            f"TaskGraph({self.n_tasks} tasks, {self.pred_indices.size} edges,"
            f" {self.n_resources} resources)"
        )


def task_graph(
    resource: ArrayLike,
    duration_ps: ArrayLike,
    predecessors_indptr: ArrayLike,
    predecessors_indices: ArrayLike,
    *,
    priority: ArrayLike | None = None,
    release_ps: ArrayLike | None = None,
    size_bytes: ArrayLike | None = None,
    energy_pj: ArrayLike | None = None,
    owner: ArrayLike | None = None,
    resource_names: Sequence[str] | None = None,
    servers: ArrayLike | None = None,
) -> TaskGraph:
    """Make a task graph, with its arrays cast to the engine's types and made read-only.

    An array that already has the right type is not copied: do not write to it afterwards.

    Parameters
    ----------
    resource : int[n]
        The resource of each task.
    duration_ps : int[n]
        Duration of each task in picoseconds.
    predecessors_indptr, predecessors_indices : int[n + 1], int[e]
        Predecessors of each task in CSR form.
    priority : int[n], optional
        The smaller, the earlier among ready tasks; 0 for all unless given.
    release_ps : int[n], optional
        Earliest start in picoseconds; 0 unless given.
    size_bytes : int[n], optional
        Bytes moved; 0 unless given.
    energy_pj : float[n], optional
        Energy in picojoules; 0 unless given.
    owner : int[n], optional
        Index of the owning operator record; -1 (none) unless given.
    resource_names : sequence of str, optional
        ``resource 0``, ``resource 1``, ... unless given.
    servers : int[r], optional
        Servers of each resource; one each unless given.

    Returns
    -------
    TaskGraph
        Not yet checked: see `check`.

    Raises
    ------
    GraphError
        If an array of integers holds something else, or something too large for its type.

    Examples
    --------
    >>> task_graph([0, 1], [5, 3], [0, 0, 1], [0], resource_names=["array", "dram"])
    TaskGraph(2 tasks, 1 edges, 2 resources)
    """
    tasks = _column("resource", resource, np.int32)
    n = tasks.size

    def column(name: str, given: ArrayLike | None, dtype: DTypeLike, default: int) -> NDArray[Any]:
        return _column(name, np.full(n, default, dtype) if given is None else given, dtype)

    r = _resource_count(tasks, resource_names, servers)
    return TaskGraph(
        resource=tasks,
        duration_ps=_column("duration_ps", duration_ps, np.int64),
        priority=column("priority", priority, np.int64, 0),
        release_ps=column("release_ps", release_ps, np.int64, 0),
        pred_indptr=_column("pred_indptr", predecessors_indptr, np.int64),
        pred_indices=_column("pred_indices", predecessors_indices, np.int64),
        size_bytes=column("size_bytes", size_bytes, np.int64, 0),
        energy_pj=column("energy_pj", energy_pj, np.float64, 0),
        owner=column("owner", owner, np.int32, -1),
        resource_names=_names(r) if resource_names is None else tuple(resource_names),
        servers=_column("servers", np.ones(r, np.int32) if servers is None else servers, np.int32),
    )


def from_edges(
    resource: ArrayLike, duration_ps: ArrayLike, edges: Iterable[tuple[int, int]], **columns: Any
) -> TaskGraph:
    """Make a task graph from (predecessor, successor) pairs: for small graphs, by hand.

    Parameters
    ----------
    resource, duration_ps : int[n]
        As in `task_graph`.
    edges : iterable of (int, int)
        Predecessor and successor of each edge.
    **columns
        Further arguments of `task_graph`.

    Returns
    -------
    TaskGraph
        Not yet checked: see `check`.

    Raises
    ------
    GraphError
        If an edge leads to a task that does not exist.

    Examples
    --------
    >>> from_edges([0, 0, 0], [5, 3, 4], [(0, 2), (1, 2)]).predecessors(2)
    array([0, 1])
    """
    n = np.size(np.asarray(resource))
    pairs = np.array(list(edges), np.int64).reshape(-1, 2)
    for predecessor, successor in pairs[(pairs[:, 1] < 0) | (pairs[:, 1] >= n)][:1]:
        raise GraphError(
            f"edge {predecessor} -> {successor}: task {successor} does not exist"
            f" ({n} tasks, counted from 0)"
        )
    pairs = pairs[np.argsort(pairs[:, 1], kind="stable")]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(pairs[:, 1], minlength=n))])
    return task_graph(resource, duration_ps, indptr, pairs[:, 0], **columns)


def check(graph: TaskGraph) -> None:
    """Refuse a graph that no engine can run.

    Parameters
    ----------
    graph : TaskGraph
        Any; 1,000,000 tasks take about 0.05 s.

    Raises
    ------
    GraphError
        For arrays of differing lengths or the wrong type, a resource or predecessor that does
        not exist, a resource without servers, a negative duration or release, times that
        could exceed int64 picoseconds, or a cycle, which it spells out.

    Examples
    --------
    >>> check(from_edges([0, 0, 0], [1, 1, 1], [(0, 2), (2, 1), (1, 2)]))
    Traceback (most recent call last):
    ...
    accelsim.errors.GraphError: cycle: 1 -> 2 -> 1
    """
    # Compiled, so loaded on first use: importing this module costs NumPy only.
    from accelsim.engine._check import check_acyclic, check_structure

    check_structure(graph)
    check_acyclic(graph)


def _column(name: str, values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    given = np.asarray(values)
    try:
        with np.errstate(invalid="ignore"):
            cast = np.ascontiguousarray(given, dtype=dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise GraphError(f"{name}: {error}") from None
    if cast.dtype.kind == "i" and given.dtype != cast.dtype and not np.array_equal(cast, given):
        raise GraphError(f"{name}: not all of its values are integers that fit {cast.dtype}")
    view = cast.view()
    view.flags.writeable = False
    return view


def _resource_count(
    resource: NDArray[np.int32], names: Sequence[str] | None, servers: ArrayLike | None
) -> int:
    if names is not None:
        return len(names)
    if servers is not None:
        return np.size(np.asarray(servers))
    return int(resource.max(initial=-1)) + 1


def _names(r: int) -> tuple[str, ...]:
    return tuple(f"resource {index}" for index in range(r))
