"""The mapper's kernels: partial nests grow loop by loop from the outermost memory inwards.

What a partial nest (a label) will cost inside depends only on the extents that remain and on a
few sums that it carries, so of two labels with equal extents the one that is nowhere worse makes
the other superfluous.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.jit import kernel
from accelsim.nest._count import fits, words
from accelsim.nest.hierarchy import HierarchyArrays
from accelsim.nest.problem import ProblemArrays

__all__ = [
    "Bounds", "Labels", "Limits", "Space", "append", "arrive", "first_label", "merge",
    "prune",
]  # fmt: skip

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ENERGY, HERE, USED, SPREAD, SUMMED, FIXED = 0, 1, 2, 3, 4, 5
"""Columns of a label: pJ so far; instances of the present fan-out in use, and of all; those over
which partial sums are spread so far, and those outside the memory that adds them up. From `FIXED`
on, for each tensor: the repetitions for which its present tile stays, and the instances that
share one word of it since the memory that sends it. Then, where time counts, the two below, and
for each node its instances in use and the cycles of its read and of its write port."""

WAITS, OUTSIDE, TIMED = 0, 1, 2
"""After those of the tensors: cycles of filling and draining that no work hides; iterations of
all loops over time so far."""

EQUAL = 1.0 + 1e-12
"""Energies that differ by less are equal."""


class Space(NamedTuple):
    """What remains to be looped over: a state is one extent for each dim, of those allowed.

    Attributes
    ----------
    extents : (D, X) int64
        Allowed extents of each dim, ascending.
    number, stride : (D,) int64
        How many, and what one step in a dim's list adds to the number of a state.
    padded : (D,) int64
        Sizes that the factors multiply to, at least the problem's.
    """

    extents: Ints
    number: Ints
    stride: Ints
    padded: Ints


class Labels(NamedTuple):
    """Labels of one stage, in no order.

    Attributes
    ----------
    state : (L,) int64
    value : (L, C) float64
    trail : (L,) int64
        Where its last loop stands among the trail's.
    """

    state: Ints
    value: Floats
    trail: Ints


class Limits(NamedTuple):
    """Loops over one dim that one node may have.

    Attributes
    ----------
    least, most : int
        Factor.
    left : int
        Largest extent that all nodes inside can still loop over.
    instances : int
        Of a fan-out.
    """

    least: int
    most: int
    left: int
    instances: int


class Bounds(NamedTuple):
    """What a label may cost, and what it will cost at least from here on.

    Attributes
    ----------
    rest_pj : float
    most_pj, most_cycles, most_product : float
        A label that must exceed one of them dies.
    steps : float
        Cycles of the array times the instances in use so far, if all inside worked.
    timed : bool
        Whether time counts when labels are compared.
    pipelined : bool
        Whether filling and draining take time.
    """

    rest_pj: float
    most_pj: float
    most_cycles: float
    most_product: float
    steps: float
    timed: bool
    pipelined: bool


def first_label(state: int, tensors: int, nodes: int, timed: bool) -> Labels:
    """Return the label of a nest with no loops yet."""
    untimed = FIXED + 2 * tensors
    value = np.zeros((1, untimed + (TIMED + 3 * nodes if timed else 0)))
    value[0, HERE:untimed] = 1.0
    if timed:
        value[0, untimed + OUTSIDE : untimed + TIMED + nodes] = 1.0
    return Labels(np.array([state], np.int64), value, np.array([-1], np.int64))


@kernel
def arrive(
    problem: ProblemArrays, hierarchy: HierarchyArrays, space: Space, labels: Labels, node: int,
    keep: Bools, drain_reads: bool, bounds: Bounds, inner: Bools,
) -> Labels:  # fmt: skip
    """Charge the tiles that a memory (or the array, for node N) gets; return what may live.

    `inner` is as of `append`.

    The accesses are those of `accelsim.nest._count.count`, one boundary at a time.
    """
    tensors, nodes = keep.shape[1], keep.shape[0]
    dims = problem.sizes.shape[0]
    timed = FIXED + 2 * tensors
    extents, clipped = np.empty(dims, np.int64), np.empty(dims, np.int64)
    total = 0
    for i in range(labels.state.shape[0]):
        value = labels.value[i]
        for d in range(dims):
            digit = (labels.state[i] // space.stride[d]) % space.number[d]
            extents[d] = space.extents[d, digit]
            clipped[d] = min(extents[d], problem.sizes[d])
        if node < nodes and not fits(problem, hierarchy, node, keep, clipped):
            continue
        if bounds.timed and node < nodes:
            value[timed + TIMED + node] = value[USED]
        filling, draining, tiles = 0.0, 0.0, 0.0
        for t in range(tensors):
            if node < nodes and not keep[node, t]:
                continue
            changes = value[timed + OUTSIDE] / value[FIXED + t] if bounds.timed else 1.0
            fill, drain = _charge(
                problem, hierarchy, space, value, node, t, keep, drain_reads, extents, clipped,
                bounds.timed,
            )  # fmt: skip
            filling, draining = filling + fill, draining + drain
            if node < nodes and hierarchy.fill_cycles[node] > 0 and t < tensors - 1:
                shifted = words(problem, t, clipped) * changes
                filling = max(filling, shifted * hierarchy.fill_cycles[node])
            tiles = max(tiles, changes)
        if bounds.timed and bounds.pipelined and node < nodes:
            # as `_count._pipelined`, which is never below this plus the cycles inside
            once = tiles if hierarchy.buffers[node] > 1 else 1.0
            waits = filling + draining + tiles * hierarchy.skew[node]
            value[timed + WAITS] += waits / once
        if not _may_live(hierarchy, value, tensors, nodes, bounds):
            continue
        for t in range(tensors):
            if not inner[t]:
                value[FIXED + t] = 1.0
        if not inner[tensors - 1]:
            value[SPREAD] = 1.0
        labels.state[total] = labels.state[i]
        labels.value[total] = value
        labels.trail[total] = labels.trail[i]
        total += 1
    return Labels(labels.state[:total], labels.value[:total], labels.trail[:total])


@kernel
def prune(
    problem: ProblemArrays, hierarchy: HierarchyArrays, space: Space, labels: Labels, node: int,
    bounds: Bounds, rest_by_tensor: Floats,
) -> Labels:  # fmt: skip
    """Return the labels that may still win, all loops of a node being known.

    What remains of each tensor must come again for every iteration outside over which its tile
    does not stay.

    Parameters
    ----------
    rest_by_tensor : (T,) float64
        Least energy of its way inside, if every word came once; part of `bounds.rest_pj`.
    """
    tensors, dims = problem.relevant.shape
    clipped, extents = np.empty(dims, np.int64), np.empty(dims, np.int64)
    total = 0
    for i in range(labels.state.shape[0]):
        value = labels.value[i]
        for d in range(dims):
            digit = (labels.state[i] // space.stride[d]) % space.number[d]
            extents[d] = space.extents[d, digit]
            clipped[d] = min(extents[d], problem.sizes[d])
        more = 0.0
        for t in range(tensors):
            if rest_by_tensor[t] == 0.0:
                continue
            arriving = words(problem, t, clipped) / value[FIXED + t]
            for d in range(dims):
                times = space.padded[d] / extents[d]
                if problem.plain[t, d]:
                    times = min(times, problem.sizes[d] / clipped[d])
                arriving *= times
            again = arriving / words(problem, t, problem.sizes)
            more += max(0.0, again - 1.0) * rest_by_tensor[t]
        value[ENERGY] += more
        lives = _may_live(hierarchy, value, tensors, hierarchy.storage.shape[0], bounds)
        value[ENERGY] -= more
        if not lives:
            continue
        labels.state[total] = labels.state[i]
        labels.value[total] = value
        labels.trail[total] = labels.trail[i]
        total += 1
    return Labels(labels.state[:total], labels.value[:total], labels.trail[:total])


@kernel
def _charge(
    problem: ProblemArrays, hierarchy: HierarchyArrays, space: Space, value: Floats, node: int,
    t: int, keep: Bools, drain_reads: bool, extents: Ints, clipped: Ints, timed: bool,
) -> tuple[float, float]:  # fmt: skip
    """Charge one tensor's way from the memory that holds it to the next inside.

    Returns the cycles that it takes inwards and outwards.
    """
    nodes, tensors = keep.shape
    inside = node < nodes
    parent = node - 1
    while parent > 0 and not (hierarchy.storage[parent] and keep[parent, t]):
        parent -= 1
    arriving = problem.macs
    if inside:
        arriving = words(problem, t, clipped) / value[FIXED + t]
        for d in range(extents.shape[0]):
            times = space.padded[d] / extents[d]
            if problem.plain[t, d]:
                times = min(times, problem.sizes[d] / clipped[d])
            arriving *= times
    sent = arriving / value[FIXED + tensors + t]
    inwards, from_parent, outwards, leaving = arriving, sent, 0.0, 0.0
    if t == tensors - 1:
        whole = words(problem, t, problem.sizes) * value[SUMMED]
        inwards = max(0.0, sent - whole)
        from_parent, outwards, leaving = inwards, sent, arriving
    energy = from_parent * hierarchy.read_pj[parent, t] + outwards * hierarchy.write_pj[parent, t]
    if inside:
        energy += inwards * hierarchy.write_pj[node, t]
        if drain_reads:
            energy += leaving * hierarchy.read_pj[node, t]
        value[FIXED + tensors + t] = 1.0
        if t == tensors - 1:
            value[SUMMED] = value[SPREAD]
    for hop in range(parent + 1, node):
        if not hierarchy.storage[hop]:
            energy += (inwards + leaving) * hierarchy.read_pj[hop, t]
    bits = problem.bits[t]
    value[ENERGY] += energy * bits
    if not timed:
        return 0.0, 0.0
    first = FIXED + 2 * tensors + TIMED
    here = bits / value[first + parent]
    fill = from_parent * here / hierarchy.read_rate[parent]
    drain = outwards * here / hierarchy.write_rate[parent]
    value[first + nodes + parent] += fill
    value[first + 2 * nodes + parent] += drain
    if inside:
        here = bits / value[first + node]
        arrives = inwards * here / hierarchy.write_rate[node]
        leaves = leaving * here / hierarchy.read_rate[node]
        value[first + 2 * nodes + node] += arrives
        if drain_reads:
            value[first + nodes + node] += leaves
        fill, drain = max(fill, arrives), max(drain, leaves)
    return fill, drain


@kernel
def _may_live(
    hierarchy: HierarchyArrays, value: Floats, tensors: int, nodes: int, bounds: Bounds
) -> bool:
    energy = value[ENERGY] + bounds.rest_pj
    if energy > bounds.most_pj:
        return False
    if not bounds.timed:
        return True
    timed = FIXED + 2 * tensors
    cycles = bounds.steps / value[USED] + value[timed + WAITS]
    first = timed + TIMED + nodes
    for n in range(nodes):
        read, write = value[first + n], value[first + nodes + n]
        cycles = max(cycles, read + write if hierarchy.shared_port[n] else max(read, write))
    return bool(cycles <= bounds.most_cycles and energy * cycles <= bounds.most_product)


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
        for i in range(first + nodes, first + 3 * nodes):
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
    timed = FIXED + 2 * tensors
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
            new[:] = old
            if factor > 1:
                if fanout:
                    new[HERE] *= factor
                    if inner[tensors - 1] and not problem.relevant[tensors - 1, d]:
                        new[SPREAD] *= factor
                    new[USED] *= factor
                elif bounds.timed:
                    new[timed + OUTSIDE] *= factor
                for t in range(tensors):
                    if fanout:
                        if hierarchy.shares[node, t] and not problem.relevant[t, d]:
                            new[FIXED + tensors + t] *= factor
                    elif problem.relevant[t, d]:
                        new[FIXED + t] = 1.0
                    elif inner[t]:
                        new[FIXED + t] *= factor
            tried += 1
            if not _may_live(hierarchy, new, tensors, nodes, bounds):
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
                    longer = np.empty((2 * trailed, 3), np.int64)
                    longer[:trailed] = trail
                    trail = longer
                trail[trailed, 0], trail[trailed, 1] = at, node * dims + d
                trail[trailed, 2] = factor
                at = trailed
                trailed += 1
            made.state[place], made.trail[place] = state, at
            made.value[place] = new
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
            made.value[place] = labels.value[i]
            if place == total:
                total += 1
    return Labels(made.state[:total], made.value[:total], made.trail[:total])


@kernel
def _grown(labels: Labels, after: Ints, room: int) -> tuple[Labels, Ints]:
    n = labels.state.shape[0]
    more = Labels(
        np.empty(room, np.int64), np.empty((room, labels.value.shape[1])), np.empty(room, np.int64)
    )
    more.state[:n], more.trail[:n] = labels.state, labels.trail
    more.value[:n] = labels.value
    longer = np.empty(room, np.int64)
    longer[:n] = after
    return more, longer


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
