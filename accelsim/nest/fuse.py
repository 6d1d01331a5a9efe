"""Finds how to run a cascade of statements in groups whose tensors stay on chip.

Groups, shared loops, tiles and what stays are chosen together; a shortest path over the places
where groups may part gives the cascade, and what no cascade can beat.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from accelsim.errors import MappingError, nearest
from accelsim.nest._fuse_group import GroupSearch
from accelsim.nest._fuse_loops import Chain
from accelsim.nest._fuse_types import (
    Access,
    FusedDevice,
    FusedGroup,
    FusedStatement,
    FusionLimits,
    FusionObjective,
    Resident,
    SharedLoop,
    Statement,
)
from accelsim.nest.accounting import ACCOUNTINGS, Accounting

__all__ = [
    "Access",
    "FusedDevice",
    "FusedGroup",
    "FusedStatement",
    "Fusion",
    "FusionLimits",
    "FusionObjective",
    "Resident",
    "SharedLoop",
    "Statement",
    "fuse",
]

_OWN: Final = ACCOUNTINGS["accelsim"]


@dataclass(frozen=True, slots=True)
class Fusion:
    """A cascade in groups.

    Attributes
    ----------
    groups : tuple of FusedGroup
        In order of execution.
    energy_pj, latency_s, moved_bits : float
        Of all groups; bits at the outermost memory.
    bound : float
        No grouping within the limits has less of the objective (pJ, s or bits).
    gap : float
        How much more this one has, as a part of `bound`; 0 where it is proven best.
    tried : int
        Arrangements of groups that were looked at.
    searched : int
        Nests of single statements that were searched for.
    """

    groups: tuple[FusedGroup, ...]
    energy_pj: float
    latency_s: float
    moved_bits: float
    bound: float
    gap: float
    tried: int
    searched: int


def fuse(
    statements: Sequence[Statement],
    device: FusedDevice,
    objective: FusionObjective = "energy",
    *,
    outputs: Collection[str] = (),
    rules: Accounting = _OWN,
    limits: FusionLimits | None = None,
) -> Fusion:
    """Return the best groups of a cascade.

    Parameters
    ----------
    statements : sequence of Statement
        In an order in which each comes after those that make what it reads.
    device : FusedDevice
        The arrays, and the memory in which tensors may stay.
    objective : {"energy", "traffic", "latency"}
        What to make small: dynamic pJ, bits at the outermost memory, seconds.
    outputs : collection of str
        Tensors that leave though they are read; those that nobody reads leave anyway.
    rules : Accounting
        What is counted.
    limits : FusionLimits, optional
        A policy: what the search may do.

    Raises
    ------
    MappingError
        If the rules count windows, a statement fits no array, given groups are not the statements
        in their order, or no group that is legal fits the memory.

    Notes
    -----
    A group is consecutive statements under shared loops.  What one makes and another of the group
    reads stays in the fusing memory, a tile at a time; other tensors pass through or stay, too.
    The arrays keep nothing from one iteration of the shared loops to the next.  The bound of a
    group is that of its statements with whole extents, unlimited room and every word moved once;
    for latency, of which nests are chosen per statement, the gap is against that bound.
    """
    if rules.windows or rules.partials_to_all:
        raise MappingError("fusion counts no sliding windows and no partial sums sent to all")
    chain = Chain.of(statements, outputs)
    limits = limits or FusionLimits()
    search = GroupSearch(chain, device, objective, rules, limits)
    path = _Path(search, limits, objective)
    groups = path.shortest()
    total = sum(one.value(objective) for one in groups)
    cycles, bound = sum(one.cycles for one in groups), min(path.bound, total)
    scale = device.frequency_hz if objective == "latency" else 1.0
    return Fusion(
        tuple(groups), sum(one.energy_pj for one in groups), cycles / device.frequency_hz,
        sum(one.moved_bits for one in groups), bound / scale,
        total / bound - 1.0 if bound > 0 else 0.0, path.tried, search.inner.searched,
    )  # fmt: skip


class _Path:
    """Shortest path over the places between statements; a group is priced when it is on it."""

    def __init__(
        self, search: GroupSearch, limits: FusionLimits, objective: FusionObjective
    ) -> None:
        self.search, self.objective = search, objective
        self.count = len(search.chain.statements)
        self.steps = _given(search.chain, limits) or _every(search.chain, limits)
        self.priced: dict[tuple[int, int], FusedGroup | None] = {}
        self.tried = 0
        self.bound = 0.0

    def shortest(self) -> list[FusedGroup]:
        """Return the groups of the shortest path, all priced."""
        while True:
            route, cost = self._route(self._known)
            if math.isinf(cost):
                raise MappingError(self._stuck())
            unknown = [step for step in route if step not in self.priced]
            if not unknown:
                break
            rough = [step for step in unknown if step not in self.search.lower]
            for step in rough:
                self.search.bound(*step)
            for step in () if rough else unknown:
                found = self.search.best(*step)
                self.priced[step] = found
                self.tried += 0 if found is None else found.tried
        self.bound = self._route(self._proven)[1]
        return [group for step in route if (group := self.priced[step]) is not None]

    def _route(self, price: object) -> tuple[list[tuple[int, int]], float]:
        costs, before = [0.0] + [math.inf] * self.count, [0] * (self.count + 1)
        for last in range(1, self.count + 1):
            for first in self.steps[last]:
                if math.isinf(costs[first]):
                    continue
                cost = costs[first] + price((first, last))  # type: ignore[operator]
                if cost < costs[last]:
                    costs[last], before[last] = cost, first
        route, at = [], self.count
        while at > 0 and not math.isinf(costs[at]):
            route.append((before[at], at))
            at = before[at]
        return route[::-1], costs[self.count]

    def _known(self, step: tuple[int, int]) -> float:
        if step not in self.priced:
            return self.search.floor(*step)
        group = self.priced[step]
        return math.inf if group is None else group.value(self.objective)

    def _proven(self, step: tuple[int, int]) -> float:
        if step not in self.priced:
            return self.search.floor(*step)
        group = self.priced[step]
        return math.inf if group is None else group.bound

    def _stuck(self) -> str:
        """Return which statement no group can take."""
        for (first, last), group in self.priced.items():
            if group is None and last == first + 1:
                name = self.search.chain.statements[first].name
                return f"no mapping of `{name}` fits `{self.search.device.memory}` and its array"
        return f"no legal group of statements fits `{self.search.device.memory}`"


def _every(chain: Chain, limits: FusionLimits) -> dict[int, list[int]]:
    """Return for each end of a group the places where it may begin, the longest group first."""
    places = [at for at in range(len(chain.statements) + 1) if chain.may_end(at)]
    return {
        last: [first for first in places if first < last and last - first <= limits.longest]
        for last in range(1, len(chain.statements) + 1)
        if last in places
    } | {last: [] for last in range(len(chain.statements) + 1) if last not in places}


def _given(chain: Chain, limits: FusionLimits) -> dict[int, list[int]]:
    """Return the places of the groups that a policy states; none if it states none."""
    if not limits.groups:
        return {}
    names = [one.name for one in chain.statements]
    stated = [name for group in limits.groups for name in group]
    for name in stated:
        if name not in names:
            raise MappingError(f"no statement `{name}`; {nearest(name, names)}")
    if stated != names:
        raise MappingError(f"groups {stated} are not the statements in their order, {names}")
    steps: dict[int, list[int]] = {last: [] for last in range(len(names) + 1)}
    at = 0
    for group in limits.groups:
        if not chain.may_end(at):
            raise MappingError(
                f"a group may not begin at `{names[at]}`: a running tensor goes back over it"
            )
        steps[at + len(group)] = [at]
        at += len(group)
    return steps
