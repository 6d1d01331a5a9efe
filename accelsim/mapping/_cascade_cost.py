"""Counts the work of one bound Einsum: cycles of its array, words moved at each level, energy.

Every count follows from the nest of loops and from where tensors are; nothing in it knows which
cascade or device it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from accelsim.errors import MappingError, nearest
from accelsim.mapping._cascade_nest import Loop, fetches, inner_loops, outer_loops, steps
from accelsim.mapping._cascade_spec import ArraySpec, EinsumBinding, GroupSpec
from accelsim.mapping._cascade_tiles import Tiling
from accelsim.workload.cascade import MOVES, Cascade, Einsum, Reference

__all__ = ["EinsumWork", "Moved", "work"]


@dataclass(frozen=True, slots=True)
class Moved:
    """Reads from and writes to a memory: bytes, or values of registers."""

    reads: float = 0.0
    writes: float = 0.0

    def plus(self, other: Moved, share: float = 1.0) -> Moved:
        """Return the sum with a share of another."""
        return Moved(self.reads + share * other.reads, self.writes + share * other.writes)

    @property
    def total(self) -> float:
        """Both directions."""
        return self.reads + self.writes


@dataclass(frozen=True, slots=True)
class EinsumWork:
    """What one Einsum does on its array.

    Parameters
    ----------
    name, array : str
        The Einsum, and where it runs.
    cycles : float
        For which its array is busy.
    active_pes : int
        PEs that take part.
    drain_cycles : int
        To empty the array after each step, where its spatial reduction is waited for.
    units : mapping of str to float
        Functional unit -> uses.
    registers : Moved
        Values, not bytes, of all PEs.
    buffer, dram : Moved
        Bytes between array and buffer, and those that go to DRAM past it or because they spill.
    """

    name: str
    array: str
    cycles: float
    active_pes: int
    drain_cycles: int
    units: Mapping[str, float]
    registers: Moved
    buffer: Moved
    dram: Moved


def work(
    name: str, group: GroupSpec, tiling: Tiling, cascade: Cascade, arrays: Mapping[str, ArraySpec]
) -> EinsumWork:
    """Return what one Einsum of a group does.

    Parameters
    ----------
    name : str
        The Einsum.
    group : GroupSpec
        Its group.
    tiling : Tiling
        Tiles of the group.
    cascade : Cascade
        Einsums and sizes.
    arrays : mapping of str to ArraySpec
        Those of the device.

    Raises
    ------
    MappingError
        If the array is unknown, too small, or cannot do an operation; if loops miss a rank.
    """
    einsum, binding = cascade.einsum(name), group.einsums[name]
    if binding.array not in arrays:
        hint = nearest(binding.array, arrays)
        raise MappingError(f"`{name}`: no array `{binding.array}`; {hint}")
    array = arrays[binding.array]
    extents = {**cascade.sizes, **tiling.tiles}
    outer = outer_loops(einsum.ranks, tiling.tiles, cascade.sizes)
    lanes = array.lanes(binding.spatial)
    inner = inner_loops(einsum.ranks, binding.inner, lanes, extents, name)
    nest = (*outer, *inner)
    pes = math.prod(min(n, extents[rank]) for rank, n in lanes.items())
    if pes > array.pes:
        raise MappingError(f"`{name}` is laid over {pes} PEs, `{binding.array}` has {array.pes}")
    count = steps(nest) * einsum.times
    reduction = math.prod(
        min(n, extents[rank]) for rank, n in lanes.items() if rank in einsum.reduced
    )
    buffer, dram = _edges(einsum, group, nest, cascade, tiling.spilled)
    return EinsumWork(
        name, binding.array, count * _cycles(einsum, binding, array), pes, count * reduction,
        _units(einsum, array, cascade), _registers(einsum, nest, pes, cascade), buffer, dram,
    )  # fmt: skip


def _edges(
    einsum: Einsum, group: GroupSpec, nest: tuple[Loop, ...], cascade: Cascade, spilled: float
) -> tuple[Moved, Moved]:
    """Return what crosses the edge of the array, to and from the buffer and DRAM."""
    binding, buffer, dram = group.einsums[einsum.name], Moved(), Moved()
    crossing = [
        (_home(one.tensor, group, binding), _operand(one, einsum, nest, cascade))
        for one in einsum.operands
    ]
    home = _home(einsum.made.tensor, group, binding)
    made = _result(einsum, nest, cascade)
    crossing.append(("dram" if home == "staged" else home, made))
    for home, moved in crossing:
        if home == "dram":
            dram = dram.plus(moved)
        elif home != "array":
            buffer = buffer.plus(moved)
            dram = dram.plus(moved, spilled)
    return buffer, dram


def _home(tensor: str, group: GroupSpec, binding: EinsumBinding) -> str:
    return binding.homes.get(tensor) or group.homes.get(tensor) or "array"


def _cycles(einsum: Einsum, binding: EinsumBinding, array: ArraySpec) -> float:
    """Return the cycles of one point on one PE."""
    for operation in einsum.operations:
        if operation not in array.operations and operation not in MOVES:
            raise MappingError(
                f"`{einsum.name}` needs `{operation}`, which `{binding.array}` cannot do;"
                f" {nearest(operation, array.operations)}"
            )
    each = [array.operations[one].cycles for one in einsum.operations if one not in MOVES]
    if not each:
        return 1.0
    return max(each) if binding.pipelined else sum(each)


def _units(einsum: Einsum, array: ArraySpec, cascade: Cascade) -> dict[str, float]:
    """Return functional unit -> uses, over all points."""
    points = einsum.points(cascade.sizes)
    found: dict[str, float] = {}
    for operation in einsum.operations:
        if operation in MOVES:
            continue
        for unit, uses in array.operations[operation].uses.items():
            found[unit] = found.get(unit, 0.0) + uses * points
    return found


def _registers(einsum: Einsum, nest: tuple[Loop, ...], pes: int, cascade: Cascade) -> Moved:
    """Return values read and written in the registers of all PEs.

    Each point reads its operands and writes its result; a sum over time reads its last value
    too, except the first. An operand is written whenever a step of the nest changes it.
    """
    points = einsum.points(cascade.sizes)
    over_time = math.prod(loop.trips for loop in nest if loop.rank in einsum.reduced)
    reads = points * (len(einsum.operands) + 1.0 - 1.0 / over_time)
    fills = sum(_changes(nest, one.ranks) for one in einsum.operands) * pes * einsum.times
    return Moved(reads, points + fills)


def _changes(nest: tuple[Loop, ...], ranks: tuple[str, ...]) -> int:
    """Return how often the piece of a tensor in a PE changes."""
    own = math.prod(loop.trips for loop in nest if loop.rank in ranks)
    return own * fetches(nest, ranks)


def _operand(
    reference: Reference, einsum: Einsum, nest: tuple[Loop, ...], cascade: Cascade
) -> Moved:
    size = cascade.tensors[reference.tensor].size_bytes * _share(reference, cascade)
    return Moved(reads=einsum.times * size * fetches(nest, reference.ranks))


def _share(reference: Reference, cascade: Cascade) -> float:
    """Return the part of a tensor that a reference means: fixed coordinates leave their rank."""
    tensor = cascade.tensors[reference.tensor]
    return math.prod(cascade.sizes[rank] for rank in reference.ranks) / tensor.elements


def _result(einsum: Einsum, nest: tuple[Loop, ...], cascade: Cascade) -> Moved:
    """Return what a result moves: a partial sum that leaves comes back to be added to."""
    size = einsum.times * cascade.tensors[einsum.made.tensor].size_bytes
    times = fetches(nest, einsum.made.ranks)
    return Moved(reads=size * (times - 1), writes=size * times)
