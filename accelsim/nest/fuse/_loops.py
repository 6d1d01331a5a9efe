"""Shared loops around the statements of a group, and what must stay on chip under them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from accelsim.nest.fuse._chain import Chain, alike, depths, optional, required
from accelsim.nest.fuse._types import Resident, SharedLoop, Statement, tile_words

__all__ = ["Arrangement", "arrange"]


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
    dims = tuple(loop.dim for loop in loops)
    depth = depths(chain, first, last, dims)
    if depth is None:
        return None
    for loop in loops:
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
        same = all(loop.dim in alike(every[0][0], ranks) for ranks, _ in every)
        if not (without or same):
            return j
    return common


def _read_outside(chain: Chain, first: int, last: int, tensor: str) -> bool:
    return any(not first <= at < last for at in chain.readers.get(tensor, ()))
