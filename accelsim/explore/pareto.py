"""Finds the designs that no other design beats in every objective at once: the Pareto front.

Two or three objectives, each to be minimised or maximised; equal designs all stay on the front.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import ConfigError
from accelsim.explore.metrics import Sense
from accelsim.jit import kernel

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["front", "groups", "nondominated"]


def front(
    frame: pd.DataFrame, objectives: Mapping[str, Sense], per: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the rows on the Pareto front, one front for each group of designs.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row for each design; rows where an objective is NaN are never on a front.
    objectives : mapping of str to {"min", "max"}
        Column -> which way is better; two or three.
    per : sequence of str
        Columns whose values are not compared with each other, for example ``["model"]``.

    Returns
    -------
    pandas.DataFrame
        Rows of `frame`: groups in order of appearance, each by its first objective, best first.

    Examples
    --------
    >>> import pandas as pd
    >>> designs = pd.DataFrame({"latency_s": [1, 2, 3], "energy_j": [9, 9, 4]})
    >>> front(designs, {"latency_s": "min", "energy_j": "min"}).index.tolist()
    [0, 2]
    """
    names = list(objectives)
    upwards = [objectives[name] == "min" for name in names]
    parts = [
        group[nondominated(group[names].to_numpy(np.float64), objectives.values())].sort_values(
            names, ascending=upwards, kind="stable"
        )
        for _, group in groups(frame, per)
    ]
    if not parts:
        return frame.iloc[:0]
    import pandas as pd

    return pd.concat(parts)


def groups(
    frame: pd.DataFrame, per: Sequence[str]
) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Yield the groups of designs that are compared with each other: their values of `per`, rows.

    They come in order of appearance; with no axis in `per` there is one group.
    """
    if per:
        yield from frame.groupby(list(per), sort=False, dropna=False)
    elif len(frame):
        yield (), frame


def nondominated(values: NDArray[np.float64], senses: Iterable[Sense]) -> NDArray[np.bool_]:
    """Return which points no other point dominates.

    Parameters
    ----------
    values : ndarray of float, shape (n, 2) or (n, 3)
        One row for each point.  A row with NaN neither dominates nor stays.
    senses : iterable of {"min", "max"}, length 2 or 3
        Which way each column is better.

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    ConfigError
        If there are not two or three objectives.

    Notes
    -----
    ``a`` dominates ``b`` if it is nowhere worse and somewhere better.  In lexicographic order a
    point can be dominated by earlier ones only, so one sweep suffices: it asks for the least
    third objective among earlier points whose second is no greater, kept in a Fenwick tree.
    O(n log n) in time for any front, O(n) in memory.

    References
    ----------
    .. [1] H. T. Kung, F. Luccio, F. P. Preparata, "On finding the maxima of a set of vectors",
       Journal of the ACM 22(4), 1975.

    Examples
    --------
    >>> nondominated(np.array([[1.0, 5.0], [2.0, 7.0], [2.0, 3.0]]), ["min", "min"]).tolist()
    [True, False, True]
    """
    signs = np.array([1.0 if sense == "min" else -1.0 for sense in senses])
    if signs.size not in (2, 3) or values.shape[1] != signs.size:
        raise ConfigError(f"{signs.size} objectives; a front has two or three")
    mask = np.zeros(len(values), dtype=np.bool_)
    usable = np.flatnonzero(~np.isnan(values).any(axis=1))
    # Ranks instead of values: whole numbers, equal where the values are, whatever the infinities.
    ranks = np.zeros((usable.size, 3), dtype=np.int64)
    for column, sign in enumerate(signs):
        ranks[:, column] = np.unique(sign * values[usable, column], return_inverse=True)[1]
    order = np.lexsort((ranks[:, 2], ranks[:, 1], ranks[:, 0]))
    mask[usable[order]] = _sweep(ranks[order])
    return mask


@kernel
def _sweep(ranks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which points of a lexicographically ordered list stay; `ranks` has shape (n, 3)."""
    n = len(ranks)
    least = np.full(n + 1, n, dtype=np.int64)  # Fenwick tree over the second objective's ranks
    keep = np.zeros(n, dtype=np.bool_)
    for i in range(n):
        second, third = ranks[i, 1], ranks[i, 2]
        if (
            i > 0
            and ranks[i, 0] == ranks[i - 1, 0]
            and second == ranks[i - 1, 1]
            and third == ranks[i - 1, 2]
        ):
            keep[i] = keep[i - 1]
            continue
        best = n
        node = second + 1
        while node > 0:
            best = min(best, least[node])
            node -= node & -node
        keep[i] = best > third
        node = second + 1
        while node <= n:
            least[node] = min(least[node], third)
            node += node & -node
    return keep
