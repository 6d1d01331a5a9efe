"""What a scratchpad has to hold: storages, and tasks that read and make them in some legal order.

`Problem` says what must be computed, whatever the scratchpad's size; `footprint_bytes` and the
compulsory traffic follow from it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from accelsim.errors import GraphError, InfeasibleError

__all__ = [
    "Problem",
    "Storage",
    "Task",
    "ancestors",
    "check_order",
    "footprint_bytes",
    "largest_footprint_bytes",
    "positions_of_uses",
    "require_room",
]


@dataclass(frozen=True, slots=True)
class Storage:
    """One array that is on chip as a whole, or not at all.

    Parameters
    ----------
    name : str
        Unique within its problem.
    size_bytes : int
        At least 1.
    in_dram : bool
        Whether it lies in DRAM at the start (an input, a weight); a task makes it otherwise.
    kept : bool
        Whether it must lie in DRAM at the end (an output).
    """

    name: str
    size_bytes: int
    in_dram: bool = False
    kept: bool = False

    def __post_init__(self) -> None:
        if self.size_bytes < 1:
            raise GraphError(f"storage `{self.name}`: {self.size_bytes} bytes are less than 1")


@dataclass(frozen=True, slots=True)
class Task:
    """One operator: every storage it reads or makes is on chip while it runs.

    Parameters
    ----------
    name : str
        Unique within its problem.
    reads, makes : tuple of int
        Numbers of storages, each once.
    streamed_bytes : int
        What it moves between DRAM and the unit past the scratchpad whenever it runs.
    after : tuple of int
        Tasks that must run before it for another reason than a storage that they make.
    """

    name: str
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    streamed_bytes: int = 0
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Tasks over storages; the order of `tasks` is the given one, and is legal.

    Raises
    ------
    GraphError
        If a storage has no or several makers, is read before it is made in the given order,
        or a name stands twice.

    Examples
    --------
    >>> x, y = Storage("x", 8, in_dram=True), Storage("y", 4, kept=True)
    >>> one = Problem("one", (x, y), (Task("f", reads=(0,), makes=(1,)),))
    >>> one.compulsory_bytes, one.makers
    (12, (None, 0))
    """

    name: str
    storages: tuple[Storage, ...]
    tasks: tuple[Task, ...]
    makers: tuple[int | None, ...] = field(init=False)
    readers: tuple[tuple[int, ...], ...] = field(init=False)
    predecessors: tuple[frozenset[int], ...] = field(init=False)

    def __post_init__(self) -> None:
        makers: list[int | None] = [None] * len(self.storages)
        readers: list[list[int]] = [[] for _ in self.storages]
        for number, task in enumerate(self.tasks):
            for storage in task.makes:
                if makers[storage] is not None or self.storages[storage].in_dram:
                    raise GraphError(
                        f"{self.name}: `{self.storages[storage].name}` is made by"
                        f" `{task.name}`, but is already there"
                    )
                makers[storage] = number
            for storage in task.reads:
                readers[storage].append(number)
        object.__setattr__(self, "makers", tuple(makers))
        object.__setattr__(self, "readers", tuple(map(tuple, readers)))
        before = tuple(
            frozenset(task.after) | {maker for s in task.reads if (maker := makers[s]) is not None}
            for task in self.tasks
        )
        object.__setattr__(self, "predecessors", before)
        _check_names(self)
        check_order(self, range(len(self.tasks)))

    @property
    def streamed_bytes(self) -> int:
        """Bytes that pass the scratchpad by, in any order and at any size."""
        return sum(task.streamed_bytes for task in self.tasks)

    @property
    def compulsory_bytes(self) -> int:
        """Traffic of a scratchpad without limit: inputs read once, outputs written once.

        What is streamed is part of it.
        """
        read = sum(
            s.size_bytes
            for s, readers in zip(self.storages, self.readers, strict=True)
            if s.in_dram and readers
        )
        kept = sum(s.size_bytes for s in self.storages if s.kept and not s.in_dram)
        return read + kept + self.streamed_bytes


def _check_names(problem: Problem) -> None:
    for what, names in (
        ("storages", [s.name for s in problem.storages]),
        ("tasks", [t.name for t in problem.tasks]),
    ):
        twice = {n for n in names if names.count(n) > 1} if len(set(names)) < len(names) else ()
        if twice:
            raise GraphError(f"{problem.name}: two {what} are named `{min(twice)}`")
    for task in problem.tasks:
        touched = [*task.reads, *task.makes]
        if len(set(touched)) < len(touched):
            raise GraphError(f"{problem.name}: `{task.name}` names a storage twice")
    for number, storage in enumerate(problem.storages):
        if not storage.in_dram and problem.makers[number] is None:
            raise GraphError(f"{problem.name}: nothing makes `{storage.name}`, and DRAM lacks it")


def check_order(problem: Problem, order: Sequence[int]) -> None:
    """Raise unless an order runs every task once, each after what it needs.

    Raises
    ------
    GraphError
        Names the task, and the one that must come before it.
    """
    if sorted(order) != list(range(len(problem.tasks))):
        raise GraphError(f"{problem.name}: the order does not run every task once")
    done: set[int] = set()
    for task in order:
        missing = problem.predecessors[task] - done
        if missing:
            raise GraphError(
                f"{problem.name}: `{problem.tasks[task].name}` runs before"
                f" `{problem.tasks[min(missing)].name}`, which it needs"
            )
        done.add(task)


def footprint_bytes(problem: Problem, task: int) -> int:
    """Return the bytes of all that a task reads and makes."""
    one = problem.tasks[task]
    return sum(problem.storages[s].size_bytes for s in (*one.reads, *one.makes))


def largest_footprint_bytes(problem: Problem) -> int:
    """Return the smallest scratchpad that can run every task."""
    return max((footprint_bytes(problem, t) for t in range(len(problem.tasks))), default=0)


def require_room(problem: Problem, capacity_bytes: int) -> None:
    """Raise unless each task's storages fit at once.

    Raises
    ------
    InfeasibleError
        Names the task with the largest footprint, what it needs and what is short.
    """
    sizes = [footprint_bytes(problem, t) for t in range(len(problem.tasks))]
    if max(sizes, default=0) <= capacity_bytes:
        return
    worst = max(range(len(sizes)), key=sizes.__getitem__)
    task = problem.tasks[worst]
    parts = sorted((problem.storages[s] for s in (*task.reads, *task.makes)),
                   key=lambda s: -s.size_bytes)  # fmt: skip
    shown = ", ".join(f"`{s.name}` {s.size_bytes} bytes" for s in parts[:3])
    raise InfeasibleError(
        f"`{task.name}` of `{problem.name}` in `scratchpad`", sizes[worst], capacity_bytes,
        "bytes", f"its operands and results are {shown}; a smaller batch or image, or weights"
        " streamed past it, would help",
    )  # fmt: skip


def positions_of_uses(problem: Problem, order: Sequence[int]) -> list[list[int]]:
    """Return for each storage the steps at which a task makes or reads it, in order."""
    uses: list[list[int]] = [[] for _ in problem.storages]
    for step, task in enumerate(order):
        one = problem.tasks[task]
        for storage in (*one.reads, *one.makes):
            uses[storage].append(step)
    return uses


def ancestors(problem: Problem) -> list[int]:
    """Return for each task the set of all that must run before it, as bits of an integer."""
    found = [0] * len(problem.tasks)
    for task in range(len(problem.tasks)):  # the given order is legal
        for before in problem.predecessors[task]:
            found[task] |= found[before] | 1 << before
    return found
