"""What moves in a mapped operator: one stream of tiles for each tensor between two memories.

Periods, cycles on each port and bytes, all from the counts of `accelsim.nest`, so that the event
view moves exactly what the analytic one counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.nest import Figures, Hierarchy, Nest, Problem, Storage
from accelsim.nest.hierarchy import HierarchyArrays
from accelsim.nest.nest import tile_bits

__all__ = ["ARRAY", "ORDER", "WAVES", "Lane", "Level", "Streams", "TileStream", "streams_of"]

ARRAY, WAVES, ORDER = 0, 1, 2
"""Resources that every nest has: the units, waves that cross fan-outs, and marks in time."""

_READS, _FILLS, _UPDATES, _DRAINS = 0, 1, 2, 3  # columns of `Figures.accesses`

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Direction = Literal["load", "back", "drain"]

_WORDS: Final[dict[Direction, str]] = {
    "load": "to", "back": "partial sums back to", "drain": "from",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lane:
    """A resource that a stream occupies, and for how many cycles all its tiles together."""

    resource: int
    cycles: float


@dataclass(frozen=True, slots=True)
class TileStream:
    """Tiles of one tensor on their way between a memory and the next outside that holds it.

    Attributes
    ----------
    label : str
    tensor : int
        Its place among the problem's tensors.
    node, parent : int
        Nodes of the inner memory (the number of nodes for the units) and of the outer.
    direction : {"load", "back", "drain"}
        Operand inwards, partial sums inwards, result outwards.
    tiles : int
        How often the inner memory's tile changes; divides the steps of the nest.
    repeats : tuple of (int, bool)
        Of partial sums: the loops that change tiles, outermost first, and whether each leads to
        other results; a tile that comes for the first time has nothing to read back.
    lanes : tuple of Lane
        Ports at both ends and, of systolic arrays, the chain; each serves a tile on its own.
    bits : float
        Of all tiles, at the outer memory.
    """

    label: str
    tensor: int
    node: int
    parent: int
    direction: Direction
    tiles: int
    repeats: tuple[tuple[int, bool], ...]
    lanes: tuple[Lane, ...]
    bits: float

    @property
    def outwards(self) -> bool:
        """Whether tiles leave the inner memory."""
        return self.direction == "drain"

    def share(self, tiles: Floats) -> Floats:
        """Return the part of all the stream's words that the first so many tiles are."""
        plain: Floats = tiles / self.tiles
        if not self.repeats:
            return plain
        whole = np.floor(tiles).astype(np.int64)
        below, above = self._again(whole), self._again(np.minimum(whole + 1, self.tiles))
        total = float(self._again(np.array([self.tiles]))[0])
        if total == 0.0:
            return plain
        found: Floats = (below + (tiles - whole) * (above - below)) / total
        return found

    def _again(self, tiles: Ints) -> Floats:
        """Return how many of the first so many tiles have been there before."""
        first = np.zeros(tiles.shape)
        fresh = np.ones(tiles.shape, np.bool_)  # all loops that repeat results stand at 0
        stride = self.tiles
        for place, (factor, other) in enumerate(self.repeats):
            stride //= factor
            digit = tiles // stride % factor
            inner = math.prod(f for f, relevant in self.repeats[place + 1 :] if relevant)
            if other:
                first += np.where(fresh, digit * inner, 0)
            else:
                first += np.where(fresh & (digit > 0), inner, 0)
                fresh &= digit == 0
        every = math.prod(f for f, relevant in self.repeats if relevant)
        first = np.where(tiles >= self.tiles, every, first)
        return tiles - first


@dataclass(frozen=True, slots=True)
class Level:
    """A memory that is filled tile by tile.

    Attributes
    ----------
    node : int
    tiles : int
        Of its tensor that changes most often.
    buffers : int
    skew : int
        Cycles in which a wave crosses the fan-outs outside it.
    """

    node: int
    tiles: int
    buffers: int
    skew: int


@dataclass(frozen=True, slots=True)
class Streams:
    """All that moves.

    Attributes
    ----------
    steps : int
        Iterations of all loops over time.
    step_cycles : float
        Of the units, for one of them.
    levels : tuple of Level
        Outermost first.
    tiles : tuple of TileStream
        Into and out of those levels.
    operands : tuple of TileStream
        Between the units and the memories that serve them, beside every step.
    resources : tuple of str
        Names; `ARRAY`, `WAVES` and `ORDER` first.
    at_node : tuple of int
        For each resource the node whose port it is; -1 for the first three.
    """

    steps: int
    step_cycles: float
    levels: tuple[Level, ...]
    tiles: tuple[TileStream, ...]
    operands: tuple[TileStream, ...]
    resources: tuple[str, ...]
    at_node: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Ports:
    """Numbers of the resources of each memory: port for reads, for writes, chain."""

    read: dict[int, int]
    write: dict[int, int]
    chain: dict[int, int]


def streams_of(problem: Problem, hierarchy: Hierarchy, nest: Nest, figures: Figures) -> Streams:
    """Return what moves in a nest.

    Parameters
    ----------
    problem, hierarchy, nest
        As `accelsim.nest.evaluate` has accepted them.
    figures : Figures
        Its answer, with reads of drained results counted.
    """
    arrays, device = nest.arrays(problem), hierarchy.arrays(problem)
    nodes, last = len(hierarchy.nodes), len(problem.tensors) - 1
    loops = _loops(arrays.factor, arrays.order, device)
    steps = math.prod(factor for _, _, factor in loops)
    names, owners, ports = _resources(hierarchy)
    found: list[TileStream] = []
    for t in range(last + 1):
        kept = [0, *(i for i in range(1, nodes) if device.storage[i] and arrays.keep[i, t])]
        for parent, node in zip(kept, [*kept[1:], nodes], strict=True):
            outer = [loop for loop in loops if loop[0] < node]
            relevant = [bool(problem.arrays.relevant[t, d]) for _, d, _ in outer]
            length = max((i + 1 for i, one in enumerate(relevant) if one), default=0)
            if node == nodes:
                length = len(outer)  # the units take operands at every step
            repeats = tuple((outer[i][2], relevant[i]) for i in range(length))
            chain = 0.0
            if node < nodes and device.fill_cycles[node] and t != last:
                words = tile_bits(nest, problem, hierarchy, node)[problem.tensors[t].name]
                chain = words / problem.tensors[t].bits * math.prod(f for f, _ in repeats)
                chain *= float(device.fill_cycles[node])
            found += _pair(
                problem, hierarchy, device, ports, figures.accesses, t, parent, node, repeats,
                chain, _used(arrays.factor, device),
            )  # fmt: skip
    tiles = tuple(stream for stream in found if stream.node < nodes)
    return Streams(
        steps, 1.0 / device.mac_rate, _levels(device, arrays.keep, tiles),
        tiles, tuple(stream for stream in found if stream.node == nodes), names, owners,
    )  # fmt: skip


def _loops(factor: Ints, order: Ints, device: HierarchyArrays) -> list[tuple[int, int, int]]:
    """Return (node, dim, factor) of all loops over time, outermost first."""
    return [
        (node, int(d), int(factor[node, d]))
        for node in range(len(factor)) if device.storage[node]
        for d in order[node] if factor[node, d] > 1
    ]  # fmt: skip


def _used(factor: Ints, device: HierarchyArrays) -> list[float]:
    """Return the instances in use of each node and, last, of the units."""
    used = [1.0]
    for node in range(len(factor)):
        used.append(used[-1] * (1.0 if device.storage[node] else float(factor[node].prod())))
    return used


def _resources(hierarchy: Hierarchy) -> tuple[tuple[str, ...], tuple[int, ...], _Ports]:
    names, owners = ["array", "waves", "order"], [-1, -1, -1]
    ports = _Ports({}, {}, {})

    def add(name: str, node: int) -> int:
        names.append(name)
        owners.append(node)
        return len(names) - 1

    for i, node in enumerate(hierarchy.nodes):
        if not isinstance(node, Storage):
            continue
        ports.read[i] = add(f"{node.name} {'port' if node.shared_port else 'read port'}", i)
        ports.write[i] = ports.read[i] if node.shared_port else add(f"{node.name} write port", i)
        if node.fill_through:
            ports.chain[i] = add(f"{node.name} chain", i)
    return tuple(names), tuple(owners), ports


def _pair(
    problem: Problem, hierarchy: Hierarchy, device: HierarchyArrays, ports: _Ports,
    accesses: Floats, t: int, parent: int, node: int, repeats: tuple[tuple[int, bool], ...],
    chain: float, used: list[float],
) -> list[TileStream]:  # fmt: skip
    """Return the streams of a tensor between two memories: one, or two of a result."""
    bits, nodes = problem.tensors[t].bits, len(hierarchy.nodes)
    result, inside = t == len(problem.tensors) - 1, node < nodes
    names = [*(one.name for one in hierarchy.nodes), "units"]
    tiles = math.prod(factor for factor, _ in repeats)

    def lane(resource: int, at: int, words: float, rate: float) -> Lane:
        return Lane(resource, words * bits / used[at] / rate)

    def stream(direction: Direction, lanes: list[Lane], words: float) -> TileStream:
        label = f"{problem.tensors[t].name} {_WORDS[direction]} {names[node]}"
        return TileStream(
            label, t, node, parent, direction, tiles, repeats if direction == "back" else (),
            tuple(one for one in lanes if one.cycles > 0.0), words * bits,
        )  # fmt: skip

    reads = float(accesses[parent, t, _READS])
    inwards = [lane(ports.read[parent], parent, reads, float(device.read_rate[parent]))]
    if inside:
        fills = float(accesses[node, t, _FILLS])
        inwards.append(lane(ports.write[node], node, fills, float(device.write_rate[node])))
    if chain:
        inwards.append(Lane(ports.chain[node], chain))
    found = [stream("back" if result else "load", inwards, reads)] if reads > 0.0 else []
    if result:
        updates = float(accesses[parent, t, _UPDATES])
        lanes = [lane(ports.write[parent], parent, updates, float(device.write_rate[parent]))]
        if inside:
            drains = float(accesses[node, t, _DRAINS])
            lanes.append(lane(ports.read[node], node, drains, float(device.read_rate[node])))
        found.append(stream("drain", lanes, updates))
    return found


def _levels(
    device: HierarchyArrays, keep: NDArray[np.bool_], tiles: tuple[TileStream, ...]
) -> tuple[Level, ...]:
    return tuple(
        Level(
            node, max(stream.tiles for stream in tiles if stream.node == node),
            int(device.buffers[node]), int(device.skew[node]),
        )
        for node in range(1, len(keep)) if device.storage[node] and keep[node].any()
    )  # fmt: skip
