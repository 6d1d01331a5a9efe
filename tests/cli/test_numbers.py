"""Numbers for people: a prefix, three digits, and never 1000 of a unit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.cli._numbers import percent, si
from accelsim.quantity import parse


@given(st.floats(1e-14, 9e17))
def test_si_reads_back_to_three_digits(value: float) -> None:
    """What is written is the value, within half a unit of its third digit."""
    assert parse(si(value, "B"), "bytes") == pytest.approx(value, rel=5.01e-3)


@given(st.floats(1e-14, 9e20))
def test_si_has_one_to_three_digits_before_the_point(value: float) -> None:
    """The mantissa lies from 1 to below 1000."""
    assert 1 <= float(si(value, "s").split()[0]) < 1000


def test_si_of_what_is_no_number() -> None:
    """Infinite and missing values are words, not prefixes."""
    assert (si(math.inf, "B"), si(math.nan, "B")) == ("infinite", "-")


@pytest.mark.parametrize(("share", "text"), [(0.99949, "99.9 %"), (0.9996, "100 %"), (0, "0 %")])
def test_percent(share: float, text: str) -> None:
    """Only what rounds to all of it is 100 %."""
    assert percent(share) == text
