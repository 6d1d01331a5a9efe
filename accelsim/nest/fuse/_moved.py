"""What a search for fused groups adds up: bits that move, energy, and what of them counts."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.nest.fuse._types import FusedGroup

__all__ = ["Aim", "Moved"]


@dataclass(frozen=True, slots=True)
class Aim:
    """What a search makes small: a sum of energy, time and traffic, each with its weight.

    Attributes
    ----------
    pj, cycles, bits : float
        What a pJ, a cycle and a bit at the outermost memory count.
    """

    pj: float = 0.0
    cycles: float = 0.0
    bits: float = 0.0

    def of(self, pj: float, cycles: float, bits: float) -> float:
        """Return the sum; what counts nothing may be infinite."""
        parts = (self.pj, pj), (self.cycles, cycles), (self.bits, bits)
        return sum(weight * value for weight, value in parts if weight > 0.0)

    def had(self, group: FusedGroup) -> float:
        """Return the sum of a group."""
        return self.of(group.energy_pj, group.cycles, group.moved_bits)


@dataclass(frozen=True, slots=True)
class Moved:
    """Bits read from and written to the outermost and the fusing memory, and energy."""

    outside_read: float = 0.0
    outside_written: float = 0.0
    fusing_read: float = 0.0
    fusing_written: float = 0.0
    energy_pj: float = 0.0

    def plus(self, other: Moved, times: float = 1.0) -> Moved:
        """Return the sum with another, so many times."""
        return Moved(
            self.outside_read + times * other.outside_read,
            self.outside_written + times * other.outside_written,
            self.fusing_read + times * other.fusing_read,
            self.fusing_written + times * other.fusing_written,
            self.energy_pj + times * other.energy_pj,
        )

    def value(self, aim: Aim, cycles: float = 0.0) -> float:
        """Return what it has of what is made small; of time, which is no sum, what is given."""
        return aim.of(self.energy_pj, cycles, self.outside_read + self.outside_written)
