"""Rewrites workloads: tensors and operators one by one, blocks dropped or repeated less often.

Everything that follows from the tensors (parameters, KV bytes) is set anew, so that a transformed
workload is as legal as the one it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from accelsim.errors import GraphError
from accelsim.workload.graph import Block, Operator, Workload, weight_elements
from accelsim.workload.tensor import Role, Tensor

__all__ = [
    "keep_blocks",
    "map_blocks",
    "map_tensors",
    "readers",
    "with_note",
    "without_cache",
]


def with_note(workload: Workload, key: str, text: str) -> Workload:
    """Return the workload with one more convention stated; a second one of a key is joined on."""
    before = workload.conventions.get(key)
    stated = {**workload.conventions, key: f"{before}; {text}" if before else text}
    return replace(workload, conventions=stated)


def map_blocks(workload: Workload, change: Callable[[Block], Block]) -> Workload:
    """Return the workload with every block changed, its parameters counted anew."""
    blocks = tuple(change(block) for block in workload.blocks)
    changed = replace(workload, blocks=blocks)
    held, had = weight_elements(changed), weight_elements(workload)
    if held == had:
        return changed
    return replace(
        changed,
        parameters=workload.parameters + held - had,
        active_parameters=workload.active_parameters + held - had,
    )


def without_cache(block: Block) -> Block:
    """Return a block whose attention reads keys and values where they were made.

    Raises
    ------
    GraphError
        If the cache holds more than the block itself appends to it.
    """
    source: dict[str, str] = {}
    kept: list[Operator] = []
    for operator in block.operators:
        if operator.label != "kv_append":
            kept.append(operator)
            continue
        last = operator.inputs[-1]
        for number, name in enumerate(operator.outputs):
            source[name] = operator.inputs[number] if number < len(operator.inputs) else last
    dims = [o.dims for o in kept if o.kind == "attention"]
    held = any(t.role is Role.KV_CACHE for t in block.tensors.values())
    if held and any(d["kv_len"] > d["q_len"] for d in dims):
        raise GraphError(
            f"block `{block.name}` attends to earlier tokens in a cache; without one, a"
            " pass is a prefill or a forward pass over whole sequences"
        )
    operators = tuple(replace(o, inputs=tuple(source.get(n, n) for n in o.inputs)) for o in kept)
    tensors = {n: t for n, t in block.tensors.items() if n not in source}
    return replace(block, operators=operators, tensors=tensors)


def readers(block: Block) -> dict[str, list[Operator]]:
    """Return tensor -> the operators that read it."""
    found: dict[str, list[Operator]] = {}
    for operator in block.operators:
        for name in operator.inputs:
            found.setdefault(name, []).append(operator)
    return found


def map_tensors(
    workload: Workload, change: Callable[[Tensor, list[Operator]], Tensor]
) -> Workload:
    """Return the workload with every tensor changed; `change` also sees who reads it.

    KV bytes per token and state bytes per sequence scale with the bytes of the caches.
    """

    def rewrite(block: Block) -> Block:
        read = readers(block)
        tensors = {name: change(t, read.get(name, [])) for name, t in block.tensors.items()}
        operators = tuple(_resized(o, block.tensors, tensors) for o in block.operators)
        return replace(block, operators=operators, tensors=tensors)

    return scale_caches(workload, map_blocks(workload, rewrite))


def _resized(
    operator: Operator, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> Operator:
    """Return a transfer with its bytes in the proportion in which its outputs have changed."""
    if operator.kind != "transfer":
        return operator
    had = sum(before[name].size_bytes for name in operator.outputs)
    has = sum(after[name].size_bytes for name in operator.outputs)
    size = max(1, -(-operator.dims["size_bytes"] * has // had))
    return replace(operator, dims={**operator.dims, "size_bytes": size})


def cache_bytes(workload: Workload) -> int:
    """Return the bytes of all KV caches at the end of the pass."""
    return sum(
        tensor.size_bytes * block.count
        for block in workload.blocks
        for tensor in block.tensors.values()
        if tensor.role is Role.KV_CACHE
    )


def scale_caches(before: Workload, after: Workload) -> Workload:
    """Return `after` with KV bytes per token in the proportion that its caches have shrunk."""
    had, has = cache_bytes(before), cache_bytes(after)
    if had == has:
        return after
    return replace(after, kv_bytes_per_token=round(before.kv_bytes_per_token * has / had))


def keep_blocks(workload: Workload, counts: Mapping[str, int]) -> Workload:
    """Return the workload with some blocks repeated less often, or left out.

    What a block that is left out would have made and a later one reads comes from the host side:
    it was cached by an earlier pass.  The weights of what is left out become idle parameters.

    Parameters
    ----------
    counts : mapping of str to int
        Block -> repetitions, 0 to leave it out; blocks that are not named stay as they are.

    Raises
    ------
    GraphError
        If there is no such block, or nothing is left.
    """
    unknown = sorted(counts.keys() - {block.name for block in workload.blocks})
    if unknown:
        raise GraphError(
            f"{workload.name} has no block {', '.join(unknown)}; it has"
            f" {', '.join(block.name for block in workload.blocks)}"
        )
    kept: list[Block] = []
    made: set[str] = set(workload.inputs)
    stale: set[str] = set()  # streams that a block left out would have changed
    missing: list[str] = []
    for block in workload.blocks:
        count = min(block.count, counts.get(block.name, block.count))
        if not count:
            stale |= block.carry.keys()
            continue
        block = _from_cache(block, stale)
        stale -= block.carry.keys()
        kept.append(replace(block, count=count))
        own = {name for operator in block.operators for name in operator.outputs}
        for operator in block.operators:
            for name in operator.inputs:
                if block.tensors[name].role is Role.ACTIVATION and name not in own | made:
                    made.add(name)
                    missing.append(name)
        made |= block.carry.keys() | {name for name in own if name in block.shared}
    if not kept:
        raise GraphError(f"{workload.name}: no block is left")
    left = replace(
        workload,
        blocks=tuple(kept),
        inputs=(*workload.inputs, *missing),
        outputs=tuple(o for o in workload.outputs if any(o in b.tensors for b in kept)),
    )
    return replace(left, idle_parameters=workload.parameters - weight_elements(left))


def _from_cache(block: Block, stale: set[str]) -> Block:
    """Return a block that reads the stale streams from what an earlier pass has cached."""
    made = {name for operator in block.operators for name in operator.outputs}
    names = {
        name: f"{block.name}.cached.{name}"
        for name in block.tensors
        if name in stale and name not in made
    }
    if not names:
        return block
    tensors = {
        names.get(name, name): replace(tensor, name=names.get(name, name))
        for name, tensor in block.tensors.items()
    }
    operators = tuple(
        replace(o, inputs=tuple(names.get(name, name) for name in o.inputs))
        for o in block.operators
    )
    return replace(block, tensors=tensors, operators=operators)
