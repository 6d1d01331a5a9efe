"""Tensors: shape, number format and role, which decide how many bytes an operator moves.

The role says what the bytes are to the memory system: weights are read in every step, a KV cache
grows with the sequence, a state is rewritten in place, activations live from one operator to the
next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from accelsim.errors import GraphError, UnknownNameError

__all__ = ["DTYPE_BITS", "Role", "Tensor", "dtype_bits", "packed_bytes"]


class Role(StrEnum):
    """What a tensor is to the memory system."""

    WEIGHT = "weight"
    ACTIVATION = "activation"
    KV_CACHE = "kv_cache"
    STATE = "state"


DTYPE_BITS: Final[Mapping[str, float]] = {
    "fp64": 64, "int64": 64,
    "fp32": 32, "tf32": 32, "int32": 32,  # TF32 is a compute format; it is stored as FP32
    "fp16": 16, "bf16": 16, "int16": 16,
    "fp8": 8, "int8": 8, "uint8": 8, "bool": 8,
    "fp6": 6, "fp4": 4, "int4": 4, "int2": 2,
    # OCP Microscaling Formats 1.0: blocks of 32 elements share one 8-bit scale.
    "mxfp8": 8.25, "mxfp6": 6.25, "mxfp4": 4.25,
    # NVFP4: blocks of 16 elements share one FP8 scale.
    "nvfp4": 4.5,
}  # fmt: skip
"""Number format -> stored bits per element, shared block scales included."""


def dtype_bits(dtype: str) -> float:
    """Return the stored bits per element of a number format.

    Raises
    ------
    UnknownNameError
        If the format is not in `DTYPE_BITS`.

    Examples
    --------
    >>> dtype_bits("bf16"), dtype_bits("mxfp4")
    (16, 4.25)
    """
    try:
        return DTYPE_BITS[dtype]
    except KeyError:
        raise UnknownNameError("dtype", dtype, DTYPE_BITS) from None


def packed_bytes(elements: int, dtype: str) -> int:
    """Return the bytes that `elements` densely packed elements take, rounded up.

    Examples
    --------
    >>> packed_bytes(3, "int4")
    2
    """
    return int(-(-elements * dtype_bits(dtype) // 8))


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array.

    Parameters
    ----------
    name : str
        Unique within its block.
    shape : tuple of int
        Every dimension is at least 1; a scalar has none.
    dtype : str
        A name of `DTYPE_BITS`.
    role : Role
        What it is to the memory system.

    Examples
    --------
    >>> weight = Tensor("down.weight", (4096, 14336), "bf16", Role.WEIGHT)
    >>> weight.elements, weight.size_bytes
    (58720256, 117440512)
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: Role

    def __post_init__(self) -> None:
        for size in self.shape:
            if type(size) is not int or size < 1:
                raise GraphError(
                    f"tensor `{self.name}`: dimension {size!r} of shape {self.shape}"
                    " is not a whole number of at least 1"
                )
        if self.dtype not in DTYPE_BITS:
            raise UnknownNameError("dtype", self.dtype, DTYPE_BITS)

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of the densely packed array."""
        return packed_bytes(math.prod(self.shape), self.dtype)
