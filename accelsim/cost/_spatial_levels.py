"""What a file says of the levels of a spatial array, and the hierarchy that follows from it.

A level is a memory or a fan-out; the outermost memories may be those of the device.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from accelsim.config import (
    Bytes,
    BytesPerSecond,
    Count,
    PicojoulesPerBit,
    Positive,
    Spec,
    SquareMillimetres,
    Whole,
)
from accelsim.cost._component import Memory
from accelsim.cost._logic import register_file_energy_pj
from accelsim.cost._sram_model import sram_macro
from accelsim.nest import Fanout, Node, Problem, Storage

__all__ = ["AccessSpec", "FanoutSpec", "LevelSpec", "StorageSpec", "check_levels", "node_of"]

TensorName = Literal["input", "weight", "output"]


class AccessSpec(Spec):
    """Energy and bandwidth of reading, or of writing."""

    energy_pj_per_bit: PicojoulesPerBit | None = None
    """Of an access; that of the memory, or of a model by size and node, where absent."""
    bits_per_cycle: Positive | None = None
    """Of one instance and cycle of the array; without limit where nothing is given."""
    bandwidth_bytes_per_s: BytesPerSecond | None = None
    """The same as a rate."""


class StorageSpec(Spec):
    """A memory of the array's hierarchy."""

    name: str
    """Name by which mappings call it."""
    of: Literal["memory", "buffer"] | None = None
    """It is the device's memory, or on-chip buffer, that the unit names, with its figures."""
    capacity_bytes: Bytes | None = None
    """Of one instance, for all tensors that it keeps."""
    partitions: dict[TensorName, Bytes] = Field(default_factory=dict)
    """Tensor -> bytes set aside for it, in a memory divided by tensor."""
    keep: list[TensorName] = Field(default_factory=list)
    """Tensors that it always holds."""
    may_keep: list[TensorName] = Field(default_factory=list)
    """Tensors that a mapping may hold there; others pass by."""
    read: AccessSpec = AccessSpec()
    """Reading."""
    write: AccessSpec = AccessSpec()
    """Writing."""
    access_bits: Positive | None = None
    """Width of a port, for the energy model where no energy is given."""
    model: Literal["sram", "register_file"] | None = None
    """Which energy model answers where no energy is given."""
    port: Literal["separate", "shared"] = "separate"
    """Reads and writes at once, or in turn."""
    buffers: Literal[1, 2] = 1
    """Tiles in flight: 1 fills and uses in turn; 2 fills one while the other is used, each in half
    of the memory."""
    fill_through: str = ""
    """Fan-out along which words are shifted in, an instance per cycle; not filled so if empty."""
    given_area_mm2: SquareMillimetres | None = None
    """Published area of one instance; where absent a model answers."""
    loops: Literal["any", "none"] = "any"
    """Whether a mapping may loop over tiles there."""


class FanoutSpec(Spec):
    """Equal instances of all levels that follow."""

    name: str
    """Name by which mappings call it."""
    fanout: Count
    """Instances."""
    shares: list[TensorName] = Field(default_factory=list)
    """Tensors of which a word goes to several instances at once, or whose partial sums (output)
    are added on their way out."""
    unrolls_for: list[TensorName] | None = None
    """Only dims on which one of these tensors does not depend are unrolled, so that it is shared
    as wiring demands; any where absent."""
    dims: list[str] | None = None
    """Only these dims are unrolled."""
    hop_cycles: Whole = 0
    """Cycles from an instance to the next, in a systolic chain."""
    hop_energy_pj_per_bit: PicojoulesPerBit = 0.0
    """Energy of a bit that an instance gets or gives."""


def _which(value: Any) -> str:
    has = "fanout" in value if isinstance(value, dict) else hasattr(value, "fanout")
    return "fanout" if has else "storage"


LevelSpec = Annotated[
    Annotated[StorageSpec, Tag("storage")] | Annotated[FanoutSpec, Tag("fanout")],
    Discriminator(_which),
]


def node_of(
    level: StorageSpec | FanoutSpec, problem: Problem, memory: Memory | None,
    frequency_hz: float, technology_nm: float,
) -> Node:  # fmt: skip
    """Return a level as a node of a hierarchy.

    Parameters
    ----------
    level : StorageSpec or FanoutSpec
    problem : Problem
        Whose dims and tensors it serves.
    memory : Memory or None
        The device's, where the level is `of` one.
    frequency_hz : float
        Of the array, for bandwidths.
    technology_nm : float
        For energy models.
    """
    if isinstance(level, FanoutSpec):
        return Fanout(
            level.name, level.fanout, frozenset(level.shares), _unrolled(level, problem),
            level.hop_cycles, level.hop_energy_pj_per_bit,
        )  # fmt: skip
    capacity = math.inf
    if level.capacity_bytes is not None:
        capacity = level.capacity_bytes * 8.0
    elif memory is not None and level.of == "buffer":
        capacity = memory.capacity() * 8.0
    read, write = _energies(level, memory, technology_nm)
    return Storage(
        level.name,
        capacity_bits=capacity,
        partition_bits={name: size * 8.0 for name, size in level.partitions.items()},
        keep=frozenset(level.keep),
        may_keep=frozenset(level.may_keep),
        read_pj_per_bit=read,
        write_pj_per_bit=write,
        read_bits_per_cycle=_rate(level.read, memory, frequency_hz),
        write_bits_per_cycle=_rate(level.write, memory, frequency_hz),
        shared_port=level.port == "shared",
        buffers=level.buffers,
        fill_through=level.fill_through,
        dims=frozenset() if level.loops == "none" else None,
    )


def _unrolled(level: FanoutSpec, problem: Problem) -> frozenset[str] | None:
    """Return the dims that a fan-out may unroll."""
    legal = set(problem.dims)
    if level.dims is not None:
        legal &= set(level.dims)
    if level.unrolls_for is not None:
        free: set[str] = set()
        for name in level.unrolls_for:
            free |= set(problem.dims) - problem.tensor(name).dims
        legal &= free
    return None if legal == set(problem.dims) else frozenset(legal)


def _rate(access: AccessSpec, memory: Memory | None, frequency_hz: float) -> float:
    if access.bits_per_cycle is not None:
        return access.bits_per_cycle
    if access.bandwidth_bytes_per_s is not None:
        return access.bandwidth_bytes_per_s * 8.0 / frequency_hz
    return memory.bandwidth() * 8.0 / frequency_hz if memory is not None else math.inf


def _energies(
    level: StorageSpec, memory: Memory | None, technology_nm: float
) -> tuple[float, float]:
    """Return the energies of reading and writing a bit: given, the memory's, or a model's."""
    read, write = level.read.energy_pj_per_bit, level.write.energy_pj_per_bit
    if read is not None and write is not None:
        return read, write
    if memory is not None:
        mean = memory.energy_pj(1024) / 8192.0
        return (mean if read is None else read), (mean if write is None else write)
    size = level.capacity_bytes or sum(level.partitions.values())
    if level.model == "register_file":
        each = register_file_energy_pj(size, 16, technology_nm) / 16
        return (each if read is None else read), (each if write is None else write)
    bits = int(level.access_bits or 64)
    macro = sram_macro(size, bits, technology_nm)
    return (
        macro.read_pj / bits if read is None else read,
        macro.write_pj / bits if write is None else write,
    )


def check_levels(levels: list[Any], buffer: str | None) -> None:
    """Raise where levels cannot be a hierarchy.

    Raises
    ------
    PydanticCustomError
        If the outermost is not the device's memory, a name repeats, a memory has no size, or an
        energy has neither figure nor model.
    """
    if not levels or not isinstance(levels[0], StorageSpec) or levels[0].of != "memory":
        raise PydanticCustomError(
            "levels", "the outermost level is the device's memory: `of: memory`"
        )
    names = [level.name for level in levels]
    fanouts: list[str] = []
    for i, level in enumerate(levels):
        if names.index(level.name) != i:
            raise PydanticCustomError("levels", "two levels named `{n}`", {"n": level.name})
        if isinstance(level, FanoutSpec):
            fanouts.append(level.name)
        else:
            _check_storage(level, fanouts, buffer, outermost=i == 0)


def _check_storage(
    level: StorageSpec, fanouts: list[str], buffer: str | None, *, outermost: bool
) -> None:
    problem = ""
    sized = level.capacity_bytes is not None or bool(level.partitions)
    given = None not in (level.read.energy_pj_per_bit, level.write.energy_pj_per_bit)
    if level.of == "memory" and not outermost:
        problem = "only the outermost level is the device's memory"
    elif level.of == "buffer" and buffer is None:
        problem = "it is the buffer, but the unit names none"
    elif level.of is None and not sized:
        problem = "a memory needs `capacity_bytes` or `partitions`"
    elif 0 in (level.capacity_bytes, *level.partitions.values()):
        problem = "its size is zero"
    elif level.of is None and not given and level.model is None:
        problem = "an energy needs a figure for reads and writes, or a `model`"
    elif level.fill_through and level.fill_through not in fanouts:
        problem = f"it is filled through `{level.fill_through}`, no fan-out outside it"
    elif not outermost and not level.keep and not level.may_keep:
        problem = "it keeps no tensor"
    if problem:
        raise PydanticCustomError(
            "levels", "level `{name}`: {problem}", {"name": level.name, "problem": problem}
        )
