"""Writes the Pareto front as a table: CSV for programs, Markdown for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from accelsim.explore.axes import MAIN_AXES
from accelsim.explore.metrics import METRICS
from accelsim.explore.pareto import front, groups
from accelsim.explore.sweep import SweepSpec
from accelsim.report.style import axis_label, shown, unit_scale

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["front_csv", "front_markdown", "write_front"]


def write_front(frame: pd.DataFrame, spec: SweepSpec, folder: Path) -> list[Path]:
    """Write ``front.csv`` and ``front.md``; return both.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows of ``accelsim.explore.to_frame``.
    spec : SweepSpec
        The sweep: objectives, and which axes make groups.
    folder : Path
        Where the files go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "front.csv", folder / "front.md"]
    best = front(frame, spec.objectives, spec.front_per)
    for file, text in zip(files, (front_csv(best), front_markdown(best, spec)), strict=True):
        file.write_text(text, encoding="utf-8")
    return files


def front_csv(best: pd.DataFrame) -> str:
    """Return rows of a front as CSV: every axis and metric, in the units of their names."""
    text: str = best.drop(columns=["error", "wall_s"], errors="ignore").to_csv(
        index=False, lineterminator="\n"
    )
    return text


def front_markdown(best: pd.DataFrame, spec: SweepSpec) -> str:
    """Return rows of a front as Markdown: one table for each group, best first objective first.

    Columns are the axes that vary and the objectives, to four digits.
    """
    lines = [f"# {spec.name}: Pareto front", "", spec.description.strip(), ""]
    if best.empty:
        return "\n".join([*lines, "No design has a result.", ""])
    objectives = [f"{name} ({sense})" for name, sense in spec.objectives.items()]
    lines += [f"Objectives: {', '.join(objectives)}.", ""]
    changed = [str(name) for name in best if "." in str(name)]
    axes = [name for name in (*MAIN_AXES, *changed) if name not in spec.front_per]
    for values, group in groups(best, spec.front_per):
        named = zip(spec.front_per, values, strict=True)
        title = ", ".join(f"{name} {shown(value)}" for name, value in named)
        lines += [f"## {title}", ""] if title else []
        varying = [n for n in axes if n == "arch" or group[n].nunique(dropna=False) > 1]
        lines += [*_table(group, varying, spec), ""]
    return "\n".join(lines)


def _table(group: pd.DataFrame, axes: list[str], spec: SweepSpec) -> list[str]:
    columns = {axis: [shown(value) for value in group[axis]] for axis in axes}
    for name in spec.objectives:
        scale, unit = unit_scale(METRICS[name], group[name])
        columns[axis_label(METRICS[name], unit)] = [_digits(v * scale) for v in group[name]]
    numbers = len(spec.objectives)
    rule = ["---"] * (len(columns) - numbers) + ["---:"] * numbers
    rows = [list(columns), rule, *zip(*columns.values(), strict=True)]
    return [f"| {' | '.join(row)} |" for row in rows]


def _digits(value: float) -> str:
    """Return four digits of a number.

    Examples
    --------
    >>> _digits(0.0123456), _digits(123456.7)
    ('0.01235', '123,457')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
