"""Betters a loop nest by small steps: factors to other levels, exchanged ones, loops swapped.

Where the mapper had to drop partial nests, the best of those that it kept is seldom the end of the
way; every step is evaluated by the full rules.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accelsim.jit import kernel
from accelsim.nest._count import (
    CYCLES,
    ENERGY_PJ,
    MOVED_BITS,
    OVERFLOW,
    Bools,
    Floats,
    Ints,
    Scratch,
    count,
    scratch,
)
from accelsim.nest.hierarchy import HierarchyArrays
from accelsim.nest.problem import ProblemArrays

__all__ = ["Asked", "polish"]

_GAIN = 1.0 - 1e-9


class Asked(NamedTuple):
    """What a nest is judged by, and what it must keep to.

    Attributes
    ----------
    objective : int
        Place in (latency, energy, edp, traffic).
    pipelined, drain_reads, windows, partials_to_all : bool
        As of `accelsim.nest.accounting`.
    least, most : (N, D) int64
        Factors that each level may have.
    used : (N,) int64
        Fewest instances of a fan-out.
    """

    objective: int
    pipelined: bool
    drain_reads: bool
    windows: bool
    partials_to_all: bool
    least: Ints
    most: Ints
    used: Ints


class _Step(NamedTuple):
    """Where evaluations write, and the best value and its tie so far."""

    accesses: Floats
    totals: Floats
    room: Scratch
    best: Floats


@kernel
def polish(
    problem: ProblemArrays, hierarchy: HierarchyArrays, asked: Asked, factor: Ints, order: Ints,
    keep: Bools, primes: Ints,
) -> int:  # fmt: skip
    """Better `factor` and `order`, both (N, D), in place, until no single step does.

    Returns how many nests were evaluated.  ``primes`` are those that divide any factor.
    """
    nodes, dims = factor.shape
    tensors = keep.shape[1]
    step = _Step(
        np.empty((nodes, tensors, 4)), np.empty(4), scratch(nodes, dims, tensors),
        np.full(2, np.inf),
    )  # fmt: skip
    _better(problem, hierarchy, asked, factor, order, keep, step)
    tried, improved = 1, True
    while improved:
        improved = False
        for d in range(dims):
            for start in range(nodes):
                for end in range(nodes):
                    for prime in primes:
                        if start == end or not _move(asked, factor, d, start, end, prime):
                            continue
                        done, more = _moved(
                            problem, hierarchy, asked, factor, order, keep, step, d, start, end,
                            primes,
                        )  # fmt: skip
                        tried += more
                        if done:
                            improved = True
                        else:
                            _move_back(factor, d, start, end, prime)
        for node in range(nodes):
            if not hierarchy.storage[node]:
                continue
            for a in range(dims):
                for b in range(a + 1, dims):
                    row = order[node]
                    if factor[node, row[a]] == 1 or factor[node, row[b]] == 1:
                        continue
                    row[a], row[b] = row[b], row[a]
                    tried += 1
                    if _better(problem, hierarchy, asked, factor, order, keep, step):
                        improved = True
                    else:
                        row[a], row[b] = row[b], row[a]
    return tried


@kernel
def _moved(
    problem: ProblemArrays, hierarchy: HierarchyArrays, asked: Asked, factor: Ints, order: Ints,
    keep: Bools, step: _Step, d: int, start: int, end: int, primes: Ints,
) -> tuple[bool, int]:  # fmt: skip
    """Return whether a move is better: as it is, its loop elsewhere, or another sent back for it.

    Also how many nests were evaluated.
    """
    dims, tried = factor.shape[1], 1
    if _better(problem, hierarchy, asked, factor, order, keep, step):
        return True, tried
    if hierarchy.storage[end]:
        row = order[end]
        before = row.copy()
        for outermost in (True, False):
            _place(row, before, d, outermost)
            tried += 1
            if _better(problem, hierarchy, asked, factor, order, keep, step):
                return True, tried
        row[:] = before
    for e in range(dims):
        for prime in primes:
            if e == d or not _move(asked, factor, e, end, start, prime):
                continue
            tried += 1
            if _better(problem, hierarchy, asked, factor, order, keep, step):
                return True, tried
            _move_back(factor, e, end, start, prime)
    return False, tried


@kernel
def _move(asked: Asked, factor: Ints, d: int, start: int, end: int, prime: int) -> bool:
    """Move a prime factor of a dim from one level to another, if both may have the result."""
    if factor[start, d] % prime != 0 or factor[start, d] // prime < asked.least[start, d]:
        return False
    if factor[end, d] * prime > asked.most[end, d]:
        return False
    factor[start, d] //= prime
    factor[end, d] *= prime
    return True


@kernel
def _move_back(factor: Ints, d: int, start: int, end: int, prime: int) -> None:
    factor[start, d] *= prime
    factor[end, d] //= prime


@kernel
def _place(row: Ints, before: Ints, d: int, outermost: bool) -> None:
    """Write an order of loops with one dim outside, or inside, all others."""
    at = 1 if outermost else 0
    for other in before:
        if other != d:
            row[at] = other
            at += 1
    row[0 if outermost else at] = d


@kernel
def _better(
    problem: ProblemArrays, hierarchy: HierarchyArrays, asked: Asked, factor: Ints, order: Ints,
    keep: Bools, step: _Step,
) -> bool:  # fmt: skip
    """Return whether a nest is legal and better than the best so far, which it then is."""
    for node in range(factor.shape[0]):
        if asked.used[node] > 1 and factor[node].prod() < asked.used[node]:
            return False
    totals, best = step.totals, step.best
    count(
        problem, hierarchy, factor, order, keep, asked.pipelined, asked.drain_reads,
        asked.windows, asked.partials_to_all, step.accesses, totals, step.room,
    )  # fmt: skip
    if totals[OVERFLOW] > 0.0:
        return False
    value, tie = totals[CYCLES], totals[ENERGY_PJ]
    if asked.objective == 1:
        value, tie = tie, value
    elif asked.objective == 2:
        value *= tie
    elif asked.objective == 3:
        value, tie = totals[MOVED_BITS], value
    if value < best[0] * _GAIN or (value <= best[0] and tie < best[1] * _GAIN):
        best[0], best[1] = value, tie
        return True
    return False
