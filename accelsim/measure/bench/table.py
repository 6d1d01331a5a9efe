"""The measured table as an append-only CSV: columns, identity of a row, resuming after a kill.

Each case's rows are written in one go and forced to disk; a line that a kill tore is dropped when
the file is opened again, so a rerun takes exactly what is missing.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from accelsim.errors import ConfigError, Location, StoreError
from accelsim.measure.bench.case import EXTRA_DIMS, TABLE_DIMS, Case

try:
    import fcntl
except ImportError:  # not on Windows: two writers at once are then not noticed
    fcntl = None  # type: ignore[assignment]

__all__ = ["COLUMNS", "FINAL", "MEASURED_COLUMNS", "OWN_COLUMNS", "Key", "Table", "key_of"]

MEASURED_COLUMNS: Final = (
    "source", "gpu", "dtype", "op", "subop", "impl", *TABLE_DIMS,
    "latency_us", "lat_min_us", "lat_std_us", "n_merged", "spread", "stat", "timing",
    "flops", "bytes_min", "tflops", "gbps", "frac_flops", "frac_bw", "flag", "notes",
)  # fmt: skip
"""Columns of the measured tables, in their order."""

OWN_COLUMNS: Final = (
    *EXTRA_DIMS, "l2", "status", "reason", "max_rel_error", "repeats", "calls", "copies",
    "kernels", "sm_mhz", "mem_mhz", "power_w", "library", "session", "wall_s",
)  # fmt: skip
"""Columns that only this back-end writes; docs/measuring.md says what they hold."""

COLUMNS: Final = (*MEASURED_COLUMNS, *OWN_COLUMNS)

FINAL: Final = frozenset({"ok", "wrong", "skip", "error"})
"""Values of ``status``; all of them count as done unless a retry is asked for."""

Key = tuple[str, ...]

_IDENTITY: Final = (
    "gpu", "library", "op", "subop", "dtype", "impl", "timing", "l2", *TABLE_DIMS, *EXTRA_DIMS,
)  # fmt: skip


def key_of(row: Mapping[str, str]) -> Key:
    """Return what makes a row the same measurement: device, library, case, clock and L2 state.

    Examples
    --------
    >>> key_of({"gpu": "T4", "op": "gemm", "m": "4"}) == key_of({"gpu": "T4", "op": "gemm"})
    False
    """
    return tuple(row.get(name, "") for name in _IDENTITY)


def case_row(of: Case) -> dict[str, str]:
    """Return the columns that a case fills by itself."""
    row = {name: str(value) for name, value in of.dims}
    return row | {
        "op": of.op, "subop": of.subop, "dtype": of.dtype, "impl": of.impl, "notes": of.notes,
    }  # fmt: skip


class Table:
    """An open table file that rows are appended to.

    Parameters
    ----------
    path : Path
        File; made with its folder and header where absent.
    retry : sequence of str
        Statuses that do not count as done, for example ``error``.

    Raises
    ------
    StoreError
        If another process writes it, or its columns are others.
    ConfigError
        If it cannot be opened.
    """

    def __init__(self, path: Path, retry: Sequence[str] = ()) -> None:
        self.path = path
        self.dropped_bytes = 0
        """Size of the torn end that was dropped on opening."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise ConfigError(f"cannot be opened: {error.strerror}", Location(str(path))) from None
        try:
            self._lock()
            self._repair()
            self.rows = list(self._read())
        except BaseException:
            self._file.close()
            raise
        done = FINAL - set(retry)
        self._done = {key_of(row) for row in self.rows if row["status"] in done}

    def __enter__(self) -> Table:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._file.close()

    def __contains__(self, key: Key) -> bool:
        return key in self._done

    def append(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Write rows behind the others and wait until the disk has them."""
        rows = list(rows)
        self._write(_line([row.get(name, "") for name in COLUMNS]) for row in rows)
        self.rows.extend(dict(row) for row in rows)
        self._done.update(map(key_of, rows))

    def _write(self, lines: Iterable[str]) -> None:
        self._file.write("".join(lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{self.path}: another measurement is writing this table") from None
        except OSError:  # a file system without locks
            return

    def _repair(self) -> None:
        """Drop what a kill left of a line; write the header of an empty file."""
        self._file.seek(0)
        data = self._file.read()
        header, ended, _ = data.partition(b"\n")
        if ended and header.decode("utf-8", "replace") + "\n" != _line(COLUMNS):
            raise StoreError(
                f"{self.path}: its columns are not those of this version; write to another file"
            )
        whole = data.rfind(b"\n") + 1
        while whole:  # a complete line may still be short: a lost page of the disk reads as zeros
            start = data.rfind(b"\n", 0, whole - 1) + 1
            if start == 0 or _complete(data[start:whole]):
                break
            whole = start
        self.dropped_bytes = len(data) - whole
        if self.dropped_bytes:
            self._file.truncate(whole)
        if not whole:
            self._write([_line(COLUMNS)])

    def _read(self) -> Iterator[dict[str, str]]:
        self._file.seek(0)
        lines = csv.reader(io.StringIO(self._file.read().decode("utf-8", "replace"), newline=""))
        next(lines)
        for line in lines:
            yield dict(zip(COLUMNS, line, strict=True))


def _complete(line: bytes) -> bool:
    cells = next(csv.reader([line.decode("utf-8", "replace")]), [])
    return len(cells) == len(COLUMNS) and "\0" not in cells


def _line(cells: Sequence[str]) -> str:
    """Return one line; texts lose their line breaks, so that a line is a row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([" ".join(str(c).split()) for c in cells])
    return text.getvalue()
