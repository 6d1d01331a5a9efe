"""Files of public data sets: found by the layout of a checkout, read with the line of each row.

Whatever is wrong in one is named by file, line and column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from accelsim.errors import ConfigError, Location, MissingExtraError, nearest

__all__ = ["integers", "matches", "numbers", "read_csv", "read_parquet", "refuse"]

_LFS: Final = b"version https://git-lfs"


def matches(
    folder: Path, patterns: Iterable[str], what: str, layout: str
) -> list[tuple[Path, re.Match[str]]]:
    """Return the files of a checkout whose path ends in one of some patterns, sorted by path.

    Parameters
    ----------
    folder : Path
        The checkout or a folder inside it.
    patterns : iterable of str
        Regular expressions of the path with ``/``; a file is listed once, by the first that fits.
    what, layout : str
        The data set and where its files lie, for the error.

    Raises
    ------
    ConfigError
        If the folder does not exist or holds no such file.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder", hint=f"a checkout of {what}")
    tests = [re.compile(rf"(?:^|/){pattern}$") for pattern in patterns]
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        tried = (test.search(path.absolute().as_posix()) for test in tests)
        match = next((m for m in tried if m), None)
        if match:
            found.append((path, match))
    if not found:
        raise ConfigError(
            f"{folder} is no checkout of {what}: it has none of the files read", hint=layout
        )
    return found


def read_csv(
    path: Path, needed: Sequence[str], *, optional: Sequence[str] = (), header: bool = True
) -> pd.DataFrame:
    """Return the wanted columns of a CSV file, indexed by line number.

    Parameters
    ----------
    path : Path
        The file.
    needed, optional : sequence of str
        Columns that must be there, and that may be.
    header : bool, optional
        Without a header, `needed` names the columns in order.

    Raises
    ------
    ConfigError
        If the file is empty, not a table, or misses a column.
    """
    _refuse_pointer(path)
    problem = "rows differ in their number of cells, or it is no text"
    try:
        frame = pd.read_csv(
            path, header=0 if header else None, skip_blank_lines=False, skipinitialspace=True,
            encoding="utf-8-sig", low_memory=False,
        )  # fmt: skip
    except pd.errors.EmptyDataError:
        raise ConfigError("the file is empty", Location(str(path))) from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        line = re.search(r"line (\d+)", str(error))
        where = Location(str(path), int(line[1]) if line else 0)
        raise ConfigError(problem, where, hint=str(error).strip()) from None
    if not isinstance(frame.index, pd.RangeIndex):  # pandas took the first cells for an index
        raise ConfigError(problem, Location(str(path), 2), hint="as many cells as headings")
    if header:
        frame.columns = frame.columns.str.strip()
    elif frame.shape[1] != len(needed):
        raise ConfigError(f"{frame.shape[1]} columns", Location(str(path), 1),
                          hint=f"{len(needed)} columns: {', '.join(needed)}")  # fmt: skip
    else:
        frame.columns = pd.Index(needed)
    _require(frame, path, needed)
    frame.index = frame.index + (2 if header else 1)
    chosen = [*needed, *(name for name in optional if name in frame)]
    return frame.dropna(how="all")[chosen]


def read_parquet(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """Return the wanted columns of a Parquet file, indexed by row number from 1.

    Raises
    ------
    ConfigError
        If a needed column is missing or the file is a Git LFS pointer.
    MissingExtraError
        Without pyarrow.
    """
    _refuse_pointer(path)
    try:
        frame = pd.read_parquet(path)
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet", "reading a Parquet file") from None
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        raise ConfigError("no Parquet file", Location(str(path)), hint=str(error)) from None
    _require(frame, path, needed)
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame[[*needed, *(name for name in optional if name in frame)]]


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise ConfigError(
                "a Git LFS pointer, not the data", Location(str(path)), hint="run `git lfs pull`"
            )


def _require(frame: pd.DataFrame, path: Path, needed: Sequence[str]) -> None:
    for name in needed:
        if name not in frame:
            found = nearest(name, map(str, frame.columns))
            raise ConfigError(
                f"no column `{name}`", Location(str(path), 1), path=name,
                hint=f"this importer needs {', '.join(needed)}. {found}",
            )  # fmt: skip


def numbers(
    frame: pd.DataFrame, path: Path, column: str, *, missing: bool = False
) -> pd.Series[float]:
    """Return a column as numbers.

    Parameters
    ----------
    frame : DataFrame
        What `read_csv` or `read_parquet` returned.
    path : Path
        Its file, for errors.
    column : str
        Which column.
    missing : bool, optional
        Whether empty cells are allowed.

    Raises
    ------
    ConfigError
        If a cell is no finite number; names file, line and column.
    """
    values = pd.to_numeric(frame[column], errors="coerce").astype(np.float64)
    bad = ~np.isfinite(values.to_numpy())
    if missing:
        bad &= frame[column].notna().to_numpy()
    refuse(bad, frame, path, column, "a number")
    return values


def integers(frame: pd.DataFrame, path: Path, column: str) -> pd.Series[int]:
    """Return a column as whole numbers of at least 0; raises `ConfigError` as `numbers` does."""
    values = numbers(frame, path, column)
    bad = ((values < 0) | (values % 1 != 0)).to_numpy()
    refuse(bad, frame, path, column, "a whole number of at least 0")
    return values.astype(np.int64)


def refuse(
    bad: NDArray[np.bool_], frame: pd.DataFrame, path: Path, column: str, wanted: str
) -> None:
    """Raise `ConfigError` for the first bad row of a column, if there is one.

    Parameters
    ----------
    bad : ndarray of bool
        Rows that cannot be used.
    frame : DataFrame
        What `read_csv` or `read_parquet` returned.
    path : Path
        Its file.
    column : str
        Which column is at fault.
    wanted : str
        What would be right.
    """
    if not bad.any():
        return
    place = int(np.argmax(bad))
    cell, row = frame[column].iloc[place], int(frame.index[place])
    found = "an empty cell" if pd.isna(cell) else f"`{cell}`"
    binary = path.suffix == ".parquet"
    where = Location(str(path)) if binary else Location(str(path), row)
    found += f" in row {row}" if binary else ""
    raise ConfigError(f"found {found}", where, path=column, hint=wanted)
