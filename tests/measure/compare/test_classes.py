"""Operator classes, datasheet times and strata, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accelsim.measure.compare.classes import (
    COMPUTE,
    LAUNCH,
    LINK,
    MEMORY,
    UNKNOWN,
    classes,
    floors_us,
    roofline_us,
    strata,
)
from accelsim.measure.gpus import board
from tests.measure.compare.standin import BASE, gemm, softmax, table

GPU, BANDWIDTH = board("A40")


def test_datasheet_times_by_hand(tmp_path: Path) -> None:
    """Products are held to the tensor cores, vector operators to the rate beside them."""
    rows = table([gemm(4096, 4096, 4096), softmax(100, 1000), gemm(8, 8, 8, gpu="none")], tmp_path)
    compute, memory = roofline_us(rows)
    assert compute[0] == pytest.approx(2 * 4096**3 / GPU.peak_flops["fp16"] * 1e6)
    assert memory[0] == pytest.approx(3 * 2 * 4096**2 / BANDWIDTH * 1e6)
    assert compute[1] == pytest.approx(5e5 / GPU.vector_flops * 1e6)
    assert np.isnan(compute[2])
    assert np.isnan(memory[2])


def test_counts_that_a_table_leaves_out_are_computed(tmp_path: Path) -> None:
    """Products from m, n, k; experts from the weights hit; a rope from its bytes alone."""
    blank = {"flops": "", "bytes_min": ""}
    moe = {
        **BASE, **blank, "op": "moe", "rows": 4, "hidden": 512, "inter": 256, "experts": 64,
        "topk": 2, "latency_us": 9.0,
    }  # fmt: skip
    rope = {**BASE, "op": "rope", "rows": 4, "flops": "", "bytes_min": 1e6, "latency_us": 9.0}
    rows = table([{**gemm(8, 64, 32), **blank}, moe, rope], tmp_path)
    compute, memory = roofline_us(rows)
    peak = GPU.peak_flops["fp16"]
    assert compute[0] == pytest.approx(2 * 8 * 64 * 32 / peak * 1e6)
    assert compute[1] == pytest.approx(2 * 8 * 3 * 512 * 256 / peak * 1e6)
    weights = 8 * 3 * 512 * 256 * 2  # eight of 64 experts
    assert memory[1] == pytest.approx((weights + 2 * 4 * 512 * 2) / BANDWIDTH * 1e6)
    assert (compute[2], memory[2]) == (0.0, pytest.approx(1e6 / BANDWIDTH * 1e6))


def test_a_mixed_batch_counts_causal_pairs(tmp_path: Path) -> None:
    """Two queries on three keys see two and three of them; one decode request sees five."""
    row = {
        **BASE, "op": "attention_mixed", "batch": 1, "heads": 4, "kv_heads": 2, "head_dim": 8,
        "q_len": 2, "kv_len": 3, "n_decode": 1, "kv_decode": 5, "flops": "", "bytes_min": "",
        "latency_us": 9.0,
    }  # fmt: skip
    compute, memory = roofline_us(table([row], tmp_path))
    assert compute[0] == pytest.approx(4 * 4 * 8 * (5 + 5) / GPU.peak_flops["fp16"] * 1e6)
    elements = 2 * (2 + 1) * 4 * 8 + 2 * (3 + 5) * 2 * 8
    assert memory[0] == pytest.approx(2 * elements / BANDWIDTH * 1e6)


def test_the_floor_belongs_to_source_clock_operator_and_gpu(tmp_path: Path) -> None:
    """It is the 1 % quantile of those rows only."""
    rows = [gemm(1, 8, 8, float(latency)) for latency in range(100, 201)]
    other = gemm(1, 8, 8, 50.0, timing="cuda_graph")
    floors = floors_us(table([*rows, other], tmp_path))
    assert floors[:-1] == pytest.approx(101.0)
    assert floors[-1] == 50.0


def test_strata(tmp_path: Path) -> None:
    """Launch below twice the floor unless the datasheet time is most of it; then the roofline."""
    link = {
        **BASE, "op": "allreduce", "bytes": 1e6, "n_devices": 2, "flops": "", "bytes_min": 1e6,
        "latency_us": 100.0,
    }  # fmt: skip
    rows = table(
        [
            gemm(8, 8, 8, 10.0),
            gemm(8, 8, 8, 19.0),
            gemm(4096, 4096, 4096, 1500.0),
            gemm(1, 8192, 8192, 250.0),
            gemm(8, 8, 8, 100.0, dtype="secret"),
            link,
        ],
        tmp_path,
    )
    floor = np.array([10.0, 10.0, 10.0, 10.0, 10.0, 10.0])
    found = strata(rows, floor, *roofline_us(rows))
    assert found.tolist() == [LAUNCH, LAUNCH, COMPUTE, MEMORY, UNKNOWN, LINK]
    busy = strata(rows, np.full(6, 1000.0), *roofline_us(rows))
    assert busy[2] == COMPUTE  # 918 us of 1500 are the tensor cores' own


def test_classes_group_kindred_operators(tmp_path: Path) -> None:
    """An operator that no class names is its own."""
    rows = table(
        [gemm(1, 8, 8, op=op) for op in ("gemm", "rope", "gelu", "scan")]
        + [softmax(1, 8, op="rmsnorm")],
        tmp_path,
    )
    assert classes(rows).tolist() == ["gemm", "elementwise", "elementwise", "scan", "norm"]
