"""A mixed-integer program as rows of (column, factor), solved by HiGHS through scipy.

It is what the exact searches share; sizes are whole numbers divided by what they have in common,
so that the solver's tolerances are far below one byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Program", "Solution"]

_OPTIMAL, _LIMIT, _INFEASIBLE = 0, 1, 2  # status of scipy.optimize.milp
_FREE: Final = np.inf


@dataclass(frozen=True, slots=True)
class Solution:
    """What the solver found.

    Attributes
    ----------
    values : array or None
        Of the columns; None if it found no solution.
    bound : float
        Proven lower bound of the objective; infinite if there is no solution.
    status : str
        ``optimal``, ``infeasible`` or ``time limit``.
    """

    values: NDArray[np.float64] | None
    bound: float
    status: str


@dataclass(slots=True)
class Program:
    """Minimises a linear objective over columns from 0 to 1, whole ones where asked."""

    costs: list[float] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    _rows: list[int] = field(default_factory=list)
    _columns: list[int] = field(default_factory=list)
    _factors: list[float] = field(default_factory=list)
    _low: list[float] = field(default_factory=list)
    _high: list[float] = field(default_factory=list)

    def column(self, cost: float = 0.0, *, whole: bool = False) -> int:
        """Add a variable and return its number."""
        self.costs.append(cost)
        self.whole.append(int(whole))
        return len(self.costs) - 1

    def row(
        self, terms: list[tuple[int, float]], *, low: float = -_FREE, high: float = _FREE
    ) -> None:
        """Demand that a sum of factors times columns lies between two values."""
        number = len(self._low)
        for column, factor in terms:
            self._rows.append(number)
            self._columns.append(column)
            self._factors.append(factor)
        self._low.append(low)
        self._high.append(high)

    def solve(self, time_limit_s: float) -> Solution:
        """Solve to optimality, or until the time is over."""
        optimize: Any = import_module("scipy.optimize")  # half a second that only this needs
        sparse: Any = import_module("scipy.sparse")
        shape = (len(self._low), len(self.costs))
        # Entries of equal place are added up, as rows may name a column twice.
        matrix = sparse.csc_array((self._factors, (self._rows, self._columns)), shape=shape)
        found = optimize.milp(
            np.array(self.costs), integrality=np.array(self.whole), bounds=optimize.Bounds(0, 1),
            constraints=optimize.LinearConstraint(matrix, self._low, self._high),
            options={"time_limit": max(time_limit_s, 0.01), "mip_rel_gap": 0.0},
        )  # fmt: skip
        if found.status == _INFEASIBLE:
            return Solution(None, np.inf, "infeasible")
        bound = getattr(found, "mip_dual_bound", None)
        lowest = -np.inf if bound is None or not np.isfinite(bound) else float(bound)
        if found.status == _OPTIMAL:
            return Solution(found.x, max(lowest, float(found.fun)) - 1e-6, "optimal")
        return Solution(found.x, lowest, "time limit")
