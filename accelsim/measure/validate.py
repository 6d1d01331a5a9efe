"""Compares the models with a file of reference cases: finds the format, predicts every row.

A format is one file of `accelsim/measure/cases`; the columns of a CSV decide which it is.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from accelsim import registry
from accelsim.errors import AccelsimError, ConfigError, Location
from accelsim.measure.cases._case import Case

__all__ = ["Validation", "read_rows", "validate_file"]

_GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Validation:
    """The cases of one file.

    Attributes
    ----------
    format : str
        Name of the format in words.
    lines : int
        Rows of the file; one may hold several cases.
    cases : tuple of Case
        At least one per row.
    conventions : str
        What the figures count, where the format leaves a choice.
    """

    format: str
    lines: int
    cases: tuple[Case, ...]
    conventions: str = ""


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and rows of a CSV file, plain or gzipped; ``#`` begins a comment line.

    Raises
    ------
    ConfigError
        If the file is missing, is no CSV, or a row has another number of fields than the head.
    """
    place = Location(str(path))
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data.startswith(_GZIP) else data).decode("utf-8-sig")
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ConfigError(f"not a CSV file, plain or gzipped: {error}", place) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", place) from None
    return _parse(text, path)


def _parse(text: str, path: Path) -> tuple[list[str], list[dict[str, str]]]:
    numbered = [
        (number, line)
        for number, line in enumerate(io.StringIO(text, newline=""), 1)
        if line.strip() and not line.startswith("#")
    ]
    reader = csv.reader((line for _, line in numbered), strict=True)
    columns: list[str] = []
    rows: list[dict[str, str]] = []
    try:
        for fields in reader:
            line = numbered[reader.line_num - 1][0]
            if not columns:
                columns = _head(fields, Location(str(path), line))
            elif len(fields) == len(columns):
                rows.append(dict(zip(columns, fields, strict=True)))
            else:
                raise ConfigError(
                    f"{len(fields)} fields, the head has {len(columns)}", Location(str(path), line)
                )
    except csv.Error as error:
        line = numbered[max(reader.line_num, 1) - 1][0]
        raise ConfigError(f"not valid CSV: {error}", Location(str(path), line)) from None
    if not rows:
        raise ConfigError("has no rows", Location(str(path)))
    return columns, rows


def _head(fields: list[str], place: Location) -> list[str]:
    columns = [field.strip() for field in fields]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ConfigError(f"column `{twice[0]}` stands twice", place)
    return columns


def _adapter(columns: Sequence[str], path: Path) -> ModuleType:
    """Return the format whose columns the file has; of several the one that asks for most."""
    known = [registry.module("cases", name) for name in registry.names("cases")]
    fitting = [adapter for adapter in known if set(columns) >= adapter.COLUMNS]
    if fitting:
        return max(fitting, key=lambda adapter: len(adapter.COLUMNS))
    formats = "; ".join(f"{a.NAME} ({', '.join(sorted(a.COLUMNS))})" for a in known)
    raise ConfigError(
        f"columns of no known format: {', '.join(columns)}", Location(str(path)),
        hint=f"formats and the columns that tell them: {formats}",
    )  # fmt: skip


def _companions(adapter: ModuleType, path: Path) -> list[list[dict[str, str]]]:
    """Return the rows of the file that a format keeps beside its own, where there is one."""
    beside = getattr(adapter, "companion", None)
    if beside is None or not beside(path).is_file():
        return []
    return [read_rows(beside(path))[1]]


def validate_file(path: str | Path) -> Validation:
    """Return every case of a file beside accelsim's prediction.

    Parameters
    ----------
    path : str or Path
        CSV or gzipped CSV.

    Raises
    ------
    ConfigError
        If the file cannot be read, its columns are of no known format, or a value is malformed.
    """
    path = Path(path)
    columns, rows = read_rows(path)
    adapter = _adapter(columns, path)
    try:
        cases = tuple(adapter.predict(rows, *_companions(adapter, path)))
    except AccelsimError:
        raise
    except (ValueError, KeyError) as error:
        raise ConfigError(
            f"a value is not what {adapter.NAME} says it is: {error}", Location(str(path))
        ) from error
    return Validation(adapter.NAME, len(rows), cases, getattr(adapter, "CONVENTIONS", ""))
