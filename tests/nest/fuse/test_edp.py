"""Energy x delay of fused groups, and bounds of time: none that is tried is below them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from accelsim.errors import MappingError
from accelsim.nest import Storage, accounting
from accelsim.nest.fuse import FusedDevice, FusionLimits, FusionObjective, fuse
from accelsim.nest.fuse._solver import _least_product
from tests.nest.fused import chain, device

SIZES = {"m": 4, "n": 2, "k": 4, "l": 2}
CASCADES = {
    "two products": ["B:mn A:mk W:kn", "D:ml B:mn V:nl"],
    "a row function between": ["B:mk A:mk", "C:mk B:mk", "D:mn C:mk W:kn"],
}


def _machine(seed: int, room: float) -> FusedDevice:
    """Return a device on which energy and time want different things: a slow cheap buffer."""
    made = device(np.random.default_rng(seed), room)
    (hierarchy,) = made.arrays.values()
    dram, buffer, register = hierarchy.nodes
    assert isinstance(buffer, Storage)
    slow = replace(buffer, read_bits_per_cycle=4.0, write_bits_per_cycle=4.0)
    return replace(made, arrays={"array": replace(hierarchy, nodes=(dram, slow, register))})


@pytest.mark.parametrize(
    ("name", "rules"), [("two products", "accelsim"), ("a row function between", "accelforge")]
)
def test_no_grouping_or_tile_beats_the_bound_of_energy_x_delay(name: str, rules: str) -> None:
    """Every grouping with every set of shared dims, for every objective, is above the bound."""
    statements, counted = chain(CASCADES[name], SIZES), accounting(rules)
    names = tuple(one.name for one in statements)
    machine = _machine(1, 160.0)
    found = fuse(statements, machine, "edp", rules=counted)
    own = found.energy_pj * found.latency_s
    assert own == pytest.approx(found.bound * (1.0 + found.gap))
    products, refused = [], 0
    objectives: tuple[FusionObjective, ...] = ("energy", "latency")
    for groups, objective, shared in itertools.product(_groupings(names), objectives, ("m", "n")):
        limits = FusionLimits(groups, frozenset(shared))
        try:
            one = fuse(statements, machine, objective, rules=counted, limits=limits)
        except MappingError:
            refused += 1
            continue
        products.append(one.energy_pj * one.latency_s)
    assert len(products) > refused
    assert found.bound <= min(products) * (1.0 + 1e-9)
    ends = [fuse(statements, machine, objective, rules=counted) for objective in objectives]
    assert own <= min(one.energy_pj * one.latency_s for one in ends) * (1.0 + 1e-9)


def _groupings(names: tuple[str, ...]) -> list[tuple[tuple[str, ...], ...]]:
    found = []
    for cuts in itertools.product((False, True), repeat=len(names) - 1):
        ends = [0, *(i for i, cut in enumerate(cuts, 1) if cut), len(names)]
        found.append(tuple(names[a:b] for a, b in itertools.pairwise(ends)))
    return found


@pytest.mark.parametrize("rules", ["accelsim", "accelforge"])
def test_a_bound_of_time_holds_for_a_search_that_takes_longer(rules: str) -> None:
    """Few arrangements priced, and many: the bound of the first is no more than the second."""
    statements, counted = chain(CASCADES["two products"], SIZES), accounting(rules)
    machine = _machine(0, 96.0)
    quick = FusionLimits(patience=1, refined=1)
    slow = FusionLimits(patience=10_000, refined=10_000)
    first = fuse(statements, machine, "latency", rules=counted, limits=quick)
    second = fuse(statements, machine, "latency", rules=counted, limits=slow)
    assert first.bound <= second.latency_s * (1.0 + 1e-9)
    assert second.bound <= first.latency_s * (1.0 + 1e-9)
    assert second.latency_s <= first.latency_s * (1.0 + 1e-9)


def test_the_least_product_under_lines_is_at_a_corner() -> None:
    """X >= 1, y >= 2 alone meet at 2; with x + y >= 5 the corners are (1, 4) and (3, 2)."""
    ends = [(1.0, 0.0, 1.0), (0.0, 1.0, 2.0)]
    assert _least_product(ends) == pytest.approx(2.0)
    assert _least_product([*ends, (1.0, 1.0, 5.0)]) == pytest.approx(4.0)
    sides = np.random.default_rng(0).uniform(0.1, 2.0, (3, 2))
    known = [*ends, *((float(a), float(b), 4.0) for a, b in sides)]
    x, y = np.meshgrid(np.geomspace(1.0, 60.0, 400), np.geomspace(2.0, 60.0, 400))
    legal = np.all([a * x + b * y >= c for a, b, c in known], axis=0)
    assert _least_product(known) <= float((x * y)[legal].min())
    assert _least_product(known) == pytest.approx(float((x * y)[legal].min()), rel=0.03)
