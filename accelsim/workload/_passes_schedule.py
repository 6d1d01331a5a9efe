"""Lays the Einsums of a cascade on traversals of a rank: what runs in each, and what it reads.

What a later traversal needs again is read from memory where it was kept, and computed again from
what is where it was not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from accelsim.errors import GraphError
from accelsim.workload._cascade_core import MOVES, Cascade, Einsum, Reference
from accelsim.workload._passes_levels import Levels, along

__all__ = ["Schedule", "schedule", "streams", "whole"]


@dataclass(slots=True)
class Schedule:
    """Traversal -> Einsums that run in it; tensor -> traversals that read or write it.

    `made_along` are the tensors that Einsums make along the rank; all others that are read along
    it come from memory.
    """

    group: tuple[str, ...]
    made_along: frozenset[str]
    runs: dict[int, dict[str, None]] = field(default_factory=dict)
    reads: dict[str, set[int]] = field(default_factory=dict)
    writes: dict[str, set[int]] = field(default_factory=dict)

    def first_run(self, einsum: str) -> int | None:
        """Return the first traversal in which an Einsum runs; None if it runs in none."""
        return min(
            (number for number, names in self.runs.items() if einsum in names), default=None
        )


def schedule(
    cascade: Cascade, found: Levels, group: tuple[str, ...], stored: Collection[str] = ()
) -> Schedule:
    """Return what runs in each traversal.

    Parameters
    ----------
    cascade : Cascade
        The Einsums.
    found : Levels
        Their earliest traversals.
    group : tuple of str
        The ranks that together are the one that is traversed, the outermost first.
    stored : collection of str
        Tensors that are kept in memory for later traversals.  Those that have not all ranks of
        the group, one value per part, are kept without being named: to make them anew would take
        a traversal of everything.

    Raises
    ------
    GraphError
        If a tensor to be kept is none that an Einsum makes along the rank.
    """
    made_along = {
        one.made.tensor: one
        for one in cascade.einsums
        if along(one.made, group[0]) is not None and not _seen_again(one, group[0])
    }
    for name in stored:
        if name not in made_along:
            legal = ", ".join(made_along) or "none"
            raise GraphError(
                f"cascade `{cascade.name}`: `{name}` is not made along `{group[0]}`;"
                f" legal: {legal}"
            )
    summaries = {
        name
        for name, one in made_along.items()
        if any(along(one.made, rank) is None for rank in group)
    }
    plan = _Plan(
        cascade, found, Schedule(group, frozenset(made_along)), made_along, {*stored, *summaries}
    )
    needed = {name for name in made_along if whole(cascade, name, group[0])}
    for one in cascade.einsums:
        if group[0] not in one.ranks or _seen_again(one, group[0]):
            continue
        name, level = one.made.tensor, found.einsums[one.name]
        output = name in made_along and cascade.tensors[name].kind == "output"
        if name not in made_along or _ends(cascade, one):
            plan.run(one, level)
        if name in needed or output or (name in stored and plan.later(name, level)):
            plan.write(one, level)
    return plan.made


def streams(one: Einsum, read: Reference, rank: str) -> bool:
    """Whether an Einsum reads an operand along a rank."""
    return rank in one.ranks and rank in read.ranks


def _complete_readers(cascade: Cascade, tensor: str, rank: str) -> list[Reference]:
    """Return how a tensor that is made along a rank is read by Einsums that need all of it."""
    maker = cascade.maker(tensor)
    place = None if maker is None else along(maker.made, rank)
    if place is None:
        return []
    found = [o for e in cascade.readers(tensor) for o in e.operands if o.tensor == tensor]
    return [o for o in found if all(name != rank for _, name in o.indices[place].terms)]


def _seen_again(one: Einsum, rank: str) -> bool:
    """Whether an Einsum only looks along a rank at what was made along others: it is read."""
    moved = all(operation in MOVES for operation in one.operations)
    made = along(one.made, rank) is not None
    return made and moved and not any(streams(one, operand, rank) for operand in one.operands)


def whole(cascade: Cascade, tensor: str, rank: str) -> bool:
    """Whether somebody reads all coordinates of a tensor, by another rank than it is made by."""
    maker = cascade.maker(tensor)
    place = None if maker is None else along(maker.made, rank)
    readers = _complete_readers(cascade, tensor, rank)
    return place is not None and any(not o.indices[place].fixed for o in readers)


def _ends(cascade: Cascade, one: Einsum) -> bool:
    """Whether the last value of a running tensor is read."""
    return bool(one.running) and bool(_complete_readers(cascade, one.made.tensor, one.running))


@dataclass(slots=True)
class _Plan:
    cascade: Cascade
    levels: Levels
    made: Schedule
    along: dict[str, Einsum]
    kept: set[str]

    def run(self, one: Einsum, number: int) -> None:
        """Run an Einsum in a traversal, after all that it needs there."""
        names = self.made.runs.setdefault(number, {})
        if one.name in names:
            return
        names[one.name] = None
        for operand in one.operands:
            if not streams(one, operand, self.made.group[0]):
                continue
            maker = self.along.get(operand.tensor)
            if maker is None:  # an input, or made before along another rank
                self.made.reads.setdefault(operand.tensor, set()).add(number)
            elif self.levels.einsums[maker.name] == number:
                self.run(maker, number)
            elif operand.tensor in self.kept:
                self.write(maker, self.levels.einsums[maker.name])
                self.made.reads.setdefault(operand.tensor, set()).add(number)
            else:
                self.run(maker, number)

    def write(self, one: Einsum, number: int) -> None:
        """Make a tensor in a traversal and keep it."""
        self.run(one, number)
        self.made.writes.setdefault(one.made.tensor, set()).add(number)

    def later(self, tensor: str, level: int) -> bool:
        """Whether a later traversal reads a tensor along the rank."""
        readers = self.cascade.readers(tensor)
        return any(self.levels.einsums[reader.name] > level for reader in readers)
