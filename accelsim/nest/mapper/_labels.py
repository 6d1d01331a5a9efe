"""The mapper's kernels: partial nests grow loop by loop from the outermost memory inwards.

Of those with equal extents left, the ones that another beats in everything are dropped.
"""

from __future__ import annotations

import numpy as np

from accelsim.jit import kernel
from accelsim.nest.hierarchy import HierarchyArrays
from accelsim.nest.mapper._label_prices import may_live
from accelsim.nest.mapper._label_types import (
    ENERGY,
    EQUAL,
    FIXED,
    HERE,
    OUTSIDE,
    SPREAD,
    TIMED,
    USED,
    WAITS,
    Bools,
    Bounds,
    Floats,
    Ints,
    Labels,
    Limits,
    Space,
)  # fmt: skip
from accelsim.nest.problem import ProblemArrays

__all__ = ["append", "merge"]


@kernel
def _dominates(a: Floats, b: Floats, tensors: int, nodes: int, timed: bool) -> bool:
    """Return whether a label is nowhere worse than another of the same state."""
    if a[ENERGY] > b[ENERGY] * EQUAL or a[HERE] > b[HERE]:
        return False
    if a[USED] < b[USED] and (timed or a[ENERGY] * EQUAL >= b[ENERGY]):
        return False  # of equal energy the one that leaves fewer instances idle stays
    for i in range(SPREAD, FIXED + 2 * tensors):
        if a[i] < b[i]:
            return False
    if timed:
        first = FIXED + 2 * tensors
        if a[first + WAITS] > b[first + WAITS] or a[first + OUTSIDE] > b[first + OUTSIDE]:
            return False
        first += TIMED
        for i in range(first, first + nodes):
            if a[i] < b[i]:
                return False
        for i in range(first + nodes, a.shape[0]):
            if a[i] > b[i]:
                return False
    return True


@kernel
def append(
    problem: ProblemArrays, hierarchy: HierarchyArrays, space: Space, labels: Labels, node: int,
    d: int, limits: Limits, bounds: Bounds, inner: Bools, head: Ints, trail: Ints, trailed: int,
) -> tuple[Labels, Ints, int, int]:  # fmt: skip
    """Add a loop over dim `d` of one node inside all loops so far, of every factor allowed.

    Parameters
    ----------
    inner : (T,) bool
        Which tensors a memory inside still holds; how long the tiles of others stay is no matter.
    head : (S,) int64
        Room for one number per state.
    trail : (R, 3) int64
        Loops of all labels: the loop outside it, ``node D + d``, and the factor.
    trailed : int
        How many there are.

    Returns
    -------
    labels : Labels
    trail, trailed
        With the loops added.
    tried : int
        Labels that were priced.
    """
    tensors, dims = problem.relevant.shape
    nodes = hierarchy.storage.shape[0]
    head[:] = -1
    room = max(1024, 2 * labels.state.shape[0])
    made = Labels(
        np.empty(room, np.int64), np.empty((room, labels.value.shape[1])), np.empty(room, np.int64)
    )
    after = np.empty(room, np.int64)
    new = np.empty(labels.value.shape[1])
    total, tried = 0, 0
    fanout = not hierarchy.storage[node]
    for i in range(labels.state.shape[0]):
        old = labels.value[i]
        digit = (labels.state[i] // space.stride[d]) % space.number[d]
        here = space.extents[d, digit]
        for choice in range(digit + 1):
            extent = space.extents[d, choice]
            factor = here // extent
            if here % extent != 0 or extent > limits.left:
                continue
            if factor < limits.least or factor > limits.most:
                continue
            if fanout and old[HERE] * factor > limits.instances:
                continue
            for j in range(new.shape[0]):  # slices would compile for seconds
                new[j] = old[j]
            if factor > 1 and fanout:  # written out here: a call would cost half the speed
                new[HERE] *= factor
                new[USED] *= factor
                if inner[tensors - 1] and not problem.relevant[tensors - 1, d]:
                    new[SPREAD] *= factor
                for t in range(tensors):
                    if hierarchy.shares[node, t] and not problem.relevant[t, d]:
                        new[FIXED + tensors + t] *= factor
            elif factor > 1:
                if bounds.timed:
                    new[FIXED + 2 * tensors + OUTSIDE] *= factor
                for t in range(tensors):
                    if problem.relevant[t, d]:
                        new[FIXED + t] = 1.0
                    elif inner[t]:
                        new[FIXED + t] *= factor
            tried += 1
            if not may_live(hierarchy, new, tensors, nodes, bounds):
                continue
            state = labels.state[i] - (digit - choice) * space.stride[d]
            place = _place(
                made.value, after, head, state, new, tensors, nodes, bounds.timed, total
            )
            if place < 0:
                continue
            at = labels.trail[i]
            if factor > 1:
                if trailed == trail.shape[0]:
                    trail = _longer(trail)
                trail[trailed, 0], trail[trailed, 1] = at, node * dims + d
                trail[trailed, 2] = factor
                at = trailed
                trailed += 1
            made.state[place], made.trail[place] = state, at
            for j in range(new.shape[0]):
                made.value[place, j] = new[j]
            if place == total:
                total += 1
                if total == room:
                    room *= 2
                    made, after = _grown(made, after, room)
    return (
        Labels(made.state[:total], made.value[:total], made.trail[:total]), trail, trailed, tried,
    )  # fmt: skip


@kernel
def merge(
    hierarchy: HierarchyArrays, a: Labels, b: Labels, tensors: int, timed: bool, head: Ints
) -> Labels:
    """Return the labels of two sets of which no other makes them superfluous."""
    nodes = hierarchy.storage.shape[0]
    head[:] = -1
    room = a.state.shape[0] + b.state.shape[0]
    made = Labels(
        np.empty(room, np.int64), np.empty((room, a.value.shape[1])), np.empty(room, np.int64)
    )
    after = np.empty(room, np.int64)
    total = 0
    for part in range(2):
        labels = a if part == 0 else b
        for i in range(labels.state.shape[0]):
            place = _place(
                made.value, after, head, labels.state[i], labels.value[i], tensors, nodes, timed,
                total,
            )  # fmt: skip
            if place < 0:
                continue
            made.state[place], made.trail[place] = labels.state[i], labels.trail[i]
            for j in range(made.value.shape[1]):
                made.value[place, j] = labels.value[i, j]
            if place == total:
                total += 1
    return Labels(made.state[:total], made.value[:total], made.trail[:total])


@kernel
def _grown(labels: Labels, after: Ints, room: int) -> tuple[Labels, Ints]:
    more = Labels(
        np.empty(room, np.int64), np.empty((room, labels.value.shape[1])), np.empty(room, np.int64)
    )
    longer = np.empty(room, np.int64)
    for i in range(labels.state.shape[0]):  # slices would compile for seconds
        more.state[i], more.trail[i], longer[i] = labels.state[i], labels.trail[i], after[i]
        for j in range(labels.value.shape[1]):
            more.value[i, j] = labels.value[i, j]
    return more, longer


@kernel
def _longer(trail: Ints) -> Ints:
    more = np.empty((2 * trail.shape[0], 3), np.int64)
    for i in range(trail.shape[0]):
        for j in range(3):
            more[i, j] = trail[i, j]
    return more


@kernel
def _place(
    values: Floats, after: Ints, head: Ints, state: int, new: Floats, tensors: int, nodes: int,
    timed: bool, total: int,
) -> int:  # fmt: skip
    """Return where a label goes: a dominated one's place, a new one, or -1 if it is dominated.

    Labels of one state are a list that begins at `head` and goes on by `after`.
    """
    at = head[state]
    while at >= 0:
        if _dominates(values[at], new, tensors, nodes, timed):
            return -1
        at = after[at]
    at = head[state]
    while at >= 0:
        if _dominates(new, values[at], tensors, nodes, timed):
            return int(at)
        at = after[at]
    after[total] = head[state]
    head[state] = total
    return total
