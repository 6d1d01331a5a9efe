"""The Pareto front against its definition, and against moocore."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from accelsim.errors import ConfigError
from accelsim.explore.metrics import Sense
from accelsim.explore.pareto import front, nondominated

# Few different values: ties and duplicates are the hard cases.
COORDINATES = st.sampled_from([-math.inf, -2.5, 0.0, -0.0, 1.0, 1.5, 3.0, math.inf, math.nan])


def by_definition(values: np.ndarray, senses: list[Sense]) -> list[bool]:
    """Compare every point with every other one."""
    less_is_better = values * [1.0 if sense == "min" else -1.0 for sense in senses]
    usable = [i for i in range(len(values)) if not np.isnan(values[i]).any()]
    return [
        i in usable
        and not any(
            (less_is_better[j] <= less_is_better[i]).all()
            and (less_is_better[j] < less_is_better[i]).any()
            for j in usable
        )
        for i in range(len(values))
    ]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_it_is_the_definition(data: st.DataObject) -> None:
    """A point stays exactly if no other is nowhere worse and somewhere better."""
    senses: list[Sense] = data.draw(
        st.lists(st.sampled_from(["min", "max"]), min_size=2, max_size=3)
    )
    shape = (data.draw(st.integers(0, 12)), len(senses))
    values = data.draw(arrays(np.float64, shape, elements=COORDINATES))
    assert nondominated(values, senses).tolist() == by_definition(values, senses)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("maximise", [False, True])
@pytest.mark.parametrize("levels", [7, 10**9])
def test_it_agrees_with_moocore(count: int, maximise: bool, levels: int) -> None:
    """20,000 points, with many ties and with none, against an independent implementation."""
    moocore = pytest.importorskip("moocore")
    values = np.random.default_rng(levels).integers(0, levels, (20_000, count)).astype(float)
    mine = nondominated(values, ["max" if maximise else "min"] * count)
    theirs = moocore.is_nondominated(values, maximise=maximise, keep_weakly=True)
    assert (mine == theirs).all()
    assert mine.any()


def test_a_front_that_keeps_every_point() -> None:
    """10,000 points on a sphere: none dominates another."""
    points = np.abs(np.random.default_rng(1).normal(size=(10_000, 3)))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert nondominated(points, ["max"] * 3).all()


@pytest.mark.parametrize("count", [1, 4])
def test_two_or_three_objectives_only(count: int) -> None:
    """Other numbers are refused rather than answered wrongly."""
    with pytest.raises(ConfigError, match="a front has two or three"):
        nondominated(np.zeros((5, count)), ["min"] * count)


FRAME = pd.DataFrame(
    {
        "model": ["a", "a", "b", "b", "a", "b"],
        "latency_s": [3.0, 1.0, 90.0, 80.0, 2.0, np.nan],
        "energy_j": [1.0, 3.0, 10.0, 20.0, 4.0, 1.0],
    }
)
OBJECTIVES: dict[str, Sense] = {"latency_s": "min", "energy_j": "min"}


def test_groups_have_fronts_of_their_own() -> None:
    """A design of one model never dominates one of another; rows come best first."""
    assert front(FRAME, OBJECTIVES, ["model"]).index.tolist() == [1, 0, 3, 2]


def test_one_front_without_groups() -> None:
    """Without groups all designs compete; a design without a result never wins."""
    assert front(FRAME, OBJECTIVES).index.tolist() == [1, 0]


def test_no_designs_have_an_empty_front() -> None:
    """An empty frame gives an empty frame with its columns."""
    for per in ([], ["model"]):
        found = front(FRAME.iloc[:0], OBJECTIVES, per)
        assert found.empty
        assert list(found) == list(FRAME)
