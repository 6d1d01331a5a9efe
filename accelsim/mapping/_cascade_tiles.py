"""Chooses the tiles of a group of Einsums, and says what they take in the buffer.

The largest tile is the largest factor of a rank, in steps of the arrays, whose tensors fit; what
does not fit is refused, or its share of every tensor stays in DRAM.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from accelsim.errors import InfeasibleError, MappingError, nearest
from accelsim.mapping._cascade_spec import FULL, LARGEST, CascadeDevice, GroupSpec
from accelsim.workload.cascade import Cascade

__all__ = ["Tiling", "tile_group"]


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles of a group, and the buffer that they take.

    Parameters
    ----------
    tiles : mapping of str to int
        Rank -> tile, the outermost loop first.
    footprint_bytes : int
        What the buffer would have to hold.
    spilled : float
        Share of it, 0 to 1, that stays in DRAM.
    """

    tiles: Mapping[str, int]
    footprint_bytes: int
    spilled: float


def tile_group(name: str, group: GroupSpec, cascade: Cascade, device: CascadeDevice) -> Tiling:
    """Return the tiles of a group for the buffer of a device.

    Parameters
    ----------
    name : str
        The group, for messages.
    group : GroupSpec
        Its binding.
    cascade : Cascade
        Einsums and sizes of ranks.
    device : CascadeDevice
        Its buffer bounds the tiles, its arrays set their steps.

    Raises
    ------
    InfeasibleError
        If the smallest tile does not fit and nothing may spill.
    MappingError
        If a rank is unknown.
    """
    for rank in group.outer:
        if rank not in cascade.sizes:
            raise MappingError(f"group `{name}`: {nearest(rank, cascade.sizes)} (found `{rank}`)")
    tiles = {
        rank: cascade.sizes[rank] if tile == FULL else min(int(tile), cascade.sizes[rank])
        for rank, tile in group.outer.items()
        if tile != LARGEST
    }
    free = next((rank for rank, tile in group.outer.items() if tile == LARGEST), "")
    choices = _factors(free, group, cascade, device) if free else [0]
    capacity_bytes = device.buffer.capacity
    for choice in choices:
        found = {rank: choice if rank == free else tiles[rank] for rank in group.outer}
        footprint = _footprint(group, cascade, found)
        if footprint <= capacity_bytes:
            return Tiling(found, footprint, 0.0)
    if group.overflow == "spill":
        return Tiling(found, footprint, 1.0 - capacity_bytes / footprint)
    smallest = ", ".join(f"{rank} = {tile}" for rank, tile in found.items())
    raise InfeasibleError(
        f"buffer, for group `{name}`", footprint, capacity_bytes, "bytes", f"tiles {smallest}"
    )


def _factors(rank: str, group: GroupSpec, cascade: Cascade, device: CascadeDevice) -> list[int]:
    """Return the tiles to try, the largest first: factors of the rank in steps of the arrays."""
    size, step = cascade.sizes[rank], 1
    for one in group.einsums.values():
        if one.array in device.arrays:
            step = max(step, device.arrays[one.array].lanes(one.spatial).get(rank, 1))
    step = min(size, step)
    count = math.ceil(size / step)
    small = [k for k in range(1, math.isqrt(count) + 1) if count % k == 0]
    return [step * k for k in sorted({*small, *(count // k for k in small)}, reverse=True)]


def _footprint(group: GroupSpec, cascade: Cascade, tiles: Mapping[str, int]) -> int:
    """Return the bytes of all tensors that are in the buffer at a time."""
    extents = {**cascade.sizes, **tiles}
    staged = {rank: min(n, cascade.sizes[rank]) for rank, n in group.staging.items()}
    held: dict[str, int] = {}
    for tensor, home in group.homes.items():
        if tensor in group.in_place or home == "array":
            continue
        if home == "buffer":
            copies = group.copies.get(tensor, 1)
            held[tensor] = copies * _bytes(tensor, cascade, extents)
        if staged:
            ones = {**dict.fromkeys(tiles, 1), **staged}
            piece = _bytes(tensor, cascade, {**cascade.sizes, **ones})
            held[tensor] = held.get(tensor, 0) + piece
    return sum(held.values())


def _bytes(tensor: str, cascade: Cascade, extents: Mapping[str, int]) -> int:
    one = cascade.tensors[tensor]
    elements = math.prod(extents[rank] for rank in one.ranks if rank)
    return math.ceil(one.size_bytes * elements / one.elements)
