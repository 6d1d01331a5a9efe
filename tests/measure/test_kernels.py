"""Predictions of whole tables are those of the GPU component, operator by operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.cost import Work
from accelsim.cost.gpu import Calibration, Gpu
from accelsim.measure import kernels
from accelsim.measure._loops import loads
from accelsim.measure.predict import part_s
from tests.cost.gpu_boards import (
    PLAIN,
    attending,
    calibrated,
    convolved,
    product,
    strided,
)
from tests.measure.compare.standin import BASE, gemm, softmax, table
from tests.measure.made import experts, streams

FORMATS = {"int8": {"efficiency": 0.7, "start_s": 5e-6}, "int8_wo": {"efficiency": 0.8,
           "start_s": 1e-6}, "int4_wo": {"efficiency": 0.6, "start_s": 2e-6}}  # fmt: skip
SCALARS = Calibration.model_validate(PLAIN.model_dump() | {"formats": FORMATS})
BOARDS = ("A100-PCIe-80GB", "T4", "MI210", "H100-SXM5-80GB", "M40")

sizes = st.integers(1, 9000)
boards = st.sampled_from(BOARDS)


def tabled(row: dict[str, Any], name: str) -> float:
    """Return the kernel time of a row on a board as tables are predicted, seconds."""
    gpu, bandwidth = calibrated(name, SCALARS)
    frame = pd.DataFrame([row | {"gpu": name}])
    for column in ("flops", "bytes_min"):
        frame[column] = frame.get(column, np.nan)
    op, dtype, variant = (str(row.get(key, "")) for key in ("op", "dtype", "variant"))
    (found,) = part_s(frame, op, dtype, variant, SCALARS, gpu, bandwidth)
    return float(found)


def component(work: Work, name: str) -> Any:
    """Return the same of the component, to the picosecond."""
    gpu, bandwidth = calibrated(name, SCALARS)
    return pytest.approx(gpu.run(work, bandwidth).compute_ps * 1e-12, rel=1e-9, abs=1e-12)


@given(m=sizes, n=sizes, k=sizes, name=boards)
def test_products(m: int, n: int, k: int, name: str) -> None:
    """Of 16-bit and fp32 operands."""
    assert tabled(gemm(m, n, k), name) == component(product(m, n, k), name)
    wide = product(m, n, k, dtype="fp32", bits=32)
    assert tabled(gemm(m, n, k, dtype="fp32"), name) == component(wide, name)


@given(m=sizes, n=sizes, k=sizes, name=boards)
def test_quantised_products(m: int, n: int, k: int, name: str) -> None:
    """Results are 16 bits wide; of weights alone, activations too."""
    whole = product(m, n, k, dtype="int8", bits=8)
    whole = replace(whole, bits_c=16, output_bytes=2 * m * n)
    assert tabled(gemm(m, n, k, dtype="int8"), name) == component(whole, name)
    for bits in (8, 4):
        narrow = replace(
            product(m, 2 * n, k, dtype="bf16"), bits_b=bits, weight_bytes=2 * n * k * bits // 8
        )
        row = gemm(m, 2 * n, k, dtype=f"int{bits}_wo")
        assert tabled(row, name) == component(narrow, name)


@given(m=sizes, n=sizes, k=sizes, batch=st.integers(2, 200), name=boards)
def test_batched_products(m: int, n: int, k: int, batch: int, name: str) -> None:
    """A strided batch has its own catalogue of tiles."""
    for dtype, bits in (("fp16", 16), ("fp32", 32)):
        row = gemm(m, n, k, op="bmm", b=batch, dtype=dtype)
        assert tabled(row, name) == component(strided(m, n, k, batch, dtype, bits), name)


@given(
    images=st.integers(1, 32), channels=st.integers(15, 600), filters=st.integers(1, 600),
    side=st.integers(1, 64), width=st.sampled_from([1, 3, 5]), name=boards,
)  # fmt: skip
def test_convolutions(
    images: int, channels: int, filters: int, side: int, width: int, name: str
) -> None:
    """Winograd's where the filter is 3 x 3, if it is faster, in fp32."""
    row: dict[str, Any] = {
        **BASE, "op": "conv", "batch": images, "c_in": channels, "c_out": filters, "kh": width,
        "kw": width, "h_in": side, "w_in": side, "stride_h": 1, "stride_w": 1,
        "pad_h": width // 2, "pad_w": width // 2,
    }  # fmt: skip
    for dtype, bits in (("fp16", 16), ("fp32", 32)):
        work = convolved(images, channels, filters, side, width, width == 3, dtype, bits)
        assert tabled(row | {"dtype": dtype}, name) == component(work, name)


@given(
    q_len=st.integers(1, 3000), past=st.integers(0, 3000), batch=st.integers(1, 40),
    kv=st.sampled_from([1, 8, 32]), causal=st.booleans(), name=boards,
)  # fmt: skip
def test_attention(q_len: int, past: int, batch: int, kv: int, causal: bool, name: str) -> None:
    """Few queries run the decode kernel whatever the row calls its phase."""
    row = {
        **BASE, "op": "attention_prefill", "variant": "vllm", "batch": batch, "heads": 32,
        "kv_heads": kv, "head_dim": 128, "q_len": q_len, "kv_len": q_len + past,
        "causal": int(causal),
    }  # fmt: skip
    work = attending(q_len, q_len + past, causal, batch, kv)
    assert tabled(row, name) == component(work, name)
    decoded = row | {"op": "attention_decode", "q_len": 1}
    alone = attending(1, q_len + past, causal, batch, kv)
    assert tabled(decoded, name) == component(alone, name)


@given(
    rows=st.integers(1, 1 << 16), columns=st.integers(1, 1 << 17), name=boards,
    op=st.sampled_from(["softmax", "layernorm", "rmsnorm", "gelu", "elementwise"]),
)  # fmt: skip
def test_streams(rows: int, columns: int, name: str, op: str) -> None:
    """Rows that do not fit are read again by the same rule."""
    size, count = 2 * rows * columns, 4 * rows * columns
    row = softmax(rows, columns, op=op, variant="add" if op == "elementwise" else "")
    row |= {"bytes_min": 2.0 * size, "flops": float(count)}
    kind, function = {"softmax": ("softmax", ""), "elementwise": ("elementwise", "add")}.get(
        op, ("norm", op)
    )
    work = Work(
        kind, function, m=rows, n=columns, input_bytes=size, output_bytes=size, vector_ops=count
    )  # fmt: skip
    assert tabled(row, name) == component(work, name)


@given(
    tokens=st.integers(1, 5000), experts=st.sampled_from([8, 64, 128]), topk=st.integers(1, 8),
    devices=st.sampled_from([1, 2, 4]), alpha=st.sampled_from([0.0, 0.6, 1.0, 1.2]),
    contiguous=st.booleans(),
)  # fmt: skip
def test_loads_of_experts(
    tokens: int, experts: int, topk: int, devices: int, alpha: float, contiguous: bool
) -> None:
    """Whole rows, none negative, of one device's experts; at most a row per token and expert."""
    found = loads(tokens, topk, experts, devices, alpha, contiguous)
    assert found.size == experts // devices
    assert (found >= 0).all()
    assert (found == np.round(found)).all()
    assert 1 <= found.sum() <= max(1, tokens * topk)
    assert found.max() <= tokens + 1
    if devices == 1 and alpha == 0:
        assert found.sum() == tokens * topk
        assert found.max() - found.min() <= 1


def test_skewed_loads_are_skewed() -> None:
    """A larger exponent gives the fullest expert more."""
    fullest = [loads(4096, 8, 128, 1, alpha, False).max() for alpha in (0.0, 0.6, 1.2)]
    assert fullest[0] == 4096 * 8 / 128
    assert fullest[0] < fullest[1] < fullest[2]


def layer(row: dict[str, Any], change: Callable[[Gpu], Gpu] = lambda gpu: gpu) -> float:
    """Return the time of a layer of experts on an A100, seconds."""
    gpu, bandwidth = calibrated("A100-PCIe-80GB")
    frame = pd.DataFrame([row])
    times = kernels.experts(frame, row["dtype"], "vllm", change(gpu), bandwidth)
    return float(times(PLAIN.libraries["vllm"].grouped, PLAIN.vector)[0])


def test_a_layer_of_experts_covers_weights_and_arithmetic() -> None:
    """Few tokens read the weights of experts hit, many take the products' time."""
    for row in experts(subop=""):
        count = min(row["experts"], row["rows"] * row["topk"])
        weights = 3.0 * row["hidden"] * row["inter"] * 2
        flops = weights * row["rows"] * row["topk"]
        least = max(count * weights / 1935e9, flops / 312e12)
        assert least < layer(row) < 40e-6 + 4 * least, row


def test_hit_experts_alone_are_read_where_a_row_counts_them() -> None:
    """Half the experts, half the bytes; a device of several has its share of both kinds."""
    row = experts(subop="", active_experts=64)[17]
    assert (row["experts"], row["rows"]) == (64, 64)
    fixed = 2 * PLAIN.libraries["vllm"].grouped.start_s
    every = layer(row) - fixed
    assert layer(row | {"active_experts": 32}) - fixed == pytest.approx(every / 2, rel=0.1)
    assert layer(row | {"active_experts": 0, "ep": 2}) < layer(row | {"active_experts": 0})
    assert layer(row | {"tp": 2}) - fixed == pytest.approx(every / 2, rel=0.1)


def test_mixed_batches_of_no_decodes_are_prefills(tmp_path: Path) -> None:
    """Of a library that packs no heads; decoding sequences come on top."""
    row = {
        **BASE, "op": "attention_mixed", "batch": 1, "heads": 32, "kv_heads": 8, "head_dim": 128,
        "q_len": 512, "kv_len": 2048, "causal": 1, "n_decode": 0, "kv_decode": 0,
        "latency_us": 1.0,
    }  # fmt: skip
    gpu, bandwidth = calibrated("A100-PCIe-80GB")
    counts = [0, 1, 16, 64]
    rows = [row | {"n_decode": n, "kv_decode": 4096 if n else 0} for n in counts]
    frame = table(rows, tmp_path)
    one = PLAIN.libraries["vllm"]
    unpacked = one.prefill.model_copy(update={"packed": False})
    times = kernels.mixed(frame, "fp16", gpu, bandwidth)(unpacked, one.decode)
    alone = kernels.prefills(frame, "fp16", gpu, bandwidth)(unpacked, one.decode)
    assert times[0] == pytest.approx(alone[0], rel=1e-9)
    assert times.tolist() == sorted(times)
    assert times[-1] > times[0]


def test_sizes_that_are_left_empty_have_a_default() -> None:
    """A column that is not there, or a cell without a number."""
    frame = pd.DataFrame({"m": [1.0, np.nan, 3.0]})
    assert kernels.column(frame, "m").tolist() == [1, 1, 3]
    assert kernels.column(frame, "m", 0).tolist() == [1, 0, 3]
    assert kernels.column(frame, "b").tolist() == [1, 1, 1]


def test_streams_keep_the_order_of_rows(tmp_path: Path) -> None:
    """One time per row; larger ones take longer."""
    gpu, bandwidth = calibrated("A100-PCIe-80GB")
    frame = table(streams("gelu", [1024]), tmp_path)
    times = kernels.vectors(frame, "gelu", "gelu", gpu, bandwidth)(PLAIN.vector)
    assert times.size == len(frame)
    assert (np.diff(times) > 0).all()
