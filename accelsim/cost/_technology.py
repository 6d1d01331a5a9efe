"""Energy and area of arithmetic, memories and wires at a process node, from one sourced table.

The figures stand in ``arch/components/technology.yaml``, each with its source; what no source
gives is refused with a clear error, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from accelsim.cost._scaling import power_law
from accelsim.cost._technology_rows import Arithmetic
from accelsim.cost._technology_table import at_node, require_node, table
from accelsim.errors import ConfigError, UnknownNameError

__all__ = [
    "Row",
    "dram_energy_pj_per_bit",
    "format_bits",
    "link_energy_pj_per_bit",
    "mac_area_mm2",
    "mac_energy_pj",
    "mac_formats",
    "register_area_mm2",
    "register_energy_pj_per_byte",
    "rows",
    "sram_area_mm2",
    "sram_energy_pj_per_byte",
    "sram_leakage_w",
    "vector_op_energy_pj",
]

_UM2_PER_MM2: Final = 1e6
_LEAST_SRAM_BYTES: Final = 1024  # an octave or three below the smallest sourced macro (8 KiB)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table, for display.

    Attributes
    ----------
    table, name : str
        Section, and what within it (``multiply bf16``, ``1048576 bytes``).
    technology_nm : float or None
        Process node; None where it does not matter.
    value : float
        In `unit`.
    source : str
        Reference key and place, followed by the full reference.
    """

    table: str
    name: str
    technology_nm: float | None
    value: float
    unit: str
    source: str


# ---------------------------------------------------------------- arithmetic


@lru_cache(maxsize=4096)
def mac_energy_pj(fmt: str, technology_nm: float) -> float:
    """Return the energy of one multiply-accumulate, in pJ.

    Parameters
    ----------
    fmt : str
        Operand format (``int8``, ``bf16``, ...); the accumulator is int32 or fp32.
    technology_nm : float
        Process node, 65 down to 3 nm.

    Raises
    ------
    ConfigError
        If no source gives the format, or the node is outside the table.

    Examples
    --------
    >>> round(mac_energy_pj("bf16", 7), 3), round(mac_energy_pj("int8", 45), 3)
    (0.59, 0.3)
    """
    mac = table().mac(fmt)
    multiply = mac.multiply_factor * _operation_pj("multiply", mac.multiply, technology_nm)
    return mac.mac_factor * (multiply + _operation_pj("add", mac.accumulate, technology_nm))


@lru_cache(maxsize=4096)
def mac_area_mm2(fmt: str, technology_nm: float) -> float:
    """Return the area of one multiply-accumulate unit without registers, in mm2."""
    mac = table().mac(fmt)
    multiply = mac.multiply_factor * _operation_um2("multiply", mac.multiply, technology_nm)
    total = mac.mac_factor * (multiply + _operation_um2("add", mac.accumulate, technology_nm))
    return total / _UM2_PER_MM2


@lru_cache(maxsize=4096)
def vector_op_energy_pj(op: str, fmt: str, technology_nm: float) -> float:
    """Return the energy of one elementwise operation, in pJ.

    Parameters
    ----------
    op : {"add", "mul", "max", "exp", "div"}
        Operation; subtraction and comparison with selection count as add and max.
    fmt : str
        Format it is computed in.
    technology_nm : float
        Process node.
    """
    if op in ("add", "mul"):
        return _operation_pj("add" if op == "add" else "multiply", fmt, technology_nm)
    technology = table()
    names = ("add", "mul", *(row.operation for row in technology.functions))
    row = next((row for row in technology.functions if row.operation == op), None)
    if row is None:
        raise UnknownNameError("vector operation", op, names)
    energy = row.adds * _operation_pj("add", row.of or fmt, technology_nm)
    if row.multiplies:
        energy += row.multiplies * _operation_pj("multiply", row.of or fmt, technology_nm)
    return energy


def mac_formats() -> tuple[str, ...]:
    """Return the formats whose MAC energy and area are known."""
    return tuple(row.format for row in table().macs)


def format_bits(fmt: str) -> int:
    """Return the bits of one element of a number format: the digits that its name ends in.

    Examples
    --------
    >>> format_bits("bf16"), format_bits("int4")
    (16, 4)
    """
    digits = fmt[len(fmt.rstrip("0123456789")) :]
    if not digits:
        raise ConfigError(f"format `{fmt}` does not end in its bits", hint="for example bf16")
    return int(digits)


def _operation_pj(operation: str, fmt: str, technology_nm: float) -> float:
    found = _arithmetic(operation, fmt)
    anchors = [(row.technology_nm, row.energy_pj) for row in found]
    like = found[0].like
    if like is not None and len(anchors) == 1:
        # A single figure moves between nodes as its sibling's does.
        sibling = _operation_pj(operation, like, technology_nm)
        return anchors[0][1] * sibling / _operation_pj(operation, like, anchors[0][0])
    return at_node(anchors, technology_nm, "energy")


def _operation_um2(operation: str, fmt: str, technology_nm: float) -> float:
    found = _arithmetic(operation, fmt)
    anchors = [(row.technology_nm, row.area_um2) for row in found if row.area_um2 is not None]
    if not anchors and found[0].like is not None:
        return _operation_um2(operation, found[0].like, technology_nm)
    return at_node(anchors, technology_nm, "logic_area")


@lru_cache(maxsize=256)
def _arithmetic(operation: str, fmt: str) -> list[Arithmetic]:
    rows = table().arithmetic
    found = [row for row in rows if row.operation == operation and row.format == fmt]
    if not found:
        known = sorted({row.format for row in rows if row.operation == operation})
        raise UnknownNameError(f"sourced format to {operation}", fmt, known)
    return found


# ---------------------------------------------------------------- memories on chip


@lru_cache(maxsize=4096)
def sram_energy_pj_per_byte(
    capacity_bytes: float, technology_nm: float, write: bool = False
) -> float:
    """Return the energy of an SRAM access, wires within the memory included, in pJ per byte.

    Parameters
    ----------
    capacity_bytes : float
        Capacity of the whole memory: the bytes travel across it whatever its banks.
    technology_nm : float
        Process node.
    write : bool
        A write instead of a read.

    Notes
    -----
    Between and beyond the sourced capacities energy is a power of the capacity.  Against the
    figures that AttAcc uses for an A100: +7 % at 192 KiB, +24 % at 40 MiB.

    Examples
    --------
    >>> sram_energy_pj_per_byte(2**20, 7)
    1.75
    """
    if capacity_bytes < _LEAST_SRAM_BYTES:
        raise ConfigError(
            f"SRAM energy is known from {_LEAST_SRAM_BYTES} bytes on, not for {capacity_bytes:g}",
            hint="smaller memories are registers; give the energy where it is published",
        )
    technology = table()
    by_node: dict[float, list[tuple[float, float]]] = {}
    for row in technology.sram_energy:
        entry = (row.capacity_bytes, row.read_pj_per_64bit / 8)
        by_node.setdefault(row.technology_nm, []).append(entry)
    anchors = [(nm, power_law(sorted(known), capacity_bytes)) for nm, known in by_node.items()]
    factor = technology.sram_write.factor if write else 1.0
    return factor * at_node(anchors, technology_nm, "energy")


@lru_cache(maxsize=4096)
def sram_area_mm2(capacity_bytes: float, technology_nm: float) -> float:
    """Return the area of an SRAM macro, in mm2; memories of many macros take up to three times."""
    by_node: dict[float, list[tuple[float, float]]] = {}
    for row in table().sram_area:
        by_node.setdefault(row.technology_nm, []).append((row.capacity_bytes, row.area_mm2))
    anchors = [(nm, power_law(sorted(known), capacity_bytes)) for nm, known in by_node.items()]
    return at_node(anchors, technology_nm, "sram_area")


@lru_cache(maxsize=4096)
def sram_leakage_w(capacity_bytes: float, technology_nm: float) -> float:
    """Return the standing power of an SRAM of low-standby cells, in W.

    Outside the sourced nodes the nearest one holds: leakage follows no scaling rule.
    """
    rows = table().sram_leakage
    anchors = sorted((row.technology_nm, row.leakage_w / row.capacity_bytes) for row in rows)
    held = min(max(technology_nm, anchors[0][0]), anchors[-1][0])
    require_node(technology_nm)
    return capacity_bytes * power_law(anchors, held)


@lru_cache(maxsize=4096)
def register_energy_pj_per_byte(technology_nm: float) -> float:
    """Return the energy of reading or writing one byte of pipeline registers, in pJ."""
    anchors = [(row.technology_nm, row.energy_pj_per_byte) for row in table().registers]
    return at_node(anchors, technology_nm, "energy")


@lru_cache(maxsize=4096)
def register_area_mm2(bits: float, technology_nm: float) -> float:
    """Return the area of `bits` of pipeline registers, in mm2."""
    rows = table().registers
    anchors = [(r.technology_nm, r.area_um2_per_bit) for r in rows if r.area_um2_per_bit]
    return bits * at_node(anchors, technology_nm, "logic_area") / _UM2_PER_MM2


# ---------------------------------------------------------------- off chip


@lru_cache(maxsize=256)
def dram_energy_pj_per_bit(standard: str) -> float:
    """Return the energy of moving one bit of a DRAM standard, core and interface, in pJ.

    Examples
    --------
    >>> dram_energy_pj_per_bit("hbm3")
    3.59
    """
    known = {row.name: row.energy_pj_per_bit for row in table().dram}
    if standard not in known:
        raise UnknownNameError("sourced DRAM standard", standard, known)
    return known[standard]


@lru_cache(maxsize=256)
def link_energy_pj_per_bit(standard: str) -> float:
    """Return the energy of sending one bit over a link, in pJ."""
    known = {row.name: row.energy_pj_per_bit for row in table().links}
    if standard not in known:
        raise UnknownNameError("sourced link", standard, known)
    return known[standard]


def rows() -> list[Row]:
    """Return every figure of the table with its unit and full source, for display."""
    return [Row(*line) for line in table().lines()]
