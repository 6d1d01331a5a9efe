"""The front of latency and energy is that of trying every nest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from accelsim.nest import ACCOUNTINGS, matmul
from accelsim.nest.mapper.front import search_front
from accelsim.nest.mapper.search import search
from tests.nest.brute_force import best_figures
from tests.nest.devices import tpuv4i
from tests.nest.mapper.test_search import small_hierarchy, small_problem


@pytest.mark.parametrize("rules", ["accelsim", "accelforge"])
@pytest.mark.parametrize("seed", range(8))
def test_the_front_is_that_of_brute_force(seed: int, rules: str) -> None:
    random = np.random.default_rng(seed)
    problem, hierarchy = small_problem(random), small_hierarchy(random)
    every = best_figures(problem, hierarchy, ACCOUNTINGS[rules])
    legal = every[every[:, 3] == 0]
    if not len(legal):
        pytest.skip("nothing fits this small device")
    expected, least = [], np.inf
    for cycles, energy in legal[np.lexsort((legal[:, 1], legal[:, 0]))][:, :2]:
        if energy < least * (1 - 1e-9):
            expected.append((cycles, energy))
            least = energy
    found = search_front(problem, hierarchy, rules=ACCOUNTINGS[rules], pad=False)
    got = [(one.figures.cycles, one.figures.energy_pj) for one in found]
    assert np.allclose(got, expected)


def test_the_ends_are_the_two_optima() -> None:
    problem, device = matmul(64, 512, 256), tpuv4i()
    front = search_front(problem, device)
    fastest, thriftiest = (search(problem, device, o) for o in ("latency", "energy"))
    assert front[0].figures.latency_s == fastest.figures.latency_s
    assert front[-1].figures.energy_pj == pytest.approx(thriftiest.figures.energy_pj)
    for a, b in itertools.pairwise(front):
        assert a.figures.latency_s < b.figures.latency_s
        assert a.figures.energy_pj > b.figures.energy_pj
