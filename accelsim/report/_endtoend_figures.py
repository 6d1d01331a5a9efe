"""Draws simulated against measured times of whole models, and errors beside the roofline's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from accelsim.measure.compare.scores import WITHIN
from accelsim.report._measured_figures import (
    Series,
    decades,
    error_strips,
    gpu_legend,
    house_style,
    panel_grid,
)
from accelsim.report.style import series_styles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["error_figure", "parity_figure"]

_BAND: Final = "#DCE6DC"
_LINE: Final = "#404040"
_OURS: Final = "#0072B2"
_ROOFLINE: Final = "#B0B0B0"
_THEIRS: Final = "#D55E00"
_FEWEST: Final = 2  # rows of a panel


def parity_figure(test: pd.DataFrame, file: Path) -> Path | None:
    """Draw simulated against measured times of test rows, a panel per kind; write a PNG.

    Parameters
    ----------
    test : pandas.DataFrame
        Test rows of a comparison; a kind with a single one has no panel.
    file : Path
        Where to.

    Returns
    -------
    Path or None
        The file; None if no kind has enough rows.
    """
    test = test[test.groupby("kind")["kind"].transform("size") >= _FEWEST]
    if test.empty:
        return None
    counts = test["gpu"].value_counts()
    styles = series_styles(sorted(counts.index, key=lambda name: (-counts[name], name)))
    panels = [(str(kind), rows) for kind, rows in test.groupby("kind", sort=True)]
    with house_style():
        figure, axes = panel_grid(len(panels), entries=len(styles) + 1)
        columns = axes[0].get_gridspec().ncols  # type: ignore[union-attr]
        for i, (panel, (kind, rows)) in enumerate(zip(axes, panels, strict=True)):
            _panel(panel, rows, styles)
            error = 100 * rows["error"].abs().mean()
            panel.set_title(f"{kind}: {len(rows):,} rows, {error:.1f} %", loc="left")
            if i % columns == 0:
                panel.set_ylabel("simulated (ms)")
            if i + columns >= len(axes):
                panel.set_xlabel("measured (ms)")
        gpu_legend(figure, styles, dense=False)
        figure.savefig(file, metadata={"Software": None})
    return file


def _panel(panel: Axes, rows: pd.DataFrame, styles: Mapping[str, Mapping[str, Any]]) -> None:
    x, y = rows["measured_ms"].to_numpy(float), rows["simulated_ms"].to_numpy(float)
    ends = np.array([min(x.min(), y.min()) / 1.3, max(x.max(), y.max()) * 1.3])
    panel.fill_between(
        ends, ends * (1 - WITHIN), ends * (1 + WITHIN), color=_BAND, linewidth=0, zorder=1
    )
    panel.plot(ends, ends, color=_LINE, linewidth=0.7, zorder=4)
    panel.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    names = rows["gpu"].to_numpy(dtype=object)
    for name, style in styles.items():
        mine = names == name
        if mine.any():
            panel.scatter(
                x[mine], y[mine], s=9 * style["area"], color=style["color"],
                marker=style["marker"], alpha=0.6, linewidths=0, zorder=3,
            )  # fmt: skip
    decades(panel.xaxis, ends[1] / ends[0])
    decades(panel.yaxis, ends[1] / ends[0])


def error_figure(lines: Sequence[Mapping[str, Any]], file: Path) -> Path | None:
    """Draw errors on test rows by kind, GPU and source, beside the roofline's; write a PNG.

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
    roofline = [line["baselines"]["roofline"]["mape"] for line in shown]
    theirs = [line["published"]["mape"] for line in shown]
    series = (
        Series("roofline", _ROOFLINE, "<", roofline),
        Series("the source's own predictor", _THEIRS, "s", theirs),
        Series("accelsim", _OURS, "o", [line["test"]["mape"] for line in shown]),
    )
    names = [f"{line['kind']}, {line['gpu']}, {line['source']}" for line in shown]
    return error_strips(names, [line["kind"] for line in shown], series, file)
