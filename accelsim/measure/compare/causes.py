"""Names the likely cause of a row's error, by rules that look at the row and its campaign only.

A cause is a lead, not a proof: rules are tried in the order of `CAUSES` and the first that holds
is named, with the figures that made it hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.measure.compare.classes import COMPUTE, LAUNCH
from accelsim.measure.compare.table import row_groups
from accelsim.measure.gpus import board, boards

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CAUSES", "Evidence", "causes", "evidence", "why"]

CAUSES: Final[Mapping[str, str]] = {
    "winograd": "the library does fewer operations than the direct count (Winograd or FFT)",
    "cache residency": "operands come from the last-level cache, faster than memory could",
    "launch floor": "launch and clock are most of the time",
    "scatter": "the campaign's own repeats of the row differ as much",
    "uneven experts": "experts are loaded unevenly and the row does not say how",
    "gemv": "one operand is a vector: another kernel, bound by memory and latency",
    "few blocks": "blocks of work fill less than half the GPU, so how the library splits the"
    " reduction decides",
    "small k": "the reduction is too short to fill the pipeline of a tile",
    "odd alignment": "a size is no multiple of 8 elements, so slower kernels run",
    "wave quantisation": "a nearly empty last wave of blocks",
    "power cap": "the largest rows of this campaign all fall short: clocks below boost",
    "kernel of the campaign": "most rows of this operator are off by as much: another kernel, or"
    " another calibration, than the model has",
    "unknown": "no rule applies",
}
"""Cause -> what it means, in the order in which they are tried."""

_TILE: Final = 128  # rows and columns of the nominal tile that waves are counted with
_SMALL_K: Final = (
    256  # of a tile that takes 32 or 64 a step: some fill and drain to each few steps
)
_FEW: Final = 0.5  # waves
_WAVES: Final = 8  # with more, a part-filled last one costs little
_QUANTISED: Final = 1.15  # whole waves over exact ones
_PRODUCTS: Final = ("gemm", "bmm")
_LARGEST: Final = 0.9  # quantile of operations above which rows are a campaign's largest
_USUAL: Final = 0.1  # median error of a campaign that is worth naming
_CAPPED: Final = 1.05  # measured over predicted among them


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the rules look at, one entry per row; NaN where it does not apply.

    Attributes
    ----------
    error : ndarray of float64
        |predicted/measured - 1|.
    floor_us : ndarray of float64
        Smallest latency of the row's campaign, us.
    cache_ratio : ndarray of float64
        Bytes over last-level cache.
    speed_ratio : ndarray of float64
        Bytes per second moved, at least, over the datasheet bandwidth.
    scatter : ndarray of float64
        Relative spread of the campaign's repeats.
    waves : ndarray of float64
        Blocks of work over multiprocessors, without a split reduction: 128x128 tiles of products,
        heads with 128 queries each of attention, heads of the cache where there is one query.
    largest : ndarray of float64
        Geometric mean of measured/predicted of the campaign's largest compute-bound rows.
    usual : ndarray of float64
        Median of predicted/measured of the campaign's rows that are not launch-bound.
    ratio : ndarray of float64
        Predicted over measured.
    """

    error: NDArray[np.float64]
    floor_us: NDArray[np.float64]
    cache_ratio: NDArray[np.float64]
    speed_ratio: NDArray[np.float64]
    scatter: NDArray[np.float64]
    waves: NDArray[np.float64]
    largest: NDArray[np.float64]
    usual: NDArray[np.float64]
    ratio: NDArray[np.float64]


def evidence(
    table: pd.DataFrame,
    predicted: NDArray[np.float64],
    floor_us: NDArray[np.float64],
    memory_us: NDArray[np.float64],
    stratum: NDArray[np.object_],
) -> Evidence:
    """Return what the rules look at.

    Parameters
    ----------
    table : pandas.DataFrame
        Measured operators.
    predicted, floor_us, memory_us : ndarray of float64
        Predicted latency, launch floor and datasheet memory time of every row, us.
    stratum : ndarray of str
        What bounds every row.
    """
    measured = table["latency_us"].to_numpy(np.float64)
    multiprocessors, cache, bandwidth = _boards(table)
    scatter = np.fmax(table["lat_std_us"].to_numpy() / measured, table["spread"].to_numpy())
    return Evidence(
        np.abs(predicted / measured - 1),
        floor_us,
        memory_us * 1e-6 * bandwidth / cache,
        memory_us / measured,
        scatter,
        _blocks(table) / multiprocessors,
        _largest(table, predicted, measured, stratum),
        _usual(table, predicted / measured, stratum),
        predicted / measured,
    )


def causes(
    table: pd.DataFrame, stratum: NDArray[np.object_], found: Evidence
) -> NDArray[np.object_]:
    """Return the likely cause of every row's error, one of `CAUSES`."""
    flag, op = table["flag"], table["op"]
    product = op.isin(_PRODUCTS).to_numpy()
    m, n, k = (table[name].to_numpy() for name in "mnk")
    uneven = table["subop"].astype(str).str.startswith("power_law").to_numpy()
    whole = np.ceil(found.waves) / found.waves
    holds = {
        "winograd": (flag == "winograd_fft").to_numpy(),
        "cache residency": (flag == "cache_resident").to_numpy()
        | ((found.speed_ratio > 1) & (found.cache_ratio <= 2)),
        "launch floor": stratum == LAUNCH,
        "scatter": found.error <= 2 * found.scatter,
        "uneven experts": (op == "moe").to_numpy() & uneven,
        "gemv": product & (np.fmin(m, n) == 1),
        "few blocks": found.waves < _FEW,
        "small k": product & (k < _SMALL_K),
        "odd alignment": product & ((n % 8 != 0) | (k % 8 != 0)),
        "wave quantisation": (whole > _QUANTISED) & (found.waves > 1) & (found.waves < _WAVES),
        "power cap": (stratum == COMPUTE) & (found.largest > _CAPPED),
        "kernel of the campaign": (np.abs(found.usual - 1) > _USUAL)
        & (np.abs(found.ratio / found.usual - 1) < found.error / 2),
    }
    named: NDArray[np.object_] = np.select(
        list(holds.values()), [np.array(name, dtype=object) for name in holds], "unknown"
    )
    return named


def why(table: pd.DataFrame, row: int, cause: str, found: Evidence) -> str:
    """Return one line that gives the figures behind the cause of one row.

    Parameters
    ----------
    table : pandas.DataFrame
        Measured operators.
    row : int
        Position of the row.
    cause : str
        What `causes` named.
    found : Evidence
        Of all rows.
    """
    figures = _FIGURES.get(cause)
    return figures(table.iloc[row], found, row) if figures else CAUSES[cause]


def _boards(
    table: pd.DataFrame,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return multiprocessors, last-level cache (bytes) and bandwidth (B/s) of every board."""
    sms, cache, bandwidth = (np.full(len(table), np.nan) for _ in range(3))
    for (name,), rows in row_groups(table, ("gpu",)).items():
        if name in boards():
            gpu, bytes_per_s = board(name)
            sms[rows], cache[rows], bandwidth[rows] = gpu.sms, gpu.l2_bytes, bytes_per_s
    return sms, cache, bandwidth


def _blocks(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return the thread blocks that a row nominally makes; NaN where the operator has none."""
    op = table["op"]
    b, m, n, batch, heads, kv_heads, q = (
        table[name].fillna(1).to_numpy()
        for name in ("b", "m", "n", "batch", "heads", "kv_heads", "q_len")
    )
    blocks = np.where(op.isin(_PRODUCTS), b * np.ceil(m / _TILE) * np.ceil(n / _TILE), np.nan)
    blocks = np.where(op == "attention_prefill", batch * heads * np.ceil(q / _TILE), blocks)
    return np.where(op == "attention_decode", batch * kv_heads, blocks)


def _largest(
    table: pd.DataFrame,
    predicted: NDArray[np.float64],
    measured: NDArray[np.float64],
    stratum: NDArray[np.object_],
) -> NDArray[np.float64]:
    """Return the mean of measured/predicted among a campaign's largest compute-bound rows.

    Only for those rows themselves, and for rows that are slower than predicted.
    """
    flops = table["flops"].to_numpy(np.float64)
    found = np.full(measured.size, np.nan)
    usable = (stratum == COMPUTE) & ~np.isnan(predicted) & (predicted > 0) & ~np.isnan(flops)
    for rows in row_groups(table, ("gpu", "source", "dtype", "op")).values():
        rows = rows[usable[rows]]
        if rows.size:
            large = rows[flops[rows] >= np.quantile(flops[rows], _LARGEST)]
            mean = np.exp(np.log(measured[large] / predicted[large]).mean())
            found[large] = np.where(measured[large] > predicted[large], mean, np.nan)
    return found


def _usual(
    table: pd.DataFrame, ratio: NDArray[np.float64], stratum: NDArray[np.object_]
) -> NDArray[np.float64]:
    """Return the median of predicted/measured among the rows of a campaign's operator."""
    found = np.full(ratio.size, np.nan)
    usable = (stratum != LAUNCH) & ~np.isnan(ratio)
    for rows in row_groups(table, ("gpu", "source", "dtype", "op")).values():
        known = rows[usable[rows]]
        if known.size:
            found[known] = np.median(ratio[known])
    return found


_Figures = Callable[["pd.Series[float]", Evidence, int], str]

_FIGURES: Final[Mapping[str, _Figures]] = {
    "cache residency": lambda row, found, i: (
        f"{found.speed_ratio[i]:.1f} times the memory's speed; operands fill"
        f" {found.cache_ratio[i]:.2g} of the last-level cache"
    ),
    "launch floor": lambda row, found, i: (
        f"{row['latency_us']:.3g} us, the smallest of this clock are {found.floor_us[i]:.3g} us"
    ),
    "scatter": lambda row, found, i: f"repeats of the row scatter by {found.scatter[i]:.0%}",
    "gemv": lambda row, found, i: f"{row['m']:.0f}x{row['n']:.0f} results",
    "few blocks": lambda row, found, i: f"{found.waves[i]:.2g} of a wave of blocks",
    "small k": lambda row, found, i: f"k = {row['k']:.0f}",
    "odd alignment": lambda row, found, i: f"n = {row['n']:.0f}, k = {row['k']:.0f}",
    "wave quantisation": lambda row, found, i: (
        f"{found.waves[i]:.2f} waves of blocks take {np.ceil(found.waves[i]):.0f}"
    ),
    "kernel of the campaign": lambda row, found, i: (
        f"the median of these rows is {found.usual[i]:.2f} of the measured time"
    ),
    "power cap": lambda row, found, i: (
        f"the largest rows of this campaign take {found.largest[i]:.2f} times the predicted time"
    ),
}
