"""Streaming kernels on a GPU: bandwidth ramp, caches, blocks of rows, functions, scans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.cost import Work
from accelsim.cost._gpu_vector import cold, row_kernel, softmax_instructions, vector
from accelsim.cost.gpu import SCAN_OPERATIONS, Gpu
from tests.cost.gpu_boards import PLAIN, calibrated, changed

A100, BANDWIDTH = calibrated("A100-PCIe-80GB")
SHARED = 100e3
NORM = Work(
    "norm", "layernorm", m=8, n=64, input_bytes=1024, output_bytes=1024, vector_ops=4096
)  # fmt: skip


def seconds(work: Work, gpu: Gpu = A100) -> float:
    return gpu.run(work, BANDWIDTH).compute_ps * 1e-12


def stream(
    moved: float, busy: float = 0.0, rows: float = 1.0, row_bytes: float = 1.0,
    again: float = 0.0, in_flight: float = 1.0, l2: float = 1.0, l2_bandwidth: float = 4e12,
    start: float = 0.0, p: float = 4.0, row_s: float = 0.0,
) -> tuple[float, float]:  # fmt: skip
    """Return what `vector` makes of a kernel on 100 multiprocessors and a memory of 1 TB/s."""
    found: tuple[float, float] = vector(
        busy, moved, rows, row_bytes, again, in_flight, 100, SHARED, l2, 1e12, l2_bandwidth,
        start, p, row_s,
    )  # fmt: skip
    return found


@given(size=st.floats(1, 1e12), busy=st.floats(0, 10), p=st.floats(1, 8))
def test_times_are_between_the_larger_and_the_sum(size: float, busy: float, p: float) -> None:
    """Of bytes over bandwidth and arithmetic; the start comes before both."""
    found, moved = stream(size, busy, p=p, start=2e-6)
    assert moved == size
    parts = size / 1e12, busy
    slack = 1e-12
    assert max(parts) * (1 - 1e-6) - slack <= found - 2e-6 <= sum(parts) * (1 + 1e-6) + slack


def test_half_of_the_bandwidth_is_reached_where_the_stream_takes_the_start() -> None:
    """The ramp: start x bandwidth bytes take twice the start."""
    assert stream(2e-6 * 1e12, start=2e-6)[0] == pytest.approx(4e-6)
    assert stream(1e12, start=2e-6)[0] == pytest.approx(1.0, rel=1e-5)


@given(moved=st.floats(1, 1e12), l2=st.floats(1e3, 1e9), more=st.floats(1, 10))
def test_more_bytes_or_less_cache_come_from_memory(moved: float, l2: float, more: float) -> None:
    """None of what the cache holds easily, all of what is much larger, some in between."""
    assert 0 <= cold(moved, l2) <= cold(moved * more, l2) <= 1
    assert cold(moved, l2 * more) <= cold(moved, l2)
    assert cold(l2 / 2, l2) == 0
    assert cold(2 * l2, l2) == 1


def test_what_the_cache_holds_moves_at_its_bandwidth() -> None:
    """Never slower than the memory, even where the cache is."""
    assert stream(1e6, l2=1e8)[0] == pytest.approx(1e6 / 4e12)
    assert stream(1e6, l2=1e3)[0] == pytest.approx(1e6 / 1e12)
    assert stream(1e6, l2=1e8, l2_bandwidth=1e9)[0] == pytest.approx(1e6 / 1e12)


@given(size=st.floats(1, 1e10), more=st.floats(1, 100), l2=st.floats(1e3, 1e9))
def test_larger_kernels_never_take_less(size: float, more: float, l2: float) -> None:
    """Across the edge of the cache, too."""
    assert stream(size, l2=l2)[0] <= stream(size * more, l2=l2)[0] * (1 + 1e-9)


def test_rows_in_flight_that_outgrow_the_caches_are_read_again() -> None:
    """Not those that fit; of the largest, every byte as often as the kernel passes over them."""
    moved = 2 * 10_000 * 1e6
    fits = stream(moved, rows=1e4, row_bytes=1e6, again=2.0, in_flight=4.0, l2=1e10)
    grown = stream(moved, rows=1e4, row_bytes=1e6, again=2.0, in_flight=4.0, l2=1e7)
    once = stream(moved, rows=1e4, row_bytes=1e6, again=1.0, in_flight=4.0, l2=1e7)
    assert (fits[1], grown[1], once[1]) == (moved, 2 * moved, 1.5 * moved)
    assert grown[0] == pytest.approx(2 * moved / 1e12)


@given(
    row_bytes=st.integers(1, 1 << 20).map(lambda units: 16.0 * units), rows=st.integers(1, 10**6),
    again=st.sampled_from([1.0, 2.0]), l2=st.floats(1e6, 1e8),
)  # fmt: skip
def test_reading_again_is_within_its_limits(
    row_bytes: float, rows: int, again: float, l2: float
) -> None:
    """Between once and always; a larger cache never makes for more."""
    moved = 2 * rows * row_bytes
    other = {"rows": float(rows), "row_bytes": row_bytes, "again": again, "in_flight": 4.0}
    found, larger = (stream(moved, l2=cache, **other)[1] for cache in (l2, 2 * l2))
    assert moved <= larger <= found <= moved * (1 + again / 2) * (1 + 1e-12)


def test_a_rows_block_takes_its_time() -> None:
    """However few rows there are; with more than run at once, in proportion."""
    other: dict[str, Any] = {"again": 1.0, "in_flight": 4.0, "row_s": 3e-6, "row_bytes": 64.0}
    times = [stream(1e3, rows=rows, l2=1e9, **other)[0] for rows in (1.0, 400.0, 4000.0)]
    assert times == pytest.approx([3e-6, 3e-6, 30e-6], rel=1e-3)
    streamed = stream(1e3, rows=4000.0, l2=1e9, row_s=3e-6)[0]
    assert streamed < 1e-6


@given(
    columns=st.integers(1, 10**6), function=st.sampled_from(["softmax", "layernorm", "rmsnorm"])
)
def test_longer_rows_are_never_passed_over_less(columns: int, function: str) -> None:
    """Nor take fewer instructions for each element."""
    assert row_kernel(function, columns)[0] <= row_kernel(function, 2 * columns)[0]
    assert softmax_instructions(columns) <= softmax_instructions(2 * columns)
    assert row_kernel("gelu", columns) == (0.0, 0.0)


def test_small_kernels_take_the_floor() -> None:
    """A norm of one row takes the smallest kernel's time."""
    assert seconds(NORM) == pytest.approx(PLAIN.vector.start_s, rel=0.02)


def of(kind: str, function: str, columns: int, gpu: Gpu = A100) -> float:
    """Return the seconds of 4 GiB of rows, without the start."""
    rows = 2**31 // columns
    size = 2 * rows * columns
    work = Work(kind, function, m=rows, n=columns, input_bytes=size, output_bytes=size)
    return seconds(work, gpu) - PLAIN.vector.start_s


def test_norms_of_rows_beyond_the_caches_are_read_again() -> None:
    """A layer norm reads twice, which makes three passes of two."""
    short, long = (of("norm", "layernorm", columns) for columns in (1024, 1 << 20))
    assert long / short == pytest.approx(1.5, rel=1e-3)
    assert of("elementwise", "add", 1 << 20) == pytest.approx(short, rel=1e-3)


def test_a_softmax_of_long_rows_passes_over_them_thrice() -> None:
    """Which is four passes of two; a short one streams, or nearly."""
    stream_s = 2**33 / (BANDWIDTH * PLAIN.vector.memory_efficiency)
    assert of("softmax", "", 1 << 20) >= 2 * stream_s * (1 - 1e-3)
    assert stream_s <= of("softmax", "", 512) < 1.5 * stream_s


def test_a_function_has_its_own_share_of_the_bandwidth() -> None:
    """Where a campaign measured one; others reach the section's."""
    gpu, _ = calibrated("A100-PCIe-80GB", changed("vector", efficiency={"rope": 0.5}))
    slow, fast = (of("elementwise", function, 4096, gpu) for function in ("rope", "add"))
    assert slow == pytest.approx(2 * fast, rel=1e-6)


def test_scans_are_bound_by_exponentials_or_by_products() -> None:
    """A selective scan takes one exponential in seven operations, chunks use the tensor cores."""
    selective = Work("scan", "selective", input_bytes=1, output_bytes=1, vector_ops=7 * 10**10)
    start, rate = PLAIN.vector.start_s, A100.sms * 16 * A100.frequency_hz
    assert SCAN_OPERATIONS == 7
    assert seconds(selective) - start == pytest.approx(1e10 / rate, rel=1e-3)
    chunked = Work("scan", dtype="fp16", input_bytes=1, output_bytes=1, macs=10**12)
    assert seconds(chunked) - start == pytest.approx(2e12 / A100.peak("fp16"), rel=1e-3)
    lanes = replace(chunked, function="selective")
    assert seconds(lanes) - start == pytest.approx(2e12 / A100.vector_flops, rel=1e-3)
