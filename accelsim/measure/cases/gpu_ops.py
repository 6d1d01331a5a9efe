"""Measured GPU operator latencies, one operator per row, against the GPU kernel model.

Rows name their board, campaign and clock; `accelsim.measure.predict` predicts them, and one that
it does not cover is counted with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from accelsim.measure.cases._case import Case

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "NAME", "predict"]

NAME: Final = "GPU operator latencies"
"""What the format is called in reports."""

COLUMNS: Final = frozenset(
    {
        "source", "gpu", "dtype", "op", "m", "n", "k", "rows", "batch", "heads", "q_len",
        "kv_len", "latency_us", "timing", "bytes_min", "flag",
    }
)  # fmt: skip
"""Columns that identify the format."""

_TEXTS: Final = ("source", "gpu", "dtype", "op", "subop", "impl", "timing", "flag", "notes")
_CACHED: Final = "operands stay in the last-level cache between repeats"


def predict(rows: Sequence[dict[str, str]]) -> list[Case]:
    """Return one case per row: latency in us, kernel and what its clock adds.

    Parameters
    ----------
    rows : sequence of dict
        Column -> text, at least `COLUMNS`.
    """
    from accelsim.measure.predict import predict as predicted

    table = _table(rows)
    found = predicted(table)
    latency, added = found.latency_us, found.added_us
    cases = []
    for number, row in enumerate(rows):
        expected, reason = float(row["latency_us"]), str(found.reason[number])
        group = f"{row['op']} {row['dtype']}, {row['gpu']}, {row['source']}"
        if added[number] > expected / 2:
            group += ", mostly launch"
        if row["flag"] == "cache_resident":
            reason = reason or _CACHED
        value = None if reason else float(latency[number])
        label = f"{number}: {row['op']} {_shape(row)}".rstrip()
        cases.append(Case(label, group, "latency_us", expected, value, reason))
    return cases


def _table(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return the rows with sizes as numbers, NaN where a row leaves one empty."""
    import pandas as pd

    table = pd.DataFrame(list(rows))
    for name in _TEXTS:
        table[name] = table[name].fillna("") if name in table else ""
    for name in table.columns.difference(list(_TEXTS)):
        table[name] = pd.to_numeric(table[name].replace("", np.nan), errors="coerce")
    for name in ("flops", "bytes_min"):
        if name not in table:
            table[name] = np.nan
    return table


def _shape(row: Mapping[str, str]) -> str:
    names = ("b", "m", "n", "k", "rows", "cols", "batch", "heads", "q_len", "kv_len")
    return "x".join(row[name] for name in names if row.get(name))
