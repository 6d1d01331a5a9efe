"""Energy of moving bits across a chip: wires by length, routers and hops of a network.

Both move between nodes as logic does, along the curve of the technology file.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from accelsim.cost._technology_table import at_node, table

__all__ = [
    "noc_energy_pj_per_bit",
    "router_area_mm2",
    "router_energy_pj_per_bit",
    "wire_energy_pj_per_bit_mm",
]

_UM2_PER_MM2: Final = 1e6


@lru_cache(maxsize=256)
def wire_energy_pj_per_bit_mm(technology_nm: float) -> float:
    """Return the energy of moving one bit one millimetre over a repeated wire, in pJ.

    Examples
    --------
    >>> wire_energy_pj_per_bit_mm(40)
    0.121
    """
    anchors = [(row.technology_nm, row.energy_pj_per_bit_mm) for row in table().wires]
    return at_node(anchors, technology_nm, "energy")


@lru_cache(maxsize=256)
def router_energy_pj_per_bit(technology_nm: float) -> float:
    """Return the energy of one bit's traversal of a router with buffers, in pJ."""
    anchors = [(row.technology_nm, row.energy_pj_per_bit) for row in table().routers]
    return at_node(anchors, technology_nm, "energy")


@lru_cache(maxsize=256)
def router_area_mm2(port_bits: int, technology_nm: float) -> float:
    """Return the area of a router whose ports are `port_bits` wide, in mm2."""
    rows = table().routers
    anchors = [(r.technology_nm, r.area_um2_per_bit) for r in rows if r.area_um2_per_bit]
    return port_bits * at_node(anchors, technology_nm, "logic_area") / _UM2_PER_MM2


def noc_energy_pj_per_bit(hops: float, hop_mm: float, technology_nm: float) -> float:
    """Return the energy of one bit over some hops of a network on chip, in pJ.

    Parameters
    ----------
    hops : float
        Routers traversed; may be a mean.
    hop_mm : float
        Length of the wire between two routers.
    technology_nm : float
        Process node.

    Notes
    -----
    hops * (router + length * wire).  A fixed connection between neighbours, as in a systolic
    array, has no router: `wire_energy_pj_per_bit_mm` alone.
    """
    wire = hop_mm * wire_energy_pj_per_bit_mm(technology_nm)
    return hops * (router_energy_pj_per_bit(technology_nm) + wire)
