"""Three predictors that need no model of a GPU; one that does has to beat them.

Their constants are fitted on calibration rows only, for the very error that the scores report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.measure.compare.table import row_groups

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BASELINES", "baselines", "floor_and_efficiency", "one_scalar"]

BASELINES: Final[Mapping[str, str]] = {
    "roofline": "datasheet roofline: the larger of operations over peak and bytes over bandwidth",
    "scaled_roofline": "the roofline times one scalar per GPU and source",
    "floor_efficiency": "max(floor, roofline / efficiency), two constants per GPU, source, format"
    " and operator",
}
"""Name of each baseline -> what it is."""

_Array = NDArray[np.float64]

_ROWS: Final = 2000  # of a group, evenly over its roofline times: two constants need no more
_FLOORS: Final = np.linspace(0.0, 0.5, 26)  # quantiles of the latencies
# Up to 1.25: boards above their rated clock.  The nearest to 1 first: where the fitted rows leave
# the efficiency open, because all lie on the floor, it is the datasheet's.
_EFFICIENCIES: Final = np.array(sorted(np.geomspace(0.016, 1.25, 61), key=lambda x: abs(x - 1)))
# About both, half a step of the coarse grid.
_REFINED: Final = np.array(sorted(np.linspace(0.93, 1.07, 15), key=lambda x: abs(x - 1)))


def baselines(
    table: pd.DataFrame, roofline: NDArray[np.float64], fitted: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Return the prediction of every baseline for every row, in us.

    Parameters
    ----------
    table : pandas.DataFrame
        Measured operators.
    roofline : ndarray of float64
        Datasheet time of each row in us, NaN where it has none.
    fitted : ndarray of bool
        The rows that constants may be fitted on.

    Returns
    -------
    dict
        Name in `BASELINES` -> times in us; NaN without a roofline, or where constants have no row
        to be fitted on.
    """
    measured = table["latency_us"].to_numpy(np.float64)
    usable = fitted & (roofline > 0)
    scaled, floored = (np.full(measured.size, np.nan) for _ in range(2))
    for rows in row_groups(table, ("gpu", "source")).values():
        fit = rows[usable[rows]]
        if fit.size:
            scaled[rows] = roofline[rows] * one_scalar(roofline[fit], measured[fit])
    for rows in row_groups(table, ("gpu", "source", "dtype", "op")).values():
        fit = rows[usable[rows]]
        if fit.size:
            floor, efficiency = floor_and_efficiency(roofline[fit], measured[fit])
            known = np.where(np.isnan(roofline[rows]), np.nan, floor)
            floored[rows] = np.maximum(known, roofline[rows] / efficiency)
    return {"roofline": roofline, "scaled_roofline": scaled, "floor_efficiency": floored}


def one_scalar(roofline: NDArray[np.float64], measured: NDArray[np.float64]) -> float:
    """Return the factor of the roofline with the smallest mean of |predicted/measured - 1|.

    It is the median of measured/roofline, each weighed by roofline/measured.

    Examples
    --------
    >>> one_scalar(np.array([1.0, 2.0, 4.0]), np.array([2.0, 4.0, 8.0]))
    2.0
    """
    ratio = measured / roofline
    order = np.argsort(ratio, kind="stable")
    weight = np.cumsum(1 / ratio[order])
    return float(ratio[order][np.searchsorted(weight, weight[-1] / 2)])


def floor_and_efficiency(
    roofline: NDArray[np.float64], measured: NDArray[np.float64]
) -> tuple[float, float]:
    """Return floor and efficiency with the smallest mean error of max(floor, roofline/efficiency).

    Searched on a grid of quantiles of the measured times and of efficiencies, then once more
    between its points.

    Examples
    --------
    >>> roof = np.array([0.1, 0.2, 40.0, 80.0, 160.0])
    >>> floor, efficiency = floor_and_efficiency(roof, np.maximum(5.0, roof / 0.8))
    >>> round(floor, 2), round(efficiency, 2)
    (5.0, 0.8)
    """
    order = np.argsort(roofline, kind="stable")
    picked = order[np.linspace(0, order.size - 1, min(order.size, _ROWS)).astype(np.int64)]
    ideal, inverse = roofline[picked] / measured[picked], 1 / measured[picked]

    def best(
        floors: NDArray[np.float64], efficiencies: NDArray[np.float64]
    ) -> tuple[float, float]:
        error = np.empty((floors.size, efficiencies.size))
        for j, efficiency in enumerate(efficiencies):
            steep = ideal / efficiency
            for i, floor in enumerate(floors):
                error[i, j] = np.abs(np.maximum(floor * inverse, steep) - 1).mean()
        at_floor, at_efficiency = np.unravel_index(int(error.argmin()), error.shape)
        return float(floors[at_floor]), float(efficiencies[at_efficiency])

    floors = np.unique(np.quantile(measured[picked], _FLOORS))
    floor, efficiency = best(floors, _EFFICIENCIES)
    return best(floor * _REFINED, efficiency * _REFINED)
