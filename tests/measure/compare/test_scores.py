"""Scores by hand, and Kendall's correlation against SciPy's."""

from __future__ import annotations

import math
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.measure.compare.scores import kendall, score


def test_every_figure_by_hand() -> None:
    """Errors 0, 10, 20, 50 and 100 % of five rows; a sixth has no prediction."""
    measured = np.array([10.0, 20.0, 30.0, 40.0, 50.0, 60.0])
    predicted = np.array([10.0, 22.0, 24.0, 60.0, 100.0, np.nan])
    found = score(predicted, measured)
    assert found.rows == 5
    assert found.mape == pytest.approx(0.36)
    assert found.median == pytest.approx(0.2)
    assert found.p90 == pytest.approx(0.8)  # 0.6 of the way from 0.5 to 1.0
    assert found.bias == pytest.approx((1 * 1.1 * 0.8 * 1.5 * 2) ** 0.2 - 1)
    assert found.within_20 == pytest.approx(0.6)
    assert found.kendall == 1.0
    assert found.total == pytest.approx(216 / 150 - 1)


def test_no_prediction_scores_nothing() -> None:
    """Neither an error nor a perfect score."""
    found = score(np.array([np.nan]), np.array([1.0]))
    assert found.rows == 0
    assert math.isnan(found.mape)
    assert math.isnan(found.kendall)


@pytest.mark.parametrize("levels", [2, 7, 1000])
def test_kendall_is_scipys_tau_b(levels: int) -> None:
    """With many ties, few and hardly any."""
    stats = import_module("scipy.stats")
    random = np.random.default_rng(levels)
    for size in (2, 3, 50, 777):
        x = random.integers(0, levels, size).astype(float)
        y = np.where(random.random(size) < 0.5, x, random.integers(0, levels, size))
        expected = stats.kendalltau(x, y).statistic
        assert kendall(x, y) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=30))
def test_kendall_counts_pairs(pairs: list[tuple[int, int]]) -> None:
    """The definition, pair by pair."""
    x, y = (np.array(side) for side in zip(*pairs, strict=True))
    upper = np.triu_indices(x.size, 1)
    dx, dy = (np.sign(side[upper[0]] - side[upper[1]]) for side in (x, y))
    scale = math.sqrt((dx != 0).sum() * (dy != 0).sum())
    if scale == 0:
        assert math.isnan(kendall(x, y))
    else:
        assert kendall(x, y) == pytest.approx((dx * dy).sum() / scale)


def test_kendall_of_a_hundred_thousand_rows() -> None:
    """Independent samples are uncorrelated; a reversed one is anticorrelated."""
    x = np.random.default_rng(0).random(100_000)
    assert kendall(x, -x) == pytest.approx(-1.0)
    assert abs(kendall(x, np.random.default_rng(1).random(100_000))) < 0.01
