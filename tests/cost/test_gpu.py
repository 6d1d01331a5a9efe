"""The GPU: which kernel runs an operator, what bounds it, launch, energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.cost import Setting, Work
from accelsim.cost._gpu_attention import decode, prefill
from accelsim.cost._gpu_calibration import Calibration
from accelsim.cost._gpu_convolution import convolution
from accelsim.cost._gpu_product import TILES, grouped, matmul, smooth_max
from accelsim.cost._gpu_vector import cold, softmax_instructions, vector
from accelsim.cost.gpu import Gpu, quantised
from accelsim.cost.infinite import InfiniteMemory
from accelsim.measure.gpus import board, boards
from accelsim.testing.components import KernelCall, UnitContract
from tests.cost.gpu_boards import (
    PLAIN,
    attending,
    calibrated,
    convolved,
    product,
    strided,
)

A100, BANDWIDTH = calibrated("A100-PCIe-80GB")
NAMES = sorted(boards())
NORM = Work(
    "norm", "layernorm", m=8, n=64, input_bytes=1024, output_bytes=1024, vector_ops=4096
)  # fmt: skip
SCAN = Work("scan", m=8, n=64, input_bytes=1024, output_bytes=1024, macs=1 << 20)


def seconds(work: Work, gpu: Gpu = A100, bandwidth: float = BANDWIDTH) -> float:
    return gpu.run(work, bandwidth).compute_ps * 1e-12


def moved(work: Work) -> int:
    return work.weight_bytes + work.kv_bytes + work.input_bytes + work.output_bytes


class TestGpu(UnitContract):
    """The contract of units, on each of the kernels."""

    def unit(self) -> Gpu:
        return A100

    def setting(self) -> Setting:
        memory = InfiniteMemory(source="test")
        return Setting(memory=memory, buffer=None, technology_nm=7.0)

    def works(self) -> Sequence[Work]:
        return [
            product(1, 4096, 4096), product(17, 512, 300, batch=8), product(4096, 4096, 4096),
            product(64, 128, 1 << 16), product(100, 200, 300, dtype="int8", bits=8),
            product(64, 64, 64, dtype="fp32", bits=32), strided(64, 100, 128, batch=32),
            convolved(2, 64, 64, 14), convolved(1, 64, 64, 14, 5, fast=False),
            convolved(8, 64, 64, 14, dtype="fp32", bits=32),
            attending(512, 512, causal=False), attending(1, 4096, causal=False),
            attending(512, 512, function="backward"), NORM, SCAN,
            replace(SCAN, function="selective", vector_ops=1 << 20),
        ]  # fmt: skip

    def refused(self) -> Sequence[Work]:
        return [
            Work("collective", "all_reduce"),
            Work("transfer"),
            product(8, 8, 8, dtype="posit16"),
        ]

    def peak_macs_per_s(self, work: Work) -> float:
        if (
            work.height and A100.arithmetic(work.dtype) == "simt"
        ):  # Winograd multiplies 1/4 as often
            return A100.peak(work.dtype) / 2 * 4
        return A100.peak(work.dtype) / 2

    def grown_dimensions(self, work: Work) -> Sequence[str]:
        return () if work.kind == "conv" else super().grown_dimensions(work)

    def kernels(self) -> Sequence[KernelCall]:
        shape = (4, 300, 500, 700, 2.0, 2.0, 2.0, 1e6, 2e6, 1e6, TILES["tensor"], 16)
        chip = (108, 312e12, 40 * 2**20, 1.5e12)
        scalars = (0.9, 3e-6, 3.0, 10.0, 50.0, 0.9, 1e-6, 0.05)
        heads = (2, 32, 8, 100, 300, 128, 128)
        rows, widths = np.array([0.0, 3.0, 70.0, 1.0]), (2.0, 2.0, 2.0)
        caches = (108, 164e3, 4e7)
        return [
            (matmul, (*shape, *chip, *scalars)),
            (matmul, (1, 64, 256, 1 << 16, *shape[4:], *chip, *scalars)),
            (
                convolution,
                (1, 4, 28, 28, 256, 9 * 128, 4.0, 4.0, 4.0, 1e6, 1e6, 1e6, True, TILES["simt"],
                 TILES["simt"], 108, 19.5e12, 40 * 2**20, 0.8, 0.9, 0.7, 20.0, 1.5e12, 0.9, 3e-6,
                 3.0, 8.0, 0.9, 1e-6),
            ),
            (grouped, (rows, 512, 300, *widths, 108, 312e12, 1.5e12, 0.7, 2.0, 20.0, 60.0, 0.9)),
            (
                prefill,
                (*heads, True, 1e6, 108, 312e12, 19.5e12, 2.4e12, 1.5e12, 1.1, 4e-6, 2.0, 40.0,
                 1e-6, 0.5, True),
            ),
            (
                decode,
                (2, 32, 8, 1, 9000, 128, 128, 2.0, 9e7, 108, 312e12, 1.5e12, 4e-6, 1e-6, 3e-6,
                 1.5, 0.85, 64.0, 64.0, True),
            ),
            (vector, (1e-6, 1e6, 9.0, 1e5, 2.0, 4.0, *caches, 1e12, 4e12, 2e-6, 3.0, 1e-6)),
            (vector, (1e-4, 1e9, 1e4, 5e4, 1.0, 16.0, *caches, 1e12, 4e12, 2e-6, 3.0, 0.0)),
            (cold, (3e7, 4e7)),
            (softmax_instructions, (1 << 17,)),
            (smooth_max, (3.0, 4.0, 2.5)),
        ]  # fmt: skip


@given(
    m=st.integers(1, 9000), n=st.integers(1, 9000), k=st.integers(1, 9000),
    batch=st.integers(1, 64), experts=st.booleans(), name=st.sampled_from(NAMES),
)  # fmt: skip
def test_no_product_beats_the_roofline(
    m: int, n: int, k: int, batch: int, experts: bool, name: str
) -> None:
    """On every shipped board, time covers arithmetic at peak and bytes at datasheet bandwidth."""
    gpu, bandwidth = board(name)
    work = product(m, n, k, batch) if experts else strided(m, n, k, batch)
    least = max(2 * work.macs / gpu.peak("fp16"), moved(work) / bandwidth)
    assert seconds(work, gpu, bandwidth) >= least


@given(
    images=st.integers(1, 64), channels=st.integers(1, 1024), filters=st.integers(1, 1024),
    side=st.integers(1, 64), name=st.sampled_from(NAMES),
)  # fmt: skip
def test_no_convolution_beats_the_arithmetic_of_winograd(
    images: int, channels: int, filters: int, side: int, name: str
) -> None:
    """F(4x4, 3x3) multiplies 36 times where a direct kernel does 144 times, on scalar lanes."""
    gpu, bandwidth = board(name)
    for dtype, bits in (("fp16", 16), ("fp32", 32)):
        work = convolved(images, channels, filters, side, dtype=dtype, bits=bits)
        share = 1 / 4 if gpu.arithmetic(dtype) == "simt" else 1
        least = max(share * 2 * work.macs / gpu.peak(dtype), moved(work) / bandwidth)
        assert seconds(work, gpu, bandwidth) >= least


@given(
    q_len=st.integers(1, 3000), past=st.integers(0, 3000), batch=st.integers(1, 64),
    kv=st.sampled_from([1, 4, 8, 32]), causal=st.booleans(), name=st.sampled_from(NAMES),
)  # fmt: skip
def test_no_prefill_beats_the_roofline(
    q_len: int, past: int, batch: int, kv: int, causal: bool, name: str
) -> None:
    """Time covers the products that the mask leaves, and every compulsory byte."""
    gpu, bandwidth = board(name)
    work = attending(q_len + 16, q_len + 16 + past, causal, batch, kv)
    estimate = gpu.run(work, bandwidth)
    assert estimate.compute_ps + 1 >= max(estimate.ideal_ps, moved(work) / bandwidth * 1e12)


@given(
    q_len=st.integers(1, 16), past=st.integers(0, 100_000), batch=st.integers(1, 300),
    kv=st.sampled_from([1, 4, 8, 32]), name=st.sampled_from(NAMES),
)  # fmt: skip
def test_no_decode_beats_the_roofline(
    q_len: int, past: int, batch: int, kv: int, name: str
) -> None:
    """As for prefill, where the keys are split."""
    gpu, bandwidth = board(name)
    work = attending(q_len, q_len + past, batch=batch, kv=kv)
    estimate = gpu.run(work, bandwidth)
    assert estimate.compute_ps + 1 >= max(estimate.ideal_ps, moved(work) / bandwidth * 1e12)


@pytest.mark.parametrize(
    "name", ["A100-SXM4-80GB", "A40", "H100-SXM5-80GB", "T4", "V100-PCIe-32GB"]
)
def test_the_order_of_magnitude_on_shipped_boards(name: str) -> None:
    """Large products reach half to all of the peak; thin ones half to all of the bandwidth."""
    gpu, bandwidth = board(name)
    large, thin = product(8192, 8192, 8192), product(1, 8192, 8192)
    assert 0.5 < 2 * large.macs / gpu.peak("fp16") / seconds(large, gpu, bandwidth) < 1
    assert 0.5 < thin.weight_bytes / bandwidth / seconds(thin, gpu, bandwidth) < 1


def test_formats_are_as_fast_as_their_units() -> None:
    """Half the width is nearly twice as fast, fp32 runs outside the tensor cores."""
    gpu, bandwidth = calibrated("H100-SXM5-80GB")
    times = {
        dtype: seconds(product(8192, 8192, 8192, dtype=dtype, bits=bits), gpu, bandwidth)
        for dtype, bits in (("fp8", 8), ("fp16", 16), ("bf16", 16), ("fp32", 32))
    }
    assert 1.6 < times["fp16"] / times["fp8"] <= 2
    assert times["bf16"] == times["fp16"]
    rates = gpu.peak("fp16") / gpu.peak("fp32")
    assert times["fp32"] / times["fp16"] == pytest.approx(rates, rel=0.2)
    weights = replace(product(1, 8192, 8192), bits_b=4, weight_bytes=8192 * 8192 // 2)
    assert seconds(product(1, 8192, 8192), gpu, bandwidth) / seconds(weights, gpu, bandwidth) > 2.5


def test_a_memory_slower_than_the_calibration_says_bounds_the_kernel() -> None:
    """What the memory sustains caps the bandwidth that a kernel reaches."""
    work = product(1, 8192, 8192)
    free, capped = A100.run(work, BANDWIDTH), A100.run(work, BANDWIDTH, BANDWIDTH / 2)
    assert A100.run(work, BANDWIDTH, BANDWIDTH) == free
    assert capped.compute_ps * 1e-12 >= work.weight_bytes / (BANDWIDTH / 2)
    assert capped.compute_ps > free.compute_ps


def test_winograd_is_for_small_filters_on_scalar_lanes() -> None:
    """By tiles of 4 x 4 outputs where images are large, of 2 x 2 where whole ones waste less."""

    def choice(side: int, **changes: Any) -> str:
        work = convolved(32, 256, 256, side, **{"dtype": "fp32", "bits": 32, **changes})
        return A100.run(work, BANDWIDTH).choice

    assert choice(56).startswith("winograd 4x4")
    assert choice(6).startswith("winograd 2x2")
    assert "winograd" not in choice(56, fast=False)
    assert "winograd" not in choice(56, dtype="fp16", bits=16)


@given(
    images=st.integers(1, 32), channels=st.integers(1, 512), filters=st.integers(1, 512),
    side=st.integers(1, 56),
)  # fmt: skip
def test_a_choice_of_kernels_never_costs_time(
    images: int, channels: int, filters: int, side: int
) -> None:
    """The implicit product stays where Winograd's do not pay."""
    work = convolved(images, channels, filters, side, dtype="fp32", bits=32)
    assert seconds(work) <= seconds(replace(work, height=0, width=0))


def test_a_depthwise_convolution_is_not_tiled() -> None:
    """With a multiply for each of nine taps and a channel's own weights, the kernel streams."""
    m, channels = 32 * 56 * 56, 512
    work = Work(
        "conv", dtype="fp16", batch=channels, m=m, n=1, k=9, weight_bytes=2 * 9 * channels,
        input_bytes=2 * m * channels, output_bytes=2 * m * channels, macs=9 * m * channels,
    )  # fmt: skip
    estimate = A100.run(work, BANDWIDTH)
    assert estimate.choice == "conv"
    stream = moved(work) / BANDWIDTH / PLAIN.vector.memory_efficiency
    assert stream < estimate.compute_ps * 1e-12 < 1.2 * stream + PLAIN.vector.start_s
    assert "x" in A100.run(replace(work, batch=2, n=256, k=9 * 256), BANDWIDTH).choice


def test_launch_is_apart_from_the_kernel() -> None:
    """The gap follows the way of launching, the kernel does not."""
    eager = A100.model_copy(update={"launch": "eager"})
    graph, one = A100.run(product(8, 8, 8), 1e12), eager.run(product(8, 8, 8), 1e12)
    assert (graph.launch_ps, one.launch_ps) == (500_000, 900_000)
    assert graph.compute_ps == one.compute_ps


def test_quantised_formats_start_later_and_run_at_their_share() -> None:
    """Their further fixed time comes in full, whatever the size; other formats have none."""
    told = {"int8": {"efficiency": 1.0, "start_s": 7e-6}, "int4_wo": {"efficiency": 0.5,
            "start_s": 0.0}}  # fmt: skip
    data = PLAIN.model_dump() | {"formats": told}
    gpu, _ = calibrated("A100-PCIe-80GB", type(PLAIN).model_validate(data))
    for m in (1, 4096):
        work = product(m, 4096, 4096, dtype="int8", bits=8)
        assert seconds(work, gpu) - seconds(work) == pytest.approx(7e-6, abs=2e-12)
        assert seconds(product(m, 4096, 4096), gpu) == seconds(product(m, 4096, 4096))
    weights = replace(product(8192, 8192, 8192), bits_b=4)
    assert quantised(weights) == "int4_wo"
    assert seconds(weights, gpu) / seconds(weights) == pytest.approx(2, rel=0.03)


def test_energy_by_hand() -> None:
    """One tensor-core fragment: a MAC each, every level once, three operands in registers."""
    energy = A100.run(product(16, 16, 16), BANDWIDTH).energy_pj
    assert energy["mac"] == pytest.approx(16**3 * 0.32)
    assert energy["register"] == pytest.approx(3 * 16**3 * 2 * 0.0675)
    assert energy["l2"] == pytest.approx(3 * 256 * 2 * 2.4)
    assert energy["shared"] == pytest.approx(3 * 256 * 2 * 1.28)


def test_a_quantised_formats_kernels_may_have_few_tiles() -> None:
    """Tiles that follow the tokens, or one for all, split no reduction; the library's does."""
    choices = {}
    for tiles in ("library", "rows", "fixed"):
        formats = {"int8_wo": {"efficiency": 1.0, "start_s": 0.0, "tiles": tiles}}
        own = Calibration.model_validate(PLAIN.model_dump() | {"formats": formats})
        gpu, bandwidth = calibrated("A100-PCIe-80GB", own)
        narrow = replace(product(16, 256, 16384), bits_b=8, weight_bytes=256 * 16384)
        choices[tiles] = gpu.run(narrow, bandwidth).choice
    assert "split" in choices["library"]
    assert (choices["rows"], choices["fixed"]) == ("16x128", "128x128")
