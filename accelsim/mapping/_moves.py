"""Moves between memories of a device: what rests in one memory and is used from another.

A policy says what rests where, the architecture which memories a path joins; every move becomes
a step of its own on the path, so that it overlaps with computing as far as it may.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from accelsim.arch import ArchitectureSpec
from accelsim.cost import Estimate, Work
from accelsim.errors import MappingError
from accelsim.mapping.policy import MappingSpec
from accelsim.workload import Counts, Operator

if TYPE_CHECKING:
    from accelsim.mapping.plan import Step

__all__ = ["PATH", "moved", "path_of", "resting"]

PATH: Final = "path."
"""Prefix of the resource on which moves to and from a memory run."""


def path_of(unit: str) -> str:
    """Return the memory whose path a step's unit names, empty where it names none."""
    return unit.removeprefix(PATH) if unit.startswith(PATH) else ""


def resting(
    architecture: ArchitectureSpec, mapping: MappingSpec
) -> dict[str, tuple[tuple[str, float], ...]]:
    """Return for weights and cache which memories hold how large a share of them.

    Raises
    ------
    MappingError
        If the policy keeps something in a memory that no path joins to the main one.
    """
    device = architecture.device
    found: dict[str, tuple[tuple[str, float], ...]] = {}
    for role in ("weight", "kv_cache"):
        kept = mapping.keep.get(role)
        if kept is None or not kept.share or kept.within == device.main_memory:
            found[role] = ((device.main_memory, 1.0),)
            continue
        named = [kept.within] if kept.within in device.paths else []
        named = named or [n for n in device.paths if _kind(device.memories[n]) == kept.within]
        if len(named) != 1:
            joined = ", ".join(device.paths) or "none"
            raise MappingError(
                f"mapping `{mapping.name}` keeps {role} in `{kept.within}`, which is none of the"
                f" memories that `{architecture.name}` joins to its main one by a path: {joined}"
            )
        parts = ((named[0], kept.share), (device.main_memory, 1.0 - kept.share))
        found[role] = tuple(part for part in parts if part[1] > 0)
    return found


def _kind(memory: object) -> str:
    return str(getattr(memory, "kind", ""))


def moved(
    steps: Sequence[Step], architecture: ArchitectureSpec, mapping: MappingSpec
) -> tuple[list[Step], list[tuple[int, ...]]]:
    """Return a block's steps with the moves that they need, and which ones finish each of them.

    Parameters
    ----------
    steps : sequence of Step
        Of one block, each on its unit.

    Notes
    -----
    Before a step its weights and its cached tokens come over the paths between the memory where
    they rest and the one that its unit streams from; tokens of the same pass are at hand, so that
    a prefill writes the cache of one layer while it computes the next.  To a unit whose own memory
    has a path its inputs are sent, and its outputs come back.  A step that appends to a cache
    kept elsewhere becomes a move itself.

    Raises
    ------
    MappingError
        As `resting`.
    """
    if not architecture.device.paths and not mapping.keep:
        return list(steps), [(i,) for i in range(len(steps))]
    return _Mover(architecture, mapping).all_of(steps)


@dataclass(frozen=True, slots=True)
class _Hop:
    """Bytes over one path; cells are read, written, or passed by (activations)."""

    memory: str
    size_bytes: int
    cells: str


class _Mover:
    """Adds moves to the steps of a block, and renumbers what each step waits for."""

    def __init__(self, architecture: ArchitectureSpec, mapping: MappingSpec) -> None:
        self.device, self.mapping = architecture.device, mapping
        self.rests = resting(architecture, mapping)
        self.found: list[Step] = []
        self.done: list[tuple[int, ...]] = []  # of each given step, the steps that finish it
        self.near: dict[int, tuple[int, ...]] = {}  # of appends, those in the main memory alone

    def all_of(self, steps: Sequence[Step]) -> tuple[list[Step], list[tuple[int, ...]]]:
        for i, step in enumerate(steps):
            near = self.near if self.memory(step) == self.device.main_memory else {}
            waits = (at for j in step.here for at in near.get(j, self.done[j]))
            placed = replace(step, here=tuple(dict.fromkeys(waits)))
            first = len(self.found)
            if step.counts.kv_write_bytes and self.away():
                self.near[i] = self.append(placed)
                self.done.append(tuple(range(first, len(self.found))))
            else:
                self.around(placed)
                self.done.append((len(self.found) - 1,))
        return self.found, self.done

    def away(self) -> list[tuple[str, float]]:
        """Return the memories other than the main one that hold the cache, and their shares."""
        return [part for part in self.rests["kv_cache"] if part[0] != self.device.main_memory]

    def memory(self, step: Step) -> str:
        unit = self.device.units.get(step.unit)
        return unit.memory if unit is not None else self.device.main_memory

    def append(self, step: Step) -> tuple[int, ...]:
        """Add a step that appends to a cache kept elsewhere; return what of it stays near.

        A copy goes over the path instead; what a unit computes goes over it afterwards.
        """
        first = len(self.found)
        if step.unit in self.device.units:
            self.around(step)
            last = len(self.found) - 1
            self.store(step, (last,), ())
            return (last,)
        sent = self.store(step, step.here, step.carried)
        if sent == step.counts.kv_write_bytes:
            self.found[first] = replace(
                self.found[first], operator=step.operator, counts=step.counts
            )
            return ()
        rest = step.estimate.output_traffic_bytes - sent
        self.found.append(
            replace(step, estimate=replace(step.estimate, output_traffic_bytes=rest))
        )
        return (len(self.found) - 1,)

    def store(self, step: Step, here: tuple[int, ...], carried: tuple[str, ...]) -> int:
        """Add the move of new keys and values to where they are kept; return its bytes."""
        sent = 0
        for name, share in self.away():
            size = round(step.counts.kv_write_bytes * share)
            hop = _Hop(name, size, "write")
            self.found.append(self.move(step, hop, "store", here, carried))
            sent += size
        return sent

    def around(self, step: Step) -> None:
        """Add a step, and before and after it the moves that it needs."""
        waits = list(step.here)
        for hop in self.fetches(step):
            ahead = self.mapping.prefetch_weights
            here, carried = ((), ()) if ahead else (step.here, step.carried)
            self.found.append(self.move(step, hop, "fetch", here, carried))
            waits.append(len(self.found) - 1)
        own = self.memory(step)
        remote = own in self.device.paths
        if remote and step.work.input_bytes:
            hop = _Hop(own, step.work.input_bytes, "pass")
            self.found.append(self.move(step, hop, "send", step.here, step.carried))
            waits.append(len(self.found) - 1)
        self.found.append(replace(step, here=tuple(sorted(waits))))
        if remote and step.work.output_bytes:
            hop = _Hop(own, step.work.output_bytes, "pass")
            self.found.append(self.move(step, hop, "return", (len(self.found) - 1,), ()))

    def fetches(self, step: Step) -> Iterator[_Hop]:
        """Yield what comes over paths for a step: weights, and cached tokens of earlier passes."""
        if step.unit not in self.device.units:
            return
        own, work = self.memory(step), step.work
        past = (work.kv_len - work.q_len) / work.kv_len if work.kv_len else 1.0
        if work.kv_seen:  # what a mask discards stays where it is
            past = min(past, work.kv_seen / work.kv_len)
        needed: Mapping[str, int] = {
            "weight": work.weight_bytes, "kv_cache": step.counts.kv_read_bytes,
        }  # fmt: skip
        for role, whole in needed.items():
            for name, share in self.rests[role]:
                if name == own or not whole:
                    continue
                away = name != self.device.main_memory
                size = round(whole * share * (past if away and role == "kv_cache" else 1.0))
                if size and away:
                    yield _Hop(name, size, "read")
                if size and own in self.device.paths:
                    yield _Hop(own, size, "pass")

    def move(
        self, step: Step, hop: _Hop, verb: str, here: tuple[int, ...], carried: tuple[str, ...]
    ) -> Step:
        """Return the step that moves bytes over a path."""
        path, memory = self.device.paths[hop.memory], self.device.memories[hop.memory]
        time_ps, energy_pj = path.collective_ps("transfer", hop.size_bytes, 2), 0.0
        if hop.cells != "pass":
            reading = hop.cells == "read"
            cells_ps = memory.stream_ps if reading else memory.write_ps
            time_ps = max(time_ps, cells_ps(hop.size_bytes))
            energy_pj = memory.energy_pj(hop.size_bytes)
        operator = Operator(
            f"{step.operator.name}.{verb}", "transfer", {"size_bytes": hop.size_bytes},
            step.operator.inputs, step.operator.outputs, f"path_{verb}",
        )  # fmt: skip
        energy = {"path": path.energy_pj(hop.size_bytes), "cells": energy_pj}
        estimate = Estimate(time_ps, includes_memory=True, energy_pj=energy, choice=verb)
        work = Work("transfer", verb, input_bytes=hop.size_bytes)
        return replace(
            step, operator=operator, unit=PATH + hop.memory, work=work, counts=Counts(),
            estimate=estimate, chunks=1, group=0, spills_in=0.0, spills_out=False,
            here=here, carried=carried,
        )  # fmt: skip
