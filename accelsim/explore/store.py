"""Keeps the rows of a sweep in one SQLite file that survives a kill at any moment.

A row is named by its point's key and written once (``INSERT OR IGNORE``), so that resuming,
merging and two processes at work on one file are all the same operation.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

from accelsim.errors import StoreError
from accelsim.explore._sqlite import connect, explain
from accelsim.explore.metrics import METRICS

__all__ = ["SCHEMA_VERSION", "Row", "Status", "Store", "merge"]

SCHEMA_VERSION: Final = 1
"""Stands in ``PRAGMA user_version``; to be raised with every change of `SCHEMA`."""

Status = Literal["done", "failed", "infeasible", "excluded"]

_AXES: Final = "model, arch, mapping, phase, batch, seq_len, overrides"
_COLUMNS: Final = (
    f"key, status, {_AXES}, {', '.join(METRICS)}, extras, error, wall_s, code, created"
)
# Breakdowns are 2.5 kB each (0.65 compressed): beside the points they would slow every scan.
SCHEMA: Final = f"""
CREATE TABLE points (
    key TEXT PRIMARY KEY NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('done', 'failed', 'infeasible', 'excluded')),
    model TEXT NOT NULL, arch TEXT NOT NULL, mapping TEXT NOT NULL, phase TEXT NOT NULL,
    batch INTEGER NOT NULL, seq_len INTEGER NOT NULL, overrides TEXT NOT NULL,
    {", ".join(f"{name} REAL" for name in METRICS)},
    extras TEXT NOT NULL, error TEXT NOT NULL, wall_s REAL NOT NULL,
    code TEXT NOT NULL, created TEXT NOT NULL
);
CREATE TABLE breakdowns (key TEXT PRIMARY KEY NOT NULL, breakdown BLOB NOT NULL) WITHOUT ROWID;
"""

_BATCH: Final = 500  # keys per SELECT; SQLite takes at least 999 parameters


class Row(NamedTuple):  # a tuple: millions of them cross process borders and go to SQLite as such
    """One point's outcome.

    Parameters
    ----------
    key : str
        The point's identity.
    status : Status
        What became of it.
    model, arch, mapping, phase, batch, seq_len
        Its axes.
    overrides, extras : str
        JSON: changed parameters, and what the result reports beyond `METRICS`.
    metrics : tuple of float or None
        Values of `METRICS`, in their order; None where the point has no result.
    error : str
        Why the point has no result; empty if it has one.
    wall_s : float
        Time that the evaluation took.
    code : str
        Version of the code that evaluated it.
    created : str
        UTC, ISO 8601.
    breakdown : bytes
        JSON of ``Result.breakdown()``, compressed by zlib; empty if there is none.
    """

    key: str
    status: Status
    model: str
    arch: str
    mapping: str
    phase: str
    batch: int
    seq_len: int
    overrides: str
    metrics: tuple[float | None, ...]
    extras: str
    error: str
    wall_s: float
    code: str
    created: str
    breakdown: bytes = b""


class Store:
    """A results file, made when it is not there.

    Parameters
    ----------
    path : Path
        The file; its folder is made too.
    read_only : bool
        Open what is there, and never write.

    Raises
    ------
    StoreError
        If the file is of another schema, is no results store, or cannot be opened; nothing is
        changed then.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self._connection, self.journal = connect(
            self.path, SCHEMA, SCHEMA_VERSION, read_only=read_only
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def __len__(self) -> int:
        return int(self._select("SELECT count(*) FROM points")[0][0])

    def close(self) -> None:
        """Close the file; the last to close it folds the write-ahead log into it."""
        self._connection.close()

    def insert(self, rows: Sequence[Row]) -> int:
        """Write rows in one transaction; return how many had no row before.

        Raises
        ------
        StoreError
            If the disk is full or fails; none of these rows is written, earlier ones stay.
        """
        marks = ", ".join("?" * (_COLUMNS.count(",") + 1))
        with self._transaction():
            written = self._connection.executemany(
                f"INSERT OR IGNORE INTO points ({_COLUMNS}) VALUES ({marks})",
                ((*r[:9], *r.metrics, *r[10:15]) for r in rows),
            ).rowcount
            self._connection.executemany(
                "INSERT OR IGNORE INTO breakdowns VALUES (?, ?)",
                ((row.key, row.breakdown) for row in rows if row.breakdown),
            )
        return written

    def forget(self, keys: Sequence[str]) -> None:
        """Delete the rows of these keys."""
        with self._transaction():
            for table in ("points", "breakdowns"):
                self._connection.executemany(
                    f"DELETE FROM {table} WHERE key = ?",
                    ((key,) for key in keys),
                )

    def known(self, keys: Iterable[str]) -> dict[str, tuple[Status, str]]:
        """Return key -> (status, error) of those keys that have a row."""
        found: dict[str, tuple[Status, str]] = {}
        for rows in self._by_key("points", "key, status, error", keys):
            found.update((key, (status, error)) for key, status, error in rows)
        return found

    def rows(self, keys: Iterable[str] | None = None) -> Iterator[Row]:
        """Yield rows without breakdowns: those of `keys` in that order, or all, by their axes."""
        if keys is None:
            query = f"SELECT {_COLUMNS} FROM points ORDER BY {_AXES}, code, key"
            with self._explained():
                for values in self._connection.execute(query):
                    yield _row(values)
            return
        remaining = iter(keys)
        while batch := list(islice(remaining, _BATCH)):
            parts = self._by_key("points", _COLUMNS, batch)
            found = {values[0]: _row(values) for part in parts for values in part}
            yield from (found[key] for key in batch if key in found)

    def breakdown(self, key: str) -> Any:
        """Return what ``Result.breakdown()`` gave for a point, None if it has no result."""
        found = self.breakdowns([key])
        return json.loads(zlib.decompress(found[key])) if found else None

    def breakdowns(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return key -> breakdown as a `Row` holds it, of those keys that have one."""
        found = self._by_key("breakdowns", "key, breakdown", keys)
        return dict(pair for pairs in found for pair in pairs)

    def _by_key(self, table: str, columns: str, keys: Iterable[str]) -> Iterator[list[Any]]:
        remaining = iter(keys)
        while batch := list(islice(remaining, _BATCH)):
            marks = ", ".join("?" * len(batch))
            query = f"SELECT {columns} FROM {table} WHERE key IN ({marks})"
            yield self._select(query, batch)

    def _select(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._explained():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(explain(self.path, error)) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:  # a full disk and Ctrl-C alike must leave no half transaction
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _row(values: Sequence[Any]) -> Row:
    n = len(METRICS)
    return Row._make([*values[:9], tuple(values[9 : 9 + n]), *values[9 + n :], b""])


def merge(target: Store, sources: Iterable[Store]) -> int:
    """Copy into `target` the rows that it does not have; return how many.

    A failed row of the target gives way to one that did not fail.
    """
    copied = 0
    for source in sources:
        rows = source.rows()
        while batch := list(islice(rows, _BATCH)):
            known = target.known(row.key for row in batch)
            repaired = [
                row.key
                for row in batch
                if row.status != "failed" and known.get(row.key, ("",))[0] == "failed"
            ]
            target.forget(repaired)
            parts = source.breakdowns(row.key for row in batch)
            copied += target.insert([r._replace(breakdown=parts.get(r.key, b"")) for r in batch])
    return copied
