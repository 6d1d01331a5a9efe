"""The GPU: laws of its kernels, what each calibrated scalar does, formats, energy."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.cost import Setting, Work
from accelsim.cost._gpu_kernels import attention, matmul, smooth_max, vector
from accelsim.cost.gpu import Gpu
from accelsim.cost.infinite import InfiniteMemory
from accelsim.measure.gpus import board, boards
from accelsim.testing.components import KernelCall, UnitContract

A100, BANDWIDTH = board("A100-PCIe-80GB")
SETTING = Setting(memory=InfiniteMemory(source="test"), buffer=None, technology_nm=7.0)
SCALARS = (1.0, 4e-6, 3.0, 25.0, 0.1, 90.0)


def product(m: int, n: int, k: int, batch: int = 1, dtype: str = "fp16", bits: int = 16) -> Work:
    return Work(
        "matmul", dtype=dtype, batch=batch, m=m, n=n, k=k, bits_a=bits, bits_b=bits, bits_c=bits,
        weight_bytes=batch * n * k * bits // 8, input_bytes=batch * m * k * bits // 8,
        output_bytes=batch * m * n * bits // 8, macs=batch * m * n * k,
    )  # fmt: skip


def attending(q_len: int, kv_len: int, causal: bool = True, batch: int = 1, kv: int = 8) -> Work:
    queries, keys = batch * 32 * q_len * 128, batch * kv * kv_len * 128
    return Work(
        "attention", dtype="fp16", batch=batch, heads=32, kv_heads=kv, q_len=q_len, kv_len=kv_len,
        head_dim=128, value_dim=128, causal=causal, input_bytes=2 * queries,
        output_bytes=2 * queries, kv_bytes=4 * keys, macs=2 * queries * kv_len,
    )  # fmt: skip


def seconds(work: Work, gpu: Gpu = A100) -> float:
    return gpu.run(work, BANDWIDTH).compute_ps * 1e-12


def recalibrated(**changes: float) -> Gpu:
    calibration = A100.calibration.model_copy(update=changes)
    return A100.model_copy(update={"calibration": calibration})


class TestGpu(UnitContract):
    """The contract of units, on products, attention and a kernel without products."""

    def unit(self) -> Gpu:
        return A100

    def setting(self) -> Setting:
        return SETTING

    def works(self) -> Sequence[Work]:
        return [
            product(1, 4096, 4096), product(17, 512, 300, batch=8), product(4096, 4096, 4096),
            product(64, 128, 1 << 16), product(100, 200, 300, dtype="int8", bits=8),
            product(64, 64, 64, dtype="fp32", bits=32),
            attending(512, 512, causal=False), attending(1, 4096, causal=False),
            Work("norm", m=8, n=64, input_bytes=1024, output_bytes=1024, vector_ops=4096),
            Work("scan", m=8, n=64, input_bytes=1024, output_bytes=1024, macs=1 << 20),
        ]  # fmt: skip

    def refused(self) -> Sequence[Work]:
        return [
            Work("collective", "all_reduce"),
            Work("transfer"),
            product(8, 8, 8, dtype="posit16"),
        ]

    def peak_macs_per_s(self, work: Work) -> float:
        return (A100.peak(work.dtype) if work.kind != "scan" else A100.vector_flops) / 2

    def kernels(self) -> Sequence[KernelCall]:
        chip = (108, 312e12, 164 * 1024.0, 40 * 2**20, 1.5e12)
        shape = (4, 300, 500, 700, 2.0, 2.0, 2.0, 1e6, 2e6, 1e6)
        heads = (2, 32, 8, 100, 300, 128, 128, True, 1e6, 108, 312e12, 19.5e12, 2.4e12, 1.5e12)
        return [
            (matmul, (*shape, *chip, *SCALARS)),
            (attention, (*heads, *SCALARS)),
            (vector, (1e6, 1e6, 1e12, 1e12, 2e-6, 3.0)),
            (smooth_max, (3.0, 4.0, 2.5)),
        ]


@given(
    m=st.integers(1, 9000), n=st.integers(1, 9000), k=st.integers(1, 9000),
    batch=st.integers(1, 64), name=st.sampled_from(sorted(boards())),
)  # fmt: skip
def test_no_product_beats_the_roofline(m: int, n: int, k: int, batch: int, name: str) -> None:
    """On every shipped board, time covers arithmetic at peak and bytes at datasheet bandwidth."""
    gpu, bandwidth = board(name)
    work = product(m, n, k, batch)
    moved = work.weight_bytes + work.input_bytes + work.output_bytes
    least = max(2 * work.macs / gpu.peak("fp16"), moved / bandwidth)
    assert gpu.run(work, bandwidth).compute_ps * 1e-12 >= least


@given(
    q_len=st.integers(1, 3000), past=st.integers(0, 3000), batch=st.integers(1, 64),
    kv=st.sampled_from([1, 4, 8, 32]), causal=st.booleans(),
)  # fmt: skip
def test_no_attention_beats_the_roofline(
    q_len: int, past: int, batch: int, kv: int, causal: bool
) -> None:
    """Time covers the products that the mask leaves, and every compulsory byte."""
    work = attending(q_len, q_len + past, causal, batch, kv)
    estimate = A100.run(work, BANDWIDTH)
    moved = (work.kv_bytes + work.input_bytes + work.output_bytes) / BANDWIDTH
    assert estimate.compute_ps >= max(estimate.ideal_ps, moved * 1e12)


@given(m=st.integers(1, 5000), n=st.integers(64, 9000), k=st.integers(64, 9000))
def test_rows_never_make_a_product_faster(m: int, n: int, k: int) -> None:
    """One row more never takes less time."""
    assert seconds(product(m + 1, n, k)) >= seconds(product(m, n, k))


def test_a_memory_slower_than_the_calibration_says_bounds_the_kernel() -> None:
    """What the memory sustains caps the bandwidth that a kernel reaches."""
    work = product(1, 8192, 8192)
    free, capped = A100.run(work, BANDWIDTH), A100.run(work, BANDWIDTH, BANDWIDTH / 2)
    assert A100.run(work, BANDWIDTH, BANDWIDTH) == free
    assert capped.compute_ps * 1e-12 >= work.weight_bytes / (BANDWIDTH / 2)
    assert capped.compute_ps > free.compute_ps


def test_a_new_wave_costs_more_than_the_rows_that_start_it() -> None:
    """With 108 blocks of 128 x 256 one more row spills into a second wave."""
    full, spilled = (seconds(product(m, 256 * 12, 4096)) for m in (128 * 9, 128 * 9 + 1))
    within = full - seconds(product(128 * 8 + 1, 256 * 12, 4096))
    assert spilled - full > 3 * within


def test_wave_rounding_is_the_price_of_a_partial_wave() -> None:
    """Rounded up, one block beyond a wave costs another wave of the smallest tile at least."""
    ratio = {}
    for a in (0.0, 1.0):
        gpu = recalibrated(wave_rounding=a, start_s=0.0, memory_efficiency=1.0)
        one, more = (gpu.run(product(256, 128, 8192, b), 1e15).compute_ps for b in (108, 109))
        ratio[a] = more / one
    assert ratio[0.0] == pytest.approx(109 / 108, rel=1e-3)
    assert ratio[1.0] > 1.05


def test_a_large_tile_is_slower_by_its_edges_only() -> None:
    """A compute-bound product takes its FLOPs at peak times edge and fill of the largest tile."""
    gpu = recalibrated(wave_rounding=0.0)
    work, c = product(256 * 108, 128 * 16, 8192), gpu.calibration
    edges = 1 + c.edge_elements * (1 / 256 + 1 / 128)
    expected = edges * (1 + c.fill_elements / 8192) * 2 * work.macs / gpu.peak("fp16")
    expected = c.start_s + expected / c.compute_efficiency
    assert gpu.run(work, 1e16).compute_ps * 1e-12 == pytest.approx(expected, rel=1e-6)


def test_a_long_reduction_over_few_tiles_is_split() -> None:
    """Where one tile per block would leave multiprocessors idle, k is cut into pieces."""
    assert "split" in A100.run(product(64, 256, 65536), BANDWIDTH).choice
    assert "split" not in A100.run(product(8192, 8192, 4096), BANDWIDTH).choice


def test_experts_pad_their_rows_to_tiles() -> None:
    """One row per expert costs what sixteen do, apart from the activations' bytes."""
    one, sixteen = (seconds(product(m, 2048, 2048, batch=64)) for m in (1, 16))
    assert sixteen < 1.02 * one
    assert one > 64 * 2 * 2048 * 2048 / BANDWIDTH


def test_operands_that_outgrow_the_cache_are_read_again() -> None:
    """Below the L2 capacity traffic is compulsory; far above it grows, never the weight alone."""
    small, large = product(512, 1024, 1024), product(16384, 16384, 16384)
    kept, again = A100.run(small, BANDWIDTH), A100.run(large, BANDWIDTH)
    assert kept.weight_traffic_bytes == small.weight_bytes
    assert kept.input_traffic_bytes == small.input_bytes
    moved = again.weight_traffic_bytes + again.input_traffic_bytes
    assert moved > 1.5 * (large.weight_bytes + large.input_bytes)


def test_causal_attention_costs_about_half() -> None:
    """Tiles above the diagonal are skipped: half of the work, plus the diagonal's."""
    ratio = seconds(attending(8192, 8192)) / seconds(attending(8192, 8192, causal=False))
    assert 0.5 < ratio < 0.54


def test_prefill_time_is_quadratic() -> None:
    """Twice the sequence takes four times as long."""
    ratio = seconds(attending(16384, 16384)) / seconds(attending(8192, 8192))
    assert ratio == pytest.approx(4, rel=0.03)


def test_decode_streams_the_cache() -> None:
    """At a large batch, decode attention takes its KV bytes at the attainable bandwidth."""
    work = attending(1, 8192, batch=64)
    reach = BANDWIDTH * A100.calibration.memory_efficiency
    assert 1.0 < seconds(work) / (work.kv_bytes / reach) < 1.2


def test_long_keys_of_one_sequence_are_split() -> None:
    """One sequence with eight KV heads fills the GPU only when its keys are split."""
    assert "split" in A100.run(attending(1, 65536), BANDWIDTH).choice
    assert "split" not in A100.run(attending(4096, 65536), BANDWIDTH).choice


def test_small_kernels_take_the_floor() -> None:
    """A norm of one row takes the smallest kernel's time."""
    work = Work("norm", m=1, n=4096, input_bytes=8192, output_bytes=8192, vector_ops=4 * 4096)
    assert seconds(work) == pytest.approx(A100.smallest_kernel_s, rel=0.02)


def test_launch_is_apart_from_the_kernel() -> None:
    """The gap follows the way of launching, the kernel does not."""
    eager = A100.model_copy(update={"launch": "eager"})
    graph, one = A100.run(product(8, 8, 8), 1e12), eager.run(product(8, 8, 8), 1e12)
    assert (graph.launch_ps, one.launch_ps) == (500_000, 900_000)
    assert graph.compute_ps == one.compute_ps


@pytest.mark.parametrize(
    ("dtype", "listed"),
    [
        ("fp16", "fp16"), ("nvfp4", "fp16"), ("mxfp8", "fp16"), ("fp8", "fp16"),
        ("int4", "int8"), ("bool", "int8"), ("bf16", "bf16"), ("tf32", "tf32"), ("posit16", ""),
    ],
)  # fmt: skip
def test_formats_widen_to_one_with_a_rate(dtype: str, listed: str) -> None:
    """A format without a rate runs as the next that holds its values; unknown ones do not."""
    assert A100.multiplied(dtype) == listed


def test_feeding_a_tile_takes_the_same_time_at_a_lower_rate() -> None:
    """fp32 runs at a sixteenth of the tensor rate, so its tiles lose far less to their edges."""
    work = product(8192, 8192, 8192, dtype="fp32", bits=32)
    estimate = A100.run(work, BANDWIDTH)
    assert estimate.ideal_ps / estimate.compute_ps > 0.9
    half = A100.run(product(8192, 8192, 8192), BANDWIDTH)
    assert half.ideal_ps / half.compute_ps < 0.8


def test_energy_by_hand() -> None:
    """One tensor-core fragment: a MAC each, every level once, three operands in registers."""
    energy = A100.run(product(16, 16, 16), BANDWIDTH).energy_pj
    assert energy["mac"] == pytest.approx(16**3 * 0.32)
    assert energy["register"] == pytest.approx(3 * 16**3 * 2 * 0.0675)
    assert energy["l2"] == pytest.approx(3 * 256 * 2 * 2.4)
    assert energy["shared"] == pytest.approx(3 * 256 * 2 * 1.28)


@pytest.mark.parametrize(
    "change", [{"compute_efficiency": 1.2}, {"smoothness": 0.5}, {"wave_rounding": 1.5}]
)
def test_calibrations_that_could_beat_the_roofline_are_refused(change: dict[str, float]) -> None:
    """Efficiencies end at one, the smooth maximum at the sum."""
    with pytest.raises(ValidationError):
        type(A100.calibration).model_validate(A100.calibration.model_dump() | change)
