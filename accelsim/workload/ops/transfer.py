"""Movement without arithmetic: appending keys and values to a cache, copies, format changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.errors import GraphError
from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops._shape import require_inputs
from accelsim.workload.tensor import Role, Tensor, dtype_bits

__all__ = ["DIMS", "OPTIONAL_DIMS", "REDUCED", "check", "counts", "example"]

DIMS: Final = ("size_bytes",)
"""Bytes written, which may be a part of the outputs (the new tokens of a KV cache)."""
OPTIONAL_DIMS: Final = ()
REDUCED: Final[frozenset[str]] = frozenset()


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` where more is written than the outputs hold, or formats are mixed."""
    require_inputs(operator, 1, 99)
    for names in (operator.inputs, operator.outputs):
        kinds = sorted({(tensors[n].dtype, tensors[n].role.value) for n in names})
        if len(kinds) > 1:
            raise GraphError(
                f"transfer `{operator.name}`: {', '.join(names)} mix formats or roles: {kinds}"
            )
    room = sum(tensors[name].size_bytes for name in operator.outputs)
    if operator.dims["size_bytes"] > room:
        raise GraphError(
            f"transfer `{operator.name}`: writes {operator.dims['size_bytes']} bytes into"
            f" outputs of {room}"
        )


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the counts: as many elements are read as are written, each in its own format."""
    source, target = tensors[operator.inputs[0]], tensors[operator.outputs[0]]
    elements = int(operator.dims["size_bytes"] * 8 // dtype_bits(target.dtype))
    return tally(reads=((source, elements),), writes=((target, elements),))


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return the append of one token's keys and values to a cache of 5."""
    tensors = {
        "qkv": Tensor("qkv", (1, 64), "bf16", Role.ACTIVATION),
        "k": Tensor("k", (1, 2, 5, 8), "bf16", Role.KV_CACHE),
        "v": Tensor("v", (1, 2, 5, 8), "bf16", Role.KV_CACHE),
    }
    dims = {"size_bytes": 64}
    operator = Operator(
        "kv_append", "transfer", dims, ("qkv",), ("k", "v"), "kv_append", "size_bytes"
    )
    return operator, tensors
