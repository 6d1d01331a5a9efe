"""Neighbours that kernels run as one: gated activations, modulations, biases, routers, experts.

Every rule looks at a node and the one node that reads its result; what remains unread is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from accelsim.errors import GraphError
from accelsim.workload.importers._torch_attention import fuse_attention
from accelsim.workload.importers._torch_moe import fuse_experts
from accelsim.workload.importers._torch_nodes import Context, Node
from accelsim.workload.importers._torch_recording import View
from accelsim.workload.importers._torch_rules import INDEX, UNARY
from accelsim.workload.ops.elementwise import OPS_PER_ELEMENT

__all__ = ["fuse", "live"]


class _Uses:
    """Who makes and who reads each value."""

    def __init__(self, context: Context, nodes: list[Node], results: Iterable[View]) -> None:
        self.maker = {view.value: node for node in nodes for view in node.writes}
        self.count = Counter(view.value for node in nodes for view in node.reads)
        self.count.update(context.resolve(view).value for view in results)

    def only_maker(self, view: View, kind: str = "elementwise") -> Node | None:
        """Return the node that makes a value of which this is the only use."""
        node = self.maker.get(view.value)
        single = node is not None and node.kind == kind and self.count[view.value] == 1
        return node if single else None


def fuse(context: Context, nodes: list[Node]) -> list[Node]:
    """Return the nodes with neighbours fused and unread ones dropped."""
    results = context.recording.results
    for node in nodes:
        node.reads = [context.resolve(view) for view in node.reads]
    nodes = _once(context, live(context, nodes))
    nodes = fuse_attention(context, fuse_experts(context, nodes))
    nodes = _trim(nodes, context)
    for rule in (_bias, _gate, _modulate, _gated_add):
        uses = _Uses(context, nodes, results)
        gone: set[int] = set()
        for node in nodes:
            if id(node) not in gone:
                gone |= {id(fused) for fused in rule(context, node, uses)}
        nodes = [node for node in nodes if id(node) not in gone]
    nodes = live(context, nodes)
    for node in nodes:
        if node.kind == INDEX:
            raise GraphError(
                f"module `{node.path}`: `aten.{node.suffix}` is part of no routing of experts; say"
                f" what it costs like, map={{'aten.{node.suffix}': 'threshold'}}"
            )
    _label(context, nodes)
    return nodes


def _label(context: Context, nodes: list[Node]) -> None:
    """Name what position and module say: the output head, residual additions, embeddings."""
    for node in nodes:
        if node.label == "linear" and node.path.rpartition(".")[2] in _HEADS:
            node.label = "lm_head"
        moving = [view for view in node.reads if not context.is_weight(view)]
        if node.label == "elementwise" and node.function == "add" and len(moving) == 2:
            whole = all(view.elements == node.writes[0].size for view in moving)
            node.label = "residual" if whole else node.label


_HEADS: Final = frozenset({"lm_head", "embed_out", "output_projection"})
"""Last part of the path of a language model's output head."""


def live(context: Context, nodes: list[Node]) -> list[Node]:
    """Return the nodes whose results a later one, the caller, a cache or a state needs."""
    needed = {context.resolve(view).value for view in context.recording.results}
    kept: list[Node] = []
    for node in reversed(nodes):
        lasting = any(context.values[v.value].origin in ("cache", "state") for v in node.writes)
        if lasting or any(view.value in needed for view in node.writes):
            needed.update(view.value for view in node.reads)
            kept.append(node)
    return kept[::-1]


def _trim(nodes: list[Node], context: Context) -> list[Node]:
    """Cut a causal convolution down to the outputs that are read."""
    readers: dict[int, list[tuple[Node, int]]] = {}
    for node in nodes:
        for place, view in enumerate(node.reads):
            readers.setdefault(view.value, []).append((node, place))
    for node in nodes:
        if node.kind != "conv" or node.dims["out_height"] != 1:
            continue
        out, width = node.writes[0], node.dims["out_width"]
        parts = {reader.reads[place].part for reader, place in readers.get(out.value, [])}
        part = parts.pop() if len(parts) == 1 else None
        if part is None or part.period != width or part.start:
            continue
        node.dims["out_width"] = part.width
        shape = (*out.shape[:-1], part.width)
        context.retype(out.value, shape=shape)
        whole = replace(out, shape=shape, elements=out.elements // width * part.width)
        node.writes = [whole]
        for reader, place in readers[out.value]:
            reader.reads[place] = replace(reader.reads[place], part=None)
    return nodes


def _once(context: Context, nodes: list[Node]) -> list[Node]:
    """Keep the first of elementwise nodes that compute the same from the same, as compilers do."""
    seen: dict[Any, Node] = {}
    kept: list[Node] = []
    for node in nodes:
        node.reads = [context.resolve(view) for view in node.reads]
        if node.kind == "elementwise" and len(node.writes) == 1:
            reads = tuple((view.value, view.part, view.shape) for view in node.reads)
            numbers = tuple(sorted(node.attributes.items(), key=str))
            key = (numbers, tuple(node.dims.items()), reads, node.writes[0].dtype)
            first = seen.setdefault(key, node)
            if first is not node and node.function in UNARY:
                context.restate(node.writes[0], first.writes[0])
                continue
        kept.append(node)
    return kept


Fusion = Callable[[Context, Node, _Uses], list[Node]]


def _bias(context: Context, node: Node, uses: _Uses) -> list[Node]:
    """Linear layer + vector of parameters -> its bias."""
    if node.kind != "elementwise" or node.function != "add" or len(node.reads) != 2:
        return []
    for product, vector in (node.reads, node.reads[::-1]):
        made = uses.only_maker(product, "matmul")
        if made is None or made.label == "matmul" or len(made.reads) > 2:
            continue
        if "experts" not in made.dims and context.is_weight(vector) \
                and vector.elements == made.dims["n"]:  # fmt: skip
            # The product moves to where its bias is known; nothing between reads it.
            node.kind, node.dims, node.label = "matmul", made.dims, made.label
            node.path, node.suffix, node.attributes = made.path, made.suffix, made.attributes
            node.reads = [*made.reads, vector]
            return [made]
    return []


def _gate(context: Context, node: Node, uses: _Uses) -> list[Node]:
    """Activation times another operand -> gated activation."""
    del context
    if node.function != "mul" or len(node.reads) != 2 or node.kind != "elementwise":
        return []
    for place in (0, 1):
        act = uses.only_maker(node.reads[place])
        other = node.reads[1 - place]
        size = node.writes[0].size
        if act is None or len(act.reads) != 1 or f"{act.function}_mul" not in OPS_PER_ELEMENT:
            continue
        if act.writes[0].size != size or act.reads[0].dtype != other.dtype:
            continue
        node.attributes = {"function": f"{act.function}_mul"}
        node.reads, node.label = [act.reads[0], other], "activation"
        return [act]
    return []


def _modulate(context: Context, node: Node, uses: _Uses) -> list[Node]:
    """``x (1 + scale) + shift`` -> modulation."""
    del context
    if node.function != "add" or len(node.reads) != 2 or node.kind != "elementwise":
        return []
    for product, shift in (node.reads, node.reads[::-1]):
        mul = uses.only_maker(product)
        if mul is None or mul.function != "mul" or len(mul.reads) != 2:
            continue
        for x, factor in (mul.reads, mul.reads[::-1]):
            one = uses.only_maker(factor)
            if one is None or one.function != "add" or len(one.reads) != 1:
                continue
            node.attributes = {"function": "modulate"}
            node.reads, node.label = [x, one.reads[0], shift], "modulation"
            return [mul, one]
    return []


def _gated_add(context: Context, node: Node, uses: _Uses) -> list[Node]:
    """``x + gate y`` with a gate per row or column -> gated addition."""
    del context
    if node.function != "add" or len(node.reads) != 2 or node.kind != "elementwise":
        return []
    for product, x in (node.reads, node.reads[::-1]):
        mul = uses.only_maker(product)
        if mul is None or mul.function != "mul" or len(mul.reads) != 2:
            continue
        small = min(view.elements for view in mul.reads)
        if small < node.writes[0].size:
            node.attributes = {"function": "gated_add"}
            node.reads, node.label = [x, *mul.reads], "residual"
            return [mul]
    return []
