"""From a cascade and a device of several arrays to groups of Einsums that are fused.

Statements follow from the Einsums, which array runs them from their operations, and what the
search may do from a policy; the search itself knows neither files nor workloads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelsim.arch import ArchitectureSpec
from accelsim.config import load_named
from accelsim.cost import Setting, Work
from accelsim.cost._spatial_levels import FanoutSpec
from accelsim.cost.spatial import SpatialArray
from accelsim.errors import ConfigError, MappingError, nearest
from accelsim.mapping._fusion_policy import FusionPolicy, OperationCost, VectorUnit
from accelsim.nest.accounting import Accounting, accounting
from accelsim.nest.fuse import (
    Access,
    FusedDevice,
    Fusion,
    FusionObjective,
    Statement,
    fuse,
)
from accelsim.nest.hierarchy import Fanout, Hierarchy, Node, Storage
from accelsim.nest.problem import Axis, Problem, TensorAccess
from accelsim.workload.cascade import MOVES, Cascade, Einsum, Reference
from accelsim.workload.tensor import dtype_bits

__all__ = [
    "FusionPolicy",
    "OperationCost",
    "VectorUnit",
    "device_of",
    "fuse_cascade",
    "fused_device",
    "load_fusion_policy",
    "statements",
]


def load_fusion_policy(
    name: str | Path, overrides: Mapping[str, Any] | None = None
) -> FusionPolicy:
    """Return a policy by library name or file path.

    Raises
    ------
    ConfigError
        If the file or an override is wrong; says where and what is legal.
    """
    return load_named(name, FusionPolicy, "mapping/fusion", overrides)


def device_of(architecture: ArchitectureSpec, policy: FusionPolicy, dtype: str) -> FusedDevice:
    """Return the spatial array of an architecture as a device that fuses.

    Raises
    ------
    ConfigError
        If it has none or several, or the array cannot fuse so; see `fused_device`.
    """
    arrays = [one for one in architecture.device.units.values() if isinstance(one, SpatialArray)]
    if len(arrays) != 1:
        has = "several" if arrays else "none"
        raise ConfigError(
            f"`{architecture.name}` has {has} of `kind: spatial`; fusion needs one",
            path="device.units", hint="`accelsim list archs` says where the files are",
        )  # fmt: skip
    (array,) = arrays
    memory = architecture.device.memories[array.memory]
    return fused_device(array, Setting(memory, None, architecture.technology_nm), policy, dtype)


def fused_device(
    array: SpatialArray, setting: Setting, policy: FusionPolicy, dtype: str
) -> FusedDevice:
    """Return a spatial array, and the vector units of a policy, as a device that fuses.

    Parameters
    ----------
    array : SpatialArray
        Of an architecture.
    setting : Setting
        The device's memory and buffer.
    policy : FusionPolicy
        Which level holds what stays, and which other units there are.
    dtype : str
        Number format of the operands, which sets rate and energy of a product.

    Raises
    ------
    ConfigError
        If a level is unknown, stands where nothing can stay, or is limited to dims by name.
    """
    for level in array.levels:
        if getattr(level, "dims", None) is not None:
            raise ConfigError(
                f"level `{level.name}` names dims of a product; a cascade has ranks of its own",
                path="levels", hint="state `unrolls_for` on a fan-out",
            )  # fmt: skip
    work = Work("matmul", dtype=dtype, m=2, n=2, k=2)
    made = array.hierarchy(work, setting)
    nodes = tuple(
        replace(node, dims=None) if isinstance(node, Fanout) else node for node in made.nodes
    )
    arrays = {"array": replace(made, nodes=nodes)}
    memory = policy.memory or _next_memory(nodes)
    for name, unit in policy.vectors.items():
        shared = nodes[: made.index(unit.below) + 1]
        arrays[name] = Hierarchy(shared, unit.pj, unit.per_cycle, made.frequency_hz)
    roles = {
        level.name: frozenset(level.unrolls_for)
        for level in array.levels
        if isinstance(level, FanoutSpec) and level.unrolls_for is not None
    }
    return FusedDevice(arrays, memory, policy.together, roles)


def _next_memory(nodes: Sequence[Node]) -> str:
    """Return the memory next to the outermost."""
    memories = [node.name for node in nodes if isinstance(node, Storage)]
    if len(memories) < 2:
        raise ConfigError(
            "the array has one memory only, so nothing can stay on chip", path="levels"
        )
    return memories[1]


def fuse_cascade(
    cascade: Cascade,
    device: FusedDevice,
    policy: FusionPolicy,
    objective: FusionObjective = "energy",
    *,
    rules: Accounting | None = None,
) -> Fusion:
    """Return the best groups of a cascade's Einsums under a policy.

    Parameters
    ----------
    cascade : Cascade
        Einsums, tensors and sizes of ranks.
    device : FusedDevice
        Its arrays, and the memory in which tensors may stay.
    policy : FusionPolicy
        Which array runs what, and what the search may do.
    objective : {"energy", "traffic", "latency"}
        What to make small.
    rules : Accounting, optional
        What is counted; what the policy says unless given.

    Raises
    ------
    MappingError
        If the policy names what the cascade has not, or nothing legal fits the device.
    """
    _check(cascade, policy)
    return fuse(
        statements(cascade, policy), device, objective, outputs=cascade.outputs,
        rules=rules or accounting(policy.accounting), limits=policy.limits(),
    )  # fmt: skip


def statements(cascade: Cascade, policy: FusionPolicy) -> tuple[Statement, ...]:
    """Return the statements of a cascade; a view is no statement but the tensor it shows.

    Raises
    ------
    MappingError
        If no array is named for an Einsum.
    """
    views = {
        one.made.tensor: one.operands[0].tensor
        for one in cascade.einsums
        if one.operations == ("view",)
    }
    return tuple(
        _statement(one, cascade, policy, views)
        for one in cascade.einsums
        if one.made.tensor not in views
    )


def _check(cascade: Cascade, policy: FusionPolicy) -> None:
    names = [one.name for one in cascade.einsums]
    for name in policy.roles:
        if name not in names:
            raise MappingError(
                f"policy `{policy.name}`: no Einsum `{name}`; {nearest(name, names)}"
            )
    for rank in (*(policy.shared or ()), *policy.tiles):
        if rank not in cascade.sizes:
            hint = nearest(rank, cascade.sizes)
            raise MappingError(f"policy `{policy.name}`: no rank `{rank}`; {hint}")


def _statement(
    one: Einsum, cascade: Cascade, policy: FusionPolicy, views: Mapping[str, str]
) -> Statement:
    array = _array(one, policy)
    references = [*one.operands, one.made]
    roles = list(_roles(one, policy))
    repeated = {"times": one.times} if one.times > 1 else {}
    dims = (*repeated, *one.ranks)
    seen: Counter[str] = Counter()
    accesses, tensors = [], []
    for reference, role in zip(references, roles, strict=True):
        seen[reference.tensor] += 1
        nth = seen[reference.tensor]
        bits = dtype_bits(cascade.tensors[reference.tensor].dtype)
        tensors.append(TensorAccess(
            reference.tensor if nth == 1 else f"{reference.tensor} ({nth})",
            _axes(reference, tuple(repeated)), bits,
        ))  # fmt: skip
        source = _shown(reference.tensor, views)
        ranks = _ranks(reference, cascade) if source == reference.tensor else ()
        accesses.append(Access(source, role, (*repeated, *ranks)))
    sizes = repeated | dict(cascade.sizes)
    cycles, energy_pj = _point(one, policy.operations.get(array, {}))
    return Statement(
        one.name, Problem(dims, tuple(sizes[dim] for dim in dims), tuple(tensors)),
        tuple(accesses), array, one.running, cycles, energy_pj,
    )  # fmt: skip


def _shown(tensor: str, views: Mapping[str, str]) -> str:
    while tensor in views:
        tensor = views[tensor]
    return tensor


def _axes(reference: Reference, repeated: tuple[str, ...]) -> tuple[Axis, ...]:
    own = (index.terms for index in reference.indices if not index.fixed)
    return (*(((1, dim),) for dim in repeated), *own)


def _ranks(reference: Reference, cascade: Cascade) -> tuple[str, ...]:
    """Return the rank of each axis that tiles can follow.

    A shifted index is of a tile only where the tensor runs along it: what came before is kept.
    """
    running = cascade.tensors[reference.tensor].running
    return tuple(
        index.rank if index.rank and (index.offset == 0 or index.rank == running) else ""
        for index in reference.indices
    )


def _array(one: Einsum, policy: FusionPolicy) -> str:
    for key in (one.name, *reversed(one.operations), "default"):
        if key in policy.arrays:
            return policy.arrays[key]
    raise MappingError(
        f"policy `{policy.name}` names no array for `{one.name}`"
        f" ({', '.join(one.operations)}), and no default"
    )


def _roles(one: Einsum, policy: FusionPolicy) -> Iterator[str]:
    product = "mac" in one.operations and len(one.operands) == 2
    given = policy.roles.get(one.name, {})
    for place, operand in enumerate(one.operands):
        yield given.get(operand.tensor, "weight" if product and place == 1 else "input")
    yield given.get(one.made.tensor, "output")


def _point(one: Einsum, costs: Mapping[str, OperationCost]) -> tuple[float, float | None]:
    """Return the cycles and the energy of one point; None for the array's own energy."""
    every = [costs.get(name, OperationCost()) for name in one.operations if name not in MOVES]
    if not every:
        return 1.0, 0.0
    known = [cost.pj for cost in every if cost.pj is not None]
    if known and len(known) < len(every):
        raise MappingError(
            f"`{one.name}` takes {', '.join(one.operations)}: state `pj` of all of them or of none"
        )
    return sum(cost.cycles for cost in every), sum(known) if known else None
