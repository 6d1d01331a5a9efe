"""Cost of a die: dies counted one by one, yields in their known order, sourced prices."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.cost._die_cost import DieSpec, die_cost, die_yield, dies_per_wafer
from accelsim.errors import ConfigError

areas = st.floats(10, 850)
defects = st.floats(0.001, 1)


def counted(area_mm2: float, wafer_mm: float, edge_mm: float, scribe_mm: float) -> int:
    """Return the most square dies of any grid on the wafer, of a hundred shifts of the grid."""
    side, radius = math.sqrt(area_mm2) + scribe_mm, wafer_mm / 2 - edge_mm
    rows = int(2 * radius / side) + 2
    best = 0
    for shift_x in range(10):
        for shift_y in range(10):
            dies = 0
            for row in range(-1, rows):
                low = -radius + (row + shift_y / 10) * side
                far = max(abs(low), abs(low + side))
                if far <= radius:
                    half = math.sqrt(radius**2 - far**2)
                    offset = shift_x / 10 * side
                    last, first = (half - offset) / side, (-half - offset) / side
                    dies += max(0, math.floor(last) - math.ceil(first))
            best = max(best, dies)
    return best


@pytest.mark.parametrize("area", [25.0, 50.0, 100.0, 200.0, 400.0, 600.0, 826.0])
def test_dies_are_those_of_a_grid(area: float) -> None:
    """De Vries' formula against counting: within 4 %."""
    found = dies_per_wafer(area)
    assert found == pytest.approx(counted(area, 300.0, 3.0, 0.1), rel=0.04)


@given(area=areas, density=defects)
def test_yields_order_as_their_clusters(area: float, density: float) -> None:
    """Clustered defects spare more dies: Poisson least, then Murphy, then Seeds."""
    poisson = die_yield(area, density, "poisson")
    murphy = die_yield(area, density, "murphy")
    seeds = die_yield(area, density, "negative_binomial", 1.0)
    assert 0 < poisson <= murphy * (1 + 1e-9)
    assert murphy <= seeds * (1 + 1e-9) <= 1 + 1e-9


@given(area=areas, density=defects)
def test_without_clusters_the_binomial_is_poisson_s(area: float, density: float) -> None:
    """Alpha without bound."""
    loose = die_yield(area, density, "negative_binomial", 1e7)
    assert loose == pytest.approx(die_yield(area, density, "poisson"), rel=1e-5)


def test_murphy_by_hand() -> None:
    """One defect expected per die: ((1 - 1/e) / 1)^2."""
    assert die_yield(100, 1.0, "murphy") == pytest.approx((1 - math.exp(-1)) ** 2)
    assert die_yield(100, 0.0, "murphy") == 1.0


@given(a=areas, b=areas)
def test_larger_dies_cost_more(a: float, b: float) -> None:
    """Per die, and per area because fewer of them work."""
    small, large = sorted((a, b))
    if dies_per_wafer(small) == dies_per_wafer(large):
        return
    low, high = (die_cost(DieSpec(), area, 7) for area in (small, large))
    assert low.good_die_usd < high.good_die_usd


def test_the_price_is_the_wafer_s_over_the_dies_that_sell() -> None:
    """Everything given, no table needed, and half the defective dies sold."""
    spec = DieSpec(
        area_mm2=100, wafer_price_usd=621, defects_per_cm2=1, yield_model="poisson", harvested=0.5
    )
    found = die_cost(spec, 7777.0, 130)
    good = math.exp(-1)
    assert found.die_yield == pytest.approx(good + 0.5 * (1 - good))
    assert found.good_die_usd == pytest.approx(1 / found.die_yield)
    assert found.area_mm2 == 100


def test_published_prices_are_looked_up() -> None:
    """CSET's price and AnandTech's defects at 7 nm."""
    found = die_cost(DieSpec(), 826.0, 7)
    assert found.wafer_price_usd == 9346
    assert found.die_yield == pytest.approx((1 + 8.26 * 0.09 / 3) ** -3)


@pytest.mark.parametrize(
    ("spec", "nm", "field"),
    [
        ({}, 22, "wafer_price_usd"),
        ({}, 16, "defects_per_cm2"),
        ({"defects_per_cm2": 0.1}, 6, "wafer_price_usd"),
    ],
)
def test_what_has_no_source_is_asked_for(spec: dict[str, float], nm: float, field: str) -> None:
    """No price is guessed between nodes."""
    with pytest.raises(ConfigError, match=f"`{field}` at {nm}"):
        die_cost(DieSpec(**spec), 100.0, nm)


def test_a_die_larger_than_the_wafer_is_refused() -> None:
    """Nor is there a yield of no dies."""
    with pytest.raises(ConfigError, match="no die of"):
        die_cost(DieSpec(), 300.0**2, 7)


def test_an_unknown_yield_model_is_refused() -> None:
    """The legal ones are named."""
    with pytest.raises(ValidationError, match="murphy"):
        DieSpec(yield_model="optimist")
