"""Finds the best loop nest of a problem on a hierarchy, and says how far from the best it may be.

Partial nests grow loop by loop; those that cannot beat the best known, and those that another
of equal remaining extents beats in everything, are dropped, which loses no optimum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from accelsim.errors import MappingError
from accelsim.nest.accounting import ACCOUNTINGS, Accounting
from accelsim.nest.evaluate import Figures
from accelsim.nest.hierarchy import Hierarchy
from accelsim.nest.mapper._search_space import paddings
from accelsim.nest.mapper._task import MOST_LABELS, Objective, Task
from accelsim.nest.mapper.constraint import Constraint
from accelsim.nest.nest import Nest
from accelsim.nest.problem import Problem

__all__ = ["MOST_LABELS", "Found", "Objective", "search"]

_OWN: Final = ACCOUNTINGS["accelsim"]


@dataclass(frozen=True)
class Found:
    """The best nest.

    Attributes
    ----------
    nest : Nest
    figures : Figures
        By the rules asked for.
    bound : float
        No nest of these factors has less of the objective (s, pJ, pJ s, or bits).
    gap : float
        How much more the nest has, as a part of `bound`; 0 where it is proven best.
    tried : int
        Nests and parts of nests that were priced.
    """

    nest: Nest
    figures: Figures
    bound: float
    gap: float
    tried: int


def search(
    problem: Problem,
    hierarchy: Hierarchy,
    objective: Objective = "latency",
    *,
    rules: Accounting = _OWN,
    constraints: Mapping[str, Constraint] | None = None,
    pad: bool = True,
    most_labels: int = MOST_LABELS,
) -> Found:
    """Return the best nest, of equal ones that with the least of latency and energy.

    Parameters
    ----------
    problem, hierarchy
        What to map where.
    objective : {"latency", "energy", "edp", "traffic"}
    rules : Accounting
        What is counted.
    constraints : mapping of str to Constraint, optional
        Level -> what a mapping fixes there.
    pad : bool
        Also tries sizes padded to multiples of the fan-outs (imperfect factors).
    most_labels : int
        Partial nests that are kept at a time, those that promise most; what is dropped counts in
        the bound, so that the gap says what it may have cost.

    Raises
    ------
    MappingError
        If no nest is left; names the constraint, or the level, that rules out all.

    Examples
    --------
    >>> from accelsim.nest import Fanout, Hierarchy, Storage, matmul
    >>> device = Hierarchy(
    ...     (
    ...         Storage("DRAM", read_pj_per_bit=10, write_pj_per_bit=10, read_bits_per_cycle=64),
    ...         Fanout("PEs", 16, frozenset({"input"})),
    ...         Storage("Register", 64, keep=frozenset({"output"})),
    ...     )
    ... )
    >>> found = search(matmul(16, 16, 16), device, "energy")
    >>> found.gap, round(found.figures.energy_pj)
    (0.0, 368640)
    """
    task = Task(problem, hierarchy, objective, rules, dict(constraints or {}), most_labels)
    sizes = list(paddings(problem, hierarchy)) if pad else [problem.sizes]
    start = None
    if objective == "latency":  # the nest of least energy is soon found, and often the fastest
        first = Task(problem, hierarchy, "energy", rules, task.constraints, most_labels)
        thrifty = first.best(sizes)
        task.tried = first.tried
        start = None if thrifty is None else task.evaluated(thrifty.nest)
        if start is not None and start.value <= task.ideal_s * (1.0 + 1e-9):
            return Found(start.nest, start.figures, start.value, 0.0, task.tried)
    best = task.best(sizes, start)
    if best is None:
        raise MappingError(_emptied(problem, hierarchy, rules, dict(constraints or {}), task))
    bound = min(best.value, task.proven(best))
    gap = best.value / bound - 1.0 if bound > 0 else 0.0
    return Found(best.nest, best.figures, bound, max(0.0, gap), task.tried)


def _emptied(
    problem: Problem, hierarchy: Hierarchy, rules: Accounting, constraints: dict[str, Constraint],
    task: Task,
) -> str:  # fmt: skip
    """Return which constraint rules out all nests: that without which there are some."""
    for level, constraint in constraints.items():
        others = {name: other for name, other in constraints.items() if name != level}
        freer = Task(problem, hierarchy, "energy", rules, others)
        if freer.best([problem.sizes]) is not None:
            return f"no mapping is left: the constraint on `{level}` ({constraint}) rules out all"
    node = hierarchy.nodes[min(task.reached, len(hierarchy.nodes) - 1)].name
    both = "; the constraints together rule out all" if constraints else ""
    return f"no mapping is left at level `{node}`: nothing fits{both}"
