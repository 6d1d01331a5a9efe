"""A hierarchy of memories and fan-outs above an array of multiply-accumulate units, as values.

From the outermost memory inwards; what a memory keeps, at what bandwidth and energy per bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import ConfigError, nearest
from accelsim.nest.problem import Problem

__all__ = ["Fanout", "Hierarchy", "HierarchyArrays", "Node", "Storage"]


@dataclass(frozen=True)
class Storage:
    """A memory.

    Attributes
    ----------
    name : str
    capacity_bits : float
        Of one instance, shared by all tensors that it keeps.
    partition_bits : mapping of str to float
        Bits set aside for a tensor, where the memory is divided by tensor.
    keep : frozenset of str
        Tensors that it must hold.
    may_keep : frozenset of str
        Tensors that it may hold; all others pass by.
    read_pj_per_bit, write_pj_per_bit : float or mapping of str to float
        Energy of an access, of all tensors or by tensor.
    read_bits_per_cycle, write_bits_per_cycle : float
        Bandwidth of one instance.
    shared_port : bool
        Reads and writes take turns.
    buffers : {1, 2}
        Tiles in flight: with 1, filling and use take turns; with 2, the next tile arrives
        meanwhile, and each tile may take half of the memory.
    fill_through : str
        Fan-out along which words are shifted in, one instance per cycle.
    dims : frozenset of str or None
        Dims that its loops may run over; None for all.
    """

    name: str
    capacity_bits: float = math.inf
    partition_bits: Mapping[str, float] = field(default_factory=dict)
    keep: frozenset[str] = frozenset()
    may_keep: frozenset[str] = frozenset()
    read_pj_per_bit: float | Mapping[str, float] = 0.0
    write_pj_per_bit: float | Mapping[str, float] = 0.0
    read_bits_per_cycle: float = math.inf
    write_bits_per_cycle: float = math.inf
    shared_port: bool = False
    buffers: int = 1
    fill_through: str = ""
    dims: frozenset[str] | None = None


@dataclass(frozen=True)
class Fanout:
    """Equal instances of all that is inside, fed by what is outside.

    Attributes
    ----------
    name : str
    size : int
        Instances.
    shares : frozenset of str
        Tensors of which one word may serve several instances: multicast inwards, or summed on
        the way outwards (the result).
    dims : frozenset of str or None
        Dims that may be unrolled over it; None for all.
    hop_cycles : int
        Cycles from one instance to the next (a systolic chain); 0 for a bus or a tree.
    hop_pj_per_bit : float
        Energy of each bit that an instance receives or sends.
    """

    name: str
    size: int
    shares: frozenset[str] = frozenset()
    dims: frozenset[str] | None = None
    hop_cycles: int = 0
    hop_pj_per_bit: float = 0.0


Node = Storage | Fanout


class HierarchyArrays(NamedTuple):
    """A hierarchy as the kernels read it: N nodes, outermost first; T tensors.

    Attributes
    ----------
    storage : (N,) bool
        Memory, else fan-out.
    size : (N,) int64
        Instances of a fan-out; 1 of a memory.
    shares : (N, T) bool
    capacity_bits : (N, T + 1) float64
        Partition of each tensor, and what all share, last; infinite where there is none.
    keep, may_keep : (N, T) bool
    read_pj, write_pj : (N, T) float64
        Per bit; of a fan-out the energy of a hop.
    read_rate, write_rate : (N,) float64
        Bits per cycle.
    shared_port : (N,) bool
    buffers : (N,) int64
    fill_cycles : (N,) int64
        Cycles to shift one word into each instance; 0 where bandwidth decides.
    skew : (N,) int64
        Cycles for a wave to cross the fan-outs directly inside a memory.
    mac_pj, mac_rate : float
        Energy of a multiply-accumulate, and how many a unit makes per cycle.
    """

    storage: NDArray[np.bool_]
    size: NDArray[np.int64]
    shares: NDArray[np.bool_]
    capacity_bits: NDArray[np.float64]
    keep: NDArray[np.bool_]
    may_keep: NDArray[np.bool_]
    read_pj: NDArray[np.float64]
    write_pj: NDArray[np.float64]
    read_rate: NDArray[np.float64]
    write_rate: NDArray[np.float64]
    shared_port: NDArray[np.bool_]
    buffers: NDArray[np.int64]
    fill_cycles: NDArray[np.int64]
    skew: NDArray[np.int64]
    mac_pj: float
    mac_rate: float


@dataclass(frozen=True)
class Hierarchy:
    """Nodes from the outermost memory to the units that multiply and accumulate.

    Raises
    ------
    ConfigError
        If it does not begin with a memory that may keep everything, or names repeat.
    """

    nodes: tuple[Node, ...]
    mac_pj: float = 0.0
    mac_rate: float = 1.0
    frequency_hz: float = 1e9

    def __post_init__(self) -> None:
        names = [node.name for node in self.nodes]
        if not self.nodes or not isinstance(self.nodes[0], Storage):
            raise ConfigError("a hierarchy begins with a memory", path="levels")
        for i, node in enumerate(self.nodes):
            if names.index(node.name) != i:
                raise ConfigError(f"two levels are named `{node.name}`", path=f"levels.{i}.name")
            if isinstance(node, Storage) and node.fill_through:
                fanouts = [n.name for n in self.nodes[:i] if isinstance(n, Fanout)]
                if node.fill_through not in fanouts:
                    hint = nearest(node.fill_through, fanouts)
                    raise ConfigError(
                        f"`{node.name}` is filled through `{node.fill_through}`; {hint}",
                        path=f"levels.{i}.fill_through",
                    )

    def index(self, name: str) -> int:
        """Return the place of a level.

        Raises
        ------
        ConfigError
            If there is none of that name; says which is nearest.
        """
        names = [node.name for node in self.nodes]
        if name not in names:
            raise ConfigError(f"no level `{name}`; {nearest(name, names)}")
        return names.index(name)

    @cached_property
    def units(self) -> int:
        """Multiply-accumulate units."""
        return math.prod(node.size for node in self.nodes if isinstance(node, Fanout))

    def with_free_memory(self) -> Hierarchy:
        """Return the hierarchy with an outermost memory of no limit and no energy."""
        return self._free

    @cached_property
    def _free(self) -> Hierarchy:
        first = cast(Storage, self.nodes[0])
        outer = replace(
            first, read_pj_per_bit=0.0, write_pj_per_bit=0.0,
            read_bits_per_cycle=math.inf, write_bits_per_cycle=math.inf,
        )  # fmt: skip
        return replace(self, nodes=(outer, *self.nodes[1:]))

    def arrays(self, problem: Problem) -> HierarchyArrays:
        """Return the hierarchy for the kernels, with the tensors of a problem in their order."""
        return _arrays(self, tuple(tensor.name for tensor in problem.tensors))

    def __hash__(self) -> int:
        return id(self)


@lru_cache(maxsize=256)
def _arrays(hierarchy: Hierarchy, tensors: tuple[str, ...]) -> HierarchyArrays:
    nodes, last = hierarchy.nodes, tensors[-1]
    memories = [node if isinstance(node, Storage) else None for node in nodes]
    fanouts = [node if isinstance(node, Fanout) else None for node in nodes]

    def column(of: str, otherwise: float) -> list[float]:
        return [getattr(node, of) if node is not None else otherwise for node in memories]

    def table(of: str) -> NDArray[np.bool_]:
        names = [getattr(n, of) if n is not None else frozenset() for n in memories]
        return np.array([[t in held for t in tensors] for held in names], np.bool_)

    sizes = {node.name: node.size for node in fanouts if node is not None}
    keep = table("keep")
    return HierarchyArrays(
        storage=np.array([node is not None for node in memories], np.bool_),
        size=np.array([1 if node is None else node.size for node in fanouts], np.int64),
        shares=np.array(
            [[node is not None and t in node.shares for t in tensors] for node in fanouts],
            np.bool_,
        ),
        capacity_bits=np.array([_capacities(node, tensors) for node in memories], np.float64),
        keep=keep,
        may_keep=keep | table("may_keep"),
        read_pj=_energies(nodes, tensors, "read_pj_per_bit", last),
        write_pj=_energies(nodes, tensors, "write_pj_per_bit", last),
        read_rate=np.array(column("read_bits_per_cycle", math.inf), np.float64),
        write_rate=np.array(column("write_bits_per_cycle", math.inf), np.float64),
        shared_port=np.array(column("shared_port", False), np.bool_),
        buffers=np.array(column("buffers", 1), np.int64),
        fill_cycles=np.array(
            [sizes[n.fill_through] if n is not None and n.fill_through else 0 for n in memories],
            np.int64,
        ),
        skew=np.array([_skew(nodes, i) for i in range(len(nodes))], np.int64),
        mac_pj=hierarchy.mac_pj,
        mac_rate=hierarchy.mac_rate,
    )


def _capacities(node: Storage | None, tensors: tuple[str, ...]) -> list[float]:
    if node is None:
        return [math.inf] * (len(tensors) + 1)
    own = [node.partition_bits.get(tensor, math.inf) for tensor in tensors]
    return [*own, node.capacity_bits]


def _energies(
    nodes: tuple[Node, ...], tensors: tuple[str, ...], field_: str, last: str
) -> NDArray[np.float64]:
    rows = []
    for node in nodes:
        given = node.hop_pj_per_bit if isinstance(node, Fanout) else getattr(node, field_)
        by_name = given if isinstance(given, Mapping) else dict.fromkeys(tensors, given)
        rows.append([float(by_name.get(tensor, 0.0)) for tensor in tensors])
    return np.array(rows, np.float64)


def _skew(nodes: tuple[Node, ...], i: int) -> int:
    """Return the cycles in which a wave crosses all fan-outs outside a memory, up to the next.

    Charged to the memory inside them, whose every new tile starts a wave.
    """
    if not isinstance(nodes[i], Storage):
        return 0
    crossed = 0
    for node in reversed(nodes[:i]):
        if isinstance(node, Storage):
            break
        crossed += node.hop_cycles * (node.size - 1)
    return crossed
