"""The technology file: what it is made of, its figures, and how they move with the node.

Its kinds of rows are in `_technology_rows`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec, library, load_spec
from accelsim.cost._scaling import Anchors, bent
from accelsim.cost._technology_rows import (
    Arithmetic,
    Function,
    Interface,
    LogicLeakage,
    Mac,
    Node,
    Register,
    RegisterFile,
    Router,
    Shrink,
    Sourced,
    SramArea,
    SramEnergy,
    SramLeakage,
    SramMacro,
    SramWrite,
    Wafer,
    Wire,
)
from accelsim.errors import ConfigError, Location, UnknownNameError, nearest

__all__ = ["Line", "Technology", "at_node", "require_node", "scaled", "table"]

Line = tuple[str, str, float | None, float, str, str]
"""Section, name, node in nm, value, unit, source."""


@lru_cache(maxsize=1)
def table() -> Technology:
    """Return the technology file that ships with the library, read once."""
    return load_spec(library.find("arch", "components/technology"), Technology)


@lru_cache(maxsize=16)
def curve(quantity: str) -> tuple[tuple[float, float], ...]:
    """Return (node, relative value) of ``energy``, ``logic_area``, ``sram_area``, finest first."""
    points = []
    for node in table().nodes:
        a, b, c = node.energy
        v = node.supply_v
        value = a * v * v + b * v + c if quantity == "energy" else node.area
        points.append((node.technology_nm, value))
    for shrink in table().shrinks:
        points.append((shrink.technology_nm, points[-1][1] * float(getattr(shrink, quantity))))
    return tuple(sorted(points))


def require_node(technology_nm: float) -> None:
    """Raise a ConfigError for a node that the table does not cover."""
    known = curve("energy")
    if not known[0][0] <= technology_nm <= known[-1][0]:
        raise ConfigError(
            f"no scaling is known for {technology_nm:g} nm;"
            f" the table covers {known[-1][0]:g} down to {known[0][0]:g} nm",
            Location(str(library.find("arch", "components/technology"))),
            hint="give the component's energy and area where they are published",
        )


def at_node(anchors: Anchors, technology_nm: float, quantity: str) -> float:
    """Return a figure at a node, known at one or more others.

    Parameters
    ----------
    anchors : sequence of (node in nm, figure)
    technology_nm : float
        Where it is wanted.
    quantity : {"energy", "logic_area", "sram_area"}
        How it scales.
    """
    require_node(technology_nm)
    return bent(anchors, curve(quantity), technology_nm)


def scaled(quantity: str, technology_nm: float, known_nm: float) -> float:
    """Return how many times a quantity at one node is that at another."""
    return at_node([(known_nm, 1.0)], technology_nm, quantity)


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
    sram_macro: SramMacro
    register_files: list[RegisterFile]
    wires: list[Wire]
    routers: list[Router]
    logic_leakage: list[LogicLeakage]
    wafers: list[Wafer]
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
        yield from (
            self.sram_macro,
            self.sram_macro.beyond,
            *self.register_files,
            *self.wires,
            *self.routers,
        )
        yield from (*self.logic_leakage, *self.wafers)

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
        for section, interfaces in (("dram", self.dram), ("link", self.links)):
            for i in interfaces:
                yield section, i.name, None, i.energy_pj_per_bit, "pJ/bit", self._full(i)
        yield from self._macro_lines()
        yield from self._logic_lines()

    def _macro_lines(self) -> Iterator[Line]:
        macro, section = self.sram_macro, "sram macro"
        full = self._full(macro)
        for access in ("read", "write"):
            for name, value in getattr(macro, access):
                yield section, f"{access}, {name}", None, value, "bits", full
        yield section, "area, row", None, macro.area_row, "bits", full
        yield section, "leakage, edge", None, macro.leakage_edge, "bits", full
        yield section, "cell's side per further port", None, 1 + macro.port_pitch, "times", full
        rule = self._full(macro.beyond)
        for name in ("energy", "area", "leakage"):
            value = getattr(macro.beyond, name)
            yield section, f"{name} below the finest node", None, value, "power of the node", rule
        value = macro.beyond.finfet_leakage
        yield section, "leakage of FinFETs", None, value, "times the rule", rule
        for node in macro.nodes:
            nm = node.technology_nm
            yield section, "read, a bit by a bit's side", nm, node.read_fj, "fJ", full
            yield section, "write, a bit by a bit's side", nm, node.write_fj, "fJ", full
            yield section, "area", nm, node.area_um2_per_bit, "um2/bit", full
            yield section, "leakage", nm, node.leakage_pw_per_bit, "pW/bit", full

    def _logic_lines(self) -> Iterator[Line]:
        for f in self.register_files:
            name = f"{f.capacity_bytes:.0f} bytes, {f.access_bits} bits"
            yield "register file", name, f.technology_nm, f.energy_pj, "pJ", self._full(f)
        for w in self.wires:
            value = w.energy_pj_per_bit_mm
            yield "wire", "across the chip", w.technology_nm, value, "pJ/bit/mm", self._full(w)
        for r in self.routers:
            value, full = r.energy_pj_per_bit, self._full(r)
            yield "router", "traversal", r.technology_nm, value, "pJ/bit", full
            if r.area_um2_per_bit is not None:
                yield "router", "area", r.technology_nm, r.area_um2_per_bit, "um2/bit", full
        for k in self.logic_leakage:
            value = k.leakage_w_per_mm2
            yield "logic", "leakage", k.technology_nm, value, "W/mm2", self._full(k)
        for s in self.wafers:
            yield "wafer", "price", s.technology_nm, s.price_usd, "USD", self._full(s)
            if s.defects_per_cm2 is not None:
                value = s.defects_per_cm2
                yield "wafer", "defects", s.technology_nm, value, "per cm2", self._full(s)

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
