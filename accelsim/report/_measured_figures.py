"""Draws predicted against measured operator times, and errors beside those of the baselines.

Files are the same bytes whenever the comparison is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.measure.compare.scores import WITHIN
from accelsim.report.style import FONT_AND_LINES, series_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from accelsim.measure.compare.comparison import Comparison

__all__ = [
    "Series", "decades", "error_figure", "error_strips", "gpu_legend", "house_style",
    "panel_grid", "parity_figure",
]  # fmt: skip

DENSE: Final = 5000
"""Rows of a panel beyond which it shows their density instead of each."""

COLUMNS: Final = 3
PANEL_INCHES: Final = (2.75, 2.6)
DOTS_PER_INCH: Final = 200
_LINE: Final = "#404040"
_BAND: Final = "#DCE6DC"
_LEGEND_INCHES: Final = 1.9  # of an entry, wide enough for any board's name
_FURTHEST: Final = 5.0  # ratios beyond are drawn at the edge
_FEWEST: Final = 4  # rows of a median
_BINS_PER_DECADE: Final = 5  # of the median lines over a density
_BASELINES: Final[Mapping[str, tuple[str, str, str]]] = {
    "roofline": ("roofline", "#B0B0B0", "<"),
    "scaled_roofline": ("roofline × one scalar", "#8A8A8A", "v"),
    "floor_efficiency": ("floor + efficiency", "#D55E00", "s"),
}
_OURS: Final = "#0072B2"
_LEAST: Final = 0.2  # per cent; smaller errors are drawn there

_Rows = NDArray[np.int64]


def parity_figure(found: Comparison, file: Path, *, ratio: bool = False) -> Path | None:
    """Draw predicted against measured times, one panel per operator class; write a PNG.

    Parameters
    ----------
    found : Comparison
        Whose test rows are drawn, without those kept apart.
    file : Path
        Where to.
    ratio : bool, optional
        Draw predicted over measured instead, which shows errors that a parity plot is too coarse
        for.

    Returns
    -------
    Path or None
        The file; None if there is no test row with a prediction.

    Notes
    -----
    Colours and markers tell GPUs apart. A panel of more than 5,000 rows shows how many rows lie
    where, and for each GPU the median prediction over its rows of about equal measured time.
    """
    rows = np.flatnonzero(found.tested & (found.predicted > 0))
    if not rows.size:
        return None
    # The most frequent first, so that it is rare ones that share a colour.
    names, counts = np.unique(found.table["gpu"].iloc[rows].astype(str), return_counts=True)
    styles = series_styles(map(str, names[np.lexsort((names, -counts))]))
    panels = _by_class(found, rows)
    with house_style():
        figure, axes = panel_grid(len(panels), entries=len(names) + 2)
        columns = axes[0].get_gridspec().ncols  # type: ignore[union-attr]
        for i, (panel, (kind, chosen)) in enumerate(zip(axes, panels.items(), strict=True)):
            _panel(panel, found, chosen, styles, ratio=ratio)
            error = np.abs(found.predicted[chosen] / found.measured[chosen] - 1)
            panel.set_title(
                f"{kind}: {chosen.size:,} rows, {100 * error.mean():.1f} %", loc="left"
            )
            if i % columns == 0:
                panel.set_ylabel("predicted / measured" if ratio else "predicted (µs)")
            if i + columns >= len(axes):
                panel.set_xlabel("measured (µs)")
        gpu_legend(figure, styles, bool(max(map(len, panels.values())) > DENSE))
        return _saved(figure, file)


def error_figure(lines: Sequence[Mapping[str, Any]], file: Path) -> Path | None:
    """Draw errors on test rows by class, GPU and source, beside the baselines'; write a PNG.

    Parameters
    ----------
    lines : sequence of mapping
        ``table`` of a summary.
    file : Path
        Where to.

    Returns
    -------
    Path or None
        The file; None if no line has a test row.
    """
    shown = [line for line in lines if line["test"]["rows"]]
    series = [
        Series(label, colour, marker, [line["baselines"][name]["mape"] for line in shown])
        for name, (label, colour, marker) in _BASELINES.items()
    ]
    series.append(Series("accelsim", _OURS, "o", [line["test"]["mape"] for line in shown]))
    names = [_line_name(line) for line in shown]
    return error_strips(names, [line["class"] for line in shown], series, file)


@dataclass(frozen=True, slots=True)
class Series:
    """Errors of one predictor, a share of one per line; `colour` and `marker` as matplotlib's."""

    label: str
    colour: str
    marker: str
    errors: Sequence[float]


def error_strips(
    names: Sequence[str], groups: Sequence[str], series: Sequence[Series], file: Path
) -> Path | None:
    """Draw errors of several predictors, one line of marks per name; write a PNG.

    Parameters
    ----------
    names : sequence of str
        What each line is.
    groups : sequence of str
        Group of each line; a rule divides them.
    series : sequence of Series
        The predictors; the last is drawn above the others.
    file : Path
        Where to.

    Returns
    -------
    Path or None
        The file; None without names.
    """
    import matplotlib.ticker as ticker
    from matplotlib.figure import Figure

    if not names:
        return None
    with house_style():
        height = 0.16 * len(names) + 1.1
        figure = Figure(figsize=(6.5, height), dpi=DOTS_PER_INCH, layout="constrained")
        panel = figure.subplots()
        place = np.arange(len(names))[::-1]
        for order, one in enumerate(series):
            last = order == len(series) - 1
            panel.scatter(
                np.maximum(100 * np.array(one.errors, dtype=np.float64), _LEAST), place,
                s=24 if last else 14, color=one.colour, marker=one.marker, label=one.label,
                edgecolors="black" if last else "none", linewidths=0.5, zorder=2 + last,
            )  # fmt: skip
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_formatter(ticker.NullFormatter())
        panel.set_yticks(place, list(names), fontsize=6)
        panel.set_ylim(-0.8, len(names) - 0.2)
        panel.tick_params(axis="y", length=0)
        panel.set_xlabel(f"MAPE on test rows (%), at least {_LEAST:g}")
        for i in range(1, len(names)):
            if groups[i] != groups[i - 1]:
                panel.axhline(place[i] + 0.5, color=_LINE, linewidth=0.4)
        figure.legend(
            *panel.get_legend_handles_labels(), loc="outside upper left", ncols=4,
            handletextpad=0.3, columnspacing=1.2, borderpad=0.1,
        )  # fmt: skip
        return _saved(figure, file)


def _line_name(line: Mapping[str, Any]) -> str:
    return f"{line['class']}, {line['dtype']}, {line['gpu']}, {line['source']}"


def house_style() -> Any:
    """Return the context in which every figure is drawn."""
    import matplotlib as mpl

    parameters: Any = {"backend": "agg", **FONT_AND_LINES}  # mypy would have 300 literal keys
    return mpl.rc_context(parameters)


def _saved(figure: Figure, file: Path) -> Path:
    figure.savefig(file, metadata={"Software": None})
    return file


def _by_class(found: Comparison, rows: _Rows) -> dict[str, _Rows]:
    kinds = found.kind[rows]
    return {str(kind): rows[kinds == kind] for kind in sorted(set(map(str, kinds)))}


def panel_grid(panels: int, entries: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with room for panels and a legend of so many entries."""
    from matplotlib.figure import Figure

    columns = 2 if panels in (2, 4) else min(COLUMNS, panels)
    rows = -(-panels // columns)
    width = max(PANEL_INCHES[0] * columns, 4.0)
    legend_rows = -(-entries // _legend_columns(width))
    height = PANEL_INCHES[1] * rows + 0.35 + 0.17 * legend_rows
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for spare in axes[panels:]:
        spare.remove()
    return figure, axes[:panels]


def _legend_columns(width: float) -> int:
    return max(1, int(width / _LEGEND_INCHES))


def _panel(
    panel: Axes, found: Comparison, rows: _Rows, styles: Mapping[str, Mapping[str, Any]], *,
    ratio: bool,
) -> None:  # fmt: skip
    x, y = found.measured[rows], found.predicted[rows]
    low, high = min(x.min(), y.min()) / 1.3, max(x.max(), y.max()) * 1.3
    ends = limits = np.array([low, high])
    right = ends
    if ratio:
        y = np.clip(y / x, 1 / _FURTHEST, _FURTHEST)
        ends, right = np.array([x.min() / 1.3, x.max() * 1.3]), np.ones(2)
        limits = np.array([1 / _FURTHEST / 1.1, _FURTHEST * 1.1])
    panel.fill_between(
        ends, right * (1 - WITHIN), right * (1 + WITHIN), color=_BAND, linewidth=0, zorder=1
    )
    panel.plot(ends, right, color=_LINE, linewidth=0.7, zorder=4)
    panel.set(xscale="log", yscale="log", xlim=ends, ylim=limits)
    names = found.table["gpu"].iloc[rows].to_numpy(dtype=object)
    if rows.size > DENSE:
        from matplotlib.colors import LogNorm

        panel.hexbin(
            x, y, xscale="log", yscale="log", gridsize=55, mincnt=1, norm=LogNorm(), cmap="Greys",
            linewidths=0, zorder=2, extent=(*np.log10(ends), *np.log10(limits)),
        )  # fmt: skip
    for name, style in styles.items():
        mine = names == name
        if not mine.any():
            continue
        look = {"color": style["color"], "marker": style["marker"]}
        if rows.size > DENSE:
            at, middle = _medians(x[mine], y[mine])
            panel.plot(at, middle, linewidth=0.8, markersize=2.6, zorder=5, **look)
        else:
            panel.scatter(
                x[mine], y[mine], s=7 * style["area"], alpha=0.55, linewidths=0, zorder=3, **look
            )
    decades(panel.xaxis, ends[1] / ends[0])
    decades(panel.yaxis, limits[1] / limits[0])


def _medians(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return medians of rows of about equal measured time, where there are a few."""
    bins = np.floor(np.log10(x) * _BINS_PER_DECADE).astype(np.int64)
    order = np.argsort(bins, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(bins[order])) + 1)
    parts = [part for part in parts if part.size >= _FEWEST]
    return (
        np.array([np.median(x[part]) for part in parts]),
        np.array([np.median(y[part]) for part in parts]),
    )


def decades(axis: Axis, span: float) -> None:
    """Label the decades, and steps between them where there are few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    few = span < 200
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=10))
    # Marks between many decades are a grey smear, and most of the time that drawing takes.
    axis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=30) if few else NullLocator())
    axis.set_major_formatter(FuncFormatter(_time_label))
    axis.set_minor_formatter(NullFormatter())


def _time_label(value: float, _: Any = None) -> str:
    """Return microseconds without an exponent: ``20k`` for 20,000.

    Examples
    --------
    >>> _time_label(0.5), _time_label(200.0), _time_label(20000.0), _time_label(3e6)
    ('0.5', '200', '20k', '3M')
    """
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def gpu_legend(figure: Figure, styles: Mapping[str, Mapping[str, Any]], dense: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Any] = [
        Line2D(
            [], [], linestyle="none", markersize=4.5, label=name, color=style["color"],
            marker=style["marker"],
        )
        for name, style in styles.items()
    ]  # fmt: skip
    entries.append(Patch(color=_BAND, label=f"within {100 * WITHIN:.0f} %"))
    if dense:
        entries.append(Patch(color="#808080", label="density, and medians"))
    columns = _legend_columns(figure.get_figwidth())
    figure.legend(
        handles=entries, loc="outside lower left", ncols=columns, handletextpad=0.4,
        columnspacing=1.2, borderpad=0.1, labelspacing=0.35,
    )  # fmt: skip
