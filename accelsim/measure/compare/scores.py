"""Scores predictions against measurements: relative errors, bias, and rank correlation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["WITHIN", "Score", "kendall", "score"]

WITHIN: Final = 0.2
"""Error up to which a row counts as close."""


@dataclass(frozen=True, slots=True)
class Score:
    """Errors of a set of rows, as shares of one; NaN where no row is predicted.

    Attributes
    ----------
    rows : int
        Rows with a prediction.
    mape, median, p90 : float
        Mean, median and 90 % quantile of |predicted/measured - 1|.
    bias : float
        Geometric mean of predicted/measured, less one.
    within_20 : float
        Share of rows whose error is at most 20 %.
    kendall : float
        Kendall's rank correlation (tau-b) of predicted and measured; NaN where either is constant.
    total : float
        Sum of predicted over sum of measured, less one: the error of the rows run one by one.
    """

    rows: int
    mape: float
    median: float
    p90: float
    bias: float
    within_20: float
    kendall: float
    total: float


def score(
    predicted: NDArray[np.float64], measured: NDArray[np.float64], *, ranked: bool = True
) -> Score:
    """Return the errors of predicted against measured times, over the rows with a prediction.

    Parameters
    ----------
    predicted, measured : ndarray of float64
        Of equal shape and in the same unit; rows whose `predicted` is NaN do not count.
    ranked : bool, optional
        Whether to compute the rank correlation, which costs most.

    Examples
    --------
    >>> found = score(np.array([1.0, 1.5, np.nan]), np.array([1.0, 1.0, 1.0]))
    >>> found.rows, found.mape, found.within_20
    (2, 0.25, 0.5)
    """
    known = ~np.isnan(predicted)
    predicted, measured = predicted[known], measured[known]
    if not predicted.size:
        return Score(0, *[float("nan")] * 7)
    ratio = predicted / measured
    error = np.abs(ratio - 1)
    with np.errstate(divide="ignore"):  # a prediction of zero has the bias -1
        bias = float(np.exp(np.log(ratio).mean()) - 1)
    return Score(
        int(ratio.size),
        float(error.mean()),
        float(np.median(error)),
        float(np.quantile(error, 0.9)),
        bias,
        float((error <= WITHIN).mean()),
        kendall(predicted, measured) if ranked else float("nan"),
        float(predicted.sum() / measured.sum() - 1),
    )


def kendall(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return Kendall's tau-b of two samples, in O(n log n).

    Parameters
    ----------
    x, y : ndarray of shape (n,)
        Without NaN.

    Returns
    -------
    float
        In [-1, 1]; NaN where a sample is constant or has less than two values.

    Notes
    -----
    With pairs n0, tied ones n1 (in x), n2 (in y), n3 (in both) and discordant ones d::

        tau = (n0 - n1 - n2 + n3 - 2 d) / sqrt((n0 - n1) (n0 - n2))

    References
    ----------
    W. R. Knight, "A computer method for calculating Kendall's tau with ungrouped data", JASA 1966.

    Examples
    --------
    >>> kendall(np.array([1, 2, 3, 4]), np.array([1, 3, 2, 4]))
    0.6666666666666666
    """
    n = x.size
    first = np.unique(x, return_inverse=True)[1]
    second = np.unique(y, return_inverse=True)[1]
    pairs = n * (n - 1) // 2
    tied_x, tied_y = _tied(first), _tied(second)
    if pairs in (tied_x, tied_y):
        return float("nan")
    both = _tied(np.unique(first.astype(np.int64) * n + second, return_inverse=True)[1])
    discordant = _inversions(second[np.lexsort((second, first))])
    balance = pairs - tied_x - tied_y + both - 2 * discordant
    return balance / math.sqrt((pairs - tied_x) * (pairs - tied_y))


def _tied(number: NDArray[Any]) -> int:
    """Return how many pairs share a number."""
    counts = np.bincount(number).astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _inversions(values: NDArray[Any]) -> int:
    """Return how many pairs of non-negative integers stand in falling order.

    Two numbers differ first at one bit, so each bit counts, among numbers equal above it and in
    their order, the ones before each zero.
    """
    values = values.astype(np.int64)
    found = 0
    for bit in range(int(values.max(initial=0)).bit_length()):
        above = values >> (bit + 1)
        order = np.argsort(above, kind="stable")
        ones = (values[order] >> bit) & 1
        before = np.cumsum(ones) - ones
        group = above[order]
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        base = np.repeat(before[starts], np.diff(starts, append=group.size))
        found += int(((before - base) * (1 - ones)).sum())
    return found
