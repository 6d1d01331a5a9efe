"""Ported memories: ZigZag's figures exactly, the search against brute force, windows counted."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arch.ported import PortedArraySpec
from accelsim.errors import MappingError
from accelsim.nest import Problem, TensorAccess, convolution, matmul
from accelsim.nest.nest import Loop
from accelsim.nest.ports import (
    Hiding,
    Objective,
    Port,
    PortedArray,
    PortedMemory,
    PortedTask,
    PortFigures,
    evaluate_order,
    factors,
    search_order,
)
from accelsim.nest.ports._pack import mirrors, unrolled
from accelsim.nest.ports._stalls import cover
from tests.nest.ported import (
    BROADCAST,
    EDGE,
    OUTPUT_LINKS,
    TPU,
    Layer,
    conv,
    gemm,
    resnet18,
    separate,
)

# ------------------------------------------------------------------ published figures


@pytest.mark.parametrize(
    ("shape", "limit", "systolic", "cycles", "energy_pj"),
    [
        ((512, 512, 512), 6, True, 163_904, 1.0242827878e8),
        ((4096, 4096, 4096), 6, True, 71_507_773, 4.3274442113e10),
        ((4096, 4096, 4096), 8, True, 69_410_621, 6.5159747863e10),
        ((128, 512, 512), 6, True, 49_215, None),
        ((128, 512, 512), 6, False, 49_153, None),
    ],
)
def test_products_take_the_cycles_that_zigzag_gives(
    shape: tuple[int, int, int], limit: int, systolic: bool, cycles: int, energy_pj: float | None
) -> None:
    """Best of all orders of the loops that LOMA makes, zigzag-dse 3.9.1."""
    task = gemm(TPU if systolic else BROADCAST, *shape)
    found = search_order(task, loops=factors(task, limit))
    assert found.figures.cycles == cycles
    if energy_pj is not None:
        assert found.figures.energy_pj == pytest.approx(energy_pj, rel=1e-9)


@pytest.mark.parametrize(
    ("spec", "hiding", "cycles", "energy_pj"),
    [
        (TPU, "longest_first", 3_865_041.0, 1871436380.656),
        (BROADCAST, "alike", 3_703_960.5, 1871436380.656),
        (EDGE, "longest_first", 3_051_339.0, 1903229377.55),
    ],
    ids=["tpu-3.9.1", "tpu-3.8.5", "edge-3.9.1"],
)
def test_resnet18_costs_what_zigzag_pins_in_its_own_tests(
    spec: PortedArraySpec, hiding: Hiding, cycles: float, energy_pj: float
) -> None:
    """The optimum of each layer over LOMA's loops, summed over the network; and ours beats it."""
    layers = resnet18(spec, hiding)
    theirs = [(search_order(task, loops=factors(task, 6)), count) for task, count in layers]
    assert sum(found.figures.cycles * count for found, count in theirs) == cycles
    total_pj = sum(found.figures.energy_pj * count for found, count in theirs)
    assert total_pj == pytest.approx(energy_pj, rel=1e-12)
    ours = sum(search_order(task).figures.cycles * count for task, count in layers)
    assert ours < cycles


def test_one_layer_falls_into_the_parts_that_zigzag_reports() -> None:
    """First layer of ResNet-18: no stall, inputs onto the chip, 31 + 2 cycles of drain."""
    figures = search_order(conv(TPU, Layer(64, 3, 112, 7, 2, 224, 1))).figures
    assert figures.ideal_cycles == 112 * 112 * 7 * 7 * 2
    assert figures.stall_cycles == 0
    assert figures.onload_cycles == 224 * 224 * 3 * 8 / 64
    assert (figures.offload_cycles, figures.drain_cycles) == (2.0, 33)


# ------------------------------------------------------------------ by hand


def one_level(tensor: str, rate: int, *, shared: bool = False) -> PortedMemory:
    """The only memory of a tensor; a read costs 1 pJ, a write 10."""
    ports = separate(tensor, rate, rate)
    if tensor == "output":
        ports = tuple(Port(rate, rate, (link,)) for link in OUTPUT_LINKS)
    if shared:
        ports = (Port(rate, rate, tuple(link for port in ports for link in port.serves)),)
    return PortedMemory(f"m_{tensor}", 1 << 30, (tensor,), ports, 1.0, 10.0)


@pytest.mark.parametrize(("shared", "stall"), [(False, 0), (True, 2 * 59 - 60)])
def test_one_memory_for_each_tensor_costs_its_accesses(shared: bool, stall: int) -> None:
    """A weight stays while m turns, all else moves each cycle: 60 products, 5 a sum.

    Through one port, all but the first of the sums' 60 reads and 60 writes share 60 cycles.
    """
    sums = one_level("output", 64, shared=shared)
    memories = one_level("input", 64), one_level("weight", 64), sums
    task = PortedTask(matmul(4, 3, 5), PortedArray({}, memories, 0.5), {})
    figures = evaluate_order(task, [Loop("m", 4), Loop("n", 3), Loop("k", 5)])
    assert (figures.ideal_cycles, figures.stall_cycles) == (60, stall)
    reads = 60 + 15 + 60  # input, weight, partial sum; a narrow access costs as much as a full one
    assert figures.energy_pj == pytest.approx(0.5 * 60 + reads * 1.0 + 60 * 10.0)


@pytest.mark.parametrize("rate", [64, 8, 4, 2])
def test_a_narrow_port_stalls_the_array_by_what_its_windows_lack(rate: int) -> None:
    """A word of 8 bits goes to a register each cycle, all but the first in 8 / rate cycles."""
    register = PortedMemory("rf", 8, ("input",), separate("input", 64, 8), 1.0, 1.0)
    outside = PortedMemory("far", 1 << 30, ("input",), separate("input", rate, rate), 1.0, 1.0)
    others = one_level("weight", 1 << 20), one_level("output", 1 << 20)
    task = PortedTask(matmul(64, 1, 1), PortedArray({}, (register, outside, *others), 1.0), {})
    figures = evaluate_order(task, [Loop("m", 64)])
    assert figures.ideal_cycles == 64
    assert figures.stall_cycles == 63 * max(0, 8 // rate - 1)
    assert figures.onload_cycles == max(1, 8 // rate)


# ------------------------------------------------------------------ laws


@st.composite
def nested_windows(draw: st.DrawFn) -> list[tuple[int, int]]:
    period, found = 1, []
    for _ in range(draw(st.integers(1, 5))):
        period *= draw(st.integers(2, 5))
        found.append((period, draw(st.integers(1, period))))
    return found


@given(nested_windows())
def test_the_union_of_windows_is_what_counting_cycles_gives(
    windows: list[tuple[int, int]],
) -> None:
    table = np.zeros((len(windows), 4), np.int64)
    table[:, :2] = windows
    longest = windows[-1][0]
    counted = sum(any(at % period < open_ for period, open_ in windows) for at in range(longest))
    assert cover(table, len(windows)) == counted


SMALL = (
    gemm(TPU, 12, 96, 64),
    conv(TPU, Layer(64, 64, 4, 3, 1, 4, 1)),
    conv(EDGE, Layer(16, 8, 6, 3, 2, 12, 1)),
)


@pytest.mark.parametrize("task", SMALL, ids=["gemm", "square", "strided"])
@pytest.mark.parametrize("objective", ["latency", "energy", "edp"])
def test_search_finds_the_brute_force_optimum(task: PortedTask, objective: Objective) -> None:
    loops = factors(task, 6)
    every = [evaluate_order(task, order) for order in set(itertools.permutations(loops))]
    best = search_order(task, objective, loops=loops).figures
    least = min(rank(objective, figures) for figures in every)
    assert rank(objective, best) == pytest.approx(least, rel=1e-12)


def rank(objective: Objective, figures: PortFigures) -> tuple[float, float]:
    """What is made small, and what decides between equals."""
    if objective == "edp":
        return figures.cycles * figures.energy_pj, figures.cycles
    pair = figures.cycles, figures.energy_pj
    return pair if objective == "latency" else pair[::-1]


def test_more_factors_are_never_worse() -> None:
    task = conv(EDGE, Layer(64, 32, 12, 3, 1, 12, 1))
    found = [search_order(task, limit=limit).figures.cycles for limit in (4, 6, 7)]
    assert found == sorted(found, reverse=True)


def test_a_mirror_image_costs_the_same_and_is_skipped() -> None:
    task = conv(TPU, Layer(64, 64, 4, 3, 1, 4, 1))
    loops = factors(task, 6)
    swap = {"p": "q", "q": "p", "r": "s", "s": "r"}
    for order in itertools.islice(itertools.permutations(loops), 0, 720, 37):
        image = [Loop(swap.get(loop.dim, loop.dim), loop.factor) for loop in order]
        one, other = evaluate_order(task, order), evaluate_order(task, image)
        assert one.cycles == other.cycles
        assert one.energy_pj == pytest.approx(other.energy_pj)
    tried = search_order(task, loops=loops).tried
    kinds = len(set(loops))
    every = math.factorial(len(loops)) // math.prod(map(math.factorial, _counts(loops)))
    assert kinds > 1
    assert tried == every // 2


def _counts(loops: tuple[Loop, ...]) -> list[int]:
    return [loops.count(loop) for loop in set(loops)]


def test_an_image_that_is_not_square_has_no_mirror() -> None:
    made = convolution((4, 8), (3, 3), (8, 8))
    task = PortedTask(made, TPU.array(), {})
    places = [(made.dims.index("p"), 4), (made.dims.index("q"), 8)]
    assert mirrors(task.arrays, places, [1, 1]).tolist() == [0, 1]


@settings(max_examples=25, deadline=None)
@given(st.permutations(factors(gemm(TPU, 96, 128, 192), 8)))
def test_the_cuts_that_were_chosen_can_be_given(order: list[Loop]) -> None:
    task = gemm(TPU, 96, 128, 192)
    chosen = evaluate_order(task, order)
    cuts = {
        name: list(itertools.accumulate(map(len, levels)))
        for name, levels in chosen.levels.items()
    }
    assert evaluate_order(task, order, cuts) == chosen


@pytest.mark.parametrize("hiding", ["longest_first", "alike"])
def test_first_fills_that_hide_never_cost_more_than_those_that_do_not(hiding: Hiding) -> None:
    shown = replace(gemm(TPU, 128, 512, 512), hiding="none")
    hidden = replace(shown, hiding=hiding)
    for order in itertools.islice(itertools.permutations(factors(shown, 6)), 0, 720, 31):
        assert evaluate_order(hidden, order).cycles <= evaluate_order(shown, order).cycles


def test_an_unrolling_that_does_not_divide_is_evened_out() -> None:
    plan = unrolled(matmul(1, 1000, 512), TPU.array(), TPU.unrolled("matmul"))
    assert plan.factors == {"d1": ("n", 31.25), "d2": ("k", 32.0)}
    assert plan.passes == {"batch": 1, "m": 1, "n": 32, "k": 16}


def test_factors_keep_to_the_limit_and_to_the_passes() -> None:
    task = gemm(TPU, 60, 4096, 4096)
    for limit in (1, 3, 5, 9, None):
        loops = factors(task, limit)
        assert limit is None or len(loops) <= max(limit, 3)
        for dim, passes in task.passes.items():
            assert math.prod(loop.factor for loop in loops if loop.dim == dim) == passes


# ------------------------------------------------------------------ bad input

ORDER = [Loop("m", 64), Loop("n", 2), Loop("k", 2)]


def test_loops_that_do_not_cover_the_problem_are_refused() -> None:
    with pytest.raises(MappingError, match="loops over `k` run 1 times, it needs 2"):
        evaluate_order(gemm(TPU, 64, 64, 64), ORDER[:2])


def test_cuts_that_exceed_a_memory_say_by_how_much() -> None:
    task = gemm(TPU, 64, 64, 64)
    cuts = {"input": [0, 3], "weight": [0, 3], "output": [1, 1, 3]}
    with pytest.raises(MappingError, match=r"needs 0\.125 KiB in `rf_2B`, has 0\.001953 KiB"):
        evaluate_order(task, ORDER, cuts)


def test_a_register_that_is_too_narrow_is_named() -> None:
    task = replace(gemm(TPU, 64, 64, 64), partial_bits=32)
    with pytest.raises(MappingError, match=r"needs .* in `rf_2B`"):
        search_order(task)


def test_too_many_orders_are_refused() -> None:
    with pytest.raises(MappingError, match="lower the limit"):
        search_order(gemm(TPU, 4096, 4096, 4096), limit=26)


@pytest.mark.parametrize(
    ("unrolling", "text"),
    [
        ({"d9": ("m", 2)}, "no dim `d9` of the array"),
        ({"d1": ("z", 2)}, "no dim `z`"),
        ({"d1": ("m", 33)}, "`m` over 33 units, there are 32"),
    ],
)
def test_an_unrolling_that_cannot_be_is_refused(
    unrolling: dict[str, tuple[str, int]], text: str
) -> None:
    with pytest.raises(MappingError, match=text):
        search_order(PortedTask(matmul(64, 64, 64), TPU.array(), unrolling, 16))


def test_a_transfer_without_a_port_is_named() -> None:
    array = TPU.array()
    weights = replace(array.memories[0], ports=array.memories[0].ports[:1])
    bare = replace(array, memories=(weights, *array.memories[1:]))
    with pytest.raises(MappingError, match="`rf_128B`: no port serves write_down of `weight`"):
        evaluate_order(replace(gemm(TPU, 64, 64, 64), array=bare), ORDER)


def test_a_tensor_without_a_memory_is_named() -> None:
    array = TPU.array()
    bare = replace(array, memories=array.memories[1:3])
    with pytest.raises(MappingError, match="no memory holds tensor `weight`"):
        search_order(replace(gemm(TPU, 64, 64, 64), array=bare))


def test_three_operands_are_refused() -> None:
    third = TensorAccess("bias", (((1, "m"),),), 8)
    two = matmul(64, 64, 64)
    with pytest.raises(MappingError, match="two at most"):
        search_order(
            PortedTask(Problem(two.dims, two.sizes, (third, *two.tensors)), TPU.array(), {})
        )


def test_an_unknown_objective_gets_a_hint() -> None:
    with pytest.raises(MappingError, match="did you mean `energy`"):
        search_order(gemm(TPU, 64, 64, 64), "enrgy")  # type: ignore[arg-type]
