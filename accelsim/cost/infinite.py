"""A memory without limits: any capacity, any bandwidth, no energy.

With the null unit it makes the architecture on which every graph runs; alone, beside real units,
it shows what a design would be worth if memory were no object.
"""

from __future__ import annotations

from math import inf
from typing import Final, Literal

from accelsim.cost._component import Memory

__all__ = ["COMPONENT", "InfiniteMemory"]


class InfiniteMemory(Memory):
    """Holds everything and streams it in no time.

    Examples
    --------
    >>> InfiniteMemory(source="-").stream_ps(10**15)
    0
    """

    kind: Literal["infinite"] = "infinite"

    def capacity(self) -> float:
        """Return infinity."""
        return inf

    def bandwidth(self) -> float:
        """Return infinity."""
        return inf

    def peak_bandwidth(self) -> float:
        """Return infinity."""
        return inf

    def energy_pj(self, size_bytes: int) -> float:
        """Return 0."""
        return 0.0


COMPONENT: Final = InfiniteMemory
