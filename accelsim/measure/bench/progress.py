"""A line that says how far a suite is: rewritten on a terminal, else every ten seconds anew.

Written without any library, because the machine that measures may have none.
"""

from __future__ import annotations

import sys
import time
from typing import Final, TextIO

__all__ = ["Progress"]

_QUIET_S: Final = 10.0


class Progress:
    """Progress of a number of cases on standard error.

    Parameters
    ----------
    total : int
        Cases that the run has before it.
    stream : TextIO, optional
        Standard error unless given.
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total, self._stream = total, stream or sys.stderr
        self._live = self._stream.isatty()
        self._begun = self._last = time.monotonic()
        self._done = 0

    def step(self, label: str) -> None:
        """Count one case and show its label if it is time."""
        self._done += 1
        now = time.monotonic()
        if not self._live and now - self._last < _QUIET_S:
            return
        self._last = now
        elapsed = now - self._begun
        left = elapsed / self._done * (self._total - self._done)
        text = f"[{self._done}/{self._total}] {elapsed:.0f} s, about {left:.0f} s left: {label}"
        if self._live:
            self._stream.write(f"\r\x1b[K{text[:110]}")
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def close(self) -> None:
        """End the line."""
        if self._live and self._done:
            self._stream.write("\n")
            self._stream.flush()
