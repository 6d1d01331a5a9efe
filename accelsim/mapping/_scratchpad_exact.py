"""Exact allocation: mixed-integer programs for replacement alone, and for order and replacement.

Addresses are no variables of the programs.  Their solution is placed by `place`; what provably
cannot be placed is cut off and the program solved again (logic-based Benders decomposition), so
that bounds hold for plans with addresses and an optimum is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from accelsim.mapping._scratchpad_gaps import dropped_cost, gap_room
from accelsim.mapping._scratchpad_highs import Program
from accelsim.mapping._scratchpad_places import place
from accelsim.mapping._scratchpad_plan import Stay, stays_of
from accelsim.mapping._scratchpad_problem import Problem, ancestors, positions_of_uses

__all__ = ["Exact", "exact_orders", "exact_replacement", "program_columns"]


@dataclass(frozen=True, slots=True)
class Exact:
    """What an exact search found.

    Attributes
    ----------
    order : tuple of int or None
        None if it found nothing better than what it had to beat.
    stays : tuple of Stay
        Placed.
    extra_bytes : int
        Traffic above the compulsory one.
    bound_bytes : int
        Lower bound of it: over all plans, or over those of the order where the order is given.
    finished : bool
        Whether the search ended by itself.
    """

    order: tuple[int, ...] | None
    stays: tuple[Stay, ...]
    extra_bytes: int
    bound_bytes: int
    finished: bool


Read = Callable[[NDArray[np.float64]], tuple[tuple[int, ...], set[tuple[int, int]]]]
"""Turns values of columns into an order and the dropped gaps."""

Cut = Callable[[tuple[int, ...], Sequence[Stay]], list[tuple[int, float]]]
"""Turns stays that cannot be placed together into terms; a factor of -1 stands for 1 - column, and
the sum must be at least 1."""


def _unit(problem: Problem, capacity_bytes: int) -> int:
    return reduce(math.gcd, (s.size_bytes for s in problem.storages), capacity_bytes) or 1


def _solved(
    problem: Problem, capacity_bytes: int, program: Program, read: Read, cut: Cut, unit: int,
    beat_bytes: int | None, time_limit_s: float,
) -> Exact:  # fmt: skip
    """Solve, place, cut off what cannot be placed, and solve again."""
    began, bound, certain = perf_counter(), 0, True
    if beat_bytes is not None:
        terms = [(i, c) for i, c in enumerate(program.costs) if c]
        program.row(terms, high=beat_bytes / unit - 1)
    while True:
        left = time_limit_s - (perf_counter() - began)
        if left <= 0:
            return Exact(None, (), 0, bound, finished=False)
        solution = program.solve(left)
        if certain:  # after a cut that is not proven, bounds hold no more
            lowest = beat_bytes or 0 if solution.status == "infeasible" else solution.bound * unit
            bound = max(bound, math.ceil(max(lowest, 0) / unit - 1e-4) * unit)
        if solution.values is None:
            return Exact(None, (), 0, bound, finished=solution.status == "infeasible" and certain)
        order, dropped = read(solution.values)
        uses = positions_of_uses(problem, order)
        sizes = [s.size_bytes for s in problem.storages]
        placed = place(stays_of(problem, uses, dropped), sizes, capacity_bytes)
        if placed.stays is not None:
            done = solution.status == "optimal" and certain
            return Exact(order, placed.stays, dropped_cost(problem, dropped), bound, done)
        certain = certain and placed.proven
        terms = cut(order, placed.stuck)
        program.row(terms, low=1 + sum(factor for _, factor in terms if factor < 0))


def exact_replacement(
    problem: Problem, order: tuple[int, ...], capacity_bytes: int, *,
    beat_bytes: int | None = None, time_limit_s: float = 60.0,
) -> Exact:  # fmt: skip
    """Return the least traffic of a given order.

    Parameters
    ----------
    problem : Problem
    order : tuple of int
    capacity_bytes : int
    beat_bytes : int, optional
        Traffic above the compulsory one that is known; only less is looked for.
    time_limit_s : float

    Notes
    -----
    With y = 1 for a gap that is dropped and z >= y for a storage that is spilled, minimise the
    loads, sum of size y, and the stores, sum of size z, such that at every step the sum of
    size (1 - y) over the gaps around it is at most what the task of the step leaves free.
    """
    room, unit = gap_room(problem, order, capacity_bytes), _unit(problem, capacity_bytes)
    program = Program()
    column: dict[tuple[int, int], int] = {}
    spill: dict[int, int] = {}
    waiting: list[list[int]] = [[] for _ in order]
    for number, gap in enumerate(room.gaps):
        size, storage = gap.size_bytes / unit, problem.storages[gap.storage]
        column[gap.storage, gap.use] = program.column(size, whole=True)
        if not storage.in_dram and not storage.kept:
            if gap.storage not in spill:
                spill[gap.storage] = program.column(size)
            program.row([(spill[gap.storage], 1), (column[gap.storage, gap.use], -1)], low=0)
        for step in range(gap.first, gap.last + 1):
            waiting[step].append(number)
    for step, gaps in enumerate(waiting):
        over = sum(room.gaps[g].size_bytes for g in gaps) - room.free_bytes[step]
        if over > 0:
            terms = [(room.gaps[g], room.gaps[g].size_bytes / unit) for g in gaps]
            program.row([(column[g.storage, g.use], f) for g, f in terms], low=over / unit)

    def read(values: NDArray[np.float64]) -> tuple[tuple[int, ...], set[tuple[int, int]]]:
        return order, {gap for gap, c in column.items() if values[c] > 0.5}

    def cut(_: tuple[int, ...], stuck: Sequence[Stay]) -> list[tuple[int, float]]:
        return [
            (column[stay.storage, use], 1.0)
            for stay in stuck
            for use, step in enumerate(room.uses[stay.storage])
            if stay.first <= step < stay.last
        ]

    return _solved(problem, capacity_bytes, program, read, cut, unit, beat_bytes, time_limit_s)


@dataclass(slots=True)
class _Columns:
    """Columns of the program with free order; missing where a time is impossible."""

    runs: dict[tuple[int, int], int]  # (task, step)
    present: dict[tuple[int, int], int]  # (storage, step)
    loads: dict[tuple[int, int], int]


def _windows(problem: Problem) -> list[range]:
    """Return the steps at which each task may run: after its ancestors, before descendants."""
    above, count = ancestors(problem), len(problem.tasks)
    below = [0] * count
    for mask in above:
        for one in range(count):
            below[one] += mask >> one & 1
    return [range(above[t].bit_count(), count - below[t]) for t in range(count)]


def _shared(problem: Problem) -> list[int]:
    """Return the storages that several tasks use; others are there just while one runs."""
    users = [
        len(r) + (m is not None) for r, m in zip(problem.readers, problem.makers, strict=True)
    ]
    return [n for n, count in enumerate(users) if count > 1]


def _spans(problem: Problem, windows: Sequence[range]) -> dict[int, range]:
    """Return the steps at which each shared storage may be on chip."""
    spans = {}
    for n in _shared(problem):
        users = [*problem.readers[n]]
        maker = problem.makers[n]
        first = min(windows[t].start for t in (users if maker is None else [maker]))
        spans[n] = range(first, max(windows[t].stop for t in users))
    return spans


def program_columns(problem: Problem) -> int:
    """Return the whole-number columns of the program with free order: what its difficulty is."""
    windows = _windows(problem)
    return sum(map(len, windows)) + sum(map(len, _spans(problem, windows).values()))


def exact_orders(
    problem: Problem, capacity_bytes: int, *, beat_bytes: int | None = None,
    time_limit_s: float = 60.0,
) -> Exact:  # fmt: skip
    """Return the least traffic over all orders.

    Parameters
    ----------
    problem : Problem
    capacity_bytes : int
    beat_bytes : int, optional
        Traffic above the compulsory one that is known; only less is looked for.
    time_limit_s : float

    Notes
    -----
    x[o, t] says that task o runs at step t, r[i, t] that storage i is on chip then, l[i, t] that
    it has just come from DRAM, z[i] that it was spilled.  Minimise the sum of size l and size z,
    less the first loads, such that

    - each task runs once, and each step runs one task; no task before what it needs;
    - r[i, t] >= x[o, t] for every o that uses i;
    - r[i, t] <= r[i, t-1] + l[i, t] + x[maker of i, t];
    - l[i, t] <= x[readers of i, t] and, of what is made, l[i, t] <= z[i];
    - the sizes of all on chip at a step add up to the capacity at most.
    """
    unit, windows = _unit(problem, capacity_bytes), _windows(problem)
    program, spans = Program(), _spans(problem, windows)
    columns = _Columns({}, {}, {})
    for task, window in enumerate(windows):
        for step in window:
            columns.runs[task, step] = program.column(whole=True)
    for n, span in spans.items():
        _storage_rows(problem, program, columns, n, span, unit)
    _order_rows(problem, program, columns, windows)
    _capacity_rows(problem, program, columns, spans, capacity_bytes, unit)

    def read(values: NDArray[np.float64]) -> tuple[tuple[int, ...], set[tuple[int, int]]]:
        return _read(problem, columns, spans, values)

    def cut(order: tuple[int, ...], stuck: Sequence[Stay]) -> list[tuple[int, float]]:
        return _forbid(columns, spans, order, stuck)

    if beat_bytes is not None:  # the objective counts first loads, which are compulsory
        beat_bytes += _first_loads(problem, spans)
    found = _solved(problem, capacity_bytes, program, read, cut, unit, beat_bytes, time_limit_s)
    bound = max(found.bound_bytes - _first_loads(problem, spans), 0)
    return Exact(found.order, found.stays, found.extra_bytes, bound, found.finished)


def _first_loads(problem: Problem, spans: dict[int, range]) -> int:
    return sum(problem.storages[n].size_bytes for n in spans if problem.storages[n].in_dram)


def _storage_rows(
    problem: Problem, program: Program, columns: _Columns, n: int, span: range, unit: int
) -> None:
    """Add when a storage can be on chip, and what it costs that it comes."""
    storage, maker = problem.storages[n], problem.makers[n]
    size, runs = storage.size_bytes / unit, columns.runs
    spilled = None if storage.in_dram or storage.kept else program.column(size)
    for step in span:
        here = columns.present[n, step] = program.column(whole=True)
        come = columns.loads[n, step] = program.column(size)
        readers = [runs[t, step] for t in problem.readers[n] if (t, step) in runs]
        made = runs.get((maker, step)) if maker is not None else None
        for use in (*readers, *([] if made is None else [made])):
            program.row([(here, 1), (use, -1)], low=0)
        stay: list[tuple[int, float]] = [(here, 1), (come, -1)]
        if (n, step - 1) in columns.present:
            stay.append((columns.present[n, step - 1], -1))
        if made is not None:
            stay.append((made, -1))
        program.row(stay, high=0)
        program.row([(come, 1), *((use, -1) for use in readers)], high=0)
        if spilled is not None:
            program.row([(come, 1), (spilled, -1)], high=0)
        if maker is not None:
            before = [runs[maker, s] for s in range(span.start, step) if (maker, s) in runs]
            program.row([(come, 1), *((b, -1) for b in before)], high=0)


def _order_rows(
    problem: Problem, program: Program, columns: _Columns, windows: Sequence[range]
) -> None:
    """Demand a legal order."""
    runs = columns.runs
    for task, window in enumerate(windows):
        program.row([(runs[task, step], 1) for step in window], low=1, high=1)
    for step in range(len(problem.tasks)):
        here = [runs[t, step] for t in range(len(windows)) if (t, step) in runs]
        program.row([(c, 1) for c in here], low=1, high=1)
    for task, preds in enumerate(problem.predecessors):
        for before in preds:
            for step in range(windows[task].start, min(windows[task].stop, windows[before].stop)):
                early = [(runs[task, s], 1.0) for s in range(windows[task].start, step + 1)]
                done = [(runs[before, s], -1.0) for s in range(windows[before].start, step)]
                program.row(early + done, high=0)


def _capacity_rows(
    problem: Problem, program: Program, columns: _Columns, spans: dict[int, range],
    capacity_bytes: int, unit: int,
) -> None:  # fmt: skip
    """Demand that what is on chip fits."""
    alone = [
        sum(problem.storages[n].size_bytes for n in (*t.reads, *t.makes) if n not in spans) / unit
        for t in problem.tasks
    ]
    for step in range(len(problem.tasks)):
        terms = [
            (columns.present[n, step], problem.storages[n].size_bytes / unit)
            for n, span in spans.items()
            if step in span
        ]
        terms += [
            (columns.runs[t, step], size)
            for t, size in enumerate(alone)
            if size and (t, step) in columns.runs
        ]
        program.row(terms, high=capacity_bytes / unit)


def _read(
    problem: Problem, columns: _Columns, spans: dict[int, range], values: NDArray[np.float64]
) -> tuple[tuple[int, ...], set[tuple[int, int]]]:
    """Return the order, and the gaps over which a storage is not on chip all the time."""
    at = {task: step for (task, step), c in columns.runs.items() if values[c] > 0.5}
    order = tuple(sorted(at, key=at.__getitem__))
    dropped = set()
    for n, steps in enumerate(positions_of_uses(problem, order)):
        for use, (start, end) in enumerate(pairwise(steps)):
            held = all(
                values[columns.present[n, t]] > 0.5 and values[columns.loads[n, t]] < 0.5
                for t in range(start + 1, end + 1)
                if t in spans[n]
            )
            if not held:
                dropped.add((n, use))
    return order, dropped


def _forbid(
    columns: _Columns, spans: dict[int, range], order: Sequence[int], stuck: Sequence[Stay]
) -> list[tuple[int, float]]:
    """Return terms: of stays that cannot be placed together one must end, or never begin."""
    terms: list[tuple[int, float]] = []
    for stay in stuck:
        if stay.storage not in spans:  # there because of its only task
            terms.append((columns.runs[order[stay.first], stay.first], -1.0))
            continue
        for step in range(stay.first, stay.last + 1):
            terms.append((columns.present[stay.storage, step], -1.0))
            if step > stay.first:
                terms.append((columns.loads[stay.storage, step], 1.0))
    return terms
