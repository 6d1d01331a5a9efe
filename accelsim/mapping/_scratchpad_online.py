"""Baselines: a given order, storages loaded on demand, and a rule for what has to leave.

A victim is evicted until there is room; dead storages leave at once.  Addresses are planned ahead
where they can be; otherwise each storage goes into the smallest hole, and fragmentation evicts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from accelsim.errors import UnknownNameError
from accelsim.mapping._scratchpad_places import place
from accelsim.mapping._scratchpad_plan import Stay
from accelsim.mapping._scratchpad_problem import Problem, positions_of_uses

__all__ = ["EVICTIONS", "on_demand"]

EVICTIONS: Final = ("none", "lru", "belady")
"""Rules: keep nothing from task to task; evict what was used longest ago; what is used next
last, the larger one of equals (Belady, IBM Systems Journal 5(2), 1966)."""


@dataclass(slots=True)
class _Chip:
    """What is on chip, where and since when; and what has left."""

    problem: Problem
    uses: list[list[int]]
    capacity_bytes: int
    movable: bool  # whether room is counted, and addresses are given later
    offset: dict[int, int] = field(default_factory=dict)
    since: dict[int, int] = field(default_factory=dict)
    loaded: dict[int, bool] = field(default_factory=dict)
    stored: set[int] = field(default_factory=set)
    stays: list[Stay] = field(default_factory=list)

    def size(self, storage: int) -> int:
        return self.problem.storages[storage].size_bytes

    def next_use(self, storage: int, step: int) -> int:
        """Return the next step at or after this one that uses it, past the end if none does."""
        return next((u for u in self.uses[storage] if u >= step), len(self.problem.tasks))

    def hole(self, size: int) -> int | None:
        """Return the start of the smallest hole that takes so many bytes."""
        best, room, top = None, self.capacity_bytes + 1, 0
        if self.movable:
            return 0 if sum(map(self.size, self.offset)) + size <= self.capacity_bytes else None
        taken = sorted((at, at + self.size(n)) for n, at in self.offset.items())
        for low, high in [*taken, (self.capacity_bytes, self.capacity_bytes)]:
            if size <= low - top < room:
                best, room = top, low - top
            top = high
        return best

    def arrive(self, storage: int, at: int, step: int, *, loaded: bool) -> None:
        self.offset[storage], self.since[storage] = at, step
        self.loaded[storage] = loaded

    def leave(self, storage: int, step: int) -> None:
        """Take a storage off before a step; store it first if anybody will want it."""
        one = self.problem.storages[storage]
        wanted = one.kept or self.next_use(storage, step) < len(self.problem.tasks)
        store = wanted and not one.in_dram and storage not in self.stored
        if store:
            self.stored.add(storage)
        self.stays.append(
            Stay(storage, self.since.pop(storage), step - 1, self.offset.pop(storage),
                 self.loaded.pop(storage), store)
        )  # fmt: skip


def _lru(chip: _Chip, storage: int, step: int) -> tuple[int, int]:
    last = max((u for u in chip.uses[storage] if u < step), default=-1)
    return last, -chip.size(storage)


def _belady(chip: _Chip, storage: int, step: int) -> tuple[int, int]:
    return -chip.next_use(storage, step), -chip.size(storage)


_FIRST_TO_LEAVE: Final[dict[str, Callable[[_Chip, int, int], tuple[int, int]]]] = {
    "none": _lru, "lru": _lru, "belady": _belady,
}  # fmt: skip


def on_demand(
    problem: Problem, order: Sequence[int], capacity_bytes: int, eviction: str, *,
    planned: bool = True,
) -> tuple[Stay, ...]:  # fmt: skip
    """Return the stays of a given order with storages loaded when a task needs them.

    Parameters
    ----------
    problem : Problem
        Each task's storages fit at once.
    order : sequence of int
    capacity_bytes : int
    eviction : str
        One of `EVICTIONS`.
    planned : bool
        Whether victims are chosen by sizes alone and addresses planned afterwards, where that
        succeeds; otherwise a storage gets its address when it comes, and keeps it.

    Raises
    ------
    UnknownNameError
        If there is no such rule.
    """
    if eviction not in _FIRST_TO_LEAVE:
        raise UnknownNameError("eviction rule", eviction, EVICTIONS)
    if planned:
        sizes = [s.size_bytes for s in problem.storages]
        stays = _run(problem, order, capacity_bytes, eviction, movable=True)
        placed = place(stays, sizes, capacity_bytes)
        if placed.stays is not None:
            return placed.stays
    return _run(problem, order, capacity_bytes, eviction, movable=False)


def _run(
    problem: Problem, order: Sequence[int], capacity_bytes: int, eviction: str, *, movable: bool
) -> tuple[Stay, ...]:
    """Run the tasks in order; return what was on chip when and, unless movable, where."""
    chip = _Chip(problem, positions_of_uses(problem, order), capacity_bytes, movable)
    for step, number in enumerate(order):
        task = problem.tasks[number]
        for storage in sorted(chip.offset):
            if eviction == "none" or chip.next_use(storage, step) >= len(order):
                chip.leave(storage, step)
        needed = (*task.reads, *task.makes)
        coming = [n for n in needed if n not in chip.offset]
        if not _make_room(chip, coming, set(needed), step, eviction):
            _lay_out_anew(chip, needed, coming, step)
        for storage in coming:
            chip.loaded[storage] = storage not in task.makes
    for storage in sorted(chip.offset):
        chip.leave(storage, len(order))
    return tuple(sorted(chip.stays, key=lambda s: (s.first, s.storage)))


def _make_room(
    chip: _Chip, coming: Sequence[int], pinned: Collection[int], step: int, eviction: str
) -> bool:
    """Bring storages into holes, evicting others; say whether all found one."""
    rank = _FIRST_TO_LEAVE[eviction]
    for storage in sorted(coming, key=lambda n: -chip.size(n)):
        while (at := chip.hole(chip.size(storage))) is None:
            victims = [n for n in chip.offset if n not in pinned]
            if not victims:
                return False
            chip.leave(min(victims, key=lambda n: rank(chip, n, step)), step)
        chip.arrive(storage, at, step, loaded=True)
    return True


def _lay_out_anew(chip: _Chip, needed: Sequence[int], coming: Sequence[int], step: int) -> None:
    """Pack what a task needs from address 0 on; what lay there before is moved through DRAM."""
    for storage in needed:
        if storage in coming:
            chip.offset.pop(storage, None)
            chip.since.pop(storage, None)
            chip.loaded.pop(storage, None)
    for storage in sorted(chip.offset):
        chip.leave(storage, step)
    at = 0
    for storage in needed:
        chip.arrive(storage, at, step, loaded=True)
        at += chip.size(storage)
