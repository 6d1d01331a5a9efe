"""Studies of loop nests: what a row adds up, and nests that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.errors import ConfigError
from accelsim.workload import prefill, workload
from accelsim.workload.counts import totals
from tests.explore.studies.studying import rows_of_text

HEAD = """\
kind: nests
name: small
source: none
"""

STUDY = (
    HEAD
    + """\
operators:
  product: {product: [64, 64, 64]}
  several: {product: [64, 64, 64], batch: 3}
  layers: {model: gpt2, phase: prefill, seq_len: 8, without: [WITHOUT]}
mappings:
  free: {objective: energy, accounting: accelforge}
  library: npu-only
runs:
  - {arch: snowcat, dtype: int8, operators: [OPERATORS], mappings: [free]}
"""
)

KINDS = "norm, elementwise, gather, softmax, transfer"


SMALL = (
    HEAD
    + """\
operators: {product: {product: [4, 6, 8]}, twice: {product: [4, 6, 8], batch: 2}}
mappings:
  once:
    accounting: timeloop
    given: {GlobalBuffer: {k: 8}, Z: {m: 2}, LocalBuffer: {m: 2}, reuse_input: {n: 6}}
  again:
    accounting: timeloop
    given: {GlobalBuffer: {batch: 2, k: 8}, Z: {m: 2}, LocalBuffer: {m: 2}, reuse_input: {n: 6}}
runs:
  - {arch: tpuv4i-accelforge, dtype: int8, operators: [product], mappings: [once]}
  - {arch: tpuv4i-accelforge, dtype: int8, operators: [twice], mappings: [again]}
"""
)


def text(operators: str, without: str = KINDS) -> str:
    return STUDY.replace("OPERATORS", operators).replace("WITHOUT", without)


def test_products_alike_cost_as_much_each(tmp_path: Path) -> None:
    """Energy and traffic of three are three times those of one; the busy part is one's."""
    one, three = rows_of_text(tmp_path, text("product, several"))
    assert one["status"] == three["status"] == "done"
    for metric in ("dynamic_energy_j", "dram_bytes"):
        assert three[metric] == pytest.approx(3 * one[metric])
    assert three["batch"] == 3
    assert one["dram_bytes"] == 3 * 64 * 64
    assert one["energy_j"] >= one["dynamic_energy_j"]
    assert one["power_w"] == pytest.approx(one["energy_j"] / one["latency_s"])


def test_a_model_is_the_sum_of_its_layers(tmp_path: Path) -> None:
    """All of its products, each as often as it runs; at least what must move, moves."""
    (row,) = rows_of_text(tmp_path, text("layers"))
    assert row["status"] == "done", row["error"]
    assert (row["phase"], row["seq_len"]) == ("prefill", 8)
    macs = totals(workload("gpt2", prefill(1, 8))).macs
    assert row["cycles"] * row["utilisation"] == pytest.approx(macs)  # of one unit


def test_operators_that_are_no_nests_are_named(tmp_path: Path) -> None:
    """Not left out in silence."""
    (row,) = rows_of_text(tmp_path, text("layers", "norm"))
    assert row["status"] == "failed"
    assert "is no loop nest but" in row["error"]
    assert "without:" in row["error"]


def test_a_nest_that_does_not_fit_says_what_is_short(tmp_path: Path) -> None:
    """The row is there, without figures."""
    shipped = (
        HEAD
        + """\
operators: {product: {product: [4096, 4096, 4096]}}
mappings:
  given: {given: {LocalBuffer: {m: 4096, n: 4096}, MainMemory: {k: 4096}}}
  partial: {given: {LocalBuffer: {m: 4096}, MainMemory: {k: 4096}}}
runs: [{arch: tpuv4i-accelforge, dtype: int8, operators: [product], mappings: [given, partial]}]
"""
    )
    given, partial = rows_of_text(tmp_path, shipped)
    assert given["status"] == partial["status"] == "failed"
    assert "short by" in given["error"]
    assert "the operator has 4096" in partial["error"]


def test_rules_of_a_mapping_of_the_library_are_taken(tmp_path: Path) -> None:
    """Its field `nests`, which says accelsim's own accounting where it says nothing."""
    (row,) = rows_of_text(tmp_path, text("product").replace("[free]", "[library]"))
    assert row["mapping"] == "library"
    assert row["mapping.accounting"] == "accelsim"


def test_an_architecture_without_such_an_array_says_so(tmp_path: Path) -> None:
    """The row is there, and why it is empty."""
    (row,) = rows_of_text(tmp_path, text("product").replace("arch: snowcat", "arch: npu-tpuv4i"))
    assert row["status"] == "failed"
    assert "`npu-tpuv4i` has no unit of kind spatial" in row["error"]


def test_a_format_that_no_array_holds_ends_the_study(tmp_path: Path) -> None:
    """No other row could be right."""
    with pytest.raises(ConfigError, match="no format holds bf16"):
        rows_of_text(tmp_path, text("product").replace("dtype: int8", "dtype: bf16"))


def test_rules_of_a_mapping_hold_for_a_model(tmp_path: Path) -> None:
    """Those for attention alone change attention alone; accounting is that of the run."""
    policy = tmp_path / "ruled.yaml"
    policy.write_text(
        "name: ruled\nsource: none\nplace:\n"
        "  - when: label == 'attention'\n    on: fastest\n"
        "    nest: {levels: {reuse_input: {loops: {n: 2}}}}\n"
        "  - {on: fastest}\nnests: {objective: latency}\n",
        encoding="utf-8",
    )
    study = text("layers").replace("library: npu-only", f"library: {policy}")
    runs = "mappings: [free, library], accounting: [accelforge]"
    study = study.replace("mappings: [free]", runs).replace(
        "arch: snowcat", "arch: tpuv4i-accelforge"
    )
    free, ruled = rows_of_text(tmp_path, study)
    assert free["status"] == ruled["status"] == "done", (free["error"], ruled["error"])
    assert ruled["mapping.accounting"] == "accelforge"
    assert ruled["used.reuse_input"] != free["used.reuse_input"]


def test_accesses_and_instances_are_those_of_the_nest(tmp_path: Path) -> None:
    """A 4 x 6 x 8 product: A streams past 2 x 3 units that add up nothing among them."""
    one, two = rows_of_text(tmp_path, SMALL)
    assert one["status"] == two["status"] == "done", (one["error"], two["error"])
    for row, times in ((one, 1), (two, 2)):
        assert (row["used.Z"], row["used.reuse_input"], row["used.reuse_output"]) == (2, 6, 1)
        assert row["cycles"] == times * 8 * 2
        assert row["served_bytes.LocalBuffer"] == times * (4 * 8 + 2 * 4 * 6 * 8)
        assert row["filled_bytes.LocalBuffer"] == times * 4 * 8
        assert row["served_bytes.MainMemory"] >= times * (4 * 8 + 6 * 8 + 2 * 4 * 6)
