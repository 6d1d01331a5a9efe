"""A loop nest in its place: temporal loops of every memory, unrolled dims of every fan-out.

Read from ``{level: {dim: factor}}``, outermost loop first, and checked against a problem and a
hierarchy before anything is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import MappingError, bytes_text, nearest
from accelsim.nest.hierarchy import Fanout, Hierarchy, Storage
from accelsim.nest.problem import Problem

__all__ = ["Loop", "Nest", "NestArrays", "check", "parse"]


class Loop(NamedTuple):
    """One loop: the dim that it runs over, and how often."""

    dim: str
    factor: int


class NestArrays(NamedTuple):
    """A nest as the kernels read it.

    Attributes
    ----------
    factor : (N, D) int64
        Of each dim at each node.
    order : (N, D) int64
        Dims of each node from the outermost loop to the innermost.
    keep : (N, T) bool
        Which tensors each memory holds.
    """

    factor: NDArray[np.int64]
    order: NDArray[np.int64]
    keep: NDArray[np.bool_]


@dataclass(frozen=True)
class Nest:
    """Loops of each level, outermost first, and the tensors that each memory holds."""

    loops: tuple[tuple[Loop, ...], ...]
    keeps: tuple[frozenset[str], ...]

    def factor(self, level: int, dim: str) -> int:
        """Return how often a level repeats a dim."""
        found = 1
        for loop in self.loops[level]:
            if loop.dim == dim:
                found *= loop.factor
        return found

    def arrays(self, problem: Problem) -> NestArrays:
        """Return the nest for the kernels; the outermost loop of a dim only as long as needed."""
        factor, order, keep = self.lists(problem)
        return NestArrays(
            np.array(factor, np.int64), np.array(order, np.int64), np.array(keep, np.bool_)
        )

    def lists(self, problem: Problem) -> tuple[list[list[int]], list[list[int]], list[list[bool]]]:
        """Return factor, order and keep of `arrays` as lists, of which many make one array."""
        place = problem.places
        every = range(len(problem.dims))
        factor, order = [], []
        inside = [1] * len(problem.dims)
        for loops in self.loops:
            # dims of size 1 may be left out of the problem
            named = [place[dim] for dim, _ in loops if dim in place]
            row = [1] * len(inside)
            for dim, times in loops:
                if dim in place:
                    row[place[dim]] = times
                    inside[place[dim]] *= times
            factor.append(row)
            order.append([*(d for d in every if d not in named), *named])
        for d, size in enumerate(problem.sizes):
            within = inside[d]
            if within == size:
                continue
            for row in factor:  # from outside: a loop longer than what is left is cut
                within //= row[d]
                row[d] = min(row[d], -(-size // within))
        names = [tensor.name for tensor in problem.tensors]
        keep = [[name in held for name in names] for held in self.keeps]
        keep[0] = [True] * len(names)  # the outermost memory holds everything
        return factor, order, keep


def parse(
    loops: Mapping[str, Mapping[str, int]],
    hierarchy: Hierarchy,
    keep: Mapping[str, Sequence[str]] | None = None,
) -> Nest:
    """Return the nest that a mapping file states.

    Parameters
    ----------
    loops : mapping of str to mapping of str to int
        Level -> dim -> factor, outermost loop first; levels without loops may be left out.
    hierarchy : Hierarchy
        Where the levels stand.
    keep : mapping of str to sequence of str, optional
        Level -> tensors that it holds, where not all that it may.

    Raises
    ------
    MappingError
        If a level is unknown or a factor below 1.
    """
    names = [node.name for node in hierarchy.nodes]
    for level in (*loops, *(keep or {})):
        if level not in names:
            raise MappingError(f"no level `{level}`; {nearest(level, names)}")
    for level, found in loops.items():
        for dim, factor in found.items():
            if factor < 1:
                raise MappingError(f"level `{level}`: factor {factor} of `{dim}` is below 1")
    return Nest(
        tuple(
            tuple(Loop(dim, factor) for dim, factor in loops.get(name, {}).items())
            for name in names
        ),
        tuple(_held(node, (keep or {}).get(node.name)) for node in hierarchy.nodes),
    )


def _held(node: Fanout | Storage, given: Sequence[str] | None) -> frozenset[str]:
    if isinstance(node, Fanout):
        return frozenset()
    return node.keep | node.may_keep if given is None else frozenset(given)


def check(nest: Nest, problem: Problem, hierarchy: Hierarchy) -> None:
    """Raise `MappingError` where a nest does not fit its problem or hierarchy.

    Raises
    ------
    MappingError
        For an unknown dim, factors that do not cover a dim, a fan-out unrolled beyond its
        instances or over a dim that it does not allow, a memory that holds what it may not or
        less than it must, and a tile larger than its memory.
    """
    for i, (node, loops) in enumerate(zip(hierarchy.nodes, nest.loops, strict=True)):
        _check_loops(node, loops, problem)
        if i > 0 and isinstance(node, Storage):
            _check_kept(node, nest.keeps[i], problem)
    for dim, size in zip(problem.dims, problem.sizes, strict=True):
        _check_cover(nest, hierarchy, dim, size)
    _check_capacity(nest, problem, hierarchy)


def _check_loops(node: Fanout | Storage, loops: Sequence[Loop], problem: Problem) -> None:
    seen: set[str] = set()
    for dim, factor in loops:
        if dim not in problem.dims:
            raise MappingError(
                f"level `{node.name}`: no dim `{dim}`; {nearest(dim, problem.dims)}"
            )
        if dim in seen:
            raise MappingError(f"level `{node.name}` repeats `{dim}` twice")
        seen.add(dim)
        if node.dims is not None and dim not in node.dims and factor > 1:
            legal = ", ".join(sorted(node.dims)) or "none"
            raise MappingError(f"level `{node.name}` may not repeat `{dim}`, only {legal}")
    if isinstance(node, Fanout):
        used = int(np.prod([loop.factor for loop in loops], initial=1))
        if used > node.size:
            stated = " x ".join(f"{dim} {factor}" for dim, factor in loops)
            raise MappingError(
                f"fan-out `{node.name}` has {node.size} instances, {stated} needs {used}"
            )


def _check_kept(node: Storage, held: frozenset[str], problem: Problem) -> None:
    names = {tensor.name for tensor in problem.tensors}
    for tensor in sorted(held - (node.keep | node.may_keep)):
        raise MappingError(f"level `{node.name}` may not hold `{tensor}`")
    for tensor in sorted((node.keep & names) - held):
        raise MappingError(f"level `{node.name}` must hold `{tensor}`")


def _check_cover(nest: Nest, hierarchy: Hierarchy, dim: str, size: int) -> None:
    factors = [(node.name, nest.factor(i, dim)) for i, node in enumerate(hierarchy.nodes)]
    product = int(np.prod([factor for _, factor in factors]))
    if product < size:
        stated = " x ".join(f"{name} {factor}" for name, factor in factors if factor > 1) or "none"
        raise MappingError(
            f"factors of `{dim}` make {product} ({stated}), the operator has {size}"
        )


def _check_capacity(nest: Nest, problem: Problem, hierarchy: Hierarchy) -> None:
    for i, node in enumerate(hierarchy.nodes):
        if i == 0 or not isinstance(node, Storage):
            continue
        needed = tile_bits(nest, problem, hierarchy, i)
        for tensor, bits in needed.items():
            has = node.partition_bits.get(tensor)
            if has is not None and bits * node.buffers > has:
                raise _short(f"{node.name}` for `{tensor}", bits * node.buffers, has)
        shared = sum(needed[t] for t in needed if t not in node.partition_bits) * node.buffers
        if shared > node.capacity_bits:
            raise _short(node.name, shared, node.capacity_bits)


def _short(where: str, needs: float, has: float) -> MappingError:
    return MappingError(
        f"needs {_size(needs)} in `{where}`, has {_size(has)}; short by {_size(needs - has)}"
    )


def _size(bits: float) -> str:
    return bytes_text(bits / 8.0, 1)


def tile_bits(nest: Nest, problem: Problem, hierarchy: Hierarchy, level: int) -> dict[str, float]:
    """Return the bits of each tensor's tile in one instance of a memory."""
    arrays, problem_arrays = nest.arrays(problem), problem.arrays
    extents = np.minimum(arrays.factor[level:].prod(axis=0), problem_arrays.sizes)
    found = {}
    for t, tensor in enumerate(problem.tensors):
        if tensor.name in nest.keeps[level]:
            axes = 1 + problem_arrays.coefficients[t] @ (extents - 1)
            found[tensor.name] = float(axes.prod()) * tensor.bits
    return found
