"""What the search for fused groups reads and returns, as values.

Statements over named dims that share tensors, the arrays that run them, and groups with their
shared loops, what stays on chip, and what each statement costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from accelsim.errors import ConfigError, MappingError, nearest
from accelsim.nest.hierarchy import Fanout, Hierarchy, Storage
from accelsim.nest.nest import Nest
from accelsim.nest.problem import Problem

__all__ = [
    "Access", "FusedDevice", "FusedGroup", "FusedStatement", "FusionLimits",
    "FusionObjective", "Resident", "SharedLoop", "Statement",
]  # fmt: skip

FusionObjective = Literal["energy", "traffic", "latency", "edp"]


@dataclass(frozen=True, slots=True)
class Access:
    """How a statement reads or makes a tensor.

    Attributes
    ----------
    tensor : str
        Name in the whole cascade; two accesses of a statement may share it.
    role : str
        What the levels of a hierarchy call it: ``input``, ``weight``, ``output``.
    ranks : tuple of str
        Dim that indexes each axis; empty text where it is no dim alone (a sum, a coordinate, a
        shifted index of a tensor that is not running).  Tiles follow such an axis in no loop.
    """

    tensor: str
    role: str
    ranks: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """One operator of a cascade.

    Attributes
    ----------
    name : str
    problem : Problem
        Its iteration space; tensors by any names that differ, the result last.
    accesses : tuple of Access
        One for each tensor of the problem, in its order.
    array : str
        Which array of the device runs it.
    running : str
        Dim along which the result is made step by step, from what it was before; empty if none.
    point_cycles : float
        Cycles of a unit for one point of the iteration space.
    point_pj : float or None
        Energy of a point; None for what the array states.
    """

    name: str
    problem: Problem
    accesses: tuple[Access, ...]
    array: str
    running: str = ""
    point_cycles: float = 1.0
    point_pj: float | None = None

    def __post_init__(self) -> None:
        if len(self.accesses) != len(self.problem.tensors):
            raise MappingError(
                f"statement `{self.name}` has {len(self.problem.tensors)} tensors and"
                f" {len(self.accesses)} accesses"
            )

    @property
    def made(self) -> str:
        """The tensor that it makes."""
        return self.accesses[-1].tensor


@dataclass(frozen=True)
class FusedDevice:
    """Arrays that share the outer memories of one hierarchy, and the memory in which to fuse.

    Attributes
    ----------
    arrays : mapping of str to Hierarchy
        Each from the outermost memory inwards; all alike down to the fusing memory.
    memory : str
        Where tensors between statements stay.
    together : bool
        Arrays work at the same time on different iterations of a group (a pipeline over them);
        else one statement follows the other.
    unrolls_for : mapping of str to frozenset of str
        Fan-out -> roles; only dims on which one of their tensors does not depend are laid over it.

    Raises
    ------
    ConfigError
        If an array has no such memory, or differs outside it from the others.
    """

    arrays: Mapping[str, Hierarchy]
    memory: str
    together: bool = False
    unrolls_for: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.arrays:
            raise ConfigError("a device has at least one array", path="arrays")
        outer = None
        for name, hierarchy in self.arrays.items():
            place = hierarchy.index(self.memory)
            nodes = hierarchy.nodes[: place + 1]
            if place == 0 or any(isinstance(node, Fanout) for node in nodes):
                raise ConfigError(
                    f"`{self.memory}` of `{name}` must stand below the outermost memory with no"
                    " fan-out between them", path="memory",
                )  # fmt: skip
            if isinstance(nodes[-1], Storage) and nodes[-1].partition_bits:
                raise ConfigError(
                    f"`{self.memory}` is divided by tensor; fused tensors share a whole memory",
                    path="memory",
                )
            if outer is not None and nodes != outer:
                raise ConfigError(f"`{name}` differs from other arrays outside `{self.memory}`")
            outer = nodes

    def array(self, name: str) -> Hierarchy:
        """Return an array by name.

        Raises
        ------
        ConfigError
            If there is none of that name.
        """
        if name not in self.arrays:
            raise ConfigError(f"no array `{name}`; {nearest(name, self.arrays)}", path="arrays")
        return self.arrays[name]

    @property
    def outermost(self) -> Storage:
        """The memory from which all comes."""
        return self._memories()[0]

    @property
    def fusing(self) -> Storage:
        """The memory in which tensors stay."""
        return self._memories()[-1]

    @property
    def frequency_hz(self) -> float:
        """Clock of the arrays, in whose cycles time is counted."""
        return next(iter(self.arrays.values())).frequency_hz

    def _memories(self) -> tuple[Storage, ...]:
        hierarchy = next(iter(self.arrays.values()))
        nodes = hierarchy.nodes[: hierarchy.index(self.memory) + 1]
        return tuple(node for node in nodes if isinstance(node, Storage))


@dataclass(frozen=True)
class FusionLimits:
    """What the search may do; a policy is a set of limits.

    Attributes
    ----------
    groups : tuple of tuples of str
        Statements of each group, where the groups are given; else the search chooses.
    shared : frozenset of str or None
        Dims that shared loops may run over; None for all that are legal.
    tiles : mapping of str to tuple of int
        Dim -> extents that its shared loop may leave; all divisors otherwise.
    loops : int
        Most shared loops of a group.
    longest : int
        Most statements of a group.
    candidates : int
        Most arrangements of a group that are looked at before the search reports a gap.
    within : float
        Gap at which a group is good enough, as a part of its bound.
    patience : int
        Nests that are searched for since a group last got better before its search reports a gap.
    refined : int
        Where time counts: arrangements, those first that nests of least energy make best, whose
        nests are searched for anew with time in mind.
    split : {"freely", "everywhere", "nowhere"}
        Where groups part if they are not given: where it is best, wherever they may, nowhere.
    """

    groups: tuple[tuple[str, ...], ...] = ()
    shared: frozenset[str] | None = None
    tiles: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    loops: int = 4
    longest: int = 64
    candidates: int = 20000
    within: float = 0.0
    patience: int = 100
    refined: int = 4
    split: Literal["freely", "everywhere", "nowhere"] = "freely"


@dataclass(frozen=True, slots=True)
class SharedLoop:
    """A loop outside all statements of a group: ``trips`` tiles of ``tile`` along a dim."""

    dim: str
    trips: int
    tile: int


@dataclass(frozen=True, slots=True)
class Resident:
    """A tensor that stays in the fusing memory while a group runs.

    Attributes
    ----------
    tensor : str
    bits : float
        That its tile takes, with its copies.
    loads, stores : float
        Bits that come from and go to the outermost memory in the whole group.
    first, last : int
        Statements of the group, by place, between which it takes the room.
    charged : int
        Statement with which it is loaded or stored.
    role : str
        Its role there.
    """

    tensor: str
    bits: float
    loads: float
    stores: float
    first: int
    last: int
    charged: int
    role: str


@dataclass(frozen=True, slots=True)
class FusedStatement:
    """What one statement of a group costs, over all iterations of the shared loops.

    Attributes
    ----------
    name : str
    depth : int
        Shared loops inside which it runs, from the outermost.
    iterations : int
        How often it runs.
    nest : Nest
        Its own loops in one iteration.  Its outermost level stands for both the outermost and
        the fusing memory, whichever a tensor is in.
    cycles : float
        For which it keeps its array.
    energy_pj : float
        Its loads and stores of resident tensors included.
    outside_bits, fusing_bits : (read, written)
        At the outermost and at the fusing memory.
    tile_bits : float
        Room that its passing tiles take in the fusing memory.
    """

    name: str
    depth: int
    iterations: int
    nest: Nest
    cycles: float
    energy_pj: float
    outside_bits: tuple[float, float]
    fusing_bits: tuple[float, float]
    tile_bits: float


@dataclass(frozen=True, slots=True)
class FusedGroup:
    """Statements that run together.

    Attributes
    ----------
    loops : tuple of SharedLoop
        Outermost first.
    statements : tuple of FusedStatement
    residents : tuple of Resident
    energy_pj, cycles, moved_bits : float
        Of the group; bits at the outermost memory.
    needed_bits : float
        The most that the fusing memory holds at a time.
    bound : float
        No such group has less of the objective: pJ, bits, cycles or pJ x cycles.
    tried : int
        Arrangements that were priced.
    """

    loops: tuple[SharedLoop, ...]
    statements: tuple[FusedStatement, ...]
    residents: tuple[Resident, ...]
    energy_pj: float
    cycles: float
    moved_bits: float
    needed_bits: float
    bound: float
    tried: int

    @property
    def names(self) -> tuple[str, ...]:
        """Its statements by name."""
        return tuple(one.name for one in self.statements)

    def value(self, objective: FusionObjective) -> float:
        """Return what the group has of an objective: pJ, bits, cycles or pJ x cycles."""
        return {
            "energy": self.energy_pj, "traffic": self.moved_bits, "latency": self.cycles,
            "edp": self.energy_pj * self.cycles,
        }[objective]  # fmt: skip

    def bounded(self, bound: float, tried: int) -> FusedGroup:
        """Return the group with what is known of its best."""
        return replace(self, bound=bound, tried=tried)


def tile_words(problem: Problem, tensor: int, extents: Mapping[str, int]) -> float:
    """Return the elements of a tile of a tensor, dims without an extent being whole."""
    sizes = dict(zip(problem.dims, problem.sizes, strict=True))
    return math.prod(
        1.0 + sum(factor * (extents.get(dim, sizes[dim]) - 1) for factor, dim in axis)
        for axis in problem.tensors[tensor].axes
    )
