"""Tensors as their readers see them: a shape, and how many elements of the tensor it shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.workload.tensor import Role

__all__ = ["Value", "broadcast", "rows_columns"]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor as its readers see it.

    Attributes
    ----------
    tensor : str
        Name of the tensor that holds it.
    shape : tuple of int
        Shape in which it is read.
    dtype : str
        Number format.
    role : Role
        What the tensor is to the memory system.
    distinct : int
        Elements of the tensor that are read: fewer than it holds in a slice, fewer than `shape`
        has where elements are broadcast.
    """

    tensor: str
    shape: tuple[int, ...]
    dtype: str
    role: Role
    distinct: int

    @property
    def elements(self) -> int:
        """Elements of the shape in which it is read."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"`{self.tensor}` {self.dtype}{list(self.shape)}"


def rows_columns(shape: Sequence[int]) -> tuple[int, int]:
    """Return the rows and columns of an array: all dimensions but the last, and the last.

    Examples
    --------
    >>> rows_columns((2, 3, 4)), rows_columns(())
    ((6, 4), (1, 1))
    """
    return math.prod(shape[:-1]), shape[-1] if shape else 1


def broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape to which two shapes broadcast, as in NumPy.

    Raises
    ------
    ValueError
        If they do not.

    Examples
    --------
    >>> broadcast((4, 1, 8), (3, 1))
    (4, 3, 8)
    """
    length = max(len(one), len(other))
    pairs = zip(
        (1,) * (length - len(one)) + one, (1,) * (length - len(other)) + other, strict=True
    )
    shape = []
    for a, b in pairs:
        if a != b and 1 not in (a, b):
            raise ValueError
        shape.append(max(a, b))
    return tuple(shape)
