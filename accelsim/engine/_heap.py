"""Compiled binary heaps in slices of preallocated arrays, so that no push allocates.

An entry is two int64 words; entries are compared by their first word, then by their second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelsim.jit import kernel

__all__ = ["pop", "push"]

Words = NDArray[np.int64]


@kernel
def push(first: Words, second: Words, base: int, length: int, a: int, b: int) -> None:
    """Add the entry (a, b) to a heap of `length` entries; the caller counts them.

    Parameters
    ----------
    first, second : int64[...]
        The words of all entries; the heap begins at `base` with its smallest entry.
    base, length : int
        Where the heap begins, and how many entries it has before.
    a, b : int
        The words of the new entry.
    """
    hole = length
    while hole > 0:
        above = (hole - 1) >> 1
        x, y = first[base + above], second[base + above]
        if x < a or (x == a and y < b):
            break
        first[base + hole], second[base + hole] = x, y
        hole = above
    first[base + hole], second[base + hole] = a, b


@kernel
def pop(first: Words, second: Words, base: int, length: int) -> None:
    """Drop the smallest entry, the one at `base`, which leaves `length` entries.

    Parameters
    ----------
    first, second : int64[...]
        The words of all entries; the heap begins at `base` with its smallest entry.
    base, length : int
        Where the heap begins, and how many entries it has afterwards.
    """
    a, b = first[base + length], second[base + length]
    hole, child = 0, 1
    while child < length:
        right = child + 1
        if right < length:
            # No branch: which child is smaller is a coin toss, and branch prediction loses it.
            x, y = first[base + child], first[base + right]
            child += (y < x) | ((y == x) & (second[base + right] < second[base + child]))
        x, y = first[base + child], second[base + child]
        if (a < x) | ((a == x) & (b < y)):
            break
        first[base + hole], second[base + hole] = x, y
        hole = child
        child = 2 * hole + 1
    first[base + hole], second[base + hole] = a, b
