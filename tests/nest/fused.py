"""Small cascades and devices for tests of fusion, and a walk through every point of a group.

The walk knows nothing of formulas: it runs the loops, remembers which tile each memory holds, and
counts what is read and written.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from accelsim.nest import Hierarchy, Problem, Storage
from accelsim.nest.fuse import Access, FusedDevice, FusedGroup, FusedStatement, Statement
from accelsim.nest.problem import TensorAccess

__all__ = ["ROLES", "Walk", "chain", "device", "statement"]

ROLES = frozenset({"input", "weight", "output"})


def statement(
    text: str, sizes: Mapping[str, int], *, array: str = "array", bits: float = 8.0
) -> Statement:
    """Return the statement of ``C:mn A:mk B:kn``: the result first, one letter for each rank."""
    made, *operands = (word.split(":") for word in text.split())
    every = [*operands, made]
    dims = tuple(dict.fromkeys("".join(ranks for _, ranks in every)))
    roles = [*["input", "weight"][: len(operands)], "output"]
    tensors = tuple(
        TensorAccess(name, tuple(((1, rank),) for rank in ranks), bits) for name, ranks in every
    )
    accesses = tuple(
        Access(name, role, tuple(ranks)) for (name, ranks), role in zip(every, roles, strict=True)
    )
    problem = Problem(dims, tuple(sizes[dim] for dim in dims), tensors)
    return Statement(made[0], problem, accesses, array)


def chain(texts: Sequence[str], sizes: Mapping[str, int]) -> list[Statement]:
    """Return several statements."""
    return [statement(text, sizes) for text in texts]


def device(random: np.random.Generator, capacity_bits: float) -> FusedDevice:
    """Return DRAM, a buffer and a register, of random prices."""

    def price() -> float:
        return float(random.choice([0.25, 0.5, 2.0]))

    held = frozenset(random.choice(sorted(ROLES), 1).tolist())
    return FusedDevice(
        {"array": Hierarchy(
            (
                Storage("DRAM", read_pj_per_bit=9.0, write_pj_per_bit=11.0,
                        read_bits_per_cycle=16.0, write_bits_per_cycle=16.0, shared_port=True),
                Storage("Buffer", capacity_bits=capacity_bits, may_keep=ROLES,
                        read_pj_per_bit=price(), write_pj_per_bit=price(),
                        read_bits_per_cycle=64.0, write_bits_per_cycle=64.0),
                Storage("Register", capacity_bits=float(random.choice([8, 32])), keep=held,
                        read_pj_per_bit=0.02, write_pj_per_bit=0.03, dims=frozenset()),
            ),
            mac_pj=0.5,
        )},
        "Buffer",
    )  # fmt: skip


Element = tuple[int, ...]


@dataclass
class Walk:
    """Runs a group point by point; `counts` is (level, ``read`` or ``write``) -> bits."""

    statements: Sequence[Statement]
    device: FusedDevice
    group: FusedGroup
    counts: dict[tuple[str, str], float] = field(default_factory=dict)
    seen: set[tuple[object, ...]] = field(default_factory=set)
    loaded: dict[str, Element] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ops = {one.name: one for one in self.statements}
        self.held = {one.tensor: one for one in self.group.residents}
        self.block(list(self.group.statements), 0, {})
        for tensor in list(self.loaded):
            self.leave(tensor)

    # ------------------------------------------------------------ shared loops

    def block(self, ran: list[FusedStatement], level: int, at: dict[str, int]) -> None:
        for inside, part in itertools.groupby(ran, key=lambda one: one.depth > level):
            if not inside:
                for one in part:
                    self.run(one, at)
                continue
            loop, inner = self.group.loops[level], list(part)
            for i in range(loop.trips):
                self.block(inner, level + 1, at | {loop.dim: i * loop.tile})

    def run(self, one: FusedStatement, at: Mapping[str, int]) -> None:
        own = self.ops[one.name]
        tile = {loop.dim: loop.tile for loop in self.group.loops[: one.depth]}
        for t, access in enumerate(own.accesses):
            if access.tensor in self.held:
                self.arrive(own, t, at, tile)
        _Run(self, own, one, at, tile).go()

    def arrive(
        self, own: Statement, t: int, at: Mapping[str, int], tile: Mapping[str, int]
    ) -> None:
        """Bring in what a resident of the outside lacks, and send away what it replaces."""
        tensor = own.accesses[t].tensor
        resident = self.held[tensor]
        if not (resident.loads or resident.stores):
            return
        dims = own.problem.tensors[t].dims
        origin = tuple(at.get(dim, 0) for dim in own.problem.dims if dim in dims)
        if self.loaded.get(tensor) == origin:
            return
        if tensor in self.loaded:
            self.leave(tensor)
        self.loaded[tensor] = origin
        result = t == len(own.accesses) - 1
        if not result or (tensor, origin) in self.seen:
            bits = _words(own, t, tile) * own.problem.tensors[t].bits
            self.add("DRAM", "read", bits)
            self.add("Buffer", "write", bits)

    def leave(self, tensor: str) -> None:
        origin = self.loaded.pop(tensor)
        if not self.held[tensor].stores:
            return
        self.seen.add((tensor, origin))
        maker = next(one for one in self.group.statements if self.ops[one.name].made == tensor)
        tile = {loop.dim: loop.tile for loop in self.group.loops[: maker.depth]}
        own = self.ops[maker.name]
        bits = _words(own, -1, tile) * own.problem.tensors[-1].bits
        self.add("Buffer", "read", bits)
        self.add("DRAM", "write", bits)

    def add(self, level: str, kind: str, bits: float) -> None:
        self.counts[level, kind] = self.counts.get((level, kind), 0.0) + bits

    def energy_pj(self) -> float:
        hierarchy = self.device.arrays["array"]
        macs = sum(self.ops[name].problem.macs for name in self.group.names)
        total = macs * hierarchy.mac_pj
        for node in hierarchy.nodes:
            assert isinstance(node, Storage)
            assert isinstance(node.read_pj_per_bit, float)
            assert isinstance(node.write_pj_per_bit, float)
            total += self.counts.get((node.name, "read"), 0.0) * node.read_pj_per_bit
            total += self.counts.get((node.name, "write"), 0.0) * node.write_pj_per_bit
        return total


@dataclass
class _Run:
    """One statement in one iteration of the shared loops."""

    walk: Walk
    own: Statement
    one: FusedStatement
    at: Mapping[str, int]
    tile: Mapping[str, int]

    def go(self) -> None:
        names = [node.name for node in self.walk.device.arrays["array"].nodes]
        loops = [
            (level, loop.dim, loop.factor)
            for level, row in enumerate(self.one.nest.loops) for loop in row
        ]  # fmt: skip
        present: dict[tuple[int, int], Element] = {}
        for point in _points(loops):
            for t, access in enumerate(self.own.accesses):
                home = "Buffer" if access.tensor in self.walk.held else names[0]
                holders = [(0, home)] + [
                    (level, names[level]) for level in range(1, len(names))
                    if access.tensor in self.one.nest.keeps[level]
                ]  # fmt: skip
                self.touch(t, holders, loops, point, present)
        for t in range(len(self.own.accesses)):
            self.flush(t, names, present)

    def touch(
        self, t: int, holders: list[tuple[int, str]], loops: list[tuple[int, str, int]],
        point: tuple[int, ...], present: dict[tuple[int, int], Element],
    ) -> None:  # fmt: skip
        bits, result = self.own.problem.tensors[t].bits, t == len(self.own.accesses) - 1
        for (_, parent), (level, name) in itertools.pairwise(holders):
            origin, words = self.place(t, level, loops, point)
            if present.get((t, level)) == origin:
                continue
            if result and (t, level) in present:
                self.send(t, parent, name, words)
            present[t, level] = origin
            key = (self.own.name, level, origin)
            if not result or key in self.walk.seen:
                self.walk.add(parent, "read", words * bits)
                self.walk.add(name, "write", words * bits)
            if result:
                self.walk.seen.add(key)
        origin, _ = self.place(t, len(self.one.nest.loops), loops, point)
        last = holders[-1][1]
        key = (self.own.name, -1, origin)
        if not result or key in self.walk.seen:
            self.walk.add(last, "read", bits)
        if result:
            self.walk.add(last, "write", bits)
            self.walk.seen.add(key)

    def send(self, t: int, parent: str, name: str, words: float) -> None:
        bits = words * self.own.problem.tensors[t].bits
        self.walk.add(name, "read", bits)
        self.walk.add(parent, "write", bits)

    def flush(self, t: int, names: list[str], present: dict[tuple[int, int], Element]) -> None:
        if t != len(self.own.accesses) - 1:
            return
        parent = "Buffer" if self.own.made in self.walk.held else names[0]
        for level in range(1, len(names)):
            if (t, level) in present:
                words = _words(self.own, t, self.extents(level))
                self.send(t, parent, names[level], words)
                parent = names[level]

    def extents(self, level: int) -> dict[str, int]:
        found = dict.fromkeys(self.own.problem.dims, 1)
        for row in self.one.nest.loops[level:]:
            for loop in row:
                found[loop.dim] *= loop.factor
        return found

    def place(
        self, t: int, level: int, loops: list[tuple[int, str, int]], point: tuple[int, ...]
    ) -> tuple[Element, float]:
        """Return where the tile of a tensor in a level begins, and its words."""
        left = dict.fromkeys(self.own.problem.dims, 1)
        origin = {dim: self.at.get(dim, 0) for dim in left}
        for (where, dim, factor), i in zip(reversed(loops), reversed(point), strict=True):
            if where < level:
                origin[dim] += i * left[dim]
            left[dim] *= factor
        dims = self.own.problem.tensors[t].dims
        where_ = tuple(origin[dim] for dim in self.own.problem.dims if dim in dims)
        return where_, _words(self.own, t, self.extents(level))


def _points(loops: list[tuple[int, str, int]]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(factor) for _, _, factor in loops))


def _words(own: Statement, t: int, extents: Mapping[str, int]) -> float:
    sizes = dict(zip(own.problem.dims, own.problem.sizes, strict=True))
    words = 1.0
    for axis in own.problem.tensors[t].axes:
        words *= 1 + sum(c * (extents.get(dim, sizes[dim]) - 1) for c, dim in axis)
    return words
