"""Orders of tasks: the one with the lowest peak of live bytes, depth first, and small changes.

The lowest peak is found step by step over sets of tasks done, which is exact as long as their
number stays below the width of the beam (Ahn et al., "Ordering Chaos", MLSys 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from accelsim.mapping._scratchpad_problem import (
    Problem,
    footprint_bytes,
    largest_footprint_bytes,
)

__all__ = ["PeakOrder", "depth_first", "least_excess", "live_peak_bytes", "lowest_peak", "moved"]


@dataclass(frozen=True, slots=True)
class PeakOrder:
    """An order and the most bytes that it has live at once.

    Attributes
    ----------
    order : tuple of int
    peak_bytes : int
        Room that it needs to run without traffic above the compulsory one.
    exact : bool
        Whether no order has a lower one.
    """

    order: tuple[int, ...]
    peak_bytes: int
    exact: bool


@dataclass(slots=True)
class _Live:
    """What is live once a set of tasks has run, and what the best order of them costs."""

    cost: tuple[int, int]
    live_bytes: int
    ready: int
    last: int
    past: _Live | None

    def order(self) -> tuple[int, ...]:
        """Return the tasks that have run."""
        tasks, state = [], self
        while state.past is not None:
            tasks.append(state.last)
            state = state.past
        return tuple(reversed(tasks))


class _Liveness:
    """Counts what running a task makes live, and what it ends."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.need = [footprint_bytes(problem, t) for t in range(len(problem.tasks))]
        self.users = [
            sum(1 << t for t in readers) | (0 if maker is None else 1 << maker)
            for readers, maker in zip(problem.readers, problem.makers, strict=True)
        ]

    def run(self, done: int, live_bytes: int, task: int) -> tuple[int, int]:
        """Return the bytes on chip while a task runs, and those still needed after it."""
        problem, after = self.problem, done | 1 << task
        here = left = 0
        for number in (*problem.tasks[task].reads, *problem.tasks[task].makes):
            size, users = problem.storages[number].size_bytes, self.users[number]
            if users & done:  # live already: begun, and this task was still to come
                here += size
            if users & ~after:
                left += size
        return live_bytes - here + self.need[task], live_bytes - here + left


def live_peak_bytes(problem: Problem, order: Sequence[int]) -> int:
    """Return the room that an order needs for no traffic above the compulsory one.

    Storages that lie in DRAM count from their first use to their last.
    """
    liveness, done, live, peak = _Liveness(problem), 0, 0, 0
    for task in order:
        here, live = liveness.run(done, live, task)
        peak, done = max(peak, here), done | 1 << task
    return peak


def lowest_peak(problem: Problem, width: int = 200) -> PeakOrder:
    """Return the order with the lowest peak of live bytes.

    Parameters
    ----------
    problem : Problem
    width : int
        Sets of tasks that are followed at once; the result is exact where more are never there.
    """
    simple = min(
        tuple(range(len(problem.tasks))), depth_first(problem),
        key=lambda order: live_peak_bytes(problem, order),
    )  # fmt: skip
    highest = live_peak_bytes(problem, simple)
    if highest == largest_footprint_bytes(problem):
        return PeakOrder(simple, highest, exact=True)

    def cost(before: tuple[int, int], here: int) -> tuple[int, int] | None:
        peak = max(before[0], here)
        return None if peak >= highest else (peak, before[1] + here)

    order, exact = _best_order(problem, width, cost)
    if order is None:
        return PeakOrder(simple, highest, exact)
    return PeakOrder(order, live_peak_bytes(problem, order), exact)


def least_excess(problem: Problem, limit_bytes: int, width: int) -> tuple[int, ...]:
    """Return an order with little live above a limit, summed over steps: what has to be spilled.

    Parameters
    ----------
    problem : Problem
    limit_bytes : int
        Of the scratchpad.
    width : int
        Sets of tasks that are followed at once.
    """

    def cost(before: tuple[int, int], here: int) -> tuple[int, int] | None:
        return before[0] + max(here - limit_bytes, 0), max(before[1], here)

    order, _ = _best_order(problem, width, cost)
    return tuple(range(len(problem.tasks))) if order is None else order


def _best_order(
    problem: Problem, width: int, cost: Callable[[tuple[int, int], int], tuple[int, int] | None]
) -> tuple[tuple[int, ...] | None, bool]:
    """Return the cheapest order that the beam meets, and whether it never had to leave any out.

    A cost that is None ends an order.  Costs must never fall from step to step.
    """
    liveness = _Liveness(problem)
    before = [sum(1 << p for p in preds) for preds in problem.predecessors]
    followers = _followers(problem)
    ready = sum(1 << task for task, needed in enumerate(before) if not needed)
    layer = {0: _Live((0, 0), 0, ready, -1, None)}
    exact = True
    for _ in problem.tasks:
        nexts: dict[int, _Live] = {}
        for done, state in layer.items():
            for task in _bits(state.ready):
                here, live = liveness.run(done, state.live_bytes, task)
                after, spent = done | 1 << task, cost(state.cost, here)
                other = nexts.get(after)
                if spent is None or (other is not None and spent >= other.cost):
                    continue
                ready = state.ready & ~(1 << task)
                ready |= sum(1 << t for t in followers[task] if not before[t] & ~after)
                nexts[after] = _Live(spent, live, ready, task, state)
        if len(nexts) > width:
            exact = False
            ranked = sorted(nexts.items(), key=lambda i: (i[1].cost[0], i[1].live_bytes, i[0]))
            nexts = dict(ranked[:width])
        layer = nexts
    return next((state.order() for state in layer.values()), None), exact


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _followers(problem: Problem) -> list[set[int]]:
    """Return for each task those that wait for it."""
    after: list[set[int]] = [set() for _ in problem.tasks]
    for task, preds in enumerate(problem.predecessors):
        for before in preds:
            after[before].add(task)
    return after


def depth_first(problem: Problem) -> tuple[int, ...]:
    """Return the order that finishes what the last task needs first, operand by operand."""
    order: list[int] = []
    seen: set[int] = set()
    for root in range(len(problem.tasks)):
        stack = [(root, iter(sorted(problem.predecessors[root], reverse=True)))]
        while stack and root not in seen:
            task, waiting = stack[-1]
            child = next((t for t in waiting if t not in seen), None)
            if child is not None:
                stack.append((child, iter(sorted(problem.predecessors[child], reverse=True))))
                continue
            stack.pop()
            if task not in seen:
                seen.add(task)
                order.append(task)
    return tuple(order)


def moved(problem: Problem, order: Sequence[int], random: Random) -> Iterator[tuple[int, ...]]:
    """Yield legal orders in which some tasks in a row come earlier or later, at random.

    It ends when many proposals in a row were not legal, as in a chain.
    """
    count, refused = len(order), 0
    while count > 1 and refused < 50 * count:
        length = random.choice((1, 1, 2, 3, 5, 8))
        start = random.randrange(count)
        stop = min(start + length, count)
        to = start + random.choice((-1, 1)) * random.randint(1, 16)
        low, high = (to, start) if to < start else (stop, stop + to - start)
        refused += 1
        if low < 0 or high > count:
            continue
        first, second = (order[low:high], order[start:stop])
        if to > start:
            first, second = second, first
        here = set(first)  # what comes second must wait for nothing of the first to come first
        if any(problem.predecessors[task] & here for task in second):
            continue
        refused = 0
        begin, end = min(low, start), max(high, stop)
        yield (*order[:begin], *second, *first, *order[end:])
