"""Each rule names its cause on a row made for it, and gives the figures that made it hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.measure.compare.causes import CAUSES, causes, evidence, why
from accelsim.measure.compare.classes import roofline_us, strata
from tests.measure.compare.standin import BASE, gemm, softmax, table

LAST_WAVE = 3 * 84 + 1  # tiles on the 84 multiprocessors of an A40
DECODE = {
    **BASE, "op": "attention_decode", "batch": 1, "heads": 8, "kv_heads": 1, "head_dim": 128,
    "q_len": 1, "kv_len": 32768, "flops": 1e8, "bytes_min": 2e7, "latency_us": 90.0,
}  # fmt: skip
MOE = {
    **BASE, "op": "moe", "rows": 64, "hidden": 512, "inter": 256, "experts": 64, "topk": 2,
    "subop": "power_law_1.01", "latency_us": 90.0, "flops": 1e8, "bytes_min": 2e7,
}  # fmt: skip
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("winograd", softmax(64, 64, 90.0, flag="winograd_fft"), "Winograd"),
    ("cache residency", softmax(64, 64, 90.0, flag="cache_resident"), "last-level cache"),
    ("cache residency", softmax(512, 2048, 5.0), "1.2 times the memory's speed"),
    ("launch floor", gemm(4096, 1024, 4096, 6.0, notes="launch"), "the smallest of this clock"),
    ("scatter", gemm(4096, 1024, 4096, 400.0, lat_std_us=200.0), "scatter by 50%"),
    ("uneven experts", MOE, "unevenly"),
    ("gemv", gemm(1, 8192, 8192, 300.0), "1x8192 results"),
    ("few blocks", gemm(128, 128, 65536, 90.0), "0.012 of a wave"),
    ("few blocks", DECODE, "0.012 of a wave"),
    ("small k", gemm(8192, 8192, 64, 900.0), "k = 64"),
    ("odd alignment", gemm(4096, 1023, 4096, 400.0), "n = 1023"),
    ("wave quantisation", gemm(128 * LAST_WAVE, 128, 4096, 900.0), "3.01 waves of blocks take 4"),
    ("unknown", gemm(4096, 4096, 4096, 1100.0), "no rule applies"),
]


@pytest.mark.parametrize(("cause", "row", "text"), CASES, ids=[name for name, *_ in CASES])
def test_a_rule_names_its_cause(
    tmp_path: Path, cause: str, row: dict[str, Any], text: str
) -> None:
    """The row alone, with a floor far below unless the launch is the cause."""
    rows = table([row], tmp_path)
    compute, memory = roofline_us(rows)
    floor = np.array([5.0 if row["notes"] == "launch" else 0.1])
    if row["notes"] == "launch":
        compute, memory = compute * 0.001, memory * 0.001
    stratum = strata(rows, floor, compute, memory)
    # Off by 30 %, and the campaign's median by nothing: only that one row is there.
    predicted = rows["latency_us"].to_numpy() * 1.3
    found = evidence(rows, predicted, floor, memory, stratum)
    found.usual[:] = 1.0
    assert causes(rows, stratum, found).tolist() == [cause]
    assert text in why(rows, 0, cause, found)
    assert cause in CAUSES


def test_a_power_cap_shows_in_the_largest_rows_only(tmp_path: Path) -> None:
    """Twenty products that grow; those of the largest tenth take 1.2 times the predicted time."""
    rows = table([gemm(1024 * i, 4096, 4096, 300.0 * i) for i in range(1, 21)], tmp_path)
    compute, memory = roofline_us(rows)
    stratum = strata(rows, np.full(20, 1.0), compute, memory)
    predicted = rows["latency_us"].to_numpy().copy()
    predicted[-2:] /= 1.2
    found = evidence(rows, predicted, np.full(20, 1.0), memory, stratum)
    named = causes(rows, stratum, found)
    assert named[-2:].tolist() == ["power cap", "power cap"]
    assert "power cap" not in named[:-2]
    assert "1.20 times" in why(rows, 19, "power cap", found)


def test_a_whole_campaign_off_is_its_kernels(tmp_path: Path) -> None:
    """Rows that share an error share its cause; one that is right does not."""
    rows = table([softmax(4096, 512 * i, 100.0 * i) for i in range(1, 10)], tmp_path)
    compute, memory = roofline_us(rows)
    stratum = strata(rows, np.full(9, 1.0), compute, memory)
    predicted = rows["latency_us"].to_numpy() * 0.5
    predicted[4] *= 2
    found = evidence(rows, predicted, np.full(9, 1.0), memory, stratum)
    named = causes(rows, stratum, found)
    assert named[4] == "unknown"
    assert set(np.delete(named, 4)) == {"kernel of the campaign"}
    assert "0.50 of the measured" in why(rows, 0, named[0], found)
