"""Mixtures of experts: routers with what normalises them, and the bookkeeping of grouped products.

Sorting tokens by expert, counting and undoing it are integer operations of the routing; what
moves data is the dispatch of the tokens and the weighted sum of the results.
"""

from __future__ import annotations

import math
from dataclasses import replace

from accelsim.workload.importers._torch_nodes import Context, Node
from accelsim.workload.importers._torch_recording import View

__all__ = ["expected", "fuse_experts"]

_GONE = "gone"
"""Kind of a node that has become part of another."""


def expected(experts: int, top_k: int, tokens: int) -> int:
    """Return how many experts tokens use that choose uniformly, ``E (1 - (1 - k / E) ** T)``.

    Examples
    --------
    >>> expected(8, 2, 1), expected(8, 2, 512)
    (2, 8)
    """
    if top_k >= experts:
        return experts
    return max(1, round(-experts * math.expm1(tokens * math.log1p(-top_k / experts))))


def fuse_experts(context: Context, nodes: list[Node]) -> list[Node]:
    """Return the nodes with routing, dispatch and combination as one operator each."""
    routes = [node for node in nodes if node.kind == "route"]
    for route in routes:
        if route.kind == _GONE:  # a choice of groups of experts, taken into that of experts
            continue
        _take_in_probabilities(nodes, route)
        _take_in_normalisation(context, nodes, route)
        _take_in_bookkeeping(context, nodes, route)
        _count_experts(nodes, route)
        _dispatch(nodes, route)
        _combine(nodes, route)
    return [node for node in nodes if node.kind != _GONE]


def _readers(nodes: list[Node], values: set[int]) -> list[Node]:
    return [n for n in nodes if n.kind != _GONE and any(v.value in values for v in n.reads)]


def _refresh(context: Context, nodes: list[Node]) -> None:
    for node in nodes:
        node.reads = [context.resolve(view) for view in node.reads]


def _take_in_probabilities(nodes: list[Node], route: Node) -> None:
    """Merge the softmax or sigmoid of a router, and what selects groups, into its choice."""
    makers = {view.value: node for node in nodes for view in node.writes if node.kind != _GONE}
    while (before := makers.get(route.reads[0].value)) is not None:
        simple = before.kind == "softmax" or (
            before.kind == "elementwise" and before.path == route.path
        )
        if not simple or len(_readers(nodes, {before.writes[0].value})) > 1:
            return
        route.reads[0], before.kind = before.reads[0], _GONE


def _take_in_normalisation(context: Context, nodes: list[Node], route: Node) -> None:
    """Merge what turns the chosen probabilities into weights that sum to one."""
    weights, tokens = route.writes[0], route.dims["tokens"]
    chosen = tokens * route.dims["top_k"]
    while True:
        steps = [
            node
            for node in _readers(nodes, {weights.value})
            if node.kind in ("elementwise", "reduce", "softmax")
            and node.writes[0].size in (tokens, chosen)
        ]
        if not steps:
            return
        for node in steps:
            out, node.kind = node.writes[0], _GONE
            if out.size == chosen:
                context.alias[out.value] = weights
            else:  # their sum, which only the division by it reads
                context.constant.add(out.value)
        _refresh(context, nodes)


def _take_in_bookkeeping(context: Context, nodes: list[Node], route: Node) -> None:
    """Merge sorting, counting and reordering of the chosen experts and their weights."""
    weights, indices = route.writes
    limit = max(indices.size, route.dims["experts"])
    known = {indices.value}
    while True:
        _refresh(context, nodes)
        steps = [
            node
            for node in _readers(nodes, known)
            if node.kind not in ("route", "matmul")
            and max(view.size for view in node.writes) <= limit
            and not any(context.is_weight(view) for view in node.reads)
        ]
        if not steps:
            return
        for node in steps:
            node.kind = _GONE
            for view in node.writes:
                number = view.dtype.startswith(("int", "bool"))
                context.alias[view.value] = indices if number else weights
                known.add(view.value)


def _count_experts(nodes: list[Node], route: Node) -> None:
    """Fill in how many experts the rows of a grouped product use, the routing being uniform."""
    tokens, experts, top_k = (route.dims[name] for name in ("tokens", "experts", "top_k"))
    rows = tokens * top_k
    for node in nodes[nodes.index(route) :]:
        if node.kind == "matmul" and node.dims.get("experts", 0) >= experts:
            if node.dims["m"] != rows:
                return
            node.dims["active_experts"] = min(expected(experts, top_k, tokens), rows)


def _dispatch(nodes: list[Node], route: Node) -> None:
    """Name the gather that spreads the tokens over their experts."""
    rows, indices = route.dims["tokens"] * route.dims["top_k"], route.writes[1]
    for node in nodes:
        spread = node.kind == "gather" and any(v.value == indices.value for v in node.reads[1:])
        if spread and node.reads[0].elements < rows * node.dims["columns"]:
            node.label = node.suffix = "dispatch"


def _combine(nodes: list[Node], route: Node) -> None:
    """Merge scaling by the weights, reordering and sum of the results into one operator."""
    weights = route.writes[0]
    for node in nodes:
        values = {view.value for view in node.reads}
        if node.kind != "elementwise" or node.function != "mul" or weights.value not in values:
            continue
        chain = _until_sum(nodes, node)
        if chain:
            source = next(view for view in node.reads if view.value != weights.value)
            _sum(chain, source, replace(weights, part=None))


def _until_sum(nodes: list[Node], node: Node) -> list[Node]:
    """Return the nodes from a scaling to the sum over experts; empty if it does not end there."""
    chain = [node]
    while chain[-1].kind != "reduce":
        found = _readers(nodes, {chain[-1].writes[0].value})
        if len(found) != 1 or found[0].kind not in ("gather", "reduce"):
            return []
        chain.append(found[0])
    return chain


def _sum(chain: list[Node], source: View, weights: View) -> None:
    last = chain[-1]
    last.reads, last.attributes = [source, weights], {"function": "weighted_sum"}
    last.label = last.suffix = "combine"
    for node in chain[:-1]:
        node.kind = _GONE
