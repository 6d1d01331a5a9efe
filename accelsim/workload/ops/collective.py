"""Collectives between devices; model builders make none, partitioning a workload adds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops._shape import attribute, require_elements, require_inputs
from accelsim.workload.tensor import Role, Tensor, dtype_bits

__all__ = ["DIMS", "OPTIONAL_DIMS", "PATTERNS", "REDUCED", "check", "counts", "example"]

DIMS: Final = ("size_bytes", "devices")
"""Bytes of the whole array, and devices that take part.  Attribute: ``pattern``.

The whole array is what every device holds after an all-gather, an all-reduce or a broadcast, and
before a reduce-scatter or an all-to-all.
"""
OPTIONAL_DIMS: Final = ()
REDUCED: Final[frozenset[str]] = frozenset()

PATTERNS: Final[Mapping[str, tuple[bool, bool, bool]]] = {
    "all_reduce": (True, True, True),
    "reduce_scatter": (True, False, True),
    "all_gather": (False, True, False),
    "all_to_all": (True, True, False),
    "broadcast": (True, True, False),
}
"""Pattern -> whether a device reads the whole array, writes the whole, and adds."""


def _elements(operator: Operator, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return the elements of the whole array, and of one device's part."""
    bits = dtype_bits(tensors[operator.inputs[0]].dtype)
    whole = int(operator.dims["size_bytes"] * 8 // bits)
    return whole, -(-whole // operator.dims["devices"])


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` where pattern or sizes do not fit."""
    require_inputs(operator, 1)
    reads_whole, writes_whole, _ = PATTERNS[attribute(operator, "pattern", PATTERNS)]
    whole, part = _elements(operator, tensors)
    require_elements(operator, tensors, operator.inputs, whole if reads_whole else part)
    require_elements(operator, tensors, operator.outputs, whole if writes_whole else part)


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return what one device reads and writes in its memory, and adds.

    Notes
    -----
    A reducing pattern adds ``devices - 1`` partial sums of the device's own part.  What crosses
    the links depends on topology and algorithm, so a link's cost model says it.
    """
    reads_whole, writes_whole, adds = PATTERNS[operator.attributes["pattern"]]
    whole, part = _elements(operator, tensors)
    return tally(
        vector_ops=(operator.dims["devices"] - 1) * part if adds else 0,
        reads=((tensors[operator.inputs[0]], whole if reads_whole else part),),
        writes=((tensors[operator.outputs[0]], whole if writes_whole else part),),
    )


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return an all-reduce of 64 elements over 4 devices."""
    tensors = {name: Tensor(name, (4, 16), "bf16", Role.ACTIVATION) for name in ("x", "y")}
    dims, attributes = {"size_bytes": 128, "devices": 4}, {"pattern": "all_reduce"}
    return Operator("reduce", "collective", dims, ("x",), ("y",), attributes=attributes), tensors
