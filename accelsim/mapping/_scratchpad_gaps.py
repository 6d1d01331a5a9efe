"""Replacement for a given order: which storages wait on chip between two uses, greedily.

Between two uses a storage either waits on chip for all of the time or need not be there at all,
so that a plan of a given order is a set of gaps that it drops; Belady's rule and its kin are
orders in which gaps are granted room.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from accelsim.mapping._scratchpad_problem import Problem, footprint_bytes, positions_of_uses

__all__ = ["Gap", "GapRoom", "dropped_cost", "gap_room", "keep_greedily"]


@dataclass(frozen=True, slots=True)
class Gap:
    """The time between two uses of a storage, during which it may be away.

    Attributes
    ----------
    storage, use : int
        The gap follows the use of that number.
    first, last : int
        Steps between the uses; none where `last` is before `first`.
    size_bytes : int
        Of the storage.
    """

    storage: int
    use: int
    first: int
    last: int
    size_bytes: int

    @property
    def steps(self) -> int:
        """Steps in which it takes room beside tasks that do not use it."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class GapRoom:
    """Gaps of an order, and the room that each step leaves beside its own storages.

    Attributes
    ----------
    gaps : tuple of Gap
    free_bytes : tuple of int
        Of each step.
    uses : list of list of int
        Steps of the uses of each storage.
    """

    gaps: tuple[Gap, ...]
    free_bytes: tuple[int, ...]
    uses: list[list[int]]


def gap_room(problem: Problem, order: Sequence[int], capacity_bytes: int) -> GapRoom:
    """Return the gaps of an order and what room there is for them."""
    uses = positions_of_uses(problem, order)
    gaps = tuple(
        Gap(storage, use, steps[use] + 1, steps[use + 1] - 1, problem.storages[storage].size_bytes)
        for storage, steps in enumerate(uses)
        for use in range(len(steps) - 1)
    )
    free = tuple(capacity_bytes - footprint_bytes(problem, task) for task in order)
    return GapRoom(gaps, free, uses)


def dropped_cost(problem: Problem, dropped: Collection[tuple[int, int]]) -> int:
    """Return the traffic above the compulsory one of dropping gaps.

    Each is a load; the first of a storage that a task makes, and that need not be stored anyway,
    is also a store.
    """
    spilled = {s for s, _ in dropped if not problem.storages[s].in_dram}
    stores = sum(problem.storages[s].size_bytes for s in spilled if not problem.storages[s].kept)
    return stores + sum(problem.storages[s].size_bytes for s, _ in dropped)


def _weight(problem: Problem, gap: Gap, gaps_of: Sequence[int]) -> float:
    """Return the traffic that keeping a gap saves, a store divided over the storage's gaps."""
    storage = problem.storages[gap.storage]
    share = 0.0 if storage.in_dram or storage.kept else 1.0 / gaps_of[gap.storage]
    return gap.size_bytes * (1.0 + share)


_RULES: Final[tuple[Callable[[Gap, float], float], ...]] = (
    lambda gap, weight: weight / (gap.size_bytes * gap.steps),
    lambda gap, weight: weight / gap.steps,
    lambda gap, weight: weight,
)
"""Room is granted in falling order of: traffic saved per byte and step, per step, in all."""


def keep_greedily(
    problem: Problem, room: GapRoom, forced: Collection[tuple[int, int]] = ()
) -> set[tuple[int, int]]:
    """Return the gaps to drop, the best of a few greedy rules.

    Parameters
    ----------
    problem : Problem
    room : GapRoom
        Of the order.
    forced : collection of (int, int)
        Gaps that must be dropped, as storage and use.
    """
    base = {(g.storage, g.use) for g in room.gaps if (g.storage, g.use) in forced}
    open_gaps = [g for g in room.gaps if g.steps > 0 and (g.storage, g.use) not in base]
    gaps_of = [0] * len(problem.storages)
    for gap in open_gaps:
        gaps_of[gap.storage] += 1
    weights = [_weight(problem, gap, gaps_of) for gap in open_gaps]
    best: set[tuple[int, int]] | None = None
    for rule in _RULES:
        scores = [rule(g, w) for g, w in zip(open_gaps, weights, strict=True)]
        ranked = sorted(range(len(open_gaps)), key=lambda i: (-scores[i], open_gaps[i].first))
        dropped = base | _grant(room, [open_gaps[i] for i in ranked])
        if best is None or dropped_cost(problem, dropped) < dropped_cost(problem, best):
            best = dropped
        if len(dropped) == len(base):
            break
    return base if best is None else best


def _grant(room: GapRoom, ranked: Sequence[Gap]) -> set[tuple[int, int]]:
    """Grant room to gaps in turn; return those that find none."""
    free = np.array(room.free_bytes, dtype=np.int64)
    dropped = set()
    for gap in ranked:
        span = free[gap.first : gap.last + 1]
        if int(span.min()) >= gap.size_bytes:
            span -= gap.size_bytes
        else:
            dropped.add((gap.storage, gap.use))
    return dropped
