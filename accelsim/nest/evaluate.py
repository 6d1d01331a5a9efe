"""Evaluates given loop nests: one with all its counts, or many at once in parallel.

The kernel is the mapper's own, so that a mapping costs the same wherever it comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.jit import parallel_kernel, prange
from accelsim.nest._count import CYCLES, ENERGY_PJ, MOVED_BITS, OVERFLOW, count, scratch
from accelsim.nest.accounting import ACCOUNTINGS, Accounting
from accelsim.nest.hierarchy import Hierarchy, HierarchyArrays, Storage
from accelsim.nest.nest import Nest, check
from accelsim.nest.problem import Problem, ProblemArrays

__all__ = ["Batch", "Figures", "evaluate", "evaluate_many", "pack"]

_OWN = ACCOUNTINGS["accelsim"]


@dataclass(frozen=True)
class Figures:
    """What a loop nest costs.

    Attributes
    ----------
    cycles : float
        Of the array's clock.
    latency_s : float
    energy_pj : float
        Dynamic energy, memories and hops and multiply-accumulates.
    tiles : float
        Loads of the outermost memory's data that can overlap with work: iterations of its loops
        and of those of the next memory.
    moved_bits : float
        Read from and written to the outermost memory.
    accesses : (N, T, 4) float64
        Words read, filled, updated, drained at each node by tensor, over all instances.
    energy_by : dict
        (level, tensor) -> pJ of its accesses; ``("mac", "")`` of the arithmetic.
    """

    cycles: float
    latency_s: float
    energy_pj: float
    tiles: float
    moved_bits: float
    accesses: NDArray[np.float64]
    energy_by: dict[tuple[str, str], float]


@dataclass(frozen=True)
class Batch:
    """Nests of one problem without its dims of size 1, as arrays.

    ``factor`` and ``order`` are (B, N, D) int64, ``keep`` is (B, N, T) bool.
    """

    factor: NDArray[np.int64]
    order: NDArray[np.int64]
    keep: NDArray[np.bool_]


def evaluate(
    problem: Problem, hierarchy: Hierarchy, nest: Nest, rules: Accounting = _OWN
) -> Figures:
    """Return what a nest costs.

    Raises
    ------
    MappingError
        If the nest does not fit; says what is short by how much.
    """
    check(nest, problem, hierarchy)
    arrays, device = nest.arrays(problem), hierarchy.arrays(problem)
    accesses = np.zeros((len(hierarchy.nodes), len(problem.tensors), 4))
    totals = np.zeros(4)
    count(
        problem.arrays, device, arrays.factor, arrays.order, arrays.keep,
        rules.timing == "pipelined", rules.drain_reads, rules.windows, rules.partials_to_all,
        accesses, totals,
        scratch(len(hierarchy.nodes), arrays.factor.shape[1], len(problem.tensors)),
    )  # fmt: skip
    cycles = float(totals[CYCLES])
    return Figures(
        cycles, cycles / hierarchy.frequency_hz, float(totals[ENERGY_PJ]),
        _tiles(hierarchy, arrays.factor), float(totals[MOVED_BITS]), accesses,
        _energies(problem, hierarchy, device, accesses, float(totals[ENERGY_PJ])),
    )  # fmt: skip


def _tiles(hierarchy: Hierarchy, factor: NDArray[np.int64]) -> float:
    memories = [i for i, node in enumerate(hierarchy.nodes) if isinstance(node, Storage)]
    return float(factor[memories[:2]].prod())


def _energies(
    problem: Problem, hierarchy: Hierarchy, device: HierarchyArrays,
    accesses: NDArray[np.float64], total_pj: float,
) -> dict[tuple[str, str], float]:  # fmt: skip
    found: dict[tuple[str, str], float] = {}
    for i, node in enumerate(hierarchy.nodes):
        if not isinstance(node, Storage):
            continue
        for t, tensor in enumerate(problem.tensors):
            reads, fills, updates, drains = accesses[i, t]
            energy = (reads + drains) * device.read_pj[i, t]
            energy += (fills + updates) * device.write_pj[i, t]
            if energy:
                found[node.name, tensor.name] = float(energy * tensor.bits)
    found["mac", ""] = problem.macs * hierarchy.mac_pj
    hops = total_pj - sum(found.values())
    if hops > 1e-9 * total_pj:
        found["network", ""] = hops
    return found


def pack(problem: Problem, nests: Sequence[Nest]) -> Batch:
    """Return nests of one problem as arrays, once for many evaluations."""
    rows = [nest.lists(problem.squeezed) for nest in nests]
    factor, order, keep = zip(*rows, strict=True)
    return Batch(np.array(factor, np.int64), np.array(order, np.int64), np.array(keep, np.bool_))


def evaluate_many(
    problem: Problem, hierarchy: Hierarchy, batch: Batch, rules: Accounting = _OWN
) -> NDArray[np.float64]:
    """Return cycles, energy in pJ, outermost bits and overflow of each nest, (B, 4).

    A nest that does not fit has 1 + the number of the level that is short in the last column.
    """
    totals = np.empty((len(batch.factor), 4))
    _count_all(
        problem.squeezed.arrays, hierarchy.arrays(problem), batch.factor, batch.order, batch.keep,
        rules.timing == "pipelined", rules.drain_reads, rules.windows, rules.partials_to_all,
        totals,
    )  # fmt: skip
    totals[totals[:, OVERFLOW] > 0, :OVERFLOW] = np.inf
    return totals


@parallel_kernel
def _count_all(
    problem: ProblemArrays, hierarchy: HierarchyArrays, factor: NDArray[np.int64],
    order: NDArray[np.int64], keep: NDArray[np.bool_], pipelined: bool, drain_reads: bool,
    windows: bool, partials_to_all: bool, totals: NDArray[np.float64],
) -> None:  # fmt: skip
    chunk = 256
    for part in prange((factor.shape[0] + chunk - 1) // chunk):
        accesses = np.empty((factor.shape[1], keep.shape[2], 4))
        room = scratch(factor.shape[1], factor.shape[2], keep.shape[2])
        for i in range(part * chunk, min(factor.shape[0], (part + 1) * chunk)):
            count(
                problem, hierarchy, factor[i], order[i], keep[i], pipelined, drain_reads,
                windows, partials_to_all,
                accesses, totals[i], room,
            )  # fmt: skip
