"""Finds the nests between which only a choice can decide: the front of latency and energy.

Its ends are the nests of least latency and of least energy; nothing worse than both ends in one of
the two can lie on it, which bounds the search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from accelsim.nest.accounting import ACCOUNTINGS, Accounting
from accelsim.nest.hierarchy import Hierarchy
from accelsim.nest.mapper._label_types import Bools, Bounds, Labels
from accelsim.nest.mapper._search_space import paddings
from accelsim.nest.mapper._task import Best, Task, Trail
from accelsim.nest.mapper.constraint import Constraint
from accelsim.nest.mapper.search import Found, search
from accelsim.nest.problem import Problem

__all__ = ["search_front"]

_OWN: Final = ACCOUNTINGS["accelsim"]
_SLACK: Final = 1.0 + 1e-9


def search_front(
    problem: Problem,
    hierarchy: Hierarchy,
    *,
    rules: Accounting = _OWN,
    constraints: Mapping[str, Constraint] | None = None,
    pad: bool = True,
) -> tuple[Found, ...]:
    """Return the nests of which none is both faster and thriftier than another, fastest first.

    Parameters
    ----------
    problem, hierarchy, rules, constraints, pad
        As of `accelsim.nest.mapper.search.search`.

    Raises
    ------
    MappingError
        If no nest is left.

    Notes
    -----
    The front is exact, unless more partial nests stood side by side than are kept
    (`accelsim.nest.mapper.search.MOST_LABELS`) or the rules let windows slide.
    """
    fastest, thriftiest = (
        search(problem, hierarchy, objective, rules=rules, constraints=constraints, pad=pad)
        for objective in ("latency", "energy")
    )
    task = _Front(problem, hierarchy, rules, dict(constraints or {}), fastest, thriftiest)
    sizes = list(paddings(problem, hierarchy)) if pad else [problem.sizes]
    for padded in sizes:
        for keep in task.keeps():
            task.improve(None, padded, keep, False)
    return _best_of(task.found)


def _best_of(found: list[Found]) -> tuple[Found, ...]:
    """Return those that no other beats, fastest first."""
    front: list[Found] = []
    least = math.inf
    ordered = sorted(found, key=lambda one: (one.figures.latency_s, one.figures.energy_pj))
    for one in ordered:
        if one.figures.energy_pj < least / _SLACK:
            front.append(one)
            least = one.figures.energy_pj
    return tuple(front)


class _Front(Task):
    """A search that keeps every nest between two ends."""

    def __init__(
        self, problem: Problem, hierarchy: Hierarchy, rules: Accounting,
        constraints: dict[str, Constraint], fastest: Found, thriftiest: Found,
    ) -> None:  # fmt: skip
        super().__init__(problem, hierarchy, "latency", rules, constraints)
        self.most_pj = fastest.figures.energy_pj * _SLACK
        self.most_cycles = thriftiest.figures.cycles * _SLACK
        self.found = [fastest, thriftiest]

    def bounds(self, best: Best | None, rest_pj: float, units: int) -> Bounds:
        """Return the bounds that both ends set."""
        del best
        return (
            super()
            .bounds(None, rest_pj, units)
            ._replace(most_pj=self.most_pj, most_cycles=self.most_cycles)
        )

    def finish(self, best: Best | None, labels: Labels, trail: Trail, keep: Bools) -> Best | None:
        """Evaluate every nest that is left and may be on the front."""
        lower, energy = self.lower(labels), labels.value[:, 0]
        least = math.inf
        for i in np.lexsort((energy, lower)):
            if energy[i] >= least:
                continue  # a nest before it is no slower at its best, and thriftier
            one = self.evaluated(self.nest(trail, int(labels.trail[i]), keep))
            self.found.append(Found(one.nest, one.figures, one.value, 0.0, self.tried))
            if self.exact:
                least = float(energy[i])
        return best
