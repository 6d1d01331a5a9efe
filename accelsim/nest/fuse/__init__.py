"""Finds how to run a cascade of statements in groups whose tensors stay on chip.

Groups, shared loops, tiles and what stays are chosen together; a shortest path over the places
where groups may part gives the cascade, and what no cascade can beat.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from accelsim.errors import MappingError
from accelsim.nest.accounting import ACCOUNTINGS, Accounting
from accelsim.nest.fuse._chain import Chain
from accelsim.nest.fuse._inner import InnerSearch
from accelsim.nest.fuse._solver import Solver
from accelsim.nest.fuse._types import (
    Access,
    FusedDevice,
    FusedGroup,
    FusedStatement,
    FusionLimits,
    FusionObjective,
    Resident,
    SharedLoop,
    Statement,
)

__all__ = [
    "Access",
    "FusedDevice",
    "FusedGroup",
    "FusedStatement",
    "Fusion",
    "FusionLimits",
    "FusionObjective",
    "Resident",
    "SharedLoop",
    "Statement",
    "fuse",
]

_OWN: Final = ACCOUNTINGS["accelsim"]


@dataclass(frozen=True, slots=True)
class Fusion:
    """A cascade in groups.

    Attributes
    ----------
    groups : tuple of FusedGroup
        In order of execution.
    energy_pj, latency_s, moved_bits : float
        Of all groups; bits at the outermost memory.
    bound : float
        No grouping within the limits has less of the objective (pJ, s, bits or pJ s).
    gap : float
        How much more this one has, as a part of `bound`; 0 where it is proven best.
    tried : int
        Arrangements of groups that were looked at.
    searched : int
        Nests of single statements that were searched for.
    """

    groups: tuple[FusedGroup, ...]
    energy_pj: float
    latency_s: float
    moved_bits: float
    bound: float
    gap: float
    tried: int
    searched: int


def fuse(
    statements: Sequence[Statement],
    device: FusedDevice,
    objective: FusionObjective = "energy",
    *,
    outputs: Collection[str] = (),
    rules: Accounting = _OWN,
    limits: FusionLimits | None = None,
) -> Fusion:
    """Return the best groups of a cascade.

    Parameters
    ----------
    statements : sequence of Statement
        In an order in which each comes after those that make what it reads.
    device : FusedDevice
        The arrays, and the memory in which tensors may stay.
    objective : {"energy", "traffic", "latency", "edp"}
        What to make small: dynamic pJ, bits at the outermost memory, seconds, pJ x s of all.
    outputs : collection of str
        Tensors that leave though they are read; those that nobody reads leave anyway.
    rules : Accounting
        What is counted.
    limits : FusionLimits, optional
        A policy: what the search may do.

    Raises
    ------
    MappingError
        If the rules count windows, a statement fits no array, given groups are not the statements
        in their order, or no group that is legal fits the memory.

    Notes
    -----
    A group is consecutive statements under shared loops.  What one makes and another of the group
    reads stays in the fusing memory, a tile at a time; other tensors pass through or stay, too.
    The arrays keep nothing from one iteration of the shared loops to the next.  The bound of a
    group is that of its statements with whole extents, unlimited room and every word moved once;
    for latency, of which nests are chosen per statement, the gap is against that bound.
    """
    if rules.windows or rules.partials_to_all:
        raise MappingError("fusion counts no sliding windows and no partial sums sent to all")
    chain, limits = Chain.of(statements, outputs), limits or FusionLimits()
    found = Solver(chain, InnerSearch(device, rules), limits).solved(objective)
    pj, cycles, bits = found.figures
    total = {"energy": pj, "latency": cycles, "traffic": bits, "edp": pj * cycles}[objective]
    bound = total if found.bound * (1.0 + 1e-9) >= total else found.bound
    hertz = device.frequency_hz if objective in ("latency", "edp") else 1.0
    return Fusion(
        found.groups, pj, cycles / device.frequency_hz, bits, bound / hertz,
        total / bound - 1.0 if bound > 0 else 0.0, found.tried, found.searched,
    )  # fmt: skip
