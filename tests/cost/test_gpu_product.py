"""Products on a GPU: tiles, waves, splits of the reduction, the power cap, the memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.cost._gpu_product import (
    GROUPED_TILES,
    MOST_SPLITS,
    TILES,
    grouped,
    matmul,
    smooth_max,
)

SMS, PEAK, WIDE = 100, 1e14, 1e30  # WIDE: a memory, or a cache, that never limits
SQUARE = np.array([[128, 128]])


def result(
    m: int, n: int, k: int, batch: int = 1, tiles: Any = SQUARE, bytes_c: float = 2.0,
    sms: int = SMS, l2: float = WIDE, bandwidth: float = WIDE, efficiency: float = 1.0,
    start: float = 0.0, p: float = 4.0, edge: float = 0.0, fill: float = 0.0, clock: float = 1.0,
    combine: float = 0.0, camping: float = 0.0, most: int = MOST_SPLITS,
) -> tuple[float, int, int, int, float, float, float, float]:  # fmt: skip
    """Return what `matmul` makes of a product on an ideal GPU, but for what is named."""
    moved = (batch * m * k * 2.0, batch * n * k * 2.0, batch * m * n * bytes_c)
    found: tuple[float, int, int, int, float, float, float, float] = matmul(
        batch, m, n, k, 2.0, 2.0, bytes_c, *moved, tiles, most, sms, PEAK, l2, bandwidth,
        efficiency, start, p, edge, fill, clock, combine, camping,
    )  # fmt: skip
    return found


def seconds(*sizes: int, **other: Any) -> float:
    return result(*sizes, **other)[0]


def test_a_tile_per_multiprocessor_takes_the_peak() -> None:
    """Ten by ten tiles on a hundred multiprocessors, nothing else in the way."""
    assert seconds(1280, 1280, 300) == pytest.approx(2 * 1280 * 1280 * 300 / PEAK)


def test_one_tile_more_takes_another_wave() -> None:
    """At the boost clock; every wave costs the same."""
    one, two, three = (seconds(128 * tiles, 128, 300) for tiles in (100, 101, 201))
    assert two == pytest.approx(2 * one)
    assert three == pytest.approx(3 * one)
    assert seconds(128 * 200, 128, 300) == two


@given(m=st.integers(1, 20_000), n=st.integers(1, 3000), k=st.integers(1, 3000))
def test_sizes_are_padded_to_whole_tiles(m: int, n: int, k: int) -> None:
    """All sizes that need the same tiles take the same time where memory does not limit."""
    assert seconds(m, n, k) == seconds(-(-m // 128) * 128, -(-n // 128) * 128, k)


def test_many_waves_run_at_the_clock_that_power_sustains() -> None:
    """A partly filled last wave leaves its power to the others: it is not charged twice."""
    few, many = seconds(128 * 100, 128, 300), seconds(128 * 1000, 128, 300)
    assert seconds(128 * 100, 128, 300, clock=0.8) == pytest.approx(few / 0.8)
    assert seconds(128 * 1000, 128, 300, clock=0.8) == pytest.approx(many / 0.8)
    assert seconds(128 * 101, 128, 300, clock=0.8) == pytest.approx(2 * few)
    assert seconds(128 * 1001, 128, 300, clock=0.8) == pytest.approx(10.01 * few / 0.8)


def test_efficiency_edge_and_fill_scale_the_arithmetic() -> None:
    """Each as the equation says; edges as so many rows and columns more, fill as so many terms."""
    plain = seconds(1280, 1280, 300)
    assert seconds(1280, 1280, 300, efficiency=0.5) == pytest.approx(2 * plain)
    assert seconds(1280, 1280, 300, edge=32.0) == pytest.approx(1.5 * plain)
    assert seconds(1280, 1280, 300, fill=60.0) == pytest.approx(1.2 * plain)
    assert seconds(1280, 1280, 300, start=1e-6) == pytest.approx(1e-6 + plain)


def test_the_fastest_tile_is_taken() -> None:
    """Small tiles where there is too little work for large ones; large ones where edges cost."""
    both = np.array([[128, 128], [64, 64]])
    assert result(640, 640, 300, tiles=both)[1:3] == (64, 64)
    assert result(5120, 5120, 300, tiles=both, edge=32.0)[1:3] == (128, 128)
    for m in (1, 65, 640, 5120):
        alone = [seconds(m, 640, 300, tiles=both[[i]], edge=32.0) for i in (0, 1)]
        assert seconds(m, 640, 300, tiles=both, edge=32.0) == min(alone)


def test_long_reductions_of_few_tiles_are_split() -> None:
    """Up to sixteen ways and to 256 terms each, at the price of partial sums in memory."""
    whole = 2 * 128 * 128 * 8192 / (PEAK / SMS)
    assert result(128, 128, 8192)[3] == 16
    assert seconds(128, 128, 8192) == pytest.approx(whole / 16)
    assert result(128, 128, 1024)[3] == 4
    assert result(128, 128, 511)[3] == 1
    assert result(128 * 100, 128, 8192)[3] == 1
    assert result(128 * 51, 128, 8192)[3] > 1
    # Partial sums of two splits already take longer than splitting saves.
    assert result(128, 128, 8192, bandwidth=1e9, p=1.0)[3] == 1


@pytest.mark.parametrize("bandwidth", [1e10, 1e11, 1e12])
def test_split_sums_cross_the_memory_once_each_way(bandwidth: float) -> None:
    """Two fp32 passes over the output for each split, beside the operands."""
    found = result(128, 128, 8192, bandwidth=bandwidth, p=1.0)
    time, split = found[0], found[3]
    compute = 2 * 128 * 128 * 8192 / (PEAK / SMS) / split
    moved = 2.0 * (2 * 128 * 8192 + 128 * 128) + 8.0 * 128 * 128 * split
    assert split > 1
    assert time == pytest.approx(compute + moved / bandwidth)


def test_a_slow_memory_bounds_the_product() -> None:
    """Then the time is bytes over bandwidth, whatever the arithmetic."""
    moved = 2.0 * (512 + 4096 * 512 + 4096)
    assert seconds(1, 4096, 512, bandwidth=1e9) == pytest.approx(moved / 1e9, rel=1e-3)


@given(
    m=st.integers(1, 9000), n=st.integers(1, 9000), k=st.integers(1, 9000),
    p=st.floats(1, 8), bandwidth=st.floats(1e10, 1e13),
)  # fmt: skip
def test_overlap_is_between_the_larger_and_the_sum(
    m: int, n: int, k: int, p: float, bandwidth: float
) -> None:
    """Of compute and memory time, whichever tiles and splits are taken."""
    found = result(m, n, k, tiles=TILES["tensor"], bandwidth=bandwidth, p=p)
    bytes_moved = 2.0 * (m * k + n * k + m * n)
    assert found[0] >= max(2 * m * n * k / PEAK, bytes_moved / bandwidth) * (1 - 1e-9)
    compute = seconds(m, n, k, tiles=TILES["tensor"])
    unsplit = seconds(m, n, k, tiles=TILES["tensor"], bandwidth=bandwidth, p=1.0)
    assert found[0] <= unsplit * (1 + 1e-9)
    assert found[0] >= compute * (1 - 1e-9)


@given(x=st.floats(0, 1e3), y=st.floats(0, 1e3), p=st.floats(1, 8))
def test_smooth_maximum(x: float, y: float, p: float) -> None:
    """Symmetric, at least the larger, at most the sum, and closer to the larger as p grows."""
    found = smooth_max(x, y, p)
    assert found == smooth_max(y, x, p)
    assert max(x, y) <= found <= (x + y) * (1 + 1e-12)
    assert smooth_max(x, y, p + 1) <= found * (1 + 1e-12)


@pytest.mark.parametrize(
    ("k", "share"), [(448, 0.0), (512, 1.0), (256 * 5, 2 / 3), (128, 1 / 3), (449, 0.0)]
)
def test_rows_that_start_in_the_same_channels_slow_the_kernel(k: int, share: float) -> None:
    """All at multiples of 1 KiB, none at odd multiples of 128 bytes, some in between.

    The columns' stride is made to spread: 2 x 1600 bytes are 25 times 128.
    """
    plain, camped = (seconds(1280, 1600, k, camping=c) for c in (0.0, 0.3))
    assert camped == pytest.approx(plain * (1 + 0.3 * share))


def test_operands_beyond_the_cache_are_read_again() -> None:
    """Once where both fit; a larger cache never reads more."""
    sizes = (16384, 16384, 4096)
    caches = [2.0**power for power in range(16, 40)]
    again = [result(*sizes, l2=l2)[4] * result(*sizes, l2=l2)[5] for l2 in caches]
    assert again[-1] == 1.0
    assert again[0] > 4.0
    assert again == sorted(again, reverse=True)
    times = [seconds(*sizes, l2=l2, bandwidth=1e10) for l2 in caches]
    assert times == sorted(times, reverse=True)
    assert times[0] > 4 * times[-1]


def test_larger_tiles_take_less_from_the_cache() -> None:
    """A row of A is fetched once for every column of tiles."""
    large, small = (
        result(1280, 1280, 512, tiles=np.array([[side, side]]))[6] for side in (128, 64)
    )
    output = 1280 * 1280 * 2
    assert small - output == pytest.approx(2 * (large - output))


def shared_out(rows: list[int], **other: Any) -> tuple[float, int, float]:
    """Return time, tile and blocks of a grouped product with 512 columns, 1024 terms."""
    chip = {"bandwidth": WIDE, "efficiency": 1.0, "p": 4.0, "edge": 0.0, "fill": 0.0} | other
    found: tuple[float, int, float] = grouped(
        np.array(rows, dtype=np.float64), 512, 1024, 2.0, 2.0, 2.0, SMS, PEAK, *chip.values(), 1.0
    )
    return found


def test_experts_without_tokens_read_no_weights() -> None:
    """The memory time counts weights of experts that are hit, and every token."""
    one, many = (shared_out(rows, bandwidth=1e9)[0] for rows in ([4, 0, 0, 0], [1, 1, 1, 1]))
    weights, tokens = 512 * 1024 * 2, 4 * (1024 + 512) * 2
    assert one == pytest.approx((weights + tokens) / 1e9, rel=1e-3)
    assert many == pytest.approx((4 * weights + tokens) / 1e9, rel=1e-3)


@given(rows=st.lists(st.integers(0, 400), min_size=1, max_size=40))
def test_a_group_is_padded_to_whole_tiles(rows: list[int]) -> None:
    """As many tiles as the groups need, each of one height, which is one of the list."""
    _, tile, blocks = shared_out(rows)
    columns = 512 / (64 if tile == GROUPED_TILES[0] else 128)
    if any(rows):
        assert tile in GROUPED_TILES
        assert blocks == columns * sum(-(-r // tile) for r in rows)
        assert shared_out([*rows, 1], bandwidth=1e12)[0] >= shared_out(rows, bandwidth=1e12)[0]


def test_few_rows_take_low_tiles_and_many_take_high_ones() -> None:
    """Edges make low tiles dear, padding the high ones."""
    assert shared_out([1] * 256, edge=20.0)[1] == 16
    assert shared_out([2048] * 8, edge=20.0)[1] == 128


def test_skewed_loads_pad_less_but_never_beat_the_peak() -> None:
    """The time covers the arithmetic of all rows, however they are shared out."""
    for rows in ([64] * 16, [1009, *[1] * 15], [512, 512, *[0] * 14]):
        assert shared_out(rows)[0] >= 2 * sum(rows) * 512 * 1024 / PEAK


def test_a_split_costs_the_kernel_that_adds_its_parts() -> None:
    """Where that is dearer than what it saves, or the library forbids it, nothing is split."""
    free, cheap = result(128, 128, 1 << 16), result(128, 128, 1 << 16, combine=1e-9)
    assert free[3] > 1
    assert cheap[3] == free[3]
    assert cheap[0] == pytest.approx(free[0] + 1e-9)
    whole = result(128, 128, 1 << 16, most=1)
    assert whole[3] == 1
    assert result(128, 128, 1 << 16, combine=1.0) == whole
    assert result(128, 128, 1 << 16, most=4)[3] <= 4
