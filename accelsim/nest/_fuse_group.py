"""The best shared loops, tiles and residents of one group of statements, with a bound.

Arrangements are priced in order of what they cost at least, and the search ends where none that
remains can beat the best.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from accelsim.nest._fuse_bound import GroupBounds, subsets
from accelsim.nest._fuse_inner import Inner, Moved, named
from accelsim.nest._fuse_loops import Arrangement, Chain, arrange, optional, required
from accelsim.nest._fuse_types import (
    FusedDevice,
    FusedGroup,
    FusedStatement,
    FusionLimits,
    FusionObjective,
    SharedLoop,
    Statement,
    tile_words,
)
from accelsim.nest._fuse_view import price
from accelsim.nest._overlap import level_row, overlapped
from accelsim.nest.accounting import Accounting

__all__ = ["GroupSearch"]

_SAME = 1.0 + 1e-9


@dataclass(frozen=True, slots=True)
class _Run:
    """One statement over all iterations."""

    statement: Statement
    inner: Inner
    moved: Moved
    cycles: float
    iterations: int


class GroupSearch(GroupBounds):
    """Prices groups of one chain on one device."""

    def __init__(
        self, chain: Chain, device: FusedDevice, objective: FusionObjective, rules: Accounting,
        limits: FusionLimits,
    ) -> None:  # fmt: skip
        super().__init__(chain, device, objective, rules)
        self.limits = limits

    # ------------------------------------------------------------ search

    def best(self, first: int, last: int) -> FusedGroup | None:
        """Return the best group of these statements and what none can beat; None if none fits."""
        floor = self.bound(first, last)
        unsure = optional(self.chain, first, last)
        inside = self.inside(first, last, unsure)
        if math.isinf(floor) or not all(map(self.may_hold, inside)):
            return None
        best: FusedGroup | None = None
        tried = 0
        for count in range(self.limits.loops + 1):
            waiting: list[tuple[float, int, int, Arrangement]] = []
            for loops in self._loops(first, last, count):
                if tried >= self.limits.candidates:
                    break
                for group, pins in self._arrangements(first, last, loops, unsure):
                    tried += 1
                    least = self._least(first, group)
                    waiting.append((least, len(pins), len(waiting), group))
            waiting.sort(key=lambda one: one[:3])
            for least, _, _, group in waiting:
                if best is not None and max(least, floor) * _SAME >= best.value(self.objective):
                    break
                found = self._price(first, group, best)
                if found is not None:
                    best = found
                enough = floor * (_SAME + self.limits.within)
                if best is not None and best.value(self.objective) <= enough:
                    return best.bounded(min(floor, best.value(self.objective)), tried)
            if tried >= self.limits.candidates:
                return best and best.bounded(floor, tried)
        if best is None:
            return None
        # for others, nests are chosen one by one, or are only nearly best
        proven = self.objective == "energy" and self.inner.exact
        return best.bounded(best.value(self.objective) if proven else floor, tried)

    def _loops(self, first: int, last: int, count: int) -> Iterator[tuple[SharedLoop, ...]]:
        """Yield every so many shared loops that may be worth it, in every order."""
        statements = self.chain.statements[first:last]
        sizes: dict[str, int] = {}
        users: dict[str, int] = {}
        for one in statements:
            for dim, size in zip(one.problem.dims, one.problem.sizes, strict=True):
                sizes[dim], users[dim] = size, users.get(dim, 0) + 1
        must = required(self.chain, first, last)
        shared = self.limits.shared
        legal = [
            dim for dim, size in sizes.items()
            if size > 1 and users[dim] > 1 and (shared is None or dim in shared or dim in must)
        ]  # fmt: skip
        for dims in itertools.permutations(legal, count):
            if not must.issubset({*dims, *(d for d in must if sizes.get(d) == 1)}):
                continue
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

    def _least(self, first: int, group: Arrangement) -> float:
        """Return what an arrangement costs at least: what crosses the outermost boundary."""
        total = Moved()
        held = {one.tensor for one in group.residents}
        for one in group.residents:
            total = total.plus(self.crossed(one))
        own = self.device.outermost
        for at, extents in enumerate(group.extents):
            statement = self.chain.statements[first + at]
            times, repeats = group.iterations[at], group.repeats[at]
            for t, access in enumerate(statement.accesses):
                if access.tensor in held:
                    continue
                bits = tile_words(statement.problem, t, extents) * times
                bits *= statement.problem.tensors[t].bits
                result = t == len(statement.accesses) - 1
                read = bits - bits / repeats if result else bits
                written = bits if result else 0.0
                energy = read * price(own.read_pj_per_bit, access.role)
                energy += written * price(own.write_pj_per_bit, access.role)
                total = total.plus(Moved(read, written, 0.0, 0.0, energy))
        if self.objective == "latency":
            return self.port(total.outside_read, total.outside_written)
        return total.value(self.objective)

    # ------------------------------------------------------------ price of one arrangement

    def _price(self, first: int, group: Arrangement, best: FusedGroup | None) -> FusedGroup | None:
        """Return the best group of an arrangement if it beats the best known."""
        held = frozenset(one.tensor for one in group.residents)
        crossing = [Moved()] * len(group.depth)
        for one in group.residents:
            crossing[one.charged] = crossing[one.charged].plus(self.crossed(one))
        runs, sofar = [], 0.0
        for at in range(len(group.depth)):
            run = self._run(first, at, group, held, crossing[at])
            if run is None:
                return None
            runs.append(run)
            sofar += run.moved.value(self.objective)
            if best is not None and sofar * _SAME >= best.value(self.objective) > 0:
                return None
        return self._group(group, runs, best)

    def _run(
        self, first: int, at: int, group: Arrangement, held: frozenset[str], crossing: Moved
    ) -> _Run | None:
        one = self.chain.statements[first + at]
        room = self.device.fusing.capacity_bits - group.needed[at]
        times, repeats = group.iterations[at], group.repeats[at]
        later = times - times / repeats
        options: list[_Run] = []
        for objective in {self.objective, "energy"}:
            own = held & {a.tensor for a in one.accesses}
            inner = self.inner.best(one, group.extents[at], own, room, objective)
            if inner is None:
                return None
            if objective == "energy" and self.objective == "traffic":
                continue
            moved = crossing.plus(inner.once, times).plus(inner.again, later)
            options.append(_Run(one, inner, moved, inner.cycles * times, times))
        return min(options, key=self._rank)

    def _rank(self, run: _Run) -> tuple[float, float]:
        if self.objective != "latency":
            return run.moved.value(self.objective), run.cycles
        return self._alone(run), run.moved.energy_pj

    def _alone(self, run: _Run) -> float:
        """Return the cycles of a statement by itself, its memories beside it."""
        moved = run.moved
        return max(
            run.cycles, self.port(moved.outside_read, moved.outside_written),
            self.fusing_port(moved),
        )  # fmt: skip

    def _group(
        self, group: Arrangement, runs: list[_Run], best: FusedGroup | None
    ) -> FusedGroup | None:
        total = Moved()
        for run in runs:
            total = total.plus(run.moved)
        statements = tuple(
            FusedStatement(
                run.statement.name, group.depth[at], run.iterations,
                named(run.statement, run.inner.nest), run.cycles, run.moved.energy_pj,
                (run.moved.outside_read, run.moved.outside_written),
                (run.moved.fusing_read, run.moved.fusing_written), run.inner.tile_bits,
            )
            for at, run in enumerate(runs)
        )  # fmt: skip
        needed = max(
            need + one.tile_bits for need, one in zip(group.needed, statements, strict=True)
        )
        found = FusedGroup(
            group.loops, statements, group.residents, total.energy_pj,
            self._cycles(group, runs, total), total.outside_read + total.outside_written, needed,
            0.0, 0,
        )  # fmt: skip
        if best is not None:
            ours, known = self._order(found), self._order(best)
            return found if ours < known else None
        return found

    def _order(self, group: FusedGroup) -> tuple[float, float, float]:
        return group.value(self.objective), group.energy_pj, group.cycles

    def _cycles(self, group: Arrangement, runs: list[_Run], total: Moved) -> float:
        """Return the cycles of a group, by the accounting's rule."""
        busy = dict.fromkeys(self.device.arrays, 0.0)
        for run in runs:
            busy[run.statement.array] += run.cycles
        together = self.device.together
        working = max(busy.values()) if together else sum(busy.values())
        ports = max(self.port(total.outside_read, total.outside_written), self.fusing_port(total))
        if self.rules.timing == "overlapped":
            return max(working, ports) if together else sum(map(self._alone, runs))
        own, fusing = self.device.outermost, self.device.fusing
        tiles = math.prod(loop.trips for loop in group.loops)
        loads = sum(one.loads for one in group.residents)
        stores = sum(one.stores for one in group.residents)
        filling = max(loads / own.read_bits_per_cycle, loads / fusing.write_bits_per_cycle)
        draining = max(stores / own.write_bits_per_cycle, stores / fusing.read_bits_per_cycle)
        row = np.zeros(7)
        level_row(
            np.array([filling, 0.0]), np.full(2, float(tiles)), draining, 0, fusing.buffers,
            np.ones(3), row,
        )  # fmt: skip
        return max(float(overlapped(row, 2, working)), ports)
