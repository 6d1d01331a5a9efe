"""A plan of a scratchpad: the order, when each storage is on chip and where; and its checker.

The checker replays a plan step by step and trusts nothing that a search says of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from accelsim.errors import ConservationError
from accelsim.mapping._scratchpad_problem import Problem, check_order

__all__ = ["Allocation", "Stay", "check_allocation", "stays_of"]


@dataclass(frozen=True, slots=True, order=True)
class Stay:
    """One uninterrupted presence of a storage on chip, at one place.

    Attributes
    ----------
    storage : int
        Number in the problem.
    first, last : int
        Steps, both included.
    offset_bytes : int
        Address of its first byte.
    loaded : bool
        Whether it comes from DRAM; the task of step `first` makes it otherwise.
    stored : bool
        Whether it is written to DRAM before it goes.
    """

    storage: int
    first: int
    last: int
    offset_bytes: int = 0
    loaded: bool = False
    stored: bool = False


@dataclass(frozen=True, slots=True)
class Allocation:
    """Order, stays and traffic of a problem in a scratchpad.

    Attributes
    ----------
    problem : Problem
    capacity_bytes : int
    order : tuple of int
        Task of each step.
    stays : tuple of Stay
    method : str
        What found it.
    bound_bytes : int
        Proven lower bound of the traffic of every plan of this problem and capacity.
    status : str
        ``optimal`` (traffic equals the bound), ``optimal for the order`` (no less traffic in the
        same order), ``time limit``, or ``heuristic``: nothing is proven.
    wall_s : float
        Duration of the search.
    """

    problem: Problem
    capacity_bytes: int
    order: tuple[int, ...]
    stays: tuple[Stay, ...]
    method: str
    bound_bytes: int
    status: str
    wall_s: float = 0.0

    @property
    def read_bytes(self) -> int:
        """Bytes from DRAM to the scratchpad."""
        return sum(self.problem.storages[s.storage].size_bytes for s in self.stays if s.loaded)

    @property
    def write_bytes(self) -> int:
        """Bytes from the scratchpad to DRAM."""
        return sum(self.problem.storages[s.storage].size_bytes for s in self.stays if s.stored)

    @property
    def traffic_bytes(self) -> int:
        """DRAM traffic in all, what is streamed past the scratchpad included."""
        return self.read_bytes + self.write_bytes + self.problem.streamed_bytes

    @property
    def noncompulsory_bytes(self) -> int:
        """Traffic above the compulsory one: spills, and what is read again."""
        return self.traffic_bytes - self.problem.compulsory_bytes

    @property
    def gap_bytes(self) -> int:
        """Traffic that a better plan could save at most."""
        return self.traffic_bytes - self.bound_bytes

    @property
    def peak_bytes(self) -> int:
        """Highest address in use, which fragmentation may put above the sum of sizes."""
        sizes = self.problem.storages
        return max((s.offset_bytes + sizes[s.storage].size_bytes for s in self.stays), default=0)


def stays_of(
    problem: Problem, uses: Sequence[Sequence[int]], dropped: Iterable[tuple[int, int]]
) -> list[Stay]:
    """Return the stays, without places, of storages held from use to use except where dropped.

    Parameters
    ----------
    problem : Problem
    uses : sequence of sequence of int
        Steps at which each storage is used, from `positions_of_uses`.
    dropped : iterable of (int, int)
        Storage, and number of the use after which it leaves although it is used again.
    """
    leaves: dict[int, set[int]] = {}
    for one, use in dropped:
        leaves.setdefault(one, set()).add(use)
    stays = []
    for number, steps in enumerate(uses):
        if not steps:
            continue
        storage, gone = problem.storages[number], leaves.get(number, set())
        store = storage.kept or bool(gone)  # once: its copy in DRAM never becomes stale
        first = 0
        for use in range(len(steps)):
            if use + 1 < len(steps) and use not in gone:
                continue
            made = first == 0 and not storage.in_dram
            stays.append(Stay(number, steps[first], steps[use], 0, not made, made and store))
            first = use + 1
    return stays


def check_allocation(plan: Allocation) -> None:
    """Replay a plan and raise on the first thing that hardware could not do.

    Raises
    ------
    ConservationError
        If an operand or result is not on chip when its task runs, two storages overlap, one lies
        outside, is loaded although DRAM has no copy, is made twice, or an output is never stored;
        or if the traffic is below the compulsory one or the proven bound.
    """
    problem = plan.problem
    check_order(problem, plan.order)
    starts: list[list[Stay]] = [[] for _ in plan.order]
    for stay in plan.stays:
        if not 0 <= stay.first <= stay.last < len(plan.order):
            raise _broken(plan, stay.storage, f"stays from step {stay.first} to {stay.last}")
        starts[stay.first].append(stay)
    in_dram = {n for n, storage in enumerate(problem.storages) if storage.in_dram}
    present: dict[int, Stay] = {}
    for step, task in enumerate(plan.order):
        for number in [n for n, stay in present.items() if stay.last < step]:
            in_dram |= {number} if present.pop(number).stored else set()
        _arrive(plan, starts[step], task, present, in_dram)
        missing = {*problem.tasks[task].reads, *problem.tasks[task].makes} - present.keys()
        if missing:
            raise _broken(plan, min(missing), f"is not on chip at step {step}")
        _check_places(plan, present, step)
    in_dram |= {n for n, stay in present.items() if stay.stored}
    lost = {n for n, s in enumerate(problem.storages) if s.kept and problem.makers[n] is not None}
    if lost - in_dram:
        raise _broken(plan, min(lost - in_dram), "is an output and is never stored")
    if plan.traffic_bytes < max(plan.bound_bytes, problem.compulsory_bytes):
        raise ConservationError(
            f"{problem.name}: {plan.traffic_bytes} bytes of traffic are below the bound of"
            f" {plan.bound_bytes} or the compulsory {problem.compulsory_bytes}"
        )


def _arrive(
    plan: Allocation, stays: Sequence[Stay], task: int, present: dict[int, Stay], dram: set[int]
) -> None:
    """Put on chip what begins to stay at a step."""
    for stay in stays:
        number = stay.storage
        if number in present:
            raise _broken(plan, number, f"comes at step {stay.first}, but is there")
        if stay.loaded and number not in dram:
            raise _broken(plan, number, f"is loaded at step {stay.first}; DRAM has no copy")
        if not stay.loaded and number not in plan.problem.tasks[task].makes:
            raise _broken(plan, number, f"appears at step {stay.first} out of nothing")
        present[number] = stay


def _check_places(plan: Allocation, present: dict[int, Stay], step: int) -> None:
    """Raise unless what is on chip lies inside, and apart."""
    top, below = 0, -1
    for number, stay in sorted(present.items(), key=lambda item: item[1].offset_bytes):
        if stay.offset_bytes < top:
            other = f"`{plan.problem.storages[below].name}`" if below >= 0 else "address 0"
            raise _broken(plan, number, f"overlaps {other} at step {step}")
        top, below = stay.offset_bytes + plan.problem.storages[number].size_bytes, number
    if top > plan.capacity_bytes:
        raise _broken(plan, below, f"ends at {top} of {plan.capacity_bytes} bytes, step {step}")


def _broken(plan: Allocation, storage: int, what: str) -> ConservationError:
    return ConservationError(
        f"{plan.problem.name}, plan `{plan.method}`:"
        f" `{plan.problem.storages[storage].name}` {what}"
    )
