"""Betters a loop nest by small steps: factors moved or exchanged, loops swapped, tensors kept.

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
    may_keep : (N, T) bool
        Tensors that a memory may hold or not.
    """

    objective: int
    pipelined: bool
    drain_reads: bool
    windows: bool
    partials_to_all: bool
    least: Ints
    most: Ints
    used: Ints
    may_keep: Bools


class _State(NamedTuple):
    """A nest in work, and room for its evaluation.

    ``factor`` and ``order`` are (N, D), ``keep`` (N, T); ``totals`` as of `count`, ``best`` the
    value and the tie of the best so far.
    """

    factor: Ints
    order: Ints
    keep: Bools
    accesses: Floats
    totals: Floats
    room: Scratch
    best: Floats


@kernel
def polish(
    problem: ProblemArrays, hierarchy: HierarchyArrays, asked: Asked, factor: Ints, order: Ints,
    keep: Bools, primes: Ints, kicks: Ints, patience: int,
) -> int:  # fmt: skip
    """Better `factor` and `order`, (N, D), and `keep`, (N, T), until no single step does.

    Then, while one of the last `patience` was any good, kicks: steps at random, and all over
    again from there.

    Parameters
    ----------
    primes : (P,) int64
        Those that divide any factor.
    kicks : (K, R, 4) int64
        Random numbers, R steps of each kick.

    Returns
    -------
    tried : int
        Nests that were evaluated.
    """
    nodes, dims = factor.shape
    tensors = keep.shape[1]
    state = _State(
        factor.copy(), order.copy(), keep.copy(), np.empty((nodes, tensors, 4)), np.empty(4),
        scratch(nodes, dims, tensors), np.empty(2),
    )  # fmt: skip
    before = factor.copy(), order.copy(), keep.copy()
    best = np.array([np.inf, np.inf])
    tried, last = 0, 0
    for kick in range(-1, kicks.shape[0]):
        if kick - last > patience:
            break
        if kick >= 0:
            _set(state.factor, state.order, state.keep, factor, order, keep)
            _kick(hierarchy, asked, state, primes, kicks[kick])
        tried += _descend(problem, hierarchy, asked, state, before, primes)
        value, tie = state.best
        if value < best[0] * _GAIN or (value <= best[0] and tie < best[1] * _GAIN):
            best[0], best[1], last = value, tie, kick
            _set(factor, order, keep, state.factor, state.order, state.keep)
    return tried


@kernel
def _set(
    factor: Ints, order: Ints, keep: Bools, new_factor: Ints, new_order: Ints, new_keep: Bools
) -> None:
    """Write a nest over another; slices would compile for seconds."""
    for node in range(factor.shape[0]):
        for d in range(factor.shape[1]):
            factor[node, d], order[node, d] = new_factor[node, d], new_order[node, d]
        for t in range(keep.shape[1]):
            keep[node, t] = new_keep[node, t]


@kernel
def _kick(
    hierarchy: HierarchyArrays, asked: Asked, state: _State, primes: Ints, steps: Ints
) -> None:
    """Make some legal moves and swaps at random; the result may not fit."""
    nodes, dims = state.factor.shape
    moves = 2 + steps[0, 3] % 4
    for i in range(steps.shape[0]):
        if moves == 0:
            return
        start, end, d = steps[i, 0] % nodes, steps[i, 1] % nodes, steps[i, 2] % dims
        prime = primes[steps[i, 3] % primes.shape[0]]
        if _move(asked, state.factor, d, start, end, prime):
            moves -= 1
        if hierarchy.storage[start]:
            row, other = state.order[start], steps[i, 3] % dims
            row[d], row[other] = row[other], row[d]


@kernel
def _descend(
    problem: ProblemArrays, hierarchy: HierarchyArrays, asked: Asked, state: _State,
    before: tuple[Ints, Ints, Bools], primes: Ints,
) -> int:  # fmt: skip
    """Better a nest until no single step does; returns how many were evaluated.

    A nest that does not fit stays as it is.  `before` is room for another.
    """
    nodes, dims = state.factor.shape
    moves = dims * nodes * nodes * (primes.shape[0] + 1)
    others = nodes * dims * dims + nodes * state.keep.shape[1]
    state.best[0], state.best[1] = np.inf, np.inf
    tried, improved = 0, True
    while improved:
        improved = False
        for step in range(-1 if tried == 0 else 0, moves + others):
            variants = 3 + dims * primes.shape[0] if 0 <= step < moves else 1
            for variant in range(variants):
                legal = step < 0
                if 0 <= step < moves:
                    legal = _moved(hierarchy, asked, state, primes, step, variant)
                elif step >= moves:
                    legal = _changed(hierarchy, asked, state, step - moves)
                if legal:
                    tried += 1
                    if _better(problem, hierarchy, asked, state):
                        improved = True
                        _set(*before, state.factor, state.order, state.keep)
                        break
                    if step < 0:
                        return tried
                    _set(state.factor, state.order, state.keep, *before)
                elif variant == 0:
                    break
    return tried


@kernel
def _moved(
    hierarchy: HierarchyArrays, asked: Asked, state: _State, primes: Ints, step: int, variant: int
) -> bool:
    """Move a factor of one dim between levels, if that is legal.

    The variants are: as it is, its loop outside or inside all others, or a factor of another dim
    sent back for it.
    """
    nodes = state.factor.shape[0]
    rest, i = divmod(step, primes.shape[0] + 1)
    rest, end = divmod(rest, nodes)
    d, start = divmod(rest, nodes)
    by = primes[i] if i < primes.shape[0] else state.factor[start, d]  # the last: the whole loop
    if variant < 3:
        if variant > 0 and not hierarchy.storage[end]:
            return False
        if not _move(asked, state.factor, d, start, end, by):
            return False
        if variant > 0:
            _place(state.order[end], d, variant == 1)
        return True
    e, i = divmod(variant - 3, primes.shape[0])
    if e == d or not _move(asked, state.factor, e, end, start, primes[i]):
        return False
    if _move(asked, state.factor, d, start, end, by):
        return True
    state.factor[start, e] //= primes[i]
    state.factor[end, e] *= primes[i]
    return False


@kernel
def _changed(hierarchy: HierarchyArrays, asked: Asked, state: _State, step: int) -> bool:
    """Swap two loops of a level, or let a memory hold another set of tensors, if legal."""
    nodes, dims = state.factor.shape
    if step >= nodes * dims * dims:
        node, t = divmod(step - nodes * dims * dims, state.keep.shape[1])
        state.keep[node, t] ^= asked.may_keep[node, t]
        return bool(asked.may_keep[node, t])
    node, pair = divmod(step, dims * dims)
    a, b = divmod(pair, dims)
    row = state.order[node]
    if a >= b or not hierarchy.storage[node]:
        return False
    if state.factor[node, row[a]] == 1 or state.factor[node, row[b]] == 1:
        return False
    row[a], row[b] = row[b], row[a]
    return True


@kernel
def _move(asked: Asked, factor: Ints, d: int, start: int, end: int, by: int) -> bool:
    """Move a factor of a dim from one level to another, if both may have the result."""
    if start == end or by == 1 or factor[start, d] % by != 0:
        return False
    if factor[start, d] // by < asked.least[start, d] or factor[end, d] * by > asked.most[end, d]:
        return False
    factor[start, d] //= by
    factor[end, d] *= by
    return True


@kernel
def _place(row: Ints, d: int, outermost: bool) -> None:
    """Change an order of loops so that one dim is outside, or inside, all others."""
    last = row.shape[0] - 1
    at = 0
    while row[at] != d:
        at += 1
    if outermost:
        for i in range(at, 0, -1):
            row[i] = row[i - 1]
        row[0] = d
    else:
        for i in range(at, last):
            row[i] = row[i + 1]
        row[last] = d


@kernel
def _better(
    problem: ProblemArrays, hierarchy: HierarchyArrays, asked: Asked, state: _State
) -> bool:
    """Return whether a nest is legal and better than the best so far, which it then is."""
    nodes, dims = state.factor.shape
    for node in range(nodes):
        together = 1
        for d in range(dims):
            together *= state.factor[node, d]
        if together < asked.used[node]:
            return False
    totals, best = state.totals, state.best
    count(
        problem, hierarchy, state.factor, state.order, state.keep, asked.pipelined,
        asked.drain_reads, asked.windows, asked.partials_to_all, state.accesses, totals,
        state.room,
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
