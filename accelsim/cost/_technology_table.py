"""What the technology file may say, and its figures one by one.

Each row names its source by a key of the file's ``references`` and a place in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import (
    Bytes,
    Count,
    Nanometres,
    Nonnegative,
    Picojoules,
    PicojoulesPerBit,
    Positive,
    Spec,
    SquareMillimetres,
    Volts,
    Watts,
)
from accelsim.errors import UnknownNameError, nearest

__all__ = ["Arithmetic", "Line", "Mac", "Technology"]

Line = tuple[str, str, float | None, float, str, str]
"""Section, name, node in nm, value, unit, source."""


class Sourced(Spec):
    """A row that says where its figures come from."""

    source: str
    """Reference key, optionally followed by a place; several are separated by semicolons."""


class Node(Sourced):
    """A node of the scaling curves of Stillmaker and Baas."""

    technology_nm: Nanometres
    energy: tuple[float, float, float]
    """Coefficients a, b, c of a V^2 + b V + c."""
    supply_v: Volts
    area: Positive
    """Area relative to the first node."""


class Shrink(Sourced):
    """A node beyond those equations: factors against the node before."""

    technology_nm: Nanometres
    energy: Positive
    logic_area: Positive
    sram_area: Positive


class Arithmetic(Sourced):
    """Energy, and where known area, of one operation."""

    operation: Literal["add", "multiply"]
    format: str
    technology_nm: Nanometres
    energy_pj: Picojoules
    area_um2: Positive | None = None
    like: str | None = None
    """Format whose scaling and area stand in for figures of this one that no source gives."""


class Mac(Sourced):
    """A multiply-accumulate, made of a multiply and an add."""

    format: str
    multiply: str
    accumulate: str
    multiply_factor: Positive = 1.0
    mac_factor: Positive = 1.0


class Function(Sourced):
    """An elementwise function, in multiplies and adds."""

    operation: str
    multiplies: Nonnegative
    adds: Nonnegative
    of: str | None = None
    """Format of the multiplies and adds; that of the function where absent."""


class SramEnergy(Sourced):
    """Read energy of an SRAM."""

    capacity_bytes: Bytes
    technology_nm: Nanometres
    read_pj_per_64bit: Picojoules


class SramWrite(Sourced):
    """Write energy relative to read energy."""

    factor: Positive


class SramArea(Sourced):
    """Area of an SRAM macro."""

    capacity_bytes: Bytes
    technology_nm: Nanometres
    area_mm2: SquareMillimetres


class SramLeakage(Sourced):
    """Standing power of an SRAM."""

    capacity_bytes: Bytes
    technology_nm: Nanometres
    leakage_w: Watts


class Register(Sourced):
    """A pipeline register."""

    technology_nm: Nanometres
    energy_pj_per_byte: Positive
    area_um2_per_bit: Positive | None = None


class Interface(Sourced):
    """A DRAM standard or a link."""

    name: str
    energy_pj_per_bit: PicojoulesPerBit


class Technology(Spec):
    """The whole technology file."""

    references: dict[str, str]
    """Key -> full reference."""
    nodes: list[Node]
    shrinks: list[Shrink]
    arithmetic: list[Arithmetic]
    macs: list[Mac]
    functions: list[Function]
    sram_energy: list[SramEnergy]
    sram_write: SramWrite
    sram_area: list[SramArea]
    sram_leakage: list[SramLeakage]
    registers: list[Register]
    dram: list[Interface]
    links: list[Interface]
    edition: Count = 1
    """Counts up when figures change, so that old results can be told from new ones."""

    @model_validator(mode="after")
    def _sources_exist(self) -> Technology:
        for row in self._rows():
            for key in _keys(row.source):
                if key not in self.references:
                    raise PydanticCustomError(
                        "unknown_source",
                        "source `{key}` is not among `references`; {hint}",
                        {"key": key, "hint": nearest(key, self.references)},
                    )
        return self

    def _rows(self) -> Iterator[Sourced]:
        yield from self.nodes
        yield from self.shrinks
        yield from self.arithmetic
        yield from self.macs
        yield from self.functions
        yield from (*self.sram_energy, self.sram_write, *self.sram_area, *self.sram_leakage)
        yield from (*self.registers, *self.dram, *self.links)

    def mac(self, fmt: str) -> Mac:
        """Return the row of a MAC format."""
        for row in self.macs:
            if row.format == fmt:
                return row
        raise UnknownNameError("sourced MAC format", fmt, [row.format for row in self.macs])

    def lines(self) -> Iterator[Line]:
        """Yield each figure with its unit and full source."""
        for n in self.nodes:
            yield "node", "area against 45 nm", n.technology_nm, n.area, "", self._full(n)
        for s in self.shrinks:
            for field in ("energy", "logic_area", "sram_area"):
                value = getattr(s, field)
                yield "shrink", field, s.technology_nm, value, "of the node before", self._full(s)
        for a in self.arithmetic:
            name = f"{a.operation} {a.format}"
            yield "energy", name, a.technology_nm, a.energy_pj, "pJ", self._full(a)
            if a.area_um2 is not None:
                yield "area", name, a.technology_nm, a.area_um2, "um2", self._full(a)
        for m in self.macs:
            name = f"{m.format} = {m.multiply_factor:g} x multiply {m.multiply} + {m.accumulate}"
            yield "mac", name, None, m.mac_factor, "times the sum", self._full(m)
        for f in self.functions:
            yield "function", f"{f.operation}, multiplies", None, f.multiplies, "", self._full(f)
            yield "function", f"{f.operation}, adds", None, f.adds, "", self._full(f)
        yield from self._memory_lines()

    def _memory_lines(self) -> Iterator[Line]:
        for e in self.sram_energy:
            name = f"{e.capacity_bytes:.0f} bytes, read 64 bits"
            yield "sram", name, e.technology_nm, e.read_pj_per_64bit, "pJ", self._full(e)
        write = self.sram_write
        yield "sram", "write against read", None, write.factor, "", self._full(write)
        for a in self.sram_area:
            name = f"{a.capacity_bytes:.0f} bytes, area"
            yield "sram", name, a.technology_nm, a.area_mm2, "mm2", self._full(a)
        for k in self.sram_leakage:
            name = f"{k.capacity_bytes:.0f} bytes, leakage"
            yield "sram", name, k.technology_nm, k.leakage_w, "W", self._full(k)
        for r in self.registers:
            source = self._full(r)
            yield "register", "access", r.technology_nm, r.energy_pj_per_byte, "pJ/byte", source
            if r.area_um2_per_bit is not None:
                yield "register", "area", r.technology_nm, r.area_um2_per_bit, "um2/bit", source
        for table, interfaces in (("dram", self.dram), ("link", self.links)):
            for i in interfaces:
                yield table, i.name, None, i.energy_pj_per_bit, "pJ/bit", self._full(i)

    def _full(self, row: Sourced) -> str:
        references = dict.fromkeys(self.references[key] for key in _keys(row.source))
        return f"{row.source} [{'; '.join(references)}]"


def _keys(source: str) -> list[str]:
    """Return the reference keys of a source text, the last word before each comma or colon.

    Examples
    --------
    >>> _keys("horowitz2014; area hennessy2019")
    ['horowitz2014', 'hennessy2019']
    """
    return [re.split(r"[,:]", part)[0].split()[-1] for part in source.split(";")]
