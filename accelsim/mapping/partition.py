"""Divides operators over devices: what one of several tensor-parallel devices does.

A workload's operators name the dim that tensor parallelism divides; dividing a summed dim leaves
partial sums, which an all-reduce adds up (Megatron-LM, arXiv 1909.08053, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from accelsim.errors import MappingError
from accelsim.workload import Operator, Tensor
from accelsim.workload.ops import rules
from accelsim.workload.tensor import packed_bytes

__all__ = ["collective_after", "divide"]

# Dims that one device cannot hold a part of: they must divide without rest.
_INDIVISIBLE = frozenset({"heads", "batch"})


def divide(operator: Operator, ways: int) -> Operator:
    """Return the operator's share on the fullest of `ways` devices.

    Vocabulary-like dims that do not divide are padded, as Megatron-LM pads them; heads are not.

    Raises
    ------
    MappingError
        If heads, or KV heads, do not divide.
    """
    if ways == 1 or operator.shard is None:
        return operator
    dims = dict(operator.dims)
    for name in (operator.shard, "kv_heads") if operator.shard == "heads" else (operator.shard,):
        if name in ("heads", "kv_heads", *_INDIVISIBLE) and dims[name] % ways:
            raise MappingError(
                f"operator `{operator.name}`: {name} {dims[name]} cannot be divided over"
                f" {ways} tensor-parallel devices"
            )
        dims[name] = -(-dims[name] // ways)
    return replace(operator, dims=dims)


def collective_after(
    operator: Operator, tensors: Mapping[str, Tensor], ways: int, *, last: bool
) -> Operator | None:
    """Return the collective that must follow a divided operator, None where none need.

    Parameters
    ----------
    operator : Operator
        Undivided.
    tensors : mapping of str to Tensor
        Tensors of its block.
    ways : int
        Tensor-parallel devices.
    last : bool
        Whether its output leaves the workload, so that a divided one must be gathered.
    """
    if ways == 1 or operator.shard is None:
        return None
    reduced = operator.shard in rules(operator.kind).REDUCED
    if not reduced and not last:
        return None
    output = tensors[operator.outputs[0]]
    size = output.size_bytes
    if reduced and "accumulator" in operator.attributes:  # partial sums travel as they are
        size = packed_bytes(output.elements, operator.attributes["accumulator"])
    pattern = "all_reduce" if reduced else "all_gather"
    return Operator(
        f"{operator.name}.{pattern}", "collective",
        {"size_bytes": size, "devices": ways},
        (output.name,), (output.name,), "collective", None, {"pattern": pattern},
    )  # fmt: skip
