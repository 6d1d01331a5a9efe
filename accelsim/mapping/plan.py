"""Places every operator of a workload: which unit, what it costs, where its operands wait.

The plan is what lowering turns into tasks, and what the operator table shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from accelsim.arch import ArchitectureSpec
from accelsim.cost import Estimate, Setting, Unit, Work
from accelsim.errors import MappingError
from accelsim.mapping._balance import balanced
from accelsim.mapping._coprocess import divisible, part_of, shares
from accelsim.mapping._heads import linked
from accelsim.mapping._moves import moved
from accelsim.mapping.partition import collective_after, divide
from accelsim.mapping.policy import MappingSpec, Rule
from accelsim.mapping.work import work_of
from accelsim.workload import Counts, Operator, Tensor, Workload
from accelsim.workload.counts import counts
from accelsim.workload.ops import expand

__all__ = ["Placer", "Plan", "PlannedBlock", "Step", "plan", "settings_of"]

DMA, LINK = "dma", "link"
"""Where transfers and collectives run: on the main memory's and on the link's resource."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operator in its place, on the fullest device.

    Attributes
    ----------
    unit : str
        Name of the unit, or `DMA` or `LINK`, or `PATH` and the name of a memory.
    spills_in : float
        Part of the input bytes that comes through main memory.
    spills_out : bool
        Whether the output goes to main memory.
    group : int
        Operators of one expanded attention, or of one run of heads, share a number above 0: they
        run chunk by chunk.
    here, carried : tuple of int, tuple of str
        Producing steps in the same repetition of the block, and streams taken from before.
    """

    operator: Operator
    unit: str
    work: Work
    counts: Counts
    estimate: Estimate
    chunks: int
    group: int
    spills_in: float
    spills_out: bool
    here: tuple[int, ...]
    carried: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedBlock:
    """Steps of one block, its repetitions, and which steps make each stream that flows on."""

    name: str
    count: int
    steps: tuple[Step, ...]
    makes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Plan:
    """A workload placed on an architecture by a policy."""

    workload: Workload
    architecture: ArchitectureSpec
    mapping: MappingSpec
    blocks: tuple[PlannedBlock, ...]

    @property
    def tensor_ways(self) -> int:
        """Tensor-parallel devices per stage."""
        return self.mapping.partition.tensor

    @property
    def devices(self) -> int:
        """Devices in use; the architecture may have more."""
        return self.mapping.partition.tensor * self.mapping.partition.pipeline


def plan(workload: Workload, architecture: ArchitectureSpec, mapping: MappingSpec) -> Plan:
    """Place every operator.

    Raises
    ------
    MappingError
        If the partition needs more devices than there are, a dim does not divide, or no unit
        that the policy allows can run an operator (says why each refused).
    """
    partition = mapping.partition
    wanted = partition.tensor * partition.pipeline
    if wanted > architecture.devices:
        raise MappingError(
            f"mapping `{mapping.name}` splits over {wanted} devices (tensor {partition.tensor} x"
            f" pipeline {partition.pipeline}), `{architecture.name}` has {architecture.devices}"
        )
    placer = Placer(workload, architecture, mapping)
    return Plan(workload, architecture, mapping, tuple(placer.blocks()))


def settings_of(architecture: ArchitectureSpec, mapping: MappingSpec) -> dict[str, Setting]:
    """Return what surrounds each unit of a device, by the policy."""
    device = architecture.device
    return {
        name: Setting(
            device.memories[unit.memory],
            device.memories[unit.buffer] if unit.buffer else None,
            architecture.technology_nm,
            mapping.dataflow,
            mapping.double_buffer_stationary,
            mapping.tile_buffers,
            mapping.overlaps_units,
            mapping.nests,
        )
        for name, unit in device.units.items()
    }


class Placer:
    """Walks the blocks in order, remembering where each tensor was left."""

    def __init__(
        self, workload: Workload, architecture: ArchitectureSpec, mapping: MappingSpec
    ) -> None:
        self.workload, self.architecture, self.mapping = workload, architecture, mapping
        self.phase = workload.phase.split()[0]
        self.settings = settings_of(architecture, mapping)
        self.spilled: dict[str, bool] = {}  # stream or tensor -> went through main memory
        self.groups = 0

    def blocks(self) -> list[PlannedBlock]:
        """Place all blocks, in order."""
        return [self.block(i) for i in range(len(self.workload.blocks))]

    def block(self, index: int) -> PlannedBlock:
        """Place one block; those before it must be placed."""
        block = self.workload.blocks[index]
        final = index == len(self.workload.blocks) - 1
        leaving = set(self.workload.outputs) if final else set()
        ways = self.mapping.partition.tensor
        steps: list[Step] = []
        made: dict[str, tuple[int, ...]] = {}
        for whole in block.operators:
            mine = divide(whole, ways)
            parts, tensors, group = self.parts(mine, block.tensors)
            for part in parts:
                first = len(steps)
                for piece, unit in self.pieces(part, mine, tensors):
                    steps.append(self.step(piece, mine, tensors, made, group, len(parts), unit))
                made.update(dict.fromkeys(part.outputs, tuple(range(first, len(steps)))))
                spilt = any(step.spills_out for step in steps[first:])
                self.spilled.update(dict.fromkeys(part.outputs, spilt))
            last = bool(leaving & set(whole.outputs))
            collective = collective_after(whole, tensors, ways, last=last)
            if collective:
                steps.append(self.collective(collective, tensors, made))
                made[collective.outputs[0]] = (len(steps) - 1,)
        steps, done = moved(steps, self.architecture, self.mapping)
        made = {name: tuple(at for i in here for at in done[i]) for name, here in made.items()}
        makes = {stream: made[t] for stream, t in block.carry.items() if t in made}
        makes |= {name: at for name, at in made.items() if name in block.shared}
        for stream, tensor in block.carry.items():
            self.spilled[stream] = self.spilled.get(tensor, False)
        return PlannedBlock(block.name, block.count, self.scheduled(steps), makes)

    def scheduled(self, steps: list[Step]) -> tuple[Step, ...]:
        """Return a block's steps as the policy shares out sequences and links heads."""
        units = self.architecture.device.units
        found = balanced(steps, units, self.settings, self.mapping.balance)
        if not self.mapping.pipeline_heads:
            return found
        self.groups += 1
        return linked(found, self.groups, self.mapping.chunks)

    def pieces(
        self, operator: Operator, parent: Operator, tensors: Mapping[str, Tensor]
    ) -> list[tuple[Operator, str]]:
        """Return the operator, or its parts where several units work on it, and their units.

        The unit is empty where the rule alone decides.
        """
        rule = self.rule(operator, parent, tensors)
        dim = divisible(operator, rule.divide) if rule is not None and rule.coprocess else ""
        if not dim:
            return [(operator, "")]
        work = work_of(operator, tensors, counts(operator, tensors), parent)
        units = [name for name, _, _ in self.candidates(operator, parent, tensors, work)[0]]
        if len(units) < 2:
            return [(operator, "")]

        def time_ps(unit: int, size: int) -> int:
            part = part_of(operator, dim, size, 0, 0)
            asked = work_of(part, tensors, counts(part, tensors), parent)
            name = units[unit]
            estimate = self.architecture.device.units[name].estimate(asked, self.settings[name])
            return self.time_ps(name, estimate)

        pieces: list[tuple[Operator, str]] = []
        done = 0
        for unit, size in zip(units, shares(operator, dim, len(units), time_ps), strict=True):
            if size:
                pieces.append((part_of(operator, dim, size, done, len(pieces)), unit))
                done += size
        return pieces if len(pieces) > 1 else [(operator, pieces[0][1])]

    def parts(
        self, operator: Operator, tensors: Mapping[str, Tensor]
    ) -> tuple[tuple[Operator, ...], Mapping[str, Tensor], int]:
        """Return the operators that run in place of one: itself, or what it expands to."""
        expansion = expand(operator.kind) if operator.kind != "collective" else None
        if expansion is None or self.mapping.attention == "fused":
            return (operator,), tensors, 0
        if self.mapping.attention == "auto":
            work = work_of(operator, tensors, counts(operator, tensors), operator)
            if self.candidates(operator, operator, tensors, work)[0]:
                return (operator,), tensors, 0
        parts, between = expansion(operator, tensors)
        self.groups += 1
        return parts, {**tensors, **between}, self.groups

    def step(
        self, operator: Operator, parent: Operator, tensors: Mapping[str, Tensor],
        made: Mapping[str, tuple[int, ...]], group: int, members: int, only: str,
    ) -> Step:  # fmt: skip
        """Place one operator, or what one expands to."""
        counted = counts(operator, tensors)
        work = work_of(operator, tensors, counted, parent)
        unit, estimate = self.place(operator, parent, tensors, work, only)
        inputs = [name for name in operator.inputs if name in made or name in self.spilled]
        sizes = [tensors[name].size_bytes if name in tensors else 1 for name in inputs]
        through = sum(s for n, s in zip(inputs, sizes, strict=True) if self.spilled.get(n, False))
        share = through / sum(sizes) if sum(sizes) else 0.0
        spills = self.spills(unit, work, group, parent) or counted.kv_write_bytes > 0
        spills |= counted.state_write_bytes > 0  # caches and states live in main memory
        here = tuple(sorted({i for n in operator.inputs for i in made.get(n, ())}))
        carried = tuple(n for n in operator.inputs if n not in made and n in self.spilled)
        streams = estimate.weight_traffic_bytes + (share > 0) + spills
        if group and members > 1:
            chunks = min(self.mapping.chunks, parent.dims["batch"] * parent.dims["kv_heads"])
        elif estimate.includes_memory or not streams:
            chunks = 1
        else:
            chunks = min(self.mapping.chunks, estimate.tiles)
        return Step(
            operator, unit, work, counted, estimate, max(1, chunks),
            group if members > 1 else 0, share, spills, here, carried,
        )  # fmt: skip

    def collective(
        self, operator: Operator, tensors: Mapping[str, Tensor],
        made: Mapping[str, tuple[int, ...]],
    ) -> Step:  # fmt: skip
        """Place a collective on the link."""
        link = self.architecture.link
        if link is None:
            raise MappingError(
                f"operator `{operator.name}`: `{self.architecture.name}` has no link"
            )
        size, devices = operator.dims["size_bytes"], operator.dims["devices"]
        pattern = str(operator.attributes["pattern"])
        estimate = Estimate(link.collective_ps(pattern, size, devices), includes_memory=True,
                            choice=f"{pattern} x{devices}")  # fmt: skip
        sent = link.collective_bytes(pattern, size, devices)
        work = Work("collective", pattern, input_bytes=sent)
        source = operator.inputs[0]
        return Step(
            operator, LINK, work, Counts(), estimate, 1, 0, 0.0,
            self.spilled.get(source, False), made[source], (),
        )  # fmt: skip

    def place(
        self, operator: Operator, parent: Operator, tensors: Mapping[str, Tensor], work: Work,
        only: str,
    ) -> tuple[str, Estimate]:  # fmt: skip
        """Return the fastest unit that the first matching rule allows, and its estimate.

        A part of a divided operator has its unit already.
        """
        if only:
            return only, self.architecture.device.units[only].estimate(work, self.settings[only])
        found, refusals = self.candidates(operator, parent, tensors, work)
        if found:
            best = min(found, key=lambda item: item[2])
            return best[0], best[1]
        if operator.kind == "transfer":
            return DMA, _dma(work)
        raise MappingError(
            f"mapping `{self.mapping.name}` leaves operator `{operator.name}`"
            f" ({operator.kind}) unplaced on `{self.architecture.name}`: "
            + ("; ".join(refusals) or "no rule matches it")
        )

    def candidates(
        self, operator: Operator, parent: Operator, tensors: Mapping[str, Tensor], work: Work
    ) -> tuple[list[tuple[str, Estimate, int]], list[str]]:
        """Return (unit, estimate, time in ps) of every allowed unit, and why others refuse."""
        rule = self.rule(operator, parent, tensors)
        found: list[tuple[str, Estimate, int]] = []
        refusals: list[str] = []
        for name, unit in self.architecture.device.units.items():
            if rule is None or not _allowed(rule, name, unit):
                continue
            reason = unit.refusal(work)
            if reason:
                refusals.append(f"`{name}` refuses: {reason}")
                continue
            estimate = unit.estimate(work, self.setting(name, rule))
            found.append((name, estimate, self.time_ps(name, estimate)))
        if rule is not None and not found and not refusals:
            legal = ", ".join(
                f"{n} ({_kind(u)})" for n, u in self.architecture.device.units.items()
            )
            refusals.append(f"no unit is named or of kind {rule.on}; there are {legal}")
        return found, refusals

    def setting(self, unit: str, rule: Rule | None) -> Setting:
        """Return what surrounds a unit, with what the rule says of loop nests."""
        setting = self.settings[unit]
        if rule is None or rule.nest is None:
            return setting
        return replace(setting, nests=rule.nest)

    def rule(
        self, operator: Operator, parent: Operator, tensors: Mapping[str, Tensor]
    ) -> Rule | None:
        """Return the first rule whose condition holds, None without any."""

        def read(name: str) -> Any:
            if name == "phase":
                return self.phase
            if name == "intensity":
                return _intensity(counts(operator, tensors))
            if name in ("kind", "label", "name"):
                return getattr(operator, name)
            if name == "function":
                return operator.attributes.get("function", "")
            return operator.dims.get(name, parent.dims.get(name, 0))

        return self.mapping.rule_for(read)

    def time_ps(self, name: str, estimate: Estimate) -> int:
        """Return how long a unit needs: overlapped where tiles are double buffered, else added."""
        if estimate.includes_memory:
            return estimate.launch_ps + estimate.compute_ps
        moved = estimate.weight_traffic_bytes
        memory_ps = self.settings[name].memory.stream_ps(moved)
        if self.mapping.tile_buffers > 1:
            return estimate.launch_ps + max(estimate.compute_ps, memory_ps)
        return estimate.launch_ps + estimate.compute_ps + memory_ps

    def spills(self, unit: str, work: Work, group: int, parent: Operator) -> bool:
        """Return whether the output must go through main memory.

        Between the parts of an expanded attention no more than three heads' scores are alive.
        """
        if unit in (DMA, LINK):
            return False
        buffer = self.settings[unit].buffer
        if buffer is None:
            return False
        alive = float(work.output_bytes)
        if group and work.function != "context":
            alive *= min(1.0, 3.0 / (parent.dims["batch"] * parent.dims["kv_heads"]))
        return alive > self.mapping.activation_share * buffer.capacity()


def _dma(work: Work) -> Estimate:
    """Return the cost of a plain copy: its bytes through main memory, nothing computed."""
    return Estimate(0, output_traffic_bytes=work.output_bytes, choice="dma")


def _intensity(counted: Counts) -> float:
    """Return operations per byte of weights, cache and state read; infinite where none is."""
    stored = counted.weight_read_bytes + counted.kv_read_bytes + counted.state_read_bytes
    return 2 * counted.macs / stored if stored else math.inf


def _kind(unit: Unit) -> str:
    return str(getattr(unit, "kind", type(unit).__name__))


def _allowed(rule: Rule, name: str, unit: Unit) -> bool:
    return rule.on == "fastest" or name in rule.on or _kind(unit) in rule.on
