"""What a mapping fixes at the levels of a nest, and what that leaves each level to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from accelsim.nest._count import fits
from accelsim.nest.hierarchy import Fanout, Hierarchy
from accelsim.nest.mapper._label_types import Bools, Limits
from accelsim.nest.mapper._search_space import divisors
from accelsim.nest.problem import Problem

__all__ = ["Constraint", "limits_of"]


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a mapping fixes at one level, for the search to complete.

    Attributes
    ----------
    factors : mapping of str to int
        Exact factors of dims.
    dims : frozenset of str or None
        Dims that may be looped over at all.
    keep : frozenset of str or None
        Exactly the tensors that a memory holds.
    used : int
        Fewest instances of a fan-out.
    """

    factors: Mapping[str, int] = field(default_factory=dict)
    dims: frozenset[str] | None = None
    keep: frozenset[str] | None = None
    used: int = 1

    def __str__(self) -> str:
        parts = [f"{dim} {factor}" for dim, factor in self.factors.items()]
        if self.dims is not None:
            parts.append(f"loops over {', '.join(sorted(self.dims)) or 'nothing'} only")
        if self.keep is not None:
            parts.append(f"holds {', '.join(sorted(self.keep)) or 'nothing'}")
        if self.used > 1:
            parts.append(f"at least {self.used} instances")
        return "; ".join(parts)


def limits_of(
    problem: Problem, hierarchy: Hierarchy, constraints: Mapping[str, Constraint], node: int,
    padded: tuple[int, ...], keep: Bools,
) -> list[Limits]:  # fmt: skip
    """Return the loops that level `node` may have over each dim.

    Parameters
    ----------
    padded : tuple of int
        What the factors of each dim multiply to.
    keep : (N, T) bool
        Which tensors each memory holds.
    """
    level = hierarchy.nodes[node]
    asked = constraints.get(level.name, Constraint())
    instances = level.size if isinstance(level, Fanout) else 1
    found = []
    for d, dim in enumerate(problem.dims):
        least, most = 1, padded[d]
        if dim in asked.factors:
            least = most = asked.factors[dim]
        elif (level.dims is not None and dim not in level.dims) or (
            asked.dims is not None and dim not in asked.dims
        ):
            most = 1
        left = _left(problem, hierarchy, node, d, padded[d], keep)
        found.append(Limits(least, most, left, instances))
    return found


def _left(
    problem: Problem, hierarchy: Hierarchy, node: int, d: int, size: int, keep: Bools
) -> int:
    """Return the largest extent of a dim that what is inside a node can loop over.

    The next memory must hold a tile of it, spread over the fan-outs between.
    """
    dim, most, spread = problem.dims[d], size, 1
    for i in range(node + 1, len(hierarchy.nodes)):
        inner = hierarchy.nodes[i]
        legal = inner.dims is None or dim in inner.dims
        if isinstance(inner, Fanout):
            spread *= inner.size if legal else 1
            continue
        most = min(most, spread * _holds(problem, hierarchy, i, d, size, keep))
        if legal:
            return most
    return min(most, spread)


def _holds(
    problem: Problem, hierarchy: Hierarchy, node: int, d: int, size: int, keep: Bools
) -> int:
    """Return the largest extent of one dim whose tile, all others being 1, a memory holds."""
    extents = np.ones(len(problem.dims), np.int64)
    for extent in reversed(divisors(size)):
        extents[d] = min(extent, problem.sizes[d])
        if fits(problem.arrays, hierarchy.arrays(problem), node, keep, extents):
            return extent
    return 1
