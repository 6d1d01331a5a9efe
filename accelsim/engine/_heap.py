"""Compiled binary heaps, many in one pair of preallocated arrays, so that nothing allocates.

An entry is two int64 words; entries are compared by their first word, then by their second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelsim.jit import kernel

__all__ = ["pop", "push"]


@kernel
def push(words: NDArray[np.int64], place: NDArray[np.int64], heap: int, a: int, b: int) -> None:
    """Add the entry (a, b).

    Parameters
    ----------
    words : int64[m, 2]
        Entries of all heaps, the smallest of each heap first.
    place : int64[h, 2]
        For each heap, its first row in `words` and how many entries it has.
    heap : int
        Which heap.
    a, b : int
        The words of the new entry.
    """
    base, hole = place[heap, 0], place[heap, 1]
    place[heap, 1] = hole + 1
    while hole > 0:
        above = (hole - 1) >> 1
        x, y = words[base + above, 0], words[base + above, 1]
        if x < a or (x == a and y < b):
            break
        words[base + hole, 0], words[base + hole, 1] = x, y
        hole = above
    words[base + hole, 0], words[base + hole, 1] = a, b


@kernel
def pop(words: NDArray[np.int64], place: NDArray[np.int64], heap: int) -> int:
    """Take the smallest entry of a heap that has one, and return its second word.

    Parameters
    ----------
    words : int64[m, 2]
        Entries of all heaps, the smallest of each heap first.
    place : int64[h, 2]
        For each heap, its first row in `words` and how many entries it has.
    heap : int
        Which heap.
    """
    base, length = place[heap, 0], place[heap, 1] - 1
    place[heap, 1] = length
    taken = words[base, 1]
    a, b = words[base + length, 0], words[base + length, 1]
    hole, child = 0, 1
    while child < length:
        right = child + 1
        if right < length:
            # No branch: which child is smaller is a coin toss, and branch prediction loses it.
            x, y = words[base + child, 0], words[base + right, 0]
            child += (y < x) | ((y == x) & (words[base + right, 1] < words[base + child, 1]))
        x, y = words[base + child, 0], words[base + child, 1]
        if (a < x) | ((a == x) & (b < y)):
            break
        words[base + hole, 0], words[base + hole, 1] = x, y
        hole = child
        child = 2 * hole + 1
    words[base + hole, 0], words[base + hole, 1] = a, b
    return int(taken)
