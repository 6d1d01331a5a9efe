"""Given mappings cost what Timeloop's own published outputs say: accesses, cycles and energy."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from accelsim.nest import (
    ACCOUNTINGS,
    Fanout,
    Figures,
    Hierarchy,
    Problem,
    Storage,
    convolution,
    evaluate,
    parse,
)

REFERENCES = yaml.safe_load(
    Path(__file__).with_name("timeloop_references.yaml").read_text(encoding="utf-8")
)
DESIGNS = tuple(REFERENCES["designs"])
TENSORS = ("input", "weight", "output")
WITHIN = 1e-4
"""Timeloop rounds the words of an instance up to whole accesses, which is 2.6e-5 of the energy
where a memory of 64-bit words is filled with 18 bytes."""

COUNTED_OTHERWISE: dict[tuple[str, str], str] = {
    ("simba_like", "PEInputBuffer input"): "overlap of windows",
    ("simba_like", "GlobalBuffer input"): "overlap of windows",
    ("simba_like", "DRAM input"): "overlap of windows",
    ("simba_like", "PEAccuBuffer output"): "partial sums return to one instance",
    ("simple_weight_stationary", "shared_glb input"): "overlap of windows",
    ("simple_weight_stationary", "DRAM input"): "overlap of windows",
    (
        "simple_weight_stationary",
        "output_activation_reg output",
    ): "partial sums return to one instance",
}
"""Rows that Timeloop counts by rules that we do not have: a window that slides brings only what is
new, and partial sums are written into all instances that add to them."""


def _problem(bits: float) -> Problem:
    shape = {key: tuple(value) for key, value in REFERENCES["problem"].items()}
    return convolution(
        shape["out"], shape["kernel"], shape["channels"], stride=shape["stride"],
        bits=(bits, bits, bits),
    )  # fmt: skip


def _node(level: dict[str, Any], bits: float) -> Fanout | Storage:
    if "instances" in level:
        return Fanout(level["name"], level["instances"], frozenset(TENSORS))
    bits_per_access = bits * level["block"] * level.get("lanes", 1)
    read_pj, write_pj = level["pj"]
    port = level.get("port", math.inf) * bits
    return Storage(
        level["name"],
        capacity_bits=level.get("words", math.inf) * bits,
        keep=frozenset(level["keep"]),
        read_pj_per_bit=read_pj / bits_per_access,
        write_pj_per_bit=write_pj / bits_per_access,
        read_bits_per_cycle=port,
        write_bits_per_cycle=port,
    )


@cache
def _evaluated(design: str) -> tuple[Hierarchy, Figures]:
    given = REFERENCES["designs"][design]
    nodes = tuple(_node(level, given["bits"]) for level in given["levels"])
    hierarchy = Hierarchy(nodes, mac_pj=given["mac_pj"])
    loops = {level["name"]: level.get("loops", {}) for level in given["levels"]}
    nest = parse(loops, hierarchy)
    problem = _problem(given["bits"])
    return hierarchy, evaluate(problem, hierarchy, nest, ACCOUNTINGS["timeloop"])


def _leakage_pj(design: str, cycles: float) -> float:
    """Return the leakage of the instances in use, all that Timeloop counts."""
    total, used = 0.0, 1
    for level in REFERENCES["designs"][design]["levels"]:
        total += level.get("leak_pj", 0.0) * used * cycles
        if "instances" in level:
            used *= math.prod(level.get("loops", {}).values())
    return total


@pytest.mark.parametrize("design", DESIGNS)
def test_accesses_are_those_of_the_reference(design: str) -> None:
    """Words read, filled and updated at each memory, of each tensor, are equal."""
    hierarchy, figures = _evaluated(design)
    expected = REFERENCES["designs"][design]["expected"]["accesses"]
    found, wanted = {}, {}
    for row, (instances, *words) in expected.items():
        if (design, row) in COUNTED_OTHERWISE:
            continue
        level, tensor = row.split()
        wanted[row] = [instances * count for count in words]
        counts = figures.accesses[hierarchy.index(level), TENSORS.index(tensor), :3]
        found[row] = [round(float(count), 3) for count in counts]
    assert found == wanted


@pytest.mark.parametrize("design", DESIGNS)
def test_nothing_is_accessed_beside_the_rows_of_the_reference(design: str) -> None:
    """A tensor that passes by a memory costs nothing there."""
    hierarchy, figures = _evaluated(design)
    rows = REFERENCES["designs"][design]["expected"]["accesses"]
    accesses = figures.accesses.copy()
    for row in rows:
        level, tensor = row.split()
        accesses[hierarchy.index(level), TENSORS.index(tensor)] = 0.0
    assert not np.any(accesses)


@pytest.mark.parametrize("design", DESIGNS)
def test_cycles_are_those_of_the_reference(design: str) -> None:
    """No port of the four is too narrow, so that the array decides."""
    _, figures = _evaluated(design)
    assert figures.cycles == REFERENCES["designs"][design]["expected"]["cycles"]


@pytest.mark.parametrize("design", DESIGNS)
def test_energy_is_that_of_the_reference(design: str) -> None:
    """Dynamic energy and leakage together, to the printed digits where all rows are equal."""
    _, figures = _evaluated(design)
    expected = REFERENCES["designs"][design]["expected"]
    products = _problem(8).macs
    found = (figures.energy_pj + _leakage_pj(design, figures.cycles)) / products * 1000.0
    otherwise = any(name == design for name, _ in COUNTED_OTHERWISE)
    assert found == pytest.approx(expected["fj_per_mac"], rel=0.015 if otherwise else WITHIN)
    assert found * products * 1e-9 == pytest.approx(
        expected["energy_uj"], rel=0.015 if otherwise else WITHIN
    )
