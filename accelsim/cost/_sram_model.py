"""Energy, area and leakage of an SRAM macro from its capacity, word and node, by a closed form.

The form follows the wires of a memory, its parameters stand in the technology file and are
fitted to CACTI 7; `python -m benchmarks.bench_sram` fits them anew and shows the errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from accelsim.cost._scaling import power_law
from accelsim.cost._technology_rows import MacroShape, SramMacro
from accelsim.cost._technology_table import require_node, scaled, table
from accelsim.errors import ConfigError

__all__ = ["LEAST_WORDS", "SramFigures", "access_fj", "area_um2", "leakage_pw", "sram_macro"]

LEAST_WORDS: Final = 64
"""Words of the smallest memory that CACTI takes for an SRAM."""


@dataclass(frozen=True, slots=True)
class SramFigures:
    """What an SRAM macro takes.

    Attributes
    ----------
    read_pj, write_pj : float
        Energy of one access of a whole word, in pJ.
    area_mm2 : float
        Area in mm2.
    leakage_w : float
        Standing power in W.
    """

    read_pj: float
    write_pj: float
    area_mm2: float
    leakage_w: float


@lru_cache(maxsize=4096)
def sram_macro(
    capacity_bytes: float, access_bits: int, technology_nm: float, ports: int = 1
) -> SramFigures:
    """Return energy, area and leakage of an SRAM macro of low-standby cells.

    Parameters
    ----------
    capacity_bytes : float
        Capacity of all banks: CACTI's own banks change an access by 8 to 11 % on average.
    access_bits : int
        Bits of a word: what one access reads or writes.
    technology_nm : float
        Process node, 65 down to 3 nm.
    ports : int
        Ports that read or write, each at every word.

    Raises
    ------
    ConfigError
        If the memory has fewer than 64 words, or the node is outside the table.

    Notes
    -----
    With B bits in a square of side s = sqrt(B), in units of a cell, a word of w bits crosses it
    with l address and control wires, except for the part that lies beside the array already:

        energy  = k p (r w^2 + (w + l) s / (1 + (q w / s)^2))
        area    = a p^2 (B + r_a w^2)
        leakage = c (B + e s)

    k, a and c belong to the node; p = 1 + g (ports - 1) is the growth of a cell's side.  Mean
    error at points that the fit has not seen: reading 9 %, writing 8 %, area 8 %, leakage 4 %.
    Below 22 nm energy falls with the root of the node and area with the node (7 nm and up),
    as hwcomponents-cacti has it.  The macro stops at its ports: wires to it are extra.

    Examples
    --------
    A buffer of 64 KiB in words of 256 bits at 45 nm, of which CACTI says 51.8 pJ and 0.199 mm2:

    >>> found = sram_macro(64 * 1024, 256, 45)
    >>> round(found.read_pj, 1), round(found.area_mm2, 3)
    (48.8, 0.217)
    """
    bits = 8.0 * capacity_bytes
    if bits < LEAST_WORDS * access_bits:
        raise ConfigError(
            f"an SRAM has at least {LEAST_WORDS} words;"
            f" {capacity_bytes:g} bytes are {bits / access_bits:g} words of {access_bits} bits",
            hint="smaller memories are register files; narrower words make more of them",
        )
    require_node(technology_nm)
    macro = table().sram_macro
    read = _at(macro, "read_fj", technology_nm)
    write = _at(macro, "write_fj", technology_nm)
    area = _at(macro, "area_um2_per_bit", technology_nm)
    leakage = _at(macro, "leakage_pw_per_bit", technology_nm)
    pitch = 1 + macro.port_pitch * (ports - 1)
    return SramFigures(
        pitch * read * access_fj(macro.read, bits, access_bits) / 1e3,
        pitch * write * access_fj(macro.write, bits, access_bits) / 1e3,
        pitch**2 * area * area_um2(macro, bits, access_bits) / 1e6,
        leakage * leakage_pw(macro, bits) / 1e12,
    )


def access_fj(shape: MacroShape, bits: float, access_bits: float) -> float:
    """Return the energy of an access, where moving a bit by the side of a bit takes 1 fJ."""
    side = math.sqrt(bits)
    crossing = (access_bits + shape.lines) * side
    crossing /= 1 + (shape.spread * access_bits / side) ** 2
    return float(shape.row * access_bits**2 + crossing)


def area_um2(macro: SramMacro, bits: float, access_bits: float) -> float:
    """Return the area of a macro, where a bit takes 1 um2."""
    return float(bits + macro.area_row * access_bits**2)


def leakage_pw(macro: SramMacro, bits: float) -> float:
    """Return the leakage of a macro, where a bit leaks 1 pW."""
    return float(bits + macro.leakage_edge * math.sqrt(bits))


_Figure = Literal["read_fj", "write_fj", "area_um2_per_bit", "leakage_pw_per_bit"]


def _at(macro: SramMacro, figure: _Figure, technology_nm: float) -> float:
    """Return a node's figure: between nodes by powers, below the finest by the stated rules."""
    known = sorted((node.technology_nm, float(getattr(node, figure))) for node in macro.nodes)
    finest, value = known[0]
    if technology_nm >= finest:
        return power_law(known, technology_nm)
    if figure == "leakage_pw_per_bit":
        fall = (technology_nm / finest) ** macro.beyond.leakage
        return float(value * macro.beyond.finfet_leakage * fall)
    if figure != "area_um2_per_bit":
        return float(value * (technology_nm / finest) ** macro.beyond.energy)
    # From the last node of the curve on, foundries say themselves how little SRAM shrinks.
    last = min(node.technology_nm for node in table().nodes)
    linear = max(technology_nm, last)
    further = scaled("sram_area", min(technology_nm, last), last)
    return float(value * (linear / finest) ** macro.beyond.area * further)
