"""What partial nests cost: tiles that arrive in a memory, and the least that is still to come.

The accesses are those of `accelsim.nest._count.count`, one boundary at a time.
"""

from __future__ import annotations

import numpy as np

from accelsim.jit import kernel
from accelsim.nest._count import fits, words
from accelsim.nest._overlap import level_row, rows_cycles, widths
from accelsim.nest.hierarchy import HierarchyArrays
from accelsim.nest.mapper._label_types import (
    ENERGY,
    FIXED,
    LEAST,
    OUTSIDE,
    SPREAD,
    SUMMED,
    TIMED,
    USED,
    WAITS,
    Bools,
    Bounds,
    Floats,
    Ints,
    Labels,
    Space,
)  # fmt: skip
from accelsim.nest.problem import ProblemArrays

__all__ = ["arrive", "may_live", "prune"]


@kernel
def _read(
    state: int, allowed: Ints, number: Ints, stride: Ints, sizes: Ints, extents: Ints,
    clipped: Ints,
) -> None:  # fmt: skip
    """Write the extents that a state leaves, and what there is of each dim."""
    for d in range(extents.shape[0]):
        extents[d] = allowed[d, (state // stride[d]) % number[d]]
        clipped[d] = min(extents[d], sizes[d])


@kernel
def _times(plain: Bools, sizes: Ints, padded: Ints, extents: Ints, clipped: Ints) -> float:
    """Return how many tiles of `extents` there are, those at an end as far as they are full.

    Takes single arrays: a call that copied tuples of many would cost a third of the speed.
    """
    total = 1.0
    for d in range(extents.shape[0]):
        times = padded[d] / extents[d]
        if plain[d]:
            times = min(times, sizes[d] / clipped[d])
        total *= times
    return total


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
    pipelined = bounds.timed and bounds.pipelined
    width, common = widths(tensors)
    loads, tiles, units = np.empty(tensors), np.empty(tensors), np.empty((nodes, 2))
    memories = 0
    for n in range(1, nodes):
        memories += hierarchy.storage[n]
    memory, around, begins = _beginnings(hierarchy, node, keep)
    extents, clipped = np.empty(dims, np.int64), np.empty(dims, np.int64)
    total = 0
    for i in range(labels.state.shape[0]):
        value = labels.value[i]
        _read(
            labels.state[i], space.extents, space.number, space.stride, problem.sizes, extents,
            clipped,
        )  # fmt: skip
        if node < nodes and not fits(problem, hierarchy, node, keep, clipped):
            continue
        if bounds.timed and node < nodes:
            value[timed + TIMED + node] = value[USED]
        draining = 0.0
        levels = value[timed + TIMED + 3 * nodes :] if pipelined else value[:0]
        anew, waits = levels[:common], levels[common : common + memories]
        rows = levels[common + memories :].reshape((-1, width))
        loads[:], tiles[:], units[:] = 0.0, 0.0, 0.0
        for t in range(tensors):
            if node < nodes and not keep[node, t]:
                continue
            changes = value[timed + OUTSIDE] / value[FIXED + t] if bounds.timed else 1.0
            loads[t], drain = _charge(
                problem, hierarchy, space, value, node, t, keep, drain_reads, extents, clipped,
                bounds.timed, units,
            )  # fmt: skip
            draining, tiles[t] = draining + drain, changes
            if node < nodes and hierarchy.fill_cycles[node] > 0 and t < tensors - 1:
                shifted = words(problem, t, clipped) * changes
                loads[t] = max(loads[t], shifted * hierarchy.fill_cycles[node])
        if pipelined:
            if node < nodes:
                row = rows[memory]
                wait = level_row(
                    loads, tiles, draining, hierarchy.skew[node], hierarchy.buffers[node], anew,
                    row,
                )  # fmt: skip
                waits[around] += wait
                value[timed + WAITS] += row[2 * tensors + 1] + wait
                for t in range(tensors):
                    value[timed + WAITS] += row[tensors + t]
                for t in range(common):
                    if not begins[t]:
                        anew[t] = 1.0
            inside = bounds.steps / value[USED]
            for n in range(nodes):
                read, written = units[n]
                both = read + written if hierarchy.shared_port[n] else max(read, written)
                inside = max(inside, both)
            cycles = rows_cycles(rows, waits, tensors, inside)
            value[timed + LEAST] = max(value[timed + LEAST], cycles)
        if not may_live(hierarchy, value, tensors, nodes, bounds):
            continue
        for t in range(tensors):
            if not inner[t]:
                value[FIXED + t] = 1.0
        if not inner[tensors - 1]:
            value[SPREAD] = 1.0
        labels.state[total] = labels.state[i]
        for j in range(value.shape[0]):
            labels.value[total, j] = value[j]
        labels.trail[total] = labels.trail[i]
        total += 1
    return Labels(labels.state[:total], labels.value[:total], labels.trail[:total])


@kernel
def _beginnings(
    hierarchy: HierarchyArrays, node: int, keep: Bools
) -> tuple[int, int, Bools]:  # fmt: skip
    """Return which memory inside the outermost a node is, and where its waits are added.

    That is outside the next memory after the last double-buffered one: single buffers between
    hide nothing.  Also which tensors, and whether any, a double-buffered memory inside begins
    anew, (T + 1,).
    """
    nodes, tensors = keep.shape
    memory, around = 0, 0
    for n in range(1, min(node, nodes)):
        if hierarchy.storage[n]:
            memory += 1
            for t in range(tensors):
                if hierarchy.buffers[n] > 1 and keep[n, t]:
                    around = memory
    begins = np.zeros(tensors + 1, np.bool_)
    for n in range(node + 1, nodes):
        if hierarchy.storage[n] and hierarchy.buffers[n] > 1:
            for t in range(tensors):
                if keep[n, t]:
                    begins[t] = begins[tensors] = True
    return memory, around, begins


@kernel
def prune(
    problem: ProblemArrays, hierarchy: HierarchyArrays, space: Space, labels: Labels, node: int,
    bounds: Bounds, keep: Bools, rest_by_tensor: Floats,
) -> Labels:  # fmt: skip
    """Return the labels that may still win, all loops of a node being known.

    What remains of each tensor must come again for every iteration outside over which its tile
    does not stay; the memory outside reads it once for all instances that share it.

    Parameters
    ----------
    keep : (N, T) bool
    rest_by_tensor : (T, 2) float64
        Least energy of its way inside, if every word came once: of the memory outside, and of
        all others; part of `bounds.rest_pj`.
    """
    tensors, dims = problem.relevant.shape
    clipped, extents = np.empty(dims, np.int64), np.empty(dims, np.int64)
    parent, spread = _ways(hierarchy, node, keep)
    ports = np.empty((2, keep.shape[0]))
    first = FIXED + 2 * tensors + TIMED
    total = 0
    for i in range(labels.state.shape[0]):
        value = labels.value[i]
        _read(
            labels.state[i], space.extents, space.number, space.stride, problem.sizes, extents,
            clipped,
        )  # fmt: skip
        more = 0.0
        if bounds.timed:
            for n in range(keep.shape[0]):
                ports[0, n] = value[first + keep.shape[0] + n]
                ports[1, n] = value[first + 2 * keep.shape[0] + n]
            for t in range(tensors):
                sent = problem.macs
                if spread[t] == 0.0:
                    sent = words(problem, t, clipped) / value[FIXED + t]
                    sent *= _times(problem.plain[t], problem.sizes, space.padded, extents, clipped)
                sent /= value[FIXED + tensors + t] * max(1.0, spread[t])
                read, at = sent, parent[t]
                each = problem.bits[t] / value[first + at]
                if t == tensors - 1:
                    read = max(0.0, sent - words(problem, t, problem.sizes) * value[SUMMED])
                    ports[1, at] += sent * each / hierarchy.write_rate[at]
                ports[0, at] += read * each / hierarchy.read_rate[at]
            least = value[first - TIMED + LEAST]
            for n in range(node + 1):
                both = ports[0, n] + ports[1, n]
                least = max(
                    least, both if hierarchy.shared_port[n] else max(ports[0, n], ports[1, n])
                )
            value[first - TIMED + LEAST] = least
        for t in range(tensors):
            if rest_by_tensor[t, 0] + rest_by_tensor[t, 1] == 0.0:
                continue
            arriving = words(problem, t, clipped) / value[FIXED + t]
            arriving *= _times(problem.plain[t], problem.sizes, space.padded, extents, clipped)
            again = arriving / words(problem, t, problem.sizes)
            more += max(0.0, again - 1.0) * rest_by_tensor[t, 1]
            again /= value[FIXED + tensors + t]
            more += max(0.0, again - 1.0) * rest_by_tensor[t, 0]
        value[ENERGY] += more
        lives = may_live(hierarchy, value, tensors, hierarchy.storage.shape[0], bounds)
        value[ENERGY] -= more
        if not lives:
            continue
        labels.state[total] = labels.state[i]
        for j in range(value.shape[0]):
            labels.value[total, j] = value[j]
        labels.trail[total] = labels.trail[i]
        total += 1
    return Labels(labels.state[:total], labels.value[:total], labels.trail[:total])


@kernel
def _ways(hierarchy: HierarchyArrays, node: int, keep: Bools) -> tuple[Ints, Floats]:
    """Return where each tensor is to be read next, all up to `node` being known.

    Also the most instances that may yet share a word, 0 where a memory inside holds the tensor.
    """
    nodes, tensors = keep.shape
    parent, spread = np.zeros(tensors, np.int64), np.zeros(tensors)
    for t in range(tensors):
        for n in range(node, 0, -1):
            if hierarchy.storage[n] and keep[n, t]:
                parent[t] = n
                break
        held = False
        together = 1.0
        for n in range(node + 1, nodes):
            if hierarchy.storage[n]:
                held = held or keep[n, t]
            elif hierarchy.shares[n, t]:
                together *= hierarchy.size[n]
        if not held:
            spread[t] = together
    return parent, spread


@kernel
def _charge(
    problem: ProblemArrays, hierarchy: HierarchyArrays, space: Space, value: Floats, node: int,
    t: int, keep: Bools, drain_reads: bool, extents: Ints, clipped: Ints, timed: bool,
    units: Floats,
) -> tuple[float, float]:  # fmt: skip
    """Charge one tensor's way from the memory that holds it to the next inside.

    Returns the cycles that it takes inwards and outwards; what units ask of the read and write
    ports that serve them is added to `units`, (N, 2) cycles.
    """
    nodes, tensors = keep.shape
    inside = node < nodes
    parent = node - 1
    while parent > 0 and not (hierarchy.storage[parent] and keep[parent, t]):
        parent -= 1
    arriving = problem.macs
    if inside:
        arriving = words(problem, t, clipped) / value[FIXED + t]
        arriving *= _times(problem.plain[t], problem.sizes, space.padded, extents, clipped)
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
        return max(fill, arrives), max(drain, leaves)
    units[parent, 0] += fill
    units[parent, 1] += drain
    return 0.0, 0.0


@kernel
def may_live(
    hierarchy: HierarchyArrays, value: Floats, tensors: int, nodes: int, bounds: Bounds
) -> bool:
    energy = value[ENERGY] + bounds.rest_pj
    if energy > bounds.most_pj:
        return False
    if not bounds.timed:
        return True
    timed = FIXED + 2 * tensors
    cycles = max(bounds.steps / value[USED] + value[timed + WAITS], value[timed + LEAST])
    first = timed + TIMED + nodes
    for n in range(nodes):
        read, write = value[first + n], value[first + nodes + n]
        cycles = max(cycles, read + write if hierarchy.shared_port[n] else max(read, write))
    return bool(cycles <= bounds.most_cycles and energy * cycles <= bounds.most_product)
