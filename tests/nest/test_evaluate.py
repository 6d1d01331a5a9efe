"""Counts, times and energies of given nests, against closed forms, other tools and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.cost._systolic import OS, WS, cycles, folds
from accelsim.errors import MappingError
from accelsim.nest import (
    Hierarchy,
    Nest,
    Problem,
    Storage,
    accounting,
    evaluate,
    evaluate_many,
    matmul,
    parse,
)
from accelsim.nest.evaluate import pack
from accelsim.nest.problem import convolution
from tests.nest.devices import ALL, output_stationary, tpuv4i, weight_stationary

SHAPES = [(1, 64, 64), (5, 16, 48), (128, 128, 256), (300, 64, 32), (1, 256, 512), (128, 96, 40)]


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _ws_nest(problem: Problem, device: Hierarchy, rows: int, columns: int, arrays: int) -> Nest:
    n, k = problem.size("n"), problem.size("k")
    blocks = _ceil(n, columns)
    mine = min(arrays, blocks)
    return parse(
        {
            "Memory": {"n": _ceil(blocks, mine), "k": _ceil(k, rows), "m": problem.size("m")},
            "arrays": {"n": mine},
            "columns": {"n": min(n, columns)},
            "rows": {"k": min(k, rows)},
        },
        device,
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("buffers", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (16, 32), (32, 32)])
def test_weights_that_stay_take_the_cycles_of_a_systolic_array(
    shape: tuple[int, int, int], buffers: int, size: tuple[int, int]
) -> None:
    """Fill, load and drain for each fold, or behind one another where double buffered."""
    problem, device = matmul(*shape), weight_stationary(*size, buffers=buffers)
    found = evaluate(problem, device, _ws_nest(problem, device, *size, arrays=1))
    assert found.cycles == pytest.approx(cycles(WS, 1, *shape, *size, 1, buffers == 2))


@pytest.mark.parametrize("m", [1, 128, 4096])
def test_a_few_vectors_do_not_run_at_the_peak(m: int) -> None:
    """What tools without fill and load report as ideal, on TPUv4i's four arrays."""
    problem, device = matmul(m, 4096, 4096), weight_stationary(128, 128, arrays=4)
    nest = _ws_nest(problem, device, 128, 128, arrays=4)
    assert evaluate(problem, device, nest).cycles == cycles(
        WS, 1, m, 4096, 4096, 128, 128, 4, False
    )
    ideal = evaluate(problem, device, nest, accounting("accelforge")).cycles
    assert ideal == problem.macs / (4 * 128 * 128)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [(8, 8), (16, 32)])
def test_sums_that_stay_take_the_cycles_of_a_systolic_array(
    shape: tuple[int, int, int], size: tuple[int, int]
) -> None:
    problem, device = matmul(*shape), output_stationary(*size)
    m, n, k = shape
    rows, columns = size
    nest = parse(
        {
            "Memory": {"m": _ceil(m, rows), "n": _ceil(n, columns), "k": k},
            "rows": {"m": min(m, rows)},
            "columns": {"n": min(n, columns)},
        },
        device,
    )
    found = evaluate(problem, device, nest)
    assert found.cycles == cycles(OS, 1, *shape, *size, 1, False)
    assert found.accesses[1:, 2].sum() >= 0
    assert folds(OS, *shape, *size) == _ceil(m, rows) * _ceil(n, columns)


def test_counts_by_hand() -> None:
    """C[4,6] = A[4,8] B[8,6], tiles of 2 x 3 x 4 in a buffer, k innermost outside."""
    problem = matmul(4, 6, 8)
    device = Hierarchy((Storage("DRAM"), Storage("Buffer", keep=ALL)))
    nest = parse({"DRAM": {"m": 2, "n": 2, "k": 2}, "Buffer": {"m": 2, "n": 3, "k": 4}}, device)
    reads, fills, updates, drains = (
        evaluate(problem, device, nest).accesses[..., i] for i in range(4)
    )
    a, b, c = 0, 1, 2
    assert fills[1, a] == reads[0, a] == 2 * 4 * 8  # each tile of A for each of two n
    assert fills[1, b] == reads[0, b] == 2 * 8 * 6  # each tile of B, 3 x 4, for each of two m
    assert updates[0, c] == drains[1, c] == 4 * 6  # k is innermost: sums stay
    assert reads[0, c] == fills[1, c] == 0
    assert reads[1, a] == reads[1, b] == updates[1, c] == problem.macs
    assert reads[1, c] == problem.macs - 4 * 6  # all but the first of each sum


def test_a_strided_window_is_fetched_with_its_halo() -> None:
    problem = convolution((8, 1), (3, 1), (1, 1), stride=(2, 1))
    device = Hierarchy((Storage("DRAM"), Storage("Buffer", keep=ALL)))
    nest = parse({"DRAM": {"p": 4}, "Buffer": {"p": 2, "r": 3}}, device)
    assert evaluate(problem, device, nest).accesses[0, 0, 0] == 4 * (2 * 1 + 3)


def test_a_padded_dim_moves_only_what_there_is() -> None:
    problem = matmul(10, 4, 4)
    device = Hierarchy((Storage("DRAM"), Storage("Buffer", keep=ALL)))
    nest = parse({"DRAM": {"m": 3}, "Buffer": {"m": 4, "n": 4, "k": 4}}, device)
    found = evaluate(problem, device, nest)
    assert found.accesses[0, 0, 0] == 40
    assert evaluate(problem, device, nest, accounting("timeloop")).cycles == 3 * 4 * 4 * 4


def test_accelforge_says_the_same_of_its_optimum() -> None:
    """4096^3 on TPUv4i: 0.01422654 J and 998.6438 us (research/mappers.md, measured)."""
    problem, device = matmul(4096, 4096, 4096), tpuv4i()
    nest = parse(
        {
            "MainMemory": {"m": 2},
            "GlobalBuffer": {"k": 32},
            "arrays": {"m": 2, "n": 2},
            "LocalBuffer": {"n": 16, "m": 1024},
            "columns": {"n": 128},
            "rows": {"k": 128},
        },
        device,
        keep={"GlobalBuffer": ["input", "weight"]},
    )
    found = evaluate(problem, device, nest, accounting("accelforge"))
    assert found.energy_pj * 1e-12 == pytest.approx(0.01422654, rel=1e-6)
    assert found.latency_s == pytest.approx(9.986438e-4, rel=1e-6)


def test_a_batch_is_as_one_by_one() -> None:
    problem, device = matmul(64, 64, 64), weight_stationary(8, 8)
    nests = [
        parse(
            {"Memory": {"n": 8, "k": 8, "m": 64}, "columns": {"n": 8}, "rows": {"k": 8}}, device
        ),
        parse(
            {"Memory": {"m": 64, "n": 16, "k": 8}, "columns": {"n": 4}, "rows": {"k": 8}}, device
        ),
    ]
    many = evaluate_many(problem, device, pack(problem, nests))
    for row, nest in zip(many, nests, strict=True):
        one = evaluate(problem, device, nest)
        assert row[:3] == pytest.approx([one.cycles, one.energy_pj, one.moved_bits])


def test_a_nest_that_does_not_fit_is_marked_in_a_batch() -> None:
    problem = matmul(64, 64, 64)
    device = Hierarchy((Storage("DRAM"), Storage("Buffer", capacity_bits=800.0, keep=ALL)))
    nest = parse({"Buffer": {"m": 64, "n": 64, "k": 64}}, device)
    totals = evaluate_many(problem, device, pack(problem, [nest]))
    assert totals[0, 3] == 2
    assert np.isinf(totals[0, 0])


@pytest.mark.parametrize(
    ("loops", "keep", "says"),
    [
        ({"Buffer": {"m": 64, "n": 64, "k": 64}}, {}, "needs 12.0 KiB in `Buffer`, has 4.0 KiB; short by 8.0 KiB"),  # noqa: E501
        ({"DRAM": {"m": 2}}, {}, "factors of `m` make 2 (DRAM 2), the operator has 64"),
        ({"Bufer": {"m": 2}}, {}, "no level `Bufer`; did you mean `Buffer`"),
        ({"DRAM": {"q": 2}}, {}, "no dim `q`"),
        ({"PEs": {"m": 32}}, {}, "fan-out `PEs` has 16 instances, m 32 needs 32"),
        ({"DRAM": {"m": 0}}, {}, "factor 0 of `m` is below 1"),
        ({"DRAM": {"m": 64, "n": 64, "k": 64}}, {"Buffer": ["weight"]}, "must hold `input`"),
        ({"DRAM": {"m": 64, "n": 64, "k": 64}}, {"Register": ["weight"]}, "may not hold `weight`"),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_by_how_much(
    loops: dict[str, dict[str, int]], keep: dict[str, list[str]], says: str
) -> None:
    from accelsim.nest import Fanout

    device = Hierarchy(
        (
            Storage("DRAM"),
            Storage("Buffer", capacity_bits=4096.0 * 8, keep=ALL),
            Fanout("PEs", 16),
            Storage("Register", capacity_bits=64.0, keep=frozenset({"output"})),
        )
    )
    with pytest.raises(MappingError) as raised:
        evaluate(matmul(64, 64, 64), device, parse(loops, device, keep))
    assert says in str(raised.value)
