"""Finds places for texts in a figure, in pixels: beside a mark, off other marks, texts and lines.

Greedy: who comes first has the better place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from accelsim.report._nest_page import DOTS_PER_INCH, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "POINTS", "Box", "along", "beneath", "centre", "extent", "free_place", "in_points",
    "leader", "overlap",
]  # fmt: skip

POINTS: Final = 6.5
"""Size of texts."""
_FAR: Final = 20.0
"""Pixels beyond which a line leads from a text to its mark."""

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""


def free_place(
    around: Box, stated: Sequence[str], window: Box, obstacles: Sequence[Box]
) -> Box | None:
    """Return a place for lines of text beside a mark, None where there is none (or no text)."""
    if not stated:
        return None
    size = max(extent(line)[0] for line in stated), len(stated) * extent("")[1]
    for place in _beside(around, size, window):
        inside = window[0] < place[0] and place[2] < window[2]
        inside = inside and window[1] < place[1] and place[3] < window[3]
        if inside and not any(overlap(place, other) for other in obstacles):
            return place
    return None


def _beside(mark: Box, size: tuple[float, float], window: Box) -> Iterable[Box]:
    """Yield places of a text around a mark: right, left, above, below, then further off.

    Those above and below are moved sideways into the window.
    """
    long, tall = size
    x, y = centre(mark)
    inside = min(max(x - long / 2, window[0] + 4), window[2] - 4 - long)
    for off in (3.0, 12.0, 26.0, 60.0, 100.0):
        for left, bottom in (
            (mark[2] + off, y - tall / 2), (mark[0] - off - long, y - tall / 2),
            (inside, mark[3] + off), (inside, mark[1] - off - tall),
            (mark[2] + off / 2, mark[3] + off), (mark[0] - off / 2 - long, mark[3] + off),
            (mark[2] + off / 2, mark[1] - off - tall),
            (mark[0] - off / 2 - long, mark[1] - off - tall),
        ):  # fmt: skip
            yield left, bottom, left + long, bottom + tall


def leader(mark: Box, place: Box) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return the ends of a line from a text to a mark that is far from it, else None."""
    x, y = centre(mark)
    near = min(max(x, place[0]), place[2]), min(max(y, place[1]), place[3])
    edge = min(max(near[0], mark[0]), mark[2]), min(max(near[1], mark[1]), mark[3])
    return (near, edge) if math.dist(near, edge) > _FAR else None


def along(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> list[Box]:
    """Return small boxes along a line of the axes."""
    first, last = axes.transData.transform([start, end])
    return beneath(first, last)


def beneath(start: Sequence[float], end: Sequence[float]) -> list[Box]:
    """Return small boxes along a line."""
    (x0, y0), (x1, y1) = start, end
    steps = max(2, int(math.hypot(x1 - x0, y1 - y0) / 6))
    spots = [(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps) for i in range(steps + 1)]
    return [(x - 3, y - 3, x + 3, y + 3) for x, y in spots]


def extent(text: str) -> tuple[float, float]:
    """Return width and height of a line of text, in pixels."""
    return text_width(text, POINTS) * DOTS_PER_INCH, 1.25 * POINTS * DOTS_PER_INCH / 72


def overlap(a: Box, b: Box) -> bool:
    """Say whether two boxes have a part in common."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def centre(box: Box) -> tuple[float, float]:
    """Return the middle of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def in_points(place: Sequence[float]) -> tuple[float, float]:
    """Return the lower left corner in points, which no format of file scales."""
    return place[0] * 72 / DOTS_PER_INCH, place[1] * 72 / DOTS_PER_INCH
