"""What a clock returns, and how long it goes on: median, least and spread of repeated samples.

Knows no device: the back-end gives a function that takes one sample.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "CLOCKS", "DeviceLost", "Limits", "OutOfMemory", "Timing", "Unsupported", "repeat",
    "summarise",
]  # fmt: skip

CLOCKS: Final = {
    "kernel": "kernel",
    "graph": "cuda_graph",
    "events": "cuda_event_eager",
    "loop": "loop",
    "wall": "wallclock_sync",
}
"""Clock as the command line names it -> the measured tables' word for what it covers."""


class Unsupported(Exception):  # noqa: N818 - an outcome, recorded as a skip
    """The device or library cannot run the case; the text says why."""


class OutOfMemory(Exception):  # noqa: N818 - an outcome, recorded as a skip
    """The case does not fit in memory; the text says how much it wants."""


class DeviceLost(Exception):  # noqa: N818 - an outcome
    """The device answers no more, so that every further case would fail."""


@dataclass(frozen=True)
class Limits:
    """When enough samples are taken.

    Parameters
    ----------
    least, most : int
        Samples.
    seconds : float
        Wall-clock time after which no further sample is taken, `least` samples excepted; three
        samples are enough once it is over five times.
    precision : float
        Stop once the standard error of the median is below this share of it.
    """

    least: int = 7
    most: int = 200
    seconds: float = 0.5
    precision: float = 0.003


@dataclass(frozen=True)
class Timing:
    """Latency of one call.

    Parameters
    ----------
    median_us, min_us, std_us : float
        Over the samples, microseconds.
    repeats : int
        Samples.
    calls : int
        Calls that one sample divides by.
    copies : int
        Sets of operands that the calls go round.
    kernels : str
        Names of the device's kernels where the clock sees them.
    """

    median_us: float
    min_us: float
    std_us: float
    repeats: int
    calls: int = 1
    copies: int = 1
    kernels: str = field(default="")


def summarise(
    samples_us: Sequence[float], calls: int = 1, copies: int = 1, kernels: str = ""
) -> Timing:
    """Return the statistics of samples (microseconds of one call each).

    Examples
    --------
    >>> summarise([3.0, 1.0, 2.0]).median_us
    2.0
    """
    spread = statistics.stdev(samples_us) if len(samples_us) > 1 else 0.0
    return Timing(
        statistics.median(samples_us),
        min(samples_us),
        spread,
        len(samples_us),
        calls,
        copies,
        kernels,
    )


def repeat(
    sample: Callable[[], float], limits: Limits, *, now: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Take samples until they agree or the time is up.

    Parameters
    ----------
    sample : callable
        Returns one latency.
    limits : Limits
        When to stop.
    now : callable
        Clock in seconds.

    Notes
    -----
    The standard error of a median of n samples is about 1.25 sigma / sqrt(n); sigma is taken from
    the middle half (interquartile range / 1.35), so that one interrupted sample does not prolong.

    Examples
    --------
    >>> len(repeat(lambda: 5.0, Limits(least=4)))
    4
    """
    samples: list[float] = []
    end = now() + limits.seconds
    while len(samples) < limits.most:
        samples.append(sample())
        late = now() - end
        if len(samples) < limits.least and (len(samples) < 3 or late < 4 * limits.seconds):
            continue
        if late >= 0 or _error(samples) <= limits.precision:
            break
    return samples


def _error(samples: Sequence[float]) -> float:
    """Return the standard error of the median as a share of it."""
    if len(samples) < 2:
        return math.inf
    low, middle, high = statistics.quantiles(samples, n=4)
    return 1.25 * (high - low) / 1.35 / math.sqrt(len(samples)) / max(middle, 1e-12)
