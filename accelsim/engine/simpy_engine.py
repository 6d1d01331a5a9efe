"""The readable engine: what a task graph means, said on SimPy.

SimPy processes events in the order (time, event priority, order of scheduling).  Two event
priorities are enough to state the rule of this package, instant by instant:

1. At SimPy's normal priority tasks complete, releases come and predecessors report: servers
   fall idle and tasks become ready, in whatever order, for nothing starts yet.
2. At `DISPATCH`, when nothing of that kind is left at this instant, every resource starts its
   best ready tasks, by (priority, ready time, task number), on its idle servers.

A task of length zero that starts in step 2 completes at the same instant, in step 1 of a
further round, which ends in a dispatch of its own.  And so time moves on only when a dispatch
leaves nothing more to happen now.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np
import simpy
from simpy.events import NORMAL, EventPriority

from accelsim.engine.schedule import Schedule
from accelsim.engine.taskgraph import TaskGraph, check

__all__ = ["DISPATCH", "Servers", "simulate"]

DISPATCH = EventPriority(NORMAL + 1)  # of what is due at one instant, this comes last


class Servers:
    """Idle servers and waiting requests of every resource, matched once per round.

    Parameters
    ----------
    env : simpy.Environment
        Where time passes.
    servers : sequence of int
        How many servers each resource has.
    """

    def __init__(self, env: simpy.Environment, servers: Sequence[int]) -> None:
        self.env = env
        self.idle = list(servers)
        # Entries are (priority, ready time, number, event); as numbers differ, events never meet.
        self.waiting: list[list[tuple[int, float, int, Any]]] = [[] for _ in servers]
        self.changed: set[int] = set()  # resources that the coming dispatch will look at

    def request(self, resource: int, priority: int, number: int) -> simpy.Event:
        """Ask for a server now; the event comes when one is granted.

        Parameters
        ----------
        resource : int
            Whose server.
        priority, number : int
            The smaller, the sooner; a priority's requests are served by time, then by number,
            which must differ.
        """
        granted = self.env.event()
        heappush(self.waiting[resource], (priority, self.env.now, number, granted))
        self._call_dispatch(resource)
        return granted

    def release(self, resource: int) -> None:
        """Give a server back."""
        self.idle[resource] += 1
        self._call_dispatch(resource)

    def _call_dispatch(self, resource: int) -> None:
        if not self.changed:
            _Dispatch(self)
        self.changed.add(resource)

    def dispatch(self) -> None:
        """Grant idle servers to the best requests, on all resources before any grant acts."""
        for resource in self.changed:
            while self.waiting[resource] and self.idle[resource] > 0:
                *_, granted = heappop(self.waiting[resource])
                self.idle[resource] -= 1
                granted.succeed()
        self.changed.clear()


class _Dispatch(simpy.Event):
    """Happens now, but after all that is due now at SimPy's normal priority."""

    def __init__(self, servers: Servers) -> None:
        super().__init__(servers.env)
        self._ok, self._value = True, None
        self.callbacks.append(lambda _: servers.dispatch())
        self.env.schedule(self, priority=DISPATCH)


def simulate(graph: TaskGraph) -> Schedule:
    """Run a task graph on its resources, every task a SimPy process.

    Parameters
    ----------
    graph : TaskGraph
        n tasks on r resources; for more than 100,000 tasks use the numba engine.

    Returns
    -------
    Schedule
        Start and end of every task in picoseconds.

    Raises
    ------
    GraphError
        If the graph is inconsistent or cyclic; names the task or the cycle.

    Examples
    --------
    >>> from accelsim.engine import from_edges
    >>> graph = from_edges(resource=[0, 1, 0], duration_ps=[5, 3, 4], edges=[(0, 1), (1, 2)])
    >>> simulate(graph).start_ps
    array([0, 5, 8])
    """
    check(graph)
    env = simpy.Environment()
    servers = Servers(env, graph.servers.tolist())
    lives: list[simpy.Process] = []  # a process is also the event of its own end
    start_ps, end_ps = np.empty(graph.n_tasks, np.int64), np.empty(graph.n_tasks, np.int64)

    def life(
        task: int, resource: int, duration_ps: int, priority: int, release_ps: int
    ) -> Generator[simpy.Event, None, None]:
        for predecessor in graph.predecessors(task).tolist():
            yield lives[predecessor]
        if release_ps > env.now:
            yield env.timeout(release_ps - env.now)
        yield servers.request(resource, priority, task)
        start_ps[task] = env.now
        yield env.timeout(duration_ps)
        end_ps[task] = env.now
        servers.release(resource)

    columns = graph.resource, graph.duration_ps, graph.priority, graph.release_ps
    for task, row in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        lives.append(env.process(life(task, *row)))
    env.run()
    return Schedule(start_ps, end_ps)
