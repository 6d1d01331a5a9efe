"""Finds the best loop nest of a problem on a hierarchy, and says how far from the best it may be.

Partial nests grow loop by loop; those that cannot beat the best known, and those that another
of equal remaining extents beats in everything, are dropped, which loses no optimum.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import MappingError, nearest
from accelsim.nest._count import fits
from accelsim.nest._label_prices import arrive, prune
from accelsim.nest._label_types import (
    ENERGY,
    FIXED,
    HERE,
    TIMED,
    USED,
    Bounds,
    Labels,
    Limits,
    Space,
    first_label,
)
from accelsim.nest._labels import append, merge
from accelsim.nest._search_space import (
    divisors,
    least_pj,
    orders,
    paddings,
    priced_by_traffic,
    space,
)
from accelsim.nest.accounting import ACCOUNTINGS, Accounting
from accelsim.nest.evaluate import Figures, evaluate
from accelsim.nest.hierarchy import Fanout, Hierarchy
from accelsim.nest.nest import Loop, Nest
from accelsim.nest.problem import Problem

__all__ = [
    "MOST_LABELS", "Best", "Constraint", "Found", "Objective", "Task", "Trail", "search",
]  # fmt: skip

Objective = Literal["latency", "energy", "edp", "traffic"]
"""What to make small: seconds, dynamic pJ, their product, bits at the outermost memory."""

MOST_LABELS: Final = 8192
"""Partial nests kept at a time, unless asked otherwise: seconds for a convolution."""

_OWN: Final = ACCOUNTINGS["accelsim"]
_THRIFT: Final = 0.1  # how much the promise of the thriftiest label gains on that of the dearest
_EVALUATED: Final = 64  # nests of each way to keep tensors that are evaluated by the full rules

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a mapping fixes at one level, for the search to complete.

    Attributes
    ----------
    factors : mapping of str to int
        Exact factors of dims.
    dims : frozenset of str or None
        Dims that may be looped over at all.
    keep : frozenset of str or None
        Exactly the tensors that a memory holds.
    used : int
        Fewest instances of a fan-out.
    """

    factors: Mapping[str, int] = field(default_factory=dict)
    dims: frozenset[str] | None = None
    keep: frozenset[str] | None = None
    used: int = 1

    def __str__(self) -> str:
        parts = [f"{dim} {factor}" for dim, factor in self.factors.items()]
        if self.dims is not None:
            parts.append(f"loops over {', '.join(sorted(self.dims)) or 'nothing'} only")
        if self.keep is not None:
            parts.append(f"holds {', '.join(sorted(self.keep)) or 'nothing'}")
        if self.used > 1:
            parts.append(f"at least {self.used} instances")
        return "; ".join(parts)


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


@dataclass(frozen=True)
class Best:
    """The best nest so far: its objective, what decides between equal ones, and its figures."""

    value: float
    tie: float
    nest: Nest
    figures: Figures


class Trail:
    """The loops of all labels of a search, and room for its kernels."""

    def __init__(self, states: int) -> None:
        self.head = np.empty(states, np.int64)
        self.loops = np.empty((4096, 3), np.int64)
        self.length = 0


class Task:
    """One search: what is asked for, and what has been found out so far."""

    def __init__(
        self, problem: Problem, hierarchy: Hierarchy, objective: Objective, rules: Accounting,
        constraints: dict[str, Constraint], most_labels: int = MOST_LABELS,
    ) -> None:  # fmt: skip
        self.problem, self.hierarchy = problem, hierarchy
        self.most_labels = most_labels
        self.objective, self.rules, self.constraints = objective, rules, constraints
        names = [node.name for node in hierarchy.nodes]
        for level in constraints:
            if level not in names:
                raise MappingError(f"no level `{level}`; {nearest(level, names)}")
        self.arrays = hierarchy.arrays(problem)
        self.priced = priced_by_traffic(self.arrays) if objective == "traffic" else self.arrays
        self.orders = orders(problem)
        self.timed = objective in ("latency", "edp")
        self.bound = math.inf  # of the objective, over all labels that reached the array
        self.tried, self.reached = 0, 0

    def best(self, sizes: list[tuple[int, ...]], found: Best | None = None) -> Best | None:
        """Return the best nest of all paddings and ways to keep tensors, or `found` if better."""
        for coarse in (True, False):
            self.bound = math.inf
            for padded in sizes:
                for keep in self.keeps():
                    found = self.improve(found, padded, keep, coarse)
        return found

    @property
    def ideal_s(self) -> float:
        """Time at the peak rate of all units."""
        device = self.hierarchy
        return self.problem.macs / device.units / device.mac_rate / device.frequency_hz

    def proven(self, best: Best) -> float:
        """Return what no nest can be below.

        Labels do not know sliding windows, and charge too much where the rules do: then only what
        every nest must move and compute is certain.
        """
        if not (self.rules.windows and self.problem.arrays.compound.any()):
            return self.bound
        every = (
            least_pj(self.problem.arrays, self.priced, keep, self.rules.drain_reads)[1][0]
            for keep in self.keeps()
        )
        least = min(every)
        by = {
            "latency": self.ideal_s, "edp": self.ideal_s * least,
            "energy": least, "traffic": least,
        }  # fmt: skip
        return min(best.value, by[self.objective])

    def keeps(self) -> Iterator[Bools]:
        """Yield which tensors each memory holds, in every way that it may."""
        names = [tensor.name for tensor in self.problem.tensors]
        rows: list[list[tuple[bool, ...]]] = []
        for i, node in enumerate(self.hierarchy.nodes):
            fixed = self.constraints.get(node.name, Constraint()).keep
            if i == 0:
                rows.append([(True,) * len(names)])
            elif isinstance(node, Fanout):
                rows.append([(False,) * len(names)])
            elif fixed is not None:
                rows.append([tuple(name in fixed for name in names)])
            else:
                ways = [
                    (True,) if name in node.keep else (True, False) if name in node.may_keep
                    else (False,) for name in names
                ]  # fmt: skip
                rows.append(list(itertools.product(*ways)))
        for combination in itertools.product(*rows):
            yield np.array(combination, np.bool_)

    def improve(
        self, best: Best | None, padded: tuple[int, ...], keep: Bools, coarse: bool
    ) -> Best | None:
        """Return the best nest of a way to keep tensors, or the known one if that is better."""
        problem, nodes = self.problem.arrays, len(self.hierarchy.nodes)
        states = space(self.problem, self.hierarchy, padded, coarse)
        trail = Trail(int(states.number.prod()))
        by_tensor, rest = least_pj(problem, self.priced, keep, self.rules.drain_reads)
        start = int(((states.number - 1) * states.stride).sum())
        labels = first_label(start, keep.shape[1], nodes, self.timed)
        for node in range(nodes + 1):
            bounds = self.bounds(best, rest[node + 1], node)
            inner: Bools = np.asarray(keep[node + 1 :].any(axis=0), np.bool_)
            if node == nodes or (node > 0 and keep[node].any()):
                labels = arrive(
                    problem, self.priced, states, labels, node, keep, self.rules.drain_reads,
                    bounds, inner,
                )  # fmt: skip
            if node < nodes and len(labels.state):
                limits = self.limits(node, padded, keep)
                labels = self.grown(labels, states, node, limits, bounds, inner, trail)
                labels = prune(
                    problem, self.priced, states, labels, node, bounds, by_tensor[node + 1]
                )
            if not len(labels.state):
                self.reached = max(self.reached, node)
                return best
        return self.finish(best, labels, trail, keep)

    def grown(
        self, labels: Labels, states: Space, node: int, limits: list[Limits], bounds: Bounds,
        inner: Bools, trail: Trail,
    ) -> Labels:  # fmt: skip
        """Return all labels with all loops of one node added, in every order worth trying."""
        problem = self.problem.arrays
        labels.value[:, HERE] = 1.0
        fanout = not self.arrays.storage[node]
        made: Labels | None = None
        for order in self.orders[:1] if fanout else self.orders:
            part = Labels(labels.state.copy(), labels.value.copy(), labels.trail.copy())
            for d in order:
                if limits[d].most == 1 and limits[d].least == 1:
                    continue
                part, trail.loops, trail.length, tried = append(
                    problem, self.priced, states, part, node, d, limits[d], bounds, inner,
                    trail.head, trail.loops, trail.length,
                )  # fmt: skip
                self.tried += tried
                part = self.kept(part, bounds)
            made = (
                part
                if made is None
                else merge(
                    self.priced, made, part, len(self.problem.tensors), self.timed, trail.head
                )
            )
        made = labels if made is None else made
        used = self.constraints.get(self.hierarchy.nodes[node].name, Constraint()).used
        if fanout and used > 1:
            enough = made.value[:, HERE] >= used
            made = Labels(made.state[enough], made.value[enough], made.trail[enough])
        return made

    def kept(self, labels: Labels, bounds: Bounds) -> Labels:
        """Return the labels that promise most, if there are too many; the bound knows of all."""
        if len(labels.state) <= self.most_labels:
            return labels
        promised = self.promised(labels, bounds.rest_pj, bounds.steps)
        # many promise the same time: of those, the thriftier ones have more left to trade
        energy = labels.value[:, ENERGY]
        rank = promised * (1.0 + _THRIFT * energy / max(energy.max(), 1e-30))
        order = np.argpartition(rank, self.most_labels)
        stay, go = order[: self.most_labels], order[self.most_labels :]
        self.bound = min(self.bound, float(promised[go].min()))
        return Labels(labels.state[stay], labels.value[stay], labels.trail[stay])

    def bounds(self, best: Best | None, rest_pj: float, node: int) -> Bounds:
        """Return what labels may cost from level `node` on, to beat the best known."""
        units = math.prod(int(size) for size in self.arrays.size[node:])
        most_pj = most_cycles = most_product = math.inf
        if best is not None:
            most = best.value * (1.0 + 1e-9)
            if self.objective == "latency":
                most_cycles = most * self.hierarchy.frequency_hz
            elif self.objective == "edp":
                most_product = most * self.hierarchy.frequency_hz
            else:
                most_pj = most
        return Bounds(
            rest_pj, most_pj, most_cycles, most_product,
            self.problem.macs / units / self.arrays.mac_rate,
            self.timed, self.rules.timing == "pipelined",
        )  # fmt: skip

    def limits(self, node: int, padded: tuple[int, ...], keep: Bools) -> list[Limits]:
        """Return the loops that level `node` may have over each dim."""
        level = self.hierarchy.nodes[node]
        asked = self.constraints.get(level.name, Constraint())
        instances = int(self.arrays.size[node])
        found = []
        for d, dim in enumerate(self.problem.dims):
            least, most = 1, padded[d]
            if dim in asked.factors:
                least = most = asked.factors[dim]
            elif (level.dims is not None and dim not in level.dims) or (
                asked.dims is not None and dim not in asked.dims
            ):
                most = 1
            found.append(Limits(least, most, self.left(node, d, padded[d], keep), instances))
        return found

    def left(self, node: int, d: int, size: int, keep: Bools) -> int:
        """Return the largest extent of a dim that what is inside a node can loop over.

        The next memory must hold a tile of it, spread over the fan-outs between.
        """
        dim, most, spread = self.problem.dims[d], size, 1
        for i in range(node + 1, len(self.hierarchy.nodes)):
            inner = self.hierarchy.nodes[i]
            legal = inner.dims is None or dim in inner.dims
            if isinstance(inner, Fanout):
                spread *= inner.size if legal else 1
                continue
            most = min(most, spread * self.holds(i, d, size, keep))
            if legal:
                return most
        return min(most, spread)

    def holds(self, node: int, d: int, size: int, keep: Bools) -> int:
        """Return the largest extent of one dim whose tile, all others being 1, a memory holds."""
        extents = np.ones(len(self.problem.dims), np.int64)
        for extent in reversed(divisors(size)):
            extents[d] = min(extent, self.problem.sizes[d])
            if fits(self.problem.arrays, self.arrays, node, keep, extents):
                return extent
        return 1

    def finish(self, best: Best | None, labels: Labels, trail: Trail, keep: Bools) -> Best | None:
        """Evaluate what is left by the rules asked for, best first."""
        lower = self.lower(labels)
        self.bound = min(self.bound, float(lower.min()))
        for i in np.argsort(lower, kind="stable")[:_EVALUATED]:
            if best is not None and lower[i] > best.value * (1.0 + 1e-9):
                break
            found = self.evaluated(self.nest(trail, int(labels.trail[i]), keep))
            if best is None or (found.value, found.tie) < (best.value, best.tie):
                best = found
        return best

    def lower(self, labels: Labels) -> NDArray[np.float64]:
        """Return what each complete label costs at least, of the objective."""
        macs = self.problem.macs
        return self.promised(labels, macs * self.priced.mac_pj, macs / self.arrays.mac_rate)

    def promised(self, labels: Labels, rest_pj: float, steps: float) -> NDArray[np.float64]:
        """Return what each label costs at least, if the rest costs as little as may be."""
        energy = labels.value[:, ENERGY] + rest_pj
        if not self.timed:
            return energy
        tensors, nodes = len(self.problem.tensors), len(self.hierarchy.nodes)
        timed = labels.value[:, FIXED + 2 * tensors :]
        busy = timed[:, TIMED + nodes :].reshape(len(timed), 2, nodes)
        ports = np.where(self.arrays.shared_port, busy.sum(axis=1), busy.max(axis=1))
        working = steps / labels.value[:, USED] + timed[:, 0]
        cycles = np.maximum(working, ports.max(axis=1)) / self.hierarchy.frequency_hz
        return cycles if self.objective == "latency" else np.asarray(cycles * energy)

    def evaluated(self, nest: Nest) -> Best:
        """Return a nest with its figures by the full rules."""
        figures = evaluate(self.problem, self.hierarchy, nest, self.rules)
        value = {
            "latency": figures.latency_s, "energy": figures.energy_pj,
            "edp": figures.latency_s * figures.energy_pj, "traffic": figures.moved_bits,
        }[self.objective]  # fmt: skip
        tie = figures.energy_pj if self.timed else figures.latency_s
        return Best(value, tie, nest, figures)

    def nest(self, trail: Trail, last: int, keep: Bools) -> Nest:
        """Return the nest whose innermost loop stands at a place of the trail."""
        dims = self.problem.dims
        loops: list[list[Loop]] = [[] for _ in self.hierarchy.nodes]
        while last >= 0:
            outside, place, factor = (int(x) for x in trail.loops[last])
            node, d = divmod(place, len(dims))
            loops[node].insert(0, Loop(dims[d], factor))
            last = outside
        names = [tensor.name for tensor in self.problem.tensors]
        keeps = tuple(
            frozenset(name for name, held in zip(names, row, strict=True) if held) for row in keep
        )
        return Nest(tuple(tuple(level) for level in loops), keeps)
