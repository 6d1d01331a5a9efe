"""Studies of arrays with ported memories: a model's layers are those written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.nest.ports import factors, search_order
from tests.explore.studies.studying import rows_of_text
from tests.nest.ported import TPU, gemm, resnet18

STUDY = """\
kind: ported
name: small
source: none
dtype: int8
partial_bits: 16
arrays:
  tpu: {file: spatial/components/zigzag-tpu-like}
  narrow: {file: spatial/components/zigzag-tpu-like, change: {memories.rf_2B.capacity: 1}}
operators:
  network: {model: resnet18, without: [norm, elementwise, reduce]}
  product: {product: [64, 96, 128]}
  depthwise: {conv: {out: [8, 8], kernel: [3, 3], channels: [1, 1], groups: 16}}
orders:
  few: {loops: 4}
  least-energy: {loops: 4, objective: energy}
runs: [{arrays: [ARRAYS], operators: [OPERATORS], orders: [few, least-energy]}]
"""


def text(arrays: str, operators: str) -> str:
    return STUDY.replace("ARRAYS", arrays).replace("OPERATORS", operators)


def test_layers_of_the_model_are_those_of_the_published_table(tmp_path: Path) -> None:
    """Table 1 of the paper by hand, layer by layer, against the library's model."""
    row, _ = rows_of_text(tmp_path, text("tpu", "network"))
    by_hand = [
        (search_order(task, loops=factors(task, 4)).figures, count)
        for task, count in resnet18(TPU, TPU.hiding)
    ]
    assert row["cycles"] == sum(figures.cycles * count for figures, count in by_hand)
    energy_pj = sum(figures.energy_pj * count for figures, count in by_hand)
    assert row["energy_j"] == pytest.approx(energy_pj * 1e-12, rel=1e-12)
    assert row["utilisation"] == pytest.approx(row["ideal_cycles"] / row["cycles"])


def test_each_objective_is_best_at_its_own(tmp_path: Path) -> None:
    """Of the same orders."""
    fast, frugal = rows_of_text(tmp_path, text("tpu", "product"))
    assert fast["cycles"] <= frugal["cycles"]
    assert frugal["energy_j"] <= fast["energy_j"]
    assert fast["orders"] == frugal["orders"] > 0
    task = gemm(TPU, 64, 96, 128)
    assert fast["cycles"] == search_order(task, loops=factors(task, 4)).figures.cycles


def test_a_result_that_no_register_holds_says_so(tmp_path: Path) -> None:
    """A register of one byte for sums of two."""
    row, _ = rows_of_text(tmp_path, text("narrow", "product"))
    assert row["status"] == "failed"
    assert row["error"]


def test_groups_run_one_after_the_other(tmp_path: Path) -> None:
    """A depthwise convolution fills neither side of an array that wants channels."""
    row, _ = rows_of_text(tmp_path, text("tpu", "depthwise"))
    assert row["status"] == "done", row["error"]
    assert row["ideal_cycles"] == 16 * 8 * 8 * 3 * 3
