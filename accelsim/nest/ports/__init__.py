"""Arrays of ported memories: what each order of loops costs there, and which is best.

Every tensor has memories of its own, each port serves the transfers that it names, and all
tensors cut one order of temporal loops where they like.  Reproduces ZigZag's figures.

Notes
-----
Cycles are those of the array, plus the stalls of the busiest port, plus first fills and last
results that nothing hides.  Left out, as there: the latency of a memory, the fill of a systolic
array (its drain counts once for an operator), and bank conflicts.

References
----------
.. [1] L. Mei et al., "ZigZag: Enlarging Joint Architecture-Mapping Design Space Exploration for
   DNN Accelerators", IEEE Trans. Computers 70(8), 2021; figures of zigzag-dse 3.8.5 and 3.9.1.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from accelsim.errors import MappingError, nearest
from accelsim.nest.nest import Loop
from accelsim.nest.ports._arrays import Floats, Ints
from accelsim.nest.ports._checks import check_cover, check_room, cut_table, misfit
from accelsim.nest.ports._pack import PortedTask, mirrors
from accelsim.nest.ports._search import best_order, price_order
from accelsim.nest.ports._stalls import COSTS, DRAIN, ENERGY, IDEAL, OFFLOAD, ONLOAD, STALL
from accelsim.nest.ports._types import Hiding, Link, Port, PortedArray, PortedMemory

__all__ = [
    "FoundOrder", "Hiding", "Link", "Objective", "Port", "PortFigures", "PortedArray",
    "PortedMemory", "PortedTask", "evaluate_order", "factors", "search_order",
]  # fmt: skip

Objective = Literal["latency", "energy", "edp"]

_OBJECTIVES: Final = ("latency", "energy", "edp")
_MOST_ORDERS: Final = 50_000_000  # minutes


@dataclass(frozen=True, slots=True)
class PortFigures:
    """What an order of loops costs.

    Attributes
    ----------
    ideal_cycles : int
        Of the array if nothing were waited for.
    stall_cycles : int
        Waiting for the busiest port.
    onload_cycles, offload_cycles : float
        First fills and last results that nothing hides.
    drain_cycles : int
        For the last results to leave a systolic array.
    energy_pj : float
        Dynamic energy of memories and arithmetic.
    levels : dict of str to tuple of tuple of Loop
        Loops that run at each memory of a tensor, innermost memory and loop first.
    """

    ideal_cycles: int
    stall_cycles: int
    onload_cycles: float
    offload_cycles: float
    drain_cycles: int
    energy_pj: float
    levels: dict[str, tuple[tuple[Loop, ...], ...]]

    @property
    def cycles(self) -> float:
        """All cycles, one after the other."""
        waits = self.stall_cycles + self.onload_cycles + self.offload_cycles
        return self.ideal_cycles + waits + self.drain_cycles


@dataclass(frozen=True, slots=True)
class FoundOrder:
    """The best order of a set of loops.

    Attributes
    ----------
    order : tuple of Loop
        Innermost first.
    figures : PortFigures
    tried : int
        Orders that were priced; mirror images count as one.
    """

    order: tuple[Loop, ...]
    figures: PortFigures
    tried: int


def factors(task: PortedTask, limit: int | None = None) -> tuple[Loop, ...]:
    """Return the temporal loops of a task: prime factors of its passes over each dim.

    Parameters
    ----------
    task : PortedTask
    limit : int, optional
        Loops at most: while there are more, the two smallest of the dim with the most become
        one.  Each dim keeps one.

    Examples
    --------
    >>> from accelsim.nest import matmul
    >>> task = PortedTask(matmul(12, 4, 8), PortedArray({}, (), 0.0), {})
    >>> [tuple(loop) for loop in factors(task, 4)]
    [('m', 12), ('n', 4), ('k', 2), ('k', 4)]
    """
    primes = {dim: _primes(passes) for dim, passes in task.passes.items() if passes > 1}
    most = max(limit, len(primes)) if limit is not None else math.inf
    while sum(map(len, primes.values())) > most:
        longest = max(primes, key=lambda dim: len(primes[dim]))
        small, next_small, *rest = primes[longest]
        primes[longest] = sorted([*rest, small * next_small])
    return tuple(Loop(dim, factor) for dim, found in primes.items() for factor in found)


def _primes(number: int) -> list[int]:
    found, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return [*found, number] if number > 1 else found


def evaluate_order(
    task: PortedTask, order: Sequence[Loop], cuts: Mapping[str, Sequence[int]] | None = None
) -> PortFigures:
    """Return what an order of temporal loops costs.

    Parameters
    ----------
    task : PortedTask
    order : sequence of Loop
        Innermost first; for each dim the factors multiply to the task's passes over it.
    cuts : mapping of str to sequence of int, optional
        Tensor -> how many loops, from the innermost, run inside or at each of its memories.
        Without, each memory from the innermost takes those that spare most traffic above it.

    Raises
    ------
    MappingError
        If the loops do not cover the problem, or do not fit.
    """
    check_cover(task, order)
    a, names = task.arrays, task.problem.dims
    dims = np.array([names.index(loop.dim) for loop in order], np.int64)
    loops = np.array([loop.factor for loop in order], np.int64)
    table = cut_table(task, len(order), cuts)
    cost = np.zeros(COSTS)
    if cuts is not None:
        check_room(task, dims, loops, table)
    if not price_order(a, dims, loops, table, cost):
        raise MappingError(misfit(task))
    return _figures(task, order, table, cost)


def search_order(
    task: PortedTask,
    objective: Objective = "latency",
    *,
    limit: int = 6,
    loops: Sequence[Loop] | None = None,
) -> FoundOrder:
    """Return the best of all distinct orders of a task's loops.

    Parameters
    ----------
    task : PortedTask
    objective : {"latency", "energy", "edp"}
        Of equal latencies the least energy wins, and the other way round.
    limit : int
        As of `factors`; the time grows with its factorial.  Tries coarser factors as well, so
        that more is never worse: memories take loops to spare traffic, not time.
    loops : sequence of Loop, optional
        Those to put in order, and no others; ``factors(task, 6)`` is what ZigZag tries.

    Raises
    ------
    MappingError
        If no order fits, the objective is unknown, or there are too many orders.

    Notes
    -----
    Proven best of the orders tried, with the cuts that memories choose: another order of finer
    factors, or other cuts, may be better.  About 150,000 orders a second on one core.
    """
    if objective not in _OBJECTIVES:
        raise MappingError(f"no objective `{objective}`; {nearest(objective, _OBJECTIVES)}")
    sets = [tuple(loops)] if loops is not None else []
    if loops is None:
        least = sum(passes > 1 for passes in task.passes.values())
        sets = list(dict.fromkeys(factors(task, most) for most in range(least, limit + 1)))
        sets = sets or [factors(task, limit)]
    for given in sets:
        check_cover(task, given)
        _check_number(given)
    found = [_best_of(task, objective, given) for given in sets]
    tried = sum(one.tried for one in found if one is not None)
    fitting = [one for one in found if one is not None]
    if not fitting:
        raise MappingError(misfit(task))
    best = min(fitting, key=lambda one: _rank(objective, one.figures))
    return FoundOrder(best.order, best.figures, tried)


def _check_number(given: Sequence[Loop]) -> None:
    orders = math.factorial(len(given))
    for count in Counter(given).values():
        orders //= math.factorial(count)
    if orders > _MOST_ORDERS:
        raise MappingError(
            f"{len(given)} loops have {orders:,} orders, at most {_MOST_ORDERS:,} are tried; "
            "lower the limit"
        )


def _rank(objective: Objective, figures: PortFigures) -> tuple[float, float]:
    latency, energy = figures.cycles, figures.energy_pj
    ranks = {"latency": (latency, energy), "energy": (energy, latency)}
    return ranks.get(objective, (latency * energy, latency))


def _best_of(task: PortedTask, objective: Objective, given: Sequence[Loop]) -> FoundOrder | None:
    """Return the best order of exactly these loops, or None if none fits."""
    number = Counter(given)
    kinds, names = list(number), task.problem.dims
    dim = np.array([names.index(loop.dim) for loop in kinds], np.int64)
    size = np.array([loop.factor for loop in kinds], np.int64)
    counts = np.array([number[loop] for loop in kinds], np.int64)
    places = [(int(d), loop.factor) for d, loop in zip(dim, kinds, strict=True)]
    image = mirrors(task.arrays, places, list(number.values()))
    best, cost = np.zeros(len(given), np.int64), np.zeros(COSTS)
    tried, _ = best_order(
        task.arrays, dim, size, counts, image, _OBJECTIVES.index(objective), best, cost
    )
    if math.isinf(cost[ENERGY]):
        return None
    order = tuple(kinds[i] for i in best)
    return FoundOrder(order, evaluate_order(task, order), tried)


def _figures(
    task: PortedTask,
    order: Sequence[Loop],
    cuts: Ints,
    cost: Floats,
) -> PortFigures:
    levels: dict[str, tuple[tuple[Loop, ...], ...]] = {}
    for t, tensor in enumerate(task.problem.tensors):
        ends = [0, *(int(cut) for cut in cuts[t, : task.arrays.levels[t]])]
        levels[tensor.name] = tuple(
            tuple(order[start:end]) for start, end in itertools.pairwise(ends)
        )
    return PortFigures(
        int(cost[IDEAL]), int(cost[STALL]), float(cost[ONLOAD]), float(cost[OFFLOAD]),
        int(cost[DRAIN]), float(cost[ENERGY]), levels,
    )  # fmt: skip
