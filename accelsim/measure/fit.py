"""Fits scalars of the GPU kernel model to measured latencies, by a robust loss within bounds.

`calibrate` says what is fitted on which rows; this file samples rows and finds the minimum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BOUNDS", "SHARES", "Bounds", "Score", "minimum", "rounded", "sample", "score"]

Bounds = Mapping[str, tuple[float, float]]

_PRODUCT: Final[Bounds] = {
    "compute_efficiency": (0.3, 1.0), "memory_efficiency": (0.3, 1.0), "start_s": (0.0, 12e-6),
    "smoothness": (1.0, 8.0), "edge_elements": (0.0, 60.0), "fill_elements": (0.0, 300.0),
    "sustained_clock": (0.4, 1.0), "combine_s": (0.0, 6e-6), "camping": (0.0, 0.15),
}  # fmt: skip

SHARES: Final = frozenset({"implicit", "implicit_tensor", "winograd", "winograd_4x4"})
"""Scalars that are 1 as far as rows do not tell otherwise: algorithms that no row ran."""

BOUNDS: Final[Mapping[str, Bounds]] = {
    "tensor": _PRODUCT,
    "simt": {**_PRODUCT, "combine_s": (0.0, 0.0)},  # their campaigns' clocks cannot tell it
    "convolution": {
        "implicit": (0.3, 1.0), "implicit_tensor": (0.1, 1.0), "winograd": (0.3, 2.0),
        "winograd_4x4": (0.3, 2.0), "fill_elements": (0.0, 300.0),
    },
    "format": {"efficiency": (0.1, 1.0), "start_s": (0.0, 30e-6)},
    "prefill": {
        "compute_efficiency": (0.3, 1.6), "start_s": (0.0, 30e-6), "smoothness": (1.0, 8.0),
        "edge_elements": (0.0, 300.0), "block_s": (0.0, 10e-6), "tail": (0.0, 1.0),
    },
    "decode": {
        "memory_efficiency": (0.4, 1.0), "start_s": (0.0, 30e-6), "block_s": (0.0, 10e-6),
        "combine_s": (0.0, 12e-6), "resident": (1.0, 2.5), "lone": (0.3, 1.0),
        "most_splits": (1.0, 64.0), "shortest_split": (16.0, 1024.0),
    },
    "grouped": {
        "compute_efficiency": (0.2, 1.0), "memory_efficiency": (0.3, 1.0),
        "start_s": (0.0, 50e-6), "smoothness": (1.0, 8.0), "edge_elements": (0.0, 60.0),
        "fill_elements": (0.0, 500.0), "sustained_clock": (0.4, 1.0),
        "permute_passes": (0.0, 8.0),
    },
    "vector": {
        "start_s": (0.0, 10e-6), "smoothness": (1.0, 8.0), "l2_bytes_per_clock": (2.0, 64.0),
    },
}  # fmt: skip
"""Section of a calibration -> its fitted scalars, with the bounds of the search."""

_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Score:
    """Error of predicted against measured times of a set of rows; shares of one, not per cent."""

    rows: int
    mape: float
    p90: float
    bias: float
    """Geometric mean of predicted over measured, less one."""


def score(predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> Score:
    """Return the error of predicted against measured times.

    Examples
    --------
    >>> score(np.array([1.0, 1.2]), np.array([1.0, 1.0])).mape
    0.1
    """
    ratio = predicted / measured
    error = np.abs(ratio - 1.0)
    return Score(
        len(ratio),
        round(float(error.mean()), 4),
        round(float(np.quantile(error, 0.9)), 4),
        round(float(np.exp(np.log(ratio).mean()) - 1.0), 4),
    )


def sample(sizes: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Return numbers of rows to fit: equally many from each doubling of a size, by a fixed seed.

    So decode counts as much as prefill, however a campaign spaced its sweep.

    Parameters
    ----------
    sizes : ndarray
        Positive size of every row (rows of a product, latency).
    most : int
        About how many rows.

    Examples
    --------
    >>> sample(np.array([1.0, 100.0, 100.0, 100.0]), 2).size
    2
    """
    random = np.random.default_rng(_SEED)
    octave = np.floor(np.log2(np.maximum(sizes, 1e-9)))
    values = np.unique(octave)
    each = max(1, -(-most // values.size))
    picked = []
    for value in values:
        here = np.flatnonzero(octave == value)
        picked.append(random.choice(here, min(each, here.size), replace=False))
    return np.sort(np.concatenate(picked))


def rounded(values: Sequence[float]) -> list[float]:
    """Return numbers to four digits, as they are written, so that errors are theirs.

    Examples
    --------
    >>> rounded([0.123456, 4.00001e-6])
    [0.1235, 4e-06]
    """
    return [float(f"{x:.4g}") for x in values]


def minimum(
    loss: Callable[[NDArray[np.float64]], float], bounds: Sequence[tuple[float, float]]
) -> tuple[NDArray[np.float64], float]:
    """Return where a loss is least within bounds, and its value there.

    Differential evolution with a fixed seed, then Nelder-Mead from the best point. A bound whose
    ends are equal fixes its scalar.
    """
    optimize: Any = import_module("scipy.optimize")  # half a second that only fitting needs
    low, high = np.array(bounds, dtype=np.float64).T
    free = np.flatnonzero(high > low)

    def inside(x: NDArray[np.float64]) -> NDArray[np.float64]:
        every = low.copy()
        every[free] = np.clip(x, low[free], high[free])
        inside_bounds: NDArray[np.float64] = every
        return inside_bounds

    def reduced(x: NDArray[np.float64]) -> float:
        return loss(inside(x))

    if not free.size:
        return low, loss(low)
    wide = optimize.differential_evolution(
        reduced, list(zip(low[free], high[free], strict=True)),
        seed=_SEED, maxiter=40, popsize=10, polish=False,
    )  # fmt: skip
    near = optimize.minimize(
        reduced, wide.x, method="Nelder-Mead", options={"maxiter": 900, "adaptive": True}
    )
    best = inside(near.x if near.fun < wide.fun else wide.x)
    return best, float(min(near.fun, wide.fun))
