"""Counts, energy and time of one loop nest, compiled: what the evaluator and the mapper call.

Reads, fills and updates of every memory by tensor, as Timeloop's and AccelForge's models count
them; time as of `accelsim.nest.accounting`.

References
----------
.. [1] A. Parashar et al., "Timeloop: A Systematic Approach to DNN Accelerator Evaluation",
   ISPASS 2019.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelsim.jit import kernel
from accelsim.nest.hierarchy import HierarchyArrays
from accelsim.nest.problem import ProblemArrays

__all__ = [
    "CYCLES", "ENERGY_PJ", "FILLS", "MOVED_BITS", "OVERFLOW", "READS", "UPDATES", "count",
    "fits", "words",
]  # fmt: skip

READS, FILLS, UPDATES, DRAINS = 0, 1, 2, 3
"""Columns of accesses: words read for the next level, written from outside, written from inside,
and read to be sent outwards; over all instances."""

CYCLES, ENERGY_PJ, MOVED_BITS, OVERFLOW = 0, 1, 2, 3
"""Columns of totals; the last is 1 + the level whose capacity does not suffice, else 0."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@kernel
def words(coefficients: Ints, t: int, extents: Ints) -> float:
    """Return the elements of a tile of tensor `t`."""
    total = 1.0
    for axis in range(coefficients.shape[1]):
        extent = 1
        for d in range(extents.shape[0]):
            extent += coefficients[t, axis, d] * (extents[d] - 1)
        total *= extent
    return total


@kernel
def _delivered(problem: ProblemArrays, t: int, extents: Ints, times: Ints, whole: bool) -> float:
    """Return the words of tensor `t` in all tiles of `extents`, `times` of each dim.

    Tiles at the end of a dim hold what is left where an axis is that dim alone.
    """
    sizes = problem.sizes
    total = words(problem.coefficients, t, extents)
    for d in range(sizes.shape[0]):
        if problem.plain[t, d] and whole:
            total *= min(float(times[d]), sizes[d] / extents[d])
        else:
            total *= times[d]
    return total


@kernel
def _kept_runs(
    problem: ProblemArrays, hierarchy: HierarchyArrays, factor: Ints, order: Ints, t: int,
    node: int, times: Ints,
) -> float:  # fmt: skip
    """Divide `times` by the loops over which a tile stays, and return how often it changes.

    The innermost loops outside a memory that run over other dims leave its tile as it is.
    """
    changes = 1.0
    open_ = True
    for outer in range(node - 1, -1, -1):
        if not hierarchy.storage[outer]:
            continue
        for place in range(order.shape[1] - 1, -1, -1):
            d = order[outer, place]
            repeat = factor[outer, d]
            if repeat == 1:
                continue
            if open_ and not problem.relevant[t, d]:
                times[d] //= repeat
                continue
            open_ = False
            changes *= repeat
    return changes


@kernel
def count(
    problem: ProblemArrays, hierarchy: HierarchyArrays, factor: Ints, order: Ints, keep: Bools,
    pipelined: bool, drain_reads: bool, accesses: Floats, totals: Floats,
) -> None:  # fmt: skip
    """Fill in the accesses and totals of a nest.

    Parameters
    ----------
    factor, order : (N, D) int64
    keep : (N, T) bool
        The nest.
    pipelined, drain_reads : bool
        As of `accelsim.nest.accounting`.
    accesses : (N, T, 4) float64, out
        Reads, fills, updates and drains in words, over all instances.
    totals : (4,) float64, out
        Cycles, energy in pJ, bits moved at the outermost memory, overflow.

    Notes
    -----
    A tile of tensor t in a memory c changes once for each iteration of the loops outside c, from
    the first (from inside) on that t depends on.  Its parent p, the next memory outside that
    holds t, reads each change once for all instances that share it.  A result's tile leaves with
    each change; p adds up partial sums, so it reads all but the first of each.
    """
    nodes, dims = factor.shape
    tensors = keep.shape[1]
    inner = np.ones((nodes + 1, dims), np.int64)
    for node in range(nodes - 1, -1, -1):
        for d in range(dims):
            inner[node, d] = inner[node + 1, d] * factor[node, d]
    used = np.ones(nodes + 1)
    steps = 1.0
    for node in range(nodes):
        spread, repeated = 1.0, 1.0
        for d in range(dims):
            if hierarchy.storage[node]:
                repeated *= factor[node, d]
            else:
                spread *= factor[node, d]
        used[node + 1] = used[node] * spread
        steps *= repeated
    totals[OVERFLOW] = _overflow(problem, hierarchy, inner, keep)
    accesses[:] = 0.0
    stages = np.zeros((nodes, 3))  # cycles of filling, cycles of draining, changes
    times, extents = np.empty(dims, np.int64), np.empty(dims, np.int64)
    energy = problem.macs * hierarchy.mac_pj
    moved = 0.0
    for t in range(tensors):
        result = t == tensors - 1
        parent = 0
        shared = 1.0
        for node in range(1, nodes + 1):
            inside = node < nodes
            if inside and not hierarchy.storage[node]:
                if hierarchy.shares[node, t]:
                    for d in range(dims):
                        if not problem.relevant[t, d]:
                            shared *= factor[node, d]
                continue
            if inside and not keep[node, t]:
                continue
            for d in range(dims):
                times[d] = inner[0, d] // inner[node, d]
                extents[d] = min(inner[node, d], problem.sizes[d])
            if inside:
                changes = _kept_runs(problem, hierarchy, factor, order, t, node, times)
                arriving = _delivered(problem, t, extents, times, True)
            else:
                changes, arriving = steps, problem.macs
            sent = arriving / shared
            if result:
                copies = 1.0  # instances of the parent that each sum up a part
                for outer in range(parent):
                    if not hierarchy.storage[outer]:
                        for d in range(dims):
                            if not problem.relevant[t, d]:
                                copies *= factor[outer, d]
                whole = 1.0
                for d in range(dims):
                    times[d] = 1
                whole = words(problem.coefficients, t, problem.sizes) * copies
                back = max(0.0, sent - whole)
                accesses[parent, t, UPDATES] += sent
                accesses[parent, t, READS] += back
                if inside:
                    accesses[node, t, FILLS] += back
                    if drain_reads:
                        accesses[node, t, DRAINS] += arriving
            else:
                back = 0.0
                accesses[parent, t, READS] += sent
                if inside:
                    accesses[node, t, FILLS] += arriving
            bits = problem.bits[t]
            for hop in range(parent + 1, node):
                if not hierarchy.storage[hop]:
                    energy += (arriving + back) * bits * hierarchy.read_pj[hop, t]
            if inside and pipelined:
                _stage(
                    hierarchy,
                    stages,
                    node,
                    parent,
                    used,
                    bits,
                    arriving,
                    sent,
                    back,
                    changes,
                    result,
                )
                if hierarchy.fill_cycles[node] > 0 and not result:
                    # words of one instance, shifted in one after the other
                    per_instance = words(problem.coefficients, t, extents) * changes
                    stages[node, 0] = max(
                        stages[node, 0], per_instance * hierarchy.fill_cycles[node]
                    )
            parent, shared = node, 1.0
    cycles = steps / hierarchy.mac_rate
    if pipelined:
        for node in range(nodes - 1, 0, -1):
            if hierarchy.storage[node] and stages[node, 2] > 0.0:
                cycles = _pipelined(
                    cycles, stages[node, 0], stages[node, 1], stages[node, 2],
                    hierarchy.skew[node], hierarchy.buffers[node], hierarchy.shared_port[node],
                )  # fmt: skip
    for node in range(nodes):
        if not hierarchy.storage[node]:
            continue
        read, written = 0.0, 0.0
        for t in range(tensors):
            bits = problem.bits[t]
            read_bits = (accesses[node, t, READS] + accesses[node, t, DRAINS]) * bits
            written_bits = (accesses[node, t, FILLS] + accesses[node, t, UPDATES]) * bits
            energy += read_bits * hierarchy.read_pj[node, t]
            energy += written_bits * hierarchy.write_pj[node, t]
            read, written = read + read_bits, written + written_bits
        if node == 0:
            moved = read + written
        reading = read / used[node] / hierarchy.read_rate[node]
        writing = written / used[node] / hierarchy.write_rate[node]
        busy = reading + writing if hierarchy.shared_port[node] else max(reading, writing)
        cycles = max(cycles, busy)
    totals[CYCLES], totals[ENERGY_PJ], totals[MOVED_BITS] = cycles, energy, moved


@kernel
def _overflow(
    problem: ProblemArrays, hierarchy: HierarchyArrays, inner: Ints, keep: Bools
) -> float:
    """Return 1 + the first level whose tiles do not fit, 0 where all do."""
    nodes = keep.shape[0]
    extents = np.empty(inner.shape[1], np.int64)
    for node in range(nodes):
        if not hierarchy.storage[node]:
            used = 1
            for d in range(inner.shape[1]):
                used *= inner[node, d] // inner[node + 1, d]
            if used > hierarchy.size[node]:
                return node + 1.0
            continue
        for d in range(inner.shape[1]):
            extents[d] = min(inner[node, d], problem.sizes[d])
        if not fits(problem, hierarchy, node, keep, extents):
            return node + 1.0
    return 0.0


@kernel
def fits(
    problem: ProblemArrays, hierarchy: HierarchyArrays, node: int, keep: Bools, extents: Ints
) -> bool:
    """Return whether tiles of `extents` of all tensors that a memory keeps fit into it."""
    tensors = keep.shape[1]
    common = 0.0
    for t in range(tensors):
        if not keep[node, t]:
            continue
        held = words(problem.coefficients, t, extents) * problem.bits[t]
        held *= hierarchy.buffers[node]
        if np.isfinite(hierarchy.capacity_bits[node, t]):
            if held > hierarchy.capacity_bits[node, t]:
                return False
        else:
            common += held
    return bool(common <= hierarchy.capacity_bits[node, tensors])


@kernel
def _stage(
    hierarchy: HierarchyArrays, stages: Floats, node: int, parent: int, used: Floats,
    bits: float, arriving: float, sent: float, back: float, changes: float, result: bool,
) -> None:  # fmt: skip
    """Add what one tensor asks of the way between a memory and its parent, in cycles."""
    inwards = back if result else arriving
    from_parent = back if result else sent
    fill = max(
        from_parent * bits / used[parent] / hierarchy.read_rate[parent],
        inwards * bits / used[node] / hierarchy.write_rate[node],
    )
    stages[node, 0] += fill
    if result:
        stages[node, 1] += max(
            sent * bits / used[parent] / hierarchy.write_rate[parent],
            arriving * bits / used[node] / hierarchy.read_rate[node],
        )
    stages[node, 2] = max(stages[node, 2], changes)


@kernel
def _pipelined(
    inside: float, filling: float, draining: float, tiles: float, skew: int, buffers: int,
    shared: bool,
) -> float:  # fmt: skip
    """Return the cycles of a level: tiles that fill, are worked on and drain.

    Parameters
    ----------
    inside, filling, draining : float
        Cycles of all tiles together.
    tiles : float
        How many.
    skew : int
        Cycles for a wave to cross the array.
    buffers : {1, 2}
        One: F tiles take F (f + S + skew + d).  Two: f + (F - 1) max(S, f, d) + S + skew + d,
        where a shared port takes f + d.
    """
    f, s, d = filling / tiles, inside / tiles, draining / tiles
    if buffers < 2:
        return tiles * (f + s + skew + d)
    between = f + d if shared else max(f, d)
    return f + (tiles - 1.0) * max(s, between) + s + skew + d
