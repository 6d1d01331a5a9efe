"""Given mappings on the shipped arrays cost what other tools publish: accesses, cycles, energy."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from accelsim import arch
from accelsim.cost import ConvShape, Work
from accelsim.cost._component import Setting
from accelsim.cost._nest_policy import LevelPolicy, NestPolicy
from accelsim.cost.spatial import SpatialArray
from accelsim.nest import Fanout, Figures, Hierarchy

REFERENCES = yaml.safe_load(
    Path(__file__).with_name("spatial_references.yaml").read_text(encoding="utf-8")
)
DESIGNS = tuple(REFERENCES["designs"])
TENSORS = ("input", "weight", "output")
WITHIN = 1e-4
"""Timeloop rounds the words of an instance up to whole accesses, which is 2.6e-5 of the energy
where a memory of 64-bit words is filled with 18 bytes."""


def _run(name: str, work: Work, policy: NestPolicy) -> tuple[Hierarchy, Figures]:
    """Return the hierarchy of an architecture's array and what a nest costs on it."""
    loaded = arch.load(name)
    array = loaded.device.units["array"]
    assert isinstance(array, SpatialArray)
    setting = Setting(arch.main_memory(loaded), None, loaded.technology_nm, nests=policy)
    return array.hierarchy(work, setting), array.figures(work, setting)


@cache
def _evaluated(design: str) -> tuple[Hierarchy, Figures]:
    given = REFERENCES["designs"][design]
    shape: dict[str, Any] = REFERENCES["problem"]
    out, kernel, channels, stride = (
        (int(shape[key][0]), int(shape[key][1])) for key in ("out", "kernel", "channels", "stride")
    )
    conv = ConvShape(out, kernel, channels, stride=stride)
    bits = given["bits"]
    work = Work("conv", dtype=f"int{bits}", bits_a=bits, bits_b=bits, bits_c=bits, conv=conv)
    return _run(design, work, NestPolicy(accounting="timeloop", given=given["loops"]))


def _products() -> int:
    shape: dict[str, Any] = REFERENCES["problem"]
    return math.prod(math.prod(shape[key]) for key in ("out", "kernel", "channels"))


def _leakage_pj(design: str, hierarchy: Hierarchy, cycles: float) -> float:
    """Return the leakage of the instances in use, all that Timeloop counts."""
    given = REFERENCES["designs"][design]
    total, used = 0.0, 1
    for node in hierarchy.nodes:
        if isinstance(node, Fanout):
            used *= math.prod(given["loops"].get(node.name, {}).values())
        else:
            total += given["leakage_pj"].get(node.name, 0.0) * used * cycles
    return total


@pytest.mark.parametrize("design", DESIGNS)
def test_accesses_are_those_of_timeloop(design: str) -> None:
    """Words read, filled and updated at each memory, of each tensor, are equal."""
    hierarchy, figures = _evaluated(design)
    found, wanted = {}, {}
    for row, (instances, *words) in REFERENCES["designs"][design]["accesses"].items():
        level, tensor = row.split()
        wanted[row] = [instances * count for count in words]
        counts = figures.accesses[hierarchy.index(level), TENSORS.index(tensor), :3]
        found[row] = [round(float(count), 3) for count in counts]
    assert found == wanted


@pytest.mark.parametrize("design", DESIGNS)
def test_nothing_is_accessed_that_timeloop_does_not_list(design: str) -> None:
    """A tensor that passes by a memory costs nothing there."""
    hierarchy, figures = _evaluated(design)
    accesses = figures.accesses.copy()
    for row in REFERENCES["designs"][design]["accesses"]:
        level, tensor = row.split()
        accesses[hierarchy.index(level), TENSORS.index(tensor)] = 0.0
    assert not np.any(accesses)


@pytest.mark.parametrize("design", DESIGNS)
def test_cycles_are_those_of_timeloop(design: str) -> None:
    """No port of the four is too narrow, so that the array decides."""
    _, figures = _evaluated(design)
    assert figures.cycles == REFERENCES["designs"][design]["cycles"]


@pytest.mark.parametrize("design", DESIGNS)
def test_energy_is_that_of_timeloop(design: str) -> None:
    """Dynamic energy and leakage together, to the digits that are printed."""
    hierarchy, figures = _evaluated(design)
    expected = REFERENCES["designs"][design]
    found_pj = figures.energy_pj + _leakage_pj(design, hierarchy, figures.cycles)
    assert found_pj / _products() * 1e3 == pytest.approx(expected["fj_per_mac"], rel=WITHIN)
    assert found_pj * 1e-6 == pytest.approx(expected["energy_uj"], rel=WITHIN)


@cache
def _best_product() -> Figures:
    """Return the 8-bit product 4096^3 on TPU-v4i by the mapping that AccelForge finds best."""
    work = Work("matmul", dtype="int8", m=4096, n=4096, k=4096, bits_a=8, bits_b=8, bits_c=8)
    policy = NestPolicy(
        accounting="accelforge",
        given={
            "GlobalBuffer": {"n": 2, "k": 32},
            "Z": {"m": 4},
            "LocalBuffer": {"n": 16},
            "reuse_input": {"n": 128},
            "reuse_output": {"k": 128},
            "Register": {"m": 1024},
        },
        levels={"GlobalBuffer": LevelPolicy(keep=["input", "weight"])},
    )
    return _run("tpuv4i-accelforge", work, policy)[1]


def test_a_product_on_tpuv4i_costs_what_accelforge_finds() -> None:
    """0.01422654 J and 9.986438e-4 s, as AccelForge 1.0.467 prints its optimum."""
    figures = _best_product()
    assert figures.energy_pj * 1e-12 == pytest.approx(0.01422654, rel=5e-7)
    assert figures.latency_s == pytest.approx(9.986438e-4, rel=1e-6)


def test_a_product_on_tpuv4i_is_the_sum_of_its_passes() -> None:
    """Each part by hand: passes of 2^27 bits over each memory, at its energy per bit."""
    parts, bits = _best_product().energy_by, 2.0**27
    assert parts["GlobalBuffer", "weight"] == pytest.approx(bits * (2.36 + 4 * 1.88))
    assert parts["GlobalBuffer", "input"] == pytest.approx(bits * (2.36 + 2 * 1.88))
    assert parts["LocalBuffer", "input"] == pytest.approx(bits * (2 * 0.293 + 32 * 0.249))
    assert parts["LocalBuffer", "output"] == pytest.approx(bits * (32 * 0.293 + 32 * 0.249))
    assert ("GlobalBuffer", "output") not in parts


@pytest.mark.parametrize(("m", "n", "k"), [(64, 64, 64), (1, 128, 256), (96, 24, 40)])
def test_a_buffer_without_limit_moves_each_bit_once(m: int, n: int, k: int) -> None:
    """On snowcat energy is the bits that cross: all three tensors once, a joule each."""
    work = Work("matmul", dtype="int8", m=m, n=n, k=k, bits_a=8, bits_b=8, bits_c=8)
    given = {"GlobalBuffer": {"m": m, "n": n, "k": k}}
    figures = _run("snowcat", work, NestPolicy(accounting="accelforge", given=given))[1]
    assert figures.energy_pj * 1e-12 == pytest.approx(8 * (m * k + k * n + m * n))


@pytest.mark.parametrize(
    ("name", "units", "peak_tops"),
    [
        ("nvdla-large", 2048, 4.096),
        ("simba-chiplet", 1024, 4.01),
        ("tpuv4i-accelforge", 65536, 137.6),
    ],
)
def test_units_and_peak_are_those_published(name: str, units: int, peak_tops: float) -> None:
    """Operations per second are twice the products."""
    array = arch.load(name).device.units["array"]
    assert isinstance(array, SpatialArray)
    assert array.units == units
    assert array.peak_macs_per_s("int8") * 2e-12 == pytest.approx(peak_tops, rel=1e-3)
