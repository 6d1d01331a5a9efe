"""What sliding windows save, compiled: overlap kept from step to step, equal tiles of neighbours.

Both for tensors of which an axis is a sum of dims, as the image of a convolution.

References
----------
.. [1] NVlabs/timeloop 0131997, src/loop-analysis/nest-analysis.cpp and operation-type.cpp: the
   difference of two tiles is taken while the tile moves by equal steps, else it is brought whole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelsim.jit import kernel
from accelsim.nest.hierarchy import HierarchyArrays
from accelsim.nest.problem import ProblemArrays

__all__ = ["alike", "new_part"]

Ints = NDArray[np.int64]


@kernel
def new_part(
    problem: ProblemArrays, hierarchy: HierarchyArrays, factor: Ints, order: Ints, t: int,
    node: int, inner: Ints, extents: Ints,
) -> float:  # fmt: skip
    """Return which part of its tiles tensor `t` has to bring into a memory.

    If the innermost loop outside a memory moves the tile by less than its side, steps after the
    first bring only what was not there; under any other loop tiles are brought whole.

    Parameters
    ----------
    factor, order : (N, D) int64
        The nest.
    inner : (N + 1, D) int64
        Extent of each dim at and inside each node.
    extents : (D,) int64
        Of a tile.
    """
    for outer in range(node - 1, -1, -1):
        if not hierarchy.storage[outer]:
            continue
        for place in range(order.shape[1] - 1, -1, -1):
            d = order[outer, place]
            repeat = factor[outer, d]
            if repeat == 1:
                continue
            if not problem.relevant[t, d]:
                return 1.0
            stays = 1.0
            for axis in range(problem.coefficients.shape[1]):
                side = 1
                for e in range(extents.shape[0]):
                    side += problem.coefficients[t, axis, e] * (extents[e] - 1)
                step = problem.coefficients[t, axis, d] * inner[outer + 1, d]
                stays *= max(0.0, 1.0 - step / side)
            return float(1.0 - stays * (repeat - 1) / repeat)
    return 1.0


@kernel
def alike(problem: ProblemArrays, factor: Ints, t: int, node: int, inner: Ints) -> float:
    """Return how many instances of a fan-out there are for each different tile of tensor `t`.

    Instances that are unrolled over dims of one axis may stand at equal places of it: kernel row
    ``r`` of result row ``p`` reads what row ``r - stride`` of the next does.
    """
    dims = factor.shape[1]
    same = 1.0
    for d in range(dims):
        if not problem.relevant[t, d]:
            same *= factor[node, d]
    for axis in range(problem.coefficients.shape[1]):
        instances, last = 1, 0
        for d in range(dims):
            step = problem.coefficients[t, axis, d] * inner[node + 1, d]
            if step > 0:
                instances *= factor[node, d]
                last += step * (factor[node, d] - 1)
        if instances == 1:
            continue
        places = np.zeros(last + 1, np.bool_)
        places[0] = True
        for d in range(dims):
            step = problem.coefficients[t, axis, d] * inner[node + 1, d]
            if step == 0 or factor[node, d] == 1:
                continue
            for at in range(last, -1, -1):
                if places[at]:
                    for i in range(1, factor[node, d]):
                        if at + i * step <= last:
                            places[at + i * step] = True
        same *= instances / places.sum()
    return same
