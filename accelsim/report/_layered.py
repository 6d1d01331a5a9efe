"""Places the nodes of an acyclic graph in layers, so that edges run downwards and cross little.

The method is Sugiyama's: layers by the longest path, order within a layer by the mean place of the
neighbours, coordinates as near to the neighbours as widths allow.

References
----------
.. [1] K. Sugiyama, S. Tagawa, M. Toda, "Methods for visual understanding of hierarchical system
   structures", IEEE Trans. Systems, Man, and Cybernetics 11 (2), 1981.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

__all__ = ["Layered", "layered"]

Node = Hashable
"""A node's name, or an edge and a layer: the bend of the edge there."""

_SWEEPS: Final = 8


@dataclass(slots=True)
class Layered:
    """Where nodes and edges are.

    Attributes
    ----------
    layer : dict
        Node -> its layer, 0 at the top.
    x : dict
        Node -> its middle.
    routes : dict
        Edge -> x in each layer from the one after its start to the one before its end.
    width : float
        Of the whole; the leftmost edge is at 0.
    """

    layer: dict[str, int]
    x: dict[str, float]
    routes: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    width: float = 0.0


def layered(
    nodes: Sequence[str],
    edges: Sequence[tuple[str, str]],
    widths: Mapping[str, float],
    gap: float,
    ends: Collection[str] = (),
) -> Layered:
    """Return the places of nodes and edges.

    Parameters
    ----------
    nodes : sequence
        In topological order.
    edges : sequence of (node, node)
        From earlier to later nodes.
    widths : mapping
        Node -> its width.
    gap : float
        Least distance between nodes of a layer.
    ends : collection
        Sources that belong into the first layer, and sinks that belong into the last.

    Examples
    --------
    >>> found = layered(
    ...     "abc", [("a", "b"), ("b", "c"), ("a", "c")], dict.fromkeys("abc", 1.0), 0.5
    ... )
    >>> found.layer, len(found.routes["a", "c"])
    ({'a': 0, 'b': 1, 'c': 2}, 1)
    """
    layer = _layers(nodes, edges, ends)
    rows: list[list[Node]] = [[] for _ in range(1 + max(layer.values(), default=0))]
    sizes: dict[Node, float] = {node: width for node, width in widths.items()}  # noqa: C416
    for node in nodes:
        rows[layer[node]].append(node)
    above: dict[Node, list[Node]] = {}
    below: dict[Node, list[Node]] = {}
    bends: dict[tuple[str, str], list[Node]] = {}
    for edge in dict.fromkeys(edges):
        chain: list[Node] = [edge[0]]
        for row in range(layer[edge[0]] + 1, layer[edge[1]]):
            bend = (edge, row)
            rows[row].append(bend)
            sizes[bend] = 0.0
            chain.append(bend)
        bends[edge] = chain[1:]
        chain.append(edge[1])
        for one, other in pairwise(chain):
            below.setdefault(one, []).append(other)
            above.setdefault(other, []).append(one)
    _order(rows, above, below)
    x = _coordinates(rows, above, below, sizes, gap)
    left = min((x[node] - sizes[node] / 2 for row in rows for node in row), default=0.0)
    right = max((x[node] + sizes[node] / 2 for row in rows for node in row), default=0.0)
    placed = {node: x[node] - left for node in nodes}
    routes = {edge: [x[bend] - left for bend in chain] for edge, chain in bends.items()}
    return Layered(layer, placed, routes, right - left)


def _layers(
    nodes: Sequence[str], edges: Sequence[tuple[str, str]], ends: Collection[str]
) -> dict[str, int]:
    """Return the longest path to each node; a source comes just above what first reads it."""
    layer = dict.fromkeys(nodes, 0)
    readers: dict[str, list[str]] = {}
    fed: set[str] = set()
    for one, other in edges:
        readers.setdefault(one, []).append(other)
        fed.add(other)
    for node in nodes:
        for other in readers.get(node, ()):
            layer[other] = max(layer[other], layer[node] + 1)
    for node in nodes:
        if node not in fed and node in readers and node not in ends:
            layer[node] = min(layer[other] for other in readers[node]) - 1
    last = max(layer.values(), default=0)
    return layer | {node: last for node in ends if node in fed}


def _order(
    rows: list[list[Node]], above: Mapping[Node, list[Node]], below: Mapping[Node, list[Node]]
) -> None:
    """Order each row by the mean place of its neighbours, downwards and upwards in turn."""
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        neighbours = above if downwards else below
        for row in rows if downwards else rows[::-1]:
            places = {node: i for other in rows for i, node in enumerate(other)}
            row.sort(key=_mean_of(neighbours, places))


def _mean_of(
    neighbours: Mapping[Node, list[Node]], places: Mapping[Node, int]
) -> Callable[[Node], float]:
    def mean(node: Node) -> float:
        near = neighbours.get(node)
        return sum(places[n] for n in near) / len(near) if near else places[node]

    return mean


def _coordinates(
    rows: list[list[Node]],
    above: Mapping[Node, list[Node]],
    below: Mapping[Node, list[Node]],
    sizes: Mapping[Node, float],
    gap: float,
) -> dict[Node, float]:
    x: dict[Node, float] = {}
    for row in rows:  # packed, to begin with
        _place(row, [0.0] * len(row), [1.0] * len(row), sizes, gap, x)
    for sweep in range(2 * _SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            wished, pulls = [], []
            for node in row:
                near = neighbours.get(node) or [node]
                # Chains of nodes are to be straight first, then long edges, then the rest.
                weights = [_weight(sizes[node], sizes[n]) for n in near]
                total = sum(weights)
                wished.append(sum(w * x[n] for w, n in zip(weights, near, strict=True)) / total)
                pulls.append(total)
            _place(row, wished, pulls, sizes, gap, x)
    return x


def _weight(one: float, other: float) -> float:
    """Return how much a line should be straight, by the widths of its ends; a bend has none."""
    if one and other:
        return 8.0
    return 1.0 if one or other else 4.0


def _place(
    row: Sequence[Node],
    wished: Sequence[float],
    pulls: Sequence[float],
    sizes: Mapping[Node, float],
    gap: float,
    x: dict[Node, float],
) -> None:
    """Place a row as near to what is wished as its order and widths allow (least squares)."""
    offsets, offset = [], 0.0
    for i, node in enumerate(row):
        if i:
            offset += (sizes[row[i - 1]] + sizes[node]) / 2 + gap
        offsets.append(offset)
    groups: list[tuple[float, float, int]] = []  # mean of what is wished, pull, members
    for want, pull, offset in zip(wished, pulls, offsets, strict=True):
        groups.append((want - offset, pull, 1))
        while len(groups) > 1 and groups[-2][0] > groups[-1][0]:
            one, other = groups[-2], groups.pop()
            total = one[1] + other[1]
            mean = (one[0] * one[1] + other[0] * other[1]) / total
            groups[-1] = (mean, total, one[2] + other[2])
    places = [mean for mean, _, members in groups for _ in range(members)]
    for node, place, offset in zip(row, places, offsets, strict=True):
        x[node] = place + offset
