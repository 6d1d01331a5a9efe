"""Finds attentions over a KV cache and gives them shorter, split or thinner caches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.tensor import Role, Tensor, packed_bytes

__all__ = ["cached_attention", "decoding", "map_attentions", "per_token_bytes", "shorten"]


def cached_attention(operator: Operator, block: Block) -> bool:
    """Return whether an operator attends over cached keys that grow with the sequence."""
    if operator.kind != "attention" or operator.attributes.get("window"):
        return False
    return block.tensors[operator.inputs[1]].role is Role.KV_CACHE


def decoding(operator: Operator, block: Block) -> bool:
    """Return whether an operator attends with few new tokens over many cached ones."""
    past = operator.dims.get("kv_len", 0) - operator.dims.get("q_len", 0)
    return cached_attention(operator, block) and past > operator.dims["q_len"]


def caches(operator: Operator) -> tuple[str, ...]:
    """Return the key and the value cache of an attention, one name where they are one tensor."""
    return tuple(dict.fromkeys(operator.inputs[1:3]))


def shorten(tensor: Tensor, before: int, after: int) -> Tensor:
    """Return a cache of `after` tokens in place of `before`, whichever dimension counts them."""
    shape = list(tensor.shape)
    for at in range(len(shape) - 1, -1, -1):
        if shape[at] == before:
            shape[at] = after
            return replace(tensor, shape=tuple(shape))
    return tensor


def per_token_bytes(operator: Operator, block: Block) -> int:
    """Return the KV bytes of one token of one sequence in one layer."""
    dims = operator.dims
    elements = dims["kv_heads"] * (dims["head_dim"] + dims["value_dim"])
    return packed_bytes(elements, block.tensors[operator.inputs[1]].dtype)


def map_attentions(
    workload: Workload,
    chosen: Callable[[Operator, Block], bool],
    change: Callable[[Operator, dict[str, Tensor]], tuple[Operator, ...]],
    parts: tuple[str, ...] = (),
) -> Workload:
    """Return the workload with the attentions that `chosen` picks replaced by what `change` says.

    Parameters
    ----------
    chosen : callable
        Whether an operator of a block is changed.
    change : callable
        Takes the operator and the block's tensors, which it may add to and replace.
    parts : tuple of str
        Suffixes of what the caches and the output of a changed attention are split into; who
        writes or reads the whole then writes or reads the parts.
    """
    blocks = []
    for block in workload.blocks:
        tensors, operators = dict(block.tensors), list[Operator]()
        split: dict[str, tuple[str, ...]] = {}
        for operator in block.operators:
            if not chosen(operator, block):
                operators.append(operator)
                continue
            operators += change(operator, tensors)
            if parts:
                whole = (*caches(operator), *operator.outputs)
                split |= {name: tuple(f"{name}.{part}" for part in parts) for name in whole}
        for name in split:
            del tensors[name]
        renamed = tuple(_renamed(operator, split) for operator in operators)
        blocks.append(replace(block, operators=renamed, tensors=tensors))
    return replace(workload, blocks=tuple(blocks))


def _renamed(operator: Operator, split: dict[str, tuple[str, ...]]) -> Operator:
    """Return the operator with every tensor that was split replaced by its parts."""
    if not split.keys() & {*operator.inputs, *operator.outputs}:
        return operator
    inputs, outputs = (
        tuple(part for name in names for part in split.get(name, (name,)))
        for names in (operator.inputs, operator.outputs)
    )
    return replace(operator, inputs=inputs, outputs=outputs)
