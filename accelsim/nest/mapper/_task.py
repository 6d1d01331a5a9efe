"""One search of the mapper: what is asked for, and what has been found out so far."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import MappingError, nearest
from accelsim.nest.accounting import Accounting
from accelsim.nest.evaluate import Figures, evaluate
from accelsim.nest.hierarchy import Fanout, Hierarchy
from accelsim.nest.mapper._label_prices import arrive, prune
from accelsim.nest.mapper._label_types import (
    ENERGY,
    FIXED,
    HERE,
    LEAST,
    TIMED,
    USED,
    WAITS,
    Bools,
    Bounds,
    Labels,
    Limits,
    Space,
    chosen,
    first_label,
)
from accelsim.nest.mapper._labels import append, merge
from accelsim.nest.mapper._polish import Asked, polish
from accelsim.nest.mapper._search_space import (
    divisors,
    least_pj,
    most_together,
    orders,
    priced_by_traffic,
    space,
)
from accelsim.nest.mapper.constraint import Constraint, limits_of
from accelsim.nest.nest import Loop, Nest
from accelsim.nest.problem import Problem

__all__ = ["MOST_LABELS", "Best", "Objective", "Task", "Trail"]

Objective = Literal["latency", "energy", "edp", "traffic"]
"""What to make small: seconds, dynamic pJ, their product, bits at the outermost memory."""

MOST_LABELS: Final = 2048
"""Partial nests kept at a time where a search is long, unless asked otherwise."""

_OBJECTIVES: Final[tuple[Objective, ...]] = get_args(Objective)
_WIDER, _EASY = 8, 1_500_000  # so many times as many are kept until so many were priced
_KICKS, _STEPS = {True: 100, False: 300}, 60  # from the best nest at random, by pass; each
_THRIFT: Final = 0.1  # how much the promise of the thriftiest label gains on that of the dearest
_EVALUATED: Final = 64  # nests of each way to keep tensors that are evaluated by the full rules


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
            found = self.polished(found, coarse)
        return found

    def polished(self, best: Best | None, coarse: bool) -> Best | None:
        """Return a nest as good as small steps make it, unless it is known to be the best."""
        if best is None or best.value <= self.proven(best) * (1.0 + 1e-9):
            return best
        problem, nodes = self.problem, self.hierarchy.nodes
        factor, order, keep = best.nest.arrays(problem)
        padded = tuple(int(size) for size in factor.prod(axis=0))
        limits = [self.limits(node, padded, keep) for node in range(len(nodes))]
        asked = Asked(
            _OBJECTIVES.index(self.objective), self.rules.timing == "pipelined",
            self.rules.drain_reads, self.rules.windows, self.rules.partials_to_all,
            np.array([[one.least for one in level] for level in limits], np.int64),
            np.array([[one.most for one in level] for level in limits], np.int64),
            np.array([self.constraints.get(n.name, Constraint()).used for n in nodes], np.int64),
            np.ptp(np.array([*self.keeps()], np.int64), axis=0) > 0,
        )  # fmt: skip
        kicks = np.random.default_rng(coarse).integers(1 << 30, size=(_KICKS[coarse], _STEPS, 4))
        self.tried += polish(
            problem.arrays, self.arrays, asked, factor, order, keep, _primes(padded),
            kicks, len(kicks) // 2,
        )  # fmt: skip
        loops = tuple(
            tuple(Loop(problem.dims[d], int(row[d])) for d in places if row[d] > 1)
            for row, places in zip(factor, order, strict=True)
        )
        found = self.evaluated(Nest(loops, self.held(keep)))
        return found if (found.value, found.tie) < (best.value, best.tie) else best

    @property
    def ideal_s(self) -> float:
        """Time at the peak rate of all units."""
        device = self.hierarchy
        return self.problem.macs / device.units / device.mac_rate / device.frequency_hz

    @property
    def exact(self) -> bool:
        """Whether complete labels cost what their nests do; they do not know sliding windows."""
        return not (self.rules.windows and self.problem.arrays.compound.any())

    def proven(self, best: Best) -> float:
        """Return what no nest can be below.

        Where labels charge too much, only what every nest must move and compute is certain.
        """
        if self.exact:
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
        labels = first_label(start, keep.shape[1], self.arrays.storage, self.timed)
        units = self.units(padded, keep)
        for node in range(nodes + 1):
            bounds = self.bounds(best, rest[node + 1], units[node])
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
                    problem, self.priced, states, labels, node, bounds, keep, by_tensor[node + 1]
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
            part = labels
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
            made = chosen(made, enough)
        return made

    def kept(self, labels: Labels, bounds: Bounds) -> Labels:
        """Return the labels that promise most, if there are too many; the bound knows of all."""
        most = self.most_labels * (1 if self.tried > _EASY else _WIDER)
        if len(labels.state) <= most:
            return labels
        promised = self.promised(labels, bounds.rest_pj, bounds.steps)
        # many promise the same time: of those, the thriftier ones have more left to trade
        energy = labels.value[:, ENERGY]
        rank = promised * (1.0 + _THRIFT * energy / max(energy.max(), 1e-30))
        order = np.argpartition(rank, most)
        stay, go = order[:most], order[most:]
        self.bound = min(self.bound, float(promised[go].min()))
        return chosen(labels, stay)

    def units(self, padded: tuple[int, ...], keep: Bools) -> list[int]:
        """Return how many units the fan-outs from each level inwards can keep busy at most."""
        found = [1]
        for node in range(len(self.hierarchy.nodes) - 1, -1, -1):
            most = 1
            if isinstance(self.hierarchy.nodes[node], Fanout):
                limits = self.limits(node, padded, keep)
                factors = [
                    [f for f in divisors(size) if one.least <= f <= one.most]
                    for size, one in zip(padded, limits, strict=True)
                ]
                most = most_together(factors, limits[0].instances)
            found.insert(0, found[0] * most)
        return found

    def bounds(self, best: Best | None, rest_pj: float, units: int) -> Bounds:
        """Return what labels may cost from a level on, to beat the best known.

        Parameters
        ----------
        rest_pj : float
            What is inside costs at least.
        units : int
            Instances that fan-outs from here on can use at most.
        """
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
        return limits_of(self.problem, self.hierarchy, self.constraints, node, padded, keep)

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
        busy = timed[:, TIMED + nodes : TIMED + 3 * nodes].reshape(len(timed), 2, nodes)
        ports = np.where(self.arrays.shared_port, busy.sum(axis=1), busy.max(axis=1))
        working = np.maximum(steps / labels.value[:, USED] + timed[:, WAITS], timed[:, LEAST])
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
        return Nest(tuple(tuple(level) for level in loops), self.held(keep))

    def held(self, keep: Bools) -> tuple[frozenset[str], ...]:
        """Return the names of the tensors that each memory holds."""
        names = [tensor.name for tensor in self.problem.tensors]
        return tuple(
            frozenset(name for name, held in zip(names, row, strict=True) if held) for row in keep
        )


def _primes(sizes: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the primes that divide any of the sizes, ascending."""
    found = {d for size in sizes for d in divisors(size) if len(divisors(d)) == 2}
    return np.array(sorted(found), np.int64)
