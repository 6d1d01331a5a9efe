"""The edges of a mapped hierarchy: per tensor, from a memory to the next inside that holds it.

Each edge carries the accesses that it causes at both ends, so that all edges together have
exactly those of the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from accelsim.nest import Fanout, Figures, Hierarchy, Nest, Problem
from accelsim.nest.text import loops

__all__ = ["UNITS", "Edge", "edges", "shared_words"]

UNITS = "units"
"""Inner end of the edges that reach the multiply-accumulate units."""


_NOTHING: Final = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Edge:
    """Traffic of one tensor between two memories next to each other of those that hold it.

    Attributes
    ----------
    tensor : str
    outer, inner : str
        Names of the levels; the inner may be `UNITS`.
    outer_level, inner_level : int
        Their places; that of the units is the number of nodes.
    reads, fills : float
        Words inwards: read at the outer end, and written at the inner one; more where a word
        serves several instances, 0 at the units.
    drains, updates : float
        Words outwards: read at the inner end (0 where the rules do not count it, and at the
        units), and written at the outer one; fewer where they are summed up on the way.
    shared : int
        Instances of the inner end for which the fan-outs between carry one word.
    bits : float
        Per word.
    """

    tensor: str
    outer: str
    inner: str
    outer_level: int
    inner_level: int
    reads: float
    fills: float
    drains: float
    updates: float
    shared: int
    bits: float

    @property
    def inward_bits(self) -> float:
        """Bits that the outer end sends."""
        return self.reads * self.bits

    @property
    def outward_bits(self) -> float:
        """Bits that the outer end receives."""
        return self.updates * self.bits


def edges(
    problem: Problem, hierarchy: Hierarchy, nest: Nest, figures: Figures
) -> tuple[Edge, ...]:
    """Return all edges, those of the first tensor first, from the outermost inwards.

    Parameters
    ----------
    problem, hierarchy, nest
        What is mapped where, how.
    figures : Figures
        Of that nest, by whichever rules.
    """
    found = []
    for t, tensor in enumerate(problem.tensors):
        held = [i for i in range(len(nest.keeps)) if i == 0 or tensor.name in nest.keeps[i]]
        for outer, inner in zip(held, [*held[1:], len(nest.keeps)], strict=True):
            units = inner == len(nest.keeps)
            reads, _, updates, _ = _of(figures, outer, t)
            _, fills, _, drains = _NOTHING if units else _of(figures, inner, t)
            found.append(
                Edge(
                    tensor.name, hierarchy.nodes[outer].name,
                    UNITS if units else hierarchy.nodes[inner].name, outer, inner,
                    reads, fills, drains, updates,
                    shared_words(problem, hierarchy, nest, t, outer, inner), tensor.bits,
                )
            )  # fmt: skip
    return tuple(found)


def _of(figures: Figures, level: int, tensor: int) -> tuple[float, ...]:
    """Return reads, fills, updates and drains."""
    return tuple(float(words) for words in figures.accesses[level, tensor])


def shared_words(
    problem: Problem, hierarchy: Hierarchy, nest: Nest, t: int, outer: int, inner: int
) -> int:
    """Return over how many instances the fan-outs between two levels share a word of a tensor.

    Parameters
    ----------
    problem, hierarchy, nest
        What is mapped where, how.
    t : int
        Place of the tensor.
    outer, inner : int
        Places of the levels; only fan-outs strictly between them count.
    """
    relevant = problem.arrays.relevant[t]
    shared = 1
    for i, found in enumerate(loops(problem, hierarchy, nest)):
        node = hierarchy.nodes[i]
        if not isinstance(node, Fanout) or not outer < i < inner:
            continue
        if problem.tensors[t].name in node.shares:
            apart = [factor for dim, factor in found if not relevant[problem.dims.index(dim)]]
            shared *= int(np.prod(apart, initial=1))
    return shared
