"""Phases: what a pass processes, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelsim.errors import ConfigError
from accelsim.workload import Phase, SequenceGroup, decode, mixed, prefill


def test_decode_attends_to_the_past_and_itself() -> None:
    """A decode step has one new token per sequence, which sees past_len + 1 tokens."""
    phase = decode(16, 1023)
    assert (phase.tokens, phase.batch, phase.longest) == (16, 16, 1024)


def test_prefill_counts_new_tokens() -> None:
    """A prefill of a later chunk processes the new tokens only."""
    phase = prefill(2, 512, 100)
    assert (phase.tokens, phase.batch, phase.longest) == (1024, 2, 612)


@pytest.mark.parametrize(
    ("phase", "text"),
    [
        (prefill(1, 512), "prefill 1x512"),
        (decode(16, 1023), "decode 16x1 past 1023"),
        (mixed([SequenceGroup(1, 8), SequenceGroup(4, 1, 9)]), "mixed 1x8, 4x1 past 9"),
    ],
)
def test_a_phase_reads_as_text(phase: Phase, text: str) -> None:
    """Its text says kind and groups, and begins with the kind."""
    assert str(phase) == text


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: prefill(0, 8), "batch"),
        (lambda: prefill(1, 0), "seq_len"),
        (lambda: prefill(1, 8, -1), "past_len"),
        (lambda: decode(-2, 8), "batch"),
        (lambda: decode(1, -1), "past_len"),
        (lambda: decode(1.5, 8), "batch"),  # type: ignore[arg-type]
        (lambda: mixed([]), "groups"),
        (lambda: SequenceGroup(0, 1), "count"),
        (lambda: SequenceGroup(1, 0), "q_len"),
        (lambda: Phase("decode", (SequenceGroup(1, 2),)), "q_len"),
        (lambda: Phase("train", (SequenceGroup(1, 2),)), "kind"),  # type: ignore[arg-type]
    ],
)
def test_an_impossible_phase_is_refused_by_field(make: Callable[[], object], field: str) -> None:
    """The error names the argument that is wrong."""
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.path == field


def test_equal_phases_are_one_cache_key() -> None:
    """Phases compare and hash by value."""
    assert {decode(1, 7), decode(1, 7), decode(1, 8)} == {decode(1, 7), decode(1, 8)}
