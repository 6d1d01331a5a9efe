"""What a roofline shows, as plain values: operators, the peaks of units, bandwidths of memories.

Beneath both what reads them from a result and what draws them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Peak", "Roofline", "RooflinePoint"]


@dataclass(frozen=True, slots=True)
class RooflinePoint:
    """One operator on one device.

    Attributes
    ----------
    block, name, kind : str
        As of its record.
    unit, memory : str
        Where it runs, and the memory of that unit.
    operations : int
        Of one repetition: two for each multiply-accumulate, or the elementwise operations of an
        operator that has none.
    traffic_bytes : int
        Of one repetition with the unit's memory.
    time_s : float
        Of one repetition: the longer of its time on the unit and of its traffic.
    share : float
        Part of the pass's latency that all repetitions take on the critical path.
    """

    block: str
    name: str
    kind: str
    unit: str
    memory: str
    operations: int
    traffic_bytes: int
    time_s: float
    share: float

    @property
    def intensity(self) -> float:
        """Operations per byte; infinite where nothing leaves the chip."""
        return self.operations / self.traffic_bytes if self.traffic_bytes else float("inf")

    @property
    def attained_ops_per_s(self) -> float:
        """Operations per second while it runs."""
        return self.operations / self.time_s


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that a unit attains.

    Attributes
    ----------
    unit, memory : str
    elementwise : bool
        Elementwise operations, else multiply-accumulates.
    dtype : str
        Format of the multiply-accumulates; empty for elementwise operations.
    ops_per_s : float
        Of the operator that the unit is fastest at.
    """

    unit: str
    memory: str
    elementwise: bool
    dtype: str
    ops_per_s: float


@dataclass(frozen=True, slots=True)
class Roofline:
    """What a roofline shows.

    Attributes
    ----------
    title : str
    points : tuple of RooflinePoint
        Operators that compute anything, in order.
    peaks : tuple of Peak
        Highest first.
    bandwidths_bytes_per_s : mapping of str to float
        Peak of each memory that they use: short streams exceed what long ones sustain.
    idle_share : float
        Part of the latency of operators that compute nothing (gathers, transfers, links).
    idle : int
        How many they are.
    """

    title: str
    points: tuple[RooflinePoint, ...]
    peaks: tuple[Peak, ...]
    bandwidths_bytes_per_s: Mapping[str, float]
    idle_share: float
    idle: int
