"""From a recording to nodes: regions first, then one rule per call, then fusions and cleaning."""

from __future__ import annotations

from collections.abc import Mapping

from accelsim.errors import GraphError
from accelsim.workload.importers._torch_aten import ELEMENTWISE, base_name
from accelsim.workload.importers._torch_nodes import Context, Node
from accelsim.workload.importers._torch_recording import Call, Frame, Recording, View
from accelsim.workload.importers._torch_regions import region_of, scan
from accelsim.workload.importers._torch_rules import elementwise, rule, transfer
from accelsim.workload.tensor import packed_bytes

__all__ = ["nodes_of"]


def _regions(recording: Recording) -> dict[int, int]:
    """Return for every frame the outermost one that may become one operator, itself included."""
    calls: dict[int, list[Call]] = {}
    for call in recording.calls:
        frame = call.frame
        while frame >= 0:
            calls.setdefault(frame, []).append(call)
            frame = recording.frames[frame].parent
    chosen: dict[int, int] = {}
    for number, frame_ in enumerate(recording.frames):
        if frame_.parent in chosen:
            chosen[number] = chosen[frame_.parent]
        elif region_of(frame_, calls.get(number, [])) is not None:
            chosen[number] = number
    return chosen


def nodes_of(context: Context, mapped: Mapping[str, str], ignored: frozenset[str]) -> list[Node]:
    """Return the nodes of a recording in the order of execution.

    Raises
    ------
    GraphError
        For an operation in no table, with its name and its module.
    """
    recording = context.recording
    chosen = _regions(recording)
    grouped: list[tuple[int, list[Call]]] = []
    for call in recording.calls:
        number = chosen.get(call.frame, -1)
        if number >= 0 and grouped and grouped[-1][0] == number:
            grouped[-1][1].append(call)
        else:
            grouped.append((number, [call]))
    nodes: list[Node] = []
    for number, calls in grouped:
        made = _collapse(context, number, calls) if number >= 0 else None
        if made is None:
            made = [n for call in calls for n in _follow(context, call, mapped, ignored)]
        nodes += made
    return nodes


def _collapse(context: Context, number: int, calls: list[Call]) -> list[Node] | None:
    """Return the nodes of a region, None where it turns out not to be one operator."""
    frames = context.recording.frames
    frame = frames[number]
    build = region_of(frame, calls)
    if build is None:
        return None
    if not any(context.dynamic(call.inputs) for call in calls):
        return None  # all constant: rules find that out
    module = _module(frames, number)
    facts = Frame(
        frame.path, frame.name, frame.parent, frame.function, frame.layers, module.facts,
        frame.arguments, frame.results,
    )  # fmt: skip
    return build(context, facts, calls, dict(frame.arguments))


def _module(frames: tuple[Frame, ...], number: int) -> Frame:
    """Return the innermost frame from `number` on that is a module."""
    while frames[number].function:
        number = frames[number].parent
    return frames[number]


def _follow(
    context: Context, call: Call, mapped: Mapping[str, str], ignored: frozenset[str]
) -> list[Node]:
    """Return the nodes of one call: none, one, or those of a scan."""
    frame = _module(context.recording.frames, call.frame)
    if call.op in ("accelsim.selective_scan", "accelsim.chunk_scan"):
        return scan(context, call, frame)
    if call.op in ignored:
        if call.inputs:
            context.restate(call.outputs[0], call.inputs[0])
        return []
    if call.op in mapped:
        return [_mapped(context, call, frame, mapped[call.op])]
    if context.absorb(call):
        return []
    found = rule(call.op)
    if found is None and context.copies:
        found = _copy_rule
    if found is None or not call.op.startswith("aten."):
        raise GraphError(
            f"module `{frame.path}` ({frame.name}): operation `{call.op}` is not known; say what"
            f" it costs like, map={{'{call.op}': 'exp'}}, or that it is free,"
            f" ignore={{'{call.op}'}}"
        )
    return [found(context, call, frame)]


def _copy_rule(context: Context, call: Call, frame: Frame) -> Node:
    out = call.outputs[0]
    reads = [context.resolve(call.inputs[-1 if call.overwrites else 0])]
    size = packed_bytes(out.size, out.dtype)
    return transfer(frame.path, base_name(call.op), reads, [out], size, "copy")


def _mapped(context: Context, call: Call, frame: Frame, target: str) -> Node:
    """Return the node of an operation that the user has given a cost."""
    reads: list[View] = context.dynamic(call.inputs)
    out = call.outputs[0]
    name = call.op.rpartition(".")[2]
    if target == "transfer":
        size = packed_bytes(out.size, out.dtype)
        return transfer(frame.path, name, reads, [out], size, "copy")
    known = {*ELEMENTWISE.values(), "modulate", "gated_add", "scale", "rope", "interpolate"}
    if target not in known:
        raise GraphError(
            f"map: `{call.op}` to `{target}`, which is neither `transfer` nor an elementwise"
            f" function; legal: {', '.join(sorted({*known, 'transfer'}))}"
        )
    return elementwise(frame.path, name, target, reads, out, source=call.op)
