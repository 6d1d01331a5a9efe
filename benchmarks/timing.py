"""Repeated timing of one call: median and spread, for every benchmark alike."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

__all__ = ["Timing", "alone", "measure", "report"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall-clock seconds of one call over some repeats."""

    median_s: float
    min_s: float
    max_s: float
    repeats: int

    def rate(self, count: int) -> dict[str, float]:
        """Events per second, of a call that handles `count`: median, slowest and fastest."""
        return {
            "median": count / self.median_s,
            "min": count / self.max_s,
            "max": count / self.min_s,
        }


def measure(function: Callable[[], object], repeats: int = 9, *, warmups: int = 1) -> Timing:
    """Time a call; the first, `warmups`, which may compile and fill caches, do not count."""
    for _ in range(warmups):
        function()
    seconds = []
    for _ in range(repeats):
        began = perf_counter()
        function()
        seconds.append(perf_counter() - began)
    return Timing(median(seconds), min(seconds), max(seconds), repeats)


def report(timings: Mapping[str, Timing], json_file: str | Path | None = None) -> None:
    """Print a line per timing, in milliseconds, and write all to a JSON file if one is named."""
    width = max(map(len, timings), default=0)
    for name, timing in timings.items():
        print(
            f"{name:{width}}  {1e3 * timing.median_s:9.3f} ms"
            f"  ({1e3 * timing.min_s:.3f} to {1e3 * timing.max_s:.3f}, {timing.repeats} repeats)"
        )
    if json_file is not None:
        figures = {name: asdict(timing) for name, timing in timings.items()}
        Path(json_file).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def alone(run: Callable[[int], Mapping[str, Timing]], about: str | None, repeats: int = 9) -> None:
    """Run one benchmark from the command line: ``--repeats N``, ``--json FILE``."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--json", help="also write the timings to this file")
    options = parser.parse_args()
    report(run(options.repeats), options.json)
