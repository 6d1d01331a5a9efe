"""Whether a workload is one: every input made or given, nothing dangling, no cycle, dims that fit.

Builders and importers produce legal workloads by construction; this is the check that tests,
importers of foreign files, and authors of new families run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from accelsim.errors import GraphError
from accelsim.workload import ops
from accelsim.workload.graph import Block, Operator, Workload, weight_elements
from accelsim.workload.tensor import Role, Tensor

__all__ = ["validate"]


def validate(workload: Workload) -> Workload:
    """Return the workload if it is legal.

    Checks
    ------
    - Blocks, and operators within a block, have unique names; the parameters equal the weights.
    - Every operator fits its kind's dims and shape rule.
    - Every input is a weight, cache or state, made by an earlier operator, carried or shared
      from an earlier block, or an input of the workload.
    - Every tensor is named by an operator and made by at most one; every activation made is
      read, carried, shared or an output of the workload.

    Raises
    ------
    GraphError
        Names the block, and the operator or tensor; names the operators of a cycle.
    """
    _require_unique("block", (block.name for block in workload.blocks), f"`{workload.name}`")
    available: dict[str, Tensor | None] = dict.fromkeys(workload.inputs)
    done: dict[str, Block] = {}
    for block in workload.blocks:
        try:
            found = available | _recalled(block, done)
            available |= _check_block(block, found, frozenset(workload.outputs))
        except GraphError as error:
            raise GraphError(f"{workload.name}, block `{block.name}`: {error}") from None
        done[block.name] = block
    missing = set(workload.outputs) - available.keys()
    if missing:
        raise GraphError(f"{workload.name}: outputs {sorted(missing)} are made by no block")
    held = weight_elements(workload)
    if held + workload.idle_parameters != workload.parameters:
        idle = f", {workload.idle_parameters} of them idle" if workload.idle_parameters else ""
        raise GraphError(
            f"{workload.name}: its weights hold {held} elements, but it claims"
            f" {workload.parameters} parameters{idle}"
        )
    return workload


def _recalled(block: Block, done: Mapping[str, Block]) -> dict[str, Tensor | None]:
    """Return what a block finds again of earlier ones, which must be as often repeated."""
    found: dict[str, Tensor | None] = {}
    for name in block.recalls:
        if name not in done:
            raise GraphError(f"recalls `{name}`, which is no earlier block")
        if done[name].count != block.count:
            raise GraphError(
                f"recalls `{name}` of {done[name].count} repetitions, itself has {block.count}"
            )
        found |= done[name].tensors
    return found


def _require_unique(what: str, names: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise GraphError(f"{where}: two {what}s are named `{name}`")
        seen.add(name)


def _check_block(
    block: Block, available: Mapping[str, Tensor | None], outputs: frozenset[str]
) -> dict[str, Tensor]:
    """Check one block; return what it makes available to later ones."""
    _require_unique("operator", (operator.name for operator in block.operators), "here")
    for operator in block.operators:
        ops.check(operator, block.tensors)
    makers = _makers(block)
    _check_order(block, makers)
    read = _check_inputs(block, makers, available)
    _check_use(block, makers, read, outputs)
    _check_carry(block, makers)
    kept = {name: tensor for name, tensor in block.tensors.items() if name in block.shared}
    kept |= {name: block.tensors[name] for name in outputs & makers.keys()}
    return kept | {stream: block.tensors[name] for stream, name in block.carry.items()}


def _makers(block: Block) -> dict[str, Operator]:
    makers: dict[str, Operator] = {}
    for operator in block.operators:
        for name in operator.outputs:
            if name in makers:
                raise GraphError(
                    f"tensor `{name}` is made by `{makers[name].name}` and `{operator.name}`"
                )
            if block.tensors[name].role is Role.WEIGHT:
                raise GraphError(f"operator `{operator.name}` writes the weight `{name}`")
            makers[name] = operator
    return makers


def _check_order(block: Block, makers: Mapping[str, Operator]) -> None:
    """Raise where an operator reads what a later one makes; name the cycle if there is one."""
    place = {operator.name: i for i, operator in enumerate(block.operators)}
    for operator in block.operators:
        for name in operator.inputs:
            maker = makers.get(name)
            if maker and place[maker.name] >= place[operator.name]:
                cycle = _cycle(block, makers)
                if cycle:
                    raise GraphError("cycle: " + " -> ".join(cycle))
                raise GraphError(
                    f"operator `{operator.name}` reads `{name}` before `{maker.name}` makes it;"
                    " list the operators in topological order"
                )


def _cycle(block: Block, makers: Mapping[str, Operator]) -> list[str]:
    """Return the operator names of one cycle, the first repeated at the end; empty if none."""
    waiting = {
        operator.name: {makers[name].name for name in operator.inputs if name in makers}
        for operator in block.operators
    }
    while ready := {name for name, before in waiting.items() if not before & waiting.keys()}:
        waiting = {name: before for name, before in waiting.items() if name not in ready}
    if not waiting:
        return []
    path = [next(iter(waiting))]
    while True:  # every operator left waits for another one left, so the walk must come back
        before = min(waiting[path[-1]] & waiting.keys())
        if before in path:
            return [before, *reversed(path[path.index(before) :])]
        path.append(before)


def _check_inputs(
    block: Block, makers: Mapping[str, Operator], available: Mapping[str, Tensor | None]
) -> set[str]:
    """Raise for an input from nowhere, or of another shape there; return the names read."""
    read: set[str] = set()
    for operator in block.operators:
        for name in operator.inputs:
            read.add(name)
            if name in makers or block.tensors[name].role is not Role.ACTIVATION:
                continue
            if name not in available:
                raise GraphError(
                    f"operator `{operator.name}` reads `{name}`, which nothing makes: it is no"
                    " weight, no carried or shared tensor of an earlier block, and no input of"
                    " the workload"
                )
    for name, tensor in block.tensors.items():
        source = available.get(name)
        if source and name not in makers and not _alike(source, tensor):
            raise GraphError(
                f"`{name}` is {tensor.dtype}{list(tensor.shape)} here and"
                f" {source.dtype}{list(source.shape)} in the block it comes from"
            )
    return read


def _alike(one: Tensor, other: Tensor) -> bool:
    # Blocks may see one tensor in different shapes, as a view is free: an image as rows.
    return one.elements == other.elements and one.dtype == other.dtype


def _check_use(
    block: Block, makers: Mapping[str, Operator], read: set[str], outputs: frozenset[str]
) -> None:
    for name, tensor in block.tensors.items():
        if name != tensor.name:
            raise GraphError(f"tensor `{tensor.name}` is listed as `{name}`")
        if name not in makers and name not in read:
            raise GraphError(f"tensor `{name}` dangles: no operator reads or makes it")
        kept = name in read or name in block.carry.values() or name in block.shared
        if tensor.role is Role.ACTIVATION and not kept and name not in outputs:
            raise GraphError(
                f"tensor `{name}` dangles: `{makers[name].name}` makes it and nothing reads it"
            )


def _check_carry(block: Block, makers: Mapping[str, Operator]) -> None:
    for stream, name in block.carry.items():
        if name not in makers:
            raise GraphError(f"carry `{stream}`: no operator makes `{name}`")
        if stream not in block.tensors:
            if block.count == 1:
                continue  # the stream begins here
            raise GraphError(f"carry `{stream}`: the block has no tensor of that name")
        before, after = block.tensors[stream], block.tensors[name]
        if block.count > 1 and not _alike(before, after):
            raise GraphError(
                f"carry `{stream}`: {before.dtype}{list(before.shape)} cannot be fed by"
                f" `{name}`, {after.dtype}{list(after.shape)}"
            )
