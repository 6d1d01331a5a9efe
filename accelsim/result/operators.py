"""The record of one operator: where it ran, what bound it, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accelsim.lower import Row, Simulated
from accelsim.mapping import DMA, LINK, Step, path_of
from accelsim.result.energy import step_energy_parts_pj

__all__ = ["OperatorRecord", "operator_record"]


@dataclass(frozen=True, slots=True)
class OperatorRecord:
    """One operator of one block on one device.

    Attributes
    ----------
    count : int
        Repetitions of its block.
    compute_s, memory_s : float
        Time of one repetition on the unit, and of its operands on the memory.
    critical_s : float
        Time of all repetitions on the critical path; the operators' sum is the latency, less
        what transfers between stages take.
    bound : str
        ``compute``, ``memory``, ``overhead`` (launch and fixed kernel time), ``link`` or, for
        compute that stays in memory, ``in memory``.
    utilisation : float
        Time at the unit's peak rate over the operator's own time.
    """

    block: str
    name: str
    label: str
    kind: str
    unit: str
    count: int
    choice: str
    compute_s: float
    memory_s: float
    critical_s: float
    bound: str
    utilisation: float
    macs: int
    traffic_bytes: int
    energy_pj: float

    def brief(self) -> dict[str, Any]:
        """Return what a results store keeps of it."""
        return {
            "name": f"{self.block}.{self.name}", "unit": self.unit, "bound": self.bound,
            "critical_s": self.critical_s, "utilisation": round(self.utilisation, 4),
        }  # fmt: skip


def operator_record(simulated: Simulated, index: int, critical_s: float) -> OperatorRecord:
    """Return the record of a step.

    Parameters
    ----------
    simulated : Simulated
        The simulated plan.
    index : int
        Number of the step.
    critical_s : float
        Its time on the critical path.
    """
    lowered = simulated.lowered
    step, row = lowered.steps[index], lowered.rows[index]
    block = lowered.plan.blocks[lowered.step_block[index]]
    memory_ps = _memory_ps(simulated, step, row)
    own_ps = max(row.compute_ps, memory_ps)
    return OperatorRecord(
        block.name, step.operator.name, step.operator.label, step.operator.kind, step.unit,
        block.count, step.estimate.choice,
        row.compute_ps / 1e12, memory_ps / 1e12, critical_s, _bound(step, row, memory_ps),
        step.estimate.ideal_ps / own_ps if own_ps else 0.0,
        step.counts.macs, sum(row.size_bytes),
        sum(step_energy_parts_pj(simulated, index).values()),
    )  # fmt: skip


def _memory_ps(simulated: Simulated, step: Step, row: Row) -> int:
    """Return the time of the step's traffic on its memory, inside a kernel or beside it."""
    if step.unit in (DMA, LINK) or path_of(step.unit):
        return row.compute_ps
    if not step.estimate.includes_memory:
        return row.transfer_ps
    device = simulated.lowered.plan.architecture.device
    memory = device.memories[device.units[step.unit].memory]
    return memory.stream_ps(sum(row.size_bytes))


def _bound(step: Step, row: Row, memory_ps: int) -> str:
    if step.unit == LINK or path_of(step.unit):
        return "link"
    if step.unit == DMA:
        return "memory"
    total, ideal = row.compute_ps, step.estimate.ideal_ps
    if not step.estimate.includes_memory:
        return "compute" if total >= memory_ps else "memory"
    if step.estimate.weight_traffic_bytes == 0 and step.work.weight_bytes + step.work.kv_bytes:
        return "in memory"
    overhead = total - max(memory_ps, ideal)
    bounds = {"compute": ideal, "memory": memory_ps, "overhead": overhead}
    return max(bounds, key=lambda name: bounds[name])
