"""Evaluates a cascade of Einsums bound to several arrays of one device: time, traffic, energy.

Device and binding come from YAML; arrays share the time within a phase, phases and groups follow
each other, and DRAM works beside them or after them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from accelsim.config import load_named
from accelsim.errors import MappingError
from accelsim.mapping._cascade_cost import EinsumWork, Moved, work
from accelsim.mapping._cascade_nest import Loop, fetches, outer_loops
from accelsim.mapping._cascade_spec import (
    ArraySpec,
    BufferSpec,
    CascadeDevice,
    CascadePolicy,
    DramSpec,
    EinsumBinding,
    GroupSpec,
    OperationSpec,
    PhaseStep,
    RegisterSpec,
)
from accelsim.mapping._cascade_tiles import Tiling, tile_group
from accelsim.workload.cascade import Cascade, Einsum

__all__ = [
    "ArraySpec",
    "BufferSpec",
    "CascadeCost",
    "CascadeDevice",
    "CascadePolicy",
    "DramSpec",
    "EinsumBinding",
    "GroupCost",
    "GroupSpec",
    "OperationSpec",
    "PhaseStep",
    "RegisterSpec",
    "evaluate_cascade",
    "load_device",
    "load_policy",
]


@dataclass(frozen=True, slots=True)
class GroupCost:
    """What a group of Einsums costs.

    Parameters
    ----------
    name : str
        Of the group.
    tiling : Tiling
        Its tiles, and what they take in the buffer.
    compute_s, dram_s, latency_s : float
        Time of the arrays, of DRAM, and of both as they share it.
    dram, buffer : Moved
        Bytes to and from DRAM and the buffer. What spills passes through the buffer on its way.
    einsums : tuple of EinsumWork
        In order of the group.
    """

    name: str
    tiling: Tiling
    compute_s: float
    dram_s: float
    latency_s: float
    dram: Moved
    buffer: Moved
    einsums: tuple[EinsumWork, ...]


@dataclass(frozen=True, slots=True)
class CascadeCost:
    """What a cascade costs on a device.

    Parameters
    ----------
    latency_s : float
        From the first load to the last store.
    dram_bytes : float
        Moved to and from DRAM.
    energy_pj : mapping of str to float
        Component -> energy: ``dram``, ``buffer``, ``ARRAY.registers``, ``ARRAY.UNIT``.
    utilisation : mapping of str to float
        Array -> part of the PEs' time that they work.
    groups : tuple of GroupCost
        In order of execution.
    """

    latency_s: float
    dram_bytes: float
    energy_pj: Mapping[str, float]
    utilisation: Mapping[str, float]
    groups: tuple[GroupCost, ...]

    @property
    def total_pj(self) -> float:
        """Energy of all components."""
        return sum(self.energy_pj.values())


def load_device(name: str, overrides: Mapping[str, Any] | None = None) -> CascadeDevice:
    """Return a device by library name or file path.

    Raises
    ------
    ConfigError
        If the file or an override is wrong; says where and what is legal.
    """
    return load_named(name, CascadeDevice, "arch", overrides)


def load_policy(name: str, overrides: Mapping[str, Any] | None = None) -> CascadePolicy:
    """Return a binding policy by library name or file path.

    Raises
    ------
    ConfigError
        If the file or an override is wrong; says where and what is legal.
    """
    return load_named(name, CascadePolicy, "mapping", overrides)


def evaluate_cascade(
    cascade: Cascade, device: CascadeDevice, policy: CascadePolicy
) -> CascadeCost:
    """Return what a cascade costs on a device under a binding.

    Parameters
    ----------
    cascade : Cascade
        Einsums, tensors and sizes of ranks.
    device : CascadeDevice
        Arrays, buffer and DRAM.
    policy : CascadePolicy
        Which Einsum runs where and when, on which tiles.

    Raises
    ------
    MappingError
        If the binding does not fit cascade or device.
    InfeasibleError
        If a group's tiles do not fit the buffer and may not spill.

    Notes
    -----
    A phase takes the time of its busiest array; a group the sum of its phases, and at least (or
    besides) its DRAM traffic over the bandwidth; the cascade the sum of its groups.
    """
    _check_complete(cascade, policy)
    groups = []
    for name, group in policy.groups.items():
        groups.append(_group(name, group, cascade, device))
    latency_s = sum(one.latency_s for one in groups)
    return CascadeCost(
        latency_s=latency_s,
        dram_bytes=sum(one.dram.total for one in groups),
        energy_pj=_energy(groups, device, policy),
        utilisation=_utilisation(groups, device, latency_s),
        groups=tuple(groups),
    )


def _check_complete(cascade: Cascade, policy: CascadePolicy) -> None:
    bound = [name for group in policy.groups.values() for name in group.einsums]
    known = [einsum.name for einsum in cascade.einsums]
    if missing := [name for name in known if name not in bound]:
        raise MappingError(f"policy `{policy.name}` binds no array for {', '.join(missing)}")
    if odd := [name for name in bound if name not in known]:
        raise MappingError(f"cascade `{cascade.name}` has no Einsum {', '.join(odd)}")
    tensors = {t: n for n, group in policy.groups.items() for t in (*group.homes, *group.copies)}
    if odd := [name for name in tensors if name not in cascade.tensors]:
        raise MappingError(f"cascade `{cascade.name}` has no tensor {', '.join(odd)}")
    for one in cascade.tensors.values():
        if "" in one.ranks:
            raise MappingError(
                f"tensor `{one.name}` of cascade `{cascade.name}` has an index that is no rank"
                " alone; its tiles overlap, which a cascade on several arrays does not model"
            )
    for name, group in policy.groups.items():
        _check_homes(name, group, cascade)


def _check_homes(name: str, group: GroupSpec, cascade: Cascade) -> None:
    """Refuse tensors that come from outside or leave and would cost nothing."""
    for one in group.einsums:
        einsum, binding = cascade.einsum(one), group.einsums[one]
        crossing = [o.tensor for o in einsum.operands if _arrives(o.tensor, group, cascade)]
        if _leaves(einsum.made.tensor, group, cascade):
            crossing.append(einsum.made.tensor)
        for tensor in crossing:
            if (binding.homes.get(tensor) or group.homes.get(tensor, "array")) == "array":
                raise MappingError(
                    f"group `{name}`: `{tensor}` of `{one}` comes from outside or leaves; name"
                    " its home: buffer, dram or staged"
                )


def _arrives(tensor: str, group: GroupSpec, cascade: Cascade) -> bool:
    maker = cascade.maker(tensor)
    return maker is None or maker.name not in group.einsums


def _group(name: str, group: GroupSpec, cascade: Cascade, device: CascadeDevice) -> GroupCost:
    tiling = tile_group(name, group, cascade, device)
    found = {one: work(one, group, tiling, cascade, device.arrays) for one in group.einsums}
    crossing = _crossing(group, tiling, cascade)
    dram = Moved().plus(crossing, 1.0 - tiling.spilled)
    buffer = Moved(crossing.writes, crossing.reads)  # a load from DRAM is a fill
    for one in found.values():
        dram, buffer = dram.plus(one.dram), buffer.plus(one.buffer)
    compute_s = _compute_cycles(group, found) / device.clock
    dram_s = dram.total / device.dram.bandwidth
    both_s = max(compute_s, dram_s) if group.dram == "overlapped" else compute_s + dram_s
    return GroupCost(
        name, tiling, compute_s, dram_s, both_s, dram, buffer, tuple(found.values())
    )  # fmt: skip


def _compute_cycles(group: GroupSpec, found: Mapping[str, EinsumWork]) -> float:
    """Return the sum over phases of the cycles of the busiest array, and of what is drained."""
    total = 0.0
    for phase in group.phases:
        busy: dict[str, float] = {}
        for step in phase:
            one = found[step.run or step.drain]
            cycles = one.cycles if step.run else one.drain_cycles
            busy[one.array] = busy.get(one.array, 0.0) + cycles
        total += max(busy.values())
    return total


def _crossing(group: GroupSpec, tiling: Tiling, cascade: Cascade) -> Moved:
    """Return what goes between DRAM and buffer because a tensor comes from or leaves the group.

    Read is from DRAM, written to DRAM. A tensor is brought in for the first Einsum that reads it,
    once for each tile of the outer loops that changes it.
    """
    reads = writes = 0.0
    made = {cascade.einsum(name).made.tensor for name in group.einsums}
    for tensor, home in group.homes.items():
        size, maker = cascade.tensors[tensor].size_bytes, cascade.maker(tensor)
        reader = next((e for e in cascade.readers(tensor) if e.name in group.einsums), None)
        if reader is not None and (home == "staged" or (home == "buffer" and tensor not in made)):
            ranks = next(o.ranks for o in reader.operands if o.tensor == tensor)
            times = fetches(_outer(reader, tiling, cascade), ranks)
            reads += reader.times * size * times
        leaves = tensor in made and _leaves(tensor, group, cascade)
        if maker is not None and home == "buffer" and leaves:
            times = fetches(_outer(maker, tiling, cascade), maker.made.ranks)
            writes += maker.times * size * times
            reads += maker.times * size * (times - 1)
    return Moved(reads, writes)


def _outer(einsum: Einsum, tiling: Tiling, cascade: Cascade) -> tuple[Loop, ...]:
    return outer_loops(einsum.ranks, tiling.tiles, cascade.sizes)


def _leaves(tensor: str, group: GroupSpec, cascade: Cascade) -> bool:
    outside = [one.name for one in cascade.readers(tensor) if one.name not in group.einsums]
    return tensor in cascade.outputs or bool(outside)


def _energy(
    groups: list[GroupCost], device: CascadeDevice, policy: CascadePolicy
) -> dict[str, float]:
    """Return component -> energy in pJ."""
    buffer = device.buffer
    row_bytes = buffer.row_bits / 8 / buffer.energy_scale
    found = {"dram": 0.0, "buffer": 0.0}
    for group in groups:
        found["dram"] += 8 * group.dram.total * device.dram.pj_per_bit
        found["buffer"] += group.buffer.reads / row_bytes * buffer.read_pj
        found["buffer"] += group.buffer.writes / row_bytes * buffer.write_pj
        for one in group.einsums:
            for component, energy_pj in _array_energy(one, device, policy):
                found[component] = found.get(component, 0.0) + energy_pj
    return found


def _array_energy(
    one: EinsumWork, device: CascadeDevice, policy: CascadePolicy
) -> Iterator[tuple[str, float]]:
    array = device.arrays[one.array]
    share = 1.0 if policy.registers == "every_pe" else 1.0 / one.active_pes
    read_pj, write_pj = array.registers.read_pj, array.registers.write_pj
    values = one.registers.reads * read_pj + one.registers.writes * write_pj
    yield f"{one.array}.registers", share * values
    for unit, uses in one.units.items():
        yield f"{one.array}.{unit}", uses * array.units_pj[unit]


def _utilisation(
    groups: list[GroupCost], device: CascadeDevice, latency_s: float
) -> dict[str, float]:
    """Return array -> share of its PEs' time in which they work."""
    worked = dict.fromkeys(device.arrays, 0.0)
    for group in groups:
        for one in group.einsums:
            worked[one.array] += one.cycles * one.active_pes
    whole = latency_s * device.clock
    return {name: worked[name] / (whole * device.arrays[name].pes) for name in worked}
