"""Every loop nest of a small problem, evaluated one by one: what the mapper is held to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from accelsim.nest import Accounting, Fanout, Hierarchy, Problem, evaluate_many
from accelsim.nest.evaluate import Batch

__all__ = ["best_figures"]


def _factorings(size: int, slots: int) -> list[tuple[int, ...]]:
    """Return every way to write a size as a product of so many factors."""
    if slots == 1:
        return [(size,)]
    return [
        (first, *rest)
        for first in range(1, size + 1)
        if size % first == 0
        for rest in _factorings(size // first, slots - 1)
    ]


def _keeps(problem: Problem, hierarchy: Hierarchy) -> Iterator[np.ndarray]:
    names = [tensor.name for tensor in problem.tensors]
    rows = []
    for i, node in enumerate(hierarchy.nodes):
        if isinstance(node, Fanout):
            rows.append([(False,) * len(names)])
            continue
        must = set(names) if i == 0 else node.keep
        may = set() if i == 0 else node.may_keep
        ways = [(True,) if n in must else (True, False) if n in may else (False,) for n in names]
        rows.append(list(itertools.product(*ways)))
    for combination in itertools.product(*rows):
        yield np.array(combination, np.bool_)


def best_figures(problem: Problem, hierarchy: Hierarchy, rules: Accounting) -> np.ndarray:
    """Return cycles, energy, bits and overflow of every nest, all loop orders tried."""
    nodes, dims = hierarchy.nodes, problem.dims
    splits = [_factorings(size, len(nodes)) for size in problem.sizes]
    factors = np.array(list(itertools.product(*splits))).transpose(0, 2, 1)
    for i, node in enumerate(nodes):
        for d, dim in enumerate(dims):
            if node.dims is not None and dim not in node.dims:
                factors = factors[factors[:, i, d] == 1]
    memories = [
        i for i, node in enumerate(nodes)
        if not isinstance(node, Fanout) and (node.dims is None or len(node.dims) > 1)
    ]  # fmt: skip
    found = []
    permutations = list(itertools.permutations(range(len(dims))))
    for keep in _keeps(problem, hierarchy):
        for chosen in itertools.product(permutations, repeat=len(memories)):
            order = np.tile(np.arange(len(dims)), (len(nodes), 1))
            order[memories] = chosen
            count = len(factors)
            batch = Batch(
                np.ascontiguousarray(factors), np.repeat(order[None], count, 0),
                np.repeat(keep[None], count, 0),
            )  # fmt: skip
            found.append(evaluate_many(problem, hierarchy, batch, rules))
    return np.concatenate(found)
