"""Finds what repeats in a list of layers: each body is stored once, with a count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["repeats"]

Kind = TypeVar("Kind")


def _times(kinds: Sequence[Kind], start: int, period: int) -> int:
    """Return how often the `period` kinds from `start` on follow one another."""
    body = kinds[start : start + period]
    times = 1
    while kinds[start + times * period : start + (times + 1) * period] == body:
        times += 1
    return times


def repeats(kinds: Sequence[Kind]) -> tuple[tuple[tuple[Kind, ...], int], ...]:
    """Return bodies and counts that, written out, give the list back.

    Parameters
    ----------
    kinds : sequence
        The kind of each layer in order.

    Returns
    -------
    tuple of (body, count)
        At each place the body that covers most layers, the shortest of equals.

    Examples
    --------
    >>> repeats("dddmmmmm")
    ((('d',), 3), (('m',), 5))
    >>> repeats("lllllglllllgll")
    ((('l', 'l', 'l', 'l', 'l', 'g'), 2), (('l',), 2))
    """
    found: list[tuple[tuple[Kind, ...], int]] = []
    start = 0
    while start < len(kinds):
        period, times = 1, _times(kinds, start, 1)
        for longer in range(2, (len(kinds) - start) // 2 + 1):
            if period * times == len(kinds) - start:
                break
            count = _times(kinds, start, longer)
            if count > 1 and longer * count > period * times:
                period, times = longer, count
        found.append((tuple(kinds[start : start + period]), times))
        start += period * times
    return tuple(found)
