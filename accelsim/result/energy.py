"""Energy of a simulated plan, part by part: units, memories, links, and what stands idle."""

from __future__ import annotations

from accelsim.arch import standing_power_w
from accelsim.lower import Simulated
from accelsim.mapping import DMA, LINK, path_of

__all__ = ["energy_parts_pj", "step_energy_parts_pj"]

PICOJOULES_PER_JOULE = 1e12


def step_energy_parts_pj(simulated: Simulated, index: int) -> dict[str, float]:
    """Return the dynamic energy of one repetition of one step on one device, by part."""
    lowered = simulated.lowered
    step, row = lowered.steps[index], lowered.rows[index]
    if step.unit == LINK:
        return {"link": sum(row.energy_pj)}
    device = lowered.plan.architecture.device
    if step.unit == DMA:
        return {device.main_memory: sum(row.energy_pj)}
    if path_of(step.unit):
        return {step.unit: sum(row.energy_pj)}
    own = {f"{step.unit}.{part}": pj for part, pj in step.estimate.energy_pj.items()}
    memory = device.units[step.unit].memory
    own[memory] = sum(row.energy_pj) - sum(step.estimate.energy_pj.values())
    return own


def energy_parts_pj(simulated: Simulated) -> dict[str, float]:
    """Return the energy of the whole pass on all devices, by part.

    Notes
    -----
    Every device of a tensor-parallel group does the same; ``standing`` is leakage, refresh and
    idle power of the devices in use over the whole latency.
    """
    plan = simulated.lowered.plan
    partition = plan.mapping.partition
    times = partition.tensor * partition.microbatches
    parts: dict[str, float] = {}
    for index, block in enumerate(simulated.lowered.step_block):
        count = plan.blocks[block].count * times
        for part, pj in step_energy_parts_pj(simulated, index).items():
            parts[part] = parts.get(part, 0.0) + pj * count
    sends = simulated.lowered.graph.energy_pj[simulated.lowered.graph.owner < 0].sum()
    if sends:
        parts["link"] = parts.get("link", 0.0) + float(sends) * partition.tensor
    latency_s = simulated.latency_ps / 1e12
    standing_w = standing_power_w(plan.architecture) * plan.devices
    parts["standing"] = standing_w * latency_s * PICOJOULES_PER_JOULE
    return parts
