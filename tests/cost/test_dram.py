"""DRAM: streams bounded by the pins, refresh in whole events, errors against two simulators."""

from __future__ import annotations

import csv
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.config import library, load_spec
from accelsim.cost.dram import (
    Dram,
    refresh_stall_cycles,
    refreshed_cycles,
    row_stream_cycles,
)
from tests.reference import reference_file

FRAGMENTS = (
    "gddr6x_rtx4090", "hbm2_neupims", "hbm2_samsung", "hbm2_tpuv4i", "hbm2e_a100", "hbm3_attacc",
    "hbm3_h100", "lpddr5_6400",
)  # fmt: skip
TIMED = ("hbm2_neupims", "hbm2_samsung", "hbm2_tpuv4i", "hbm3_attacc", "lpddr5_6400")
sizes = st.integers(1, 10**9)


def fragment(name: str, **changes: object) -> Dram:
    spec = load_spec(library.find("arch", f"components/{name}"), Dram)
    return Dram.model_validate(spec.model_dump() | changes) if changes else spec


def rows() -> list[dict[str, str]]:
    with reference_file("pim_golden.csv").open() as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


@pytest.mark.parametrize(
    ("name", "gigabytes_per_s"),
    [
        ("hbm2e_a100", 2039),
        ("hbm3_h100", 3352),
        ("gddr6x_rtx4090", 1008),
        ("hbm2_tpuv4i", 614.4),
        ("hbm2_neupims", 1024),
        ("hbm2_samsung", 1024),
        ("hbm3_attacc", 5 * 665.6),
        ("lpddr5_6400", 51.2),
    ],
)
def test_pin_bandwidth_is_the_published_one(name: str, gigabytes_per_s: float) -> None:
    """Stacks x channels x pins x data rate gives the data sheet's figure."""
    assert fragment(name).peak_bandwidth() / 1e9 == pytest.approx(gigabytes_per_s, rel=1e-3)


@pytest.mark.parametrize("name", FRAGMENTS)
def test_sustained_is_below_pins_and_above_most_of_them(name: str) -> None:
    """Rows, bank groups and refresh cost something, but no published DRAM streams below 85 %."""
    dram = fragment(name)
    assert 0.85 < dram.bandwidth() / dram.peak_bandwidth() < 1


@pytest.mark.parametrize("name", FRAGMENTS)
@given(size=sizes)
def test_no_stream_beats_the_pins(name: str, size: int) -> None:
    """A stream of any size takes at least size / pin bandwidth."""
    dram = fragment(name)
    assert dram.stream_ps(size) >= size / dram.peak_bandwidth() * 1e12 - 1


@pytest.mark.parametrize("name", FRAGMENTS)
@given(size=sizes, more=st.integers(0, 10**7))
def test_longer_streams_never_take_less(name: str, size: int, more: int) -> None:
    """Time grows with size, also across a refresh."""
    dram = fragment(name)
    assert dram.stream_ps(size + more) >= dram.stream_ps(size)


@pytest.mark.parametrize("name", TIMED)
def test_bandwidth_is_what_long_streams_reach(name: str) -> None:
    """10 GB run at `bandwidth()` within 0.1 %."""
    dram = fragment(name)
    size = 10**10
    assert size / (dram.stream_ps(size) / 1e12) == pytest.approx(dram.bandwidth(), rel=1e-3)


@pytest.mark.parametrize("name", FRAGMENTS)
@given(size=sizes)
def test_more_channels_never_slow_a_stream(name: str, size: int) -> None:
    """Twice the channels take no longer."""
    dram = fragment(name)
    wider = dram.model_copy(update={"channels": 2 * dram.channels})
    assert wider.stream_ps(size) <= dram.stream_ps(size)


def test_nothing_takes_no_time() -> None:
    """An empty stream is free, also of the first access."""
    assert fragment("hbm2_neupims").stream_ps(0) == 0


def test_rows_hide_behind_bursts_until_activations_come_too_thick() -> None:
    """A row costs its bursts; short rows cost a quarter of tFAW, few banks their row cycle."""
    assert row_stream_cycles(16, 2, 4, 30, 48, 16) == 32
    assert row_stream_cycles(2, 2, 4, 30, 48, 16) == 7.5
    assert row_stream_cycles(16, 2, 4, 30, 480, 4) == 120


def test_refresh_counts_whole_events() -> None:
    """No stall before the first refresh, one more for every interval that the stalls reach."""
    assert refreshed_cycles(99.0, 100.0, 100.0, 10.0) == 99
    assert refreshed_cycles(100.0, 100.0, 100.0, 10.0) == 110
    assert refreshed_cycles(195.0, 100.0, 100.0, 10.0) == 215  # the stall reaches the second


@given(
    busy=st.floats(0, 1e6),
    interval=st.floats(50, 5000),
    share=st.just(0.0) | st.floats(1e-3, 0.9),  # below, the sum drowns in rounding
    first=st.floats(0, 5000),
)
def test_refresh_is_a_fixed_point(
    busy: float, interval: float, share: float, first: float
) -> None:
    """The events added are those due in the time with them: none missing, none in advance."""
    stall = share * interval
    total = refreshed_cycles(busy, interval, first, stall)
    events = round((total - busy) / stall) if stall else 0
    assert total == pytest.approx(busy + events * stall)
    if events:
        due = first + (events - 1) * interval
        assert busy + (events - 1) * stall >= due * (1 - 1e-9)


def test_another_rank_hides_part_of_a_refresh() -> None:
    """One rank waits for all of it; of two, a stream that dwells long meets half, and the rest."""
    assert refresh_stall_cycles(260.0, 512.0, 1) == 260
    two = refresh_stall_cycles(260.0, 512.0, 2)
    assert two == pytest.approx(130 + 260 * 260 / (2 * 2 * 512))
    assert refresh_stall_cycles(260.0, 1.0, 2) == pytest.approx(260, rel=0.01)


def test_timings_and_efficiency_exclude_each_other() -> None:
    """Both or neither is an error, and timings need their organisation."""
    with pytest.raises(ValidationError, match="one of the two"):
        fragment("hbm2_neupims", given_efficiency=0.9)
    with pytest.raises(ValidationError, match="one of the two"):
        fragment("hbm2e_a100", given_efficiency=None)
    with pytest.raises(ValidationError, match="row_bytes"):
        fragment("hbm2_neupims", row_bytes=None)


def test_a_standard_without_a_figure_asks_for_one() -> None:
    """No energy is made up for an unknown standard; a given one is taken."""
    with pytest.raises(ValidationError, match="access_pj_per_bit"):
        fragment("hbm2e_a100", standard="HBM9")
    given_one = fragment("hbm2e_a100", standard="HBM9", access_pj_per_bit=2.0)
    assert given_one.energy_pj(1000) == pytest.approx(8000 * 2.0)


def test_energy_adds_activation_array_and_pins() -> None:
    """AttAcc's 3.59 pJ/bit is the sum of its parts when rows are read from end to end."""
    dram = fragment("hbm3_attacc")
    assert dram.energy_pj(1024) / 8192 == pytest.approx(3.59)


@pytest.mark.validate
def test_sequential_reads_of_the_samsung_simulator() -> None:
    """Host reads: 1.4 % mean, 3.4 % at most (the shortest run); nothing is fitted but a phase."""
    dram = fragment("hbm2_samsung")
    errors = []
    for row in rows():
        if row["metric"] != "host_oracle_read_cycles":
            continue
        elements = float(row["out_dim"]) * float(row["in_dim"] or 3)  # ADD: two in, one out
        expected = float(row["value"])
        errors.append(abs(dram.stream_cycles(int(2 * elements)) / expected - 1))
    assert len(errors) >= 5
    assert mean(errors) < 0.02
    assert max(errors) < 0.045


@pytest.mark.validate
def test_weight_streams_of_neupims() -> None:
    """GEMMs of one token, which the weights bound: 2.6 % mean, 3.4 % at most, nothing fitted."""
    dram = fragment("hbm2_neupims")
    bytes_of = {"QKVgen": 4096 * 3072, "proj": 1024 * 4096, "fc1": 4096 * 4096, "fc2": 4096 * 4096}
    errors = []
    for row in rows():
        weights = bytes_of.get(row["metric"].rsplit(".", 1)[-1])
        if not row["case_id"].startswith("neupims") or row["batch"] != "1" or not weights:
            continue
        errors.append(abs(dram.stream_cycles(2 * weights) / float(row["value"]) - 1))
    assert len(errors) >= 3
    assert mean(errors) < 0.035
    assert max(errors) < 0.045


@pytest.mark.validate
def test_neupims_efficiency_lies_in_its_range() -> None:
    """The sustained share, from timings alone, lies between the tool's 89 and 93 %."""
    dram = fragment("hbm2_neupims")
    assert 0.89 < dram.bandwidth() / dram.peak_bandwidth() < 0.93
