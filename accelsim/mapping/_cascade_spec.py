"""What the files of a cascade's binding may say: the device, and which Einsum runs where and when.

A device has several compute arrays, one shared buffer and one DRAM; a policy groups the Einsums
that run together, tiles them, and orders them in phases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import (
    Bytes,
    BytesPerSecond,
    Count,
    Hertz,
    Nanometres,
    Nonnegative,
    Positive,
    Spec,
    Whole,
)
from accelsim.errors import nearest

__all__ = [
    "FULL",
    "LARGEST",
    "ArraySpec",
    "BufferSpec",
    "CascadeDevice",
    "CascadePolicy",
    "DramSpec",
    "EinsumBinding",
    "GroupSpec",
    "OperationSpec",
    "PhaseStep",
    "RegisterSpec",
]

LARGEST: Final = "largest"
"""Tile of a rank: the largest factor that the buffer holds."""

FULL: Final = "full"
"""Tile of a rank: all of it."""

Home = Literal["buffer", "dram", "staged", "array"]
"""Where a tensor is between the Einsums of a group: in the buffer; in DRAM, read and written past
the buffer; written to DRAM and read back through the buffer; in the arrays."""


class OperationSpec(Spec):
    """How an array does one operation of an Einsum."""

    cycles: Positive = 1.0
    """Cycles for which one PE is busy, per point of the iteration space."""
    uses: dict[str, Positive]
    """Functional unit of the PE -> how often the operation uses it."""


class RegisterSpec(Spec):
    """The registers of one PE."""

    read_pj: Nonnegative
    """Energy of reading one value."""
    write_pj: Nonnegative
    """Energy of writing one value."""
    area_um2: Nonnegative = 0.0
    """Area of the registers of one PE."""


class ArraySpec(Spec):
    """An array of equal PEs; one row of them is a vector array."""

    rows: Count
    """PEs along the direction in which sums move."""
    columns: Count
    """PEs across it."""
    operations: dict[str, OperationSpec]
    """What a PE can do: operation of an Einsum -> cycles and units."""
    units_pj: dict[str, Nonnegative]
    """Functional unit -> energy of one use."""
    units_um2: dict[str, Nonnegative] = Field(default_factory=dict)
    """Functional unit -> area in one PE."""
    registers: RegisterSpec
    """Registers of a PE."""

    def lanes(self, spatial: Mapping[str, int | str]) -> dict[str, int]:
        """Return rank -> PEs that it is laid over, as numbers."""
        named = {"rows": self.rows, "columns": self.columns}
        return {rank: named[n] if isinstance(n, str) else n for rank, n in spatial.items()}

    @property
    def pes(self) -> int:
        """Number of PEs."""
        return self.rows * self.columns

    @property
    def area_um2(self) -> float:
        """Area of all PEs."""
        return self.pes * (sum(self.units_um2.values()) + self.registers.area_um2)

    @model_validator(mode="after")
    def _units_exist(self) -> Self:
        for name, operation in self.operations.items():
            for unit in operation.uses:
                if unit not in self.units_pj:
                    raise PydanticCustomError(
                        "unit",
                        "operation `{operation}` uses the unit `{unit}`; {hint}",
                        {"operation": name, "unit": unit, "hint": nearest(unit, self.units_pj)},
                    )
        return self


class BufferSpec(Spec):
    """The buffer that all arrays share."""

    capacity: Bytes
    """What it holds."""
    row_bits: Count
    """Bits of one access."""
    read_pj: Nonnegative
    """Energy of reading one row."""
    write_pj: Nonnegative
    """Energy of writing one row."""
    energy_scale: Positive = 1.0
    """Calibration scalar: what both energies are multiplied by to meet a published total."""
    area_um2: Nonnegative = 0.0
    """Area."""


class DramSpec(Spec):
    """The main memory."""

    bandwidth: BytesPerSecond
    """Bytes per second, reads and writes together."""
    pj_per_bit: Nonnegative
    """Energy of moving one bit."""


class CascadeDevice(Spec):
    """A device of several arrays that work on one cascade of Einsums."""

    name: str
    """Short name."""
    source: str | dict[str, str]
    """Where the parameters come from."""
    technology_nm: Nanometres
    """Process node of energies and areas."""
    clock: Hertz
    """Clock of the arrays."""
    arrays: Annotated[dict[str, ArraySpec], Field(min_length=1)]
    """Arrays by name."""
    buffer: BufferSpec
    """The shared buffer."""
    dram: DramSpec
    """The main memory."""

    @property
    def area_um2(self) -> float:
        """Area of arrays and buffer."""
        return self.buffer.area_um2 + sum(array.area_um2 for array in self.arrays.values())


def _lanes(value: Any) -> Any:
    if value in ("rows", "columns") or (type(value) is int and value > 0):
        return value
    raise PydanticCustomError("lanes", "a whole number, `rows` or `columns` is needed")


Lanes = Annotated[int | str, BeforeValidator(_lanes, json_schema_input_type=int | str)]


class EinsumBinding(Spec):
    """Where one Einsum runs, and in which order of loops."""

    array: str
    """Name of the array."""
    spatial: dict[str, Lanes] = Field(default_factory=dict)
    """Rank -> PEs that it is laid over: a number, or all `rows` or `columns` of the array."""
    inner: tuple[str, ...] = ()
    """Ranks whose loops run inside the group's tile, the outermost first."""
    homes: dict[str, Home] = Field(default_factory=dict)
    """Tensor -> where this Einsum finds or leaves it, where that differs from the group's."""
    pipelined: bool = False
    """Operations of a point are stages of one pipeline: the slowest counts, not their sum."""


class PhaseStep(Spec):
    """One step of a phase: an Einsum, or the draining of the array after one."""

    run: str = ""
    """The Einsum that runs."""
    drain: str = ""
    """Einsum whose spatial reduction is waited for, tile by tile: one cycle per PE along it."""

    @model_validator(mode="after")
    def _either(self) -> Self:
        if bool(self.run) == bool(self.drain):
            raise PydanticCustomError("step", "a step has either `run` or `drain`")
        return self


def _step(value: Any) -> Any:
    return {"run": value} if isinstance(value, str) else value


Step = Annotated[PhaseStep, BeforeValidator(_step, json_schema_input_type=str | PhaseStep)]


def _tile(value: Any) -> Any:
    if value in (LARGEST, FULL) or (type(value) is int and value > 0):
        return value
    raise PydanticCustomError("tile", "a whole number, `largest` or `full` is needed")


Tile = Annotated[int | str, BeforeValidator(_tile, json_schema_input_type=int | str)]


class GroupSpec(Spec):
    """Einsums that run together on tiles of the same outer loops."""

    outer: dict[str, Tile]
    """Rank -> tile that the buffer works on at a time; the order is that of the loops, the
    outermost first. One tile may be `largest`."""
    homes: dict[str, Home] = Field(default_factory=dict)
    """Tensor -> where it is; in the arrays if it is not named."""
    copies: dict[str, Whole] = Field(default_factory=dict)
    """Tensor -> tiles of it that the buffer holds at a time: 2 to fetch one while one is used, 0
    where its piece for staging is all there is."""
    in_place: dict[str, str] = Field(default_factory=dict)
    """Tensor -> tensor whose room in the buffer it takes over."""
    staging: dict[str, Count] = Field(default_factory=dict)
    """Rank -> extent of the piece that the buffer holds besides of each tensor between DRAM or
    buffer and the arrays; no such pieces where empty."""
    overflow: Literal["refuse", "spill"] = "refuse"
    """A tile beyond the buffer is an error, or leaves in DRAM the share that does not fit."""
    dram: Literal["overlapped", "added"] = "overlapped"
    """Whether DRAM works while the arrays do."""
    einsums: Annotated[dict[str, EinsumBinding], Field(min_length=1)]
    """Einsum -> binding."""
    phases: Annotated[tuple[tuple[Step, ...], ...], Field(min_length=1)]
    """Steps of one phase share the time on different arrays and follow each other on the same;
    phases follow each other."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        run = [step.run for phase in self.phases for step in phase if step.run]
        drained = [step.drain for phase in self.phases for step in phase if step.drain]
        problem = ""
        if sorted(run) != sorted(self.einsums):
            twice = {name for name in run if run.count(name) > 1}
            odd = sorted(set(run) ^ set(self.einsums)) or sorted(twice)
            problem = f"each Einsum of the group runs once in its phases; look at {', '.join(odd)}"
        elif unknown := [name for name in drained if name not in self.einsums]:
            problem = f"`{unknown[0]}` is drained but does not run; {nearest(unknown[0], run)}"
        elif list(self.outer.values()).count(LARGEST) > 1:
            problem = "only one tile can be `largest`"
        if problem:
            raise PydanticCustomError("group", "{problem}", {"problem": problem})
        return self


class CascadePolicy(Spec):
    """Which Einsum of a cascade runs on which array, when, and what is kept on chip."""

    name: str
    """Short name, equal to the file's."""
    source: str
    """Where the binding comes from."""
    description: str = ""
    """One or two sentences."""
    model: str
    """Name of the model whose statements are bound."""
    registers: Literal["every_pe", "one_pe"] = "every_pe"
    """Whose register accesses count in the energy; one of each array where a published figure
    was made so."""
    groups: Annotated[dict[str, GroupSpec], Field(min_length=1)]
    """Groups, which follow each other; between them tensors go through DRAM."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [name for group in self.groups.values() for name in group.einsums]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise PydanticCustomError(
                "twice", "`{einsum}` is bound in two groups", {"einsum": twice[0]}
            )
        return self
