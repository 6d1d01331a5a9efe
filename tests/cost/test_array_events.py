"""Spikes: accumulations follow the spikes, updates the clock or the spikes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.cost._array_events import Spiking, accumulations, updates


@given(st.integers(1, 12), st.floats(0.01, 0.99))
def test_updates_on_events_count_neurons_that_a_spike_reaches(fan_in: int, density: float) -> None:
    """The expectation over all patterns of spikes of one neuron's inputs."""
    expected = sum(
        density ** sum(pattern) * (1 - density) ** (fan_in - sum(pattern))
        for pattern in itertools.product((0, 1), repeat=fan_in)
        if any(pattern)
    )
    assert updates(1.0, fan_in, density, 1, True) == pytest.approx(expected)


@given(st.integers(1, 5000), st.floats(0.001, 1), st.integers(1, 50))
def test_events_never_update_more_than_the_clock(fan_in: int, density: float, steps: int) -> None:
    on_event = updates(64.0, fan_in, density, steps, True)
    assert on_event <= updates(64.0, fan_in, density, steps, False) == 64 * steps


def test_accumulations_at_full_density_are_the_products_of_each_step() -> None:
    assert accumulations(512.0, 256.0, 1.0, 5) == 512 * 256 * 5


def test_energy_is_linear_in_spikes_where_updates_follow_the_clock() -> None:
    """Twice the spikes add the accumulations of the first half again, and no update."""
    chip = Spiking(accumulate_energy_pj=0.1, update_energy_pj=2.0, updates="step")
    layer = {"inputs": 512, "neurons": 256, "fan_in": 512, "steps": 5}
    once, twice = (chip.energy_pj(density=d, **layer) for d in (0.1, 0.2))
    assert twice - once == pytest.approx(512 * 256 * 5 * 0.1 * 0.1)
    silent = chip.energy_pj(density=0.0, **layer)
    assert silent == pytest.approx(256 * 5 * 2.0)
