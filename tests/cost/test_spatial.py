"""The unit `spatial`: levels from a file, what it refuses, and what an operator takes on it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim import evaluate
from accelsim.config import library
from accelsim.cost import NestPolicy, Setting, Work, spatial
from accelsim.cost.spatial import SpatialArray
from accelsim.cost.sram import Sram
from accelsim.errors import AccelsimError, ConfigError, MappingError
from accelsim.nest import Accounting, Figures, Hierarchy, Nest, Problem
from accelsim.nest import evaluate as evaluate_nest

DRAM = Sram(
    source="-", capacity_bytes=2**30, bandwidth_bytes_per_s=16e9, given_energy_pj_per_bit=4.0,
    given_leakage_w=0.0, given_area_mm2=0.0,
)  # fmt: skip
SETTING = Setting(DRAM, None, 28.0)


def _levels(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    levels: list[dict[str, Any]] = [
        {"name": "DRAM", "of": "memory"},
        {"name": "Buffer", "capacity_bytes": 16384, "may_keep": ["input", "weight", "output"],
         "model": "sram", "access_bits": 64},
        {"name": "columns", "fanout": 8, "shares": ["input"], "unrolls_for": ["input"]},
        {"name": "rows", "fanout": 8, "shares": ["output"], "unrolls_for": ["output"]},
        {"name": "Register", "partitions": {"weight": 2}, "keep": ["weight"],
         "model": "register_file", "buffers": 2},
    ]  # fmt: skip
    return [level | changes.get(level["name"], {}) for level in levels]


def _array(levels: list[dict[str, Any]] | None = None, **fields: Any) -> SpatialArray:
    given = {"source": "-", "memory": "dram", "frequency_hz": 1e9, "formats": {"int8": 1}}
    return SpatialArray(**(given | {"levels": _levels() if levels is None else levels} | fields))


def _work(m: int = 64, n: int = 64, k: int = 64, **fields: Any) -> Work:
    return Work("matmul", dtype="int8", m=m, n=n, k=k, bits_a=8, bits_b=8, bits_c=8, **fields)


def test_time_is_never_below_the_peak_and_traffic_never_below_what_there_is() -> None:
    array = _array()
    found = array.estimate(_work(), SETTING)
    assert found.compute_ps >= 64**3 / 64 * 1000
    assert found.ideal_ps == pytest.approx(64**3 / 64 * 1000)
    assert found.weight_traffic_bytes >= 64 * 64
    assert found.input_traffic_bytes >= 64 * 64
    assert found.output_traffic_bytes >= 64 * 64
    assert set(found.energy_pj) <= {"DRAM", "Buffer", "Register", "mac", "network"}
    assert found.energy_pj.get("DRAM", 0.0) == 0.0  # the device's memory accounts for itself


def test_a_convolution_keeps_its_window() -> None:
    """Run as loops it reads an image about once; as a matrix product nine times as much."""
    from accelsim.cost import ConvShape

    shape = ConvShape((14, 14), (3, 3), (16, 16))
    plain = _work(14 * 14, 16, 16 * 9)
    array, thrifty = _array(), replace(SETTING, nests=NestPolicy(objective="energy"))
    figures = array.figures(_work(14 * 14, 16, 16 * 9, conv=shape), thrifty)
    assert figures.moved_bits < array.figures(plain, thrifty).moved_bits


@pytest.mark.parametrize("density", [1.0, 0.5])
def test_zeros_that_are_skipped_take_no_time(density: float) -> None:
    array = _array(skipping={"structured": ["2:4"], "selectable": 2})
    work = _work(density_b=density, pattern_b="2:4" if density < 1 else "")
    dense = _array().figures(_work(), SETTING)
    assert array.figures(work, SETTING).cycles <= dense.cycles
    rate = array.hierarchy(work, SETTING).mac_rate
    assert rate == (2.0 if density < 1 else 1.0)


def test_spikes_are_added_not_multiplied() -> None:
    """Half the spikes cost half the additions where the array is driven by them."""
    spikes = {"bits_a": 1, "pattern_a": "unstructured"}
    driven = _array(given_accumulate_energy_pj=0.02, skipping={"gates": "activation"})
    every, half = (
        driven.figures(replace(_work(), **spikes, density_a=d), SETTING) for d in (1.0, 0.5)
    )
    assert every.energy_by["mac", ""] == pytest.approx(0.02 * 64**3)
    assert half.energy_by["mac", ""] == pytest.approx(0.01 * 64**3)
    assert half.cycles == every.cycles  # gating saves energy only
    table = _array(partial_bits=16).figures(replace(_work(), **spikes), SETTING)
    assert table.energy_by["mac", ""] < _array().figures(_work(), SETTING).energy_by["mac", ""]


def test_bricks_make_narrow_products_faster() -> None:
    bricks = {"digit_a": 2, "digit_b": 2, "across_a": 4, "across_b": 4}
    array = _array(bricks=bricks)
    narrow = replace(_work(), dtype="int4", bits_a=4, bits_b=4)
    assert array.hierarchy(narrow, SETTING).mac_rate == 4.0
    assert array.hierarchy(_work(), SETTING).mac_rate == 1.0
    assert array.hierarchy(narrow, SETTING).mac_pj < array.hierarchy(_work(), SETTING).mac_pj


def test_a_given_mapping_is_run_as_it_is() -> None:
    given = {
        "DRAM": {"n": 8, "k": 8, "m": 64}, "columns": {"n": 8}, "rows": {"k": 8},
    }  # fmt: skip
    setting = Setting(DRAM, None, 28.0, nests=NestPolicy(given=given, accounting="timeloop",
                      levels={"Buffer": {"keep": []}}))  # fmt: skip
    run = _array().nest(_work(), setting)
    assert run.gap == 0.0
    assert [dict(level) for level in run.nest.loops] == [
        {"n": 8, "k": 8, "m": 64},
        {},
        {"n": 8},
        {"k": 8},
        {},
    ]
    figures = _array().figures(_work(), setting)
    assert figures.accesses[0, 0, 0] == 64 * 64 * 8  # inputs again for each column block


def test_what_a_search_has_counted_is_not_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are the search's own; without the outermost memory a nest is evaluated once."""
    array = _array()
    run = array.nest(_work(), SETTING)
    again = evaluate_nest(run.problem, run.hierarchy, run.nest, run.rules)
    assert np.array_equal(run.figures.accesses, again.accesses)
    assert run.figures.latency_s == again.latency_s
    assert run.figures.energy_by == again.energy_by
    asked: list[Nest] = []

    def counted(problem: Problem, hierarchy: Hierarchy, nest: Nest, rules: Accounting) -> Figures:
        asked.append(nest)
        return evaluate_nest(problem, hierarchy, nest, rules)

    monkeypatch.setattr(spatial, "evaluate", counted)
    spatial._evaluated.cache_clear()
    assert array.figures(_work(), SETTING) is array.nest(_work(), SETTING).figures
    assert not asked
    first = array.estimate(_work(), SETTING)
    assert array.estimate(_work(), SETTING) == first
    assert asked == [run.nest]
    inside = evaluate_nest(run.problem, run.hierarchy.with_free_memory(), run.nest, run.rules)
    assert first.compute_ps == math.ceil(inside.latency_s * 1e12 - 1e-6)


def test_a_given_mapping_that_does_not_fit_says_why() -> None:
    setting = Setting(DRAM, None, 28.0, nests=NestPolicy(given={"columns": {"n": 16}}))
    with pytest.raises(MappingError, match="`columns` has 8 instances, n 16 needs 16"):
        _array().nest(_work(), setting)


@pytest.mark.parametrize(
    ("levels", "says"),
    [
        ([], "the outermost level is the device's memory"),
        (_levels(DRAM={"of": "buffer"}), "the outermost level is the device's memory"),
        (_levels(Buffer={"of": "buffer"}), "it is the buffer, but the unit names none"),
        (_levels(Buffer={"of": "memory"}), "only the outermost level"),
        (_levels(Buffer={"capacity_bytes": 0}), "greater than 0"),
        (_levels(Buffer={"capacity_bytes": None}), "needs `capacity_bytes` or `partitions`"),
        (_levels(Buffer={"model": None}), "an energy needs a figure for reads and writes"),
        (_levels(Buffer={"may_keep": []}), "it keeps no tensor"),
        (_levels(Buffer={"name": "DRAM"}), "two levels named `DRAM`"),
        (_levels(Register={"fill_through": "Rows"}), "no fan-out outside it"),
    ],
)
def test_levels_that_are_no_hierarchy_are_refused(levels: list[Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        _array(levels)


def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path) -> None:
    text = library.find("arch", "snowcat").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace("name: snowcat", "name: wrong").replace("keep:", "kept:"))
    with pytest.raises(ConfigError) as raised:
        evaluate("gemv", str(wrong), "nests-fastest", phase="forward")
    assert "wrong.yaml:" in str(raised.value)
    assert "kept" in str(raised.value)


def test_other_kinds_and_formats_are_refused() -> None:
    array = _array()
    assert "matmul and conv only, not softmax" in array.refusal(Work("softmax"))
    assert "no format holds bf16" in array.refusal(Work("matmul"))
    with pytest.raises(AccelsimError):
        array.estimate(Work("matmul"), SETTING)


def test_area_and_leakage_grow_with_the_memories() -> None:
    small, large = _array(), _array(_levels(Buffer={"capacity_bytes": 65536}))
    assert 0 < small.area_mm2(28.0) < large.area_mm2(28.0)
    assert 0 < small.leakage_w(28.0) < large.leakage_w(28.0)
