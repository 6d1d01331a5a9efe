"""How figures look: colours and markers that survive colour blindness and greyscale, and scales.

Every series has its own pair of colour and marker, so that either alone tells it from the others
in print.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from accelsim.explore.metrics import Metric

__all__ = ["FONT_AND_LINES", "axis_label", "series_styles", "shown", "unit_scale", "wants_log"]

# Okabe and Ito, "Color Universal Design", 2008, without its yellow, which white paper swallows.
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Ten against seven colours: 70 pairs before one comes twice.
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", "*", ">")
# Drawn in one size these look unequal: areas to match a circle's.
_AREAS: Final[Mapping[str, float]] = {"*": 1.7, "D": 0.8, "s": 0.9, "P": 1.2, "X": 1.1}

FONT_AND_LINES: Final[Mapping[str, Any]] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "svg.hashsalt": "accelsim",  # ids in the file that do not change from run to run
}
"""Matplotlib parameters of every figure."""

_PREFIXES: Final = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}


def series_styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return name -> keywords for ``Axes.scatter``: colour, marker, and factor of its area.

    Examples
    --------
    >>> series_styles(["a", "b"])["b"]["marker"]
    's'
    """
    return {
        name: {
            "color": _COLOURS[i % len(_COLOURS)],
            "marker": _MARKERS[i % len(_MARKERS)],
            "area": _AREAS.get(_MARKERS[i % len(_MARKERS)], 1.0),
        }
        for i, name in enumerate(names)
    }


def unit_scale(metric: Metric, values: Iterable[float]) -> tuple[float, str]:
    """Return what to multiply values by for an axis, and their unit then.

    Examples
    --------
    >>> from accelsim.explore.metrics import METRICS
    >>> unit_scale(METRICS["latency_s"], [0.002, 0.04])
    (1000.0, 'ms')
    """
    positive = [v for v in values if v > 0 and math.isfinite(v)]
    if not metric.prefixed or not positive:
        return 1.0, metric.unit
    middle = sum(math.log10(v) for v in positive) / len(positive)
    power = max(-12, min(9, 3 * math.floor(middle / 3)))
    return 10.0**-power, _PREFIXES[power] + metric.unit


def axis_label(metric: Metric, unit: str) -> str:
    """Return a label with its unit.

    Examples
    --------
    >>> from accelsim.explore.metrics import METRICS
    >>> axis_label(METRICS["latency_s"], "ms")
    'Latency (ms)'
    """
    return f"{metric.label} ({unit})" if unit else metric.label


def shown(value: Any) -> str:
    """Return an axis value as text; a parameter that a design leaves alone is ``default``.

    Examples
    --------
    >>> shown(8), shown(0.5), shown(None), shown("sram")
    ('8', '0.5', 'default', 'sram')
    """
    if isinstance(value, float):
        return "default" if math.isnan(value) else f"{value:g}"
    return str(value) if isinstance(value, (str, bool, int, np.integer)) else "default"


def wants_log(values: Iterable[float]) -> bool:
    """Say whether values spread so far that a linear axis would crowd the small ones."""
    finite = [v for v in values if math.isfinite(v)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) > 10
