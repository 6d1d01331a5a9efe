"""What a group of statements costs at least: words moved once, or each with all room alone.

Two bounds, one by counting words and one by searching each statement without the group's limits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from accelsim.nest.accounting import Accounting
from accelsim.nest.fuse._chain import Chain, depths, loopable, optional, required
from accelsim.nest.fuse._inner import InnerSearch
from accelsim.nest.fuse._moved import Aim, Moved
from accelsim.nest.fuse._types import FusionLimits, FusionObjective, Resident, Statement
from accelsim.nest.fuse._view import kept_pj, price
from accelsim.nest.hierarchy import Storage

__all__ = ["GroupBounds", "subsets"]


class GroupBounds:
    """Bounds of groups of one chain on one device."""

    def __init__(self, chain: Chain, inner: InnerSearch, aim: Aim, limits: FusionLimits) -> None:
        self.chain, self.inner, self.aim, self.limits = chain, inner, aim, limits
        self.device, self.rules = inner.device, inner.rules
        self.lower: dict[tuple[int, int], float] = {}
        self.parts: dict[object, tuple[float, float, float]] = {}

    def floor(self, first: int, last: int) -> float:
        """Return what a group costs at least, without a search: each word moves once.

        Through the outermost memory if it crosses, through every level that must keep it.
        """
        if (first, last) in self.lower:
            return self.lower[first, last]
        unsure = optional(self.chain, first, last)
        inside = self.inside(first, last, unsure)
        crossing = [*unsure, *(t for t in inside if self._leaves(first, last, t))]
        moved = Moved()
        for tensor in crossing:
            at, t = self.access(first, last, tensor)
            one = self.chain.statements[at]
            bits = one.problem.words(t) * one.problem.tensors[t].bits
            moved = moved.plus(self.passed(t == len(one.accesses) - 1, bits, one.accesses[t].role))
        kept = sum(self.kept(at, inside) for at in range(first, last)) if self.aim.pj else 0.0
        points = [self._points(one) for one in self.chain.statements[first:last]]
        cycles = max(
            self.working(first, points), self.port(moved.outside_read, moved.outside_written)
        )
        return moved.plus(Moved(energy_pj=kept)).value(self.aim, cycles)

    def bound(self, first: int, last: int) -> float:
        """Return what a group costs at least: extents whole, each statement with all room alone.

        Infinite where a statement has no nest at all.
        """
        key = (first, last)
        if key not in self.lower:
            self.lower[key] = self._bound(first, last)
        return self.lower[key]

    def _bound(self, first: int, last: int) -> float:
        unsure = optional(self.chain, first, last)
        inside = self.inside(first, last, unsure)
        leave = [t for t in inside if self._leaves(first, last, t)]
        least = self._compulsory_cycles([*unsure, *leave], first, last)
        best = math.inf
        for pins in subsets(self.shared(first, last, unsure)):
            moved = Moved()
            for tensor in (*pins, *leave):
                moved = moved.plus(self._crossing(first, last, tensor))
            held = inside | pins
            for steps in self._stepped(first, last):
                parts = [
                    self._least_of(at, held, steps[at - first], first, last)
                    for at in range(first, last)
                ]
                cycles = max(least, self.working(first, [cycles for _, cycles, _ in parts]))
                pj, bits = (sum(part[i] for part in parts) for i in (0, 2))
                best = min(best, moved.plus(Moved(bits, energy_pj=pj)).value(self.aim, cycles))
        return best

    def orders(self, first: int, last: int, count: int) -> Iterator[tuple[str, ...]]:
        """Yield the dims of so many shared loops in every order that a group may have."""
        legal = loopable(self.chain, first, last, self.limits.shared)
        must = required(self.chain, first, last) & set(legal)
        for dims in itertools.permutations(legal, count):
            if must.issubset(dims) and depths(self.chain, first, last, dims) is not None:
                yield dims

    def _stepped(self, first: int, last: int) -> list[tuple[frozenset[str], ...]]:
        """Return in what ways the loops that a group must have can stand around its statements."""
        must = required(self.chain, first, last)
        if not must:
            return [(frozenset(),) * (last - first)]
        ways: dict[tuple[frozenset[str], ...], None] = {}
        for count in range(self.limits.loops + 1):
            for dims in self.orders(first, last, count):
                around = depths(self.chain, first, last, dims) or []
                ways[tuple(must & set(dims[:depth]) for depth in around)] = None
        return list(ways)

    def _least_of(
        self, at: int, held: frozenset[str], steps: frozenset[str], first: int, last: int
    ) -> tuple[float, float, float]:
        """Return what a statement takes at least, the crossing of what only it uses included."""
        freely = self.part(at, held)
        own = {a.tensor for a in self.chain.statements[at].accesses} - held
        alone = [t for t in sorted(own) if self.users(first, last, t) == 1 and self.may_hold(t)]
        if not steps & set(self.chain.statements[at].problem.dims):
            return freely
        stepped = (math.inf, math.inf, math.inf)
        for pins in subsets(alone):
            moved = Moved()
            for tensor in pins:
                moved = moved.plus(self._crossing(first, last, tensor))
            pj, cycles, bits = self.part(at, held | pins, steps)
            outside = moved.outside_read + moved.outside_written
            least = pj + moved.energy_pj, cycles, bits + outside
            stepped = tuple(map(min, stepped, least))  # type: ignore[assignment]
        return max(freely[0], stepped[0]), max(freely[1], stepped[1]), max(freely[2], stepped[2])

    def shared(self, first: int, last: int, unsure: Collection[str]) -> list[str]:
        """Return the tensors of which a bound must know whether they stay: several read them.

        Of others the bound of a statement has both ways in one.
        """
        return [t for t in unsure if self.users(first, last, t) > 1 and self.may_hold(t)]

    def part(
        self, at: int, held: frozenset[str], steps: frozenset[str] = frozenset()
    ) -> tuple[float, float, float]:
        """Return the pJ, cycles and outside bits that a statement takes at least by itself.

        Parameters
        ----------
        at : int
        held : frozenset of str
            Tensors that stay, whose crossing is not counted.
        steps : frozenset of str
            Dims of shared loops around it that go one by one.
        """
        one = self.chain.statements[at]
        own = frozenset(a.tensor for a in one.accesses) & held
        sizes = dict(zip(one.problem.dims, one.problem.sizes, strict=True))
        steps = steps & set(one.problem.dims)
        key = (at, own, steps)
        if key not in self.parts:
            times = math.prod(sizes[dim] for dim in steps)
            self.parts[key] = self._part(one, sizes | dict.fromkeys(steps, 1), own, times)
        return self.parts[key]

    def _part(
        self, one: Statement, extents: Mapping[str, int], own: frozenset[str], times: int
    ) -> tuple[float, float, float]:
        aim, room = self.aim, self.device.fusing.capacity_bits
        found = [0.0, 0.0, 0.0]
        wanted: tuple[tuple[float, FusionObjective], ...] = (
            (aim.pj, "energy"), (aim.cycles, "latency"), (aim.bits, "traffic"),
        )  # fmt: skip
        for i, (weight, name) in enumerate(wanted):
            if weight <= 0.0:
                continue
            rules = self._timing(one) if name == "latency" else None
            inner = self.inner.best(one, extents, own, room, name, relaxed=True, rules=rules)
            if inner is None:
                return math.inf, math.inf, math.inf
            once = inner.once.outside_read + inner.once.outside_written
            figure = (inner.once.energy_pj, inner.cycles, once)[i]
            found[i] = times * figure / (1.0 + inner.surplus)
        found[1] = max(found[1], self._points(one)) if aim.cycles else 0.0
        return found[0], found[1], found[2]

    def _timing(self, one: Statement) -> Accounting:
        """Return rules by which an iteration takes no longer than a part of the whole does.

        Ports that are never waited for are such rules.  Where nothing is summed up, those that
        wait are, too: only partial sums that come back are no part of an iteration's time.
        """
        summed = set(one.problem.dims) - set(one.problem.tensors[-1].dims)
        return self.rules if not summed else replace(self.rules, timing="overlapped")

    def _points(self, one: Statement) -> float:
        """Return the cycles of all units working without a pause."""
        array = self.device.array(one.array)
        return one.problem.macs * one.point_cycles / array.mac_rate / array.units

    def working(self, first: int, cycles: Sequence[float]) -> float:
        """Return the cycles of statements, one after the other or of the busiest array."""
        if not self.device.together:
            return sum(cycles)
        busy = dict.fromkeys(self.device.arrays, 0.0)
        for at, each in enumerate(cycles, first):
            busy[self.chain.statements[at].array] += each
        return max(busy.values())

    def kept(self, at: int, held: frozenset[str]) -> float:
        """Return the least pJ of a statement in its array and in the fusing memory."""
        one = self.chain.statements[at]
        own = frozenset(a.tensor for a in one.accesses) & held
        key = (at, own)
        if key not in self.parts:
            pj = kept_pj(self.device, one, own, self.rules.drain_reads)
            self.parts[key] = pj, 0.0, 0.0
        return self.parts[key][0]

    def begun(self, at: int, held: frozenset[str]) -> float:
        """Return the least pJ of bringing a word of a result so far to where it is added to."""
        one = self.chain.statements[at]
        role, stays = one.accesses[-1].role, one.made in held
        array = self.device.array(one.array)
        home = array.index(self.device.memory) if stays else 0
        read = written = 0.0
        for i, node in enumerate(array.nodes):
            if isinstance(node, Storage) and (i == home or (i > home and role in node.keep)):
                read += price(node.read_pj_per_bit, role)
                written += price(node.write_pj_per_bit, role) if i > home else 0.0
        return (read + written) * one.problem.tensors[-1].bits

    def passed(self, result: bool, bits: float, role: str) -> Moved:
        """Return what it takes at the outermost memory to read bits, or to write a result."""
        own = self.device.outermost
        if result:
            return Moved(0.0, bits, energy_pj=bits * price(own.write_pj_per_bit, role))
        return Moved(bits, energy_pj=bits * price(own.read_pj_per_bit, role))

    def _crossing(self, first: int, last: int, tensor: str) -> Moved:
        """Return what it takes at least to bring a tensor in, or out, once."""
        at, t = self.access(first, last, tensor)
        one = self.chain.statements[at]
        bits = one.problem.words(t) * one.problem.tensors[t].bits
        out = t == len(one.accesses) - 1
        resident = Resident(
            tensor, 0.0, 0.0 if out else bits, bits if out else 0.0, 0, 0, 0, one.accesses[t].role
        )
        return self.crossed(resident)

    def _leaves(self, first: int, last: int, tensor: str) -> bool:
        readers = self.chain.readers.get(tensor, ())
        return tensor in self.chain.outputs or any(not first <= at < last for at in readers)

    def _compulsory_cycles(self, crossing: list[str], first: int, last: int) -> float:
        read = written = 0.0
        for tensor in crossing:
            at, t = self.access(first, last, tensor)
            problem = self.chain.statements[at].problem
            bits = problem.words(t) * problem.tensors[t].bits
            if t == len(problem.tensors) - 1:
                written += bits
            else:
                read += bits
        return self.port(read, written)

    def access(self, first: int, last: int, tensor: str) -> tuple[int, int]:
        """Return the statement that makes a tensor, or first reads it, and its place there."""
        maker = self.chain.makers.get(tensor, -1)
        if first <= maker < last:
            return maker, len(self.chain.statements[maker].accesses) - 1
        at = next(at for at in self.chain.readers[tensor] if first <= at < last)
        return at, next(self.chain.accesses(at, tensor))[0]

    def users(self, first: int, last: int, tensor: str) -> int:
        return sum(
            any(a.tensor == tensor for a in one.accesses)
            for one in self.chain.statements[first:last]
        )

    def may_hold(self, tensor: str) -> bool:
        """Return whether the fusing memory may hold a tensor, in every role that it has."""
        fusing = self.device.fusing
        return all(
            access.role in fusing.keep | fusing.may_keep
            for one in self.chain.statements
            for access in one.accesses
            if access.tensor == tensor
        )

    def inside(self, first: int, last: int, unsure: tuple[str, ...]) -> frozenset[str]:
        every = {a.tensor for one in self.chain.statements[first:last] for a in one.accesses}
        return frozenset(every - set(unsure))

    def port(self, read: float, written: float) -> float:
        """Return the cycles of the outermost memory's ports."""
        own = self.device.outermost
        reading, writing = read / own.read_bits_per_cycle, written / own.write_bits_per_cycle
        return reading + writing if own.shared_port else max(reading, writing)

    def fusing_port(self, moved: Moved) -> float:
        fusing = self.device.fusing
        reading = moved.fusing_read / fusing.read_bits_per_cycle
        writing = moved.fusing_written / fusing.write_bits_per_cycle
        return reading + writing if fusing.shared_port else max(reading, writing)

    def crossed(self, one: Resident) -> Moved:
        """Return what loading and storing a resident tensor moves between the two memories."""
        own, fusing = self.device.outermost, self.device.fusing
        sent = one.stores if self.rules.drain_reads else 0.0
        energy = one.loads * price(own.read_pj_per_bit, one.role)
        energy += one.loads * price(fusing.write_pj_per_bit, one.role)
        energy += one.stores * price(own.write_pj_per_bit, one.role)
        energy += sent * price(fusing.read_pj_per_bit, one.role)
        return Moved(one.loads, one.stores, sent, one.loads, energy)


def subsets(names: Sequence[str]) -> Iterator[frozenset[str]]:
    """Yield every set of some names, the largest first."""
    for count in range(len(names), -1, -1):
        for chosen in itertools.combinations(names, count):
            yield frozenset(chosen)
