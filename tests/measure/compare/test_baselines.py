"""The trivial predictors: exact recovery, the best constants, and no look at test rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accelsim.measure.compare.baselines import baselines, floor_and_efficiency, one_scalar
from tests.measure.compare.standin import gemm, table

RANDOM = np.random.default_rng(0)


def test_constants_are_recovered() -> None:
    """Times made by the formula itself give its constants back to a per cent."""
    roof = np.geomspace(0.1, 1e4, 200)
    floor, efficiency = floor_and_efficiency(roof, np.maximum(7.0, roof / 0.62))
    assert floor == pytest.approx(7.0, rel=0.01)
    assert efficiency == pytest.approx(0.62, rel=0.01)


def test_one_scalar_is_the_best_one() -> None:
    """No other factor has a smaller mean relative error."""
    roof = RANDOM.uniform(1, 100, 301)
    measured = roof * RANDOM.lognormal(0.5, 0.6, 301)
    best = one_scalar(roof, measured)

    def error(factor: float) -> float:
        return float(np.abs(factor * roof / measured - 1).mean())

    assert all(error(best) <= error(best * by) for by in (0.9, 0.99, 0.999, 1.001, 1.01, 1.1))


def test_rows_on_the_floor_leave_the_efficiency_at_the_datasheets() -> None:
    """An efficiency that no row tells is about one, not whatever stands first on a grid."""
    floor, efficiency = floor_and_efficiency(np.full(9, 0.01), np.full(9, 5.0))
    assert floor == pytest.approx(5.0)
    assert 0.9 < efficiency < 1.1


def test_constants_come_from_fit_rows_of_the_same_campaign(tmp_path: Path) -> None:
    """Test rows may say anything; other sources have constants of their own, or none."""
    rows = table(
        [gemm(1, 8, 8, latency) for latency in (2.0, 4.0, 100.0)]
        + [gemm(1, 8, 8, 9.0, source="other")],
        tmp_path,
    )
    roof = np.array([1.0, 2.0, 3.0, 4.0])
    fitted = np.array([True, True, False, False])
    found = baselines(rows, roof, fitted)
    assert found["roofline"].tolist() == roof.tolist()
    assert found["scaled_roofline"][:3] == pytest.approx([2.0, 4.0, 6.0])
    assert np.isnan(found["scaled_roofline"][3])
    assert found["floor_efficiency"][2] == pytest.approx(6.0, rel=0.02)
    assert np.isnan(found["floor_efficiency"][3])
    changed = rows.assign(latency_us=[2.0, 4.0, 0.001, 9.0])
    again = baselines(changed, roof, fitted)
    for name, guess in found.items():
        np.testing.assert_array_equal(guess, again[name])


def test_no_roofline_no_baseline(tmp_path: Path) -> None:
    """A floor alone is not given out as a prediction."""
    rows = table([gemm(1, 8, 8, 2.0), gemm(1, 8, 8, 4.0)], tmp_path)
    found = baselines(rows, np.array([1.0, np.nan]), np.array([True, True]))
    assert all(np.isnan(guess[1]) for guess in found.values())
