"""The mapper finds what trying everything finds, and says how sure it is."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.errors import MappingError
from accelsim.nest import ACCOUNTINGS, Fanout, Hierarchy, Problem, Storage, matmul
from accelsim.nest.mapper.search import search
from accelsim.nest.problem import TensorAccess, convolution
from tests.nest.brute_force import best_figures

ALL = frozenset({"input", "weight", "output"})
SEEDS = (*range(12), 78)


def small_problem(random: np.random.Generator) -> Problem:
    if random.random() < 0.5:
        m, n, k = random.choice([2, 3, 4], 3)
        return _squeezed(matmul(int(m), int(n), int(k), bits=(8, 8, 16)))
    p, r = (int(x) for x in random.choice([2, 3, 4], 2))
    stride = int(random.choice([1, 2]))
    return _squeezed(convolution((p, 1), (r, 1), (1, 4), stride=(stride, 1)))


def _squeezed(problem: Problem) -> Problem:
    """Return a problem without its dims of size 1, so that brute force has fewer orders."""
    used = [dim for dim, size in zip(problem.dims, problem.sizes, strict=True) if size > 1]
    tensors = []
    for tensor in problem.tensors:
        axes = [tuple(term for term in axis if term[1] in used) for axis in tensor.axes]
        kept = tuple(axis for axis in axes if axis)
        tensors.append(TensorAccess(tensor.name, kept or (((1, used[0]),),), tensor.bits))
    return Problem(tuple(used), tuple(problem.size(dim) for dim in used), tuple(tensors))


def small_hierarchy(random: np.random.Generator) -> Hierarchy:
    def energy() -> float:
        return float(random.choice([0.1, 0.5, 2.0]))

    shares = frozenset(random.choice(sorted(ALL), 2, replace=False).tolist())
    must = frozenset(random.choice(sorted(ALL), 1).tolist())
    return Hierarchy(
        (
            Storage("DRAM", read_pj_per_bit=9.0, write_pj_per_bit=11.0, read_bits_per_cycle=16.0,
                    write_bits_per_cycle=16.0, shared_port=bool(random.random() < 0.5)),
            Storage("Buffer", capacity_bits=float(random.choice([128, 256, 512])), keep=must,
                    may_keep=ALL - must, read_pj_per_bit=energy(), write_pj_per_bit=energy(),
                    read_bits_per_cycle=32.0, write_bits_per_cycle=24.0,
                    buffers=int(random.choice([1, 2]))),
            Fanout("PEs", int(random.choice([2, 4])), shares,
                   hop_cycles=int(random.choice([0, 1])), hop_pj_per_bit=0.05),
            Storage("Register", capacity_bits=float(random.choice([16, 48])),
                    keep=frozenset({"output"}), read_pj_per_bit=0.02, write_pj_per_bit=0.03,
                    buffers=int(random.choice([1, 2])), dims=frozenset()),
        ),
        mac_pj=0.5,
    )  # fmt: skip


@pytest.mark.parametrize("rules", ["accelsim", "timeloop", "accelforge"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_optimum_is_that_of_brute_force(seed: int, rules: str) -> None:
    random = np.random.default_rng(seed)
    problem, hierarchy = small_problem(random), small_hierarchy(random)
    every = best_figures(problem, hierarchy, ACCOUNTINGS[rules])
    legal = every[every[:, 3] == 0]
    if not len(legal):
        with pytest.raises(MappingError):
            search(problem, hierarchy, pad=False)
        return
    best = {
        "latency": legal[:, 0].min() / hierarchy.frequency_hz,
        "energy": legal[:, 1].min(),
        "edp": (legal[:, 0] * legal[:, 1]).min() / hierarchy.frequency_hz,
        "traffic": legal[:, 2].min(),
    }
    for objective, value in best.items():
        found = search(problem, hierarchy, objective, rules=ACCOUNTINGS[rules], pad=False)  # type: ignore[arg-type]
        figures = found.figures
        got = {
            "latency": figures.latency_s, "energy": figures.energy_pj,
            "edp": figures.latency_s * figures.energy_pj, "traffic": figures.moved_bits,
        }[objective]  # fmt: skip
        assert got == pytest.approx(value, rel=1e-9), objective
        assert found.bound <= got * (1 + 1e-9)
