"""A refactor must reproduce what was there: every shipped design, to nine digits."""

from __future__ import annotations

import json

import pytest

from tests.golden.replay import RECORD, answer, points

RECORDED = json.loads(RECORD.read_text())


def test_the_record_covers_the_library() -> None:
    """A new design must be recorded: python -m tests.golden.replay."""
    assert {"/".join(point) for point in points()} == set(RECORDED)


@pytest.mark.parametrize("point", points(), ids="/".join)
def test_the_answer_is_the_recorded_one(point: tuple[str, str, str, str]) -> None:
    """If the change is meant: python -m tests.golden.replay, and say so in the change log."""
    recorded = RECORDED.get("/".join(point))
    if isinstance(recorded, str):
        assert answer(point) == recorded
    else:
        assert answer(point) == pytest.approx(recorded, rel=1e-9)
