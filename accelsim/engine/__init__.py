"""Event simulation of task graphs: one meaning, two engines.

A task occupies one server of one resource for its duration, without pre-emption.  It is ready
when all its predecessors have finished and its release time has come.  When a server is free,
the ready task with the smallest (priority, ready time, task number) starts.  All completions at
an instant are processed before any start at that instant.

`accelsim.engine.simpy_engine` states that in words; `accelsim.engine.numba_engine` is the same
over flat arrays, for speed.  They agree to the picosecond on every task.
"""

from __future__ import annotations

from importlib import import_module

from accelsim.engine.schedule import Schedule, busy_ps, verify
from accelsim.engine.taskgraph import TaskGraph, check, from_edges, task_graph
from accelsim.errors import UnknownNameError

__all__ = [
    "ENGINES",
    "Schedule",
    "TaskGraph",
    "busy_ps",
    "check",
    "from_edges",
    "simulate",
    "task_graph",
    "verify",
]

ENGINES = {
    "numba": "accelsim.engine.numba_engine",
    "simpy": "accelsim.engine.simpy_engine",
}


def simulate(graph: TaskGraph, engine: str = "numba") -> Schedule:
    """Run a task graph on its resources.

    Parameters
    ----------
    graph : TaskGraph
        n tasks on r resources.
    engine : {"numba", "simpy"}
        Both give the same schedule; numba is a hundred times faster.  Each is loaded on first use.

    Returns
    -------
    Schedule
        Start and end of every task in picoseconds.

    Raises
    ------
    UnknownNameError
        For another engine.
    GraphError
        If the graph is inconsistent or cyclic; names the task or the cycle.

    Examples
    --------
    Two servers; of the three tasks the last has the best priority:

    >>> graph = from_edges([0, 0, 0], [5, 3, 4], [], priority=[1, 1, 0], servers=[2])
    >>> simulate(graph).start_ps
    array([0, 4, 0])
    >>> simulate(graph, engine="simpy").start_ps
    array([0, 4, 0])
    """
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    run = import_module(ENGINES[engine]).simulate
    schedule: Schedule = run(graph)
    return schedule
