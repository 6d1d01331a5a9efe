"""What evaluating a point answers: latency, energy, area, and a record of every operator."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from accelsim.arch import area_mm2
from accelsim.lower import Simulated
from accelsim.mapping.capacity import MemoryNeed
from accelsim.result.critical_path import critical_path
from accelsim.result.energy import energy_parts_pj
from accelsim.result.operators import OperatorRecord, operator_record
from accelsim.workload import totals

__all__ = ["Result"]


@dataclass(frozen=True, eq=False)
class Result:
    """One evaluated point.

    Attributes
    ----------
    point : dict
        Model, architecture, mapping, phase, batch, seq_len and overrides.
    simulated : Simulated
        Task graph, schedule, and which repetitions were extended.
    memory : MemoryNeed
        What the fullest device holds.
    """

    point: dict[str, Any]
    simulated: Simulated
    memory: MemoryNeed

    @property
    def latency_s(self) -> float:
        """Time of the whole pass in seconds."""
        return self.simulated.latency_ps / 1e12

    @property
    def tokens(self) -> int:
        """New tokens that the pass processes."""
        plan = self.simulated.lowered.plan
        return plan.workload.tokens * plan.mapping.partition.microbatches

    @cached_property
    def energy_parts_pj(self) -> dict[str, float]:
        """Energy by part, over the devices in use, in picojoules."""
        return energy_parts_pj(self.simulated)

    @property
    def energy_j(self) -> float:
        """Energy of the whole pass over all devices, in joules."""
        return sum(self.energy_parts_pj.values()) / 1e12

    @property
    def power_w(self) -> float:
        """Average power over the pass."""
        return self.energy_j / self.latency_s if self.latency_s else 0.0

    @cached_property
    def operations(self) -> int:
        """Operations of the whole pass on all devices; a multiply-accumulate counts two."""
        plan = self.simulated.lowered.plan
        return totals(plan.workload).flops * plan.mapping.partition.microbatches

    @property
    def tops_per_w(self) -> float:
        """Operations per energy, in 10^12 per joule: what the pass reaches, not a peak."""
        return self.operations / self.energy_j / 1e12 if self.energy_j else 0.0

    @cached_property
    def area_mm2(self) -> float:
        """Silicon area of the devices in use."""
        plan = self.simulated.lowered.plan
        return area_mm2(plan.architecture) * plan.devices

    @cached_property
    def busy_s(self) -> dict[str, float]:
        """Time that each resource is busy, repetitions that were extended included."""
        lowered, schedule = self.simulated.lowered, self.simulated.schedule
        weight = self._repetition_weights()[lowered.instance]
        busy = np.zeros(lowered.graph.n_resources)
        np.add.at(busy, lowered.graph.resource, (schedule.end_ps - schedule.start_ps) * weight)
        names = lowered.graph.resource_names
        return {name: float(ps) / 1e12 for name, ps in zip(names, busy, strict=True)}

    @property
    def bottleneck(self) -> str:
        """Resource that is busy for the largest part of the pass."""
        return max(self.busy_s, key=lambda name: self.busy_s[name])

    @property
    def utilisation(self) -> float:
        """Time at peak rate over latency, of the unit with most to do: units work side by side."""
        lowered = self.simulated.lowered
        by_unit: dict[str, float] = {}
        for step, block in zip(lowered.steps, lowered.step_block, strict=True):
            time = step.estimate.ideal_ps * lowered.plan.blocks[block].count
            by_unit[step.unit] = by_unit.get(step.unit, 0.0) + time
        ideal = max(by_unit.values(), default=0.0)
        ideal *= lowered.plan.mapping.partition.microbatches
        stages = lowered.plan.mapping.partition.pipeline
        return ideal / stages / self.simulated.latency_ps if self.simulated.latency_ps else 0.0

    @cached_property
    def operators(self) -> tuple[OperatorRecord, ...]:
        """A record of every operator of every block, in order."""
        on_path = self._critical_s()
        return tuple(
            operator_record(self.simulated, index, on_path[index])
            for index in range(len(self.simulated.lowered.steps))
        )

    def _repetition_weights(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return how many repetitions each emitted one stands for."""
        lowered = self.simulated.lowered
        weights = np.ones(len(lowered.instances), np.int64)
        for b, skipped in enumerate(self.simulated.skipped):
            if skipped:  # the last but one is the steady one
                weights[np.flatnonzero(lowered.instances[:, 0] == b)[-2]] += skipped
        return weights

    def _critical_s(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the time that each step's tasks spend on the critical path."""
        lowered, schedule = self.simulated.lowered, self.simulated.schedule
        path = critical_path(lowered.graph, schedule)
        owner = lowered.graph.owner[path]
        spent = (schedule.end_ps - schedule.start_ps)[path].astype(np.float64)
        spent *= self._repetition_weights()[lowered.instance[path]]
        total = np.zeros(len(lowered.steps))
        np.add.at(total, owner[owner >= 0], spent[owner >= 0])
        return total / 1e12

    def summary(self) -> dict[str, float | int | str]:
        """Return the main figures as one flat row."""
        plan = self.simulated.lowered.plan
        return {
            "latency_s": self.latency_s,
            "energy_j": self.energy_j,
            "energy_per_token_j": self.energy_j / self.tokens,
            "power_w": self.power_w,
            "area_mm2": self.area_mm2,
            "throughput_tokens_per_s": self.tokens / self.latency_s if self.latency_s else 0.0,
            "utilisation": self.utilisation,
            "bottleneck": self.bottleneck,
            "memory_bytes": self.memory.total_bytes,
            "devices": plan.devices,
            "tasks": self.simulated.lowered.graph.n_tasks,
        }

    def breakdown(self) -> dict[str, Any]:
        """Return energy by part, busy time by resource and time by operator, ready for JSON."""
        return {
            "energy_pj": self.energy_parts_pj,
            "busy_s": self.busy_s,
            "memory": asdict(self.memory),
            "operators": [record.brief() for record in self.operators],
        }
