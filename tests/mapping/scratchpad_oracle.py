"""The least DRAM traffic of tiny scratchpad problems, by trying everything step by step.

It knows nothing of gaps or programs: a state is which tasks have run, where each storage lies and
which have a copy in DRAM; Dijkstra's algorithm finds the cheapest way to the end.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import combinations, count
from random import Random

from accelsim.mapping.scratchpad import Problem, Storage, Task

State = tuple[int, tuple[int, ...], int]  # tasks done, offsets (-1: not on chip), copies in DRAM


def least_traffic(problem: Problem, capacity: int) -> int | None:
    """Return the least traffic in all; None if the problem does not fit."""
    sizes = [s.size_bytes for s in problem.storages]
    copies = sum(1 << n for n, s in enumerate(problem.storages) if s.in_dram)
    start: State = (0, (-1,) * len(sizes), copies)
    best, tie = {start: 0}, count()
    queue = [(0, next(tie), start)]
    while queue:
        cost, _, state = heapq.heappop(queue)
        if best[state] < cost:
            continue
        if state[0] == (1 << len(problem.tasks)) - 1:
            return cost + problem.streamed_bytes
        for extra, after in _steps(problem, capacity, sizes, state):
            if cost + extra < best.get(after, cost + extra + 1):
                best[after] = cost + extra
                heapq.heappush(queue, (cost + extra, next(tie), after))
    return None


def _steps(
    problem: Problem, capacity: int, sizes: list[int], state: State
) -> Iterator[tuple[int, State]]:
    """Yield what may come next: anything leaves, what a task needs comes, the task runs."""
    done, offsets, copies = state
    here = [n for n, at in enumerate(offsets) if at >= 0]
    for number, task in enumerate(problem.tasks):
        ready = all(done >> before & 1 for before in problem.predecessors[number])
        if done >> number & 1 or not ready:
            continue
        for leaving in (set(c) for k in range(len(here) + 1) for c in combinations(here, k)):
            # Whatever leaves and has no copy is stored: useless stores only cost more.
            unsaved = [n for n in leaving if not copies >> n & 1]
            for stored in (c for k in range(len(unsaved) + 1) for c in combinations(unsaved, k)):
                saved = copies | sum(1 << n for n in stored)
                left = [-1 if n in leaving else at for n, at in enumerate(offsets)]
                coming = [n for n in task.reads if left[n] < 0]
                if any(not saved >> n & 1 for n in coming):
                    continue
                cost = sum(sizes[n] for n in (*stored, *coming))
                for placed in _placed(left, [*coming, *task.makes], sizes, capacity):
                    after = done | 1 << number
                    kept = [n for n in task.makes if problem.storages[n].kept]
                    for n in kept:  # an output is written at once: it must be some time
                        cost += sizes[n]
                        saved |= 1 << n
                    yield cost, (after, tuple(placed), saved)
                    for n in kept:
                        cost -= sizes[n]


def _placed(
    offsets: list[int], coming: list[int], sizes: list[int], capacity: int
) -> Iterator[list[int]]:
    if not coming:
        yield list(offsets)
        return
    first, *rest = coming
    for at in range(capacity - sizes[first] + 1):
        apart = all(
            other < 0 or at + sizes[first] <= other or other + sizes[n] <= at
            for n, other in enumerate(offsets)
        )
        if apart:
            yield from _placed(
                [at if n == first else o for n, o in enumerate(offsets)], rest, sizes, capacity
            )


def random_problem(random: Random, tasks: int, largest: int) -> Problem:
    """Return a problem of tasks that each read one to two storages and make one."""
    storages: list[Storage] = [
        Storage(f"in{i}", random.randint(1, largest), in_dram=True)
        for i in range(random.randint(1, 2))
    ]
    made: list[Task] = []
    for number in range(tasks):
        reads = random.sample(range(len(storages)), min(len(storages), random.randint(1, 2)))
        makes = (len(storages),)
        storages.append(
            Storage(f"t{number}", random.randint(1, largest), kept=random.random() < 0.2)
        )
        made.append(Task(f"op{number}", tuple(reads), makes, random.choice((0, 0, 3))))
    return Problem("random", tuple(storages), tuple(made))
