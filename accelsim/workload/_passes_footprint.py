"""How much of a fibre must stay on chip so that nothing is read twice, and what runs along.

Between two traversals the least set of tensors from which the later ones can go on is a minimum
cut of the graph of tensors, each weighing what one fibre of it holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from accelsim.workload._cascade_core import Cascade, Einsum
from accelsim.workload._passes_schedule import Schedule, streams

__all__ = ["held_words", "independent_ranks", "state_words"]

_SOURCE, _SINK = ("", "source"), ("", "sink")


def independent_ranks(cascade: Cascade, group: tuple[str, ...]) -> frozenset[str]:
    """Return the ranks along which fibres do not depend on each other.

    They are the ranks that everything has that is combined over the traversed rank or that leaves.
    """
    found = [set(one.made.ranks) - set(group) for one in _results(cascade, group[0])]
    return frozenset(set.intersection(*found)) if found else frozenset()


def _results(cascade: Cascade, rank: str) -> list[Einsum]:
    """Return the Einsums along a rank that combine over it, run along it, or make an output."""
    return [
        one
        for one in cascade.einsums
        if rank in one.ranks
        and (
            rank not in one.made.ranks
            or one.running == rank
            or cascade.tensors[one.made.tensor].kind == "output"
        )
    ]


def state_words(cascade: Cascade, group: tuple[str, ...]) -> int:
    """Return the words per fibre of accumulators and of running values, all together.

    They do not grow with the rank that is traversed.
    """
    free = independent_ranks(cascade, group)
    return sum(
        _words(set(one.made.ranks) - set(group), free, cascade.sizes)
        for one in _results(cascade, group[0])
        if group[0] not in one.made.ranks or one.running == group[0]
    )


def held_words(cascade: Cascade, found: Schedule) -> int:
    """Return the words per fibre that must stay on chip so that no traversal reads anything again.

    The most over all moments between two traversals; 0 where one traversal does.
    """
    boundaries = sorted(found.runs)[:-1]
    return max((_cut(cascade, found, number) for number in boundaries), default=0)


def _words(ranks: Iterable[str], free: frozenset[str], sizes: Mapping[str, int]) -> int:
    return math.prod(sizes[rank] for rank in set(ranks) - free)


def _cut(cascade: Cascade, found: Schedule, boundary: int) -> int:
    """Return the weight of the least that traversals after a boundary can go on from."""
    import networkx

    rank, free = found.group[0], independent_ranks(cascade, found.group)
    before = {
        one.name
        for one in cascade.einsums
        if (first := found.first_run(one.name)) is not None and first <= boundary
    }
    touched = {one.made.tensor for one in cascade.einsums if one.name in before}
    touched |= {o.tensor for e in cascade.einsums if e.name in before for o in e.operands}
    graph = networkx.DiGraph()
    graph.add_nodes_from((_SOURCE, _SINK))
    for one in cascade.einsums:
        if found.first_run(one.name) is None:
            continue
        for operand in one.operands:
            tensor = operand.tensor
            if tensor not in touched or not streams(one, operand, rank):
                continue
            words = _words(operand.ranks, free, cascade.sizes)
            graph.add_edge((tensor, "in"), (tensor, "out"), capacity=words)
            if tensor not in found.made_along:
                graph.add_edge(_SOURCE, (tensor, "in"))
            after = (one.made.tensor, "in") if one.name in before else _SINK
            graph.add_edge((tensor, "out"), after)
    weight, _ = networkx.minimum_cut(graph, _SOURCE, _SINK)
    return int(weight)
