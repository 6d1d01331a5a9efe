"""Repeated layers: bodies and counts stand for exactly the list they came from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.workload.repeat import repeats


@given(st.text("abc", max_size=24))
def test_written_out_it_is_the_list_again(kinds: str) -> None:
    """Bodies times counts, joined, give the list back."""
    assert "".join("".join(body) * count for body, count in repeats(kinds)) == kinds


@pytest.mark.parametrize(
    ("kinds", "found"),
    [
        ("aaaa", [("a", 4)]),
        ("abab", [("ab", 2)]),
        ("dddmmmm", [("d", 3), ("m", 4)]),  # DeepSeek-V3: dense layers, then experts
        ("mmmmammmmmmmammm", [("mmmmammm", 2)]),  # Jamba: one attention layer in eight
        ("aab", [("a", 2), ("b", 1)]),
        ("abcd", [("a", 1), ("b", 1), ("c", 1), ("d", 1)]),  # nothing repeats
    ],
)
def test_known_stacks(kinds: str, found: list[tuple[str, int]]) -> None:
    """The stacks of known models become the bodies one would write by hand."""
    assert [("".join(body), count) for body, count in repeats(kinds)] == found


def test_a_deep_stack_is_one_layer() -> None:
    """126 equal layers, as in Llama 3.1 405B."""
    assert repeats("a" * 126) == ((("a",), 126),)
