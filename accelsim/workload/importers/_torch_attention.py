"""Attention that a module writes out, product, softmax, product, as the one operator it is."""

from __future__ import annotations

import math
from collections import Counter

from accelsim.workload.importers._torch_nodes import Context, Node
from accelsim.workload.importers._torch_recording import View

__all__ = ["fuse_attention"]


def fuse_attention(context: Context, nodes: list[Node]) -> list[Node]:
    """Return the nodes with every score product, softmax and context product as one attention.

    Between the three may stand additions of a bias, scalings, masks and format changes; all three
    are issued by one module, and nothing else reads the scores.
    """
    if not any(node.kind == "softmax" for node in nodes):
        return nodes
    makers = {view.value: node for node in nodes for view in node.writes}
    readers: dict[int, list[Node]] = {}
    for node in nodes:
        for view in node.reads:
            readers.setdefault(view.value, []).append(node)
    uses = Counter(context.resolve(view).value for view in context.recording.results)
    gone: set[int] = set()
    for node in nodes:
        if node.kind != "softmax":
            continue
        above = _above(node, makers, readers, uses)
        below = _below(node, readers, uses)
        if above is None or below is None or above[-1].path != below[-1].path:
            continue
        made = _attention(context, above, below)
        if made is not None:
            last = below[-1]
            last.kind, last.dims, last.reads = "attention", made.dims, made.reads
            last.attributes, last.label = made.attributes, "attention"
            last.suffix = "attention"
            gone |= {id(part) for part in (*above, node, *below[:-1])}
    return [node for node in nodes if id(node) not in gone]


def _above(
    node: Node, makers: dict[int, Node], readers: dict[int, list[Node]], uses: Counter[int]
) -> list[Node] | None:
    """Return the nodes from a softmax up to the score product, that one last."""
    chain: list[Node] = []
    value = node.reads[0].value
    while True:
        made = makers.get(value)
        if made is None or len(readers[value]) != 1 or uses[value]:
            return None
        chain.append(made)
        if made.kind == "matmul":
            return chain if made.label == "matmul" else None
        if made.kind != "elementwise":
            return None
        size = made.writes[0].size
        inside = [view.value for view in made.reads if view.elements == size]
        scores = [v for v in inside if v in makers and _scores(makers, v)]
        if len(scores) != 1:
            return None
        value = scores[0]


def _scores(makers: dict[int, Node], value: int) -> bool:
    """Return whether a value comes from a product of activations through elementwise nodes."""
    made = makers.get(value)
    for _ in range(8):
        if made is None or made.kind not in ("elementwise", "matmul"):
            return False
        if made.kind == "matmul":
            return made.label == "matmul"
        size = made.writes[0].size
        whole = [view for view in made.reads if view.elements == size]
        made = makers.get(whole[0].value) if whole else None
    return False


def _below(node: Node, readers: dict[int, list[Node]], uses: Counter[int]) -> list[Node] | None:
    """Return the nodes from a softmax down to the context product, that one last."""
    chain: list[Node] = []
    value = node.writes[0].value
    while True:
        found = readers.get(value, [])
        if len(found) != 1 or uses[value]:
            return None
        chain.append(found[0])
        if found[0].kind == "matmul":
            return chain if found[0].reads[0].value == value else None
        if found[0].kind != "elementwise" or len(found[0].reads) != 1:
            return None
        value = found[0].writes[0].value


def _attention(context: Context, above: list[Node], below: list[Node]) -> Node | None:
    """Return kind, dims and operands of the fused operator."""
    score, product = above[-1], below[-1]
    shape = score.writes[0].shape
    if len(shape) < 3 or shape[-2] * shape[-1] == 0:
        return None
    heads = shape[-3] if len(shape) > 3 else 1
    batch = math.prod(shape[:-2]) // heads
    q_len, kv_len = shape[-2:]
    query, key, value = score.reads[0], score.reads[1], product.reads[1]
    width = score.dims["k"]
    value_dim = product.writes[0].shape[-1]
    kv_heads = max(1, min(heads, key.elements // (batch * kv_len * width)))
    dims = {
        "batch": batch, "heads": heads, "kv_heads": kv_heads if heads % kv_heads == 0 else heads,
        "q_len": q_len, "kv_len": kv_len, "head_dim": width, "value_dim": value_dim,
    }  # fmt: skip
    bias = _bias(context, above, heads * q_len * kv_len)
    return Node(
        "attention", product.path, "attention", [query, key, value, *bias], product.writes, dims,
        {"bias": True} if bias else {}, "attention",
    )  # fmt: skip


def _bias(context: Context, above: list[Node], pairs: int) -> list[View]:
    """Return the array that is added to the scores, if there is one that is no constant mask."""
    for node in above[:-1]:
        for view in node.reads:
            other = view.elements % pairs == 0 and view.value not in context.constant
            if node.function == "add" and other and view.value != node.reads[0].value:
                return [view]
    return []
