"""Reads a table of measured operators, CSV or Parquet, and says where and how it is malformed.

Text columns come back as categories, numbers as float64 with NaN where a cell is empty.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import ConfigError, Location, MissingExtraError, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DIMENSIONS", "NUMBERS", "REQUIRED", "TEXTS", "read_measured", "row_groups"]

REQUIRED: Final = ("source", "gpu", "dtype", "op", "timing", "latency_us")
"""Columns that every table has; no cell of them is empty."""

TEXTS: Final = (
    "source", "gpu", "dtype", "op", "subop", "impl", "stat", "timing", "flag", "notes",
)  # fmt: skip
"""Columns of text."""

NUMBERS: Final = (
    "m", "n", "k", "b", "rows", "cols", "batch", "heads", "kv_heads", "head_dim", "q_len",
    "kv_len", "n_decode", "kv_decode", "causal", "c_in", "c_out", "kh", "kw", "h_in", "w_in",
    "stride_h", "stride_w", "pad_h", "pad_w", "hidden", "inter", "experts", "topk",
    "active_experts", "tp", "ep", "bytes", "n_devices", "latency_us", "lat_std_us", "spread",
    "flops", "bytes_min",
)  # fmt: skip
"""Columns of numbers that are used; a table need not have those of operators it lacks."""

_ATTENTION: Final = ("batch", "heads", "kv_heads", "head_dim", "q_len", "kv_len")
_VECTOR: Final = ("rows", "cols")

DIMENSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "gemm": ("m", "n", "k"),
    "bmm": ("b", "m", "n", "k"),
    "conv": ("batch", "c_in", "c_out", "kh", "kw", "h_in", "w_in"),
    "attention_prefill": _ATTENTION,
    "attention_decode": _ATTENTION,
    "attention_mixed": (*_ATTENTION, "n_decode", "kv_decode"),
    "moe": ("rows", "hidden", "inter", "experts", "topk"),
    "softmax": _VECTOR,
    "layernorm": _VECTOR,
    "rmsnorm": _VECTOR,
    "gelu": _VECTOR,
    "elementwise": _VECTOR,
    "silu_mul": _VECTOR,
    "embedding": _VECTOR,
    "allreduce": ("bytes", "n_devices"),
    "allgather": ("bytes", "n_devices"),
    "reducescatter": ("bytes", "n_devices"),
    "alltoall": ("bytes", "n_devices"),
    "send_recv": ("bytes", "n_devices"),
}
"""Operator -> columns that a table with such rows must have."""


STATUS: Final = "status"
"""Column of our own tables: ``ok``, or why a row has no time."""
_MEASURED: Final = ("ok", "")


def read_measured(path: str | Path) -> pd.DataFrame:
    """Read a table of measured operators.

    Parameters
    ----------
    path : str or Path
        CSV, gzipped CSV or Parquet; what it is shows in its first bytes. Lines that begin a CSV
        with ``#`` are comments.

    Returns
    -------
    pandas.DataFrame
        Rows that were measured (of a table with a ``status``, those that are ``ok``): all of
        `TEXTS` (categories, "" where missing) and `NUMBERS` (float64), in the table's order
        of rows, numbered from 0; other columns are left out.

    Raises
    ------
    ConfigError
        If the file cannot be read, a column is missing, a cell is no number, a required cell is
        empty or a latency is not positive.
    MissingExtraError
        For Parquet without pyarrow.
    """
    path = Path(path)
    place = Location(str(path))
    table = _raw(path, place)
    _check_columns([str(column) for column in table], place)
    if table.empty:
        raise ConfigError("has no rows", place)
    if STATUS in table:
        table = table[table[STATUS].isin(_MEASURED)].reset_index(drop=True)
        if table.empty:
            raise ConfigError("has no row that was measured: see its statuses", place, STATUS)
    whole = _typed(table, place)
    _check_cells(whole, place)
    return whole


def row_groups(
    table: pd.DataFrame, keys: Sequence[str]
) -> dict[tuple[str, ...], NDArray[np.int64]]:
    """Return the positions of the rows of each combination of texts that occurs, in order of it.

    Parameters
    ----------
    table : pandas.DataFrame
        As `read_measured` gives it.
    keys : sequence of str
        Names of text columns.
    """
    found = table.groupby(list(keys), observed=True, sort=True).indices
    named = {key if isinstance(key, tuple) else (key,): rows for key, rows in found.items()}
    return {
        tuple(map(str, key)): np.asarray(rows, dtype=np.int64)
        for key, rows in sorted(named.items())
    }


def _raw(path: Path, place: Location) -> pd.DataFrame:
    try:
        with path.open("rb") as file:
            start = file.read(4)
        return _parquet(path) if start == b"PAR1" else _csv(path, zipped=start[:2] == b"\x1f\x8b")
    except MissingExtraError:
        raise
    except OSError as error:  # a broken gzip stream is one, without an error number
        raise ConfigError(f"cannot be read: {error.strerror or error}", place) from None
    except (ValueError, EOFError, zlib.error) as error:  # pandas' parser errors are ValueErrors
        raise ConfigError(f"is no CSV, gzipped CSV or Parquet: {error}", place) from None


def _parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet", "reading a Parquet file") from None
    file = parquet.ParquetFile(path)
    columns = [
        name
        for name in file.schema_arrow.names
        if name in TEXTS or name in NUMBERS or name == STATUS
    ]
    frame: pd.DataFrame = file.read(columns).to_pandas()
    return frame


def _csv(path: Path, *, zipped: bool) -> pd.DataFrame:
    import pandas as pd

    comments = 0
    with gzip.open(path, "rb") if zipped else path.open("rb") as file:
        while (line := file.readline().decode("utf-8-sig")).startswith("#"):
            comments += 1
    if not line.strip():
        raise ValueError("it has no head")
    head = [name.strip() for name in line.rstrip("\r\n").split(",")]
    twice = sorted({name for name in head if head.count(name) > 1})
    if twice:
        raise ValueError(f"column `{twice[0]}` stands twice")
    known = [name for name in head if name in TEXTS or name in NUMBERS or name == STATUS]
    return pd.read_csv(
        path, compression="gzip" if zipped else None, encoding="utf-8-sig", names=head,
        skiprows=comments + 1, usecols=known, low_memory=False,
        dtype={name: "category" for name in known if name in TEXTS},
    )  # fmt: skip


def _check_columns(columns: Sequence[str], place: Location) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise ConfigError(
            f"has no column {', '.join(f'`{name}`' for name in missing)}", place,
            hint=f"a table of measured operators has {', '.join(REQUIRED)}, and the sizes of each"
            f" operator. {nearest(missing[0], columns)}",
        )  # fmt: skip


def _typed(table: pd.DataFrame, place: Location) -> pd.DataFrame:
    import pandas as pd

    made: dict[str, pd.Series[Any]] = {}
    for name in TEXTS:
        if name not in table:
            made[name] = pd.Series("", index=table.index, dtype="category")
            continue
        text = table[name].astype("category")
        text = text.cat.rename_categories([str(value) for value in text.cat.categories])
        if "" not in text.cat.categories:
            text = text.cat.add_categories([""])
        made[name] = text.fillna("")
    for name in NUMBERS:
        if name in table:
            made[name] = _number(table[name], name, place)
        else:
            made[name] = pd.Series(np.nan, index=table.index)
    whole = pd.DataFrame(made).reset_index(drop=True)
    for op in table["op"].unique():
        absent = [name for name in DIMENSIONS.get(str(op), ()) if name not in table]
        if absent:
            raise ConfigError(
                f"has rows of {op} but no column `{absent[0]}`", place,
                hint=f"{op} is sized by {', '.join(DIMENSIONS[str(op)])}",
            )  # fmt: skip
    return whole


def _number(column: pd.Series[float], name: str, place: Location) -> pd.Series[float]:
    import pandas as pd

    found = pd.to_numeric(column, errors="coerce")
    wrong = np.flatnonzero((found.isna() & column.notna()).to_numpy())
    if wrong.size:
        value = column.iloc[int(wrong[0])]
        raise ConfigError(f"row {int(wrong[0]) + 1}: `{value}` is not a number", place, name)
    return pd.Series(found.to_numpy(np.float64, na_value=np.nan), index=column.index)


def _check_cells(table: pd.DataFrame, place: Location) -> None:
    for name in REQUIRED[:-1]:
        empty = np.flatnonzero((table[name] == "").to_numpy())
        if empty.size:
            raise ConfigError(f"row {int(empty[0]) + 1} is empty", place, name)
    latency = table["latency_us"].to_numpy()
    wrong = np.flatnonzero(~((latency > 0) & np.isfinite(latency)))
    if wrong.size:
        row = int(wrong[0])
        raise ConfigError(
            f"row {row + 1}: {latency[row]:g} is not a time greater than zero", place, "latency_us"
        )
