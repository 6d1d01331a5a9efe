"""Closed forms of DRAM against the command level: how far apart, by standard and pattern.

The bounds are what was measured, rounded up; ``docs/dram.md`` repeats them.
"""

from __future__ import annotations

import pytest

from accelsim.cost.dram import Access, Dram
from tests.cost.test_dram_commands import STANDARDS, dram

BURSTS = 40_000
DIRECTIONS = (False, True)
STRIDES = (2, 3, 4, 5, 8, 16, 32, 64, 128, 256, 1024)
RUNS = ((8, 8), (32, 32), (64, 16), (256, 256))


def distance(spec: Dram, access: Access) -> float:
    """Return the closed form's relative error against the command level."""
    return spec.access_cycles(access) / spec.simulate(access).cycles - 1


def whole(spec: Dram, bursts: int) -> int:
    """Return the bytes that are `bursts` bursts on every channel."""
    return bursts * spec.burst_bytes * spec.total_channels * spec.pseudo_channels


def strided(spec: Dram, stride: int, write: bool, bursts: int = BURSTS) -> Access:
    """Return an access whose stride stays in one channel."""
    step = whole(spec, stride)
    return Access(bursts * spec.burst_bytes, "strided", write, stride_bytes=step)


@pytest.mark.parametrize("write", DIRECTIONS)
@pytest.mark.parametrize("bursts", [1, 100, 1_000, 3_000, BURSTS])
@pytest.mark.parametrize("name", STANDARDS)
def test_streams(name: str, bursts: int, write: bool) -> None:
    """Within 1.5 %; short runs within 4 %, of HBM3E within 8 %: no row is closed in them yet."""
    spec = dram(name)
    error = distance(spec, Access(whole(spec, bursts), "stream", write))
    short = 0.08 if name == "dram_hbm3e" else 0.04
    assert abs(error) < (0.015 if bursts >= 3_000 else short)


@pytest.mark.parametrize("write", DIRECTIONS)
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", STANDARDS)
def test_strides(name: str, stride: int, write: bool) -> None:
    """Within 2.5 %; 14 % with two ranks, between which the window reorders."""
    spec = dram(name)
    assert abs(distance(spec, strided(spec, stride, write))) < (0.025 if spec.ranks == 1 else 0.14)


@pytest.mark.parametrize("write", DIRECTIONS)
@pytest.mark.parametrize("hits", [1, 2, 4, 16])
@pytest.mark.parametrize("name", STANDARDS)
def test_random_places(name: str, hits: int, write: bool) -> None:
    """Within 17 %: which requests meet in a bank is chance, its mean is approximated."""
    spec = dram(name)
    size = whole(spec, BURSTS)
    access = Access(size, "random", write, run_bytes=hits * spec.burst_bytes)
    assert abs(distance(spec, access)) < 0.17


@pytest.mark.parametrize(("reads", "writes"), RUNS)
@pytest.mark.parametrize("name", STANDARDS)
def test_turnarounds(name: str, reads: int, writes: int) -> None:
    """Runs of reads and writes in turn: within 4 %."""
    spec = dram(name)
    access = Access(whole(spec, BURSTS), "mixed", reads=reads, writes=writes)
    assert abs(distance(spec, access)) < 0.04


@pytest.mark.parametrize("name", [one for one in STANDARDS if "ddr4" not in one or "lp" in one])
def test_refresh_per_bank(name: str) -> None:
    """Streams within 4 %, strides within 36 %, random places within 30 %, turnarounds within 34 %.

    A bank's refresh and the walk through the banks keep step in ways that no mean tells.
    """
    if (timings := dram(name).timings) is None or timings.rfc_pb is None:
        pytest.skip("no timing of a bank's refresh is known")
    spec = dram(name, refresh="per_bank")
    size = whole(spec, BURSTS)
    for write in DIRECTIONS:
        assert abs(distance(spec, Access(size, "stream", write))) < 0.04
        for stride in STRIDES:
            assert abs(distance(spec, strided(spec, stride, write))) < 0.36
        for hits in (1, 2, 4, 16):
            run = hits * spec.burst_bytes
            access = Access(size, "random", write, run_bytes=run)
            assert abs(distance(spec, access)) < 0.30
    for reads, writes in RUNS:
        access = Access(size, "mixed", reads=reads, writes=writes)
        assert abs(distance(spec, access)) < 0.34


@pytest.mark.parametrize("name", ["dram_hbm3", "dram_hbm3e"])
def test_ranks_refreshed_in_turn(name: str) -> None:
    """A stream that walks through ranks falls in step with their refreshes: within 16 %."""
    spec = dram(name, refresh="all_bank")
    for write in DIRECTIONS:
        assert abs(distance(spec, Access(whole(spec, BURSTS), "stream", write))) < 0.16


@pytest.mark.parametrize("name", STANDARDS)
def test_rows_filled_first(name: str) -> None:
    """Successive bursts in one row: the pace of a bank group, within 15 %."""
    spec = dram(name, interleave="row")
    for write in DIRECTIONS:
        assert abs(distance(spec, Access(whole(spec, BURSTS), "stream", write))) < 0.15


@pytest.mark.parametrize("name", STANDARDS)
def test_orders_that_must_hold(name: str) -> None:
    """Both levels: a stream is the fastest, one bank the slowest; turning seldom beats often."""
    spec = dram(name)
    one_bank = whole(spec, 1) * (spec.banks_per_channel // spec.pseudo_channels)
    one_bank *= int(spec.row) // spec.burst_bytes
    accesses = [
        Access(whole(spec, 4_000), "stream"),
        Access(whole(spec, 4_000), "random"),
        Access(4_000 * spec.burst_bytes, "strided", stride_bytes=one_bank),
    ]
    for cycles in (
        [spec.access_cycles(one) for one in accesses],
        [spec.simulate(one).cycles for one in accesses],
    ):
        assert cycles == sorted(cycles)
    seldom, often = (
        Access(whole(spec, 4_000), "mixed", reads=n, writes=n) for n in (128, 8)
    )  # fmt: skip
    assert spec.access_cycles(seldom) < spec.access_cycles(often)
    assert spec.simulate(seldom).cycles < spec.simulate(often).cycles


@pytest.mark.parametrize("name", STANDARDS)
def test_the_plain_stream_agrees(name: str) -> None:
    """`stream_cycles`, which units ask, is up to 2 % below the command level, HBM3E's 9 %.

    It leaves out what a refresh needs to close and open rows, and rows that open late.
    """
    spec = dram(name)
    size = whole(spec, BURSTS)
    error = spec.stream_cycles(size) / spec.simulate(Access(size)).cycles - 1
    assert -(0.09 if name == "dram_hbm3e" else 0.02) < error < 0.001
