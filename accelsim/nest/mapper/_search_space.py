"""What the mapper has to choose from: sizes, extents, loop orders, and what they cost at least.

Everything here is exact: it leaves out only what cannot be better than what stays.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from accelsim.nest.hierarchy import Fanout, Hierarchy, HierarchyArrays
from accelsim.nest.mapper._label_types import Space
from accelsim.nest.problem import Problem, ProblemArrays

__all__ = [
    "divisors", "least_pj", "most_together", "orders", "paddings", "priced_by_traffic", "space",
]  # fmt: skip

_COARSE = 4  # extents of each dim in the first, rough pass
_PADDINGS = 3  # sizes of each dim that are tried

Stays = tuple[frozenset[int], ...]


def paddings(problem: Problem, hierarchy: Hierarchy) -> Iterator[tuple[int, ...]]:
    """Yield sizes that factors may multiply to: the problem's, then rounded up to the fan-outs'.

    A dim of 197 over 128 instances may take 256: the last tile is cut, and part of the array
    idles, but other factors are no longer bound to the divisors of 197.
    """
    choices = []
    fanouts = [node for node in hierarchy.nodes if isinstance(node, Fanout)]
    for dim, size in zip(problem.dims, problem.sizes, strict=True):
        sizes = {size}
        for fanout in fanouts:
            if size < 4 or not (fanout.dims is None or dim in fanout.dims):
                continue
            step = min(fanout.size, 1 << (size - 1).bit_length())
            sizes.add(-(-size // step) * step)
        choices.append(sorted(sizes)[:_PADDINGS])
    yield from itertools.product(*choices)


def divisors(number: int) -> list[int]:
    """Return all divisors, ascending.

    Examples
    --------
    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})


def most_together(factors: Sequence[Sequence[int]], most: int) -> int:
    """Return the largest product of one factor of each dim that is not above `most`.

    Examples
    --------
    >>> most_together([[1, 3], [1, 7], [1, 7]], 64)
    49
    """
    products = {1}
    for choices in factors:
        products = {p * f for p in products for f in choices if p * f <= most}
    return max(products, default=1)


def space(problem: Problem, hierarchy: Hierarchy, padded: Sequence[int], coarse: bool) -> Space:
    """Return the states of a search: all divisors of each dim, or some spread over them."""
    sizes = {node.size for node in hierarchy.nodes if isinstance(node, Fanout)}
    chosen = []
    for size in padded:
        extents = divisors(size)
        if coarse and len(extents) > _COARSE:
            places = np.linspace(0, len(extents) - 1, _COARSE).round().astype(int)
            extents = sorted({*(extents[i] for i in places), *(e for e in extents if e in sizes)})
        chosen.append(extents)
    number = np.array([len(extents) for extents in chosen], np.int64)
    table = np.ones((len(chosen), int(number.max())), np.int64)
    for d, values in enumerate(chosen):
        table[d, : len(values)] = values
    stride = np.concatenate([[1], number[:-1].cumprod()]).astype(np.int64)
    return Space(table, number, stride, np.array(padded, np.int64))


def orders(problem: Problem) -> list[tuple[int, ...]]:
    """Return the orders of loops worth trying, from the outermost to the innermost.

    Dims that the same tensors do not depend on stand together: which of them is outside changes
    nothing.  Of the orders of such groups those are kept of which no other lets every tensor
    stay over as much.
    """
    relevant = problem.arrays.relevant
    groups: dict[tuple[bool, ...], list[int]] = {}
    for d in range(len(problem.dims)):
        if problem.sizes[d] > 1:
            groups.setdefault(tuple(bool(x) for x in relevant[:, d]), []).append(d)
    kept: list[tuple[Stays, tuple[int, ...]]] = []
    for order in itertools.permutations(groups):
        stays = tuple(_stays_over(order, groups, t) for t in range(len(problem.tensors)))
        if any(_covers(other, stays) for other, _ in kept):
            continue
        kept = [k for k in kept if not _covers(stays, k[0])]
        kept.append((stays, tuple(d for group in order for d in groups[group])))
    return [order for _, order in kept]


def _stays_over(
    order: Sequence[tuple[bool, ...]], groups: dict[tuple[bool, ...], list[int]], tensor: int
) -> frozenset[int]:
    """Return the dims of the innermost loops that a tensor does not depend on."""
    found: list[int] = []
    for group in reversed(order):
        if group[tensor]:
            break
        found += groups[group]
    return frozenset(found)


def _covers(a: Stays, b: Stays) -> bool:
    return all(x >= y for x, y in zip(a, b, strict=True))


def priced_by_traffic(arrays: HierarchyArrays) -> HierarchyArrays:
    """Return a hierarchy of which each bit at the outermost memory costs 1, all else nothing."""
    read, write = np.zeros_like(arrays.read_pj), np.zeros_like(arrays.write_pj)
    read[0], write[0] = 1.0, 1.0
    return arrays._replace(read_pj=read, write_pj=write, mac_pj=0.0)


def least_pj(
    problem: ProblemArrays, arrays: HierarchyArrays, keep: NDArray[np.bool_], drain_reads: bool
) -> tuple[NDArray[np.float64], list[float]]:
    """Return for each node the least energy of its tiles' arrival and of all that is inside.

    Every word crosses every boundary at least once; the units read what the fan-outs cannot share.

    Returns
    -------
    by_tensor : (N + 2, T, 2) float64
        Without what the units read: what the memory outside the first boundary asks, and all else.
    total : list of float
        Of all tensors and the units.
    """
    nodes, tensors = keep.shape
    rest, units = np.zeros((nodes + 2, tensors, 2)), np.zeros(nodes + 2)
    units[nodes + 1] = problem.macs * arrays.mac_pj
    for t in range(tensors):
        extents = 1 + problem.coefficients[t] @ (problem.sizes - 1)
        bits = float(extents.prod()) * problem.bits[t]
        result = t == tensors - 1
        held = [n for n in range(nodes) if arrays.storage[n] and (n == 0 or keep[n, t])]
        for parent, node in itertools.pairwise(held):
            outer = arrays.write_pj[parent, t] if result else arrays.read_pj[parent, t]
            drain = arrays.read_pj[node, t] if drain_reads else 0.0
            rest[node, t, 0] = bits * outer
            rest[node, t, 1] = bits * (drain if result else arrays.write_pj[node, t])
        last = held[-1]
        shared = math.prod(int(arrays.size[n]) for n in range(last, nodes) if arrays.shares[n, t])
        sent = max(bits, problem.macs * problem.bits[t] / shared)
        units[nodes] += sent * (arrays.write_pj[last, t] if result else arrays.read_pj[last, t])
        if result:
            copies = math.prod(int(size) for size in arrays.size[:last])
            units[nodes] += max(0.0, sent - bits * copies) * arrays.read_pj[last, t]
    inwards = rest.sum(axis=2)[::-1].cumsum(axis=0)[::-1]
    total = inwards.sum(axis=1) + units[::-1].cumsum()[::-1]
    for node in range(nodes, -1, -1):  # the first boundary from here inwards
        later = rest[node].sum(axis=1) == 0.0
        rest[node, later, 0] = rest[node + 1, later, 0]
    rest[:, :, 1] = inwards - rest[:, :, 0]
    return rest, [float(value) for value in total]
