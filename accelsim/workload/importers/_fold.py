"""Finds layers that repeat in a flat graph and writes each once, with a count.

A stretch of operators folds if its repetitions do the same work in the same order, each with its
own weights, and if data flows alike: within a repetition, from the one before it, or from outside
to all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from accelsim.workload._segments import Assembled, Segment, assemble, local_names
from accelsim.workload.graph import Operator
from accelsim.workload.tensor import Role, Tensor

__all__ = ["fold", "fold_segments"]

SAVED: Final = 4
"""Operators that a fold must save; fewer are not worth a block."""

_NUMBERED: Final = re.compile(r"(.*?[./]|)(\d+)([./]|$)")
"""A path up to its first number: ``model.layers.3.``"""


def fold(
    operators: Sequence[Operator],
    tensors: Mapping[str, Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    groups: Sequence[str] | None = None,
) -> Assembled:
    """Return the blocks of a flat graph, repeated layers once.

    Parameters
    ----------
    operators : sequence of Operator
        In topological order; every tensor has one name in the whole graph.
    tensors : mapping of str to Tensor
        All tensors that they name.
    inputs, outputs : sequence of str
        Tensors that come from and go to the host.
    groups : sequence of str, optional
        For each operator the layer that it belongs to (``model.layers.3``): where a layer could
        begin at several places it begins where this changes.  By default what its name says.

    Returns
    -------
    Assembled
        Blocks, and the names of inputs and outputs in them.

    Examples
    --------
    >>> def layer(i):
    ...     dims = {"rows": 4, "columns": 8, "operands": 1}
    ...     names = (f"x{i}",), (f"x{i + 1}",)
    ...     return Operator(
    ...         f"act{i}", "elementwise", dims, *names, attributes={"function": "relu"}
    ...     )
    >>> tensors = {f"x{i}": Tensor(f"x{i}", (4, 8), "bf16", Role.ACTIVATION) for i in range(9)}
    >>> found = fold([layer(i) for i in range(8)], tensors, ["x0"], ["x8"])
    >>> [(block.name, block.count, dict(block.carry)) for block in found.blocks]
    [('layers', 8, {'x0': 'x1'})]
    """
    segments = fold_segments(operators, tensors, outputs, groups)
    named, held = local_names(segments, tensors, (*inputs, *outputs))
    return assemble(named, held, inputs, outputs)


def fold_segments(
    operators: Sequence[Operator],
    tensors: Mapping[str, Tensor],
    outputs: Sequence[str],
    groups: Sequence[str] | None = None,
) -> list[Segment]:
    """Return the stretches of a flat graph, those that repeat once; see `fold`."""
    if groups is None:
        groups = [group[0] if (group := _NUMBERED.match(o.name)) else "" for o in operators]
    graph = _Graph(tuple(operators), tensors, frozenset(outputs), tuple(groups))
    runs = sorted(_runs(graph, 0, len(operators)))
    return _named(_cut(graph, runs))


class _Run(NamedTuple):
    """Repetitions that follow one another."""

    start: int
    period: int
    times: int

    @property
    def stop(self) -> int:
        """First operator after the run."""
        return self.start + self.period * self.times


@dataclass(slots=True)
class _Graph:
    """The flat graph with what is looked up often."""

    operators: tuple[Operator, ...]
    tensors: Mapping[str, Tensor]
    outputs: frozenset[str]
    groups: tuple[str, ...]
    maker: dict[str, tuple[int, int]] = field(default_factory=dict)
    readers: dict[str, list[int]] = field(default_factory=dict)
    kinds: np.ndarray[Any, Any] = field(init=False)
    cut: np.ndarray[Any, Any] = field(init=False)

    def __post_init__(self) -> None:
        numbers: dict[Any, int] = {}
        kinds = []
        for i, operator in enumerate(self.operators):
            self.maker |= {name: (i, k) for k, name in enumerate(operator.outputs)}
            for name in operator.inputs:
                self.readers.setdefault(name, []).append(i)
            kinds.append(numbers.setdefault(self._kind(operator), len(numbers)))
        self.kinds = np.array(kinds, np.int64)
        change = np.zeros(len(kinds) + 2, np.int64)
        for name, (i, _) in self.maker.items():
            change[i + 1] += 1
            change[max(self.readers.get(name, [i])) + 1] -= 1
        self.cut = np.cumsum(change)  # activations alive between operator i - 1 and operator i

    def _kind(self, operator: Operator) -> Any:
        """Return all that two operators of equal work have in common."""
        described = tuple(
            (t.elements if t.role is Role.ACTIVATION else t.shape, t.dtype, t.role, t.sparsity)
            for t in (self.tensors[name] for name in (*operator.inputs, *operator.outputs))
        )
        return (
            operator.kind, operator.label, operator.shard, operator.dims, operator.attributes,
            len(operator.inputs), described,
        )  # fmt: skip


def _runs(graph: _Graph, low: int, high: int) -> Iterator[_Run]:
    """Yield the runs between two operators: the one that covers most, then those beside it."""
    for candidate in _candidates(graph.kinds, low, high):
        run = _best_start(graph, *candidate)
        if run:
            yield run
            yield from _runs(graph, low, run.start)
            yield from _runs(graph, run.stop, high)
            return


def _candidates(kinds: np.ndarray[Any, Any], low: int, high: int) -> list[tuple[int, int, int]]:
    """Return start, period and length of the stretches of periodic kinds, longest first."""
    found: list[tuple[int, int, int, int]] = []
    for period in range(1, (high - low) // 2 + 1):
        same = kinds[low + period : high] == kinds[low : high - period]
        edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
        for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            length = stop - start + period
            times = length // period
            if times > 1 and period * (times - 1) >= SAVED:
                found.append((-times * period, period, low + start, length))
    found.sort()
    return [(start, period, length) for _, period, start, length in found]


def _best_start(graph: _Graph, start: int, period: int, length: int) -> _Run | None:
    """Return the run in a periodic stretch that begins where a layer does; None if none folds.

    A layer begins where fewest activations cross, since a residual branch is open within it, and
    of such places where the group changes.
    """
    most = length // period
    places = range(start, start + length - most * period + 1)

    def crossing(place: int) -> tuple[int, bool, int]:
        border = place + period
        same = (
            graph.groups[border] == graph.groups[border - 1] if border < len(graph.groups) else 0
        )
        return int(graph.cut[border]), bool(same), place

    best: _Run | None = None
    for place in sorted(places, key=crossing)[:8]:
        run = _foldable(graph, _Run(place, period, most))
        if run.times == most:
            return run
        if run.times > (best.times if best else 1):
            best = run
    saved = best is not None and period * (best.times - 1) >= SAVED
    return best if saved else None


def _foldable(graph: _Graph, run: _Run) -> _Run:
    """Return as many of the first repetitions as fold; but the first is left out if it must be."""
    whole = _Flow(graph, run)
    times = whole.valid()
    if times > 1 and whole.streams() is None:
        if times == 2:
            return run._replace(times=1)
        rest = _Run(run.start + run.period, run.period, times - 1)
        flow = _Flow(graph, rest)
        return rest._replace(times=flow.valid() if flow.streams() is not None else 1)
    return run._replace(times=times)


@dataclass(slots=True)
class _Flow:
    """How data flows through the repetitions of a run."""

    graph: _Graph
    run: _Run

    def _slots(self, offset: int) -> int:
        return len(self.graph.operators[self.run.start + offset].inputs)

    def _name(self, repetition: int, offset: int, slot: int) -> str:
        run = self.run
        return self.graph.operators[run.start + repetition * run.period + offset].inputs[slot]

    def _place(self, repetition: int, name: str) -> tuple[int, int, int] | None:
        """Return repetitions back, offset and slot of a tensor's maker; None if outside."""
        maker = self.graph.maker.get(name)
        if maker is None:
            return None
        which, offset = divmod(maker[0] - self.run.start, self.run.period)
        if not 0 <= which < self.run.times:
            return None
        return repetition - which, offset, maker[1]

    def valid(self) -> int:
        """Return how many of the repetitions fold."""
        for repetition in range(1, self.run.times):
            if not self._reads_alike(repetition) or self._escapes(repetition - 1):
                return repetition
        return self.run.times

    def _reads_alike(self, repetition: int) -> bool:
        mine: dict[str, str] = {}  # weight of the first repetition -> weight of this one
        for offset in range(self.run.period):
            for slot in range(self._slots(offset)):
                first, name = (self._name(r, offset, slot) for r in (0, repetition))
                here, there = self._place(repetition, name), self._place(0, first)
                if here is not None and here[0] == 0:
                    if there != here:
                        return False
                elif here is not None:  # from the repetition before, in all but the first
                    before = self._place(1, self._name(1, offset, slot))
                    if here[0] != 1 or here != before or there is not None:
                        return False
                    if self.graph.tensors[first].role is not Role.ACTIVATION:
                        return False
                elif there is not None or not self._given_alike(repetition, first, name, mine):
                    return False
        return len(set(mine.values())) == len(mine)

    def _given_alike(self, repetition: int, first: str, name: str, mine: dict[str, str]) -> bool:
        """Say whether an input from outside the run is the same for all, or each one's own."""
        if mine.setdefault(first, name) != name:
            return False
        if first == name:
            return True
        if self.graph.tensors[name].role is Role.ACTIVATION or name in self.graph.maker:
            return False
        start = self.run.start + repetition * self.run.period
        mine_alone = all(start <= i < start + self.run.period for i in self.graph.readers[name])
        first_alone = self.graph.readers[first][-1] < self.run.start + self.run.period
        return mine_alone and first_alone and self.graph.readers[first][0] >= self.run.start

    def _escapes(self, repetition: int) -> bool:
        """Say whether anything but the next repetition reads what this one makes."""
        run, graph = self.run, self.graph
        start = run.start + repetition * run.period
        for offset in range(run.period):
            for name in graph.operators[start + offset].outputs:
                for reader in graph.readers.get(name, ()):
                    if reader >= start + 2 * run.period:
                        return True
        return False

    def streams(self) -> dict[str, str] | None:
        """Return what the first repetition reads -> what the next read instead.

        None if one tensor begins two streams, or one stream and something that all read.
        """
        found: dict[str, str] = {}
        fixed: set[str] = set()
        for offset in range(self.run.period):
            for slot in range(self._slots(offset)):
                first, name = self._name(0, offset, slot), self._name(1, offset, slot)
                place = self._place(1, name)
                if place is not None and place[0] == 1:
                    source = self.graph.operators[self.run.start + place[1]].outputs[place[2]]
                    if found.setdefault(first, source) != source:
                        return None
                else:
                    fixed.add(first)
        return None if fixed & found.keys() else found


def _cut(graph: _Graph, runs: Sequence[_Run]) -> Iterator[Segment]:
    """Yield the segments of the whole graph: runs, and what lies between them."""
    done = 0
    for run in runs:
        if run.start > done:
            yield Segment("", graph.operators[done : run.start])
        yield _segment(graph, run)
        done = run.stop
    if done < len(graph.operators):
        yield Segment("", graph.operators[done:])


def _segment(graph: _Graph, run: _Run) -> Segment:
    body = graph.operators[run.start : run.start + run.period]
    results: dict[str, str] = {}
    for repetition in range(run.times):
        for offset, operator in enumerate(body):
            made = graph.operators[run.start + repetition * run.period + offset].outputs
            for name, first in zip(made, operator.outputs, strict=True):
                later = max(graph.readers.get(name, [0])) >= run.stop
                if later or name in graph.outputs:
                    results[name] = first
    flow = _Flow(graph, run)
    second = graph.operators[run.start + run.period : run.start + 2 * run.period]
    shared = {
        name
        for one, other in zip(body, second, strict=True)
        for name, twin in zip(one.inputs, other.inputs, strict=True)
        if name == twin and graph.tensors[name].role is not Role.ACTIVATION
    }
    return Segment("", body, run.times, flow.streams() or {}, results, frozenset(shared))


def _named(segments: Iterator[Segment]) -> list[Segment]:
    """Return the segments with block names: what their operators' names say, else their place."""
    found, names = list(segments), list[str]()
    for i, segment in enumerate(found):
        numbered = _NUMBERED.match(segment.operators[0].name)
        path = re.findall(r"[^./]+", numbered[1]) if numbered else []
        alike = numbered and all(o.name.startswith(numbered[0]) for o in segment.operators)
        if segment.count > 1:
            names.append(path[-1] if path and alike else "layers")
        elif len(found) == 1:
            names.append("body")
        else:
            names.append("stem" if i == 0 else "head" if i == len(found) - 1 else "between")
    return [
        _with_name(segment, f"{name}.{names[:i].count(name)}" if names.count(name) > 1 else name)
        for i, (segment, name) in enumerate(zip(found, names, strict=True))
    ]


def _with_name(segment: Segment, name: str) -> Segment:
    return Segment(
        name, segment.operators, segment.count, segment.streams, segment.results, segment.shared
    )
