"""Quantities with units: parsing, refusal of what does not fit, and formatting that reads back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.quantity import DIMENSIONS, format_quantity, parse, parse_any, unit_of_field


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("1.6 TB/s", "bytes_per_s", 1.6e12),
        ("32 MiB", "bytes", 32 * 2**20),
        ("32 MB", "bytes", 32e6),
        ("940 MHz", "hz", 940e6),
        ("8 Gb", "bytes", 1e9),
        ("8 GB", "bytes", 8e9),
        ("400 Gb/s", "bytes_per_s", 5e10),
        ("3.9 us", "s", 3.9e-6),
        ("0.769ns", "s", 0.769e-9),
        ("3.9 pJ/bit", "pj_per_bit", 3.9),
        ("28.7 pJ/B", "pj_per_bit", 28.7 / 8),
        ("12 nJ", "pj", 12_000.0),
        ("826 mm2", "mm2", 826.0),
        ("369 um2", "mm2", 369e-6),
        ("7 nm", "nm", 7.0),
        ("312 TFLOP/s", "flops", 312e12),
        ("5 pj_per_bit", "pj_per_bit", None),
        ("1e9", "hz", 1e9),
        ("1_000 MHz", "hz", 1e9),
    ],
)
def test_text_becomes_the_stored_unit(text: str, dimension: str, value: float | None) -> None:
    """Prefixes are decimal unless binary; b is a bit, B a byte."""
    if value is None:
        with pytest.raises(ValueError, match="does not fit"):
            parse(text, dimension)
    else:
        assert parse(text, dimension) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "dimension", "says"),
    [
        ("940 MiB", "hz", "measures bytes"),
        ("5 GHz", "bytes_per_s", "measures hz"),
        ("2 Mihz", "hz", "does not fit"),
        ("fast", "hz", "not a number"),
        ("1.2.3 GHz", "hz", "does not fit"),
    ],
)
def test_a_wrong_unit_is_refused_and_named(text: str, dimension: str, says: str) -> None:
    """The message says what the unit measures, and which are legal."""
    with pytest.raises(ValueError, match=says):
        parse(text, dimension)


@given(
    st.floats(min_value=1e-15, max_value=1e18, allow_nan=False),
    st.sampled_from(DIMENSIONS),
)
def test_formatting_reads_back(value: float, dimension: str) -> None:
    """parse(format(x)) is x to the printed precision."""
    assert parse(format_quantity(value, dimension), dimension) == pytest.approx(value, rel=1e-9)


def test_text_without_a_unit_is_no_quantity() -> None:
    """Names and bare numbers are left alone when quantities are sought in an expression."""
    assert parse_any("llama3-8b") is None
    assert parse_any("12") is None


def test_a_fields_name_carries_its_unit() -> None:
    """The longest suffix wins: bytes_per_s is no time."""
    assert unit_of_field("bandwidth_bytes_per_s") == "bytes_per_s"
    assert unit_of_field("latency_s") == "s"
    assert unit_of_field("rows") is None
