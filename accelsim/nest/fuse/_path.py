"""The groups of a cascade: a shortest path over the places where groups may part.

A group is searched for only if its bound puts it on the path, so that few are.
"""

from __future__ import annotations

import itertools
import math
from typing import Final

from accelsim.errors import MappingError, bytes_text, nearest
from accelsim.nest.fuse._chain import Chain
from accelsim.nest.fuse._group import GroupSearch
from accelsim.nest.fuse._types import FusedGroup, FusionLimits

__all__ = ["GroupPath"]

_OTHERS: Final = 8  # part of the patience that later groups have, where time counts


class GroupPath:
    """Shortest path over the places between statements; a group is priced when it is on it.

    Parameters
    ----------
    search : GroupSearch
    limits : FusionLimits

    Attributes
    ----------
    bound : float
        No groups have less of what the search makes small.
    tried : int
        Arrangements that were looked at.
    """

    def __init__(self, search: GroupSearch, limits: FusionLimits) -> None:
        self.search, self.patience = search, limits.patience
        self.count = len(search.chain.statements)
        self.steps = _given(search.chain, limits) or _every(search.chain, limits)
        self.priced: dict[tuple[int, int], FusedGroup | None] = {}
        self.tried = 0
        self.bound = 0.0

    def shortest(self) -> list[FusedGroup]:
        """Return the groups of the shortest path, all priced.

        Raises
        ------
        MappingError
            If no path has only groups that fit; says which statement is short of how much.
        """
        best, improved = math.inf, 0
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
            route, cost = self._route(self._certain)
            if cost < best:
                best, improved = cost, self.search.inner.searched
            # bounds of time are so far below it that nearly all groups would be searched for
            if self.search.aim.cycles and math.isfinite(best):
                self.search.patience, self.search.refined = self.patience // _OTHERS, 1
                if self.search.inner.searched - improved > self.patience:
                    break
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
        return math.inf if group is None else self.search.aim.had(group)

    def _certain(self, step: tuple[int, int]) -> float:
        return self._known(step) if step in self.priced else math.inf

    def _proven(self, step: tuple[int, int]) -> float:
        if step not in self.priced:
            return self.search.floor(*step)
        group = self.priced[step]
        return math.inf if group is None else group.bound

    def _stuck(self) -> str:
        """Return why there is no path: the group that is short of least, and of how much."""
        search, device = self.search, self.search.device
        nones = [step for step, group in self.priced.items() if group is None]
        if not nones:
            return "no legal group of statements: a running tensor goes back over every parting"
        needs = {step: search.needs(*step) for step in nones}
        (first, last), (bits, what) = min(needs.items(), key=lambda one: (one[1][0], one[0]))
        names = [f"`{one.name}`" for one in search.chain.statements[first:last]]
        group = names[0] if len(names) == 1 else f"the group {names[0]} to {names[-1]}"
        has = device.fusing.capacity_bits
        if math.isinf(bits):
            return f"no mapping of {group}: {what}"
        if bits <= has:
            return f"no mapping of {group} fits its array beside what stays in `{device.memory}`"
        return (
            f"{group} needs {_size(bits)} in `{device.memory}`, has {_size(has)};"
            f" short by {_size(bits - has)}"
        )


def _size(bits: float) -> str:
    return bytes_text(bits / 8.0, 1)


def _every(chain: Chain, limits: FusionLimits) -> dict[int, list[int]]:
    """Return for each end of a group the places where it may begin, the longest group first."""
    places = [at for at in range(len(chain.statements) + 1) if chain.may_end(at)]
    if limits.split == "nowhere":
        places = [places[0], places[-1]]
    neighbours = dict(itertools.pairwise(places)) if limits.split == "everywhere" else {}
    return {
        last: [
            first
            for first in places
            if first < last
            and last - first <= limits.longest
            and neighbours.get(first, last) == last
        ]
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
