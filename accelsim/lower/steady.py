"""Simulates a plan without repeating what repeats: layers until steady, then extended.

Equal layers reach a steady period after a few repetitions.  When two successive repetitions take
the same time to the picosecond, the rest are taken to do so too; otherwise more are simulated,
in the end all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from accelsim.engine import Schedule, simulate
from accelsim.lower.lower import Lowered, lower
from accelsim.mapping import Plan

__all__ = ["FIRST_TRY", "Simulated", "simulate_plan"]

FIRST_TRY: Final = 6
"""Repetitions simulated at first: fill, some steady ones, and the last, which differs."""


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """A schedule, and the repetitions that were extended rather than simulated.

    Attributes
    ----------
    skipped, period_ps : tuple of int
        Per block: repetitions not simulated, and the time that each of them takes.
    """

    lowered: Lowered
    schedule: Schedule
    skipped: tuple[int, ...]
    period_ps: tuple[int, ...]

    @property
    def latency_ps(self) -> int:
        """Time of the whole pass: simulated plus extended."""
        extended = sum(n * t for n, t in zip(self.skipped, self.period_ps, strict=True))
        return self.schedule.makespan_ps + extended


def simulate_plan(plan: Plan, engine: str = "numba", *, exact: bool = False) -> Simulated:
    """Lower and simulate a plan.

    Parameters
    ----------
    plan : Plan
        Operators in their places.
    engine : {"numba", "simpy"}
        Which engine.
    exact : bool
        Simulate every repetition.  Also done where pipeline stages share the layers, or
        micro-batches the units: their repetitions overlap.
    """
    deepest = max(block.count for block in plan.blocks)
    partition = plan.mapping.partition
    overlap = partition.pipeline > 1 or partition.microbatches > 1
    repeats = deepest if exact or overlap else FIRST_TRY
    while True:
        lowered = lower(plan, repeats)
        schedule = simulate(lowered.graph, engine)
        periods = _periods(lowered, schedule)
        if repeats >= deepest or all(period is not None for period in periods):
            skipped = tuple(
                block.count - n for block, n in zip(plan.blocks, lowered.repeats, strict=True)
            )
            return Simulated(lowered, schedule, skipped, tuple(p or 0 for p in periods))
        repeats = min(deepest, repeats * 2)


def _periods(lowered: Lowered, schedule: Schedule) -> list[int | None]:
    """Return each block's steady period: 0 where nothing was skipped, None where not steady."""
    ends = np.zeros(len(lowered.instances), np.int64)
    # Loads run ahead of their repetition, so what counts is when its computing ends.
    np.maximum.at(ends, lowered.instance, schedule.end_ps)
    found: list[int | None] = []
    for b, (block, repeats) in enumerate(zip(lowered.plan.blocks, lowered.repeats, strict=True)):
        if block.count == repeats:
            found.append(0)
            continue
        mine = ends[lowered.instances[:, 0] == b]
        # The last repetition is followed by another block, so its end may differ.
        steps = np.diff(mine[:-1])
        steady = len(steps) >= 2 and steps[-1] == steps[-2]
        found.append(int(steps[-1]) if steady else None)
    return found
