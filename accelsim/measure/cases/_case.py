"""A reference case beside its prediction, and the error over many of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Case", "summary"]


@dataclass(frozen=True, slots=True)
class Case:
    """One figure of a reference, and what accelsim says.

    Attributes
    ----------
    id : str
        Names the row.
    group : str
        Cases that are summed up together, for example a dataflow.
    metric : str
        What the figure is, with its unit.
    expected : float
        The reference's figure.
    predicted : float or None
        accelsim's; None where the case is not supported.
    unsupported : str
        Why not; empty where it is.
    """

    id: str
    group: str
    metric: str
    expected: float
    predicted: float | None
    unsupported: str = ""

    @property
    def error_percent(self) -> float | None:
        """Absolute error against the reference in percent; None where there is no prediction."""
        if self.predicted is None:
            return None
        if self.predicted == self.expected:
            return 0.0
        if self.expected == 0:
            return float("inf")
        return abs(self.predicted / self.expected - 1) * 100


def summary(cases: Iterable[Case]) -> dict[str, Any]:
    """Return the errors of the cases, over all and by group.

    Returns
    -------
    dict
        ``rows``, ``exact`` (predictions equal to the reference), ``mape_percent``,
        ``p90_percent``, ``max_percent`` (None where nothing was predicted), ``unsupported``
        (``count``, and ``reasons`` with theirs), and ``groups``: the same by group.

    Examples
    --------
    >>> cases = [Case("a", "os", "cycles", 100, 100), Case("b", "os", "cycles", 100, 110)]
    >>> found = summary(cases)
    >>> found["rows"], found["exact"], round(found["mape_percent"], 6)
    (2, 1, 5.0)
    """
    every = list(cases)
    groups: dict[str, list[Case]] = {}
    for case in every:
        groups.setdefault(case.group, []).append(case)
    whole = _summary(every)
    whole["groups"] = {name: _summary(members) for name, members in sorted(groups.items())}
    return whole


def _summary(cases: Sequence[Case]) -> dict[str, Any]:
    errors = np.array([e for case in cases if (e := case.error_percent) is not None])
    refused = [case.unsupported or "no prediction" for case in cases if case.predicted is None]
    known = errors.size > 0
    return {
        "rows": len(cases),
        "exact": int((errors == 0).sum()),
        "mape_percent": float(errors.mean()) if known else None,
        "p90_percent": float(np.quantile(errors, 0.9)) if known else None,
        "max_percent": float(errors.max()) if known else None,
        "unsupported": {"count": len(refused), "reasons": dict(Counter(refused).most_common())},
    }
