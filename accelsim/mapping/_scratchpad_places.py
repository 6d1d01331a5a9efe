"""Gives each stay an address so that none overlap: several greedy fits, then a complete search.

This is dynamic storage allocation, which is NP-complete; the search says apart "impossible" and
"gave up".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from accelsim.mapping._scratchpad_plan import Stay

__all__ = ["Places", "place"]

NODES: Final = 5_000
"""Placements that the complete search tries in one group of stays before it gives up."""

DEEPEST: Final = 40
"""Stays in one group up to which the complete search is tried."""

RETRIES: Final = 60
"""Orders that best fit tries; each puts first the stay that found no hole in the one before."""


@dataclass(frozen=True, slots=True)
class Places:
    """What became of placing.

    Attributes
    ----------
    stays : tuple of Stay or None
        With offsets; None where they do not fit, or none was found.
    stuck : tuple of Stay
        A group that does not fit at any offsets, or that the search gave up.
    proven : bool
        Whether it is certain that the group cannot fit.
    """

    stays: tuple[Stay, ...] | None
    stuck: tuple[Stay, ...] = ()
    proven: bool = False


def place(
    stays: Sequence[Stay], sizes: Sequence[int], capacity_bytes: int, *, thorough: bool = True
) -> Places:
    """Return offsets for stays, or which of them cannot be placed together.

    Parameters
    ----------
    stays : sequence of Stay
        Their offsets are ignored.
    sizes : sequence of int
        Bytes of each storage.
    capacity_bytes : int
        Of the scratchpad.
    thorough : bool
        Whether to search all layouts of a small group in which best fit fails.
    """
    placed: list[Stay] = []
    for group in _groups(stays):
        size = [sizes[stay.storage] for stay in group]
        meets = _meetings(group)
        offsets, failed = _best_fits(group, size, meets, capacity_bytes)
        if offsets is None and thorough and len(group) <= DEEPEST:
            offsets, finished = _search(size, meets, capacity_bytes)
            if offsets is None and finished:
                return Places(None, tuple(_shrunk(group, size, capacity_bytes)), proven=True)
        if offsets is None:
            return Places(None, _crowd(group, size, meets, failed))
        placed += [
            replace(one, offset_bytes=offset) for one, offset in zip(group, offsets, strict=True)
        ]
    return Places(tuple(sorted(placed, key=lambda s: (s.first, s.storage))))


def _groups(stays: Sequence[Stay]) -> Iterator[list[Stay]]:
    """Yield stays that share steps directly or through others; groups share no step."""
    group: list[Stay] = []
    end = -1
    for stay in sorted(stays, key=lambda s: (s.first, s.storage)):
        if group and stay.first > end:
            yield group
            group = []
        group.append(stay)
        end = max(end, stay.last)
    if group:
        yield group


def _meetings(group: Sequence[Stay]) -> list[list[int]]:
    """Return for each stay the others that are there at the same time."""
    meets: list[list[int]] = [[] for _ in group]
    for i, stay in enumerate(group):  # in order of their first steps
        for j in range(i + 1, len(group)):
            if group[j].first > stay.last:
                break
            meets[i].append(j)
            meets[j].append(i)
    return meets


def _crowd(
    group: Sequence[Stay], size: Sequence[int], meets: Sequence[Sequence[int]], failed: int
) -> tuple[Stay, ...]:
    """Return what is there at the fullest step of the stay that found no hole."""
    stay = group[failed]
    steps = range(stay.first, stay.last + 1)
    near = [failed, *meets[failed]]
    full = max(steps, key=lambda t: sum(size[j] for j in near if _there(group[j], t)))
    return tuple(group[j] for j in near if _there(group[j], full))


def _there(stay: Stay, step: int) -> bool:
    return stay.first <= step <= stay.last


def _best_fits(
    group: Sequence[Stay], size: Sequence[int], meets: Sequence[Sequence[int]], capacity: int
) -> tuple[list[int] | None, int]:
    """Return offsets by best fit in several orders; without any, who found no hole last."""
    length = [stay.last - stay.first + 1 for stay in group]
    numbers = range(len(group))
    starts = (
        sorted(numbers, key=lambda i: (-size[i], group[i].first)),
        sorted(numbers, key=lambda i: (-length[i], -size[i])),
        sorted(numbers, key=lambda i: (-size[i] * length[i], group[i].first)),
        list(numbers),
    )
    failed = 0
    for start in starts:
        order = start
        for _ in range(RETRIES // len(starts)):
            offsets, failed = _best_fit(size, meets, order, capacity)
            if failed < 0:
                return offsets, failed
            order = [failed, *(i for i in order if i != failed)]
    return None, failed


def _best_fit(
    size: Sequence[int], meets: Sequence[Sequence[int]], order: Sequence[int], capacity: int
) -> tuple[list[int], int]:
    """Place stays one by one in the smallest hole; return who finds none, or -1."""
    offsets = [-1] * len(size)
    for i in order:
        near = sorted((offsets[j], offsets[j] + size[j]) for j in meets[i] if offsets[j] >= 0)
        top, best, room = 0, -1, capacity + 1
        for low, high in [*near, (capacity, capacity)]:
            if size[i] <= low - top < room:
                best, room = top, low - top
            top = max(top, high)
        if best < 0:
            return offsets, i
        offsets[i] = best
    return offsets, -1


def _search(
    size: Sequence[int], meets: Sequence[Sequence[int]], capacity: int, nodes: int = NODES
) -> tuple[list[int] | None, bool]:
    """Return offsets if there are any, and whether the search was complete.

    Notes
    -----
    If stays fit at all, they also fit when each lies on 0 or on top of one that it meets.  Placed
    in order of offset, and of number where offsets are equal, each then lies on the highest top
    of those it meets that are placed before it; so these orders cover all layouts.
    """
    count = len(size)
    offsets, floor, left = [-1] * count, [0] * count, nodes

    def descend(last: tuple[int, int], missing: int) -> bool:
        nonlocal left
        if not missing:
            return True
        waiting = [i for i in range(count) if offsets[i] < 0]
        if any(floor[i] + size[i] > capacity for i in waiting):
            return False
        choices = [(floor[i], i) for i in waiting if (floor[i], i) > last]
        for at, i in sorted(choices, key=lambda c: (c[0], -size[c[1]])):
            left -= 1
            if left < 0:
                return False
            raised = [
                (j, floor[j]) for j in meets[i] if offsets[j] < 0 and floor[j] < at + size[i]
            ]
            offsets[i] = at
            for j, _ in raised:
                floor[j] = at + size[i]
            if descend((at, i), missing - 1):
                return True
            offsets[i] = -1
            for j, old in raised:
                floor[j] = old
        return False

    found = descend((-1, -1), count)
    return (offsets if found else None), left >= 0


def _shrunk(group: Sequence[Stay], size: Sequence[int], capacity: int) -> list[Stay]:
    """Return fewer stays that provably do not fit either: what a plan must not do again."""
    core = list(range(len(group)))
    for i in sorted(core, key=lambda i: size[i]):
        rest = [j for j in core if j != i]
        stays = [group[j] for j in rest]
        sizes, meets = [size[j] for j in rest], _meetings(stays)
        if _best_fits(stays, sizes, meets, capacity)[0] is not None:
            continue
        offsets, finished = _search(sizes, meets, capacity, NODES // 5)
        if offsets is None and finished:
            core = rest
    return [group[j] for j in core]
