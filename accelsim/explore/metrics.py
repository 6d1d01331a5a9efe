"""The figures of merit that every evaluated point has: what stores, fronts and plots are made of.

The results store keeps one real column for each; whatever else a result reports stays beside them
as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["METRICS", "Metric", "Sense"]

Sense = Literal["min", "max"]
"""Whether less or more is better."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of merit.

    Parameters
    ----------
    label : str
        Name on an axis or a table's head.
    unit : str
        Unit of the stored number; empty for a ratio.
    prefixed : bool
        Whether the unit takes SI prefixes (ms, but not kmm²).
    """

    label: str
    unit: str
    prefixed: bool = True


METRICS: Final[Mapping[str, Metric]] = {
    "latency_s": Metric("Latency", "s"),
    "energy_j": Metric("Energy", "J"),
    "energy_per_token_j": Metric("Energy per token", "J"),
    "power_w": Metric("Power", "W"),
    "area_mm2": Metric("Area", "mm²", prefixed=False),
    "throughput_tokens_per_s": Metric("Throughput", "tokens/s", prefixed=False),
    "utilisation": Metric("Utilisation", "", prefixed=False),
}
"""Name in ``Result.summary()`` -> what it is.  A change here is a change of the store's schema."""
