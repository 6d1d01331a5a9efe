"""Tensors: shape, number format and role, which decide how many bytes an operator moves.

The role says what the bytes are to the memory system: weights are read in every step, a KV cache
grows with the sequence, a state is rewritten in place, activations live from one operator to the
next.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from accelsim.errors import GraphError, UnknownNameError

__all__ = [
    "DTYPE_BITS",
    "Role",
    "Sparsity",
    "Tensor",
    "compute_dtype",
    "dtype_bits",
    "packed_bytes",
]


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
    # FP6 in the 4+2 layout of ZeroQuant(4+2), arXiv 2312.08583, is split in two, not padded.
    "fp6": 6, "fp4": 4, "nf4": 4,
    "int7": 7, "int6": 6, "int5": 5, "int4": 4, "int3": 3, "int2": 2, "int1": 1,
    # OCP Microscaling Formats 1.0: blocks of 32 elements share one 8-bit scale.
    "mxfp8": 8.25, "mxfp6": 6.25, "mxfp4": 4.25,
    # NVFP4: blocks of 16 elements share one FP8 scale.
    "nvfp4": 4.5,
}  # fmt: skip
"""Number format -> stored bits per element, shared block scales included."""

_GROUPED: Final = re.compile(
    r"(?P<base>[a-z]+\d+)_g(?P<group>[1-9]\d*)(?P<zero>z?)(_(?P<scale>\w+))?"
)


@lru_cache(maxsize=256)
def _grouped(dtype: str) -> tuple[str, float] | None:
    """Return element format and bits per element of a grouped format; None if it is none."""
    found = _GROUPED.fullmatch(dtype)
    if found is None:
        return None
    base, scale = found["base"], found["scale"] or "fp16"
    if base not in DTYPE_BITS or scale not in DTYPE_BITS:
        return None
    shared = DTYPE_BITS[scale] + (DTYPE_BITS[base] if found["zero"] else 0)
    return base, DTYPE_BITS[base] + shared / int(found["group"])


def dtype_bits(dtype: str) -> float:
    """Return the stored bits per element of a number format, metadata included.

    Parameters
    ----------
    dtype : str
        A name of `DTYPE_BITS`, or ``<element>_g<size>[z][_<scale>]``: groups of `size` elements
        share a scale (``fp16`` unless named) and, with ``z``, a zero point of the element's width.

    Raises
    ------
    UnknownNameError
        If the format is neither.

    Examples
    --------
    >>> dtype_bits("bf16"), dtype_bits("mxfp4"), dtype_bits("int4_g128"), dtype_bits("int4_g64z")
    (16, 4.25, 4.125, 4.3125)
    """
    bits = DTYPE_BITS.get(dtype)
    if bits is not None:
        return bits
    grouped = _grouped(dtype)
    if grouped is None:
        raise UnknownNameError("dtype", dtype, DTYPE_BITS)
    return grouped[1]


def compute_dtype(dtype: str) -> str:
    """Return the element's format without its groups: what a multiplier sees.

    Examples
    --------
    >>> compute_dtype("int4_g128"), compute_dtype("bf16")
    ('int4', 'bf16')
    """
    grouped = None if dtype in DTYPE_BITS else _grouped(dtype)
    return dtype if grouped is None else grouped[0]


def packed_bytes(elements: int, dtype: str) -> int:
    """Return the bytes that `elements` densely packed elements take, rounded up.

    Examples
    --------
    >>> packed_bytes(3, "int4")
    2
    """
    return int(-(-elements * dtype_bits(dtype) // 8))


@dataclass(frozen=True, slots=True)
class Sparsity:
    """Elements of a tensor that are zero and neither stored nor multiplied.

    Parameters
    ----------
    density : float
        Share of elements that are not zero, above 0, at most 1.
    pattern : str
        ``2:4``, ``unstructured``, ``block 64x64``, ...: what a unit must support to skip zeros.
    metadata_bits : float
        Bits per element of the dense tensor that say where the others lie (a bitmap: 1).

    Raises
    ------
    GraphError
        If the density is out of range, or metadata negative.
    """

    density: float
    pattern: str = "unstructured"
    metadata_bits: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1 or self.metadata_bits < 0:
            raise GraphError(
                f"sparsity `{self.pattern}`: density {self.density} is not above 0 and at most 1,"
                f" or its metadata of {self.metadata_bits} bits is negative"
            )


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
    sparsity : Sparsity, optional
        Which elements are zero; all are stored where absent.

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
    sparsity: Sparsity | None = None

    def __post_init__(self) -> None:
        for size in self.shape:
            if type(size) is not int or size < 1:
                raise GraphError(
                    f"tensor `{self.name}`: dimension {size!r} of shape {self.shape}"
                    " is not a whole number of at least 1"
                )
        if self.dtype not in DTYPE_BITS:
            dtype_bits(self.dtype)  # raises unless it is a grouped format

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of the packed array, without what sparsity leaves out."""
        return self.bytes_of(math.prod(self.shape))

    def bytes_of(self, elements: int) -> int:
        """Return the bytes that so many of its elements take, zeros among them."""
        if self.sparsity is None:
            return packed_bytes(elements, self.dtype)
        stored = dtype_bits(self.dtype) * self.sparsity.density + self.sparsity.metadata_bits
        return math.ceil(elements * stored / 8)
