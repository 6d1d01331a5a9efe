"""Lowers a plan to a task graph: each operator's loads, compute and stores on its resources.

Double buffering, contention for a memory, blocked or concurrent in-memory compute and pipelined
devices are not special cases of the engine; they are which resource a task is laid on, and what
it waits for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelsim.arch import ArchitectureSpec, main_memory
from accelsim.cost import Memory
from accelsim.engine import TaskGraph, task_graph
from accelsim.lower import _emit
from accelsim.mapping import DMA, LINK, PATH, Plan, Step, path_of

__all__ = ["Lowered", "Row", "lower", "resources_per_stage", "row_of"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """Times (ps), bytes and energies (pJ) of one step, by task kind, LOAD_WEIGHT to LAUNCH."""

    time_ps: tuple[int, int, int, int, int]
    size_bytes: tuple[int, int, int, int, int]
    energy_pj: tuple[float, float, float, float, float]

    @property
    def compute_ps(self) -> int:
        """Time on the unit."""
        return self.time_ps[_emit.COMPUTE]

    @property
    def transfer_ps(self) -> int:
        """Time of loads and stores on the memory, beside the unit's own."""
        times = self.time_ps
        return times[_emit.LOAD_WEIGHT] + times[_emit.LOAD_INPUT] + times[_emit.STORE]


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A task graph and what its tasks stand for.

    Attributes
    ----------
    plan : Plan
        What was lowered.
    graph : TaskGraph
        `owner` is an index into `steps`.
    steps, rows : tuple
        Every step of every block in order, and its times, bytes and energies.
    step_block : tuple of int
        Block of each step.
    repeats : tuple of int
        Repetitions of each block that the graph holds, at most the block's count.
    instances : (instances, 4) int64
        Block, is-first, stage and micro-batch of each emitted repetition.
    instance, kind : int64[n]
        Repetition and task kind of every task.
    """

    plan: Plan
    graph: TaskGraph
    steps: tuple[Step, ...]
    rows: tuple[Row, ...]
    step_block: tuple[int, ...]
    repeats: tuple[int, ...]
    instances: Ints
    instance: Ints
    kind: Ints


def resources_per_stage(architecture: ArchitectureSpec) -> tuple[str, ...]:
    """Return the resources of one pipeline stage: units, memories, host, link, paths."""
    device = architecture.device
    return (*device.units, *device.memories, "host", "link", *(PATH + m for m in device.paths))


def row_of(step: Step, architecture: ArchitectureSpec) -> Row:
    """Return what a step's tasks take: on its unit and on the memory it streams from."""
    estimate = step.estimate
    own = sum(estimate.energy_pj.values())
    if step.unit == LINK:
        sent = step.work.input_bytes
        energy = architecture.link.energy_pj(sent) if architecture.link else 0.0
        return Row((0, 0, estimate.compute_ps, 0, 0), (0, 0, sent, 0, 0), (0, 0, energy, 0, 0))
    if path_of(step.unit):
        sent = step.work.input_bytes
        return Row((0, 0, estimate.compute_ps, 0, 0), (0, 0, sent, 0, 0), (0, 0, own, 0, 0))
    memory = _memory(step, architecture)
    if step.unit == DMA:
        size = estimate.output_traffic_bytes
        return Row(
            (0, 0, memory.stream_ps(size), 0, 0), (0, 0, size, 0, 0),
            (0, 0, memory.energy_pj(size), 0, 0),
        )  # fmt: skip
    weight, inputs = estimate.weight_traffic_bytes, estimate.input_traffic_bytes
    output = estimate.output_traffic_bytes
    if estimate.includes_memory:
        size = weight + inputs + output
        return Row(
            (0, 0, estimate.compute_ps, estimate.held_ps, estimate.launch_ps), (0, 0, size, 0, 0),
            (0, 0, own + memory.energy_pj(size), 0, 0),
        )  # fmt: skip
    inputs = round(inputs * step.spills_in)
    output = output if step.spills_out else 0
    return Row(
        (
            memory.stream_ps(weight), memory.stream_ps(inputs), estimate.compute_ps,
            memory.stream_ps(output), estimate.launch_ps,
        ),
        (weight, inputs, 0, output, 0),
        (
            memory.energy_pj(weight), memory.energy_pj(inputs), own, memory.energy_pj(output), 0.0,
        ),
    )  # fmt: skip


def _memory(step: Step, architecture: ArchitectureSpec) -> Memory:
    if step.unit in (DMA, LINK):
        return main_memory(architecture)
    return architecture.device.memories[architecture.device.units[step.unit].memory]


def lower(plan: Plan, most_repeats: int | None = None) -> Lowered:
    """Return the plan's task graph.

    Parameters
    ----------
    plan : Plan
        Operators in their places.
    most_repeats : int, optional
        At most this many repetitions of each block are emitted; all unless given.
    """
    steps = tuple(step for block in plan.blocks for step in block.steps)
    step_block = tuple(b for b, block in enumerate(plan.blocks) for _ in block.steps)
    rows = tuple(row_of(step, plan.architecture) for step in steps)
    repeats = tuple(min(block.count, most_repeats or block.count) for block in plan.blocks)
    tables, names = _tables(plan, steps, rows, repeats)
    tasks = _emit.emit(tables)
    duration, size, energy = _weigh(tasks, steps, rows, *_handed(plan))
    graph = task_graph(
        tasks.task[_emit.RESOURCE], duration, tasks.indptr, tasks.indices,
        priority=tasks.task[_emit.PRIORITY], size_bytes=size, energy_pj=energy,
        owner=tasks.task[_emit.OWNER], resource_names=names,
    )  # fmt: skip
    return Lowered(
        plan, graph, steps, rows, step_block, repeats, tables.instances,
        tasks.task[_emit.INSTANCE], tasks.task[_emit.KIND],
    )  # fmt: skip


def _weigh(
    tasks: _emit.Tasks, steps: Sequence[Step], rows: Sequence[Row],
    send_ps: int, send_bytes: int, send_pj: float,
) -> tuple[Ints, Ints, Floats]:  # fmt: skip
    """Return duration, bytes and energy of every task: its chunk's share of its operator's."""
    send = (send_ps,) * _emit.KINDS_PER_OPERATOR
    time = np.array([*(row.time_ps for row in rows), send], np.int64)
    size = np.array([*(row.size_bytes for row in rows), (send_bytes,) * len(send)], np.int64)
    energy = np.array([*(row.energy_pj for row in rows), (send_pj,) * len(send)])
    chunks = np.array([*(step.chunks for step in steps), 1], np.int64)
    owner, chunk = tasks.task[_emit.OWNER], tasks.task[_emit.CHUNK]
    kind = np.minimum(tasks.task[_emit.KIND], _emit.LAUNCH)
    within = [max(1, round(step.chunks * step.estimate.loads_within)) for step in steps]
    table = np.repeat(chunks[:, None], _emit.KINDS_PER_OPERATOR, axis=1)
    table[:-1, _emit.LOAD_WEIGHT] = within
    table[:, _emit.LAUNCH] = 1
    parts = table[owner, kind]  # a send's owner is -1: the last row
    late = (kind == _emit.LOAD_WEIGHT) & (chunk >= parts)  # loaded already, in the first pass
    return (
        np.where(late, 0, _share(time[owner, kind], chunk, parts)),
        np.where(late, 0, _share(size[owner, kind], chunk, parts)),
        np.where(late, 0.0, energy[owner, kind] / parts),
    )


def _share(total: Ints, part: Ints, parts: Ints) -> Ints:
    """Return the part-th of `parts` whole shares that add up to `total` exactly."""
    share: Ints = total * (part + 1) // parts - total * part // parts
    return share


def _tables(
    plan: Plan, steps: Sequence[Step], rows: Sequence[Row], repeats: Sequence[int]
) -> tuple[_emit.Tables, tuple[str, ...]]:
    """Return what the emitter reads, and the names of all resources."""
    names = resources_per_stage(plan.architecture)
    index = {name: i for i, name in enumerate(names)}
    table = []
    for step, row in zip(steps, rows, strict=True):
        unit, memory = _resources(step, plan.architecture)
        has = [int(t > 0 or b > 0) for t, b in zip(row.time_ps, row.size_bytes, strict=True)]
        if step.estimate.held_ps:
            has[_emit.STORE] = _emit.HELD
        pages = _pages(step, row, plan)
        table.append((index[unit], index[memory], step.chunks, step.group, pages, *has))
    offsets = np.zeros((3, len(steps) + 1), np.int64)
    flat: list[int] = []
    for kind, producers in enumerate(_producers(plan)):
        offsets[kind, 0] = len(flat)
        for i, found in enumerate(producers):
            flat += found
            offsets[kind, i + 1] = len(flat)
    partition = plan.mapping.partition
    settings = [
        len(names), partition.pipeline, partition.microbatches, index["host"], index["link"],
        plan.mapping.tile_buffers, int(plan.mapping.prefetch_weights),
    ]  # fmt: skip
    first = np.cumsum([0, *(len(block.steps) for block in plan.blocks)])
    if partition.pipeline > 1:
        names = tuple(f"stage {s}: {n}" for s in range(partition.pipeline) for n in names)
    tables = _emit.Tables(
        np.array(table, np.int64), offsets, np.array(flat, np.int64), first.astype(np.int64),
        _instances(plan, repeats), np.array(settings, np.int64),
    )  # fmt: skip
    return tables, names


def _pages(step: Step, row: Row, plan: Plan) -> int:
    """Return the buffer pages that a chunk's operands take, of those free for streams."""
    if step.unit in (DMA, LINK) or path_of(step.unit):
        return 1
    device = plan.architecture.device
    buffer = device.units[step.unit].buffer
    if buffer is None:
        return 1
    room = device.memories[buffer].capacity() * (1.0 - plan.mapping.activation_share)
    chunk = (row.size_bytes[_emit.LOAD_WEIGHT] + row.size_bytes[_emit.LOAD_INPUT]) / step.chunks
    pages = chunk * _emit.BUFFER_PAGES / room if room else _emit.BUFFER_PAGES
    return min(_emit.BUFFER_PAGES, max(1, int(np.ceil(pages))))


def _resources(step: Step, architecture: ArchitectureSpec) -> tuple[str, str]:
    """Return the resources that a step computes on and streams from."""
    device = architecture.device
    if step.unit == LINK:
        return "link", device.main_memory
    if step.unit == DMA:
        return device.main_memory, device.main_memory
    if path_of(step.unit):
        return step.unit, path_of(step.unit)
    unit = device.units[step.unit]
    if unit.occupies_memory(device.memories[unit.memory]):
        return unit.memory, unit.memory
    return step.unit, unit.memory


def _producers(plan: Plan) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    """Return each step's producers: in its repetition, in the one before, in earlier blocks."""
    here: list[list[int]] = []
    before: list[list[int]] = []
    earlier: list[list[int]] = []
    makers: dict[str, list[int]] = {}
    first = 0
    for block in plan.blocks:
        for step in block.steps:
            here.append([first + i for i in step.here])
            mine = {n: [first + i for i in block.makes.get(n, ())] for n in step.carried}
            old = {n: makers.get(n, []) for n in step.carried}
            before.append([i for name in step.carried for i in mine[name] or old[name]])
            earlier.append([i for name in step.carried for i in old[name]])
        makers |= {name: [first + i for i in at] for name, at in block.makes.items()}
        first += len(block.steps)
    return here, before, earlier


def _instances(plan: Plan, repeats: Sequence[int]) -> Ints:
    """Return block repetitions in program order, spread evenly over the pipeline stages.

    One micro-batch after the other, or all of them in turn where the policy interleaves them.
    """
    stages = plan.mapping.partition.pipeline
    layers = sum(n for n, block in zip(repeats, plan.blocks, strict=True) if block.count > 1)
    once: list[tuple[int, int, int]] = []
    layer = 0
    for b, block in enumerate(plan.blocks):
        for i in range(repeats[b]):
            once.append((b, int(i == 0), min(stages - 1, layer * stages // max(1, layers))))
            layer += block.count > 1
    streams = range(plan.mapping.partition.microbatches)
    if plan.mapping.interleave:
        rows = [(*one, stream) for one in once for stream in streams]
    else:
        rows = [(*one, stream) for stream in streams for one in once]
    return np.array(rows, np.int64)


def _handed(plan: Plan) -> tuple[int, int, float]:
    """Return time, bytes and energy of handing activations from one stage to the next."""
    link = plan.architecture.link
    if plan.mapping.partition.pipeline < 2 or link is None:
        return 0, 0, 0.0
    repeated = max(plan.workload.blocks, key=lambda block: block.count)
    size = sum(repeated.tensors[t].size_bytes for t in repeated.carry.values())
    return link.collective_ps("transfer", size, 2), size, link.energy_pj(size)
