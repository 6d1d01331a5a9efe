"""Laws of the mapper: freer is never worse, constraints hold, emptiness is explained."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from accelsim.errors import MappingError
from accelsim.nest import Hierarchy, Problem, Storage, accounting, convolution, evaluate, matmul
from accelsim.nest.mapper.constraint import Constraint
from accelsim.nest.mapper.search import search
from tests.nest.devices import tpuv4i, weight_stationary

FORGE = accounting("accelforge")


def _changed(device: Hierarchy, level: str, **fields: object) -> Hierarchy:
    nodes = tuple(
        replace(node, **fields) if node.name == level else node  # type: ignore[arg-type]
        for node in device.nodes
    )
    return replace(device, nodes=nodes)


def test_the_optimum_on_tpuv4i_is_accelforges() -> None:
    """4096^3, least energy: 0.01422654 J at 998.6 us (AccelForge 1.0.467), and proven."""
    found = search(matmul(4096, 4096, 4096), tpuv4i(), "energy", rules=FORGE)
    assert found.figures.energy_pj * 1e-12 == pytest.approx(0.01422654, rel=1e-6)
    assert found.figures.latency_s == pytest.approx(9.986438e-4, rel=1e-6)
    assert found.gap == 0.0


def test_a_single_vector_is_bound_by_dram_where_nothing_fills() -> None:
    """M = 1: 27.34 us for AccelForge; with fill and load as a systolic array has, more."""
    problem = matmul(1, 4096, 4096)
    ideal = search(problem, tpuv4i(), "latency", rules=FORGE)
    assert ideal.figures.latency_s == pytest.approx(27.34e-6, rel=2e-4)
    real = search(problem, tpuv4i(), "latency")
    assert real.figures.latency_s > 1.2 * ideal.figures.latency_s


@pytest.mark.parametrize("objective", ["latency", "energy", "edp", "traffic"])
def test_more_room_is_never_worse(objective: str) -> None:
    problem = matmul(384, 512, 640)
    values = []
    for kib in (1, 4, 16, 1024):
        device = _changed(tpuv4i(), "GlobalBuffer", capacity_bits=8192.0 * kib)
        device = _changed(device, "LocalBuffer", capacity_bits=8192.0 * kib / 2)
        found = search(problem, device, objective, rules=FORGE)  # type: ignore[arg-type]
        figures = found.figures
        values.append({
            "latency": figures.latency_s, "energy": figures.energy_pj,
            "edp": figures.latency_s * figures.energy_pj, "traffic": figures.moved_bits,
        }[objective])  # fmt: skip
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(values))
    assert values[-1] < values[0]


@pytest.mark.parametrize("problem", [matmul(13, 29, 31), convolution((7, 7), (3, 3), (12, 20))])
def test_padding_is_never_worse(problem: Problem) -> None:
    """Sizes that divide badly use the array better when the last tile may be cut."""
    device = weight_stationary(8, 8)
    if "m" not in problem.dims or "r" in problem.dims:
        device = _free(device)
    padded, exact = (search(problem, device, "latency", pad=pad) for pad in (True, False))
    assert padded.figures.cycles <= exact.figures.cycles


def _free(device: Hierarchy) -> Hierarchy:
    return replace(
        device,
        nodes=tuple(
            node if isinstance(node, Storage) else replace(node, dims=None)
            for node in device.nodes
        ),
    )


def test_what_a_mapping_fixes_holds() -> None:
    limits = {
        "GlobalBuffer": Constraint(keep=frozenset({"weight"})),
        "LocalBuffer": Constraint(dims=frozenset({"m"})),
        "arrays": Constraint({"n": 2}),
        "columns": Constraint(used=32),
    }
    problem = matmul(64, 256, 128)
    found = search(problem, tpuv4i(), "energy", rules=FORGE, constraints=limits)
    nest = found.nest
    assert nest.keeps[1] == {"weight"}
    assert {loop.dim for loop in nest.loops[3]} <= {"m"}
    assert nest.factor(2, "n") == 2
    assert nest.factor(4, "n") >= 32
    free = search(problem, tpuv4i(), "energy", rules=FORGE)
    assert free.figures.energy_pj <= found.figures.energy_pj
    again = evaluate(problem, tpuv4i(), nest, FORGE)
    assert again.energy_pj == found.figures.energy_pj


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (
            {"columns": Constraint(used=128)},
            "the constraint on `columns` (at least 128 instances)",
        ),
        ({"rows": Constraint({"n": 2})}, "the constraint on `rows` (n 2) rules out all"),
        ({"Rows": Constraint({"n": 2})}, "no level `Rows`"),
    ],
)
def test_an_empty_space_names_what_empties_it(limits: dict[str, Constraint], says: str) -> None:
    with pytest.raises(MappingError) as raised:
        search(matmul(16, 16, 16), tpuv4i(), "energy", rules=FORGE, constraints=limits, pad=False)
    assert says in str(raised.value)


def test_a_memory_too_small_for_anything_is_named() -> None:
    device = _changed(tpuv4i(), "LocalBuffer", capacity_bits=4.0)
    with pytest.raises(MappingError, match="at level `LocalBuffer`"):
        search(matmul(16, 16, 16), device, "energy")
