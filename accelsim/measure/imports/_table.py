"""The columns that all measured tables share, and the steps every importer ends with.

Repeated measurements are merged, and those faster than the hardware allows flagged or dropped, in
one place for all formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from accelsim.measure.imports._derived import above_peak, with_rates

__all__ = ["COLUMNS", "E2E_COLUMNS", "Imported", "combine", "end_to_end", "part"]

_TEXT: Final = ("source", "gpu", "dtype", "op", "subop", "impl")
_DIMS: Final = (
    "m", "n", "k", "b", "rows", "cols", "batch", "heads", "kv_heads", "head_dim", "q_len",
    "kv_len", "n_decode", "kv_decode", "causal", "c_in", "c_out", "kh", "kw", "h_in", "w_in",
    "stride_h", "stride_w", "pad_h", "pad_w", "hidden", "inter", "experts", "topk",
    "active_experts", "tp", "ep", "bytes", "n_devices",
)  # fmt: skip

COLUMNS: Final[Mapping[str, str]] = {
    **dict.fromkeys(_TEXT, "category"),
    **{name: "Int64" if name == "bytes" else "Int32" for name in _DIMS},
    **dict.fromkeys(("latency_us", "lat_min_us", "lat_std_us"), "float32"),
    "n_merged": "Int32", "spread": "float32", "stat": "category", "timing": "category",
    "flops": "float64", "bytes_min": "float64",
    **dict.fromkeys(("tflops", "gbps", "frac_flops", "frac_bw"), "float32"),
    "flag": "category", "notes": "category",
}  # fmt: skip
"""Columns of a table of measured operators, in order, with their pandas types."""

E2E_COLUMNS: Final[Mapping[str, str]] = {
    "source": "str", "gpu": "str", "n_devices": "int64", "model": "str", "phase": "str",
    "batch": "float64", "seq_in": "float64", "seq_out": "float64", "dtype": "str", "impl": "str",
    "metric": "str", "value": "float64", "n_merged": "int64", "spread": "float64", "notes": "str",
}  # fmt: skip
"""Columns of a table of end-to-end measurements; the unit of a value ends its metric's name."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an importer found.

    Attributes
    ----------
    table : DataFrame
        Operators, in `COLUMNS`.
    end_to_end : DataFrame
        Whole models and layers, in `E2E_COLUMNS`; often empty.
    files : int
        Files read.
    dropped : mapping of str to int
        Why rows were left out -> how many.
    """

    table: pd.DataFrame
    end_to_end: pd.DataFrame
    files: int
    dropped: Mapping[str, int]


def part(index: pd.Index[Any], **columns: Any) -> pd.DataFrame:
    """Return rows of the common table, scalars repeated; columns not given are missing.

    Raises
    ------
    KeyError
        If a column is none of `COLUMNS`.
    """
    unknown = set(columns) - set(COLUMNS)
    if unknown:
        raise KeyError(f"no such columns: {', '.join(sorted(unknown))}")
    return pd.DataFrame({"subop": "", "n_devices": 1, "notes": "", **columns}, index=index)


def combine(
    parts: Sequence[pd.DataFrame], *, source: str, files: int,
    dropped: Mapping[str, int] | None = None, e2e: pd.DataFrame | None = None,
) -> Imported:  # fmt: skip
    """Return the common table of parts: merged, with rates, flags and types.

    Parameters
    ----------
    parts : sequence of DataFrame
        What `part` returned; the first of several equal rows gives notes and kind of clock.
    source : str
        Name of the data set.
    files : int
        Files read.
    dropped : mapping of str to int, optional
        Rows left out so far.
    e2e : DataFrame, optional
        What `end_to_end` returned.

    Notes
    -----
    Rows equal in all of source to impl and all dimensions become one of their median latency;
    ``spread`` is (max - min) / median. ``lat_min_us`` is the least of them, ``lat_std_us`` the
    median. Rows with a latency of 0 or less, and rows above a peak of the board by more than the
    flags allow, are left out and counted.
    """
    counts = {reason: n for reason, n in (dropped or {}).items() if n}
    filled = [p for p in parts if len(p)]
    table = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame({"latency_us": []})
    positive = table["latency_us"].to_numpy(np.float64) > 0
    counts |= {"latency not above 0": int((~positive).sum())} if not positive.all() else {}
    table = _merge(_typed(table[positive].assign(source=source)))
    table = with_rates(table)
    flag, impossible = above_peak(table)
    if impossible.any():
        counts["faster than the board's peak"] = int(impossible.sum())
    table = _typed(table.assign(flag=flag)[~impossible])
    empty = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in E2E_COLUMNS.items()})
    return Imported(table, empty if e2e is None else e2e, files, counts)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with all columns, in order and in their types."""
    columns = {}
    for name, kind in COLUMNS.items():
        values = table[name] if name in table else pd.Series(np.nan, index=table.index)
        if kind == "category" and name not in table:
            values = pd.Series("", index=table.index)
        columns[name] = values.astype(kind)  # type: ignore[call-overload]
    return pd.DataFrame(columns).reset_index(drop=True)


def _merge(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each key, in the order of first appearance."""
    merged = []
    for _, rows in table.groupby("op", observed=True, sort=False):
        # Only the dimensions an operator has: grouping by 40 columns takes seconds.
        keys = [*_TEXT, *(name for name in _DIMS if rows[name].notna().any())]
        number = rows.groupby(keys, observed=True, sort=False, dropna=False).ngroup().to_numpy()
        first = rows[~pd.Series(number, index=rows.index).duplicated()]
        groups = rows[["latency_us", "lat_min_us", "lat_std_us"]].astype(np.float64)
        by = groups.groupby(number, sort=True)
        latency, count = by["latency_us"], by.size().to_numpy()
        middle = latency.median().to_numpy()
        spread = (latency.max() - latency.min()).to_numpy() / middle
        merged.append(
            first.assign(
                latency_us=middle,
                lat_min_us=by["lat_min_us"].min().to_numpy(),
                lat_std_us=by["lat_std_us"].median().to_numpy(),
                n_merged=count,
                spread=np.where(count > 1, spread, np.nan),
            )
        )
    return pd.concat(merged).sort_index() if merged else table


def end_to_end(rows: Sequence[Mapping[str, Any]], source: str) -> pd.DataFrame:
    """Return end-to-end rows in `E2E_COLUMNS`, equal ones merged to their median.

    Parameters
    ----------
    rows : sequence of mapping
        Each with all columns but source, n_merged and spread.
    source : str
        Name of the data set.
    """
    own = [name for name in E2E_COLUMNS if name not in ("source", "n_merged", "spread")]
    frame = pd.DataFrame(list(rows), columns=pd.Index(own)).assign(source=source)
    keys = ["source", *(name for name in own if name not in ("value", "notes"))]
    by = frame.groupby(keys, sort=False, dropna=False)
    value, count = by["value"], by.size().to_numpy()
    merged = pd.DataFrame({"value": value.median(), "notes": by["notes"].first()})
    spread = (value.max() - value.min()).to_numpy() / merged["value"].to_numpy()
    merged = merged.assign(n_merged=count, spread=np.where(count > 1, spread, np.nan))
    found = merged.reset_index()[list(E2E_COLUMNS)]
    return found.astype({name: kind for name, kind in E2E_COLUMNS.items() if kind != "str"})
