"""The one place that parses quantities with units (``1.6 TB/s``) into numbers, and formats them.

Decimal prefixes (k, M, G, T) are powers of 1000, binary ones (Ki, Mi, Gi, Ti) of 1024; ``b`` is a
bit and ``B`` a byte.  Inside accelsim a number's unit stands in its name, never in its value.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["DIMENSIONS", "format_quantity", "parse", "parse_any", "unit_of_field"]

_DECIMAL: Final = {
    "": 1.0, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3,
    "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
}  # fmt: skip
_BINARY: Final = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}

# Dimension -> {unit symbol: factor to the unit that accelsim stores}.  The stored unit is the
# suffix of the field's name: energies are pJ and areas mm2 because those are the field's habits.
_UNITS: Final[dict[str, dict[str, float]]] = {
    "s": {"s": 1.0, "min": 60.0, "h": 3600.0},
    "hz": {"Hz": 1.0, "hz": 1.0},
    "bytes": {"B": 1.0, "bytes": 1.0, "byte": 1.0, "b": 0.125, "bit": 0.125, "bits": 0.125},
    "bytes_per_s": {"B/s": 1.0, "b/s": 0.125, "bit/s": 0.125, "bps": 0.125},
    "pj": {"J": 1e12},
    "pj_per_bit": {"J/bit": 1e12, "J/b": 1e12, "J/B": 1.25e11},
    "w": {"W": 1.0},
    "v": {"V": 1.0},
    "a": {"A": 1.0},
    "mm2": {"mm2": 1.0, "mm^2": 1.0, "um2": 1e-6, "um^2": 1e-6, "cm2": 100.0},
    "nm": {"m": 1e9},
    "flops": {"FLOP/s": 1.0, "FLOPS": 1.0, "FLOPs/s": 1.0, "OP/s": 1.0, "OPS": 1.0},
}

DIMENSIONS: Final = tuple(_UNITS)
"""Names of the known dimensions, each the suffix of the fields that hold it."""

_NUMBER: Final = re.compile(r"\s*([-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*$")
_NO_PREFIX: Final = frozenset(
    {"min", "h", "bytes", "byte", "mm2", "mm^2", "um2", "um^2", "cm2", "bit", "bits", "hz"}
)


def _factor(unit: str, dimension: str) -> float | None:
    """Return the factor from `unit` to the stored unit of `dimension`, None if it is not one."""
    for symbol, scale in _UNITS[dimension].items():
        if unit == symbol:
            return scale
        if symbol in _NO_PREFIX and symbol not in ("bit", "bits"):
            continue
        prefix = unit.removesuffix(symbol)
        if prefix == unit:
            continue
        if prefix in _DECIMAL:
            return scale * _DECIMAL[prefix]
        if prefix in _BINARY and dimension.startswith("bytes"):
            return scale * _BINARY[prefix]
    return None


def parse(text: str | float, dimension: str) -> float:
    """Return `text` as a number in the stored unit of `dimension`; a bare number is in it already.

    Parameters
    ----------
    text : str or float
        For example ``"940 MHz"``.
    dimension : str
        One of `DIMENSIONS`.

    Raises
    ------
    ValueError
        If the text is no number, or its unit is of another dimension; says which units fit.

    Examples
    --------
    >>> parse("940 MHz", "hz")
    940000000.0
    >>> parse("32 MiB", "bytes")
    33554432.0
    >>> parse("400 Gb/s", "bytes_per_s")
    50000000000.0
    """
    if isinstance(text, (int, float)):
        return float(text)
    match = _NUMBER.match(text)
    legal = ", ".join(_UNITS[dimension])
    if not match:
        raise ValueError(f"`{text}` is not a number with a unit of {dimension} ({legal})")
    number, unit = float(match[1].replace("_", "")), match[2]
    if not unit:
        return number
    factor = _factor(unit, dimension)
    if factor is None:
        other = [name for name in _UNITS if _factor(unit, name) is not None]
        meant = f", it measures {' or '.join(other)}" if other else ""
        raise ValueError(f"unit `{unit}` does not fit {dimension}{meant}; legal: {legal}")
    return number * factor


def parse_any(text: str) -> float | None:
    """Return the value of a quantity of whichever dimension, None if `text` is none.

    Examples
    --------
    >>> parse_any("2 GHz"), parse_any("llama")
    (2000000000.0, None)
    """
    match = _NUMBER.match(text)
    if not match or not match[2]:
        return None
    for dimension in _UNITS:
        factor = _factor(match[2], dimension)
        if factor is not None:
            return float(match[1].replace("_", "")) * factor
    return None


def unit_of_field(name: str) -> str | None:
    """Return the dimension that a field's name ends in, None if it carries none.

    Examples
    --------
    >>> unit_of_field("bandwidth_bytes_per_s"), unit_of_field("rows")
    ('bytes_per_s', None)
    """
    for dimension in sorted(_UNITS, key=len, reverse=True):
        if name == dimension or name.endswith("_" + dimension):
            return dimension
    return None


_SHOWN: Final = {
    "s": ("s", False), "hz": ("Hz", False), "bytes": ("B", True), "bytes_per_s": ("B/s", False),
    "pj": ("J", False), "pj_per_bit": ("J/bit", False), "w": ("W", False), "v": ("V", False),
    "a": ("A", False), "mm2": ("mm2", False), "nm": ("m", False), "flops": ("FLOP/s", False),
}  # fmt: skip


def format_quantity(value: float, dimension: str) -> str:
    """Return `value` (in the stored unit of `dimension`) as a short text that `parse` reads back.

    Examples
    --------
    >>> format_quantity(2.039e12, "bytes_per_s"), format_quantity(80 * 2**30, "bytes")
    ('2.039 TB/s', '80 GiB')
    """
    symbol, binary = _SHOWN[dimension]
    if symbol == "mm2" or value == 0:
        return f"{value:.12g} {symbol}"
    base = value / _UNITS[dimension][symbol]
    prefixes = _BINARY if binary and abs(base) >= 1024 else _DECIMAL
    fitting = [(p, f) for p, f in prefixes.items() if p not in ("K", "µ") and f <= abs(base)]
    prefix, factor = max(fitting, key=lambda pair: pair[1]) if fitting else ("", 1.0)
    return f"{base / factor:.12g} {prefix}{symbol}"
