"""What one arrangement of a group costs at least, and what it costs with the best nests found.

Statements are priced one after the other, those with most work first, until what is known and
what the rest costs at least is more than the best known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from accelsim.nest._overlap import level_row, overlapped
from accelsim.nest.fuse._bound import GroupBounds
from accelsim.nest.fuse._chain import optional, required
from accelsim.nest.fuse._inner import Inner, named
from accelsim.nest.fuse._loops import Arrangement
from accelsim.nest.fuse._moved import Moved
from accelsim.nest.fuse._types import (
    FusedGroup,
    FusedStatement,
    FusionObjective,
    Statement,
    tile_words,
)

__all__ = ["SAME", "GroupPrices", "Least", "Ways"]

SAME: Final = 1.0 + 1e-9

Ways = tuple[FusionObjective, ...]
"""For what the nests of a statement are searched; the best of them for what is asked is taken."""


@dataclass(slots=True)
class Least:
    """What an arrangement costs at least; grows as its statements are priced.

    Attributes
    ----------
    crossing : Moved
        What its residents take to come and go.
    parts : list of (pJ, cycles, outside bits)
        Of each statement, without that.
    port_cycles : float
        Of the outermost memory's ports.
    """

    crossing: Moved
    parts: list[tuple[float, float, float]]
    port_cycles: float

    @property
    def outside(self) -> float:
        """Bits at the outermost memory."""
        crossing = self.crossing.outside_read + self.crossing.outside_written
        return crossing + sum(part[2] for part in self.parts)

    def raised(self, at: int, pj: float, cycles: float, bits: float) -> None:
        """Take note that a statement costs no less than this."""
        old = self.parts[at]
        self.parts[at] = max(old[0], pj), max(old[1], cycles), max(old[2], bits)


@dataclass(frozen=True, slots=True)
class _Run:
    """One statement over all iterations."""

    statement: Statement
    inner: Inner
    moved: Moved
    cycles: float
    iterations: int


class GroupPrices(GroupBounds):
    """Prices arrangements of groups."""

    def least(self, first: int, group: Arrangement) -> Least:
        """Return what an arrangement costs at least."""
        count, last = len(group.depth), first + len(group.depth)
        must = required(self.chain, first, last)
        held = frozenset(one.tensor for one in group.residents)
        several = {t for t in optional(self.chain, first, last) if self.users(first, last, t) == 1}
        common = held - several
        crossing, single = Moved(), [Moved()] * count
        for one in group.residents:
            crossed = self.crossed(one)
            crossing = crossing.plus(crossed)
            if one.tensor in several:
                single[one.charged] = single[one.charged].plus(crossed)
        parts, total = [], crossing
        for at in range(count):
            steps = must & {loop.dim for loop in group.loops[: group.depth[at]] if loop.tile == 1}
            pj, cycles, bits = self.part(first + at, common)
            own = single[at]
            moved = self._passing(first + at, at, group, held)
            outside = moved.outside_read + moved.outside_written
            kept = self.kept(first + at, held) + moved.energy_pj if self.aim.pj else 0.0
            pj = max(pj - own.energy_pj, kept)
            bits = max(bits - own.outside_read - own.outside_written, outside)
            total = total.plus(moved)
            if self.in_turn:
                cycles = max(cycles, self.port(moved.outside_read, moved.outside_written))
            if steps:
                stepped = self.part(first + at, held, steps)
                pj, cycles, bits = map(max, (pj, cycles, bits), stepped)
            parts.append((pj, cycles, bits))
        return Least(crossing, parts, self.port(total.outside_read, total.outside_written))

    @property
    def in_turn(self) -> bool:
        """Whether statements and their ports take their time one after the other."""
        return self.rules.timing == "overlapped" and not self.device.together

    def lowest(self, first: int, least: Least) -> float:
        """Return what is made small of what an arrangement costs at least."""
        return self._summed(first, least, least.parts)

    def _summed(
        self, first: int, least: Least, parts: Sequence[tuple[float, float, float]]
    ) -> float:
        crossing = least.crossing
        outside = crossing.outside_read + crossing.outside_written
        pj = crossing.energy_pj + sum(part[0] for part in parts)
        bits = outside + sum(part[2] for part in parts)
        cycles = max(self.working(first, [part[1] for part in parts]), least.port_cycles)
        return self.aim.of(pj, cycles, bits)

    def _passing(self, place: int, at: int, group: Arrangement, held: frozenset[str]) -> Moved:
        """Return what passes a statement's iterations by from and to the outermost memory."""
        statement, total = self.chain.statements[place], Moved()
        times, repeats = group.iterations[at], group.repeats[at]
        for t, access in enumerate(statement.accesses):
            if access.tensor in held:
                continue
            bits = tile_words(statement.problem, t, group.extents[at]) * times
            bits *= statement.problem.tensors[t].bits
            result = t == len(statement.accesses) - 1
            total = total.plus(self.passed(result, bits, access.role))
            if result:
                total = total.plus(self.passed(False, bits - bits / repeats, access.role))
        return total

    # ------------------------------------------------------------ price of one arrangement

    def costed(
        self, first: int, group: Arrangement, best: FusedGroup | None, least: Least, ways: Ways
    ) -> FusedGroup | None:
        """Return the best group of an arrangement if it beats the best known.

        Parameters
        ----------
        first : int
            The first statement of the group.
        group : Arrangement
        best : FusedGroup or None
            The best known.
        least : Least
            Of the arrangement; raised by what is found out.
        ways : tuple of str
            For what nests are searched.
        """
        count = len(group.depth)
        held = frozenset(one.tensor for one in group.residents)
        crossing = [Moved()] * count
        for one in group.residents:
            crossing[one.charged] = crossing[one.charged].plus(self.crossed(one))
        runs: dict[int, _Run] = {}
        sofar = list(least.parts)
        macs = [self.chain.statements[first + at].problem.macs for at in range(count)]
        for at in sorted(range(count), key=lambda at: (-macs[at], at)):
            run = self._run(first, at, group, held, crossing[at], least, ways)
            if run is None:
                least.raised(at, math.inf, math.inf, math.inf)
                return None
            runs[at] = run
            own = run.moved.plus(crossing[at], -1.0)
            outside = own.outside_read + own.outside_written
            sofar[at] = own.energy_pj, self._alone(run) if self.in_turn else run.cycles, outside
            known = math.inf if best is None else self.aim.had(best)
            if self._summed(first, least, sofar) >= known * SAME:
                return None
        return self._group(group, [runs[at] for at in range(count)], best)

    def _run(
        self, first: int, at: int, group: Arrangement, held: frozenset[str], crossing: Moved,
        least: Least, ways: Ways,
    ) -> _Run | None:  # fmt: skip
        one = self.chain.statements[first + at]
        room = self.device.fusing.capacity_bits - group.needed[at]
        times, repeats = group.iterations[at], group.repeats[at]
        later = times - times / repeats
        own = held & {a.tensor for a in one.accesses}
        options: list[_Run] = []
        for objective in ways:
            inner = self.inner.best(one, group.extents[at], own, room, objective)
            if inner is None:
                return None
            inside = Moved().plus(inner.once, times).plus(inner.again, later)
            options.append(_Run(one, inner, crossing.plus(inside), inner.cycles * times, times))
            proven = times / (1.0 + inner.surplus)
            if objective == "energy":
                words = tile_words(one.problem, len(one.accesses) - 1, group.extents[at])
                begun = later * words * self.begun(first + at, held)
                least.raised(at, inner.once.energy_pj * proven + begun, 0.0, 0.0)
            elif objective == "latency":
                least.raised(at, 0.0, inner.cycles * proven, 0.0)
        return min(options, key=self._rank)

    def _rank(self, run: _Run) -> tuple[float, float, float]:
        alone = self._alone(run)
        return run.moved.value(self.aim, alone), run.moved.energy_pj, alone

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
        return self.aim.had(group), group.energy_pj, group.cycles

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
        row = np.zeros(6)
        waits = level_row(
            np.array([filling, 0.0]), np.full(2, float(tiles)), draining, 0, fusing.buffers,
            np.ones(3), row,
        )  # fmt: skip
        return max(float(overlapped(row, 2, working)) + waits, ports)
