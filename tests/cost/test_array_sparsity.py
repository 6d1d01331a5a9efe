"""Zeros: what skipping them saves, by enumeration and simulation, and what their place costs."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.cost._array_sparsity import (
    FORMATS,
    Skipping,
    compressed_bits,
    effective_macs,
    expected_maximum,
    imbalance,
    metadata_bits,
    pattern_holds,
    structured_speedup,
)
from accelsim.errors import ConfigError
from accelsim.workload.transforms.weight_sparsity import WeightSparsity

densities = st.floats(0.01, 0.99)


@given(st.integers(1, 4), densities, st.integers(1, 3))
def test_the_fullest_lane_by_enumeration(window: int, density: float, lanes: int) -> None:
    """The expectation over every pattern of zeros in every lane."""
    expected = 0.0
    for pattern in itertools.product((0, 1), repeat=window * lanes):
        kept = sum(pattern)
        weight = density**kept * (1 - density) ** (window * lanes - kept)
        counts = [sum(pattern[i * window : (i + 1) * window]) for i in range(lanes)]
        expected += weight * max(counts)
    assert expected_maximum(window, density, lanes) == pytest.approx(expected)


@settings(deadline=None)
@given(st.integers(1, 5000), densities, st.integers(1, 1024))
def test_the_fullest_lane_lies_between_the_mean_and_the_window(
    window: int, density: float, lanes: int
) -> None:
    found = expected_maximum(window, density, lanes)
    assert window * density * (1 - 1e-9) <= found <= window
    assert found <= expected_maximum(window, density, lanes + 1) + 1e-9


def test_long_windows_balance_and_lone_lanes_never_wait() -> None:
    """By the law of large numbers; 10^5 values neither underflow nor lose the mean."""
    waits = [imbalance(window, 0.1, 64) for window in (10, 100, 1000, 100_000)]
    assert waits == sorted(waits, reverse=True)
    assert waits[-1] == pytest.approx(1.0, abs=0.03)
    assert imbalance(100, 0.1, 1) == 1.0
    assert expected_maximum(100_000, 0.001, 1) == pytest.approx(100)


def test_the_ends_of_density() -> None:
    assert expected_maximum(16, 1.0, 8) == 16
    assert expected_maximum(16, 0.0, 8) == 0
    assert imbalance(16, 0.0, 8) == 1


# ---------------------------------------------------------------- where the values lie


@pytest.mark.parametrize("density", [0.05, 0.3, 0.8])
def test_run_lengths_are_those_of_a_simulated_stream(density: float) -> None:
    """Entries of a coder that fills runs of more than 15 zeros with an explicit zero."""
    draw, entries, run, total = random.Random(7), 0, 0, 400_000
    for _ in range(total):
        if draw.random() < density or run == 15:
            entries, run = entries + 1, 0
        else:
            run += 1
    found = metadata_bits("run_length", density, 1024, run_bits=4) / 4
    assert found == pytest.approx(entries / total, rel=0.01)
    stored = compressed_bits("run_length", density, 8, 1024, run_bits=4)
    assert stored == pytest.approx(12 * found)


@pytest.mark.parametrize(("pattern", "group"), [("2:4", 4), ("2:8", 8), ("1:2", 2)])
def test_n_m_metadata_is_that_of_the_transform(pattern: str, group: int) -> None:
    """Arrays and workloads count the same bits."""
    transform = WeightSparsity(pattern=pattern)
    found = metadata_bits("n_m", transform.density_of(), 4096, group=group)
    assert found == transform.metadata_bits((4096, 4096))


def test_csr_adds_an_offset_per_row_to_coordinates() -> None:
    index = metadata_bits("coordinate", 0.1, 1000)
    assert index == pytest.approx(0.1 * 10)
    offsets = 101 * math.ceil(math.log2(100 * 1000 * 0.1 + 1))
    found = metadata_bits("csr", 0.1, 1000, 100)
    assert found == pytest.approx(index + offsets / 100_000)


@given(densities, st.sampled_from(FORMATS))
def test_stored_bits_are_values_and_metadata(density: float, style: str) -> None:
    """Nothing is free: never fewer bits than the values that are kept."""
    assert compressed_bits(style, density, 8, 4096, 16) >= 8 * density * (1 - 1e-12)


def test_unknown_formats_and_densities_are_refused() -> None:
    with pytest.raises(ConfigError, match="no sparse format `ellpack`"):
        metadata_bits("ellpack", 0.5, 16)
    with pytest.raises(ConfigError, match="density of 0"):
        metadata_bits("bitmask", 0.0, 16)


# ---------------------------------------------------------------- what an array makes of it


def _patterns(kept: int, of: int, length: int) -> set[tuple[int, ...]]:
    """Return every 0/1 string of `length` whose aligned groups keep exactly `kept` of `of`."""
    group = [g for g in itertools.product((0, 1), repeat=of) if sum(g) == kept]
    return {
        tuple(itertools.chain(*groups)) for groups in itertools.product(group, repeat=length // of)
    }


@pytest.mark.parametrize("pattern", ["1:2", "1:4", "2:4", "3:4", "1:8", "2:8", "3:8"])
@pytest.mark.parametrize("supported", ["1:2", "1:4", "2:4", "2:8", "4:8"])
def test_a_pattern_holds_where_every_tensor_of_it_does(pattern: str, supported: str) -> None:
    """Against all strings of eight values."""
    kept, of = map(int, pattern.split(":"))
    most, among = map(int, supported.split(":"))
    expected = all(
        sum(string[i : i + among]) <= most
        for string in _patterns(kept, of, 8)
        for i in range(0, 8, among)
    )
    assert pattern_holds(pattern, supported) == expected


@pytest.mark.parametrize(
    ("kept", "of", "selectable", "expected"),
    [(2, 4, 2, 2), (2, 8, 4, 4), (2, 8, 2, 2), (2, 4, 1, 1)],
)
def test_structured_skipping_is_bound_by_operands(
    kept: int, of: int, selectable: float, expected: float
) -> None:
    assert structured_speedup(kept, of, selectable) == expected


def test_a_sparse_core_runs_the_sparsest_pattern_that_holds() -> None:
    core = Skipping(structured=["2:4", "2:8"], selectable=4)
    assert core.speedup(density_b=0.5, pattern_b="2:4") == 2
    assert core.speedup(density_b=0.25, pattern_b="2:8") == 4
    assert core.speedup(density_b=0.25, pattern_b="1:4") == 4
    assert core.speedup(density_b=0.5, pattern_b="1:2") == 2
    assert core.speedup(density_b=0.1, pattern_b="unstructured") == 1
    assert core.energised(density_b=0.25, pattern_b="2:8") == 0.25
    assert core.energised(density_b=0.1, pattern_b="unstructured") == 1


@given(densities, densities)
def test_gating_saves_energy_alone(a: float, b: float) -> None:
    gates = Skipping(gates="both")
    assert gates.speedup(a, b) == 1
    assert gates.energised(a, b) == pytest.approx(effective_macs(1.0, a, b))
    assert Skipping(gates="weight").energised(a, b) == b
    assert Skipping().energised(a, b) == 1


@given(densities, densities, st.integers(1, 64), st.integers(16, 512))
def test_skipping_is_never_faster_than_its_zeros_or_operands(
    a: float, b: float, lanes: int, window: int
) -> None:
    skips = Skipping(skips="both", selectable=8, lanes=lanes, window=window)
    found = skips.speedup(a, b)
    assert 1 <= found <= min(8, 1 / (a * b)) * (1 + 1e-9)
    assert skips.energised(a, b) == pytest.approx(a * b)
    single = Skipping(skips="weight", selectable=8, lanes=lanes, window=window)
    assert single.speedup(a, 1.0) == 1


def test_waiting_lanes_lose_what_the_imbalance_says() -> None:
    even = Skipping(skips="weight", selectable=100, lanes=1, window=256)
    waits = Skipping(skips="weight", selectable=100, lanes=32, window=256)
    ratio = even.speedup(density_b=0.25) / waits.speedup(density_b=0.25)
    assert ratio == pytest.approx(imbalance(256, 0.25, 32))


@given(st.integers(1, 300), densities)
def test_a_window_ends_with_the_sum(k: int, density: float) -> None:
    """A product of a short sum waits at its end, so that it balances less."""
    long = Skipping(skips="weight", selectable=50, lanes=8, window=256)
    short = Skipping(skips="weight", selectable=50, lanes=8, window=min(256, k))
    assert long.speedup(1.0, density, k=k) == short.speedup(1.0, density)
    assert long.speedup(1.0, density, k=k) <= long.speedup(1.0, density) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"structured": ["4:2"], "selectable": 2}, "no N:M"),
        ({"structured": ["2:4"]}, "selectable"),
        ({"skips": "both"}, "selectable"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Skipping.model_validate(fields)
