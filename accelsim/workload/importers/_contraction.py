"""Which dims of a matrix product the ranks of an Einsum are.

Ranks of both operands and the result are independent products, those of one operand and the result
are rows or columns, those of both operands alone are summed over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from accelsim.errors import GraphError
from accelsim.workload._author_value import Value
from accelsim.workload.author import Graph
from accelsim.workload.tensor import Role

__all__ = ["Contraction", "add_einsum", "chain", "contraction", "multiply"]


class Contraction(NamedTuple):
    """Ranks by the dim of a matrix product that they belong to."""

    batch: tuple[str, ...]
    m: tuple[str, ...]
    n: tuple[str, ...]
    k: tuple[str, ...]

    def dims(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return the dims of the product."""
        return {
            name: math.prod(sizes[rank] for rank in ranks)
            for name, ranks in self._asdict().items()
        }


def contraction(left: Sequence[str], right: Sequence[str], out: Sequence[str]) -> Contraction:
    """Return the dims of an Einsum of two operands.

    Raises
    ------
    GraphError
        If a rank stands twice in an operand, or in one operand alone, or comes from nowhere.

    Examples
    --------
    >>> contraction("bhqd", "bhkd", "bhqk")
    Contraction(batch=('b', 'h'), m=('q',), n=('k',), k=('d',))
    """
    for ranks in (left, right, out):
        twice = [rank for rank in ranks if list(ranks).count(rank) > 1]
        if twice:
            raise GraphError(f"rank `{twice[0]}` stands twice in [{', '.join(ranks)}]")
    for rank in out:
        if rank not in left and rank not in right:
            raise GraphError(f"rank `{rank}` of the result stands in no operand")
    for rank in (*left, *right):
        if (rank in left) != (rank in right) and rank not in out:
            raise GraphError(f"rank `{rank}` of one operand alone is not in the result")
    both = [rank for rank in left if rank in right]
    return Contraction(
        tuple(rank for rank in both if rank in out),
        tuple(rank for rank in left if rank not in right),
        tuple(rank for rank in right if rank not in left),
        tuple(rank for rank in both if rank not in out),
    )


def add_einsum(graph: Graph, equation: str, operands: Sequence[Value], name: str) -> Value:
    """Add an Einsum in NumPy's notation; several operands are multiplied from left to right.

    Raises
    ------
    GraphError
        If a rank stands twice in an operand, or shapes do not fit.
    """
    text = equation.replace(" ", "")
    terms, _, result = text.partition("->")
    parts = terms.split(",")
    if "." in text or "->" not in text or len(parts) != len(operands):
        raise graph.error("einsum", name, f"`{equation}` is not of the form `ab,bc->ac`")
    sizes: dict[str, int] = {}
    for ranks, x in zip(parts, operands, strict=True):
        if len(ranks) != len(x.shape):
            raise graph.error("einsum", name, f"`{ranks}` has not as many ranks as {x}")
        for rank, size in zip(ranks, x.shape, strict=True):
            if sizes.setdefault(rank, size) != size:
                raise graph.error("einsum", name, f"rank `{rank}` is {sizes[rank]} and {size}")
    try:
        return chain(graph, parts, operands, result, sizes, name)
    except GraphError as error:
        raise graph.error("einsum", name, str(error)) from None


def chain(
    graph: Graph,
    ranks: Sequence[Sequence[str]],
    operands: Sequence[Value],
    out: Sequence[str],
    sizes: Mapping[str, int],
    name: str,
    label: str = "",
) -> Value:
    """Add the product of several operands, from left to right; of one, its sum over some ranks."""
    x, have = operands[0], list(ranks[0])
    if len(operands) == 1:
        gone = [place for place, rank in enumerate(have) if rank not in out]
        kept = [rank for rank in have if rank in out]
        if sorted(kept) != sorted(out) or len(set(have)) < len(have):
            raise GraphError(f"[{', '.join(out)}] does not follow from [{', '.join(have)}]")
        y = graph.reduce(x, "sum", gone, name=name) if gone else x
        return graph.transpose(y, *(kept.index(rank) for rank in out)) if kept else y
    for place in range(1, len(operands)):
        last = place == len(operands) - 1
        later = {rank for other in ranks[place + 1 :] for rank in other}
        joined = dict.fromkeys((*have, *ranks[place]))
        made = out if last else [rank for rank in joined if rank in later or rank in out]
        called = name if last else f"{name}.{place}"
        pair = (have, ranks[place]), (x, operands[place])
        x, have = multiply(graph, *pair, made, sizes, called, label), list(made)
    return x


def multiply(
    graph: Graph,
    ranks: Sequence[Sequence[str]],
    operands: Sequence[Value],
    out: Sequence[str],
    sizes: Mapping[str, int],
    name: str,
    label: str = "",
) -> Value:
    """Add the product of two operands over their ranks.

    A weight becomes the second operand; where nothing is summed, and one operand has no rank of
    its own, it is an elementwise product.
    """
    (left, right), (a, b) = ranks, operands
    if a.role is Role.WEIGHT and b.role is not Role.WEIGHT:
        left, right, a, b = right, left, b, a
    found = contraction(left, right, out)
    shape = tuple(sizes[rank] for rank in out)
    dims = found.dims(sizes)
    if not found.k and (not found.m or not found.n):
        y = graph.elementwise("mul", _aligned(graph, a, left, out), _aligned(graph, b, right, out),
                              name=name, label=label)  # fmt: skip
        return graph.reshape(y, shape)
    weighted = b.role is Role.WEIGHT
    name = graph.called(name)
    y = graph.made(name, shape, a.dtype)
    pair = [graph.whole(x) if weighted or x.distinct < x.elements else x for x in (a, b)]
    label = label or ("linear" if weighted else "matmul")
    graph.operator(name, "matmul", dims, pair, (y,), label=label)
    return y


def _aligned(graph: Graph, x: Value, ranks: Sequence[str], out: Sequence[str]) -> Value:
    """Return an operand with its ranks in the result's order, and 1 for those it lacks."""
    order = sorted(range(len(ranks)), key=lambda place: list(out).index(ranks[place]))
    turned = graph.transpose(x, *order) if order else x
    size = dict(zip((ranks[place] for place in order), turned.shape, strict=True))
    return graph.reshape(turned, tuple(size.get(rank, 1) for rank in out))
