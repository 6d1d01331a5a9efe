"""The best shared loops, tiles and residents of one group of statements, with a bound.

Arrangements are priced in order of what they cost at least, and the search ends where none that
remains can beat the best.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from accelsim.nest.fuse._bound import subsets
from accelsim.nest.fuse._chain import Chain, loopable, optional, required
from accelsim.nest.fuse._inner import InnerSearch
from accelsim.nest.fuse._loops import Arrangement, arrange
from accelsim.nest.fuse._moved import Aim
from accelsim.nest.fuse._price import SAME, GroupPrices, Least, Ways
from accelsim.nest.fuse._types import FusedGroup, FusionLimits, SharedLoop

__all__ = ["GroupSearch"]


@dataclass(slots=True)
class _Hunt:
    """How far the search for one group has come.

    `bound` is what no arrangement that was looked at has less of.
    """

    first: int
    floor: float
    best: FusedGroup | None = None
    bound: float = math.inf
    tried: int = 0
    searched: int = 0  # nests, when the group last got better


class GroupSearch(GroupPrices):
    """Finds the best groups of one chain on one device."""

    def __init__(self, chain: Chain, inner: InnerSearch, aim: Aim, limits: FusionLimits) -> None:
        super().__init__(chain, inner, aim, limits)
        self.patience, self.refined = limits.patience, limits.refined

    # ------------------------------------------------------------ search

    def best(self, first: int, last: int) -> FusedGroup | None:
        """Return the best group of these statements and what none can beat; None if none fits."""
        floor = self.bound(first, last)
        unsure = optional(self.chain, first, last)
        inside = self.inside(first, last, unsure)
        if math.isinf(floor) or not all(map(self.may_hold, inside)):
            return None
        hunt = _Hunt(first, floor, searched=self.inner.searched)
        timed = self.aim.cycles > 0.0
        quick: Ways = ("traffic",) if self.aim.bits else ("energy",)
        priced: list[tuple[float, int, Arrangement, Least]] = []
        for count in range(self.limits.loops + 1):
            waiting = self._waiting(hunt, last, count, unsure)
            priced += self._priced(hunt, waiting, quick)
            if self._done(hunt):
                break
        if timed and not self._enough(hunt):
            priced.sort(key=lambda one: one[:2])
            thorough: Ways = ("energy", "latency")
            for _, _, group, least in priced[: self.refined]:
                hunt.best = self.costed(first, group, hunt.best, least, thorough) or hunt.best
        for _, _, _, least in priced:
            hunt.bound = min(hunt.bound, self.lowest(first, least))
        if hunt.best is None:
            return None
        value, bound = self.aim.had(hunt.best), max(floor, hunt.bound)
        return hunt.best.bounded(value if bound * SAME >= value else bound, hunt.tried)

    def _waiting(
        self, hunt: _Hunt, last: int, count: int, unsure: tuple[str, ...]
    ) -> list[tuple[float, float, int, Arrangement, Least]]:
        """Return the arrangements under so many shared loops, that which may cost least first.

        Of those that promise the same time, that which moves least.
        """
        waiting: list[tuple[float, float, int, Arrangement, Least]] = []
        for loops in self._loops(hunt.first, last, count):
            if hunt.tried >= self.limits.candidates:
                break
            for group, pins in self._arrangements(hunt.first, last, loops, unsure):
                hunt.tried += 1
                least = self.least(hunt.first, group)
                lowest = max(self.lowest(hunt.first, least), hunt.floor)
                then = least.outside if self.aim.cycles else len(pins)
                waiting.append((lowest, then, len(waiting), group, least))
        waiting.sort(key=lambda one: one[:3])
        return waiting

    def _priced(
        self, hunt: _Hunt, waiting: list[tuple[float, float, int, Arrangement, Least]], ways: Ways
    ) -> list[tuple[float, int, Arrangement, Least]]:  # fmt: skip
        """Price arrangements until none that remains can win; return those that were priced."""
        priced: list[tuple[float, int, Arrangement, Least]] = []
        for lowest, _, place, group, least in waiting:
            known = math.inf if hunt.best is None else self.aim.had(hunt.best)
            if lowest * SAME >= known:
                break
            if self._weary(hunt) or self._enough(hunt):
                hunt.bound = min(hunt.bound, lowest)
                break
            found = self.costed(hunt.first, group, hunt.best, least, ways)
            if found is not None:
                hunt.best, hunt.searched = found, self.inner.searched
            value = math.inf if found is None else self.aim.had(found)
            priced.append((value, place, group, least))
        return priced

    def _weary(self, hunt: _Hunt) -> bool:
        found = hunt.best is not None
        return found and self.inner.searched - hunt.searched > self.patience

    def _enough(self, hunt: _Hunt) -> bool:
        enough = hunt.floor * (SAME + self.limits.within)
        return hunt.best is not None and self.aim.had(hunt.best) <= enough

    def _done(self, hunt: _Hunt) -> bool:
        """Return whether no more loops are worth a look; what they may cost is the floor."""
        if self._enough(hunt) or self._weary(hunt) or hunt.tried >= self.limits.candidates:
            hunt.bound = min(hunt.bound, hunt.floor)
            return True
        return False

    def needs(self, first: int, last: int) -> tuple[float, str]:
        """Return the least bits of the fusing memory that any group of these statements takes.

        Infinite if there is none for another reason, which is the text.
        """
        unsure = optional(self.chain, first, last)
        for tensor in sorted(self.inside(first, last, unsure)):
            if not self.may_hold(tensor):
                return math.inf, f"`{self.device.memory}` may not keep `{tensor}`"
        fusing, least = self.device.fusing, math.inf
        sizes = loopable(self.chain, first, last, self.limits.shared)
        must = required(self.chain, first, last)
        for count in range(self.limits.loops + 1):
            for dims in self.orders(first, last, count):
                tiles = [min(self._tiles(dim, sizes[dim], dim in must), default=0) for dim in dims]
                if not all(tiles):
                    continue
                loops = tuple(
                    SharedLoop(dim, sizes[dim] // tile, tile)
                    for dim, tile in zip(dims, tiles, strict=True)
                )
                group = arrange(
                    self.chain, first, last, loops, frozenset(), fusing.buffers,
                    self.device.together,
                )  # fmt: skip
                if group is None:
                    continue
                held = {one.tensor for one in group.residents}
                passing = (
                    sum(
                        tensor.bits * fusing.buffers
                        for access, tensor in zip(one.accesses, one.problem.tensors, strict=True)
                        if access.tensor not in held and access.role in fusing.keep
                    )
                    for one in self.chain.statements[first:last]
                )
                least = min(least, max(map(sum, zip(group.needed, passing, strict=True))))
        return least, "the shared loops that are allowed divide nothing"

    def _loops(self, first: int, last: int, count: int) -> Iterator[tuple[SharedLoop, ...]]:
        """Yield every so many shared loops that may be worth it, in every order."""
        sizes = loopable(self.chain, first, last, self.limits.shared)
        must = required(self.chain, first, last)
        for dims in self.orders(first, last, count):
            tiles = [self._tiles(dim, sizes[dim], dim in must) for dim in dims]
            for chosen in itertools.product(*tiles):
                yield tuple(
                    SharedLoop(dim, sizes[dim] // tile, tile)
                    for dim, tile in zip(dims, chosen, strict=True)
                )

    def _tiles(self, dim: str, size: int, one_by_one: bool) -> list[int]:
        if one_by_one:
            return [1]
        divisors = [n for n in range(size - 1, 0, -1) if size % n == 0]
        given = self.limits.tiles.get(dim)
        return divisors if given is None else [n for n in divisors if n in given]

    def _arrangements(
        self, first: int, last: int, loops: tuple[SharedLoop, ...], unsure: tuple[str, ...]
    ) -> Iterator[tuple[Arrangement, frozenset[str]]]:
        """Yield arrangements under shared loops that fit: with each set of tensors that may stay.

        Only what several statements or iterations use again is worth keeping.
        """
        buffers, together = self.device.fusing.buffers, self.device.together
        plain = arrange(self.chain, first, last, loops, frozenset(), buffers, together)
        if plain is None or not self._holds(plain):
            return
        again = []
        for tensor in unsure:
            if self._again(first, last, tensor, plain) and self.may_hold(tensor):
                alone = arrange(
                    self.chain, first, last, loops, frozenset([tensor]), buffers, together
                )
                if alone is not None and self._holds(alone):
                    again.append(tensor)
        for pins in subsets(again):
            group = arrange(self.chain, first, last, loops, pins, buffers, together)
            if group is not None and self._holds(group):
                yield group, pins

    def _holds(self, group: Arrangement) -> bool:
        return max(group.needed) <= self.device.fusing.capacity_bits

    def _again(self, first: int, last: int, tensor: str, group: Arrangement) -> bool:
        if self.users(first, last, tensor) > 1:
            return True
        at, t = self.access(first, last, tensor)
        dims = self.chain.statements[at].problem.tensors[t].dims
        return any(loop.dim not in dims for loop in group.loops[: group.depth[at - first]])
