"""Scratchpad plans: exact equals trying everything, the heuristic is legal and never better."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random

import pytest

from accelsim.errors import (
    ConfigError,
    ConservationError,
    GraphError,
    InfeasibleError,
    UnknownNameError,
)
from accelsim.mapping._scratchpad_exact import exact_orders, exact_replacement
from accelsim.mapping._scratchpad_order import depth_first, moved
from accelsim.mapping._scratchpad_places import place
from accelsim.mapping._scratchpad_problem import check_order
from accelsim.mapping.scratchpad import (
    METHODS,
    Problem,
    Stay,
    Storage,
    Task,
    allocate,
    check_allocation,
    largest_footprint_bytes,
    live_peak_bytes,
    lowest_peak,
)
from tests.mapping.scratchpad_oracle import least_traffic, random_problem

SEEDS = range(14)


def _tiny(seed: int) -> tuple[Problem, int]:
    """Return a problem that the oracle can finish; most cannot live in their capacity."""
    random = Random(seed)
    while True:
        problem = random_problem(random, tasks=random.randint(4, 5), largest=3)
        capacity = largest_footprint_bytes(problem)
        if capacity <= 6 and (seed % 7 == 0 or lowest_peak(problem).peak_bytes > capacity):
            return problem, capacity


@cache
def _least(seed: int) -> int:
    least = least_traffic(*_tiny(seed))
    assert least is not None
    return least


def chain(length: int, size: int = 4) -> Problem:
    """Return tasks in a row, the last of which also reads the first one's result."""
    storages = [Storage("x", size, in_dram=True)]
    storages += [Storage(f"t{i}", size, kept=i == length - 1) for i in range(length)]
    tasks = [Task(f"f{i}", (i,), (i + 1,)) for i in range(length)]
    tasks[-1] = Task(f"f{length - 1}", (length - 1, 1), (length,))
    return Problem("chain", tuple(storages), tuple(tasks))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_exact_search_equals_trying_everything(seed: int) -> None:
    problem, capacity = _tiny(seed)
    least = _least(seed)
    plan = allocate(problem, capacity, method="exact")
    assert (plan.traffic_bytes, plan.status, plan.bound_bytes) == (least, "optimal", least)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_program_alone_equals_trying_everything(seed: int) -> None:
    """Without the heuristic's plan to beat, so that the program itself is what is tested."""
    problem, capacity = _tiny(seed)
    found = exact_orders(problem, capacity)
    least = _least(seed)
    assert found.finished
    assert found.extra_bytes + problem.compulsory_bytes == least
    assert found.bound_bytes + problem.compulsory_bytes == least


@pytest.mark.parametrize("seed", SEEDS)
def test_no_method_beats_the_optimum_and_all_are_legal(seed: int) -> None:
    problem, capacity = _tiny(seed)
    least = _least(seed)
    for method in METHODS:
        plan = allocate(problem, capacity, method=method)  # checks the plan
        assert plan.traffic_bytes >= least >= problem.compulsory_bytes, method
        assert plan.peak_bytes <= capacity


def test_the_random_problems_are_not_all_easy() -> None:
    """The comparisons above say something only where traffic cannot all be avoided."""
    extra = [_least(seed) - _tiny(seed)[0].compulsory_bytes for seed in SEEDS]
    assert sum(e > 0 for e in extra) >= len(extra) // 2


def test_a_given_order_is_replaced_in_exactly() -> None:
    for seed in SEEDS:
        problem, capacity = _tiny(seed)
        order = tuple(range(len(problem.tasks)))
        pinned = replace_order(problem)
        found = exact_replacement(problem, order, capacity)
        least = least_traffic(pinned, capacity)
        assert found.order is not None
        assert found.extra_bytes + problem.compulsory_bytes == least, seed


def replace_order(problem: Problem) -> Problem:
    """Return the problem with only its given order legal."""
    tasks = [
        replace(task, after=(*task.after, *([number - 1] if number else [])))
        for number, task in enumerate(problem.tasks)
    ]
    return Problem(problem.name, problem.storages, tuple(tasks))


def test_what_fits_needs_compulsory_traffic_only() -> None:
    problem = chain(6)
    peak = live_peak_bytes(problem, range(6))
    assert peak == 12
    plan = allocate(problem, peak)
    assert (plan.noncompulsory_bytes, plan.traffic_bytes, plan.status) == (0, 8, "optimal")


def test_a_spill_costs_a_store_and_a_load() -> None:
    """Two long-lived results and room for one of them beside the task that runs."""
    x, a, b, c = (Storage(n, 4, in_dram=n == "x") for n in "xabc")
    y = Storage("y", 4, kept=True)
    tasks = (
        Task("a", (0,), (1,)), Task("b", (1,), (2,)), Task("c", (2,), (3,)),
        Task("y", (3, 1), (4,)),
    )  # fmt: skip
    problem = Problem("spill", (x, a, b, c, y), tasks)
    assert allocate(problem, 12).noncompulsory_bytes == 0
    tight = Problem("tight", (x, a, replace(b, size_bytes=8), c, y), tasks)
    plan = allocate(tight, 12)
    assert plan.noncompulsory_bytes == 8  # a is stored and loaded while b and c are on chip
    assert [s.stored for s in plan.stays if s.storage == 1] == [True, False]
    assert [s.loaded for s in plan.stays if s.storage == 1] == [False, True]


def test_the_order_is_part_of_the_plan() -> None:
    """Two branches of a large and a small result: one order keeps both large ones at once."""
    storages = [Storage("x", 1, in_dram=True)]
    storages += [Storage(n, s) for n, s in (("A", 8), ("a", 1), ("B", 8), ("b", 1))]
    storages += [Storage("y", 1, kept=True)]
    bad = (
        Task("A", (0,), (1,)), Task("B", (0,), (3,)), Task("a", (1,), (2,)),
        Task("b", (3,), (4,)), Task("y", (2, 4), (5,)),
    )  # fmt: skip
    problem = Problem("branches", tuple(storages), bad)
    assert live_peak_bytes(problem, range(5)) == 17
    found = lowest_peak(problem)
    assert (found.peak_bytes, found.exact) == (10, True)
    assert allocate(problem, 10, method="replacement").noncompulsory_bytes > 0
    for method in ("heuristic", "exact", "belady-low-peak"):
        assert allocate(problem, 10, method=method).noncompulsory_bytes == 0, method


FRAGMENTED = (  # capacity, sizes, and what each task reads and makes, one after the other
    (4, (2, 2, 1, 1, 1, 1, 2, 1, 2),
     (((), (0, 1)), ((1,), (2, 3)), ((2,), (4, 5)), ((3,), (6,)), ((5,), (7,)), ((6,), (8,)))),
    (4, (2, 2, 2, 1, 1, 1, 1, 2, 2),
     (((), (0, 1)), ((), (2,)), ((1,), (3, 4)), ((4,), (5, 6)), ((3, 5), (7,)), ((), (8,)),
      ((7, 8), ()))),
    (6, (3, 3, 3, 1, 2, 2, 1, 2, 3, 1),
     (((), (0, 1)), ((0,), ()), ((), (2,)), ((1,), (3, 4)), ((3,), (5, 6)), ((4, 5), (7,)),
      ((7,), (8, 9)))),
)  # fmt: skip


@pytest.mark.parametrize(("capacity", "sizes", "rows"), FRAGMENTED)
def test_fragmentation_is_traffic(
    capacity: int, sizes: tuple[int, ...], rows: tuple[tuple[tuple[int, ...], ...], ...]
) -> None:
    """Sizes fit at every step, addresses do not: found by drawing graphs that fill all bytes.

    Guards the cuts: the programs know sizes only, and would find no traffic above the compulsory.
    """
    storages = tuple(Storage(f"s{n}", size) for n, size in enumerate(sizes))
    tasks = tuple(
        Task(f"t{n}", reads, makes, after=(n - 1,) if n else ())
        for n, (reads, makes) in enumerate(rows)
    )
    problem = Problem("fragmented", storages, tasks)
    assert live_peak_bytes(problem, range(len(tasks))) == capacity
    least = least_traffic(problem, capacity)
    assert least is not None
    assert least > problem.compulsory_bytes
    for found in (
        exact_orders(problem, capacity),
        exact_replacement(problem, tuple(range(len(tasks))), capacity),
    ):
        assert found.finished
        assert found.extra_bytes + problem.compulsory_bytes == least
        assert found.bound_bytes + problem.compulsory_bytes == least
    plan = allocate(problem, capacity, method="exact")
    assert (plan.traffic_bytes, plan.status) == (least, "optimal")


@pytest.mark.parametrize("seed", range(40))
def test_the_search_for_places_is_complete(seed: int) -> None:
    """Against all offsets, for a handful of stays."""
    random = Random(seed)
    stays, sizes = [], []
    for number in range(random.randint(3, 6)):
        first = random.randint(0, 4)
        stays.append(Stay(number, first, min(first + random.randint(0, 3), 5)))
        sizes.append(random.randint(1, 3))
    full = max(sum(sizes[s.storage] for s in stays if s.first <= t <= s.last) for t in range(6))
    found = place(stays, sizes, full)
    assert (found.stays is not None) == _fits_somehow(stays, sizes, full)
    assert found.stays is not None or found.proven


def _fits_somehow(stays: list[Stay], sizes: list[int], capacity: int) -> bool:
    def fits(placed: list[Stay], rest: list[Stay]) -> bool:
        if not rest:
            return True
        one, *others = rest
        for at in range(capacity - sizes[one.storage] + 1):
            clear = all(
                p.last < one.first or one.last < p.first
                or p.offset_bytes + sizes[p.storage] <= at
                or at + sizes[one.storage] <= p.offset_bytes
                for p in placed
            )  # fmt: skip
            if clear and fits([*placed, replace(one, offset_bytes=at)], others):
                return True
        return False

    return fits([], stays)


@pytest.mark.parametrize("seed", range(8))
def test_the_lowest_peak_is_that_of_all_orders(seed: int) -> None:
    problem = random_problem(Random(100 + seed), tasks=6, largest=5)
    found = lowest_peak(problem)
    assert found.exact
    assert found.peak_bytes == live_peak_bytes(problem, found.order)
    assert found.peak_bytes == min(live_peak_bytes(problem, o) for o in _orders(problem))


def _orders(problem: Problem) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for _ in problem.tasks:
        found = [
            (*order, task)
            for order in found
            for task in range(len(problem.tasks))
            if task not in order and problem.predecessors[task] <= set(order)
        ]
    return found


def test_orders_are_legal() -> None:
    problem = random_problem(Random(7), tasks=12, largest=4)
    check_order(problem, depth_first(problem))
    for order, _ in zip(moved(problem, range(12), Random(1)), range(50), strict=False):
        check_order(problem, order)
        assert order != tuple(range(12))


def test_the_heuristic_is_repeatable_on_a_larger_graph() -> None:
    problem = random_problem(Random(11), tasks=60, largest=6)
    capacity = largest_footprint_bytes(problem) + 4
    plans = [allocate(problem, capacity, method="heuristic", time_limit_s=60) for _ in range(2)]
    assert plans[0].stays == plans[1].stays
    belady = allocate(problem, capacity, method="belady")
    nothing = allocate(problem, capacity, method="no-retention")
    assert plans[0].traffic_bytes <= belady.traffic_bytes < nothing.traffic_bytes


def test_a_search_that_runs_out_of_time_says_so() -> None:
    problem = random_problem(Random(5), tasks=40, largest=7)
    plan = allocate(problem, largest_footprint_bytes(problem), method="exact", time_limit_s=0.02)
    assert plan.status == "time limit"
    assert problem.compulsory_bytes <= plan.bound_bytes < plan.traffic_bytes


def test_what_cannot_run_is_named_with_what_is_short() -> None:
    storages = (Storage("x", 400 * 1024, in_dram=True), Storage("y", 90 * 1024, kept=True))
    problem = Problem("net", storages, (Task("conv1", (0,), (1,)),))
    with pytest.raises(
        InfeasibleError,
        match=r"`conv1` of `net` in `scratchpad`: needs 490\.00 KiB, has 128\.00 KiB"
        r" \(short by 362\.00 KiB\)",
    ):
        allocate(problem, 128 * 1024)


@pytest.mark.parametrize(
    ("capacity", "method", "error", "said"),
    [
        (0, "auto", ConfigError, "capacity_bytes: 0 is not above 0"),
        (64, "exakt", UnknownNameError, "did you mean `exact`"),
    ],
)
def test_bad_arguments_are_refused(
    capacity: int, method: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        allocate(chain(3), capacity, method=method)


@pytest.mark.parametrize(
    ("storages", "tasks", "said"),
    [
        ([Storage("a", 1)], [Task("f", (0,), ())], "nothing makes `a`"),
        ([Storage("a", 1)], [Task("f", (), (0,)), Task("g", (), (0,))], "already there"),
        ([Storage("a", 1)] * 2, [Task("f", (), (0, 1))], "two storages are named `a`"),
        ([Storage("a", 1)], [Task("f", (0,), ()), Task("g", (), (0,))], "`f` runs before `g`"),
        ([Storage("a", 1)], [Task("f", (), (0, 0))], "is made by"),
    ],
)
def test_bad_problems_are_refused(storages: list[Storage], tasks: list[Task], said: str) -> None:
    with pytest.raises(GraphError, match=said):
        Problem("bad", tuple(storages), tuple(tasks))


def test_the_checker_refuses_what_hardware_could_not_do() -> None:
    plan = allocate(chain(4), 12)
    check_allocation(plan)
    late = plan.stays[-1]
    broken = {
        "overlaps": [replace(s, offset_bytes=0) for s in plan.stays],
        "of 12 bytes": [replace(s, offset_bytes=s.offset_bytes + 1) for s in plan.stays],
        "is not on chip": list(plan.stays[1:]),
        "never stored": [replace(s, stored=False) for s in plan.stays],
        "DRAM has no copy": [replace(s, loaded=True) for s in plan.stays],
        "out of nothing": [replace(s, loaded=False) for s in plan.stays],
        "but is there": [*plan.stays, late],
    }
    for said, stays in broken.items():
        with pytest.raises(ConservationError, match=said):
            check_allocation(replace(plan, stays=tuple(stays)))
    with pytest.raises(ConservationError, match="below the bound"):
        check_allocation(replace(plan, bound_bytes=plan.traffic_bytes + 1))
