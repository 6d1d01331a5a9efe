"""Writes numbers for people: three significant digits and an SI prefix."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["count", "parameters", "percent", "si"]

_PREFIXES: Final = {
    -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T",
    15: "P", 18: "E",
}  # fmt: skip


def si(value: float, unit: str) -> str:
    """Return a quantity with the prefix that leaves one to three digits before the point.

    Examples
    --------
    >>> si(0.00321, "s"), si(14.2e9, "B"), si(999.9e-6, "s"), si(0, "J")
    ('3.21 ms', '14.2 GB', '1.00 ms', '0 J')
    """
    if not math.isfinite(value):
        return "-" if math.isnan(value) else f"{'-' if value < 0 else ''}infinite"
    if value == 0:
        return f"0 {unit}".strip()
    rounded = float(f"{value:.2e}")  # first, so that 999.9 becomes 1.00 k and not 1000
    power = 3 * math.floor(math.floor(math.log10(abs(rounded)) + 1e-9) / 3)
    power = min(max(power, min(_PREFIXES)), max(_PREFIXES))
    scaled = rounded / 10.0**power
    digits = max(0, 2 - math.floor(math.log10(abs(scaled)) + 1e-9)) if abs(scaled) >= 1 else 3
    return f"{scaled:.{digits}f} {_PREFIXES[power]}{unit}".strip()


def percent(share: float) -> str:
    """Return a ratio as percent with three digits.

    Examples
    --------
    >>> percent(0.0714), percent(1.0), percent(0.00002), percent(0)
    ('7.1 %', '100 %', '<0.1 %', '0 %')
    """
    if share == 0 or not math.isfinite(share):
        return "0 %" if share == 0 else "-"
    if 0 < share < 0.0005:
        return "<0.1 %"
    return f"{100 * share:.0f} %" if share >= 0.9995 else f"{100 * share:.1f} %"


def count(value: float) -> str:
    """Return a number in full where it is large, in three digits where it is small.

    Examples
    --------
    >>> count(8030261248), count(1234.56), count(3.14159)
    ('8,030,261,248', '1,235', '3.14')
    """
    if not math.isfinite(value):
        return si(value, "")
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def parameters(value: float) -> str:
    """Return a model's size as its field writes it.

    Examples
    --------
    >>> parameters(8030261248), parameters(124439808)
    ('8.03 B parameters', '124 M parameters')
    """
    return f"{si(value, '').replace('G', 'B')} parameters"
