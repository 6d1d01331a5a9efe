"""Fused groups cost what walking through them counts, and none that is legal costs less."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from accelsim.errors import ConfigError, MappingError
from accelsim.nest import Fanout, Hierarchy, Problem, Storage, accounting
from accelsim.nest.fuse import FusedDevice, Fusion, FusionLimits, SharedLoop, Statement, fuse
from accelsim.nest.fuse._chain import Chain, optional
from accelsim.nest.fuse._group import GroupSearch
from accelsim.nest.fuse._inner import InnerSearch
from accelsim.nest.fuse._loops import Arrangement, arrange
from accelsim.nest.fuse._moved import Aim
from accelsim.nest.fuse._view import inside as view
from accelsim.nest.fuse._view import numbered
from accelsim.nest.mapper.search import search
from tests.nest.brute_force import best_figures
from tests.nest.fused import ROLES, Walk, chain, device, statement

RULES = accounting("accelforge")
SIZES = {"m": 2, "n": 2, "k": 4, "l": 2}
CASCADES = {
    "two products": ["B:mn A:mk W:kn", "D:ml B:mn V:nl"],
    "a row function between": ["B:mk A:mk", "C:mk B:mk", "D:mn C:mk W:kn"],
    "a result read twice": ["B:mk A:mk", "C:mn B:mk W:kn", "D:mk B:mk"],
    "an input read twice": ["B:mn A:mk W:kn", "C:ml A:mk V:kl"],
}
ROOM = [96.0, 160.0, 512.0]


CASES = [(name, room, i) for i, (name, room) in enumerate(itertools.product(CASCADES, ROOM))]


@pytest.mark.parametrize(("name", "room", "seed"), CASES)
@pytest.mark.parametrize("objective", ["energy", "traffic"])
def test_a_walk_counts_the_same(name: str, room: float, seed: int, objective: str) -> None:
    statements = chain(CASCADES[name], SIZES)
    machine = device(np.random.default_rng(seed), room)
    found = fuse(statements, machine, objective, rules=RULES)  # type: ignore[arg-type]
    for group in found.groups:
        walk = Walk(statements, machine, group)
        outside = walk.counts["DRAM", "read"], walk.counts["DRAM", "write"]
        assert sum(outside) == pytest.approx(group.moved_bits)
        for column, kind in enumerate(("read", "write")):
            counted = sum(one.fusing_bits[column] for one in group.statements)
            assert walk.counts.get(("Buffer", kind), 0.0) == pytest.approx(counted)
        assert walk.energy_pj() == pytest.approx(group.energy_pj)
        assert group.needed_bits <= room


@pytest.mark.parametrize(
    ("loops", "pins"),
    [
        ((("m", 1), ("n", 1)), {"D"}),
        ((("n", 1),), {"D"}),
        ((("n", 1),), set()),
        ((("n", 1), ("m", 1)), {"A", "D"}),
        ((("m", 1), ("n", 1)), {"A"}),
    ],
)
def test_partial_sums_of_shared_loops_are_counted(
    loops: tuple[tuple[str, int], ...], pins: set[str]
) -> None:
    """The second product sums over `n`, over which the loop around both runs."""
    statements = chain(CASCADES["two products"], SIZES)
    machine = device(np.random.default_rng(3), 1024.0)
    limits = FusionLimits((("B", "D"),), frozenset(d for d, _ in loops), dict.fromkeys("mn", (1,)))
    search = _Forced(statements, machine, limits)
    group = search.of(tuple(SharedLoop(d, SIZES[d] // t, t) for d, t in loops), frozenset(pins))
    walk = Walk(statements, machine, group)
    assert walk.counts["DRAM", "read"] + walk.counts["DRAM", "write"] == group.moved_bits
    assert walk.energy_pj() == pytest.approx(group.energy_pj)


class _Forced:
    """Prices one arrangement, whatever else would be better."""

    def __init__(
        self, statements: list[Statement], machine: FusedDevice, limits: FusionLimits
    ) -> None:
        self.chain = Chain.of(statements)
        self.search = GroupSearch(self.chain, InnerSearch(machine, RULES), Aim(pj=1.0), limits)

    def of(self, loops: tuple[SharedLoop, ...], pins: frozenset[str]):  # type: ignore[no-untyped-def]
        found = arrange(self.chain, 0, len(self.chain.statements), loops, pins, 1, False)
        assert found is not None
        group = self.search.costed(0, found, None, self.search.least(0, found), ("energy",))
        assert group is not None
        return group


TINY = dict.fromkeys("mnkl", 2)
TRIED = [
    *(
        (name, TINY, room, i)
        for i, (name, room) in enumerate(itertools.product(CASCADES, (24.0, 48.0)))
    ),
    ("a row function between", {"m": 2, "n": 1, "k": 4}, 80.0, 8),
]


@pytest.mark.parametrize(("name", "sizes", "room", "seed"), TRIED)
def test_the_optimum_is_that_of_trying_everything(
    name: str, sizes: dict[str, int], room: float, seed: int
) -> None:
    statements = chain(CASCADES[name], sizes)
    machine = device(np.random.default_rng(100 + seed), room)
    found = fuse(statements, machine, "energy", rules=RULES)
    assert found.energy_pj == pytest.approx(_every(statements, machine))
    assert found.gap == 0.0
    assert found.bound <= found.energy_pj * (1 + 1e-12)


def _every(statements: list[Statement], machine: FusedDevice) -> float:
    """Return the least energy of all groupings, shared loops, tiles, residents and nests."""
    whole = Chain.of(statements)
    costs = [0.0] + [math.inf] * len(statements)
    known: dict[object, list[tuple[float, float]]] = {}
    for last in range(1, len(statements) + 1):
        for first in range(last):
            cost = costs[first] + _group(whole, machine, first, last, known)
            costs[last] = min(costs[last], cost)
    return costs[-1]


def _group(
    whole: Chain, machine: FusedDevice, first: int, last: int,
    known: dict[object, list[tuple[float, float]]],
) -> float:  # fmt: skip
    statements = whole.statements[first:last]
    sizes = {
        d: n
        for one in statements
        for d, n in zip(one.problem.dims, one.problem.sizes, strict=True)
    }
    best = math.inf
    for count in range(len(sizes) + 1):
        for order in itertools.permutations(sorted(sizes), count):
            tiles = [[t for t in (1, 2) if t < sizes[dim]] for dim in order]
            for chosen in itertools.product(*tiles):
                loops = tuple(
                    SharedLoop(d, sizes[d] // t, t) for d, t in zip(order, chosen, strict=True)
                )
                best = min(best, _arranged(whole, machine, first, last, loops, known))
    return best


def _arranged(
    whole: Chain, machine: FusedDevice, first: int, last: int, loops: tuple[SharedLoop, ...],
    known: dict[object, list[tuple[float, float]]],
) -> float:  # fmt: skip
    best = math.inf
    unsure = optional(whole, first, last)
    for count in range(len(unsure) + 1):
        for pins in itertools.combinations(unsure, count):
            found = arrange(whole, first, last, loops, frozenset(pins), 1, False)
            if found is not None and _worth(whole, first, last, found, pins):
                best = min(best, _price(whole, machine, first, found, known))
    return best


def _worth(whole: Chain, first: int, last: int, found: Arrangement, pins: tuple[str, ...]) -> bool:
    """Return whether all that stays is used again: other residents are outside the space."""
    for tensor in pins:
        users = [
            (found.depth[at], whole.statements[first + at].problem.tensors[t].dims)
            for at in range(last - first)
            for t, _ in whole.accesses(first + at, tensor)
        ]
        depth, dims = users[0]
        if len(users) == 1 and all(loop.dim in dims for loop in found.loops[:depth]):
            return False
    return True


def _price(
    whole: Chain, machine: FusedDevice, first: int, found: Arrangement,
    known: dict[object, list[tuple[float, float]]],
) -> float:  # fmt: skip
    """Return the energy of an arrangement with the best of all nests of each statement."""
    held = {one.tensor for one in found.residents}
    own, fusing = machine.outermost, machine.fusing
    total = 0.0
    for one in found.residents:
        total += one.loads * (own.read_pj_per_bit + fusing.write_pj_per_bit)  # type: ignore[operator]
        total += one.stores * (own.write_pj_per_bit + fusing.read_pj_per_bit)  # type: ignore[operator]
    for at, extents in enumerate(found.extents):
        statement_ = whole.statements[first + at]
        room = fusing.capacity_bits - found.needed[at]
        if room < 0:
            return math.inf
        places = frozenset(t for t, a in enumerate(statement_.accesses) if a.tensor in held)
        roles = tuple(access.role for access in statement_.accesses)
        inside = view(machine, statement_, roles, places, room, False)
        problem = numbered(statement_.problem, extents).squeezed
        key = problem, roles, places, room
        if key not in known:
            known[key] = list(_nests(problem, inside))
        times = found.iterations[at]
        later = times - times / found.repeats[at]
        total += min(
            (times * once + later * again for once, again in known[key]), default=math.inf
        )
    return total


def _nests(problem: Problem, inside: Hierarchy) -> Iterator[tuple[float, float]]:
    """Yield the least energy with the result in the buffer or past it, and of going on from it."""
    own, buffer, register = inside.nodes
    assert isinstance(own, Storage)
    assert isinstance(buffer, Storage)
    assert isinstance(register, Storage)
    result = problem.tensors[-1].name
    for keeps in (True, False):
        if keeps and result not in buffer.may_keep:
            continue
        other = replace(
            buffer, may_keep=buffer.may_keep - {result},
            keep=buffer.keep | ({result} if keeps else frozenset()),
        )  # fmt: skip
        figures = best_figures(problem, Hierarchy((own, other, register), inside.mac_pj), RULES)
        legal = figures[figures[:, 3] == 0]
        if not len(legal):
            continue
        levels = [own] + [other] * keeps + [register] * (result in register.keep)
        passed = sum(level.read_pj_per_bit[result] for level in levels)  # type: ignore[index, misc]
        passed += sum(level.write_pj_per_bit[result] for level in levels[1:])  # type: ignore[index, misc]
        bits = problem.words(len(problem.tensors) - 1) * problem.tensors[-1].bits
        yield float(legal[:, 1].min()), bits * passed


def test_fused_is_never_worse_than_apart_and_one_group_never_better() -> None:
    statements = chain(CASCADES["two products"], {"m": 8, "n": 8, "k": 8, "l": 8})
    machine = device(np.random.default_rng(1), 1024.0)
    apart = tuple((one.name,) for one in statements)
    free = fuse(statements, machine, rules=RULES)
    unfused = fuse(statements, machine, rules=RULES, limits=FusionLimits(apart))
    assert free.energy_pj < unfused.energy_pj
    alone = sum(_alone(one, machine) for one in statements)
    assert unfused.energy_pj == pytest.approx(alone)


def _alone(one: Statement, machine: FusedDevice) -> float:
    inside = view(
        machine, one, tuple(a.role for a in one.accesses), frozenset(),
        machine.fusing.capacity_bits, False,
    )  # fmt: skip
    sizes = dict(zip(one.problem.dims, one.problem.sizes, strict=True))
    return search(numbered(one.problem, sizes), inside, "energy", rules=RULES).figures.energy_pj


@pytest.mark.parametrize("objective", ["energy", "traffic", "latency"])
@pytest.mark.parametrize("rules", ["accelsim", "accelforge"])
def test_no_group_is_below_its_bound(objective: str, rules: str) -> None:
    for seed, (name, room) in enumerate(itertools.product(CASCADES, ROOM)):
        machine = device(np.random.default_rng(seed), room)
        found = fuse(chain(CASCADES[name], SIZES), machine, objective, rules=accounting(rules))  # type: ignore[arg-type]
        assert found.gap >= 0.0
        for group in found.groups:
            assert group.bound <= group.value(objective) * (1 + 1e-9)  # type: ignore[arg-type]


def test_more_room_never_costs_more() -> None:
    statements = chain(CASCADES["a result read twice"], {"m": 4, "n": 4, "k": 4})
    energies = [
        fuse(statements, device(np.random.default_rng(5), room), rules=RULES).energy_pj
        for room in (64.0, 128.0, 256.0, 1024.0)
    ]
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] < energies[0]


def test_a_statement_of_one_point_is_fused_too() -> None:
    """The root of a sum of squares, by which a row is divided."""
    statements = chain(["S:m A:m", "Q: S:m", "R: Q:", "B:m A:m R:"], {"m": 4})
    machine = device(np.random.default_rng(1), 512.0)
    found = fuse(statements, machine, "traffic", rules=RULES)
    assert [group.names for group in found.groups] == [("S", "Q", "R", "B")]
    assert found.moved_bits == 2 * 4 * 8


# ---------------------------------------------------------------- where statements stand


def _depths(texts: list[str], *dims: str) -> tuple[int, ...] | None:
    sizes = dict.fromkeys("hpmef", 4)
    found = arrange(
        Chain.of(chain(texts, sizes)), 0, len(texts),
        tuple(SharedLoop(dim, 4, 1) for dim in dims), frozenset(), 1, False,
    )  # fmt: skip
    return None if found is None else found.depth


SOFTMAX = [
    "S:pm Q:pe K:me",
    "G:p S:pm",
    "N:pm S:pm G:p",
    "D:p N:pm",
    "A:pm N:pm D:p",
    "O:pf A:pm V:mf",
]


def test_whole_rows_stay_under_a_loop_over_queries() -> None:
    assert _depths(SOFTMAX, "p") == (1, 1, 1, 1, 1, 1)


def test_a_loop_over_keys_holds_only_what_needs_no_whole_row() -> None:
    """The last division and product go on tile by tile; the maximum and the sum need all."""
    assert _depths(SOFTMAX, "p", "m") == (1, 1, 1, 1, 2, 2)


def test_loops_that_join_nothing_are_refused() -> None:
    assert _depths(SOFTMAX[:2], "e") is None


def test_what_is_read_under_another_index_is_made_whole_before() -> None:
    depth = _depths(["K:pe X:pf W:fe", "S:pm Q:pe K:me", "T:pm S:pm"], "p")
    assert depth == (0, 1, 1)


# ---------------------------------------------------------------- what is refused


def test_a_device_is_refused_where_it_cannot_fuse() -> None:
    memories = Storage("DRAM"), Storage("Buffer", may_keep=ROLES)
    good = Hierarchy(memories)
    with pytest.raises(ConfigError, match="differs"):
        FusedDevice({"a": good, "b": Hierarchy((Storage("HBM"), memories[1]))}, "Buffer")
    with pytest.raises(ConfigError, match="below the outermost"):
        FusedDevice({"a": good}, "DRAM")
    with pytest.raises(ConfigError, match="fan-out"):
        FusedDevice({"a": Hierarchy((memories[0], Fanout("PEs", 2), memories[1]))}, "Buffer")
    with pytest.raises(ConfigError, match="no level `Bufer`"):
        FusedDevice({"a": good}, "Bufer")


def test_groups_that_are_not_the_cascade_are_refused() -> None:
    statements = chain(CASCADES["two products"], SIZES)
    machine = device(np.random.default_rng(0), 512.0)
    with pytest.raises(MappingError, match="not the statements"):
        fuse(statements, machine, limits=FusionLimits((("B",),)))
    with pytest.raises(MappingError, match="no statement `E`"):
        fuse(statements, machine, limits=FusionLimits((("B", "E"),)))
    with pytest.raises(MappingError, match=r"`B` to `D` needs .* has 0 B; short by"):
        fuse(statements, device(np.random.default_rng(0), 0.0),
             limits=FusionLimits((("B", "D"),)))  # fmt: skip


def test_a_chain_out_of_order_is_refused() -> None:
    with pytest.raises(MappingError, match="before it is made"):
        Chain.of(chain(["C:m B:m", "B:m A:m"], SIZES))
    with pytest.raises(MappingError, match="as another statement does"):
        Chain.of(chain(["B:m A:m", "B:m A:m"], SIZES))
    with pytest.raises(ConfigError, match="no array `cube`"):
        fuse([statement("B:m A:m", SIZES, array="cube")], device(np.random.default_rng(0), 512.0))


def test_proof_is_given_up_with_the_gap_stated() -> None:
    statements = chain(CASCADES["two products"], {"m": 8, "n": 8, "k": 8, "l": 8})
    machine = device(np.random.default_rng(1), 600.0)
    found: Fusion = fuse(
        statements, machine, rules=RULES, limits=FusionLimits((("B", "D"),), candidates=3)
    )
    exact = fuse(statements, machine, rules=RULES, limits=FusionLimits((("B", "D"),)))
    assert found.bound <= exact.energy_pj <= found.energy_pj
    assert found.gap == pytest.approx(found.energy_pj / found.bound - 1.0)
