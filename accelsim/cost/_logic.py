"""Integer arithmetic of any width, small register files, and what synthesised logic leaks.

Widths between and beyond the sourced ones follow the circuits: an adder is a row of bits, a
multiplier a square of them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from accelsim.cost._scaling import power_law
from accelsim.cost._technology_table import at_node, require_node, scaled, table
from accelsim.errors import ConfigError

__all__ = [
    "int_add_area_mm2",
    "int_add_energy_pj",
    "int_mac_area_mm2",
    "int_mac_energy_pj",
    "int_multiply_area_mm2",
    "int_multiply_energy_pj",
    "logic_leakage_w",
    "register_file_energy_pj",
]

_UM2_PER_MM2: Final = 1e6
_WIDEST: Final = 64
"""Twice the widest sourced integer."""
_LEAST_FILE_BYTES: Final = 2
_MOST_FILE_BYTES: Final = 1024
"""An octave beyond the largest sourced register file."""


@lru_cache(maxsize=4096)
def int_add_energy_pj(bits: int, technology_nm: float) -> float:
    """Return the energy of one integer addition of `bits`, in pJ.

    Examples
    --------
    >>> int_add_energy_pj(8, 45), round(int_add_energy_pj(16, 45), 4)
    (0.03, 0.0548)
    """
    return _by_width("add", "energy_pj", bits, technology_nm)


@lru_cache(maxsize=4096)
def int_add_area_mm2(bits: int, technology_nm: float) -> float:
    """Return the area of an integer adder of `bits`, in mm2."""
    return _by_width("add", "area_um2", bits, technology_nm) / _UM2_PER_MM2


@lru_cache(maxsize=4096)
def int_multiply_energy_pj(bits_a: int, bits_b: int, technology_nm: float) -> float:
    """Return the energy of multiplying integers of `bits_a` and `bits_b`, in pJ.

    Notes
    -----
    A multiplier of a by b bits has a b cells, so that it takes what one of sqrt(a b) bits takes;
    the sourced widths agree: 32 bits take 15.5 times the energy of 8 bits.

    Examples
    --------
    >>> int_multiply_energy_pj(8, 8, 45), round(int_multiply_energy_pj(8, 4, 45), 4)
    (0.2, 0.1008)
    """
    return _by_width("multiply", "energy_pj", (bits_a * bits_b) ** 0.5, technology_nm)


@lru_cache(maxsize=4096)
def int_multiply_area_mm2(bits_a: int, bits_b: int, technology_nm: float) -> float:
    """Return the area of a multiplier of `bits_a` by `bits_b`, in mm2."""
    width = (bits_a * bits_b) ** 0.5
    return _by_width("multiply", "area_um2", width, technology_nm) / _UM2_PER_MM2


def int_mac_energy_pj(
    bits_a: int, bits_b: int, accumulator_bits: int, technology_nm: float
) -> float:
    """Return the energy of a multiply-accumulate of integers, in pJ.

    Parameters
    ----------
    bits_a, bits_b : int
        Widths of the operands.
    accumulator_bits : int
        Width of the sum.
    technology_nm : float
        Process node.
    """
    multiply = int_multiply_energy_pj(bits_a, bits_b, technology_nm)
    return multiply + int_add_energy_pj(accumulator_bits, technology_nm)


def int_mac_area_mm2(
    bits_a: int, bits_b: int, accumulator_bits: int, technology_nm: float
) -> float:
    """Return the area of a multiply-accumulate unit of integers without registers, in mm2."""
    multiply = int_multiply_area_mm2(bits_a, bits_b, technology_nm)
    return multiply + int_add_area_mm2(accumulator_bits, technology_nm)


def _by_width(
    operation: str, figure: Literal["energy_pj", "area_um2"], bits: float, technology_nm: float
) -> float:
    """Return a figure of an integer operation by powers of its width between sourced widths."""
    if not 1 <= bits <= _WIDEST:
        raise ConfigError(f"integers of 1 to {_WIDEST} bits are known, not of {bits:g}")
    by_width: dict[int, list[tuple[float, float]]] = {}
    for row in table().arithmetic:
        value = getattr(row, figure)
        if row.operation == operation and row.format.startswith("int") and value is not None:
            entry = (row.technology_nm, float(value))
            by_width.setdefault(int(row.format.removeprefix("int")), []).append(entry)
    quantity = "energy" if figure == "energy_pj" else "logic_area"
    known = [(float(w), at_node(by_width[w], technology_nm, quantity)) for w in sorted(by_width)]
    return power_law(known, bits)


@lru_cache(maxsize=4096)
def register_file_energy_pj(
    capacity_bytes: float, access_bits: int, technology_nm: float
) -> float:
    """Return the energy of reading or writing a word of a small register file, in pJ.

    Parameters
    ----------
    capacity_bytes : float
        Capacity, 2 bytes to 1 KiB.
    access_bits : int
        Bits of the word.
    technology_nm : float
        Process node.

    Notes
    -----
    The sourced figures are for words of 16 bits; a word of another width takes its share.

    Examples
    --------
    >>> register_file_energy_pj(64, 16, 28)
    0.12
    """
    if not _LEAST_FILE_BYTES <= capacity_bytes <= _MOST_FILE_BYTES:
        raise ConfigError(
            f"register files of {_LEAST_FILE_BYTES} to {_MOST_FILE_BYTES} bytes are known,"
            f" not of {capacity_bytes:g}",
            hint="larger memories are SRAMs",
        )
    by_node: dict[float, list[tuple[float, float]]] = {}
    for row in table().register_files:
        entry = (row.capacity_bytes, row.energy_pj / row.access_bits)
        by_node.setdefault(row.technology_nm, []).append(entry)
    anchors = [(nm, power_law(sorted(known), capacity_bytes)) for nm, known in by_node.items()]
    return access_bits * at_node(anchors, technology_nm, "energy")


@lru_cache(maxsize=4096)
def logic_leakage_w(area_mm2: float, technology_nm: float) -> float:
    """Return the standing power of synthesised logic, in W.

    Parameters
    ----------
    area_mm2 : float
        Area at that node.
    technology_nm : float
        Process node.

    Notes
    -----
    A given circuit's leakage moves between nodes as its energy does, which is the rule of
    hwcomponents; per area it hardly changes.  One node is sourced (40 nm).  Low-leakage
    libraries leak several times less, and hot chips several times more.

    Examples
    --------
    >>> logic_leakage_w(10.0, 40)
    0.126
    """
    require_node(technology_nm)
    row = min(table().logic_leakage, key=lambda known: abs(known.technology_nm - technology_nm))
    known_nm = row.technology_nm
    shrink = scaled("logic_area", technology_nm, known_nm)
    return area_mm2 / shrink * row.leakage_w_per_mm2 * scaled("energy", technology_nm, known_nm)
