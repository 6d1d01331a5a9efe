"""Samples are taken until they agree or the time is up."""

from __future__ import annotations

import random

import pytest

from accelsim.measure.bench.timing import Limits, repeat, summarise
from tests.measure.bench.fake import Clock


def test_statistics() -> None:
    """Median, least and standard deviation of the samples."""
    found = summarise([4.0, 1.0, 2.0, 3.0], calls=5)
    assert (found.median_us, found.min_us, found.repeats, found.calls) == (2.5, 1.0, 4, 5)
    assert found.std_us == pytest.approx(1.29099, rel=1e-5)
    assert summarise([7.0]).std_us == 0.0


def test_steady_samples_stop_at_the_least() -> None:
    """Nothing is learned from repeating what does not vary."""
    assert len(repeat(lambda: 3.0, Limits(least=7, most=50))) == 7


def test_noise_is_averaged_until_precise() -> None:
    """A spread of 5 % and a precision of 0.5 % need about (1.25 x 5 / 0.5)^2 = 156 samples."""
    noise = random.Random(1)
    limits = Limits(least=7, most=10_000, seconds=1e9, precision=0.005)
    taken = len(repeat(lambda: noise.gauss(100.0, 5.0), limits))
    assert 60 < taken < 300


def test_one_interruption_does_not_prolong() -> None:
    """The middle half of the samples decides; a single outlier is not in it."""
    values = iter([10.0, 10.0, 900.0, *[10.0] * 100])
    assert len(repeat(lambda: next(values), Limits(least=8))) == 8


def _slow(clock: Clock, seconds: float) -> float:
    clock.at_s += seconds
    return clock.at_s  # never twice the same


@pytest.mark.parametrize(("each_s", "expected"), [(0.01, 50), (0.2, 7), (10.0, 3)])
def test_time_ends_it(each_s: float, expected: int) -> None:
    """Half a second of samples; at least 7, but 3 will do where they take very long."""
    clock = Clock()
    taken = repeat(lambda: _slow(clock, each_s), Limits(precision=0.0), now=clock)
    assert len(taken) == pytest.approx(expected, abs=1)


def test_most_ends_it() -> None:
    """No more than asked, however noisy."""
    values = iter(range(1, 1000))
    limits = Limits(most=20, seconds=1e9, precision=0.0)
    assert len(repeat(lambda: float(next(values)), limits)) == 20
