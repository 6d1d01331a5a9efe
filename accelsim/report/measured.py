"""Writes the validation report of a table of measured operators: page, figures, rows, summary.

Everything but the date in the page's first line is the same whenever the rows and models are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from accelsim.measure.compare.baselines import BASELINES
from accelsim.report._measured_figures import error_figure, parity_figure
from accelsim.report._measured_page import report_page

if TYPE_CHECKING:
    import pandas as pd

    from accelsim.measure.compare.comparison import Comparison

__all__ = ["errors_table", "write_measured", "write_report"]

_KEPT: Final = (
    "source", "gpu", "dtype", "op", "subop", "impl", "timing", "flag", "notes", "m", "n", "k",
    "b", "rows", "cols", "batch", "heads", "kv_heads", "head_dim", "q_len", "kv_len", "n_decode",
    "kv_decode", "c_in", "c_out", "kh", "kw", "hidden", "inter", "experts", "topk", "tp", "ep",
    "bytes", "n_devices", "latency_us",
)  # fmt: skip
_PREDICTED: Final = (
    "class", "stratum", "fitted", "predicted_us", "kernel_us", "added_us", "error",
    *(f"{name}_us" for name in BASELINES), "cause", "choice", "not_modelled",
)  # fmt: skip


def write_measured(
    found: Comparison, summary: Mapping[str, Any], folder: Path, command: str
) -> list[Path]:
    """Write ``report.md``, ``summary.json``, figures and a table of all rows with predictions.

    Parameters
    ----------
    found : Comparison
        All rows.
    summary : mapping
        Of `found`.
    folder : Path
        Where to; made if need be.
    command : str
        What makes the report again.

    Returns
    -------
    list of Path
        The files: the page first; the rows as Parquet where pyarrow is installed, else as gzipped
        CSV. A figure that would be empty is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = [
        parity_figure(found, folder / "parity.png"),
        parity_figure(found, folder / "ratio.png", ratio=True),
        error_figure(summary["table"], folder / "errors.png"),
    ]

    def page(names: Sequence[str]) -> str:
        return report_page(summary, command, names)

    return write_report(page, summary, figures, errors_table(found), folder)


def write_report(
    page: Callable[[Sequence[str]], str], summary: Mapping[str, Any],
    figures: Sequence[Path | None], rows: pd.DataFrame, folder: Path,
) -> list[Path]:  # fmt: skip
    """Write ``report.md``, ``summary.json`` and all rows beside figures that are drawn already.

    Parameters
    ----------
    page : callable
        From the figures' names to Markdown.
    summary : mapping
        What becomes the JSON file.
    figures : sequence of Path or None
        The figures; None for one that would be empty.
    rows : pandas.DataFrame
        All rows.
    folder : Path
        Where to.
    """
    drawn = [figure for figure in figures if figure is not None]
    text, data = folder / "report.md", folder / "summary.json"
    text.write_text(page([figure.name for figure in drawn]), encoding="utf-8")
    plain = json.dumps(_without_nan(summary), indent=1, ensure_ascii=False)
    data.write_text(plain + "\n", encoding="utf-8")
    return [text, data, *drawn, _write_rows(rows, folder)]


def errors_table(found: Comparison) -> pd.DataFrame:
    """Return every row with its prediction, the baselines', and what became of it; times in us."""
    columns: dict[str, Any] = {
        name: found.table[name] for name in _KEPT if not _blank(found.table[name])
    }
    values: tuple[Any, ...] = (
        found.kind, found.stratum, found.fitted, found.predicted, found.kernel, found.added,
        found.predicted / found.measured - 1, *(found.baselines[name] for name in BASELINES),
        found.cause, found.choice, found.reason,
    )  # fmt: skip
    import pandas as pd

    for name, value in zip(_PREDICTED, values, strict=True):
        text = value.dtype == object
        columns[name] = pd.Categorical(value.astype(str)) if text else value
    return pd.DataFrame(columns)


def _blank(column: pd.Series[Any]) -> bool:
    missing = column.isna() if column.dtype == np.float64 else column == ""
    return bool(missing.all())


def _write_rows(table: pd.DataFrame, folder: Path) -> Path:
    """Write ``errors.parquet``, or ``errors.csv.gz`` without pyarrow; return the file."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        file = folder / "errors.csv.gz"
        # The time in a gzip header would make equal tables different files.
        packed = {"method": "gzip", "mtime": 0}
        table.to_csv(file, index=False, compression=packed, lineterminator="\n")
        return file
    file = folder / "errors.parquet"
    table.to_parquet(file, index=False)
    return file


def _without_nan(value: Any) -> Any:
    """Return data in which NaN is None, as JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
