"""What a plan must hold in main memory on its fullest device, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.arch import main_memory
from accelsim.errors import InfeasibleError
from accelsim.mapping._moves import resting
from accelsim.mapping.plan import Plan
from accelsim.workload import Block, Role
from accelsim.workload.graph import recalled, saved

__all__ = ["MemoryNeed", "check_capacity", "memory_need"]


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes of main memory on the fullest device.

    `activation_bytes` is the largest input and output of any one operator, alive together, and
    what a forward pass keeps for the backward one.
    """

    weight_bytes: int
    kv_bytes: int
    activation_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weight_bytes + self.kv_bytes + self.activation_bytes


def memory_need(plan: Plan) -> MemoryNeed:
    """Return what the fullest device holds: its layers' weights and KV cache, and activations.

    Weights divide over tensor-parallel devices where the operator that reads them does; layers
    over pipeline stages; micro-batches each keep their KV cache.
    """
    partition = plan.mapping.partition
    weights, caches = _StageSum(partition.pipeline), _StageSum(partition.pipeline)
    seen: set[str] = set()
    for block in plan.workload.blocks:
        divided, again = _divided(block), recalled(plan.workload, block)
        for name, tensor in block.tensors.items():
            if tensor.role is Role.ACTIVATION or name in seen or name in again:
                continue
            if name in block.shared:
                seen.add(name)
            count = 1 if name in block.shared else block.count
            size = tensor.size_bytes
            if name in divided:
                size = -(-size // partition.tensor)
            target = weights if tensor.role is Role.WEIGHT else caches
            target.add(size, count)
    activations = max(
        (s.work.input_bytes + s.work.output_bytes for b in plan.blocks for s in b.steps), default=0
    )
    kept = _StageSum(partition.pipeline)
    for block, tensor in saved(plan.workload):
        size = tensor.size_bytes
        kept.add(-(-size // partition.tensor) if tensor.name in _divided(block) else size,
                 block.count)  # fmt: skip
    return MemoryNeed(
        weights.fullest(), caches.fullest() * partition.microbatches, activations + kept.fullest()
    )


class _StageSum:
    """Adds up bytes of repeated layers, divided over stages, and of the ends, which are not."""

    def __init__(self, stages: int) -> None:
        self.stages, self.layers, self.ends = stages, 0, 0

    def add(self, size_bytes: int, count: int) -> None:
        if count > 1:
            self.layers += size_bytes * -(-count // self.stages)
        else:
            self.ends += size_bytes

    def fullest(self) -> int:
        return self.layers + self.ends


def _divided(block: Block) -> set[str]:
    """Return the tensors that only divided operators touch."""
    divided: set[str] = set()
    whole: set[str] = set()
    for operator in block.operators:
        target = whole if operator.shard is None else divided
        target.update(operator.inputs, operator.outputs)
    return divided - whole


def _available(plan: Plan) -> tuple[float, str]:
    """Return the bytes that one device has for a model, and the name of what has them."""
    device = plan.architecture.device
    if plan.mapping.capacity == "main":
        return main_memory(plan.architecture).capacity(), f"memory `{device.main_memory}`"
    apart = {n for parts in resting(plan.architecture, plan.mapping).values() for n, _ in parts}
    apart -= {device.main_memory}
    names = sorted({unit.memory for unit in device.units.values()} - apart)
    total = sum(device.memories[name].capacity() for name in names)
    return total, f"memories `{'`, `'.join(names)}` together"


def _kept_bytes(plan: Plan, need: MemoryNeed) -> dict[str, int]:
    """Return the bytes that the policy keeps in memories other than the main one."""
    main = plan.architecture.device.main_memory
    whole = {"weight": need.weight_bytes, "kv_cache": need.kv_bytes}
    kept: dict[str, int] = {}
    for role, parts in resting(plan.architecture, plan.mapping).items():
        for name, share in parts:
            if name != main:
                kept[name] = kept.get(name, 0) + round(whole[role] * share)
    return kept


def _check_kept(plan: Plan, need: MemoryNeed) -> None:
    """Raise unless every memory holds what the policy keeps in it."""
    for name, size in _kept_bytes(plan, need).items():
        available = plan.architecture.device.memories[name].capacity()
        if size > available:
            raise InfeasibleError(
                f"memory `{name}` of `{plan.architecture.name}`", size, available, "bytes",
                f"what mapping `{plan.mapping.name}` keeps there of one device",
            )  # fmt: skip


def check_capacity(plan: Plan) -> MemoryNeed:
    """Return what the plan needs.

    Raises
    ------
    InfeasibleError
        If the fullest device's memory (by the policy, the main one or all) is too small; says how
        much is short, and what of.
    """
    need = memory_need(plan)
    _check_kept(plan, need)
    here = need.total_bytes - sum(_kept_bytes(plan, need).values())
    available, name = _available(plan)
    if here > available:
        gib = 2.0**30
        raise InfeasibleError(
            f"{name} of `{plan.architecture.name}`",
            here,
            available,
            "bytes",
            f"weights {need.weight_bytes / gib:.2f} GiB, KV cache {need.kv_bytes / gib:.2f} GiB,"
            f" activations {need.activation_bytes / gib:.2f} GiB per device;"
            " more devices with tensor or pipeline partition, or a smaller batch, would help",
        )
    return need
