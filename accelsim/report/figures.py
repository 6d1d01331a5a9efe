"""Draws the designs of a sweep and their Pareto fronts, one panel for each group of designs.

Designs of different groups (by default: models, phases, sequence lengths) are not compared, so a
front never runs across them.  Files are the same bytes whenever the rows are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from accelsim.explore.metrics import METRICS
from accelsim.explore.pareto import front, groups
from accelsim.explore.sweep import SweepSpec
from accelsim.report.style import (
    FONT_AND_LINES,
    axis_label,
    series_styles,
    shown,
    unit_scale,
    wants_log,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["pareto_figures", "series_axis"]

PANELS: Final = 12  # on one figure; more groups go to further ones
COLUMNS: Final = 3
PANEL_INCHES: Final = (2.75, 2.2)
DOTS_PER_INCH: Final = 200
_LINE: Final = "#404040"
_RASTER: Final = 2000  # points beyond which an SVG holds them as an image: else it is megabytes


def pareto_figures(frame: pd.DataFrame, spec: SweepSpec, folder: Path) -> list[Path]:
    """Draw every design against two objectives, and the front of each group; write PNG and SVG.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows of ``accelsim.explore.to_frame``; only those with a result are drawn.
    spec : SweepSpec
        The sweep: objectives, and which axes make groups.
    folder : Path
        Where ``pareto.png`` and ``pareto.svg`` go.  With three objectives there is one figure for
        each pair of them, and with more than 12 groups each is continued on further ones.

    Returns
    -------
    list of Path
        The files; none if no design has a result.
    """
    import matplotlib as mpl

    drawn = frame.dropna(subset=list(spec.objectives))
    if drawn.empty:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    parameters: Any = {"backend": "agg", **FONT_AND_LINES}  # mypy would have 300 literal keys
    with mpl.rc_context(parameters):
        for name, figure in _figures(drawn, spec):
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # laid out once, not for each format: half the time
            for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                files.append(folder / f"{name}.{suffix}")
                figure.savefig(files[-1], metadata=metadata)
    return files


def series_axis(frame: pd.DataFrame, spec: SweepSpec) -> str:
    """Return the axis that colours tell apart: the architecture, unless there is but one."""
    changed = [name for name in frame if "." in str(name)]
    for name in ("arch", "mapping", *map(str, changed), "batch"):
        if name in frame and name not in spec.front_per and 2 <= frame[name].nunique() <= 10:
            return name
    return "arch"


@dataclass(frozen=True, slots=True)
class _View:
    """What is common to all panels of a figure."""

    x: str
    y: str
    scales: tuple[float, float]
    units: tuple[str, str]
    logs: tuple[bool, bool]
    better: tuple[str, str]
    staircase: bool
    series: str
    styles: dict[str, dict[str, Any]]


def _figures(frame: pd.DataFrame, spec: SweepSpec) -> Iterator[tuple[str, Figure]]:
    compared = [group for _, group in groups(frame, spec.front_per)]
    best = front(frame, spec.objectives, spec.front_per).index
    pairs = list(combinations(spec.objectives, 2))
    pages = [compared[i : i + PANELS] for i in range(0, len(compared), PANELS)]
    for x, y in pairs:
        view = _view(frame, compared, spec, x, y)
        for number, page in enumerate(pages, 1):
            name = "pareto" if len(pairs) == 1 else f"pareto-{_word(x)}-{_word(y)}"
            name += f"-{number}" if len(pages) > 1 else ""
            yield name, _figure(page, view, spec, best)


def _word(metric: str) -> str:
    return METRICS[metric].label.lower()


def _view(
    frame: pd.DataFrame, panels: Sequence[pd.DataFrame], spec: SweepSpec, x: str, y: str
) -> _View:
    scaled = [unit_scale(METRICS[name], frame[name]) for name in (x, y)]
    series = series_axis(frame, spec)
    return _View(
        x=x,
        y=y,
        scales=(scaled[0][0], scaled[1][0]),
        units=(scaled[0][1], scaled[1][1]),
        logs=(
            any(wants_log(group[x]) for group in panels),
            any(wants_log(group[y]) for group in panels),
        ),
        better=(spec.objectives[x], spec.objectives[y]),
        staircase=len(spec.objectives) == 2,
        series=series,
        styles=series_styles(map(shown, frame[series].drop_duplicates())),
    )


def _figure(
    compared: Sequence[pd.DataFrame], view: _View, spec: SweepSpec, best: pd.Index[Any]
) -> Figure:
    from matplotlib.figure import Figure

    columns = 2 if len(compared) in (2, 4) else min(COLUMNS, len(compared))
    rows = -(-len(compared) // columns)
    width = max(PANEL_INCHES[0] * columns, 4.0) + 0.2
    legend = _legend_entries(view)
    legend_columns = _fitting([str(entry.get_label()) for entry in legend], width)
    legend_rows = -(-len(legend) // legend_columns)
    height = PANEL_INCHES[1] * rows + 0.3 + 0.17 * legend_rows
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    common, varying = _titles(compared, spec)
    for panel, group, title in zip(panels, compared, varying, strict=False):
        _draw(panel, group, group.index.isin(best), view)
        panel.set_title(title, loc="left")
    for panel in panels[len(compared) :]:
        panel.remove()
    for i, panel in enumerate(panels[: len(compared)]):
        if i % columns == 0:
            panel.set_ylabel(axis_label(METRICS[view.y], view.units[1]))
        if i + columns >= len(compared):
            panel.set_xlabel(axis_label(METRICS[view.x], view.units[0]))
    figure.suptitle(common, fontsize=9, x=0.01, ha="left")
    figure.legend(
        handles=legend, loc="outside lower left", ncols=legend_columns, handletextpad=0.4,
        columnspacing=1.4, borderpad=0.1, labelspacing=0.35,
    )  # fmt: skip
    return figure


def _titles(compared: Sequence[pd.DataFrame], spec: SweepSpec) -> tuple[str, list[str]]:
    """Return what all groups have in common, and what tells each from the others."""
    values = [[group[name].iloc[0] for group in compared] for name in spec.front_per]
    fixed = [len({str(v) for v in column}) == 1 for column in values]
    parts = [
        [_said(name, value) for value in column]
        for name, column in zip(spec.front_per, values, strict=True)
    ]
    common = [part[0] for part, same in zip(parts, fixed, strict=True) if same]
    own = [part for part, same in zip(parts, fixed, strict=True) if not same]
    return ", ".join([spec.name, *common]), [
        ", ".join(part[i] for part in own) for i in range(len(compared))
    ]


def _said(axis: str, value: Any) -> str:
    """Return a value as a reader knows it: names alone, numbers with their axis."""
    if axis in ("model", "arch", "mapping", "phase"):
        return shown(value)
    return f"{'sequence length' if axis == 'seq_len' else axis} {shown(value)}"


def _draw(panel: Axes, group: pd.DataFrame, best: np.ndarray[Any, Any], view: _View) -> None:
    x = group[view.x].to_numpy() * view.scales[0]
    y = group[view.y].to_numpy() * view.scales[1]
    names = group[view.series].map(shown).to_numpy()
    beneath = np.zeros(names.size, dtype=np.int64)
    beneath[best] = _beneath(x[best], y[best], names[best])
    for name, style in view.styles.items():
        mine, look = names == name, {"color": style["color"], "marker": style["marker"]}
        panel.scatter(
            x[mine & ~best], y[mine & ~best], s=11 * style["area"], alpha=0.45, linewidths=0,
            rasterized=len(group) > _RASTER, zorder=2, **look,
        )  # fmt: skip
        for depth in np.unique(beneath[mine & best]):
            at = mine & best & (beneath == depth)
            panel.scatter(
                x[at], y[at], s=32 * style["area"] * 0.45**depth, edgecolors="black",
                linewidths=0.6 * 0.7**depth, zorder=4 + depth, **look,
            )  # fmt: skip
    _scale(panel, "x", x, log=view.logs[0])
    _scale(panel, "y", y, log=view.logs[1])
    if view.staircase:
        _staircase(panel, x[best], y[best], view.better)


def _beneath(
    x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], names: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return how many other series lie beneath each design: it is drawn smaller, to show them."""
    there: dict[tuple[str, str], list[str]] = {}
    depth = np.zeros(x.size, dtype=np.int64)
    for i, name in enumerate(names):
        series = there.setdefault((f"{x[i]:.3g}", f"{y[i]:.3g}"), [])
        if name not in series:
            series.append(name)
        depth[i] = min(series.index(name), 2)
    return depth


def _scale(panel: Axes, which: str, values: np.ndarray[Any, Any], *, log: bool) -> None:
    """Set the limits of an axis around the values, and ticks that a person would write."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axis: Axis = getattr(panel, f"{which}axis")
    low, high = float(values.min()), float(values.max())
    if log:
        getattr(panel, f"set_{which}scale")("log")
        decades = math.log10(high / low)
        margin = 10 ** max(0.07 * decades, 0.05)
        low, high = low / margin, high * margin
        steps = (1.0, 2.0, 5.0) if decades < 2.2 else (1.0,)
        few = decades < 0.7  # such a range may hold no 1, 2 or 5
        axis.set_major_locator(MaxNLocator(4) if few else LogLocator(subs=steps, numticks=8))
        axis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=100))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        margin = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
        low, high = low - margin, high + margin
        axis.set_major_locator(MaxNLocator(5))
    getattr(panel, f"set_{which}lim")(low, high)


def _staircase(
    panel: Axes, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], better: tuple[str, str]
) -> None:
    """Draw the border of what the front dominates, out to the panel's edges."""
    if not x.size:
        return
    upwards = better[0] == "min"
    order = np.argsort(x if upwards else -x, kind="stable")  # best first
    worst_x = panel.get_xlim()[1 if upwards else 0]
    worst_y = panel.get_ylim()[1 if better[1] == "min" else 0]
    # Between two designs of the front, the better y needs the x of the second.
    corners_x = np.append(np.repeat(x[order], 2), worst_x)
    corners_y = np.insert(np.repeat(y[order], 2), 0, worst_y)
    panel.plot(corners_x, corners_y, color=_LINE, linewidth=0.9, zorder=3)


def _legend_entries(view: _View) -> list[Line2D]:
    from matplotlib.lines import Line2D

    def mark(label: str, size: float, **look: Any) -> Line2D:
        return Line2D([], [], linestyle="none", markersize=size, label=label, **look)

    edge: dict[str, Any] = {"markeredgecolor": "black", "markeredgewidth": 0.6}
    entries = [
        mark(_said(view.series, name), 5.5, color=style["color"], marker=style["marker"], **edge)
        for name, style in view.styles.items()
    ]
    line: dict[str, Any] = {"linestyle": "none"}
    if view.staircase:
        line = {"linestyle": "-", "color": _LINE, "linewidth": 0.9}
    hollow: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "markersize": 5.5}
    entries.append(Line2D([], [], label="Pareto front", **hollow, **edge, **line))
    entries.append(mark("dominated", 3.5, color="#B0B0B0", marker="o"))
    return entries


def _fitting(labels: Sequence[str], width_inches: float) -> int:
    """Return how many columns of a legend fit side by side, in rows as full as can be."""
    widest = 0.42 + 0.062 * max(map(len, labels))  # marker and gaps, and 8-point letters
    columns = max(1, min(len(labels), int(width_inches / widest)))
    rows = -(-len(labels) // columns)
    return -(-len(labels) // rows)
