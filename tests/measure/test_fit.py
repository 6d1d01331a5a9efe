"""The search for scalars: scores, samples, bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.cost._gpu_calibration import FormatScalars
from accelsim.measure.fit import BOUNDS, minimum, rounded, sample, score
from tests.cost.gpu_boards import PLAIN


def test_score_by_hand() -> None:
    """MAPE is arithmetic, bias geometric, p90 between the two largest errors."""
    found = score(np.array([2.0, 0.5]), np.array([1.0, 1.0]))
    assert (found.rows, found.mape, found.bias) == (2, 0.75, 0.0)
    assert found.p90 == pytest.approx(0.95)


@given(ratio=st.floats(0.1, 10), rows=st.integers(1, 50))
def test_a_constant_factor_is_the_bias(ratio: float, rows: int) -> None:
    """And the error of every row."""
    found = score(np.full(rows, ratio), np.ones(rows))
    assert found.bias == pytest.approx(ratio - 1, abs=1e-4)
    assert found.mape == found.p90 == pytest.approx(abs(ratio - 1), abs=1e-4)


@given(
    sizes=st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=300), most=st.integers(1, 400)
)  # fmt: skip
def test_a_sample_has_as_many_of_every_octave(sizes: list[float], most: int) -> None:
    """No row twice, every octave met, none with more than its share; the same every time."""
    values = np.array(sizes)
    picked = sample(values, most)
    assert len(set(picked.tolist())) == picked.size
    octaves = np.floor(np.log2(values))
    share = math.ceil(most / np.unique(octaves).size)
    for octave in np.unique(octaves):
        known = int((octaves == octave).sum())
        assert (octaves[picked] == octave).sum() == min(share, known)
    assert sample(values, most).tolist() == picked.tolist()


@given(value=st.floats(1e-9, 1e9))
def test_numbers_are_rounded_as_they_are_written(value: float) -> None:
    """To four digits, so that errors are those of the file."""
    (found,) = rounded([value])
    assert found == pytest.approx(value, rel=5.1e-4)
    assert rounded([found]) == [found]


def test_a_minimum_inside_its_bounds_is_found() -> None:
    """Of a valley that is narrow and bent (Rosenbrock's)."""
    at, least = minimum(
        lambda x: float((1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2), [(-2, 2), (-2, 2)]
    )
    assert at == pytest.approx([1, 1], abs=1e-3)
    assert least == pytest.approx(0, abs=1e-6)


def test_bounds_hold_and_equal_ones_fix_a_scalar() -> None:
    """The loss never sees a value outside; where nothing is free it is called once."""
    seen: list[list[float]] = []

    def loss(x: np.ndarray) -> float:
        seen.append(x.tolist())
        return float(((x - 3) ** 2).sum())

    at, least = minimum(loss, [(0.0, 2.0), (5.0, 5.0)])
    assert at == pytest.approx([2, 5], abs=1e-9)
    assert least == pytest.approx(1 + 4)
    assert all(0 <= x <= 2 and y == 5 for x, y in seen)
    seen.clear()
    assert minimum(loss, [(1.0, 1.0)])[1] == 4
    assert seen == [[1.0]]


@pytest.mark.parametrize("section", sorted(BOUNDS))
def test_bounds_are_of_scalars_and_allowed(section: str) -> None:
    """A fit may end at any bound, so each is a value that a calibration file may hold."""
    library = PLAIN.libraries["sglang"]
    one = (
        FormatScalars(efficiency=1.0, start_s=0.0) if section == "format"
        else getattr(PLAIN, section, None) or getattr(library, section)
    )  # fmt: skip
    data = one.model_dump()
    for name, ends in BOUNDS[section].items():
        assert ends[0] <= ends[1], name  # equal ends keep a scalar where it is
        assert name in data
        for end in ends:
            try:
                type(one).model_validate(data | {name: end})
            except ValidationError as error:
                pytest.fail(f"{name}: {error}")
