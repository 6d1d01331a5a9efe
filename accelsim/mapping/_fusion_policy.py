"""What a file may say on the fusion of cascades: which array runs what, and what may be tried."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from accelsim.config import Nonnegative, Positive, Spec, Whole
from accelsim.cost._nest_policy import AccountingName
from accelsim.nest.fuse import FusionLimits

__all__ = ["FusionPolicy", "OperationCost", "VectorUnit"]


class OperationCost(Spec):
    """What one operation of an Einsum costs a unit of its array, for one point."""

    cycles: Positive = 1.0
    """Cycles of the unit."""
    pj: Nonnegative | None = None
    """Energy; what the array states for a multiply-accumulate if it is not given."""


class VectorUnit(Spec):
    """Units for all but products, that share the outer levels of a spatial array."""

    below: str
    """Innermost level that they share; each instance of it feeds units of its own."""
    per_cycle: Positive
    """Operations per cycle of one instance."""
    pj: Nonnegative = 0.0
    """Energy of an operation."""


class FusionPolicy(Spec):
    """Which array runs which Einsums, and what the search may do."""

    name: str
    """Name of the policy."""
    description: str = ""
    """What it is, in a line."""
    source: str = ""
    """Where it comes from."""
    memory: str = ""
    """Level of the array in which tensors stay between Einsums; empty for the memory next to the
    outermost."""
    accounting: AccountingName = "accelsim"
    """Rules of counting: accelsim's own, or those of another tool, to compare with it."""
    together: bool = False
    """Arrays work at the same time, on different iterations of a group."""
    vectors: dict[str, VectorUnit] = Field(default_factory=dict)
    """Other arrays of the device, by name; ``array`` is the spatial array itself."""
    arrays: dict[str, str]
    """Operation, or name of an Einsum -> array that runs it; ``default`` for all others."""
    operations: dict[str, dict[str, OperationCost]] = Field(default_factory=dict)
    """Array -> operation -> what it costs; one cycle of a unit where it is not stated."""
    roles: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Einsum -> tensor -> what the levels call it, where it is not what follows from its place:
    the first operand of a product is the ``input``, the second the ``weight``; every operand of
    anything else is an ``input``."""
    groups: list[list[str]] = Field(default_factory=list)
    """Einsums of each group in order, where the groups are given."""
    split: Literal["freely", "everywhere", "nowhere"] = "freely"
    """Where groups part if they are not given: where it is best; wherever no running tensor goes
    back over; nowhere, all Einsums being one group."""
    shared: list[str] | None = None
    """Ranks over which shared loops may run."""
    tiles: dict[str, list[Whole]] = Field(default_factory=dict)
    """Rank -> tiles that its shared loop may leave."""
    loops: Whole = 4
    """Most shared loops of a group."""
    longest: Whole = 64
    """Most Einsums of a group."""
    candidates: Whole = 20000
    """Most arrangements of a group that are tried before the search reports a gap."""

    within: Nonnegative = 0.0
    """Gap at which a group is good enough."""
    patience: Whole = 100
    """Nests that are searched for since a group last got better before a gap is reported."""
    refined: Whole = 4
    """Arrangements whose nests are searched for anew with time in mind, where time counts."""

    def limits(self) -> FusionLimits:
        """Return what the search may do."""
        return FusionLimits(
            tuple(tuple(group) for group in self.groups),
            None if self.shared is None else frozenset(self.shared),
            {rank: tuple(tiles) for rank, tiles in self.tiles.items()},
            self.loops, self.longest, self.candidates, self.within, self.patience, self.refined,
            self.split,
        )  # fmt: skip
