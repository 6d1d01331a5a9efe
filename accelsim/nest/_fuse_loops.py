"""Where each statement of a fused group stands among the shared loops, and what must stay on chip.

A statement runs inside the leading loops over dims that it has; one that makes all of a tensor
before others begin, or waits for all of it, stands outside the deeper loops.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from accelsim.errors import MappingError
from accelsim.nest._fuse_types import Access, Resident, SharedLoop, Statement, tile_words

__all__ = ["Arrangement", "Chain", "arrange", "optional", "required"]


@dataclass(frozen=True)
class Chain:
    """Statements in order of execution, and who makes and reads each tensor.

    Attributes
    ----------
    statements : tuple of Statement
    makers : mapping of str to int
        Tensor -> the statement that makes it.
    readers : mapping of str to tuple of int
        Tensor -> the statements that read it.
    outputs : frozenset of str
        Tensors that leave the cascade.
    """

    statements: tuple[Statement, ...]
    makers: Mapping[str, int]
    readers: Mapping[str, tuple[int, ...]]
    outputs: frozenset[str]

    @classmethod
    def of(cls, statements: Sequence[Statement], outputs: Collection[str] = ()) -> Chain:
        """Return the chain of statements; what nobody reads leaves, too.

        Raises
        ------
        MappingError
            If two statements make one tensor, or one reads what is made only later and is not
            running.
        """
        makers: dict[str, int] = {}
        readers: dict[str, list[int]] = {}
        for place, one in enumerate(statements):
            if one.made in makers:
                raise MappingError(f"`{one.name}` makes `{one.made}`, as another statement does")
            makers[one.made] = place
            for access in one.accesses[:-1]:
                found = readers.setdefault(access.tensor, [])
                if place not in found:
                    found.append(place)
        for tensor, maker in makers.items():
            early = [at for at in readers.get(tensor, ()) if at <= maker]
            if early and not statements[maker].running:
                raise MappingError(
                    f"`{statements[early[0]].name}` reads `{tensor}` before it is made"
                )
        unread = {
            tensor for tensor in makers if not set(readers.get(tensor, ())) - {makers[tensor]}
        }
        return cls(
            tuple(statements), makers, {t: tuple(at) for t, at in readers.items()},
            frozenset(outputs) | unread,
        )  # fmt: skip

    def may_end(self, place: int) -> bool:
        """Return whether groups may part before a statement: no running tensor goes back over."""
        return not any(
            at < place <= maker
            for tensor, maker in self.makers.items()
            for at in self.readers.get(tensor, ())
        )

    def accesses(self, place: int, tensor: str) -> Iterator[tuple[int, Access]]:
        """Yield every access of a statement to a tensor, with its place in the problem."""
        for t, access in enumerate(self.statements[place].accesses):
            if access.tensor == tensor:
                yield t, access


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Statements `first` to `last` - 1 of a chain under shared loops.

    Attributes
    ----------
    loops : tuple of SharedLoop
    depth : tuple of int
        Loops around each statement.
    iterations, repeats : tuple of int
        How often each runs, and how many of these runs add to one result.
    extents : tuple of mapping of str to int
        Size of each statement's dims in one iteration.
    residents : tuple of Resident
    needed : tuple of float
        Bits that residents take in the fusing memory while each statement runs.
    """

    loops: tuple[SharedLoop, ...]
    depth: tuple[int, ...]
    iterations: tuple[int, ...]
    repeats: tuple[int, ...]
    extents: tuple[Mapping[str, int], ...]
    residents: tuple[Resident, ...]
    needed: tuple[float, ...]


def required(chain: Chain, first: int, last: int) -> frozenset[str]:
    """Return dims that a group must loop over one by one: what runs is read before it is made."""
    return frozenset(
        chain.statements[maker].running
        for tensor, maker in chain.makers.items()
        if first <= maker < last
        for at in chain.readers.get(tensor, ())
        if first <= at < maker
    )


def optional(chain: Chain, first: int, last: int) -> tuple[str, ...]:
    """Return tensors that a group reads or makes and that only perhaps stay on chip."""
    names: dict[str, None] = {}
    for place in range(first, last):
        for access in chain.statements[place].accesses:
            maker = chain.makers.get(access.tensor, -1)
            inside = [at for at in chain.readers.get(access.tensor, ()) if first <= at < last]
            if not (first <= maker < last and inside):
                names[access.tensor] = None
    return tuple(names)


def arrange(
    chain: Chain, first: int, last: int, loops: tuple[SharedLoop, ...], pins: frozenset[str],
    buffers: int, together: bool,
) -> Arrangement | None:  # fmt: skip
    """Return where statements and tensors stand under shared loops; None if they cannot.

    Parameters
    ----------
    chain : Chain
    first, last : int
        Statements of the group: `last` is not in it.
    loops : tuple of SharedLoop
        Outermost first.
    pins : frozenset of str
        Tensors, of those of `optional`, that stay on chip too.
    buffers : int
        Tiles in flight of what comes from or goes outside.
    together : bool
        Whether a tile between two arrays is made while the one before is read.
    """
    depth = _depths(chain, first, last, tuple(loop.dim for loop in loops))
    for j, loop in enumerate(loops):
        if sum(d > j for d in depth) < 2:
            return None
        if loop.tile > 1 and loop.dim in required(chain, first, last):
            return None
    iterations = tuple(math.prod(loop.trips for loop in loops[:d]) for d in depth)
    whole = Arrangement(loops, tuple(depth), iterations, (), (), (), ())
    residents = tuple(_residents(chain, first, last, whole, pins, buffers, together))
    needed = tuple(
        sum(one.bits for one in residents if one.first <= at <= one.last)
        for at in range(last - first)
    )
    repeats, extents = [], []
    for at, d in enumerate(depth):
        problem = chain.statements[first + at].problem
        made = problem.tensors[-1].dims
        repeats.append(math.prod(loop.trips for loop in loops[:d] if loop.dim not in made))
        sizes = dict(zip(problem.dims, problem.sizes, strict=True))
        extents.append(sizes | {loop.dim: loop.tile for loop in loops[:d]})
    return Arrangement(
        loops, tuple(depth), iterations, tuple(repeats), tuple(extents), residents, needed
    )  # fmt: skip


def _depths(chain: Chain, first: int, last: int, dims: tuple[str, ...]) -> list[int]:
    """Return how many loops stand around each statement, as many as are legal."""
    depth = []
    for one in chain.statements[first:last]:
        leading = (j for j, dim in enumerate(dims) if dim not in one.problem.dims)
        depth.append(next(leading, len(dims)))
    before: list[int] = []
    while before != depth:
        before = list(depth)
        for maker, reader, legal in _edges(chain, first, last):
            common = min(depth[maker], depth[reader])
            broken = next((j for j in range(common) if dims[j] not in legal), None)
            if broken is not None:
                earlier = min(maker, reader)
                depth[earlier] = broken
        for j in range(len(dims)):
            inside = [at for at, d in enumerate(depth) if d > j]
            for at in inside[:-1]:
                if any(depth[x] <= j for x in range(at, inside[-1])):
                    depth[at] = j
    return depth


def _edges(chain: Chain, first: int, last: int) -> Iterator[tuple[int, int, frozenset[str]]]:
    """Yield maker and reader of each tensor between them, and the dims that index it in both."""
    for tensor, maker in chain.makers.items():
        if not first <= maker < last:
            continue
        made = chain.statements[maker].accesses[-1].ranks
        for reader in chain.readers.get(tensor, ()):
            if not first <= reader < last:
                continue
            for t, access in chain.accesses(reader, tensor):
                if reader == maker and t == len(chain.statements[reader].accesses) - 1:
                    continue
                yield maker - first, reader - first, _alike(made, access.ranks)


def _alike(one: tuple[str, ...], other: tuple[str, ...]) -> frozenset[str]:
    """Return dims that index the same axis of a tensor in two statements."""
    if len(one) != len(other):
        return frozenset()
    return frozenset(a for a, b in zip(one, other, strict=True) if a and a == b)


def _residents(
    chain: Chain, first: int, last: int, group: Arrangement, pins: frozenset[str], buffers: int,
    together: bool,
) -> Iterator[Resident]:  # fmt: skip
    users: dict[str, list[int]] = {}
    for at in range(last - first):
        for access in chain.statements[first + at].accesses:
            if at not in users.setdefault(access.tensor, []):
                users[access.tensor].append(at)
    unsure = optional(chain, first, last)
    for tensor, used in users.items():
        if tensor in unsure and tensor not in pins:
            continue
        maker = chain.makers.get(tensor, -1) - first
        inside = 0 <= maker < last - first
        place = maker if inside else used[0]
        t, access = list(chain.accesses(first + place, tensor))[-1 if inside else 0]
        common = _common(chain, first, tensor, used, group)
        loops = group.loops[:common]
        own = [j for j, loop in enumerate(loops) if loop.dim in _dims(chain, first + place, t)]
        stays = common if inside and tensor not in unsure else max(own, default=-1) + 1
        one = chain.statements[first + place]
        runs = [j for j, loop in enumerate(loops) if loop.dim == one.running and inside]
        if runs:
            stays = min(stays, runs[0])
        tile = {loop.dim: loop.tile for loop in loops}
        if inside and one.running:
            tile |= _state(chain, first, group, tensor, used, maker)
        bits = tile_words(one.problem, t, tile) * one.problem.tensors[t].bits
        visits = math.prod(loop.trips for loop in group.loops[:stays])
        tiles = math.prod(loops[j].trips for j in own)
        loads, stores = 0.0, 0.0
        if not inside:
            loads = visits * bits
        elif tensor in unsure:
            loads, stores = (visits - tiles) * bits, visits * bits
        elif tensor in chain.outputs or _read_outside(chain, first, last, tensor):
            stores = math.prod(loop.trips for loop in loops) * bits
        copies = buffers if visits > 1 and (loads or stores) else 1
        arrays = {chain.statements[first + at].array for at in used}
        if together and len(arrays) > 1 and group.loops:
            copies = max(copies, 2)
        if one.running and inside:
            bits += _step_bits(one, t, tile)
        low, high = used[0], used[-1]
        if any(group.depth[at] > stays for at in used):
            block = [at for at, d in enumerate(group.depth) if d > stays]
            low, high = min(low, block[0]), max(high, block[-1])
        charged = maker if inside else used[0]
        yield Resident(tensor, bits * copies, loads, stores, low, high, charged, access.role)


def _state(
    chain: Chain, first: int, group: Arrangement, tensor: str, used: list[int], maker: int
) -> dict[str, int]:
    """Return the steps of a running tensor that stay, where those outside its loop read the last.

    They see one coordinate of it, not all.
    """
    running = chain.statements[first + maker].running
    for j, loop in enumerate(group.loops[: group.depth[maker]]):
        outside = [at for at in used if group.depth[at] <= j]
        if loop.dim == running and not any(
            running in _dims(chain, first + at, t)
            for at in outside
            for t, _ in chain.accesses(first + at, tensor)
        ):
            return {running: loop.tile}
    return {}


def _step_bits(one: Statement, t: int, tile: Mapping[str, int]) -> float:
    """Return the bits of one step of a running tensor: the state before the tile's first."""
    step = {**tile, one.running: 1}
    return tile_words(one.problem, t, step) * one.problem.tensors[t].bits


def _dims(chain: Chain, place: int, t: int) -> frozenset[str]:
    return chain.statements[place].problem.tensors[t].dims


def _common(chain: Chain, first: int, tensor: str, used: list[int], group: Arrangement) -> int:
    """Return the loops around all users of a tensor under which they mean the same tile."""
    common = min(group.depth[at] for at in used)
    every = [
        (access.ranks, _dims(chain, first + at, t))
        for at in used
        for t, access in chain.accesses(first + at, tensor)
    ]
    maker = chain.makers.get(tensor, -1) - first
    if maker in used:  # legal by `_depths`
        return common
    for j, loop in enumerate(group.loops[:common]):
        without = all(loop.dim not in dims for _, dims in every)
        same = all(loop.dim in _alike(every[0][0], ranks) for ranks, _ in every)
        if not (without or same):
            return j
    return common


def _read_outside(chain: Chain, first: int, last: int, tensor: str) -> bool:
    return any(not first <= at < last for at in chain.readers.get(tensor, ()))
