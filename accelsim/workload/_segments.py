"""Turns stretches of a flat graph into blocks: names what flows from one to the next.

In a flat graph every tensor has one name.  A repeated stretch stands there once, with the names of
its first repetition; what flows on from it goes by its stream's name, which this file chooses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from accelsim.errors import GraphError
from accelsim.workload.frozen import EMPTY
from accelsim.workload.graph import Block, Operator
from accelsim.workload.tensor import Role, Tensor

__all__ = ["Assembled", "Segment", "assemble", "local_names"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of operators that repeats `count` times.

    Parameters
    ----------
    name : str
        Of the block that it becomes.
    operators : tuple of Operator
        Of the first repetition.
    count : int
        Repetitions.
    streams : mapping of str to str
        Tensor that the first repetition reads -> tensor of the body that the next ones read in
        its place.
    results : mapping of str to str
        Name by which later segments, or the host, know a tensor of the body -> its name there.
    shared : frozenset of str
        Weights and states that all repetitions have in common.
    """

    name: str
    operators: tuple[Operator, ...]
    count: int = 1
    streams: Mapping[str, str] = EMPTY
    results: Mapping[str, str] = EMPTY
    shared: frozenset[str] = frozenset()

    def made(self) -> set[str]:
        """Return the tensors that the body makes."""
        return {name for operator in self.operators for name in operator.outputs}

    def read(self) -> set[str]:
        """Return the tensors that the body reads and does not make."""
        return {name for operator in self.operators for name in operator.inputs} - self.made()

    def renamed(self, names: Mapping[str, str]) -> Segment:
        """Return the segment with other names for tensors of its body."""
        return replace(
            self,
            operators=tuple(_renamed(operator, names) for operator in self.operators),
            streams={names.get(a, a): names.get(b, b) for a, b in self.streams.items()},
            results={a: names.get(b, b) for a, b in self.results.items()},
            shared=frozenset(names.get(name, name) for name in self.shared),
        )


@dataclass(frozen=True, slots=True)
class Assembled:
    """Blocks, and the names by which the host knows what goes in and comes out."""

    blocks: tuple[Block, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def _renamed(operator: Operator, names: Mapping[str, str]) -> Operator:
    inputs = tuple(names.get(name, name) for name in operator.inputs)
    outputs = tuple(names.get(name, name) for name in operator.outputs)
    if inputs == operator.inputs and outputs == operator.outputs:
        return operator
    return replace(operator, inputs=inputs, outputs=outputs)


def local_names(
    segments: Sequence[Segment], tensors: Mapping[str, Tensor], kept: Iterable[str]
) -> tuple[list[Segment], dict[str, Tensor]]:
    """Return the segments with names that are short inside a block: without what all begin with.

    Parameters
    ----------
    segments : sequence of Segment
        Any.
    tensors : mapping of str to Tensor
        All tensors of the graph.
    kept : iterable of str
        Tensors that keep their names: those the host knows.

    Examples
    --------
    >>> def operator(name, x):
    ...     return Operator(name, "elementwise", {}, (x,), (name,))
    >>> body = operator("net.0.a", "x"), operator("net.0.b", "net.0.a")
    >>> tensors = {
    ...     n: Tensor(n, (4,), "bf16", Role.ACTIVATION) for n in ("x", "net.0.a", "net.0.b")
    ... }
    >>> [short], held = local_names([Segment("net", body, 2)], tensors, ["x"])
    >>> [operator.name for operator in short.operators], sorted(held)
    (['a', 'b'], ['a', 'b', 'x'])
    """
    renamed, held = [], dict(tensors)
    readers = [segment.read() | set(segment.streams) for segment in segments]
    for i, segment in enumerate(segments):
        prefix = _prefix([operator.name for operator in segment.operators])
        if not prefix:
            renamed.append(segment)
            continue
        elsewhere = set().union(*(read for j, read in enumerate(readers) if j != i), kept)
        own = segment.made() | segment.read() if segment.count > 1 else set()
        names: dict[str, str] = {}
        for name in sorted(own - elsewhere - set(segment.streams)):
            short = name[len(prefix) :]
            if name.startswith(prefix) and short and short not in held:
                names[name] = short
                held[short] = replace(held.pop(name), name=short)
        operators = tuple(
            replace(operator, name=operator.name[len(prefix) :]) for operator in segment.operators
        )
        renamed.append(replace(segment, operators=operators).renamed(names))
    return renamed, held


def _prefix(names: Sequence[str]) -> str:
    """Return the folders of a path that all names begin with."""
    if len(names) < 2:
        return ""
    folders = zip(*(re.findall(r"[^./]*[./]", name) for name in names), strict=False)
    prefix = "".join(part[0] for part in takewhile(lambda part: len(set(part)) == 1, folders))
    return "" if any(len(name) == len(prefix) for name in names) else prefix


def assemble(
    segments: Iterable[Segment],
    tensors: Mapping[str, Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Assembled:
    """Return the blocks of a graph.

    Parameters
    ----------
    segments : iterable of Segment
        In order of execution.
    tensors : mapping of str to Tensor
        All tensors of the graph.
    inputs, outputs : sequence of str
        Tensors that come from and go to the host.

    Raises
    ------
    GraphError
        If a segment reads what no earlier one makes and the host does not give.
    """
    draft = _Draft(_peeled(list(segments), dict(tensors), outputs), inputs, outputs)
    return draft.finish()


@dataclass(slots=True)
class _Parts:
    """A list of segments and the tensors that they name."""

    segments: list[Segment]
    tensors: dict[str, Tensor]


def _peeled(segments: list[Segment], tensors: dict[str, Tensor], outputs: Sequence[str]) -> _Parts:
    """Write the first repetition apart where a stream cannot have a name of its own otherwise.

    That is so where what the stream begins with is read again later, and comes from the host.
    """
    parts, known = _Parts([], tensors), set[str]()
    for i, segment in enumerate(segments):
        later = set(outputs).union(*(other.read() for other in segments[i + 1 :]))
        if any(name in later and name not in known for name in segment.streams):
            first, segment = _first_apart(segment, tensors)
            parts.segments.append(first)
            known |= first.made()
        parts.segments.append(segment)
        known |= segment.made() | segment.results.keys()
    return parts


def _first_apart(segment: Segment, tensors: dict[str, Tensor]) -> tuple[Segment, Segment]:
    own = segment.made() | {n for n in segment.read() if tensors[n].role is not Role.ACTIVATION}
    names = {name: f"first.{name}" for name in own - segment.shared}
    tensors |= {new: replace(tensors[old], name=new) for old, new in names.items()}
    first = replace(segment, name=f"{segment.name}.first", count=1, results={}).renamed(names)
    rest = segment.renamed({init: names[out] for init, out in segment.streams.items()})
    if segment.count == 2:
        return replace(first, streams={}), replace(rest, count=1, streams={})
    return replace(first, streams={}), replace(rest, count=segment.count - 1)


@dataclass(slots=True)
class _Draft:
    """Blocks in the making."""

    parts: _Parts
    inputs: Sequence[str]
    outputs: Sequence[str]
    names: dict[str, str] = field(default_factory=dict)  # flat name -> name it now goes by
    results: dict[str, tuple[int, str]] = field(default_factory=dict)  # -> its maker, name there
    carries: list[dict[str, str]] = field(default_factory=list)
    shares: list[set[str]] = field(default_factory=list)
    ready: list[Segment] = field(default_factory=list)

    def finish(self) -> Assembled:
        segments = self.parts.segments
        for i, segment in enumerate(segments):
            self.carries.append({})
            self.shares.append(set(segment.shared))
            self.ready.append(self._connected(i, segment))
        self._share_weights()
        blocks = tuple(self._block(i) for i in range(len(segments)))
        read = set().union(*(segment.read() for segment in self.ready))
        return Assembled(
            blocks,
            tuple(name for name in dict.fromkeys(self.inputs) if name in read),
            tuple(dict.fromkeys(self.names.get(name, name) for name in self.outputs)),
        )

    def _connected(self, index: int, segment: Segment) -> Segment:
        """Return a segment that reads what earlier ones make by the names that it goes by."""
        later = set(self.outputs).union(
            *(other.read() for other in self.parts.segments[index + 1 :])
        )
        reads = {name: self.names.get(name, name) for name in segment.read()}
        streams: dict[str, str] = {}
        for init, out in segment.streams.items():
            name = self._stream(index, init, again=init in later or reads[init] in later)
            reads[init] = name
            streams[name] = out
            self._alike(name, out)
        for name in reads.values():
            self._reach(index, name)
        connected = segment.renamed(reads)
        streams = {a: reads.get(b, b) for a, b in streams.items()}
        self.carries[index] = dict(streams)
        by_result = {out: name for name, out in reversed(streams.items())}
        for name, body in segment.results.items():
            self.names[name] = by_result.get(body, body)
            if body in by_result:
                self.results[name] = index, body
        return replace(connected, streams=streams)

    def _stream(self, index: int, init: str, *, again: bool) -> str:
        """Return the name of a stream: of what it begins with, or its own if that is needed.

        What a repeated block made goes by the name of its stream, and by its own in the block.
        """
        known = self.names.get(init, init)
        if not again:
            return known
        if init in self.results:
            maker, self.names[init] = self.results[init]
            self.shares[maker].add(self.names[init])
            return known
        name = self._fresh(f"{self.parts.segments[index].name}.x")
        maker = next(i for i, earlier in enumerate(self.ready) if known in earlier.made())
        self.carries[maker][name] = known
        self.parts.tensors[name] = replace(self.parts.tensors[known], name=name)
        return name

    def _fresh(self, name: str) -> str:
        number, found = 0, name
        while found in self.parts.tensors:
            number += 1
            found = f"{name}{number}"
        return found

    def _alike(self, stream: str, out: str) -> None:
        """Give both ends of a stream one shape: they may be views of each other."""
        tensors = self.parts.tensors
        one, other = tensors[stream], tensors[out]
        if one.dtype != other.dtype or one.elements != other.elements:
            raise GraphError(
                f"stream `{stream}`: {one.dtype}{list(one.shape)} cannot be fed by `{out}`,"
                f" {other.dtype}{list(other.shape)}"
            )
        tensors[out] = replace(other, shape=one.shape)

    def _reach(self, index: int, name: str) -> None:
        """Let the block read an activation: by the carry of the last block, else by sharing."""
        if self.parts.tensors[name].role is not Role.ACTIVATION:
            return
        if any(name in carry for carry in self.carries[:index]):
            return
        for maker, earlier in enumerate(self.ready):
            if name in earlier.made():
                if maker == index - 1 and earlier.count == 1:
                    self.carries[maker][name] = name
                else:
                    self.shares[maker].add(name)
                    self.shares[index].add(name)
                return
        if name not in self.inputs:
            raise GraphError(f"`{name}` is read, but nothing makes it and it is no input")

    def _share_weights(self) -> None:
        """Mark what outlives the pass and is touched by several blocks."""
        seen: dict[str, list[int]] = {}
        for i, segment in enumerate(self.ready):
            for name in segment.read() | segment.made():
                if self.parts.tensors[name].role is not Role.ACTIVATION:
                    seen.setdefault(name, []).append(i)
        for name, places in seen.items():
            for i in places if len(places) > 1 else ():
                self.shares[i].add(name)

    def _block(self, index: int) -> Block:
        segment, tensors = self.ready[index], self.parts.tensors
        used = dict.fromkeys(
            name
            for operator in segment.operators
            for name in (*operator.inputs, *operator.outputs)
        )
        held = {name: tensors[name] for name in used}
        shared = frozenset(self.shares[index] & held.keys())
        carry = self.carries[index]
        return Block(segment.name, segment.count, segment.operators, held, carry, shared)
