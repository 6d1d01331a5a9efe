"""What a group of statements costs at least: words moved once, or each with all room alone.

Two bounds, one by counting words and one by searching each statement without the group's limits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from accelsim.nest._fuse_inner import InnerSearch, Moved
from accelsim.nest._fuse_loops import Chain, optional
from accelsim.nest._fuse_types import FusedDevice, FusionObjective, Resident, Statement
from accelsim.nest._fuse_view import kept_pj, price
from accelsim.nest.accounting import Accounting

__all__ = ["GroupBounds", "subsets"]


class GroupBounds:
    """Bounds of groups of one chain on one device."""

    def __init__(
        self, chain: Chain, device: FusedDevice, objective: FusionObjective, rules: Accounting
    ) -> None:
        self.chain, self.device, self.rules = chain, device, rules
        self.objective: FusionObjective = objective
        self.inner = InnerSearch(device, rules)
        self.lower: dict[tuple[int, int], float] = {}

    def floor(self, first: int, last: int) -> float:
        """Return what a group costs at least, without a search: each word moves once.

        Through the outermost memory if it crosses, through every level that must keep it.
        """
        if (first, last) in self.lower:
            return self.lower[first, last]
        unsure = optional(self.chain, first, last)
        inside = self.inside(first, last, unsure)
        crossing = [*unsure, *(t for t in inside if self._leaves(first, last, t))]
        if self.objective == "latency":
            return self._compulsory_cycles(crossing, first, last)
        total = 0.0
        for tensor in crossing:
            at, t = self.access(first, last, tensor)
            one = self.chain.statements[at]
            bits, role = one.problem.words(t) * one.problem.tensors[t].bits, one.accesses[t].role
            own = self.device.outermost
            out = t == len(one.accesses) - 1
            paid = price(own.write_pj_per_bit if out else own.read_pj_per_bit, role)
            total += bits * (paid if self.objective == "energy" else 1.0)
        if self.objective == "energy":
            total += sum(
                kept_pj(self.device, one, inside, self.rules.drain_reads)
                for one in self.chain.statements[first:last]
            )
        return total

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
        shared = [t for t in unsure if self.users(first, last, t) > 1 and self.may_hold(t)]
        best = math.inf
        leave = [t for t in inside if self._leaves(first, last, t)]
        for pins in subsets(shared):
            total = sum(self._crossing_bound(first, last, tensor) for tensor in (*pins, *leave))
            parts = [self._relaxed(at, inside | pins) for at in range(first, last)]
            if self.objective != "latency":
                best = min(best, total + sum(parts))
            elif not self.device.together:
                best = min(best, sum(parts))
            else:
                best = min(best, max(
                    sum(p for at, p in enumerate(parts, first)
                        if self.chain.statements[at].array == name)
                    for name in self.device.arrays
                ))  # fmt: skip
        if self.objective == "latency":
            best = max(best, self._compulsory_cycles([*unsure, *leave], first, last))
        return best

    def _relaxed(self, at: int, held: frozenset[str]) -> float:
        one = self.chain.statements[at]
        sizes = dict(zip(one.problem.dims, one.problem.sizes, strict=True))
        own = frozenset(a.tensor for a in one.accesses) & held
        room = self.device.fusing.capacity_bits
        inner = self.inner.best(one, sizes, own, room, self.objective, relaxed=True)
        if inner is None:
            return math.inf
        if self.objective == "latency":
            timed = inner.cycles / (1.0 + inner.surplus)
            return timed if self.rules.timing == "overlapped" else self._points(one)
        return inner.once.value(self.objective) / (1.0 + inner.surplus)

    def _points(self, one: Statement) -> float:
        """Return the cycles of all units working without a pause."""
        array = self.device.array(one.array)
        return one.problem.macs * one.point_cycles / array.mac_rate / array.units

    def _crossing_bound(self, first: int, last: int, tensor: str) -> float:
        """Return what it takes at least to bring a tensor in, or out, once."""
        if self.objective == "latency":
            return 0.0
        at, t = self.access(first, last, tensor)
        one = self.chain.statements[at]
        bits = one.problem.words(t) * one.problem.tensors[t].bits
        out = t == len(one.accesses) - 1
        resident = Resident(
            tensor, 0.0, 0.0 if out else bits, bits if out else 0.0, 0, 0, 0, one.accesses[t].role
        )
        return self.crossed(resident).value(self.objective)

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
