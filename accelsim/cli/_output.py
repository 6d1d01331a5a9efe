"""Where commands write: tables for people, JSON for scripts, files that are whole or not there."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.errors import ConfigError, Location

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Column", "facts", "place", "print_json", "table", "write", "writing"]

WIDTH = 100
"""Columns of output that goes to no terminal."""

Column = tuple[str, str]
"""Head and alignment of a column: ``<``, ``>``, or ``~`` for text that may be wrapped."""


def print_json(data: Any) -> None:
    """Print data as JSON; what JSON cannot say (infinities) becomes null."""
    print(json.dumps(_plain(data), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if hasattr(value, "item"):  # a NumPy scalar
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def write(*parts: RenderableType) -> None:
    """Print texts and tables; coloured on a terminal only, at most as wide as it is."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or WIDTH)
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    # Captured, so that a closed pipe is met by `print`, and not by rich, which ends with status 1.
    with console.capture() as captured:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, str), crop=False)
    print("\n".join(line.rstrip() for line in captured.get().split("\n")), end="")


def table(
    columns: Sequence[Column], sections: Iterable[tuple[str, Iterable[Sequence[str]]]]
) -> RenderableType:
    """Return a table of sections, each with a title (none where empty) and rows of cells."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    parts = [(title, [list(row) for row in rows]) for title, rows in sections]
    widest = [len(head) for head, _ in columns]
    for _, rows in parts:
        for row in rows:
            widest[: len(row)] = map(max, widest, map(len, row))
    headed = any(head for head, _ in columns)
    grid = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=headed)
    for (head, align), width in zip(columns, widest, strict=True):
        wraps = align == "~"
        grid.add_column(
            head,
            justify="right" if align == ">" else "left",
            overflow="fold",
            no_wrap=not wraps,
            min_width=None if wraps else width,  # where room is short, texts give way, not figures
        )
    for title, rows in parts:
        if title:
            grid.add_row(Text(title, style="bold"))
        for row in rows:
            grid.add_row(*(Text(cell) for cell in row))
    return Padding(grid, (0, 0, 1, 0))


def facts(items: Iterable[Sequence[str]]) -> RenderableType:
    """Return names and values, one pair a line."""
    return table([("", "<"), ("", "~")], [("", items)])


def place(path: Path) -> str:
    """Return a file's path, relative to the working folder where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write `path` into an error that says why, and leave no partial file.

    Raises
    ------
    ConfigError
        If the folder is read-only, the disk full, or the like.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        with suppress(OSError):
            path.with_name(path.name + ".partial").unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise ConfigError(f"cannot be written: {reason}", Location(str(path))) from error
