"""A GPU as an analytical roofline: tiles that caches hold, shares of multiprocessors, no more."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim import arch
from accelsim.cost import Work
from accelsim.cost._gpu_attention import decode_tile
from accelsim.cost._gpu_blocked import MEMORY_DEPTH_PARTS, SHARED_DEPTH, SIDES, blocked
from accelsim.cost.gpu import Gpu
from tests.cost.gpu_boards import attending, calibrated, changed, product

SMS, PEAK, SHARED, L2 = 108, 1e14, 192 * 1024, 40 * 2**20
WIDE = 1e30  # a memory that never limits
ROOFLINE = {
    "tiles": "cached", "edge_elements": 0.0, "fill_elements": 0.0, "sustained_clock": 1.0,
    "combine_s": 0.0, "camping": 0.0, "start_s": 0.0, "smoothness": 1000.0,
}  # fmt: skip


def result(
    m: int, n: int, k: int, batch: int = 1, sms: int = SMS, bandwidth: float = WIDE,
    efficiency: float = 1.0, start: float = 0.0,
) -> tuple[float, int, int, int, float, float, float, float]:  # fmt: skip
    """Return what `blocked` makes of a product of 2-byte elements."""
    moved = (batch * m * k * 2.0, batch * n * k * 2.0, batch * m * n * 2.0)
    found: tuple[float, int, int, int, float, float, float, float] = blocked(
        batch, m, n, k, 2.0, 2.0, 2.0, *moved, sms, PEAK, SHARED, L2, bandwidth, efficiency,
        start, 1000.0,
    )  # fmt: skip
    return found


def share(blocks: int, sms: int = SMS) -> float:
    return blocks / (ceil(blocks / sms) * sms)


def cost(m: int, n: int, k: int, tm: int, tn: int) -> float:
    """Return traffic from L2 over the occupied share squared, of one product."""
    rows, columns = ceil(m / tm), ceil(n / tn)
    return (columns * m * k + rows * n * k + m * n) * 2 / share(rows * columns) ** 2


@given(st.integers(1, 2000), st.integers(1, 7000), st.integers(64, 13_000))
def test_the_tile_is_the_cheapest_that_shared_memory_holds(m: int, n: int, k: int) -> None:
    """All sides tried one by one."""
    _, tm, tn, *_ = result(m, n, k)
    fits = [
        cost(m, n, k, min(a, m), min(b, n))
        for a in map(int, SIDES)
        for b in map(int, SIDES)
        if 2 * (SHARED_DEPTH * (min(a, m) + min(b, n)) + min(a, m) * min(b, n)) <= SHARED
    ]
    assert 2 * (SHARED_DEPTH * (tm + tn) + tm * tn) <= SHARED
    assert cost(m, n, k, tm, tn) == pytest.approx(min(fits))


@given(st.integers(1, 2000), st.integers(1, 7000), st.integers(64, 13_000))
def test_both_peaks_shrink_by_the_share_of_blocks(m: int, n: int, k: int) -> None:
    """Nothing is padded: arithmetic and bytes are the product's own."""
    _, tm, tn, _, again_a, again_b, *_ = result(m, n, k)
    occupied = share(ceil(m / tm) * ceil(n / tn))
    assert result(m, n, k)[0] == pytest.approx(2 * m * n * k / PEAK / occupied)
    moved = 2.0 * (again_a * m * k + again_b * n * k + m * n)
    slow = result(m, n, k, bandwidth=1e6)[0]
    assert slow == pytest.approx(moved / 1e6 / occupied)
    assert result(m, n, k, sms=1, bandwidth=1e6)[0] <= slow * (1 + 1e-9)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(64, 40_000))
def test_memory_is_read_again_by_the_best_tile_in_l2(m: int, n: int, k: int) -> None:
    """Tiles of the L2 cache tried one by one, multiples of a block's or whole sides."""
    _, tm, tn, _, again_a, again_b, *_ = result(m, n, k)
    depth, best = k / MEMORY_DEPTH_PARTS, float("inf")
    for rows in {min(i * tm, m) for i in range(1, ceil(m / tm) + 1)}:
        for columns in {min(j * tn, n) for j in range(1, ceil(n / tn) + 1)}:
            own = (rows, columns) == (min(tm, m), min(tn, n))
            if own or 2 * (depth * (rows + columns) + rows * columns) <= L2:
                best = min(best, ceil(n / columns) * m * k + ceil(m / rows) * n * k)
    assert again_a * m * k + again_b * n * k == pytest.approx(best)


def test_what_the_cache_holds_is_read_once_and_what_it_does_not_again() -> None:
    """Small outputs once; of 16k x 16k outputs no L2 tile holds all."""
    assert result(54, 6144, 12288)[4:6] == (1.0, 1.0)
    again_a, again_b = result(16384, 16384, 16384)[4:6]
    assert again_a * again_b > 1


def test_several_products_have_a_block_each() -> None:
    """Twelve heads on 108 multiprocessors: a ninth of both peaks, whatever their size."""
    for n in (128, 2111):
        found = result(1, n, 128, batch=12, bandwidth=1e6)[0]
        assert found == pytest.approx(12 * 2.0 * (128 + 128 * n + n) / 1e6 * 9)


def test_start_and_efficiency_add_and_divide() -> None:
    """As in the other kernels."""
    plain = result(1024, 1024, 1024)[0]
    assert result(1024, 1024, 1024, efficiency=0.5, start=1.0)[0] == pytest.approx(1 + 2 * plain)


def gpu(**scalars: Any) -> tuple[Gpu, float]:
    return calibrated("A100-SXM4-80GB", changed("tensor", **ROOFLINE | scalars))


def test_a_gpu_takes_the_rule_of_its_calibration() -> None:
    """Even tiles are cached ones without idle multiprocessors: the plain roofline."""
    work = product(54, 6144, 12288)
    cached, even, library = (
        unit.run(work, bandwidth).compute_ps / 1e12
        for unit, bandwidth in (gpu(), gpu(tiles="even"), calibrated("A100-SXM4-80GB"))
    )
    bandwidth = gpu()[1] * 0.8
    moved = work.weight_bytes + work.input_bytes + work.output_bytes
    assert even == pytest.approx(moved / bandwidth, rel=1e-3)
    assert cached == pytest.approx(even / share(96), rel=1e-3)  # 54 x 64: 96 blocks
    assert library not in (cached, even)


def test_costs_that_a_roofline_does_not_know_are_refused() -> None:
    """They would do nothing, silently."""
    for name, value in (("camping", 0.1), ("sustained_clock", 0.9), ("fill_elements", 3.0)):
        with pytest.raises(ValueError, match=f"`cached` tiles know no {name}"):
            gpu(**{name: value})


def test_overlapped_decode_is_the_stream_alone() -> None:
    """Queries of one head meet 4096 keys on 108 multiprocessors: bytes over bandwidth."""
    work = attending(1, 4096, batch=27, kv=32, heads=32)  # 864 blocks, eight each
    scalars = {
        "start_s": 0.0, "block_s": 0.0, "resident": 1.0, "lone": 1.0, "most_splits": 1.0,
        "memory_efficiency": 0.75,
    }  # fmt: skip
    times = []
    for overlapped in (True, False):
        unit, bandwidth = calibrated(
            "A100-SXM4-80GB", changed("sglang.decode", overlapped=overlapped, **scalars)
        )
        times.append(unit.run(work, bandwidth).compute_ps / 1e12)
    moved = work.kv_bytes + work.input_bytes + work.output_bytes
    assert times[0] == pytest.approx(moved / bandwidth / 0.75, rel=1e-4)
    assert times[1] > 1.02 * times[0]


def softmax(heads: int, rows: int, columns: int) -> Work:
    """Return the work of the softmax of an attention in three kernels."""
    size = 2 * heads * rows * columns
    return Work(
        "softmax", dtype="fp16", m=heads * rows, n=columns, q_len=rows, heads=heads,
        input_bytes=size, output_bytes=size, vector_ops=5 * size // 2,
    )  # fmt: skip


def test_a_softmax_by_head_has_few_blocks() -> None:
    """54 heads leave half of 108 multiprocessors idle; 108 leave none."""
    for heads, slower in ((54, 2.0), (108, 1.0)):
        times = []
        for by_head in (True, False):
            plain = changed("vector", start_s=0.0)
            table = changed("vector_rules", plain, softmax_by_head=by_head, rereads=False)
            unit, bandwidth = calibrated("A100-SXM4-80GB", table)
            times.append(unit.run(softmax(heads, 2048, 2048), bandwidth).compute_ps)
        assert times[0] / times[1] == pytest.approx(slower, rel=1e-6)


def test_starts_are_known_by_function() -> None:
    """What no function has is the smallest kernel's."""
    table = changed("vector_rules", starts_s={"gelu": 9e-6})
    unit, bandwidth = calibrated("A100-SXM4-80GB", table)
    other = calibrated("A100-SXM4-80GB")[0]
    for name, longer in (("gelu", 9e-6 - 2e-6), ("relu", 0.0)):
        work = Work("elementwise", name, "fp16", m=64, n=64, input_bytes=8192, output_bytes=8192)
        gain = unit.run(work, bandwidth).compute_ps - other.run(work, bandwidth).compute_ps
        assert gain / 1e12 == pytest.approx(longer, abs=2e-12)


@pytest.mark.parametrize("queries", [1, 8, 2048])
def test_keys_leave_the_l2_cache_once_a_tile(queries: int) -> None:
    """One new token reads each key once; a long prompt once for every 128 queries."""
    unit, bandwidth = calibrated("A100-SXM4-80GB")
    work = attending(queries, 4096, causal=False)
    found = unit.run(work, bandwidth).energy_pj["l2"] / 8 / unit.energy.l2_pj_per_bit
    once = 1 if queries <= 8 else 4 * queries // 128  # four heads share a KV head
    expected = once * work.kv_bytes + work.input_bytes + work.output_bytes
    assert found == pytest.approx(expected, rel=1e-9)
    assert decode_tile(32, 8, 8) == 32


@pytest.mark.parametrize("name", ["dgx-a100a", "dgx-h100", "duplex"])
def test_shipped_rooflines_inherit_nothing_measured(name: str) -> None:
    """Every scalar of the measured GPU that they extend is set."""
    unit = arch.load(name).device.units["sm"]
    assert isinstance(unit, Gpu)
    table, kernels = unit.calibration, unit.kernels()
    for part in (table.tensor, table.simt):
        assert part.start_s == part.camping == part.combine_s == part.watts_per_tflops == 0
    assert {(f.efficiency, f.start_s, f.tiles) for f in table.formats.values()} == {
        (1.0, 0.0, "library")
    }
    assert set(table.vector.row_s.values()) == {0.0}
    norms = {"layernorm", "rmsnorm"}
    assert all(v == 1 for k, v in table.vector.efficiency.items() if k not in norms)
    assert kernels.decode.overlapped
    assert kernels.decode.start_s == kernels.prefill.start_s == kernels.grouped.start_s == 0
