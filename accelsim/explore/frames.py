"""Gives a sweep's rows as a data frame, and writes it as CSV and Parquet.

The rows are those of the sweep's points under the files and code of now, in the order of its
space; rows that a store holds from earlier files or versions stay out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.explore.axes import MAIN_AXES
from accelsim.explore.metrics import METRICS
from accelsim.explore.store import Row, Store

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["export", "to_frame"]


def to_frame(store: Store, keys: Iterable[str] | None = None) -> pd.DataFrame:
    """Return rows as a frame: axes, changed parameters, status, metrics, further results, error.

    Parameters
    ----------
    store : Store
        The results.
    keys : iterable of str, optional
        Which rows, in which order, for example ``accelsim.explore.runner.keys(spec)``; all of
        them, ordered by their axes, unless given.

    Returns
    -------
    pandas.DataFrame
        One row for each point; NaN where a point has no such value.
    """
    import pandas as pd

    columns: dict[str, list[Any]] = {name: [] for name in (*MAIN_AXES, "status", *METRICS)}
    loose: tuple[dict[str, list[Any]], dict[str, list[Any]]] = ({}, {})
    fixed: dict[str, list[Any]] = {"error": [], "wall_s": [], "key": []}
    count = 0
    for row in store.rows(keys):
        _append(columns, fixed, row)
        for table, text in zip(loose, (row.overrides, row.extras), strict=True):
            for name, value in json.loads(text).items():
                column = table.setdefault(name, [])
                column += [None] * (count - len(column)) + [value]
        count += 1
    overrides, extras = ({k: _filled(t[k], count) for k in sorted(t)} for t in loose)
    axes = {name: columns.pop(name) for name in MAIN_AXES}
    return pd.DataFrame({**axes, **overrides, **columns, **extras, **fixed})


def _append(columns: dict[str, list[Any]], fixed: dict[str, list[Any]], row: Row) -> None:
    for name in (*MAIN_AXES, "status"):
        columns[name].append(getattr(row, name))
    for name, value in zip(METRICS, row.metrics, strict=True):
        columns[name].append(float("nan") if value is None else value)
    for name in ("error", "wall_s", "key"):
        fixed[name].append(getattr(row, name))


def _filled(values: list[Any], count: int) -> Any:
    """Return a column of full length; whole numbers stay whole where some are missing."""
    import pandas as pd

    whole = {type(value) for value in values} <= {int, type(None)}
    filled = values + [None] * (count - len(values))
    return pd.array(filled, dtype="Int64") if whole and None in filled else filled


def export(frame: pd.DataFrame, folder: Path) -> tuple[list[Path], str]:
    """Write ``results.csv``, and ``results.parquet`` where pyarrow is installed.

    What changes from run to run (`wall_s`) is left out: equal results give equal files.

    Returns
    -------
    (list of Path, str)
        The files, and a remark if Parquet was left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stable = frame.drop(columns="wall_s")
    files = [folder / "results.csv"]
    stable.to_csv(files[0], index=False, lineterminator="\n")
    if find_spec("pyarrow") is None:
        return files, "no results.parquet: pip install 'accelsim[parquet]'"
    files.append(folder / "results.parquet")
    _one_type_each(stable).to_parquet(files[1], index=False)
    return files, ""


def _one_type_each(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with columns of mixed types as text, which Parquet needs."""
    frame = frame.copy()
    for name in frame:
        values = frame[name]
        if len({type(value) for value in values.dropna()}) > 1:
            frame[name] = values.map(str, na_action="ignore")
    return frame
