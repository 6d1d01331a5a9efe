"""Turns a workload into a scratchpad problem: blocks unrolled, streams followed, caches streamed.

What lives in place across passes (KV caches, states) goes past the scratchpad, as do weights of
which an operator reads a part only, so that what remains is read whole or made whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from accelsim.errors import ConfigError, UnknownNameError
from accelsim.mapping._scratchpad_problem import Problem, Storage, Task
from accelsim.workload import Block, Operator, Role, Workload
from accelsim.workload.counts import counts

__all__ = ["WEIGHTS", "scratchpad_problem"]

WEIGHTS: Final = ("streamed", "resident")
"""Weights go past the scratchpad, through buffers of their own; or each must lie in it whole."""

_FOLDED: Final = frozenset({"elementwise", "norm", "softmax"})
"""Kinds that can overwrite their only activation, so that the product's buffer is theirs."""


def scratchpad_problem(
    workload: Workload, *, weights: str = "streamed", blocks: Collection[str] = (),
    fold: bool = True,
) -> Problem:  # fmt: skip
    """Return what a workload asks of a scratchpad.

    Parameters
    ----------
    workload : Workload
        Any; repeated blocks are unrolled.
    weights : str
        One of `WEIGHTS`.
    blocks : collection of str
        Only these blocks, each once: what they read of others lies in DRAM, what they hand on
        must be there at the end.  The whole workload if empty.
    fold : bool
        Whether an elementwise operator, norm or softmax with one activation becomes part of the
        operator that makes it, where nobody else reads that and the size stays the same.

    Raises
    ------
    UnknownNameError
        If there is no such block or way of weights.
    """
    if weights not in WEIGHTS:
        raise UnknownNameError("way of weights", weights, WEIGHTS)
    unknown = sorted(set(blocks) - {b.name for b in workload.blocks})
    if unknown:
        raise UnknownNameError("block", unknown[0], (b.name for b in workload.blocks))
    writer = _Writer(resident=weights == "resident")
    for block in workload.blocks:
        if blocks and block.name not in blocks:
            continue
        for repetition in range(1 if blocks else block.count):
            writer.add(block, repetition, unrolled=not blocks and block.count > 1)
    if not writer.tasks:
        raise ConfigError(f"`{workload.name}` has no operators")
    handed_on = writer.handed_on if blocks else set()
    outputs = {writer.streams[n] for n in workload.outputs if n in writer.streams}
    tasks = _folded(writer, outputs | handed_on) if fold else writer.tasks
    return _problem(workload.name, writer, tasks, outputs | handed_on)


@dataclass(slots=True)
class _Writer:
    """Collects tasks and the sizes of storages, by name."""

    resident: bool
    tasks: list[_Named] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    streams: dict[str, str] = field(default_factory=dict)  # stream or shared name -> storage
    handed_on: set[str] = field(default_factory=set)  # carried, or read by name in later blocks
    made: set[str] = field(default_factory=set)
    writers: dict[str, str] = field(default_factory=dict)  # cache or state -> its last task

    def add(self, block: Block, repetition: int, *, unrolled: bool) -> None:
        """Add one repetition of a block."""
        prefix = f"{block.name}[{repetition}]" if unrolled else block.name
        recalled = dict.fromkeys(block.recalls, block.count - 1 - repetition)
        here: dict[str, str] = {}
        for operator in block.operators:
            self._add_operator(block, operator, prefix, here, recalled)
        found = self.streams | here
        handed = {n: s for n, s in here.items() if n in block.shared}
        handed |= {stream: found[t] for stream, t in block.carry.items() if t in found}
        self.handed_on |= self.made & set(handed.values())
        self.streams |= handed
        # What an output, or a later block that recalls this one, may ask for.
        self.streams |= {n: s for n, s in here.items() if n not in self.streams}
        self.streams |= {f"{prefix}/{n}": s for n, s in here.items()}

    def _add_operator(
        self, block: Block, operator: Operator, prefix: str, here: dict[str, str],
        recalled: Mapping[str, int],
    ) -> None:  # fmt: skip
        name = f"{prefix}/{operator.name}"
        task = _Named(name, operator.kind)
        count = counts(operator, block.tensors)
        weights = [block.tensors[t] for t in operator.inputs
                   if block.tensors[t].role is Role.WEIGHT]  # fmt: skip
        whole = sum({t.name: t.size_bytes for t in weights}.values())
        keep_weights = self.resident and count.weight_read_bytes == whole
        task.streamed_bytes = (
            count.kv_read_bytes + count.kv_write_bytes
            + count.state_read_bytes + count.state_write_bytes
            + (0 if keep_weights else count.weight_read_bytes)
        )  # fmt: skip
        for tensor in dict.fromkeys(operator.inputs):
            role = block.tensors[tensor].role
            if role in (Role.KV_CACHE, Role.STATE):
                key = here.get(tensor) or self.streams.get(tensor) or f"{prefix}/{tensor}"
                if key in self.writers:
                    task.after[self.writers[key]] = None
            elif role is not Role.WEIGHT or keep_weights:
                storage = self._source(block, tensor, prefix, here, recalled)
                task.reads[storage] = None
                self.sizes.setdefault(storage, block.tensors[tensor].size_bytes)
        for tensor in operator.outputs:
            storage = f"{prefix}/{tensor}"
            here[tensor] = storage
            if block.tensors[tensor].role in (Role.KV_CACHE, Role.STATE):
                self.writers[storage] = name
            else:
                task.makes[storage] = None
                self.made.add(storage)
                self.sizes[storage] = block.tensors[tensor].size_bytes
        self.tasks.append(task)

    def _source(
        self, block: Block, tensor: str, prefix: str, here: Mapping[str, str],
        recalled: Mapping[str, int],
    ) -> str:  # fmt: skip
        """Return the storage that a name means at this place."""
        if tensor in here:
            return here[tensor]
        for earlier, repetition in recalled.items():
            for start in (f"{earlier}[{repetition}]", earlier):
                if f"{start}/{tensor}" in self.streams:
                    return self.streams[f"{start}/{tensor}"]
        if block.tensors[tensor].role is Role.ACTIVATION and tensor in self.streams:
            return self.streams[tensor]
        shared = tensor in block.shared or block.tensors[tensor].role is Role.ACTIVATION
        return tensor if shared else f"{prefix}/{tensor}"


@dataclass(slots=True)
class _Named:
    """A task by names; mappings to None are ordered sets."""

    name: str
    kind: str
    reads: dict[str, None] = field(default_factory=dict)
    makes: dict[str, None] = field(default_factory=dict)
    after: dict[str, None] = field(default_factory=dict)
    streamed_bytes: int = 0


def _folded(writer: _Writer, outputs: Collection[str]) -> list[_Named]:
    """Return the tasks with in-place followers merged into the task before them."""
    readers: dict[str, int] = {}
    for task in writer.tasks:
        for storage in task.reads:
            readers[storage] = readers.get(storage, 0) + 1
    maker: dict[str, _Named] = {}
    merged: dict[str, str] = {}
    tasks: list[_Named] = []
    for task in writer.tasks:
        before = _host(task, maker, readers, writer, outputs)
        if before is None:
            task.after = {merged.get(name, name): None for name in task.after}
            tasks.append(task)
            maker |= dict.fromkeys(task.makes, task)
            continue
        (old,) = before.makes
        merged[task.name] = before.name
        before.makes = task.makes
        before.reads |= {s: None for s in task.reads if s != old}
        before.streamed_bytes += task.streamed_bytes
        maker |= dict.fromkeys(task.makes, before)
    return tasks


def _host(
    task: _Named, maker: Mapping[str, _Named], readers: Mapping[str, int], writer: _Writer,
    outputs: Collection[str],
) -> _Named | None:  # fmt: skip
    """Return the task whose result this one can overwrite, if there is one."""
    sources = [s for s in task.reads if s in writer.made]
    if task.kind not in _FOLDED or len(sources) != 1 or len(task.makes) != 1 or task.after:
        return None
    others = [s for s in task.reads if s not in writer.made]
    (old,), (new,) = sources, task.makes
    before = maker.get(old)
    alone = before is not None and len(before.makes) == 1 and readers[old] == 1
    same = writer.sizes[old] == writer.sizes[new] and all("/" in s for s in others)
    return before if alone and same and old not in outputs else None


def _problem(name: str, writer: _Writer, tasks: list[_Named], outputs: Collection[str]) -> Problem:
    """Number the storages that tasks touch; a result that nobody reads is an output."""
    read = {s for task in tasks for s in task.reads}
    numbers: dict[str, int] = {}
    storages: list[Storage] = []
    for task in tasks:
        for storage in (*task.reads, *task.makes):
            if storage in numbers:
                continue
            numbers[storage] = len(storages)
            made = storage in writer.made
            kept = made and (storage in outputs or storage not in read)
            storages.append(Storage(storage, writer.sizes[storage], in_dram=not made, kept=kept))
    place = {task.name: number for number, task in enumerate(tasks)}
    return Problem(
        name, tuple(storages), tuple(_numbered(tasks, numbers, place)),
    )  # fmt: skip


def _numbered(
    tasks: list[_Named], numbers: Mapping[str, int], place: Mapping[str, int]
) -> Iterator[Task]:
    for task in tasks:
        yield Task(
            task.name, tuple(numbers[s] for s in task.reads),
            tuple(numbers[s] for s in task.makes), task.streamed_bytes,
            tuple(place[n] for n in task.after if place[n] != place[task.name]),
        )  # fmt: skip
