"""Plans a scratchpad: operator order, what stays on chip when and where, with least DRAM traffic.

`allocate` is the one way in; exact searches, the heuristic for large graphs and the baselines are
methods of one interface and give the same kind of plan, which is checked before it is returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from time import perf_counter
from typing import Final

from accelsim.errors import ConfigError, UnknownNameError
from accelsim.mapping._scratchpad_exact import (
    Exact,
    exact_orders,
    exact_replacement,
    program_columns,
)
from accelsim.mapping._scratchpad_gaps import dropped_cost, gap_room, keep_greedily
from accelsim.mapping._scratchpad_graph import scratchpad_problem
from accelsim.mapping._scratchpad_online import on_demand
from accelsim.mapping._scratchpad_order import (
    PeakOrder,
    depth_first,
    least_excess,
    live_peak_bytes,
    lowest_peak,
    moved,
)
from accelsim.mapping._scratchpad_places import place
from accelsim.mapping._scratchpad_plan import Allocation, Stay, check_allocation, stays_of
from accelsim.mapping._scratchpad_problem import (
    Problem,
    Storage,
    Task,
    largest_footprint_bytes,
    require_room,
)

__all__ = [
    "METHODS",
    "Allocation",
    "PeakOrder",
    "Problem",
    "Stay",
    "Storage",
    "Task",
    "allocate",
    "check_allocation",
    "largest_footprint_bytes",
    "live_peak_bytes",
    "lowest_peak",
    "scratchpad_problem",
]

COLUMNS: Final = 3000
"""Whole-number columns of the program with free order up to which `auto` tries it."""
WIDTHS: Final = (20, 100)
"""Sets of tasks that the heuristic follows at once in its searches for orders."""
MOVES: Final = 1500
"""Orders that the heuristic tries around the best one, as long as its share of time lasts."""

Order = tuple[int, ...]
Found = tuple[Order, tuple[Stay, ...]]


def allocate(
    problem: Problem, capacity_bytes: int, *, method: str = "auto", time_limit_s: float = 30.0,
    seed: int = 0,
) -> Allocation:  # fmt: skip
    """Return the order, residence and addresses of a problem in a scratchpad.

    Parameters
    ----------
    problem : Problem
        From `scratchpad_problem`, or written by hand.
    capacity_bytes : int
        Of the scratchpad.
    method : str
        ``exact`` (a mixed-integer program over orders and replacement), ``heuristic`` (local
        search over orders, exact replacement for the best), ``auto`` (exact where the program is
        small); ``replacement`` (exact, in the given order); the baselines ``no-retention``,
        ``lru`` and ``belady``, in the given order or, with ``-low-peak``, in that of lowest peak;
        with ``-online`` addresses are given as storages come, else they are planned ahead.
    time_limit_s : float
        For all searches together, about.
    seed : int
        Of the heuristic's moves.

    Raises
    ------
    InfeasibleError
        If a task's storages do not fit at once; names it and what is short.
    UnknownNameError, ConfigError
        If there is no such method, or the capacity or time is not above 0.

    Examples
    --------
    >>> s = [Storage("x", 4, in_dram=True), Storage("a", 4), Storage("y", 4, kept=True)]
    >>> f, g = Task("f", reads=(0,), makes=(1,)), Task("g", reads=(0, 1), makes=(2,))
    >>> plan = allocate(Problem("two", tuple(s), (f, g)), 12)
    >>> plan.traffic_bytes, plan.noncompulsory_bytes, plan.status
    (8, 0, 'optimal')
    """
    if method not in METHODS:
        raise UnknownNameError("scratchpad method", method, METHODS)
    for name, value in (("capacity_bytes", capacity_bytes), ("time_limit_s", time_limit_s)):
        if not value > 0:
            raise ConfigError(f"{value} is not above 0", path=name)
    require_room(problem, capacity_bytes)
    began = perf_counter()
    plan = METHODS[method](problem, capacity_bytes, time_limit_s, seed)
    plan = replace(plan, wall_s=perf_counter() - began)
    check_allocation(plan)
    return plan


# ---------------------------------------------------------------- methods


def _plan(
    problem: Problem, capacity_bytes: int, found: Found, method: str, bound_bytes: int = 0
) -> Allocation:
    """Return a plan; it is optimal where its traffic equals the bound, proven or compulsory."""
    bound = max(bound_bytes, problem.compulsory_bytes)
    plan = Allocation(problem, capacity_bytes, *found, method, bound, "heuristic")
    return replace(plan, status="optimal") if plan.traffic_bytes == bound else plan


def _baseline(name: str, eviction: str, *, low_peak: bool = False, planned: bool = True) -> Method:
    def run(problem: Problem, capacity_bytes: int, _: float, __: int) -> Allocation:
        order = tuple(range(len(problem.tasks)))
        if low_peak:
            order = lowest_peak(problem).order
        stays = on_demand(problem, order, capacity_bytes, eviction, planned=planned)
        return _plan(problem, capacity_bytes, (order, stays), name)

    return run


def _replacement(problem: Problem, capacity_bytes: int, time_limit_s: float, _: int) -> Allocation:
    """Keep the given order; find the least traffic that it allows."""
    order = tuple(range(len(problem.tasks)))
    greedy = _greedy(problem, order, capacity_bytes)
    plan = _plan(problem, capacity_bytes, greedy, "replacement")
    if plan.noncompulsory_bytes:
        exact = exact_replacement(
            problem, order, capacity_bytes, beat_bytes=plan.noncompulsory_bytes,
            time_limit_s=time_limit_s,
        )  # fmt: skip
        plan = _better(plan, exact, "replacement")
        if exact.finished or exact.bound_bytes >= plan.noncompulsory_bytes:
            # A bound of this order only: it is no bound of the problem.
            plan = replace(plan, status="optimal for the order")
    return plan


def _heuristic(
    problem: Problem, capacity_bytes: int, time_limit_s: float, seed: int
) -> Allocation:
    """Search orders with greedy replacement, then replace exactly in the best one."""
    began, method = perf_counter(), "heuristic"
    costs: dict[Order, int] = {}
    for order in _starts(problem, capacity_bytes, began + 0.3 * time_limit_s):
        costs[order] = _greedy_cost(problem, order, capacity_bytes)
        if not costs[order]:
            break
    best = min(costs, key=costs.__getitem__)
    if costs[best]:
        deadline = began + 0.6 * time_limit_s
        best = _climb(problem, best, costs[best], capacity_bytes, deadline, Random(seed))
    plan = _plan(problem, capacity_bytes, _greedy(problem, best, capacity_bytes), method)
    # Placing may have cost what another order, or eviction hole by hole, does not.
    for order in (*sorted(costs, key=costs.__getitem__)[:4], best):
        if plan.noncompulsory_bytes:
            for found in (
                _greedy(problem, order, capacity_bytes),
                (order, on_demand(problem, order, capacity_bytes, "belady")),
            ):
                other = _plan(problem, capacity_bytes, found, method)
                plan = min(plan, other, key=lambda p: p.traffic_bytes)
    left = time_limit_s - (perf_counter() - began)
    if plan.noncompulsory_bytes and left > 0:
        exact = exact_replacement(
            problem, plan.order, capacity_bytes, beat_bytes=plan.noncompulsory_bytes,
            time_limit_s=left,
        )  # fmt: skip
        plan = _better(plan, exact, method)
    return plan


def _exact(problem: Problem, capacity_bytes: int, time_limit_s: float, seed: int) -> Allocation:
    """Beat the heuristic's plan, or prove that nothing does."""
    began = perf_counter()
    plan = _heuristic(problem, capacity_bytes, 0.2 * time_limit_s, seed)
    plan = replace(plan, method="exact")
    if not plan.noncompulsory_bytes:
        return plan
    left = max(time_limit_s - (perf_counter() - began), 0.5 * time_limit_s)
    exact = exact_orders(
        problem, capacity_bytes, beat_bytes=plan.noncompulsory_bytes, time_limit_s=left
    )
    plan = _better(plan, exact, "exact", exact.bound_bytes + problem.compulsory_bytes)
    return plan if plan.status == "optimal" else replace(plan, status="time limit")


def _auto(problem: Problem, capacity_bytes: int, time_limit_s: float, seed: int) -> Allocation:
    small = program_columns(problem) <= COLUMNS
    return (_exact if small else _heuristic)(problem, capacity_bytes, time_limit_s, seed)


Method = Callable[[Problem, int, float, int], Allocation]

METHODS: Final[dict[str, Method]] = {
    "auto": _auto,
    "exact": _exact,
    "heuristic": _heuristic,
    "replacement": _replacement,
    "belady-low-peak": _baseline("belady-low-peak", "belady", low_peak=True),
    "belady": _baseline("belady", "belady"),
    "belady-online-low-peak": _baseline(
        "belady-online-low-peak", "belady", low_peak=True, planned=False
    ),
    "belady-online": _baseline("belady-online", "belady", planned=False),
    "lru": _baseline("lru", "lru"),
    "no-retention": _baseline("no-retention", "none"),
}
"""Name -> how a plan is found."""


# ---------------------------------------------------------------- parts of the heuristic


def _better(plan: Allocation, exact: Exact, method: str, bound_bytes: int = 0) -> Allocation:
    """Return the plan that an exact search found, the old one if it found no better."""
    found: Found = (plan.order, plan.stays)
    if exact.order is not None and exact.extra_bytes < plan.noncompulsory_bytes:
        found = (exact.order, exact.stays)
    return _plan(plan.problem, plan.capacity_bytes, found, method, bound_bytes)


def _starts(problem: Problem, capacity_bytes: int, deadline: float) -> Iterator[Order]:
    """Yield orders to begin with, until the time is over."""
    yield tuple(range(len(problem.tasks)))
    yield depth_first(problem)
    for width in WIDTHS:
        peak = lowest_peak(problem, width)
        yield peak.order
        for limit in (capacity_bytes, (capacity_bytes + peak.peak_bytes) // 2):
            if perf_counter() > deadline:
                return
            yield least_excess(problem, limit, width)


def _greedy_cost(problem: Problem, order: Order, capacity_bytes: int) -> int:
    """Return the traffic above the compulsory one of greedy replacement, without addresses."""
    room = gap_room(problem, order, capacity_bytes)
    return dropped_cost(problem, keep_greedily(problem, room))


def _greedy(problem: Problem, order: Order, capacity_bytes: int) -> Found:
    """Return placed stays of greedy replacement; a gap of what cannot be placed is given up."""
    room = gap_room(problem, order, capacity_bytes)
    sizes = [s.size_bytes for s in problem.storages]
    forced: set[tuple[int, int]] = set()
    while True:
        dropped = keep_greedily(problem, room, forced)
        stays = stays_of(problem, room.uses, dropped)
        placed = place(stays, sizes, capacity_bytes, thorough=False)
        if placed.stays is not None:
            return order, placed.stays
        stuck = [
            (storage.storage, use)
            for storage in placed.stuck
            for use, step in enumerate(room.uses[storage.storage])
            if storage.first <= step < storage.last
        ]
        forced.add(min(stuck, key=lambda g: dropped_cost(problem, dropped | {g})))


def _climb(
    problem: Problem, order: Order, cost: int, capacity_bytes: int, deadline: float, random: Random
) -> Order:
    """Move tasks while that costs no traffic; return the cheapest order met."""
    tried = 0
    while cost and tried < MOVES:
        for other in moved(problem, order, random):
            tried += 1
            found = _greedy_cost(problem, other, capacity_bytes)
            late = tried >= MOVES or perf_counter() > deadline
            if found <= cost:
                order, cost = other, found
                break
            if late:
                return order
        else:
            return order
        if perf_counter() > deadline:
            return order
    return order
