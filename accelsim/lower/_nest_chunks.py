"""Cuts the steps of a nest into chunks, and says which tiles move beside which chunk.

A chunk is a run of steps that the units make without a mark between.  Tiles of a stream that move
beside the same chunk are one task, a *piece*; which piece brings a tile is arithmetic on steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accelsim.lower._nest_streams import Level, TileStream

__all__ = ["Pieces", "boundaries", "pieces_of"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MOST: Final = 8


def boundaries(steps: int, levels: Sequence[Level], chunks: int) -> Ints:
    """Return the steps at which chunks begin, and the end.

    Parameters
    ----------
    steps : int
        Of the nest.
    levels : sequence of Level
    chunks : int
        Tiles of a level that may be told apart; of a level with more, runs of tiles are one
        chunk, except those next to the edge of a tile further out and the last.  Fewer where
        nested levels would make more than `_MOST` times as many chunks.

    Notes
    -----
    The first tile of an inner level in each tile of an outer one can only come when that has,
    and the last drains beside the next, so the two must not be part of a run.
    """
    apart = chunks
    while True:
        edges = _edges(steps, levels, apart)
        if len(edges) <= _MOST * chunks or apart == 1:
            return np.array(edges, np.int64)
        apart -= -(-apart // 4)


def _edges(steps: int, levels: Sequence[Level], chunks: int) -> list[int]:
    edges = {0, steps}
    periods = [steps // level.tiles for level in levels]
    for period in sorted([*periods, 1], reverse=True):
        known = sorted(edges)
        if period in periods:
            beside = (edge + shift for edge in known for shift in (-period, period))
            edges.update(step for step in beside if 0 < step < steps)
        if len(known) < chunks:
            run = -(-(steps // period) // chunks)
            edges.update(range(0, steps, run * period))
    return sorted(edges)


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The pieces of one stream, numbered in the order in which they move.

    Attributes
    ----------
    stream : TileStream
    period : int
        Steps for which a tile stays.
    ahead : bool
        Double buffered: tiles move beside the chunks.  Else loads move before a chunk, and
        results after.
    edges : (n + 1,) int64
        As of `boundaries`.
    share : (P,) float64
        What part of the stream each piece is.
    chunk : (P,) int64
        The chunk that each belongs to.
    """

    stream: TileStream
    period: int
    ahead: bool
    edges: Ints
    share: Floats
    chunk: Ints

    def brings(self, tile: Ints) -> Ints:
        """Return the piece with which a tile has arrived, or has left."""
        last = self.stream.tiles - 1
        step, n = np.minimum(tile, last) * self.period, len(self.edges) - 1
        if not self.ahead and self.stream.outwards:
            found = np.searchsorted(self.edges, step + self.period, "left") - 1
        elif not self.ahead:
            found = np.searchsorted(self.edges, step, "right") - 1
        elif self.stream.outwards:
            found = np.searchsorted(self.edges, step + 2 * self.period, "left") - 1
            found = np.where(tile >= last, n, found)
        else:
            found = np.searchsorted(self.edges, step, "left")
        return np.where(tile < 0, -1, found).astype(np.int64)

    def before(self) -> Ints:
        """Return for each chunk the piece that must have moved before it starts, or -1.

        Its own tile must be there, and of results the one before the last gone.
        """
        chunk = np.arange(len(self.edges) - 1)
        if not self.ahead:
            return chunk - 1 if self.stream.outwards else chunk
        now = self.edges[:-1] // self.period
        return self.brings(now - 2 if self.stream.outwards else now)

    def room(self) -> Ints:
        """Return for each piece the chunks that must have ended before, so that there is room.

        Double buffered: those that use the tile before the one in use beside the piece.
        """
        if not self.ahead:
            return self.chunk + int(self.stream.outwards)
        at = self.edges[:-1] // self.period * self.period
        waits = np.searchsorted(self.edges, at, "left")
        n = len(self.edges) - 1
        whole = [*waits, n] if self.stream.outwards else [0, *waits]
        return np.array(whole, np.int64)

    def first_tile(self) -> Ints:
        """Return the first tile of each piece."""
        begin, last = self.edges[:-1] // self.period, self.stream.tiles - 1
        if not self.ahead and self.stream.outwards:
            return np.minimum(begin, last)
        if not self.ahead:
            return np.minimum(-(-self.edges[:-1] // self.period), last)
        if self.stream.outwards:
            return np.array([*(begin - 1), last], np.int64)
        return np.array([0, *np.minimum(begin + 1, last)], np.int64)


def pieces_of(stream: TileStream, steps: int, buffers: int, edges: Ints) -> Pieces:
    """Return the pieces of a stream.

    Parameters
    ----------
    stream : TileStream
    steps : int
        Of the nest.
    buffers : int
        Tiles that the inner memory has room for.
    edges : (n + 1,) int64
        As of `boundaries`.
    """
    period, chunk = steps // stream.tiles, np.arange(len(edges) - 1)
    ahead = buffers > 1
    after = edges[1:] / period
    if ahead and stream.outwards:
        moved = np.array([0.0, *np.maximum(0.0, after - 1.0), stream.tiles])
        chunk = np.append(chunk, chunk[-1])
    elif ahead:
        moved = np.array([0.0, 1.0, *np.minimum(stream.tiles, 1.0 + after)])
        chunk = np.array([0, *chunk])
    elif stream.outwards:
        moved = np.array([0.0, *np.floor(after)])
    else:
        moved = np.array([0.0, *np.ceil(after)])
    return Pieces(stream, period, ahead, edges, np.diff(stream.share(moved)), chunk)
