"""Each kind of row that the technology file may hold; a row names its source.

What the file is made of, and the figures one by one, is in `_technology_table`.
"""

from __future__ import annotations

from typing import Literal

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

__all__ = [
    "Arithmetic",
    "Function",
    "Interface",
    "LogicLeakage",
    "Mac",
    "MacroBeyond",
    "MacroNode",
    "MacroShape",
    "Node",
    "Register",
    "RegisterFile",
    "Router",
    "Shrink",
    "Sourced",
    "SramArea",
    "SramEnergy",
    "SramLeakage",
    "SramMacro",
    "SramWrite",
    "Wafer",
    "Wire",
]


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


class MacroShape(Spec):
    """How the energy of an SRAM access follows from words and capacity, in widths of a bit."""

    row: Positive
    """Energy of w bits beside each other, per w^2."""
    lines: Positive
    """Address and control wires, in data bits that take as much."""
    spread: Positive
    """Words this many times narrower than the memory's side cross half of it."""


class MacroNode(Spec):
    """What sizes an SRAM macro at a node."""

    technology_nm: Nanometres
    read_fj: Positive
    """Energy of moving one bit by the side of one bit, reading; fJ."""
    write_fj: Positive
    area_um2_per_bit: Positive
    leakage_pw_per_bit: Positive


class MacroBeyond(Sourced):
    """Below the finest node that CACTI knows: the power of the node with which each falls."""

    energy: Nonnegative
    area: Nonnegative
    leakage: Nonnegative
    finfet_leakage: Positive
    """Leakage relative to that rule."""


class SramMacro(Sourced):
    """The analytic model of an SRAM macro: see `_sram_model`."""

    read: MacroShape
    write: MacroShape
    area_row: Nonnegative
    """Area of w bits beside each other, in bits per w^2."""
    leakage_edge: Nonnegative
    """Leakage of decoders and sense amplifiers, in bits per side of the memory."""
    port_pitch: Nonnegative
    """Growth of a cell's side with each port beyond the first."""
    nodes: list[MacroNode]
    beyond: MacroBeyond


class RegisterFile(Sourced):
    """Energy of an access to a small register file."""

    capacity_bytes: Bytes
    technology_nm: Nanometres
    access_bits: Count
    energy_pj: Picojoules


class Wire(Sourced):
    """A wire across the chip, repeaters included, at the activity of random data."""

    technology_nm: Nanometres
    energy_pj_per_bit_mm: Positive


class Router(Sourced):
    """A router of an on-chip network: one traversal."""

    technology_nm: Nanometres
    energy_pj_per_bit: Positive
    area_um2_per_bit: Positive | None = None
    """Area per bit of port width."""


class LogicLeakage(Sourced):
    """Standing power of synthesised logic."""

    technology_nm: Nanometres
    leakage_w_per_mm2: Positive


class Wafer(Sourced):
    """A wafer of 300 mm: what a foundry asks for it, and how clean it is."""

    technology_nm: Nanometres
    price_usd: Positive
    defects_per_cm2: Positive | None = None
