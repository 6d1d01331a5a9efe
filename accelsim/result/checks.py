"""Conservation: what was lowered is what the workload asks for; energy is the sum of its parts.

Always on in the tests; in use on request, as it costs about as much as the simulation.
"""

from __future__ import annotations

import numpy as np

from accelsim.engine import check, verify
from accelsim.errors import ConservationError
from accelsim.lower import Simulated
from accelsim.mapping import DMA, LINK, path_of
from accelsim.result.result import Result
from accelsim.workload import totals

__all__ = ["check_conservation"]


def check_conservation(result: Result) -> None:
    """Check a result against its workload, graph and schedule.

    Raises
    ------
    ConservationError
        Names the law and both sides.
    """
    simulated = result.simulated
    check(simulated.lowered.graph)
    verify(simulated.lowered.graph, simulated.schedule)
    _bytes_of_tasks(simulated)
    _traffic_covers_operands(simulated)
    _macs(simulated)
    _energy(result)


def _bytes_of_tasks(simulated: Simulated) -> None:
    """Tasks carry exactly the bytes and energy of their steps, times the emitted repetitions."""
    lowered = simulated.lowered
    steps = len(lowered.steps)
    mine = lowered.graph.owner >= 0
    owner = lowered.graph.owner[mine]
    moved = np.zeros(steps, np.int64)
    np.add.at(moved, owner, lowered.graph.size_bytes[mine])
    spent = np.bincount(owner, lowered.graph.energy_pj[mine], minlength=steps)
    streams = lowered.plan.mapping.partition.microbatches
    for i, (step, row) in enumerate(zip(lowered.steps, lowered.rows, strict=True)):
        times = lowered.repeats[lowered.step_block[i]] * streams
        _equal(f"bytes of `{step.operator.name}`", int(moved[i]), sum(row.size_bytes) * times)
        _close(f"energy of `{step.operator.name}`", float(spent[i]), sum(row.energy_pj) * times)


def _traffic_covers_operands(simulated: Simulated) -> None:
    """Every weight and cached byte crosses the memory interface, or is computed on inside it."""
    for step in simulated.lowered.steps:
        if step.unit in (DMA, LINK) or path_of(step.unit):
            continue
        operands = step.work.weight_bytes + step.work.kv_bytes
        moved = step.estimate.weight_traffic_bytes
        inside = step.estimate.includes_memory and moved == 0
        if moved < operands and not inside:
            raise ConservationError(
                f"`{step.operator.name}` needs {operands} bytes of weights and cache,"
                f" {moved} are moved"
            )


def _macs(simulated: Simulated) -> None:
    """All devices together do the workload's MACs; more only where a divided dim is padded."""
    plan = simulated.lowered.plan
    ways = plan.tensor_ways
    done, padded = 0, False
    originals = {
        (block.name, operator.name): operator
        for block, operator in plan.workload.operators()
    }  # fmt: skip
    for block in plan.blocks:
        for step in block.steps:
            divided = step.operator.shard is not None
            done += step.counts.macs * block.count * (ways if divided else 1)
            original = originals.get((block.name, step.operator.name))
            if original is not None and divided and original.shard:
                padded |= original.dims[original.shard] % ways != 0
    wanted = totals(plan.workload).macs
    if padded and done >= wanted:
        return
    _equal("MACs", done, wanted)


def _energy(result: Result) -> None:
    parts = result.energy_parts_pj
    negative = [name for name, pj in parts.items() if pj < 0]
    if negative:
        raise ConservationError(f"energy of {', '.join(negative)} is negative")
    lowered = result.simulated.lowered
    partition = lowered.plan.mapping.partition
    dynamic = sum(
        sum(row.energy_pj) * lowered.plan.blocks[block].count
        for row, block in zip(lowered.rows, lowered.step_block, strict=True)
    )
    dynamic *= partition.tensor * partition.microbatches
    sends = lowered.graph.energy_pj[lowered.graph.owner < 0].sum() * partition.tensor
    _close("energy", sum(parts.values()) - parts["standing"], dynamic + float(sends))


def _equal(what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise ConservationError(f"{what}: {found} lowered, {wanted} in the workload")


def _close(what: str, found: float, wanted: float) -> None:
    if abs(found - wanted) > 1e-9 * max(abs(found), abs(wanted), 1.0):
        raise ConservationError(f"{what}: parts add up to {found}, the whole is {wanted}")
