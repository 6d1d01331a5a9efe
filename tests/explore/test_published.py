"""Published figures from rows: pairs, summaries, largest batches, and what has no answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from accelsim.explore.papers import Figure, load_paper
from accelsim.explore.published import Answer, answer, reproduce

# (arch, batch, seq_len, throughput); the slow one does not hold 4, neither of them 8.
POINTS = [
    ("slow", 1, 128, 10.0), ("slow", 2, 128, 16.0), ("slow", 4, 128, None),
    ("fast", 1, 128, 15.0), ("fast", 2, 128, 48.0), ("fast", 4, 128, 60.0), ("fast", 8, 128, None),
    ("slow", 1, 256, 4.0), ("slow", 2, 256, 5.0), ("slow", 4, 256, None),
    ("fast", 1, 256, 1.0), ("fast", 2, 256, 10.0), ("fast", 4, 256, 20.0), ("fast", 8, 256, None),
]  # fmt: skip


@pytest.fixture
def rows() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "sweep": "made", "model": "m", "arch": arch, "mapping": "p", "phase": "decode",
                "batch": batch, "seq_len": seq_len,
                "status": "infeasible" if value is None else "done",
                "throughput_tokens_per_s": value, "energy_j": value,
                "error": "too small" if value is None else "",
            }
            for arch, batch, seq_len, value in POINTS
        ]
    )  # fmt: skip


def figure(**changes: Any) -> Figure:
    fields = {
        "name": "faster", "published": 2.0, "source": "Fig. 1", "tier": "shape", "why": "none",
        "metric": "throughput_tokens_per_s", "of": {"arch": "fast"}, "over": {"arch": "slow"},
        **changes,
    }  # fmt: skip
    return Figure.model_validate(fields)


def value(found: Answer) -> float:
    assert found.ours is not None, found.reason
    assert found.ours[0] == found.ours[1]
    return found.ours[0]


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("mean", (1.5 + 3 + 0.25 + 2) / 4),
        ("geomean", (1.5 * 3 * 0.25 * 2) ** 0.25),
        ("max", 3.0),
        ("min", 0.25),
        ("ratio_of_means", (15 + 48 + 1 + 10) / (10 + 16 + 4 + 5)),
        ("crossing", 2.0),
    ],
)
def test_pairs_are_summarised(rows: pd.DataFrame, summary: str, expected: float) -> None:
    """Rows of equal axes are compared; points that one side does not have are left out."""
    found = answer(figure(summary=summary), rows)
    assert value(found) == pytest.approx(expected)
    assert found.points == 4


def test_a_range_has_both_ends(rows: pd.DataFrame) -> None:
    """Compared by the geometric middles."""
    found = answer(figure(summary="range", published=[1.0, 6.0]), rows)
    assert found.ours == (0.25, 3.0)
    assert found.ratio == pytest.approx((0.25 * 3.0 / 6.0) ** 0.5)


def test_the_largest_batch_is_that_which_fits(rows: pd.DataFrame) -> None:
    """Each side at its own, length by length: 60 over 16, and 20 over 5."""
    sides = {
        "of": {"arch": "fast", "batch": "largest"},
        "over": {"arch": "slow", "batch": "largest"},
    }
    assert value(answer(figure(**sides), rows)) == pytest.approx((60 / 16 + 20 / 5) / 2)


def test_a_largest_batch_must_have_been_found(rows: pd.DataFrame) -> None:
    """If the largest that was tried fits, it need not be the largest."""
    sides = {
        "of": {"arch": "fast", "batch": "largest"},
        "over": {"arch": "slow", "batch": "largest"},
    }
    found = answer(figure(**sides), rows[rows["batch"] < 8])
    assert found.ours is None
    assert "no larger one was tried" in found.reason


def test_a_saving_is_one_minus_the_ratio(rows: pd.DataFrame) -> None:
    """As energies are published."""
    found = answer(
        figure(saving=True, of={"arch": "slow"}, over={"arch": "fast"}, summary="max"), rows
    )
    assert value(found) == pytest.approx(1 - 16 / 48)


def test_a_value_needs_nothing_to_compare_with(rows: pd.DataFrame) -> None:
    """The mean of the rows that are meant."""
    found = answer(figure(over=None, of={"arch": "fast", "seq_len": 256}), rows)
    assert value(found) == pytest.approx((1 + 10 + 20) / 3)


def test_several_selections_are_taken_together(rows: pd.DataFrame) -> None:
    """One policy for small batches, another for large ones."""
    parts = [{"arch": "fast", "batch": 2}, {"arch": "slow", "batch": 1}]
    assert value(answer(figure(of=parts, over=None), rows)) == pytest.approx(
        (48 + 10 + 10 + 4) / 4
    )


def test_a_design_may_have_a_policy_of_its_own(rows: pd.DataFrame) -> None:
    """Two architectures that no policy serves both are compared all the same."""
    own = rows.assign(mapping=rows["arch"].map({"fast": "of-banks", "slow": "of-arrays"}))
    assert answer(figure(), own).points == 4


def test_what_failed_says_why(rows: pd.DataFrame) -> None:
    """The most frequent text of the rows that are meant."""
    found = answer(figure(of={"arch": "fast", "batch": 8}), rows)
    assert found.ours is None
    assert found.reason == "too small"
    assert found.ratio is None


def test_ambiguous_pairs_are_refused(rows: pd.DataFrame) -> None:
    """Two rows to compare with, and nothing that tells them apart."""
    found = answer(figure(), pd.concat([rows, rows[rows["arch"] == "slow"]], ignore_index=True))
    assert found.ours is None
    assert "several rows of `over`" in found.reason


def test_a_metric_that_no_row_has_is_no_answer(rows: pd.DataFrame) -> None:
    """For example a resource that the architecture lacks."""
    assert "no row has busy.banks" in answer(figure(metric="busy.banks"), rows).reason


@pytest.mark.parametrize(("summary", "expected"), [("slope", -5.0), ("intercept", 20.0)])
def test_a_line_is_laid_through_rows(rows: pd.DataFrame, summary: str, expected: float) -> None:
    """Batches 1, 2 and 4 at 15, 10 and 0 tokens per second lie on one line."""
    exact = rows.copy()
    exact["throughput_tokens_per_s"] = 20.0 - 5.0 * exact["batch"]
    line = figure(summary=summary, over=None, along="batch", of={"arch": "fast", "seq_len": 128})
    found = answer(line, exact[exact["status"] == "done"])
    assert value(found) == pytest.approx(expected)
    assert found.points == 3


def test_a_line_needs_one_row_for_each_value(rows: pd.DataFrame) -> None:
    """Rows of two lengths at one batch are no line along batches."""
    found = answer(figure(summary="slope", over=None, along="batch"), rows)
    assert found.ours is None
    assert "6 rows have 3 values of batch" in found.reason


def test_a_line_is_of_rows_and_not_of_pairs() -> None:
    """`over` beside it is refused."""
    with pytest.raises(ValidationError, match="without `over`"):
        figure(summary="intercept", along="batch")


def test_published_constants_follow_from_timings(tmp_path: Path) -> None:
    """LLMServingSim's slopes come within 15 % out of the timings of four memories."""
    done = reproduce(load_paper("llmservingsim"), tmp_path, jobs=1, quiet=True)
    slopes = [found.ratio for found in done.answers if found.figure.summary == "slope"]
    assert len(slopes) == 4
    assert all(slope is not None and abs(slope - 1) < 0.15 for slope in slopes)
    assert done.counts == {"done": 128}
