"""Counts, energy and time of one loop nest, compiled: what the evaluator and the mapper call.

Reads, fills and updates of every memory by tensor, as Timeloop's and AccelForge's models count
them; time as of `accelsim.nest.accounting`.

References
----------
.. [1] A. Parashar et al., "Timeloop: A Systematic Approach to DNN Accelerator Evaluation",
   ISPASS 2019.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.jit import inlined_kernel, kernel
from accelsim.nest._overlap import level_row, rows_cycles, widths
from accelsim.nest._windows import alike, new_part
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


class Scratch(NamedTuple):
    """Room that a kernel fills for each nest.

    Attributes
    ----------
    inner : (N + 1, D) int64
        Extents of each dim inside each node's loops, those included.
    used : (N + 1,) float64
        Instances outside each node.
    load, tiles : (N, T) float64
        Cycles in which all tiles of a tensor arrive in a memory, and how many there are.
    ports : (N, 3) float64
        Cycles in which a memory's results leave it, and in which its ports read for the units and
        take from them.
    rows : (N, 2 T + 2), waits : (N,), anew : (T + 1,) float64
        As of `accelsim.nest._overlap.level_row`.
    times, extents : (D,) int64
    """

    inner: Ints
    used: Floats
    load: Floats
    tiles: Floats
    ports: Floats
    rows: Floats
    waits: Floats
    anew: Floats
    times: Ints
    extents: Ints


@kernel
def scratch(nodes: int, dims: int, tensors: int) -> Scratch:
    """Return room for nests of so many nodes, dims and tensors."""
    width, common = widths(tensors)
    return Scratch(
        np.ones((nodes + 1, dims), np.int64), np.ones(nodes + 1),
        np.zeros((nodes, tensors)), np.zeros((nodes, tensors)), np.zeros((nodes, 3)),
        np.zeros((nodes, width)), np.zeros(nodes), np.ones(common),
        np.empty(dims, np.int64), np.empty(dims, np.int64),
    )  # fmt: skip


@inlined_kernel
def words(problem: ProblemArrays, t: int, extents: Ints) -> float:
    """Return the elements of a tile of tensor `t`."""
    total = 1.0
    for d in range(extents.shape[0]):
        if problem.plain[t, d]:
            total *= extents[d]
    for axis in range(problem.compound[t]):
        extent = 1
        for d in range(extents.shape[0]):
            extent += problem.coefficients[t, axis, d] * (extents[d] - 1)
        total *= extent
    return total


@inlined_kernel
def _delivered(problem: ProblemArrays, t: int, extents: Ints, times: Ints) -> float:
    """Return the words of tensor `t` in all tiles of `extents`, `times` of each dim.

    Tiles at the end of a dim hold what is left where an axis is that dim alone.
    """
    sizes = problem.sizes
    total = words(problem, t, extents)
    for d in range(sizes.shape[0]):
        if problem.plain[t, d]:
            total *= min(float(times[d]), sizes[d] / extents[d])
        else:
            total *= times[d]
    return total


@inlined_kernel
def _changes(
    problem: ProblemArrays, hierarchy: HierarchyArrays, factor: Ints, order: Ints, t: int,
    node: int, times: Ints,
) -> float:  # fmt: skip
    """Divide `times` by the loops over which a tile stays, and return how often it changes.

    The innermost loops outside a memory that run over other dims leave its tile as it is.
    """
    changes = 1.0
    stays = True
    for outer in range(node - 1, -1, -1):
        if not hierarchy.storage[outer]:
            continue
        for place in range(order.shape[1] - 1, -1, -1):
            d = order[outer, place]
            repeat = factor[outer, d]
            if repeat == 1:
                continue
            if stays and not problem.relevant[t, d]:
                times[d] //= repeat
                continue
            stays = False
            changes *= repeat
    return changes


@kernel
def count(
    problem: ProblemArrays, hierarchy: HierarchyArrays, factor: Ints, order: Ints, keep: Bools,
    pipelined: bool, drain_reads: bool, windows: bool, partials_to_all: bool, accesses: Floats,
    totals: Floats, room: Scratch,
) -> None:  # fmt: skip
    """Fill in the accesses and totals of a nest; only the overflow of one that does not fit.

    Parameters
    ----------
    factor, order : (N, D) int64
    keep : (N, T) bool
        The nest.
    pipelined, drain_reads, windows, partials_to_all : bool
        As of `accelsim.nest.accounting`.
    accesses : (N, T, 4) float64, out
        Reads, fills, updates and drains in words, over all instances.
    totals : (4,) float64, out
        Cycles, energy in pJ, bits moved at the outermost memory, overflow.
    room : Scratch

    Notes
    -----
    A tile of tensor t in a memory c changes once for each iteration of the loops outside c, from
    the first (from inside) on that t depends on.  Its parent p, the next memory outside that
    holds t, reads each change once for all instances that share it.  A result's tile leaves with
    each change; p adds up partial sums, so it reads all but the first of each.
    """
    steps = _extents(hierarchy, factor, room)
    totals[OVERFLOW] = _overflow(problem, hierarchy, room, keep)
    if totals[OVERFLOW] > 0.0:
        return
    accesses[:] = 0.0
    if pipelined:
        room.load[:] = 0.0
        room.tiles[:] = 0.0
        room.ports[:] = 0.0
    energy = problem.macs * hierarchy.mac_pj
    for t in range(keep.shape[1]):
        energy += _tensor(
            problem, hierarchy, factor, order, keep, t, steps, pipelined, drain_reads, windows,
            partials_to_all, accesses, room,
        )  # fmt: skip
    cycles = steps / hierarchy.mac_rate
    if pipelined:
        cycles = _pipelined(hierarchy, room, cycles)
    _total(problem, hierarchy, accesses, room, cycles, energy, totals)


@inlined_kernel
def _extents(hierarchy: HierarchyArrays, factor: Ints, room: Scratch) -> float:
    """Write extents and instances of all levels; return the iterations of all loops over time."""
    nodes, dims = factor.shape
    for node in range(nodes - 1, -1, -1):
        for d in range(dims):
            room.inner[node, d] = room.inner[node + 1, d] * factor[node, d]
    steps = 1.0
    for node in range(nodes):
        together = 1.0
        for d in range(dims):
            together *= factor[node, d]
        if hierarchy.storage[node]:
            steps *= together
            together = 1.0
        room.used[node + 1] = room.used[node] * together
    return steps


@inlined_kernel
def _tensor(
    problem: ProblemArrays, hierarchy: HierarchyArrays, factor: Ints, order: Ints, keep: Bools,
    t: int, steps: float, pipelined: bool, drain_reads: bool, windows: bool,
    partials_to_all: bool, accesses: Floats, room: Scratch,
) -> float:  # fmt: skip
    """Add the accesses of one tensor, from each memory that holds it to the next inside.

    Returns the energy of its hops in pJ; that of accesses follows from their number.
    """
    nodes, dims = factor.shape
    result = t == keep.shape[1] - 1
    parent, shared, copies, spread, hops = 0, 1.0, 1.0, 1.0, 0.0
    bits, crossed = problem.bits[t], 0.0
    whole = words(problem, t, problem.sizes) if result else 0.0
    for node in range(1, nodes + 1):
        inside = node < nodes
        if inside and not hierarchy.storage[node]:
            for d in range(dims):
                if not problem.relevant[t, d]:
                    spread *= factor[node, d]
                    if hierarchy.shares[node, t] and not windows:
                        shared *= factor[node, d]
            if hierarchy.shares[node, t] and windows:
                shared *= alike(problem, factor, t, node, room.inner)
            hops += hierarchy.read_pj[node, t]
            continue
        if inside and not keep[node, t]:
            continue
        changes, arriving = steps, problem.macs
        if inside:
            for d in range(dims):
                room.times[d] = room.inner[0, d] // room.inner[node, d]
                room.extents[d] = min(room.inner[node, d], problem.sizes[d])
            changes = _changes(problem, hierarchy, factor, order, t, node, room.times)
            arriving = _delivered(problem, t, room.extents, room.times)
            if windows:
                arriving *= new_part(
                    problem, hierarchy, factor, order, t, node, room.inner, room.extents
                )
        sent = arriving / shared
        if result:  # `copies` instances of the parent add up a part each
            back = max(0.0, sent - whole * copies)
            accesses[parent, t, UPDATES] += sent
            accesses[parent, t, READS] += back
            if inside:
                returned = max(0.0, arriving - whole * spread) if partials_to_all else back
                accesses[node, t, FILLS] += returned
                if drain_reads:
                    accesses[node, t, DRAINS] += arriving
        else:
            back = 0.0
            accesses[parent, t, READS] += sent
            if inside:
                accesses[node, t, FILLS] += arriving
        crossed += hops * (arriving + back) * bits
        if pipelined:
            _stage(hierarchy, room, node, parent, t, bits, arriving, sent, back, changes, result)
            if inside and hierarchy.fill_cycles[node] > 0 and not result:
                # words of one instance, shifted in one after the other
                shifted = words(problem, t, room.extents) * changes * hierarchy.fill_cycles[node]
                room.load[node, t] = max(room.load[node, t], shifted)
        parent, shared, copies, hops = node, 1.0, spread, 0.0
    return crossed


@inlined_kernel
def _total(
    problem: ProblemArrays, hierarchy: HierarchyArrays, accesses: Floats, room: Scratch,
    cycles: float, energy: float, totals: Floats,
) -> None:  # fmt: skip
    """Write the totals: energy of all accesses added, and no port faster than it is."""
    nodes, tensors = accesses.shape[0], accesses.shape[1]
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
            totals[MOVED_BITS] = read + written
        reading = read / room.used[node] / hierarchy.read_rate[node]
        writing = written / room.used[node] / hierarchy.write_rate[node]
        busy = reading + writing if hierarchy.shared_port[node] else max(reading, writing)
        cycles = max(cycles, busy)
    totals[CYCLES], totals[ENERGY_PJ] = cycles, energy


@inlined_kernel
def _overflow(
    problem: ProblemArrays, hierarchy: HierarchyArrays, room: Scratch, keep: Bools
) -> float:
    """Return 1 + the first level whose tiles do not fit, 0 where all do."""
    for node in range(keep.shape[0]):
        if not hierarchy.storage[node]:
            if room.used[node + 1] > room.used[node] * hierarchy.size[node]:
                return node + 1.0
            continue
        if node == 0:
            continue
        for d in range(room.extents.shape[0]):
            room.extents[d] = min(room.inner[node, d], problem.sizes[d])
        if not fits(problem, hierarchy, node, keep, room.extents):
            return node + 1.0
    return 0.0


@inlined_kernel
def fits(
    problem: ProblemArrays, hierarchy: HierarchyArrays, node: int, keep: Bools, extents: Ints
) -> bool:
    """Return whether tiles of `extents` of all tensors that a memory keeps fit into it."""
    tensors = keep.shape[1]
    common = 0.0
    for t in range(tensors):
        if not keep[node, t]:
            continue
        held = words(problem, t, extents) * problem.bits[t] * hierarchy.buffers[node]
        if np.isfinite(hierarchy.capacity_bits[node, t]):
            if held > hierarchy.capacity_bits[node, t]:
                return False
        else:
            common += held
    return bool(common <= hierarchy.capacity_bits[node, tensors])


@inlined_kernel
def _stage(
    hierarchy: HierarchyArrays, room: Scratch, node: int, parent: int, t: int, bits: float,
    arriving: float, sent: float, back: float, changes: float, result: bool,
) -> None:  # fmt: skip
    """Write what one tensor asks of the way between a memory (or the units) and its parent."""
    used = room.used
    given = (back if result else sent) * bits / used[parent] / hierarchy.read_rate[parent]
    taken = sent * bits / used[parent] / hierarchy.write_rate[parent] if result else 0.0
    if node == room.load.shape[0]:
        room.ports[parent, 1] += given
        room.ports[parent, 2] += taken
        return
    inwards = (back if result else arriving) * bits / used[node] / hierarchy.write_rate[node]
    room.load[node, t] = max(given, inwards)
    room.tiles[node, t] = changes
    if result:
        outwards = arriving * bits / used[node] / hierarchy.read_rate[node]
        room.ports[node, 0] = max(taken, outwards)


@inlined_kernel
def _pipelined(hierarchy: HierarchyArrays, room: Scratch, steps: float) -> float:
    """Return the cycles of all levels around units that take so many for their steps alone."""
    nodes, tensors = room.load.shape
    cycles = steps
    for node in range(nodes):  # no faster than the ports that serve the units
        read, taken = room.ports[node, 1], room.ports[node, 2]
        cycles = max(cycles, read + taken if hierarchy.shared_port[node] else max(read, taken))
    room.anew[:] = 1.0
    for node in range(1, nodes):
        room.rows[node], room.waits[node] = 0.0, 0.0
        most = 0.0
        for t in range(tensors):
            most = max(most, room.tiles[node, t])
        if most > 0.0:
            room.waits[node] = level_row(
                room.load[node], room.tiles[node], room.ports[node, 0], hierarchy.skew[node],
                hierarchy.buffers[node], room.anew, room.rows[node],
            )  # fmt: skip
    return rows_cycles(room.rows, room.waits, tensors, cycles)
