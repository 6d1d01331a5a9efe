"""Lays a problem on an array of ported memories out for the kernels, and checks that it can."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from accelsim.errors import MappingError, nearest
from accelsim.nest.ports._arrays import (
    FREE,
    HALF,
    KINDS,
    RELEVANT,
    Bools,
    Floats,
    Ints,
    PortArrays,
)
from accelsim.nest.ports._links import distinct
from accelsim.nest.ports._types import HIDING, LINKS, Hiding, PortedArray, PortedMemory
from accelsim.nest.problem import Problem

__all__ = ["PortedTask", "Unrolled", "mirrors", "pack", "unrolled"]

Unrolling = Mapping[str, tuple[str, int]]


class Unrolled(NamedTuple):
    """What an unrolling comes to.

    Attributes
    ----------
    factors : dict of str to (str, float)
        Dim of the array -> dim of the problem, and mean units in use over all passes.
    passes : dict of str to int
        Dim of the problem -> passes over the array.
    """

    factors: dict[str, tuple[str, float]]
    passes: dict[str, int]


class _Sums(NamedTuple):
    """Axes that are sums of two dims: (A, 2) dims and coefficients, (A,) words, (T, A) used."""

    dims: Ints
    strides: Ints
    words: Ints
    used: Bools


@dataclass(frozen=True)
class PortedTask:
    """A problem unrolled over an array.

    Attributes
    ----------
    problem : Problem
        Its last tensor is the result.
    array : PortedArray
    unrolling : mapping of str to (str, int)
        Dim of the array -> dim of the problem, and units that it is spread over.  A factor that
        does not divide the size is evened out over its passes.
    partial_bits : int, optional
        Bits of a result that is still summed up; as many as of a final one if left out.
    stored_words : mapping of (str, int) to int
        (tensor, number of its axis) -> words stored along it, where padding is not.
    hiding : {"longest_first", "alike", "none"}
        Which first fills hide behind the computation (zigzag-dse 3.9.1, 3.8.5, neither).
    """

    problem: Problem
    array: PortedArray
    unrolling: Mapping[str, tuple[str, int]]
    partial_bits: int | None = None
    stored_words: Mapping[tuple[str, int], int] = field(default_factory=dict)
    hiding: Hiding = "longest_first"

    @cached_property
    def arrays(self) -> PortArrays:
        """The task for the kernels."""
        return pack(
            self.problem, self.array, self.unrolling, self.partial_bits, self.stored_words,
            self.hiding,
        )  # fmt: skip

    @cached_property
    def passes(self) -> dict[str, int]:
        """How often temporal loops run over each dim."""
        return unrolled(self.problem, self.array, self.unrolling).passes


def unrolled(problem: Problem, array: PortedArray, unrolling: Unrolling) -> Unrolled:
    """Return the mean factors and the passes of an unrolling.

    Of several dims of the array over which one dim of the problem is spread, the widest takes
    what does not divide.

    Raises
    ------
    MappingError
        If it names what is not there, or asks for more units than there are.
    """
    wanted: dict[str, tuple[str, int]] = {}
    for side, (dim, factor) in unrolling.items():
        if side not in array.dims:
            raise MappingError(f"no dim `{side}` of the array; {nearest(side, array.dims)}")
        if dim not in problem.dims:
            raise MappingError(f"`{side}`: no dim `{dim}`; {nearest(dim, problem.dims)}")
        if not 1 <= factor <= array.dims[side]:
            raise MappingError(
                f"`{side}`: `{dim}` over {factor} units, there are {array.dims[side]}"
            )
        wanted[side] = dim, min(factor, problem.size(dim))
    exact: dict[str, tuple[str, float]] = dict(wanted)
    passes = dict(zip(problem.dims, problem.sizes, strict=True))
    for dim, size in passes.items():
        sides = [side for side, (one, _) in wanted.items() if one == dim]
        if not sides:
            continue
        widest = max(sides, key=lambda side: wanted[side][1])
        others = math.prod(wanted[side][1] for side in sides if side != widest)
        passes[dim] = math.ceil(size / (wanted[widest][1] * others))
        exact[widest] = dim, size / passes[dim] / others
    return Unrolled(exact, passes)


def pack(
    problem: Problem,
    array: PortedArray,
    unrolling: Unrolling,
    partial_bits: int | None,
    stored_words: Mapping[tuple[str, int], int],
    hiding: Hiding,
) -> PortArrays:
    """Return a task for the kernels; see `accelsim.nest.ports.PortedTask`."""
    if len(problem.tensors) > 3:
        raise MappingError(f"{len(problem.tensors) - 1} operands; first fills know of two at most")
    if hiding not in HIDING:
        raise MappingError(f"no hiding `{hiding}`; {nearest(hiding, HIDING)}")
    plan = unrolled(problem, array, unrolling)
    names = [tensor.name for tensor in problem.tensors]
    held = [[m for m in array.memories if name in m.tensors] for name in names]
    for name, found in zip(names, held, strict=True):
        if not found:
            raise MappingError(f"no memory holds tensor `{name}`")
    levels = np.array([len(found) for found in held], np.int64)
    memory = np.full((len(names), levels.max()), -1, np.int64)
    for t, found in enumerate(held):
        memory[t, : len(found)] = [array.memories.index(m) for m in found]
    relevance, sums = _relevance(problem, stored_words)
    reach, units, fan_out, summed = _spread(problem, array, plan, held, relevance, sums)
    bits = np.array([[tensor.bits] * 2 for tensor in problem.tensors], np.int64)
    bits[-1, 0] = bits[-1, 1] if partial_bits is None else partial_bits
    rate, common, first, links, port_rate = _ports(array, names, held)
    drain = sum(
        math.ceil(plan.factors[side][1]) - 1 for side in array.systolic if side in plan.factors
    )
    return PortArrays(
        relevance, sums.dims, sums.strides, sums.words, sums.used, bits, levels, memory, reach,
        summed, units, fan_out, np.array([m.capacity_bits for m in array.memories], np.float64),
        _members(array, names), np.array([(m.read_pj, m.write_pj) for m in array.memories]),
        rate, common, first, links, port_rate, array.mac_pj * problem.macs, drain,
        HIDING.index(hiding),
    )  # fmt: skip


def _members(array: PortedArray, names: Sequence[str]) -> Ints:
    found = np.full((len(array.memories), len(names)), -1, np.int64)
    for node, memory in enumerate(array.memories):
        inside = [names.index(name) for name in memory.tensors if name in names]
        found[node, : len(inside)] = inside
    return found


def _relevance(
    problem: Problem, stored_words: Mapping[tuple[str, int], int]
) -> tuple[Ints, _Sums]:
    """Return how tensors depend on dims, and their axes that are sums of two."""
    relevance = np.full((len(problem.tensors), len(problem.dims)), FREE, np.int64)
    pairs: list[tuple[int, list[int], list[int], int]] = []
    for t, tensor in enumerate(problem.tensors):
        for number, axis in enumerate(tensor.axes):
            dims = [problem.dims.index(dim) for _, dim in axis]
            if len(dims) > 2:
                raise MappingError(f"`{tensor.name}`: axis {number} is a sum of {len(dims)} dims")
            relevance[t, dims] = RELEVANT if len(dims) == 1 else HALF
            if len(dims) == 2:
                divisor = math.gcd(*(factor for factor, _ in axis))
                strides = [factor // divisor for factor, _ in axis]
                first, second = (problem.sizes[d] for d in dims)
                most = distinct(first, second, strides[0], strides[1], first * second)
                pairs.append((t, dims, strides, stored_words.get((tensor.name, number), most)))
    shape = len(problem.tensors), len(pairs)
    used = np.zeros(shape, np.bool_)
    for i, (t, *_) in enumerate(pairs):
        used[t, i] = True
    return relevance, _Sums(
        np.array([dims for _, dims, _, _ in pairs], np.int64).reshape(-1, 2),
        np.array([strides for _, _, strides, _ in pairs], np.int64).reshape(-1, 2),
        np.array([most for *_, most in pairs], np.int64), used,
    )  # fmt: skip


def _spread(
    problem: Problem,
    array: PortedArray,
    plan: Unrolled,
    held: Sequence[Sequence[PortedMemory]],
    relevance: Ints,
    sums: _Sums,
) -> tuple[Floats, Floats, Floats, Bools]:
    """Return reach, units, fan-out and sums over units, as of `PortArrays`."""
    deepest = max(map(len, held))
    shape = 2, len(held), deepest + 1
    reach, fan_out = np.ones((*shape, len(problem.dims))), np.ones(shape)
    units, summed = np.ones(shape[1:]), np.zeros(deepest + 2, np.bool_)
    for t, memories in enumerate(held):
        for level, sides in enumerate(_sides(plan, memories)):
            for side in sides:
                dim, factor = plan.factors[side]
                d = problem.dims.index(dim)
                reach[0, t, level:, d] *= factor
                reach[1, t, level:, d] *= int(factor)
                units[t, : level + 1] *= factor
                if t == len(held) - 1 and relevance[t, d] == FREE and factor > 1:
                    summed[: level + 1] = True
    for view in range(2):
        for t, memories in enumerate(held):
            before = 1.0
            for level in range(len(memories)):
                words = _words(reach[view, t, level], relevance[t], sums, t)
                fan_out[view, t, level], before = round(words / before), words
    return reach[:, :, :deepest].copy(), np.rint(units), fan_out, summed


def _sides(plan: Unrolled, memories: Sequence[PortedMemory]) -> list[list[str]]:
    """Return the dims of the array that each memory spans and none inside does; then the rest."""
    left, found = list(plan.factors), []
    for memory in memories:
        found.append([side for side in left if side in memory.spans])
        left = [side for side in left if side not in memory.spans]
    return [*found, left]


def _words(extents: Floats, relevance: Ints, sums: _Sums, t: int) -> float:
    words = float(np.prod(extents[relevance == RELEVANT]))
    for dims, strides, most, used in zip(
        sums.dims, sums.strides, sums.words, sums.used[t], strict=True
    ):
        if used:
            first, second = (int(extents[d]) for d in dims)
            words *= distinct(first, second, strides[0], strides[1], most)
    return words


def _ports(
    array: PortedArray, names: Sequence[str], held: Sequence[Sequence[PortedMemory]]
) -> tuple[Ints, Bools, Ints, Ints, Ints]:
    """Return rate, common, first_link, links and port_rate, as of `PortArrays`."""
    deepest = max(map(len, held))
    rows = len(names) * deepest * KINDS
    rate, common = np.zeros((rows, 2), np.int64), np.zeros(rows, np.bool_)
    first, links, port_rate = [0], [], []
    for memory in array.memories:
        for port in memory.ports:
            operands = {name for name, _ in port.serves if name in names[:-1]}
            for name in memory.tensors:
                if name not in names:
                    continue
                t = names.index(name)
                place = (t * deepest + held[t].index(memory)) * KINDS
                for kind in (LINKS.index(kind) for one, kind in port.serves if one == name):
                    links.append(place + kind)
                    rate[place + kind] = port.least_bits, port.bits_per_cycle
                    common[place + kind] = len(operands) > 1
            first.append(len(links))
            port_rate.append(port.bits_per_cycle)
    _check_links(rate, names, held)
    return (
        rate, common, np.array(first, np.int64), np.array(links, np.int64),
        np.array(port_rate, np.int64),
    )  # fmt: skip


def _check_links(rate: Ints, names: Sequence[str], held: Sequence[Sequence[PortedMemory]]) -> None:
    """Raise where a transfer that can occur has no port."""
    deepest = max(map(len, held))
    for t, memories in enumerate(held):
        result = t == len(held) - 1
        for level, memory in enumerate(memories):
            for number, link in enumerate(LINKS):
                if not result and link in ("write_up", "read_up"):
                    continue
                if level == len(memories) - 1 and link in ("read_up", "write_down"):
                    continue
                if rate[(t * deepest + level) * KINDS + number, 1] <= 0:
                    raise MappingError(f"`{memory.name}`: no port serves {link} of `{names[t]}`")


def mirrors(a: PortArrays, loops: Sequence[tuple[int, int]], counts: Sequence[int]) -> Ints:
    """Return for each distinct loop the one that takes its part in a mirror image.

    Two sums of dims that are alike in all but name, as the rows and columns of a square image,
    may be swapped without any effect; an order and its image then cost the same.

    Parameters
    ----------
    a : PortArrays
    loops : sequence of (dim, factor)
        Distinct ones.
    counts : sequence of int
        How many there are of each.
    """
    number = dict(zip(loops, counts, strict=True))
    for one in range(len(a.axis_words)):
        for other in range(one):
            swapped = np.arange(a.relevance.shape[1])
            swapped[a.axis_dims[one]] = a.axis_dims[other]
            swapped[a.axis_dims[other]] = a.axis_dims[one]
            images = [(int(swapped[d]), factor) for d, factor in loops]
            if (
                a.axis_words[one] == a.axis_words[other]
                and (a.axis_strides[one] == a.axis_strides[other]).all()
                and (a.axis_used[:, one] == a.axis_used[:, other]).all()
                and (a.relevance == a.relevance[:, swapped]).all()
                and (a.reach == a.reach[..., swapped]).all()
                and all(number.get(i) == number[j] for i, j in zip(images, loops, strict=True))
            ):
                return np.array([loops.index(image) for image in images], np.int64)
    return np.arange(len(loops))
