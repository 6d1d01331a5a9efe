"""Lowers a mapped operator: copies of its streams on their resources, and what runs beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from accelsim.engine import Schedule, TaskGraph
from accelsim.errors import ConfigError, nearest
from accelsim.lower._nest_emit import Blocks, emit, whole_ps
from accelsim.lower._nest_streams import ORDER, WAVES, Streams, streams_of
from accelsim.nest import Figures, Hierarchy, Nest, Problem, Storage, evaluate

__all__ = ["CHUNKS", "MARKS", "Beside", "NestTasks", "lower_nest"]

CHUNKS: Final = 64
"""Tiles of a level that are told apart unless asked otherwise; of more, runs are one task."""

MARKS: Final = ("compute", "wave", "order")
"""Labels of tasks that belong to no stream, by resource: units, waves, marks in time."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What another unit moves on a memory's port meanwhile, at an even pace.

    Attributes
    ----------
    name : str
    level : str
        The memory.
    bits : float
        Of one instance.
    cycles : float
        Of the array's clock, in which it would like to move them.
    writes : bool
        On the port for writes.
    """

    name: str
    level: str
    bits: float
    cycles: float
    writes: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class NestTasks:
    """A mapped operator as a task graph.

    Attributes
    ----------
    graph : TaskGraph
        ``owner`` is an index into `labels`.
    labels : tuple of str
        What tasks do: compute, wave, order (marks without duration), and each stream.
    own : int
        Tasks of the operator; those behind are of what runs beside it.
    users : dict of str to tuple of str
        Streams that occupy each port or chain.
    figures : Figures
        The analytic view of one copy.
    """

    graph: TaskGraph
    labels: tuple[str, ...]
    own: int
    users: dict[str, tuple[str, ...]]
    figures: Figures

    def latency_ps(self, schedule: Schedule) -> int:
        """Return when the last task of the operator ends, in picoseconds."""
        return int(schedule.end_ps[: self.own].max())


def lower_nest(
    problem: Problem, hierarchy: Hierarchy, nest: Nest, *, chunks: int = CHUNKS, copies: int = 1,
    shared: str | None = None, beside: Sequence[Beside] = (),
) -> NestTasks:  # fmt: skip
    """Return a mapped operator's task graph.

    Parameters
    ----------
    problem, hierarchy, nest
        The operator, the memories and its mapping.
    chunks : int
        Tiles of a level that are told apart; of more, runs are one task.  Nested levels make at
        most ``8 chunks`` chunks, each with one task for every port that a stream occupies.
    copies : int
        Arrays that run the same nest at once.
    shared : str, optional
        Memory that they share, with all outside it; the outermost unless given.
    beside : sequence of Beside
        What else the ports serve.

    Returns
    -------
    NestTasks

    Raises
    ------
    MappingError
        If the nest does not fit.
    ConfigError
        If `chunks` or `copies` is below 1, or a level is not a memory of the hierarchy.

    Notes
    -----
    A port is a server of a resource; by symmetry one stands for the ports of all instances of a
    memory.  A transfer asks the ports at both its ends at once and has arrived when both have
    served it.  Ports serve in the order in which chunks of steps will want the words.

    With one buffer nothing of a level's next tile moves before the present one is computed, its
    wave has crossed the fan-outs and its results have left.  With two, a tensor's next tile moves
    while the present one is in use, and must be there when that ends; results leave meanwhile.
    Edge tiles take the average time.

    Examples
    --------
    >>> from accelsim.engine import simulate
    >>> from accelsim.nest import Storage, matmul, parse
    >>> outside = frozenset({"input", "weight", "output"})
    >>> dram = Storage("DRAM", keep=outside, read_bits_per_cycle=8)
    >>> memories = Hierarchy((dram, Storage("Buffer", keep=frozenset({"weight"}), buffers=2)))
    >>> nest = parse({"DRAM": {"n": 4}, "Buffer": {"m": 16}}, memories)
    >>> tasks = lower_nest(matmul(16, 4, 1, bits=(0, 64, 0)), memories, nest)
    >>> tasks.latency_ps(simulate(tasks.graph))  # 8 cycles to load, 4 x 16 to compute
    72000
    """
    if chunks < 1 or copies < 1:
        raise ConfigError(f"{chunks} chunks and {copies} copies: at least 1 of each")
    figures = evaluate(problem, hierarchy, nest)
    streams = streams_of(problem, hierarchy, nest, figures)
    cycle_ps = 1e12 / hierarchy.frequency_hz
    common = _memory(hierarchy, shared)[0] if shared is not None else 0
    blocks, names = Blocks(), list(streams.resources)
    number = 0
    for copy in range(copies):
        place = list(range(len(streams.resources)))
        for i, node in enumerate(streams.at_node):
            if copy and not 0 <= node <= common and i not in (WAVES, ORDER):
                place[i] = len(names)
                names.append(f"{streams.resources[i]} {copy + 1}")
        number = emit(blocks, streams, cycle_ps, chunks, place)
    own = blocks.count
    labels = [*MARKS, *(stream.label for stream in (*streams.tiles, *streams.operands))]
    users = _users(streams)
    for other in beside:
        at, memory = _memory(hierarchy, other.level)
        port = streams.at_node.index(at) + int(other.writes and not memory.shared_port)
        rate = memory.write_bits_per_cycle if other.writes else memory.read_bits_per_cycle
        share = np.full(chunks, 1.0 / chunks)
        asked = np.concatenate([[0], whole_ps(share, other.cycles * cycle_ps).cumsum()[:-1]])
        blocks.add(
            port, whole_ps(share, other.bits / rate * cycle_ps),
            2 * number * np.arange(chunks) // chunks, len(labels),
            whole_ps(share, other.bits / 8.0), asked,
        )  # fmt: skip
        labels.append(other.name)
        users[names[port]] = (*users.get(names[port], ()), other.name)
    servers = np.ones(len(names), np.int64)
    servers[[WAVES, ORDER]] = blocks.count
    return NestTasks(blocks.graph(names, servers), tuple(labels), own, users, figures)


def _users(streams: Streams) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for stream in (*streams.tiles, *streams.operands):
        for lane in stream.lanes:
            name = streams.resources[lane.resource]
            found[name] = (*found.get(name, ()), stream.label)
    return found


def _memory(hierarchy: Hierarchy, name: str) -> tuple[int, Storage]:
    at = hierarchy.index(name)
    node = hierarchy.nodes[at]
    if not isinstance(node, Storage):
        memories = [node.name for node in hierarchy.nodes if isinstance(node, Storage)]
        raise ConfigError(f"`{name}` is no memory; {nearest(name, memories)}")
    return at, node
