"""The best nest of one statement inside a fused group: some tensors stay in the fusing memory.

The mapper finds it for a statement's view of its array; answers are kept as steps over the room
that is left for passing tiles, and shared by statements of one shape.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import MappingError
from accelsim.nest._count import DRAINS, FILLS, READS, UPDATES
from accelsim.nest.accounting import Accounting
from accelsim.nest.evaluate import evaluate
from accelsim.nest.fuse._moved import Moved
from accelsim.nest.fuse._types import FusedDevice, FusionObjective, Statement
from accelsim.nest.fuse._view import down_to, for_traffic, inside, numbered, numbers
from accelsim.nest.hierarchy import Hierarchy, Storage
from accelsim.nest.mapper.search import MOST_LABELS, search
from accelsim.nest.nest import Loop, Nest, tile_bits
from accelsim.nest.problem import Problem

__all__ = ["Inner", "InnerSearch", "named"]


_TIMED_LABELS: Final = 1024
"""Partial nests kept where time counts: arrangements are many; the gap says what is lost."""


@dataclass(frozen=True, slots=True)
class Inner:
    """One iteration of a statement.

    Attributes
    ----------
    nest : Nest
    cycles : float
        Of the array and the memories inside the fusing one.
    once : Moved
        With a result that begins at zero.
    again : Moved
        More, where the result so far is read first.
    tile_bits : float
        That passing tiles take in the fusing memory.
    surplus : float
        How much more than its bound the nest has of what was asked, as a part of the bound.
    """

    nest: Nest
    cycles: float
    once: Moved
    again: Moved
    tile_bits: float
    surplus: float = 0.0


@dataclass(slots=True)
class _Steps:
    """What is known of one statement: with how much room which nest is best."""

    found: list[tuple[float, float, Inner]]  # needs, room it was asked with
    refused: float = -1.0

    def known(self, room: float) -> Inner | None:
        """Return what is best in a room, if it is known: the best of more room that needs less."""
        for needs, asked, inner in self.found:
            if needs <= room <= asked:
                return inner
        return None


class InnerSearch:
    """Best nests of statements on one device, each found once."""

    def __init__(self, device: FusedDevice, rules: Accounting) -> None:
        self.device, self.rules = device, rules
        self.known: dict[object, _Steps] = {}
        self.searched = 0

    def best(
        self, one: Statement, extents: Mapping[str, int], held: Collection[str], room: float,
        objective: FusionObjective, *, relaxed: bool = False, rules: Accounting | None = None,
    ) -> Inner | None:  # fmt: skip
        """Return the best nest of one iteration; None if none fits.

        Parameters
        ----------
        one : Statement
        extents : mapping of str to int
            Sizes of its dims in one iteration.
        held : collection of str
            Tensors of the cascade that are in the fusing memory already.
        room : float
            Bits of it that are left for tiles that pass through.
        objective : {"energy", "traffic", "latency", "edp"}
        relaxed : bool
            Has the fusing memory twice, with loops between, as if the shared ones were its own:
            with whole extents and all room, no iteration of any arrangement costs less.
        rules : Accounting, optional
            What is counted, if not what is counted elsewhere.

        Notes
        -----
        All room is asked for first: what is best there is also best in every room that it fits.
        """
        if room < 0:
            return None
        rules = rules or self.rules
        problem = numbered(one.problem, extents)
        roles = tuple(access.role for access in one.accesses)
        places = frozenset(t for t, a in enumerate(one.accesses) if a.tensor in held)
        legal = tuple(
            node.dims and numbers(one, node.dims) for node in self.device.array(one.array).nodes
        )
        key = (
            problem, roles, places, one.array, legal, one.point_cycles, one.point_pj, objective,
            relaxed, rules,
        )  # fmt: skip
        steps = self.known.setdefault(key, _Steps([]))
        if (inner := steps.known(room)) is not None:
            return inner
        for asked in dict.fromkeys((self.device.fusing.capacity_bits, room)):
            if asked <= steps.refused:
                return None
            if any(asked == earlier for _, earlier, _ in steps.found):
                continue
            self.searched += 1
            try:
                inner = self._searched(
                    one, problem, roles, places, asked, objective, relaxed, rules
                )
            except MappingError:
                steps.refused = max(steps.refused, asked)
                return None
            steps.found.append((inner.tile_bits, asked, inner))
            if inner.tile_bits <= room or asked == room:
                return inner
        return None

    def _searched(
        self, one: Statement, problem: Problem, roles: tuple[str, ...], places: frozenset[int],
        room: float, objective: FusionObjective, relaxed: bool, rules: Accounting,
    ) -> Inner:  # fmt: skip
        hierarchy = inside(self.device, one, roles, places, room, relaxed)
        if objective == "traffic":
            priced = for_traffic(hierarchy, places, len(roles))
            if relaxed:
                priced = down_to(priced, self.device.memory)
                hierarchy = priced
            found = search(problem, priced, "energy", rules=rules)
        else:
            wanted: Literal["energy", "latency", "edp"] = objective
            most = _TIMED_LABELS if objective != "energy" and not relaxed else MOST_LABELS
            found = search(problem, hierarchy, wanted, rules=rules, most_labels=most)
        inner = _priced(self.device, problem, hierarchy, found.nest, places, rules)
        return replace(inner, surplus=found.gap)


def named(one: Statement, nest: Nest) -> Nest:
    """Return a nest of numbered dims and tensors with the names of a statement."""
    dims = {f"d{i}": dim for i, dim in enumerate(one.problem.dims)}
    tensors = {f"t{i}": access.tensor for i, access in enumerate(one.accesses)}
    return Nest(
        tuple(tuple(Loop(dims[dim], factor) for dim, factor in level) for level in nest.loops),
        tuple(frozenset(tensors[name] for name in held) for held in nest.keeps),
    )


def _priced(
    device: FusedDevice, problem: Problem, hierarchy: Hierarchy, nest: Nest,
    places: frozenset[int], rules: Accounting,
) -> Inner:  # fmt: skip
    """Return what one iteration of a nest costs, by the rules of `accelsim.nest.accounting`."""
    figures = evaluate(problem, hierarchy, nest, rules)
    fusing = hierarchy.index(device.memory)
    once = _moved(problem, figures.accesses, fusing, places, figures.energy_pj)
    accesses = np.zeros_like(figures.accesses)
    extra_pj = _begun(problem, hierarchy, nest, accesses)
    again = _moved(problem, accesses, fusing, places, extra_pj)
    tiles = tile_bits(nest, problem, hierarchy, fusing)
    needed = sum(tiles.values()) * device.fusing.buffers
    return Inner(nest, figures.cycles, once, again, needed)


def _moved(
    problem: Problem, accesses: NDArray[np.float64], fusing: int, places: frozenset[int],
    energy_pj: float,
) -> Moved:  # fmt: skip
    outside, within = np.zeros(2), np.zeros(2)
    for t, tensor in enumerate(problem.tensors):
        first, here = accesses[0, t] * tensor.bits, accesses[fusing, t] * tensor.bits
        target = within if t in places else outside
        target += first[READS] + first[DRAINS], first[FILLS] + first[UPDATES]
        within += here[READS] + here[DRAINS], here[FILLS] + here[UPDATES]
    return Moved(outside[0], outside[1], within[0], within[1], energy_pj)


def _begun(
    problem: Problem, hierarchy: Hierarchy, nest: Nest, accesses: NDArray[np.float64]
) -> float:
    """Fill in what it takes more to go on from a result so far, and return its energy.

    `accelsim.nest._count.count` reads all but the first partial sum of each memory that adds up;
    of a result that was begun before, the first is read, too.
    """
    arrays = hierarchy.arrays(problem)
    factor = nest.arrays(problem).factor
    last = len(problem.tensors) - 1
    name, bits = problem.tensors[last].name, problem.tensors[last].bits
    holders = [
        i for i, node in enumerate(hierarchy.nodes)
        if isinstance(node, Storage) and (i == 0 or name in nest.keeps[i])
    ]  # fmt: skip
    relevant = problem.arrays.relevant[last]
    energy = 0.0
    for parent, child in zip(holders, [*holders[1:], len(hierarchy.nodes)], strict=True):
        copies = math.prod(
            int(factor[i, d])
            for i in range(parent)
            if not arrays.storage[i]
            for d in range(len(problem.dims))
            if not relevant[d]
        )
        whole = problem.words(last) * copies
        accesses[parent, last, READS] += whole
        energy += whole * bits * arrays.read_pj[parent, last]
        if child < len(hierarchy.nodes):
            accesses[child, last, FILLS] += whole
            energy += whole * bits * arrays.write_pj[child, last]
        for hop in range(parent + 1, min(child, len(hierarchy.nodes))):
            if not arrays.storage[hop]:
                energy += whole * bits * arrays.read_pj[hop, last]
    return float(energy)
