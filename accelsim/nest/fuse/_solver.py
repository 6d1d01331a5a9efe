"""A cascade in groups for one objective; for energy x delay, for several weights of the two.

The least product of energy and time is at a corner of the hull of all groupings, and each corner
is the least of some weighed sum, which adds up over groups as the product does not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from accelsim.nest.fuse._chain import Chain
from accelsim.nest.fuse._group import GroupSearch
from accelsim.nest.fuse._inner import InnerSearch
from accelsim.nest.fuse._moved import Aim
from accelsim.nest.fuse._path import GroupPath
from accelsim.nest.fuse._types import FusedGroup, FusionLimits, FusionObjective

__all__ = ["Solved", "Solver"]

_AIMS: Final = {"energy": Aim(pj=1.0), "latency": Aim(cycles=1.0), "traffic": Aim(bits=1.0)}
_CORNERS: Final = 2  # of the hull that are looked for beside its ends
_SAME: Final = 1.0 + 1e-9


@dataclass(frozen=True)
class Solved:
    """Groups, what no others can beat, and how many arrangements and nests were looked at."""

    groups: tuple[FusedGroup, ...]
    bound: float
    tried: int
    searched: int

    @property
    def figures(self) -> tuple[float, float, float]:
        """The pJ, cycles and outside bits of all groups."""
        return (
            sum(one.energy_pj for one in self.groups), sum(one.cycles for one in self.groups),
            sum(one.moved_bits for one in self.groups),
        )  # fmt: skip

    @property
    def product(self) -> float:
        """Energy x delay of all groups, pJ x cycles."""
        return self.figures[0] * self.figures[1]


class Solver:
    """Finds the groups of one chain; nests that are found once serve all objectives."""

    def __init__(self, chain: Chain, inner: InnerSearch, limits: FusionLimits) -> None:
        self.chain, self.inner, self.limits = chain, inner, limits
        self.tried = 0

    def solved(self, objective: FusionObjective) -> Solved:
        """Return the best groups.

        Raises
        ------
        MappingError
            If no group that is legal fits.
        """
        if objective == "edp":
            return self._product()
        return self._sum(_AIMS[objective])[0]

    def _sum(self, aim: Aim) -> tuple[Solved, GroupSearch]:
        limits = self.limits
        if aim.pj and aim.cycles:  # the nests of the two ends are known, few others are better
            limits = replace(limits, patience=limits.patience // 8, refined=1)
        search = GroupSearch(self.chain, self.inner, aim, limits)
        path = GroupPath(search, limits)
        groups = tuple(path.shortest())
        self.tried += path.tried
        return Solved(groups, path.bound, self.tried, self.inner.searched), search

    def _product(self) -> Solved:
        """Return the groups of the least energy x delay that a walk along the hull finds."""
        (thrifty, energy), (fast, time) = self._sum(_AIMS["energy"]), self._sum(_AIMS["latency"])
        known = [(1.0, 0.0, thrifty.bound), (0.0, 1.0, fast.bound)]
        found, edges = [thrifty, fast], [(thrifty, fast)]
        for _ in range(_CORNERS):
            best = min(found, key=lambda one: one.product)
            enough = _SAME + self.limits.within
            if not edges or best.product <= _least_product(known) * enough:
                break
            low, high = edges.pop(0)
            (pj, cycles, _), (more_pj, fewer, _) = low.figures, high.figures
            if more_pj <= pj * _SAME or cycles <= fewer * _SAME:
                continue
            aim = Aim(1.0, (more_pj - pj) / (cycles - fewer))
            corner, _ = self._sum(aim)
            known.append((aim.pj, aim.cycles, corner.bound))
            own = aim.of(*corner.figures)
            if own * _SAME < aim.of(pj, cycles, 0.0):
                found.append(corner)
                edges += [(low, corner), (corner, high)]
        best = min(found, key=lambda one: one.product)
        bound = _least_product(known)
        groups = tuple(
            one.bounded(min(one.energy_pj * one.cycles, least), one.tried)
            for one, least in zip(best.groups, self._apart(best, energy, time), strict=True)
        )
        return Solved(groups, bound, self.tried, self.inner.searched)

    def _apart(self, best: Solved, energy: GroupSearch, time: GroupSearch) -> list[float]:
        """Return for each group the product of the least energy and the least time of it."""
        ends = list(itertools.accumulate((len(one.names) for one in best.groups), initial=0))
        return [
            energy.bound(first, last) * time.bound(first, last)
            for first, last in itertools.pairwise(ends)
        ]


def _least_product(known: Sequence[tuple[float, float, float]]) -> float:
    """Return the least x y where a x + b y is at least c for all (a, b, c): it is at a corner."""
    least = math.inf
    for (a, b, c), (d, e, f) in itertools.combinations(known, 2):
        area = a * e - b * d
        if abs(area) <= 1e-300:
            continue
        x, y = (c * e - b * f) / area, (a * f - c * d) / area
        if all(p * x + q * y >= r * (1.0 - 1e-9) for p, q, r in known):
            least = min(least, x * y)
    return least
