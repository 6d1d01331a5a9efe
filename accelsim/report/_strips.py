"""Cuts a workload into strips that are drawn as frames: blocks, or parts of long ones.

What flows into a strip and out of it stands there as a small label of its own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from accelsim.errors import bytes_text
from accelsim.workload import Block, Operator, Role, Tensor, Workload
from accelsim.workload.counts import counts
from accelsim.workload.table import dims_text

__all__ = ["Box", "Strip", "overview", "strips"]


NEAR: Final = 3
"""Blocks back from which a line is drawn in an overview; what comes from farther is named."""
MANY: Final = 2
"""Blocks that read an input, beyond which each names it instead of being joined to it."""


@dataclass(frozen=True, slots=True)
class Box:
    """A node of the drawing: an operator, a block, or what flows across a frame's border."""

    name: str
    kind: str
    lines: tuple[str, ...] = ()
    note: str = ""


@dataclass(slots=True)
class Strip:
    """A frame with its nodes and the edges between them.

    Attributes
    ----------
    title : str
        Of the frame; empty for none.
    count : int
        Repetitions.
    boxes : dict of str to Box
        In topological order, by a name unique in the strip.
    edges : list of (str, str)
        Between boxes.
    entries, exits : dict of str to str
        Stream or tensor -> box by which it enters or leaves.
    loops : list of str
        Streams that the next repetition reads.
    """

    title: str
    count: int
    boxes: dict[str, Box] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    entries: dict[str, str] = field(default_factory=dict)
    exits: dict[str, str] = field(default_factory=dict)
    loops: list[str] = field(default_factory=list)


def array_text(tensor: Tensor) -> str:
    """Return shape, format and size of a tensor.

    Examples
    --------
    >>> array_text(Tensor("x", (4, 16), "bf16", Role.ACTIVATION))
    '4 × 16 bf16, 128 B'
    """
    shape = " × ".join(map(str, tensor.shape)) or "scalar"
    return f"{shape} {tensor.dtype}, {bytes_text(tensor.size_bytes, zeros=False)}"


def strips(workload: Workload, chosen: Sequence[str], longest: int) -> list[Strip]:
    """Return the strips of a workload, operators as boxes.

    Parameters
    ----------
    workload : Workload
        Any.
    chosen : sequence of str
        Names of the blocks to draw; all if empty.
    longest : int
        Operators in a strip; longer blocks are cut.
    """
    sources = dict.fromkeys(workload.inputs, "")  # stream or tensor -> the block that made it
    found: list[Strip] = []
    before = ""  # the block drawn last
    for i, block in enumerate(workload.blocks):
        given = dict(sources)
        sources |= dict.fromkeys(_handed_on(block), block.name)
        if chosen and block.name not in chosen:
            continue
        later = set(workload.outputs).union(*(_reads(other) for other in workload.blocks[i + 1 :]))
        parts = _parts(block.operators, longest)
        for number, part in enumerate(parts):
            after = {name for other in parts[number + 1 :] for op in other for name in op.inputs}
            outside = {n: "" if source == before else source for n, source in given.items()}
            strip = _strip(block, part, outside, later, after)
            strip.title = block.name + (f" ({number + 1} of {len(parts)})" if parts[1:] else "")
            strip.loops = list(block.carry) if block.count > 1 and len(parts) == 1 else []
            found.append(strip)
        before = block.name
    return found


def _parts(operators: tuple[Operator, ...], longest: int) -> list[tuple[Operator, ...]]:
    """Return the operators in parts of nearly equal length."""
    number = -(-len(operators) // longest)
    size = -(-len(operators) // number)
    return [operators[i : i + size] for i in range(0, len(operators), size)]


def _reads(block: Block) -> set[str]:
    made = {name for operator in block.operators for name in operator.outputs}
    return {name for operator in block.operators for name in operator.inputs} - made


def _handed_on(block: Block) -> set[str]:
    """Return the names by which later blocks know what a block makes."""
    made = {name for operator in block.operators for name in operator.outputs}
    return (made & block.shared) | set(block.carry)


def _strip(
    block: Block,
    operators: tuple[Operator, ...],
    outside: dict[str, str],
    later: set[str],
    after: set[str],
) -> Strip:
    strip = Strip("", block.count)
    makers: dict[str, str] = {}
    for operator in operators:
        box = f"op {operator.name}"
        for name in dict.fromkeys(operator.inputs):
            tensor = block.tensors[name]
            if name not in makers and tensor.role is Role.ACTIVATION:
                entry = f"in {name}"
                far = outside.get(name)
                lines = (array_text(tensor), f"from {far}") if far else (array_text(tensor),)
                strip.boxes[entry] = Box(name, "stream", lines)
                strip.entries[name] = makers[name] = entry
            if name in makers:
                strip.edges.append((makers[name], box))
        strip.boxes[box] = _operator_box(block, operator)
        makers |= dict.fromkeys(operator.outputs, box)
    made = {name for operator in operators for name in operator.outputs}
    leaving = {stream: held for stream, held in block.carry.items() if held in made}
    leaving |= {name: name for name in made if name in later or name in after}
    carried = {leaving[stream] for stream in leaving if stream in block.carry}
    for stream, held in leaving.items():
        if stream == held and stream not in block.carry and held in carried:
            continue
        if block.tensors[held].role is not Role.ACTIVATION:
            continue
        box = f"out {stream}"
        strip.boxes[box] = Box(stream, "stream", (), "")
        strip.edges.append((makers[held], box))
        strip.exits[stream] = box
    return strip


def _operator_box(block: Block, operator: Operator) -> Box:
    lines = textwrap.wrap(_sizes_text(operator), 54)[:2]
    made = block.tensors[operator.outputs[0]]
    lines.append(f"→ {array_text(made)}")
    weights = [block.tensors[n] for n in operator.inputs if block.tensors[n].role is Role.WEIGHT]
    if weights:
        size = bytes_text(sum(weight.size_bytes for weight in weights), zeros=False)
        lines[-1] += f"; weight {size}"
    note = "" if operator.label in (operator.kind, operator.name) else operator.label
    name = operator.name.removeprefix(f"{block.name}.")
    return Box(name, operator.kind, tuple(lines), note)


def _sizes_text(operator: Operator) -> str:
    """Return the dims as they read in a box."""
    dims = operator.dims
    function = operator.attributes.get("function", "")
    if operator.kind in ("elementwise", "norm", "softmax", "reduce"):
        terms = f", {dims['terms']} terms" if "terms" in dims else ""
        return f"{function} {dims['rows']} × {dims['columns']}{terms}".strip()
    if operator.kind == "transfer":
        return f"writes {bytes_text(dims['size_bytes'], zeros=False)}"
    if operator.kind != "attention":
        return dims_text(operator)
    heads = f"{dims['heads']} heads" + (
        f" ({dims['kv_heads']} KV)" if dims["kv_heads"] != dims["heads"] else ""
    )
    width = f"of {dims['head_dim']}" + (
        f"/{dims['value_dim']}" if dims["value_dim"] != dims["head_dim"] else ""
    )
    mask = dims_text(operator).partition("causal")
    said = f"{heads} {width}, {dims['batch']} × {dims['q_len']} to {dims['kv_len']} tokens"
    return said + (f", {mask[1]}{mask[2]}" if mask[1] else "")


def overview(workload: Workload, longest: int) -> list[Strip]:
    """Return strips with a box for each block.

    What comes from the block before is a line; what comes from afar (skip connections, conditions
    that many blocks read) is named in the box.

    Parameters
    ----------
    workload : Workload
        Any.
    longest : int
        Blocks in a strip.
    """
    blocks = workload.blocks
    number = -(-len(blocks) // longest)
    size = -(-len(blocks) // number)
    found = [Strip("", 1) for _ in range(number)]
    makers: dict[str, int] = dict.fromkeys(workload.inputs, -1)
    readers = {name: sum(name in _reads(block) for block in blocks) for name in workload.inputs}
    for i, block in enumerate(blocks):
        strip, first = found[i // size], i % size == 0
        name, far = f"block {block.name}", list[str]()
        near = [n for n in sorted(_reads(block)) if n in makers]
        near = [n for n in near if block.tensors[n].role is Role.ACTIVATION]
        for tensor in near:
            source = makers[tensor]
            if source < 0 and readers[tensor] <= MANY:
                box = f"in {tensor}"
                strip.boxes[box] = Box(tensor, "stream", (array_text(block.tensors[tensor]),))
                strip.edges.append((box, name))
            elif source < 0:
                far.append(tensor)
            elif source == i - 1 and first:
                _hand_over(found[i // size - 1], strip, blocks[source].name, tensor, name)
            elif source == i - 1 or (i - source <= NEAR and source >= i // size * size):
                strip.edges.append((f"block {blocks[source].name}", name))
            else:
                far.append(blocks[source].name)
        strip.boxes[name] = _block_box(block, far)
        made = {n for operator in block.operators for n in operator.outputs}
        makers |= dict.fromkeys((*made, *block.carry), i)
    for tensor in workload.outputs:
        if makers.get(tensor, -1) == len(blocks) - 1:
            found[-1].boxes[f"out {tensor}"] = Box(tensor, "stream")
            found[-1].edges.append((f"block {blocks[-1].name}", f"out {tensor}"))
    return found


def _hand_over(one: Strip, other: Strip, source: str, tensor: str, reader: str) -> None:
    """Let a tensor leave a strip and enter the next."""
    out, entry = f"out {tensor}", f"in {tensor}"
    one.boxes[out], other.boxes[entry] = Box(tensor, "stream"), Box(tensor, "stream")
    one.edges.append((f"block {source}", out))
    other.edges.append((entry, reader))
    one.exits[tensor], other.entries[tensor] = out, entry


def _block_box(block: Block, far: list[str]) -> Box:
    macs = sum(counts(operator, block.tensors).macs for operator in block.operators)
    lines = list(_block_lines(block, macs))
    if far:
        lines.append(f"+ {', '.join(dict.fromkeys(far))}")
    note = f"× {block.count}" if block.count > 1 else ""
    return Box(block.name, _main_kind(block), tuple(lines), note)


def _main_kind(block: Block) -> str:
    """Return the kind that does most of a block's arithmetic."""
    work: dict[str, int] = {}
    for operator in block.operators:
        one = counts(operator, block.tensors)
        work[operator.kind] = work.get(operator.kind, 0) + 1000 * one.macs + one.vector_ops
    return max(work, key=lambda kind: work[kind])


def _block_lines(block: Block, macs: int) -> Iterator[str]:
    times = f"{block.count} × " if block.count > 1 else ""
    number = len(block.operators)
    work = f", {times}{_si(macs)}MAC" if macs else ""
    yield f"{number} operator{'s' if number > 1 else ''}{work}"
    weights = sum(
        tensor.size_bytes for tensor in block.tensors.values() if tensor.role is Role.WEIGHT
    )
    last = block.tensors[block.operators[-1].outputs[0]]
    held = f"; weights {times}{bytes_text(weights, zeros=False)}" if weights else ""
    yield f"→ {array_text(last)}{held}"


def _si(value: float) -> str:
    """Return a number with a prefix, a space before the unit to come.

    Examples
    --------
    >>> _si(1.6e12), _si(0)
    ('1.6 T', '0 ')
    """
    for factor, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.3g} "
