"""Number formats by role: weights, activations, KV cache, and what is left in the model's own."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final, Literal

from accelsim.workload.dtypes import Dtype
from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.tensor import Role, Tensor
from accelsim.workload.transforms._rewrite import map_blocks, map_tensors, with_note
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "NumberFormats"]

_ROLES: Final = ("weight", "activation", "kv_cache", "key", "value", "state", "accumulator")
_PRODUCTS: Final = frozenset({"matmul", "conv", "attention"})
_COARSE: Final = frozenset({"int32", "int64", "bool"})
"""Formats of indices and masks, which stay."""


class NumberFormats(Transform):
    """Stores and multiplies in other formats; FLOPs stay, bytes change.

    Examples
    --------
    >>> from accelsim.workload import decode, totals, workload
    >>> pass_ = workload("llama2-7b", decode(1, 1023))
    >>> small = NumberFormats(weight="int4_g128").apply(pass_)
    >>> totals(small).flops == totals(pass_).flops
    True
    """

    paper: ClassVar[str] = "AWQ, arXiv 2306.00978: 4-bit weights in groups of 128 (W4A16)"

    kind: Literal["number_formats"] = "number_formats"
    weight: Dtype | None = "int4_g128"
    """Matrices of linear layers, convolutions and experts; unchanged where null."""
    activation: Dtype | None = None
    """Activations between operators."""
    kv_cache: Dtype | None = None
    """Keys and values, unless `key` or `value` says otherwise."""
    key: Dtype | None = None
    """Keys."""
    value: Dtype | None = None
    """Values."""
    state: Dtype | None = None
    """Recurrent state."""
    accumulator: Dtype | None = None
    """Partial sums of products where they leave a device: in the all-reduce after a layer whose
    inputs are divided.  They are rounded to activations before it where null."""
    keep: tuple[str, ...] = ("lm_head", "embedding", "router")
    """Labels of operators whose weights stay as they are."""

    def apply(self, workload: Workload) -> Workload:
        """Return the pass in the formats given."""
        stated = ", ".join(f"{role} {dtype}" for role in _ROLES if (dtype := getattr(self, role)))
        changed = map_tensors(workload, self._tensor)
        if self.accumulator:
            changed = map_blocks(changed, self._accumulating)
        return with_note(changed, "formats", f"{stated}; {', '.join(self.keep)} kept")

    def _accumulating(self, block: Block) -> Block:
        """Return a block whose products state the format of their partial sums."""
        operators = tuple(
            replace(o, attributes={**o.attributes, "accumulator": self.accumulator})
            if o.kind in _PRODUCTS
            else o
            for o in block.operators
        )
        return replace(block, operators=operators)

    def _tensor(self, tensor: Tensor, read_by: list[Operator]) -> Tensor:
        dtype = self._dtype(tensor, read_by)
        return tensor if dtype is None else replace(tensor, dtype=dtype)

    def _dtype(self, tensor: Tensor, read_by: list[Operator]) -> str | None:
        if tensor.role is Role.WEIGHT:
            matrix = len(tensor.shape) > 1
            kept = any(operator.label in self.keep for operator in read_by)
            return self.weight if matrix and not kept else None
        if tensor.role is Role.KV_CACHE:
            for operator in read_by:
                if operator.kind == "attention" and len(operator.inputs) > 2:
                    if operator.inputs[2] == tensor.name:
                        return self.value or self.kv_cache
                    return self.key or self.kv_cache
            return self.kv_cache
        if tensor.role is Role.STATE:
            return self.state
        return None if tensor.dtype in _COARSE else self.activation


TRANSFORM: Final = NumberFormats
