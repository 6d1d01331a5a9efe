"""Measured matrix products: how they are read, split for a fit, and predictions of them scored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import ConfigError, MissingExtraError

__all__ = ["BYTES", "TRAIN_MODELS", "Products", "Score", "read_products", "score", "split_rows"]

TRAIN_MODELS: Final = (
    "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-70b-hf", "microsoft/phi-2",
    "meta-llama/Meta-Llama-3-8B",
)  # fmt: skip
"""Models whose layers are fitted where a campaign names its models; the rest tests."""

BYTES: Final = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0}
"""Bytes per element of the formats that campaigns measured unquantised."""


@dataclass(frozen=True, slots=True)
class Products:
    """Measured products C[m,n] = A[m,k] B[k,n] of one number format, an entry per row.

    Attributes
    ----------
    m, n, k : ndarray of int64
        Rows, outputs, reduction.
    latency_s : ndarray of float64
        Measured times.
    origin : ndarray of str
        Model that a row's shape comes from; empty where the campaign names none.
    dtype : str
        Number format.
    """

    m: NDArray[np.int64]
    n: NDArray[np.int64]
    k: NDArray[np.int64]
    latency_s: NDArray[np.float64]
    origin: NDArray[np.str_]
    dtype: str

    def where(self, mask: NDArray[Any]) -> Products:
        """Return the rows that a mask or index array selects."""
        arrays = {f: getattr(self, f)[mask] for f in ("m", "n", "k", "latency_s", "origin")}
        return replace(self, **arrays)

    def matrices(self) -> list[tuple[int, int]]:
        """Return the weight matrix (n, k) of every row."""
        return list(zip(self.n.tolist(), self.k.tolist(), strict=True))


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


def split_rows(rows: Products) -> tuple[NDArray[np.bool_], str]:
    """Return which rows are fitted, and a sentence that says how they were chosen.

    Rows of one weight matrix differ in m only, so a random split would test on neighbours of
    fitted rows: whole models are kept back, or, where none are named, whole weight matrices.
    """
    fitted = np.array([name.split(";")[0] in TRAIN_MODELS for name in rows.origin])
    if fitted.any() and not fitted.all():
        names = ", ".join(TRAIN_MODELS)
        return fitted, f"by model: train {names}; test the other models"
    kept = set(sorted(set(rows.matrices()))[2::3])
    fitted = np.array([matrix not in kept for matrix in rows.matrices()])
    return fitted, "by weight matrix (n, k), sorted: every third is test"


def read_products(path: Path, gpu: str, source: str, dtype: str) -> Products:
    """Read the matrix products of one campaign from a table of measured operators.

    Parameters
    ----------
    path : Path
        Parquet file with columns source, gpu, dtype, op, m, n, k, latency_us, flag, notes.
    gpu, source, dtype : str
        Which rows; those above the memory's own speed (flag ``cache_resident``) are left out.

    Raises
    ------
    ConfigError
        If no row matches.
    """
    import pandas as pd

    wanted = {"gpu": gpu, "source": source, "dtype": dtype, "op": "gemm"}
    columns = ["m", "n", "k", "latency_us", "flag", "notes"]
    try:
        filters = [(name, "==", value) for name, value in wanted.items()]
        table = pd.read_parquet(path, columns=columns, filters=filters)
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet", "reading a Parquet file") from None
    table = table[table["flag"].astype(str) != "cache_resident"]
    if table.empty:
        raise ConfigError(f"{path} has no rows with {wanted}")
    m, n, k = (table[c].to_numpy(np.int64) for c in ("m", "n", "k"))
    seconds = table["latency_us"].to_numpy(np.float64) * 1e-6
    return Products(m, n, k, seconds, table["notes"].astype(str).to_numpy(np.str_), dtype)
