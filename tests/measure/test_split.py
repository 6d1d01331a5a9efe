"""The one rule for fit and test rows: families stay whole, on every GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accelsim.measure.compare.table import read_measured
from accelsim.measure.split import TRAIN_MODELS, families, split
from tests.measure.compare.standin import BASE, gemm, softmax, table
from tests.reference import reference_file

SIZES = [(n, k) for n in range(256, 4096, 256) for k in (512, 4096)]


def test_a_family_is_never_divided(tmp_path: Path) -> None:
    """Rows of one weight matrix are on one side, for each number of tokens, GPU and format."""
    rows = table(
        [
            gemm(m, n, k, gpu=gpu, dtype=dtype)
            for n, k in SIZES
            for m in (1, 7, 512)
            for gpu, dtype in (("A40", "fp16"), ("T4", "fp16"), ("T4", "int8"))
        ],
        tmp_path,
    )
    fitted, rule = split(rows)
    sides = rows.assign(fitted=fitted).groupby(["n", "k"])["fitted"].nunique()
    assert (sides == 1).all()
    assert 0.5 < fitted.mean() < 0.85
    assert "weight matrix" in rule


def test_a_row_keeps_its_side_in_any_part_of_the_table(tmp_path: Path) -> None:
    """A hash, not a place in a sorted list, decides."""
    rows = table([gemm(m, n, k) for n, k in SIZES for m in (1, 64)], tmp_path)
    fitted, _ = split(rows)
    part = np.arange(0, len(rows), 3)
    assert split(rows.iloc[part].reset_index(drop=True))[0].tolist() == fitted[part].tolist()


def test_models_decide_where_a_campaign_names_them(tmp_path: Path) -> None:
    """A matrix that a fitted model shares with another is fitted, with all its rows."""
    rows = table(
        [
            gemm(1, 64, 64, notes=f"{TRAIN_MODELS[0]}; bias"),
            gemm(2, 64, 64, notes="other/model"),
            gemm(1, 128, 64, notes="other/model"),
            gemm(1, 256, 64, notes=TRAIN_MODELS[2]),
        ],
        tmp_path,
    )
    fitted, rule = split(rows)
    assert fitted.tolist() == [True, True, False, True]
    assert rule.startswith("by model")


def test_one_model_alone_decides_nothing(tmp_path: Path) -> None:
    """Where no other model could test, families do."""
    rows = table([gemm(1, n, k, notes=TRAIN_MODELS[0]) for n, k in SIZES], tmp_path)
    fitted, rule = split(rows)
    assert 0 < fitted.sum() < len(rows)
    assert not rule.startswith("by model")


def test_a_campaigns_own_test_rows_are_never_fitted(tmp_path: Path) -> None:
    """Nor are other rows of their family."""
    rows = table(
        [softmax(8, cols, notes=notes) for cols in range(64, 2048, 64) for notes in ("train", "")]
        + [softmax(9, 128, notes="test")],
        tmp_path,
    )
    fitted, rule = split(rows)
    assert not fitted[rows["cols"] == 128].any()
    assert fitted.any()
    assert "`test`" in rule


def test_prefill_and_decode_of_a_network_are_on_one_side(tmp_path: Path) -> None:
    """They share heads."""
    heads = [(h, kv, d) for h in (8, 12, 32, 40, 64) for kv in (1, 2, 8) for d in (64, 128)]
    rows = table(
        [
            {
                **BASE, "op": f"attention_{phase}", "batch": 1, "heads": h, "kv_heads": kv,
                "head_dim": d, "q_len": 1, "kv_len": 99, "latency_us": 1.0,
            }
            for phase in ("prefill", "decode")
            for h, kv, d in heads
        ],
        tmp_path,
    )  # fmt: skip
    fitted, _ = split(rows)
    assert fitted[: len(heads)].tolist() == fitted[len(heads) :].tolist()
    assert np.unique(families(rows)).size == len(heads)


@pytest.mark.validate
def test_reference_families_are_whole() -> None:
    """No campaign of the reference data has a family on both sides."""
    rows = read_measured(reference_file("measured/ops_sample.csv.gz"))
    fitted, _ = split(rows)
    sides = rows.assign(family=families(rows), fitted=fitted)
    assert (sides.groupby(["source", "family"], observed=True)["fitted"].nunique() == 1).all()
    assert 0.4 < fitted.mean() < 0.8
