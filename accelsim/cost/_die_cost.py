"""What a good die costs: dies of a wafer, the part of them that works, and the wafer's price.

The yield models are the usual three; prices and defect densities stand in the technology file
for the nodes for which a source gives them, and are asked for elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from accelsim.config import Nonnegative, Positive, Spec, SquareMillimetres
from accelsim.cost._technology_rows import Wafer
from accelsim.cost._technology_table import table
from accelsim.errors import ConfigError

__all__ = ["DieCost", "DieSpec", "YieldModel", "die_cost", "die_yield", "dies_per_wafer"]

YieldModel = Literal["poisson", "murphy", "negative_binomial"]
_MM2_PER_CM2 = 100.0


class DieSpec(Spec):
    """How a device's die is made; what is absent comes from the technology file."""

    source: str | dict[str, str] = ""
    """Where the figures come from."""
    area_mm2: SquareMillimetres | None = None
    """Area of the die; that of the device where absent."""
    wafer_price_usd: Positive | None = None
    """Price of a processed wafer."""
    defects_per_cm2: Nonnegative | None = None
    """Defects that kill a die, per area."""
    yield_model: YieldModel = "negative_binomial"
    """How defects fall: alone (`poisson`), or in clusters (`murphy`, `negative_binomial`)."""
    clustering: Positive = 3.0
    """Alpha of the negative binomial: 2 to 3 is usual, without bound it is Poisson's."""
    wafer_mm: Positive = 300.0
    """Diameter of the wafer."""
    edge_mm: Nonnegative = 3.0
    """Rim of the wafer that holds no dies."""
    scribe_mm: Nonnegative = 0.1
    """Width of the lines along which dies are cut."""
    harvested: Nonnegative = 0.0
    """Part of the defective dies that sells after all, with parts of them switched off."""


@dataclass(frozen=True, slots=True)
class DieCost:
    """What a die costs, and why.

    Attributes
    ----------
    area_mm2 : float
        Area of the die.
    dies_per_wafer : int
        Whole dies on a wafer.
    die_yield : float
        Part of them that sells.
    wafer_price_usd : float
        Price of the wafer.
    good_die_usd : float
        Price of the wafer by dies that sell; neither test nor package nor design.
    """

    area_mm2: float
    dies_per_wafer: int
    die_yield: float
    wafer_price_usd: float
    good_die_usd: float


def die_cost(spec: DieSpec, area_mm2: float, technology_nm: float) -> DieCost:
    """Return what a die costs.

    Parameters
    ----------
    spec : DieSpec
        How it is made.
    area_mm2 : float
        Area of the device, for a die whose own is not given.
    technology_nm : float
        Its process node, to look prices and defects up.

    Raises
    ------
    ConfigError
        If a price or defect density is neither given nor sourced for the node, or no whole die
        fits a wafer.

    Examples
    --------
    >>> found = die_cost(DieSpec(), 826.0, 7)
    >>> found.dies_per_wafer, round(found.die_yield, 2), round(found.good_die_usd)
    (67, 0.51, 271)
    """
    area = spec.area_mm2 or area_mm2
    price = spec.wafer_price_usd or _wafer("price_usd", "wafer_price_usd", technology_nm)
    defects = spec.defects_per_cm2
    if defects is None:
        defects = _wafer("defects_per_cm2", "defects_per_cm2", technology_nm)
    dies = dies_per_wafer(area, spec.wafer_mm, spec.edge_mm, spec.scribe_mm)
    if not dies:
        raise ConfigError(f"no die of {area:g} mm2 fits a wafer of {spec.wafer_mm:g} mm")
    good = die_yield(area, defects, spec.yield_model, spec.clustering)
    sold = good + spec.harvested * (1 - good)
    return DieCost(area, dies, sold, price, price / (dies * sold))


def dies_per_wafer(
    area_mm2: float, wafer_mm: float = 300.0, edge_mm: float = 3.0, scribe_mm: float = 0.1
) -> int:
    """Return the square dies of a wafer.

    Parameters
    ----------
    area_mm2 : float
        Area of a die without scribe lines.
    wafer_mm, edge_mm, scribe_mm : float
        Diameter, rim without dies, width of a scribe line.

    Notes
    -----
    De Vries' count, pi d^2 / (4 A) exp(-2 s / d) with s the side of a die [1]_: at most 3 % above
    the best grid from 25 to 826 mm2.

    References
    ----------
    .. [1] D. K. de Vries, Investigation of gross die per wafer formulas, IEEE Trans.
       Semiconductor Manufacturing 18(1), 2005.

    Examples
    --------
    >>> dies_per_wafer(100.0)
    621
    """
    side = math.sqrt(area_mm2) + scribe_mm
    usable = wafer_mm - 2 * edge_mm
    if usable <= 0 or side > usable:
        return 0
    return int(math.pi * usable**2 / (4 * side**2) * math.exp(-2 * side / usable))


def die_yield(
    area_mm2: float,
    defects_per_cm2: float,
    model: YieldModel = "negative_binomial",
    clustering: float = 3.0,
) -> float:
    """Return the part of the dies that has no defect.

    Notes
    -----
    With x = area times defect density, Poisson: exp(-x); Murphy: ((1 - exp(-x)) / x)^2; negative
    binomial: (1 + x / alpha)^-alpha, which is Poisson's without clusters (alpha without bound)
    and Seeds' at alpha = 1.

    Examples
    --------
    >>> round(die_yield(100.0, 0.09, "poisson"), 4), round(die_yield(100.0, 0.09, "murphy"), 4)
    (0.9139, 0.9145)
    """
    expected = area_mm2 / _MM2_PER_CM2 * defects_per_cm2
    if expected <= 0:
        return 1.0
    if model == "poisson":
        return math.exp(-expected)
    if model == "murphy":
        return (-math.expm1(-expected) / expected) ** 2
    return float((1 + expected / clustering) ** -clustering)


def _wafer(figure: Literal["price_usd", "defects_per_cm2"], field: str, node_nm: float) -> float:
    """Return a sourced figure at exactly that node: wafers follow no curve between nodes."""
    rows: Sequence[Wafer] = table().wafers
    known = {row.technology_nm: getattr(row, figure) for row in rows}
    value = known.get(node_nm)
    if value is None:
        nodes = ", ".join(f"{nm:g}" for nm in sorted(known) if known[nm] is not None)
        raise ConfigError(
            f"no source gives `{field}` at {node_nm:g} nm; the table has {nodes} nm",
            hint=f"give `{field}` where the die is described",
        )
    return float(value)
