"""Groups of measured rows: each row in one, by operator, format and library or function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accelsim.measure.rows import MODELLED, groups, library_of, usable
from tests.measure.compare.standin import gemm, softmax, table
from tests.measure.made import attention, experts, streams


def test_every_row_is_in_one_group(tmp_path: Path) -> None:
    """Whatever the order of rows; a group's rows have operator and format in common."""
    rows = [
        *(gemm(m, 64, 64, dtype=dtype) for m in (1, 2, 3) for dtype in ("fp16", "fp32", "odd")),
        softmax(8, 64), *streams("elementwise", [64], subop="rope"),
        *streams("elementwise", [64], subop="add"), *attention("decode")[:3],
        *attention("prefill", impl="sglang-0.5.10")[:2], *attention("decode", impl="cudnn")[:2],
        *experts()[:2], gemm(4, 64, 64, op="allreduce", bytes=8, n_devices=2),
    ]  # fmt: skip
    order = np.random.default_rng(0).permutation(len(rows))
    frame = table([rows[i] for i in order], tmp_path)
    found = groups(frame)
    numbers = np.concatenate(list(found.values()))
    assert sorted(numbers.tolist()) == list(range(len(rows)))
    for (op, dtype, _), inside in found.items():
        assert set(frame["op"].iloc[inside]) == {op}
        assert set(frame["dtype"].iloc[inside]) == {dtype}
    variants = {(op, variant) for op, _, variant in found}
    assert variants == {
        ("gemm", ""), ("softmax", ""), ("elementwise", "rope"), ("elementwise", "add"),
        ("attention_decode", "vllm"), ("attention_prefill", "sglang"), ("attention_decode", "own"),
        ("moe", "vllm"), ("allreduce", ""),
    }  # fmt: skip


def test_no_rows_are_no_groups(tmp_path: Path) -> None:
    """An empty part of a table is not an error."""
    assert groups(table([gemm(1, 2, 3)], tmp_path).iloc[:0]) == {}


@pytest.mark.parametrize(
    ("impl", "library"),
    [("vllm-0.9.1", "vllm"), ("TRTLLM-1.2", "trtllm"), ("sglang", "sglang"), ("", ""),
     ("ampere_sgemm_128x64_tn", ""), ("flash-attn", "")],
)  # fmt: skip
def test_libraries_by_the_name_of_the_implementation(impl: str, library: str) -> None:
    """Of serving engines; a kernel's name is none."""
    assert library_of(impl) == library


def test_rows_that_no_memory_streamed_are_not_fitted(tmp_path: Path) -> None:
    """Nor those of formats and operators that the model does not know."""
    rows = table(
        [
            gemm(1, 64, 64), gemm(1, 64, 64, flag="cache_resident"),
            gemm(1, 64, 64, flag="over_peak_bw_5pct"), gemm(1, 64, 64, flag="winograd_fft"),
            gemm(1, 64, 64, dtype="odd"), gemm(1, 64, 64, op="sampler"), softmax(8, 64),
        ],
        tmp_path,
    )  # fmt: skip
    assert usable(rows).tolist() == [True, False, False, True, False, False, True]
    assert "allreduce" not in MODELLED
