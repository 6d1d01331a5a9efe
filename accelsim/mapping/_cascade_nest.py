"""Counts what a nest of loops moves: trips, steps, and how often a tensor is fetched again.

A tensor that stays in place while inner loops run over other ranks is fetched once for them; every
loop outside the innermost one that changes it brings it again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from accelsim.errors import MappingError

__all__ = ["Loop", "fetches", "inner_loops", "outer_loops", "steps"]


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop over the tiles of one rank."""

    rank: str
    trips: int


def outer_loops(
    ranks: Iterable[str], tiles: Mapping[str, int], sizes: Mapping[str, int]
) -> tuple[Loop, ...]:
    """Return the loops over the tiles of a group that an Einsum with these ranks is in.

    Parameters
    ----------
    ranks : iterable of str
        Iteration space of the Einsum.
    tiles : mapping of str to int
        Rank -> tile, the outermost loop first.
    sizes : mapping of str to int
        Rank -> size.
    """
    mine = set(ranks)
    return tuple(Loop(r, math.ceil(sizes[r] / tile)) for r, tile in tiles.items() if r in mine)


def inner_loops(
    ranks: Sequence[str], order: Sequence[str], spatial: Mapping[str, int],
    extents: Mapping[str, int], name: str,
) -> tuple[Loop, ...]:  # fmt: skip
    """Return the loops inside a tile, of steps of the array.

    Parameters
    ----------
    ranks : sequence of str
        Iteration space of the Einsum.
    order : sequence of str
        Ranks of the loops, the outermost first.
    spatial : mapping of str to int
        Rank -> PEs that it is laid over.
    extents : mapping of str to int
        Rank -> extent of the tile.
    name : str
        The Einsum, for messages.

    Raises
    ------
    MappingError
        If the loops and the PEs do not cover a rank, or name one that the Einsum has not.
    """
    for rank in (*order, *spatial):
        if rank not in ranks:
            raise MappingError(f"`{name}` has no rank `{rank}`; it has {', '.join(ranks)}")
    loops = {r: math.ceil(extents[r] / min(spatial.get(r, 1), extents[r])) for r in ranks}
    for rank, trips in loops.items():
        if trips > 1 and rank not in order:
            raise MappingError(
                f"`{name}`: rank `{rank}` has a tile of {extents[rank]}, the array takes"
                f" {spatial.get(rank, 1)} at a time, and no inner loop runs over it"
            )
    return tuple(Loop(rank, loops[rank]) for rank in order)


def steps(loops: Iterable[Loop]) -> int:
    """Return how often the innermost body runs."""
    return math.prod(loop.trips for loop in loops)


def fetches(loops: Sequence[Loop], ranks: Iterable[str]) -> int:
    """Return how often all of a tensor is brought in below a nest of loops.

    Parameters
    ----------
    loops : sequence of Loop
        The outermost first.
    ranks : iterable of str
        Those of the tensor.

    Notes
    -----
    The rule of `accelsim.nest`, for named ranks: its kernel counts it over the arrays of a whole
    hierarchy, which an Einsum between two memories has no use for. A test holds the two together.

    Examples
    --------
    >>> nest = (Loop("p", 4), Loop("m", 8))
    >>> fetches(nest, ("p", "e")), fetches(nest, ("m", "e")), fetches(nest, ("e",))
    (1, 4, 1)
    """
    mine = set(ranks)
    changing = [i for i, loop in enumerate(loops) if loop.rank in mine and loop.trips > 1]
    if not changing:
        return 1
    return math.prod(loop.trips for loop in loops[: changing[-1]] if loop.rank not in mine)
