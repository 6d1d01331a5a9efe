"""Emits the tasks of a nest in blocks of arrays: markers and compute of chunks, pieces of streams.

Which task waits for which is decided here, for all chunks or pieces of a kind at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.engine import TaskGraph, task_graph
from accelsim.lower._nest_chunks import Pieces, boundaries, pieces_of
from accelsim.lower._nest_streams import ARRAY, ORDER, WAVES, Lane, Level, Streams, TileStream

__all__ = ["Blocks", "emit"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Blocks:
    """Tasks and edges of a graph that grows by blocks of arrays."""

    def __init__(self) -> None:
        self.count = 0
        self.columns: list[tuple[Ints, ...]] = []
        self.edges: list[tuple[Ints, Ints]] = []

    def add(
        self, resource: int, duration_ps: Ints, priority: Ints, owner: int,
        size_bytes: Ints | None = None, release_ps: Ints | None = None,
    ) -> Ints:  # fmt: skip
        """Return the numbers of new tasks, one for each duration."""
        n = len(duration_ps)
        zero = np.zeros(n, np.int64)
        self.columns.append((
            np.full(n, resource, np.int64), duration_ps, priority, np.full(n, owner, np.int64),
            zero if size_bytes is None else size_bytes,
            zero if release_ps is None else release_ps,
        ))  # fmt: skip
        self.count += n
        return np.arange(self.count - n, self.count)

    def edge(self, before: Ints, after: Ints) -> None:
        """Let tasks wait for others, one by one; -1 on either side means none."""
        real = (before >= 0) & (after >= 0)
        self.edges.append((before[real], after[real]))

    def graph(self, names: Sequence[str], servers: Ints) -> TaskGraph:
        """Return the graph of all blocks."""
        columns = [np.concatenate(parts) for parts in zip(*self.columns, strict=True)]
        resource, duration, priority, owner, size, release = columns
        before = np.concatenate([edge[0] for edge in self.edges])
        after = np.concatenate([edge[1] for edge in self.edges])
        pairs = np.unique(after * np.int64(self.count) + before)  # sorted by task, each edge once
        counts = np.bincount(pairs // self.count, minlength=self.count)
        return task_graph(
            resource, duration, np.concatenate([[0], counts.cumsum()]), pairs % self.count,
            priority=priority, owner=owner, size_bytes=size, release_ps=release,
            resource_names=names, servers=servers,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Moves:
    """The pieces of a stream and their tasks, one row for each port."""

    pieces: Pieces
    tasks: list[Ints]  # -1 where a piece is empty
    late: list[Ints]  # the part of a piece that cannot come beside loads of outer levels, or -1
    latest: list[Ints]  # the last task up to each piece, or -1

    def done(self, piece: Ints) -> list[Ints]:
        """Return, port by port, the tasks with which pieces have moved."""
        return [np.where(piece >= 0, row[piece], -1) for row in self.latest]


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """All tasks of one copy of a nest, by what they do; chunk by chunk where not said."""

    blocks: Blocks
    streams: Streams
    edges: Ints
    start: Ints
    end: Ints
    moves: tuple[_Moves, ...]
    waves: dict[int, Ints]  # by node


def whole_ps(share: Floats, total_ps: float) -> Ints:
    """Return durations in whole picoseconds that add up to the total."""
    whole = np.rint(np.concatenate([[0.0], share.cumsum()]) * total_ps)
    return np.diff(whole).astype(np.int64)


def emit(
    blocks: Blocks, streams: Streams, cycle_ps: float, chunks: int, place: Sequence[int]
) -> int:
    """Add the tasks of one copy of a nest, and return the number of its chunks.

    Parameters
    ----------
    blocks : Blocks
        What they are added to.
    streams : Streams
        What moves; a task's owner is the place of its stream among tiles and operands, plus 3.
    cycle_ps : float
    chunks : int
        As of `boundaries`.
    place : sequence of int
        For each resource of the streams its number in the graph.
    """
    edges = boundaries(streams.steps, streams.levels, chunks)
    n = len(edges) - 1
    number, share = np.arange(n), np.diff(edges) / streams.steps
    nothing = np.zeros(n, np.int64)
    start = blocks.add(place[ORDER], nothing, 2 * number, ORDER)
    made_ps = streams.steps * streams.step_cycles * cycle_ps
    made = blocks.add(place[ARRAY], whole_ps(share, made_ps), 2 * number, ARRAY)
    end = blocks.add(place[ORDER], nothing, 2 * number, ORDER)
    blocks.edge(start, made)
    blocks.edge(made, end)
    blocks.edge(end[:-1], start[1:])
    moves = tuple(
        _move(blocks, streams, i, edges, cycle_ps, place) for i in range(len(streams.tiles))
    )
    for i, stream in enumerate(streams.operands):
        if not stream.lanes:
            continue
        beside = np.diff(stream.share(edges.astype(np.float64)))
        owner = 3 + len(streams.tiles) + i
        for row in _rows(blocks, stream, beside, 2 * number, cycle_ps, place, owner):
            blocks.edge(start, row)
            blocks.edge(row, end)
    work = _Work(blocks, streams, edges, start, end, moves, {})
    for level in range(len(streams.levels) - 1, -1, -1):
        _waves(work, level, cycle_ps, place)
    for move in moves:
        _order(work, move)
    return n


def _rows(
    blocks: Blocks, stream: TileStream, share: Floats, priority: Ints, cycle_ps: float,
    place: Sequence[int], owner: int,
) -> list[Ints]:  # fmt: skip
    """Add the tasks of a stream on each of its ports; -1 where a piece is empty.

    Where nothing limits a stream its tasks take no time, but things still wait for each other.
    """
    rows = []
    for i, lane in enumerate(stream.lanes or (Lane(ORDER, 0.0),)):
        duration = whole_ps(share, lane.cycles * cycle_ps)
        size = whole_ps(share, stream.bits / 8.0) if i == 0 else np.zeros_like(duration)
        real = share > 0.0
        tasks = np.full(len(duration), -1, np.int64)
        tasks[real] = blocks.add(
            place[lane.resource], duration[real], priority[real], owner, size[real]
        )
        rows.append(tasks)
    return rows


def _move(
    blocks: Blocks, streams: Streams, number: int, edges: Ints, cycle_ps: float,
    place: Sequence[int],
) -> _Moves:  # fmt: skip
    """Add the pieces of a stream, each in two parts: tiles that come early, and late."""
    stream = streams.tiles[number]
    level = next(i for i, found in enumerate(streams.levels) if found.node == stream.node)
    pieces = pieces_of(stream, streams.steps, streams.levels[level].buffers, edges)
    late = np.zeros_like(pieces.share)
    if not stream.outwards and not pieces.ahead:
        tiles = pieces.share * stream.tiles
        for outer in streams.levels[:level]:
            begun = np.diff(-(-edges // (streams.steps // outer.tiles)))  # outer tiles
            if outer.buffers == 1:
                runs = _pauses(streams, outer, edges) > 0
                late = np.maximum(late, np.where(runs, tiles - begun, 0.0))
        late = np.where(tiles > 0.0, late / np.maximum(tiles, 1.0), 0.0) * pieces.share
    parts = np.stack([pieces.share - late, late], axis=1).ravel()
    # What this chunk cannot do without goes before what the next one will want.
    urgency = np.repeat(2 * pieces.chunk + int(pieces.ahead), 2)
    rows = _rows(blocks, stream, parts, urgency, cycle_ps, place, 3 + number)
    latest = [np.maximum.accumulate(row) for row in rows]  # numbers grow along a row
    for row, last in zip(rows, latest, strict=True):
        blocks.edge(np.concatenate([[-1], last[:-1]]), row)
    return _Moves(
        pieces, [part for row in rows for part in (row[::2], row[1::2])],
        [row[1::2] for row in rows], [last[1::2] for last in latest],
    )  # fmt: skip


def _wait(blocks: Blocks, before: Iterable[Ints], after: Ints) -> None:
    for tasks in before:
        blocks.edge(tasks, after)


def _waves(work: _Work, level: int, cycle_ps: float, place: Sequence[int]) -> None:
    """Add the waves of a level: after every chunk, or where all inside comes to rest.

    Where tiles follow each other without a pause each is as late as the wave before it, so that
    only the last wave is seen.
    """
    found, edges = work.streams.levels[level], work.edges
    period = work.streams.steps // found.tiles
    tiles, waits = np.diff(edges // period), [work.end]
    if found.buffers > 1:
        resting = np.zeros(len(tiles), np.bool_)
        resting[-1] = True
        for outer in work.streams.levels[:level]:
            if outer.buffers == 1:
                resting |= edges[1:] % (work.streams.steps // outer.tiles) == 0
        cycles = np.where(resting, np.minimum(tiles, 1), 0) * float(found.skew)
    else:
        # Pauses within a run of tiles, which no mark of an inner level shows.
        pauses = _pauses(work.streams, found, edges)
        inner = work.streams.levels[level + 1 :]
        refill = sum(_refill(work.streams, one, found) for one in inner)
        cycles = tiles * float(found.skew) + pauses * refill
        beside = _beside(work, {one.node for one in inner if one.buffers > 1})
        waits += [np.where(pauses > 0, tasks, -1) for tasks in beside]
    duration = np.rint(cycles * cycle_ps).astype(np.int64)
    real = np.flatnonzero(duration)
    waves = np.full(len(tiles), -1, np.int64)
    waves[real] = work.blocks.add(place[WAVES], duration[real], 2 * real, WAVES)
    # Results of a double buffered level leave in the frame of the wave, so it ends behind them.
    inside = level if found.buffers == 1 else level - 1
    _wait(work.blocks, [*waits, *_inside(work, inside, np.arange(len(tiles)))], waves)
    if found.buffers == 1:
        work.blocks.edge(waves[:-1], work.start[1:])
    work.waves[found.node] = waves


def _beside(work: _Work, nodes: set[int]) -> list[Ints]:
    """Return the tasks that end what streams into and out of some memories beside each chunk."""
    chunk = np.arange(len(work.start))
    waits = []
    for move in work.moves:
        if move.pieces.stream.node in nodes:
            waits += move.done(chunk + int(not move.pieces.stream.outwards))
    return waits


def _refill(streams: Streams, level: Level, outer: Level) -> float:
    """Return the cycles that a pause adds in a double buffered level, which else overlap.

    Its first load, its last tile and the last drain are seen, less the longest of them, in each
    tile of a single buffered memory outside it; a load as often as its tensor changes there.
    """
    if level.buffers == 1:
        return 0.0
    changes = {s.tensor: s.tiles / outer.tiles for s in streams.tiles if s.node == outer.node}
    ports: dict[bool, dict[int, float]] = {False: defaultdict(float), True: defaultdict(float)}
    for stream in streams.tiles:
        if stream.node == level.node:
            often = 1.0 if stream.outwards else changes.get(stream.tensor, 0.0)
            for lane in stream.lanes:
                ports[stream.outwards][lane.resource] += often * lane.cycles / stream.tiles
    loads, drains = ports[False], ports[True]
    both = [loads.get(port, 0.0) + drains.get(port, 0.0) for port in {*loads, *drains}]
    step = streams.steps * streams.step_cycles / level.tiles
    alone = max(loads.values(), default=0.0) + step + max(drains.values(), default=0.0)
    return alone - max([step, *both]) + level.skew


def _inside(work: _Work, level: int, chunk: Ints) -> list[Ints]:
    """Return what must have ended so that all levels inside one are done with some chunks."""
    nodes = {found.node for found in work.streams.levels[level + 1 :]}
    last = np.maximum(chunk, 0)
    waits = [
        np.where(chunk >= 0, work.waves[node][last], -1) for node in nodes if node in work.waves
    ]
    for move in work.moves:
        if move.pieces.stream.outwards and move.pieces.stream.node in nodes:
            tile = work.edges[last + 1] // move.pieces.period - 1
            waits += move.done(np.where(chunk >= 0, move.pieces.brings(tile), -1))
    return waits


def _order(work: _Work, move: _Moves) -> None:
    """Let a stream's pieces wait for what they need, and chunks for the pieces."""
    pieces, blocks = move.pieces, work.blocks
    stream = pieces.stream
    nodes = [found.node for found in work.streams.levels]
    level = nodes.index(stream.node)
    _wait(blocks, move.done(pieces.before()), work.start)
    chunk, alone = pieces.room() - 1, not stream.outwards and not pieces.ahead
    waits = [np.where(chunk >= 0, work.end[np.maximum(chunk, 0)], -1)]
    waits += _inside(work, level, chunk) if stream.outwards or not pieces.ahead else []
    if not pieces.ahead:
        for outer in work.streams.levels[: level + 1]:
            if outer.buffers == 1 and (outer.node == stream.node or not stream.outwards):
                waves = work.waves[outer.node][np.maximum(chunk, 0)]
                waits.append(np.where(chunk >= 0, waves, -1))
    for other in work.moves:
        theirs = other.pieces.stream
        if not stream.outwards and not theirs.outwards and theirs.tensor == stream.tensor:
            if theirs.node == stream.parent:
                waits += other.done(_arrived(pieces, other.pieces))
        elif alone and theirs.outwards and theirs.node == stream.node:
            waits += other.done(pieces.chunk - 1)
    for row in move.tasks:
        _wait(blocks, waits, row)
    if alone:
        outside = _outside(work, level, pieces)
        for row in move.late:
            _wait(blocks, outside, row)


def _pauses(streams: Streams, level: Level, edges: Ints) -> Ints:
    """Return how many tiles of a level begin within each chunk, behind its first step."""
    period = streams.steps // level.tiles
    found: Ints = (edges[1:] - 1) // period - edges[:-1] // period
    return found


def _outside(work: _Work, level: int, pieces: Pieces) -> list[Ints]:
    """Return what late parts wait for: loads of single buffered levels outside, in runs.

    Beside the load of each outer tile the first inner one can come, the others when it is there.
    """
    waits: list[Ints] = []
    for outer in work.streams.levels[:level]:
        if outer.buffers == 1:
            runs = _pauses(work.streams, outer, work.edges)[pieces.chunk] > 0
            for other in work.moves:
                if other.pieces.stream.node == outer.node and not other.pieces.stream.outwards:
                    waits += other.done(np.where(runs, pieces.chunk, -1))
    return waits


def _arrived(pieces: Pieces, outer: Pieces) -> Ints:
    """Return for each piece of a load that of the outer memory's load which must be there."""
    if not pieces.ahead and not outer.ahead:
        return pieces.chunk  # all tiles of a run, in turn
    # Where the outer memory takes runs of tiles, the others arrive while the piece moves.
    return outer.brings(pieces.first_tile() * pieces.period // outer.period)
