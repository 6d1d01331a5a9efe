"""Draws a roofline: roofs of units and memories, a mark for each operator, names where they fit.

Axes stand at fixed places, so that texts can be put where nothing else is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from accelsim.nest.text import count_text, share_text
from accelsim.report._nest_page import DOTS_PER_INCH, text_width
from accelsim.report._roofline_places import (
    POINTS,
    Box,
    along,
    beneath,
    centre,
    extent,
    free_place,
    in_points,
    leader,
    overlap,
)
from accelsim.report.style import series_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from accelsim.report._roofline_points import Peak, Roofline, RooflinePoint

__all__ = ["roofline_figure"]

# Inches.
_SIZE: Final = (6.6, 4.7)
_PLOT: Final = (0.72, 0.95, 5.72, 3.3)  # left, bottom, width, height
_LARGEST: Final = 1200.0  # points^2 of a mark that takes the whole time
_LEAST: Final = 10.0
NAMED: Final = 10
"""Operators that are named, those with most time first."""
_WORTH: Final = 0.002
"""Part of the time below which an operator is not named."""
_NEAR: Final = 22.0  # pixels
_ROOM: Final = 4.0  # how many times beyond the last point the axes reach


def roofline_figure(found: Roofline, title: str) -> Figure:
    """Return the figure of a roofline.

    Parameters
    ----------
    found : Roofline
        With at least one point.
    title : str
        What stands above.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, dpi=DOTS_PER_INCH)
    width, height = _SIZE
    left, bottom, wide, high = _PLOT
    axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
    scale, unit = _scale(found)
    apart = _set_limits(axes, found, scale)
    axes.set_xlabel(
        f"operations per byte of traffic ({' or '.join(found.bandwidths_bytes_per_s)})"
    )
    axes.set_ylabel(f"attained ({unit})")
    kinds = list(dict.fromkeys(point.kind for point in found.points))
    styles = series_styles(kinds)
    taken = _draw_points(axes, found.points, styles, apart, scale)
    texts: list[Box] = []
    lines = _draw_roofs(axes, found, scale, taken, texts)
    _name_points(axes, found.points, taken, lines, texts)
    if apart < math.inf:
        _mark_apart(axes, apart)
    _draw_legend(figure, styles)
    size = 9 * min(1.0, wide / max(text_width(title, 9, bold=True), 0.1))
    figure.text(
        left / width, 1 - 0.16 / height, title, fontsize=size, fontweight="bold", va="center"
    )
    figure.text(left / width, 0.13 / height, _note(found), fontsize=POINTS, va="center")
    return figure


def _scale(found: Roofline) -> tuple[float, str]:
    most = max((peak.ops_per_s for peak in found.peaks), default=1.0)
    return (1e-12, "TOP/s") if most >= 1e12 else (1e-9, "GOP/s")


def _set_limits(axes: Axes, found: Roofline, scale: float) -> float:
    """Set log axes around points and ridges; return where points without traffic stand."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    finite = [p.intensity for p in found.points if p.traffic_bytes]
    bandwidths = found.bandwidths_bytes_per_s
    ridges = [
        peak.ops_per_s / bandwidths[peak.memory]
        for peak in found.peaks
        if peak.memory in bandwidths and math.isfinite(bandwidths[peak.memory])
    ]
    spots = [*finite, *ridges] or [1.0]
    low, high = min(spots) / _ROOM, max(spots) * _ROOM
    apart = math.inf
    if len(finite) < len(found.points):
        apart = high * (high / low) ** 0.06
        high = apart * (high / low) ** 0.06
    rates = [p.attained_ops_per_s * scale for p in found.points]
    rates += [peak.ops_per_s * scale for peak in found.peaks]
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(low, high)
    axes.set_ylim(min(rates) / _ROOM, max(rates) * 2.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=9))
        axis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=100))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    return apart


def _place(point: RooflinePoint, apart: float, scale: float) -> tuple[float, float]:
    x = point.intensity if point.traffic_bytes else apart
    return x, point.attained_ops_per_s * scale


def _draw_points(
    axes: Axes, points: Sequence[RooflinePoint], styles: dict[str, dict[str, Any]], apart: float,
    scale: float,
) -> list[Box]:  # fmt: skip
    """Draw a mark for each operator, small ones over large; return what each takes, in pixels."""
    taken = []
    for point in points:
        style = styles[point.kind]
        x, y = _place(point, apart, scale)
        area = max(_LEAST, _LARGEST * point.share)
        axes.scatter(
            x, y, s=area * style["area"], color=style["color"], marker=style["marker"],
            alpha=0.75, edgecolors="white", linewidths=0.4, zorder=5 - point.share,
            clip_on=False,
        )  # fmt: skip
        across, up = axes.transData.transform((x, y))
        radius = 0.5 * math.sqrt(area) * DOTS_PER_INCH / 72
        taken.append((across - radius, up - radius, across + radius, up + radius))
    return taken


def _draw_roofs(
    axes: Axes, found: Roofline, scale: float, marks: Sequence[Box], texts: list[Box]
) -> list[Box]:
    """Draw each memory's slope up to the highest peak on it, and each peak from its ridge on.

    Returns boxes along the lines, in pixels; what their names take is added to `texts`.
    """
    low, high = axes.get_xlim()
    lines: list[Box] = []
    for number, (memory, bandwidth) in enumerate(found.bandwidths_bytes_per_s.items()):
        peaks = [peak for peak in found.peaks if peak.memory == memory]
        if not peaks:
            continue
        look: dict[str, Any] = {"color": "#404040", "linewidth": 1.0, "zorder": 3,
                "linestyle": ("-", "--", "-.", ":")[number % 4]}  # fmt: skip
        rate = bandwidth * scale
        ridge = peaks[0].ops_per_s / bandwidth if math.isfinite(bandwidth) else low
        if ridge > low:
            axes.plot([low, ridge], [low * rate, ridge * rate], **look)
            lines += along(axes, (low, low * rate), (ridge, ridge * rate))
            least = max(low, axes.get_ylim()[0] / rate)
            ends = [(least, least * rate), (ridge, ridge * rate)]
            _name_slope(axes, f"{memory} {count_text(bandwidth)}B/s", ends, marks, texts)
        for peak in peaks:
            level = peak.ops_per_s * scale
            start = max(low, level / rate)
            axes.plot([start, high], [level, level], **look)
            lines += along(axes, (start, level), (high, level))
    for peak in found.peaks:
        if peak.memory in found.bandwidths_bytes_per_s:
            _name_peak(axes, peak, peak.ops_per_s * scale, [*lines, *marks], texts)
    return lines


def _name_slope(
    axes: Axes, text: str, ends: Sequence[tuple[float, float]], marks: Sequence[Box],
    texts: list[Box],
) -> None:  # fmt: skip
    """Write a memory's bandwidth along its slope, above the line, where no mark is."""
    (x0, y0), (x1, y1) = axes.transData.transform(ends)
    angle, length = math.atan2(y1 - y0, x1 - x0), math.hypot(x1 - x0, y1 - y0)
    ahead, up = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    long, tall = extent(text)
    places: list[tuple[int, int, tuple[float, float], list[Box]]] = []
    for part in (0.4, 0.25, 0.55, 0.7, 0.1, 0.85):
        start = max(0.0, part * length - long / 2)
        x = float(x0 + start * ahead[0] + 4 * up[0])
        y = float(y0 + start * ahead[1] + 4 * up[1])
        # A slanted text takes a row of small boxes.
        centres = [
            (x + long * i / 11 * ahead[0] + tall / 2 * up[0],
             y + long * i / 11 * ahead[1] + tall / 2 * up[1]) for i in range(12)
        ]  # fmt: skip
        boxes = [(cx - 9, cy - 9, cx + 9, cy + 9) for cx, cy in centres]
        hit = sum(overlap(box, other) for box in boxes for other in (*texts, *marks))
        places.append((hit, len(places), (x, y), boxes))
    _, _, place, boxes = min(places)
    texts += boxes
    axes.annotate(
        text, in_points(place), xycoords="figure points", fontsize=POINTS,
        rotation=math.degrees(angle), rotation_mode="anchor", va="bottom", zorder=6,
    )  # fmt: skip


def _name_peak(
    axes: Axes, peak: Peak, level: float, obstacles: Sequence[Box], texts: list[Box]
) -> None:
    """Write a unit's peak above its line, else below, as far right as there is room."""
    what = "elementwise" if peak.elementwise else peak.dtype
    text = f"{peak.unit}, {what}: {count_text(peak.ops_per_s)}OP/s"
    (left, up), (right, _) = axes.transData.transform([(x, level) for x in axes.get_xlim()])
    long, tall = extent(text)
    for back, bottom in ((i, y) for i in range(40) for y in (up + 4, up - 4 - tall)):
        x = right - long - 6 - 40 * back
        place = (x, bottom, x + long, bottom + tall)
        if x < left:
            return  # beneath others of the same peak
        if not any(overlap(place, other) for other in (*texts, *obstacles)):
            break
    texts.append(place)
    axes.annotate(text, in_points(place), xycoords="figure points", fontsize=POINTS, va="bottom",
                  zorder=6)  # fmt: skip


def _name_points(
    axes: Axes, points: Sequence[RooflinePoint], marks: Sequence[Box], lines: Sequence[Box],
    texts: list[Box],
) -> None:  # fmt: skip
    """Name the operators with most time beside their marks, those in one place in one list.

    A text keeps off marks and other texts, and where there is a choice off the roofs.
    """
    window = axes.get_window_extent()
    names = [point.name for point in points]
    for group in _together(points, marks):
        lines_of_text = []
        for i in group:
            point = points[i]
            name = point.name if names.count(point.name) == 1 else f"{point.block}.{point.name}"
            lines_of_text.append(f"{name} {share_text(point.share)}")
        few = [lines_of_text[0], f"and {len(group) - 1} more"] if len(group) > 2 else []
        around = marks[group[0]]  # the largest
        for stated, obstacles in (
            (lines_of_text, (*texts, *marks, *lines)), (few, (*texts, *marks, *lines)),
            (lines_of_text, (*texts, *marks)), (few, (*texts, *marks)),
        ):  # fmt: skip
            place = free_place(
                around, stated, (window.x0, window.y0, window.x1, window.y1), obstacles
            )
            if place is not None:
                texts.append(place)
                axes.annotate("\n".join(stated), in_points(place), xycoords="figure points",
                              fontsize=POINTS, va="bottom", linespacing=1.15,
                              zorder=6)  # fmt: skip
                texts += _lead(axes, leader(around, place))
                break


def _lead(axes: Axes, ends: tuple[tuple[float, float], tuple[float, float]] | None) -> list[Box]:
    """Draw a line from a text to its mark; return boxes along it."""
    if ends is None:
        return []
    axes.annotate(
        "", in_points(ends[1]), in_points(ends[0]), xycoords="figure points",
        textcoords="figure points", zorder=5.5,
        arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#808080", "shrinkA": 0,
                    "shrinkB": 0},
    )  # fmt: skip
    return beneath(*ends)


def _together(points: Sequence[RooflinePoint], marks: Sequence[Box]) -> list[list[int]]:
    """Return the operators to name, most time first; those in one place in one list."""
    groups: list[list[int]] = []
    for i in sorted(range(len(points)), key=lambda i: -points[i].share)[:NAMED]:
        if points[i].share < _WORTH:
            break
        middle = centre(marks[i])
        near = (group for group in groups if math.dist(middle, centre(marks[group[0]])) < _NEAR)
        group = next(near, None)
        if group is None:
            groups.append([i])
        else:
            group.append(i)
    return groups


def _mark_apart(axes: Axes, apart: float) -> None:
    """Set the column of operators without traffic off from the axis."""
    low, high = axes.get_xlim()
    edge = apart / (high / apart)
    axes.axvspan(edge, high, color="#F0F0F0", linewidth=0, zorder=0)
    major, minor = (
        [tick for tick in axes.get_xticks(minor=kind) if low <= tick < edge]
        for kind in (False, True)
    )
    axes.set_xticks([*major, apart], [*(f"{tick:g}" for tick in major), "no traffic"])
    axes.set_xticks(minor, minor=True)


def _draw_legend(figure: Figure, styles: dict[str, dict[str, Any]]) -> None:
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], linestyle="none", markersize=5, label=kind, color=style["color"],
               marker=style["marker"])
        for kind, style in styles.items()
    ]  # fmt: skip
    figure.legend(
        handles=entries, loc="lower left", bbox_to_anchor=(_PLOT[0] / _SIZE[0], 0.25 / _SIZE[1]),
        ncols=min(7, len(entries)), fontsize=POINTS, handletextpad=0.3, columnspacing=1.2,
        borderpad=0.0, borderaxespad=0.0,
    )  # fmt: skip


def _note(found: Roofline) -> str:
    note = "Area of a mark: part of the pass's time."
    if found.idle:
        note += (
            f" Not shown: {found.idle} operators that compute nothing"
            f" ({share_text(found.idle_share)} of the time)."
        )
    return note
