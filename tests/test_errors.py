"""Sizes in messages, and what an infeasible design says of them."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import InfeasibleError, bytes_text
from accelsim.quantity import parse


@pytest.mark.parametrize(
    ("size_bytes", "decimals", "text"),
    [
        (0, None, "0 B"),
        (0.125, 1, "0.125 B"),
        (1023, 2, "1023 B"),
        (1023.6, 2, "1.00 KiB"),
        (490 * 1024, 1, "490.0 KiB"),
        (490 * 1024, 2, "490.00 KiB"),
        (490 * 1024, None, "490 KiB"),
        (2**20 - 1, 1, "1.0 MiB"),
        (2**20 - 1024, 1, "1023.0 KiB"),
        (9.996 * 1024, None, "10.0 KiB"),
        (99.96 * 1024, None, "100 KiB"),
        (3 * 2**40, None, "3.00 TiB"),
        (5000 * 2**50, 0, "5000 PiB"),
        (-1536, 2, "-1.50 KiB"),
    ],
)
def test_a_size_has_the_digits_asked_for(
    size_bytes: float, decimals: int | None, text: str
) -> None:
    """The prefix is chosen by what is written, so 1024 of one unit is never shown."""
    assert bytes_text(size_bytes, decimals) == text


def test_zeros_at_the_end_may_be_left_out() -> None:
    """Those after the point only."""
    sizes = (100 * 2**10, 96 * 2**20, 2.5 * 2**20, 12)
    found = [bytes_text(size, zeros=False) for size in sizes]
    assert found == ["100 KiB", "96 MiB", "2.5 MiB", "12 B"]
    assert bytes_text(100 * 2**10, 0, zeros=False) == "100 KiB"


def test_what_has_no_end_is_said_to_have_none() -> None:
    """An infinite size does not end in an error of its own."""
    assert bytes_text(math.inf, 2) == "inf PiB"


@given(size_bytes=st.floats(0, 2.0**60), decimals=st.sampled_from([None, 1, 2]))
def test_a_text_is_the_size_to_its_last_digit(size_bytes: float, decimals: int | None) -> None:
    """`accelsim.quantity` reads it back."""
    text = bytes_text(size_bytes, decimals)
    number, _ = text.split()
    unit_bytes = parse(text, "bytes") / float(number) if float(number) else 1.0
    places = len(number.partition(".")[2]) if "e" not in number else 0
    half_step = 0.5 * 10.0**-places if unit_bytes > 1 else 5e-4 * max(size_bytes, 1e-300)
    assert parse(text, "bytes") == pytest.approx(
        size_bytes, abs=half_step * unit_bytes * (1 + 1e-6) + 1e-300, rel=0
    )
    assert re.fullmatch(r"[\d.e-]+ ([KMGTP]i)?B", text)


def test_what_is_short_adds_up() -> None:
    """Needs less has is the shortage, in the same digits."""
    with pytest.raises(InfeasibleError) as caught:
        raise InfeasibleError("memory x", 490 * 1024, 128 * 1024, "bytes", "more helps")
    assert str(caught.value) == (
        "memory x: needs 490.00 KiB, has 128.00 KiB (short by 362.00 KiB); more helps"
    )
    assert "needs 3 rows, has 2 rows" in str(InfeasibleError("bank", 3, 2, "rows"))
