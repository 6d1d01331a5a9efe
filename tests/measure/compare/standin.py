"""Small measured tables, and a predictor that stands in for the kernel model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from accelsim.measure.compare.classes import roofline_us
from accelsim.measure.compare.table import read_measured

BASE = {
    "source": "lab",
    "gpu": "A40",
    "dtype": "fp16",
    "timing": "kernel",
    "flag": "",
    "notes": "",
}


def gemm(m: int, n: int, k: int, latency_us: float = 10.0, **other: Any) -> dict[str, Any]:
    """Return a row of a product, with operations and bytes."""
    moved = 2.0 * (m * k + k * n + m * n)
    sizes = {"op": "gemm", "m": m, "n": n, "k": k, "flops": 2.0 * m * n * k, "bytes_min": moved}
    return {**BASE, **sizes, "latency_us": latency_us, **other}


def softmax(rows: int, cols: int, latency_us: float = 10.0, **other: Any) -> dict[str, Any]:
    """Return a row of a softmax."""
    sizes = {"op": "softmax", "rows": rows, "cols": cols}
    work = {"flops": 5.0 * rows * cols, "bytes_min": 4.0 * rows * cols}
    return {**BASE, **sizes, **work, "latency_us": latency_us, **other}


def table(rows: list[dict[str, Any]], folder: Path) -> pd.DataFrame:
    """Return rows as the reader of measured tables gives them."""
    file = folder / "rows.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    return read_measured(file)


@dataclass(frozen=True)
class Prediction:
    """What a predictor gives."""

    kernel_us: NDArray[np.float64]
    added_us: NDArray[np.float64]
    reason: NDArray[Any]


def predict(
    rows: pd.DataFrame, calibrations: Mapping[Any, Any] | None = None, architecture: object = None
) -> Prediction:
    """Return three quarters of the datasheet's speed, and 3 us that the clock adds."""
    kernel = np.maximum(*roofline_us(rows)) / 0.75
    reason = np.where(np.isnan(kernel), "no datasheet figure", "").astype(object)
    return Prediction(kernel, np.full(len(rows), 3.0), reason)
