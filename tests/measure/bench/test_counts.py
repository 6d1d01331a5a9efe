"""Operations and bytes are those that the measured tables print for the same shapes."""

from __future__ import annotations

import csv
import gzip
import math
from collections import Counter

import pytest

from accelsim.measure.bench.case import TABLE_DIMS, case
from accelsim.measure.bench.counts import attended_pairs, counts
from tests.reference import reference_file

ELEMENTWISE = {"add", "mul", "div", "pow", "relu", "tanh", "add_scalar", "mul_scalar"}
WIDE = {"fp32", "fp16", "bf16"}
COMPARED = {
    "gemm", "bmm", "softmax", "layernorm", "rmsnorm", "gelu", "silu_mul", "elementwise", "rope",
    "embedding", "attention_prefill", "attention_decode", "conv", "moe",
}  # fmt: skip


def test_counts_are_those_of_the_measured_tables() -> None:
    """Row by row, for every operator that both have."""
    seen: Counter[str] = Counter()
    with gzip.open(reference_file("measured/ops_sample.csv.gz"), "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            narrow = row["op"] == "gemm" and row["dtype"] in {"fp8", "int8"}
            if row["op"] not in COMPARED or not (narrow or row["dtype"] in WIDE):
                continue
            if row["op"] == "elementwise" and row["subop"] not in ELEMENTWISE:
                continue
            if row["op"] == "conv" and row["subop"] != "fwd":
                continue
            if row["op"] == "moe" and (row["tp"], row["ep"]) != ("1", "1"):
                continue  # shards of experts: the bench measures whole layers
            sizes = {n: int(float(row[n])) for n in TABLE_DIMS if row[n]}
            found = counts(case(row["op"], row["dtype"], "", subop=row["subop"], **sizes))
            for name in ("flops", "bytes_min"):
                if row[name] and not (row["op"] == "gemm" and row["subop"] == "linear_bias"):
                    assert math.isclose(getattr(found, name), float(row[name]), rel_tol=1e-5), row
                    seen[row["op"]] += 1
    assert set(seen) == COMPARED
    assert min(seen.values()) >= 8


@pytest.mark.parametrize(("q_len", "kv_len"), [(1, 1), (1, 9), (4, 4), (3, 8)])
def test_pairs_by_enumeration(q_len: int, kv_len: int) -> None:
    """The closed form counts what a mask leaves."""
    past = kv_len - q_len
    seen = sum(key <= past + query for query in range(q_len) for key in range(kv_len))
    assert attended_pairs(q_len, kv_len, True) == seen
    assert attended_pairs(q_len, kv_len, False) == q_len * kv_len


def test_scores_that_go_through_memory_are_room() -> None:
    """Unfused attention needs room for the scores; a fused kernel does not."""
    sizes = {
        "batch": 1, "heads": 32, "kv_heads": 8, "head_dim": 128, "q_len": 4096, "kv_len": 4096,
        "causal": 1,
    }  # fmt: skip
    fused, unfused = (
        counts(case("attention_prefill", "bf16", impl, **sizes)).resident_bytes
        for impl in ("sdpa.flash", "unfused")
    )
    assert unfused - fused > 32 * 4096 * 4096 * 8


def test_a_grouped_convolution_divides_its_weights() -> None:
    """Depthwise: one weight matrix of one channel each."""
    sizes = {
        "batch": 1, "c_in": 8, "c_out": 8, "kh": 3, "kw": 3, "h_in": 4, "w_in": 4, "stride_h": 1,
        "stride_w": 1, "pad_h": 1, "pad_w": 1,
    }  # fmt: skip
    dense = counts(case("conv", "fp32", "x", groups=1, **sizes)).flops
    depthwise = counts(case("conv", "fp32", "x", groups=8, **sizes)).flops
    assert dense == 8 * (depthwise or 0) == 2 * 16 * 8 * 8 * 9
