"""Draws where the energy of loop nests goes: by level over each other, and each level by tensor.

Designs stand beneath each other on one scale, so that lengths compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from accelsim.explore.metrics import METRICS
from accelsim.nest import Figures
from accelsim.nest.text import share_text
from accelsim.report._nest_page import DOTS_PER_INCH, tensor_colours, text_width
from accelsim.report.style import series_styles, unit_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["energy_figure", "energy_levels"]

_BAR: Final = 0.2  # inches from one bar to the next
_APART: Final = 0.7  # bars left out between levels
_POINTS: Final = 7
_PLOT: Final = 4.2
_NONE: Final = ("#D9D9D9", "#777777")  # of no tensor: arithmetic and network
_HATCHES: Final = ("", "////", "....")  # where colours come again
_OTHERS: Final[Mapping[str, str]] = {"mac": "arithmetic"}


def energy_levels(designs: Mapping[str, Figures]) -> tuple[str, ...]:
    """Return all levels that take energy, in the order in which designs name them."""
    names: list[str] = []
    for figures in designs.values():
        before = 0  # a level that only this design has stands after the one before it
        for (level, _), spent_pj in figures.energy_by.items():
            if not spent_pj:
                continue
            if level not in names:
                names.insert(before, level)
            before = names.index(level) + 1
    return tuple(names)


def energy_figure(designs: Mapping[str, Figures], title: str) -> Figure:
    """Return the figure of designs by name."""
    from matplotlib.figure import Figure

    levels = energy_levels(designs)
    tensors = _tensors(designs)
    most = max(figures.energy_pj for figures in designs.values()) / 1e12
    scale, unit = unit_scale(METRICS["energy_j"], [most])
    rows = sum(len(_having(designs, level)) + _APART for level in levels)
    heights = [_BAR * (len(designs) + _APART), _BAR * rows]
    names = max(text_width(name, _POINTS) for name in designs)
    heads = max(text_width(_name(level), 8, bold=True) for level in levels)
    side = names + 0.25 + (heads + 0.15 if len(designs) > 1 else 0.0)
    width = max(side, heads + 0.25) + _PLOT + 0.75
    width = max(width, text_width(title, 9, bold=True) + 0.3)
    legend_rows = -(-len(levels) // 4) + 1
    height = sum(heights) + 1.5 + 0.17 * legend_rows
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=heights, sharex=True)
    _draw_totals(above, designs, levels, scale)
    _draw_levels(below, designs, levels, tensors, scale)
    below.set_xlabel(f"energy ({unit})")
    if title:
        figure.suptitle(title, fontsize=9, fontweight="bold", x=0.01, ha="left")
    return figure


def _tensors(designs: Mapping[str, Figures]) -> tuple[str, ...]:
    found = {tensor: None for figures in designs.values() for _, tensor in figures.energy_by}
    return tuple(tensor for tensor in found if tensor)


def _name(level: str) -> str:
    return _OTHERS.get(level, level)


def _level_looks(levels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return colour and hatch of each level; a hatch tells colours apart that come again."""
    colours = [style["color"] for style in series_styles(levels).values()]
    looks: dict[str, dict[str, Any]] = {}
    for level, colour in zip(levels, colours, strict=True):
        again = sum(look["facecolor"] == colour for look in looks.values())
        looks[level] = {
            "facecolor": colour, "hatch": _HATCHES[again % len(_HATCHES)],
            "edgecolor": "white", "linewidth": 0.5,
        }  # fmt: skip
    return looks


def _draw_totals(
    axes: Axes, designs: Mapping[str, Figures], levels: Sequence[str], scale: float
) -> None:
    """Draw one bar for each design, its levels one after the other, and write its sum."""
    looks = _level_looks(levels)
    for y, figures in enumerate(designs.values()):
        start = 0.0
        for level in levels:
            long = sum(pj for (name, _), pj in figures.energy_by.items() if name == level)
            long *= scale / 1e12
            axes.barh(y, long, left=start, height=0.72, label=_name(level) if y == 0 else None,
                      **looks[level])  # fmt: skip
            start += long
        _say(axes, _energy(start / scale * 1e12), start, y)
    _name_bars(axes, [(float(y), name) for y, name in enumerate(designs)])
    _legend(axes)
    axes.set_xlim(0.0, 1.16 * max(f.energy_pj for f in designs.values()) * scale / 1e12)


def _draw_levels(
    axes: Axes, designs: Mapping[str, Figures], levels: Sequence[str], tensors: Sequence[str],
    scale: float,
) -> None:  # fmt: skip
    """Draw one bar for each level and design, its tensors one after the other."""
    colours = {**tensor_colours(tensors), "": _NONE}
    named: set[str] = set()
    rows: list[tuple[float, str]] = []
    groups: list[tuple[float, str]] = []
    y = 0.0
    for level in levels:
        having = _having(designs, level)
        groups.append((y + (len(having) - 1) / 2, _name(level)))
        for name in having:
            figures, start = designs[name], 0.0
            rows.append((y, name))
            for tensor in (*tensors, ""):
                long = figures.energy_by.get((level, tensor), 0.0) * scale / 1e12
                if not long:
                    continue
                face, edge = colours[tensor]
                label = None if tensor in named else tensor or "not of one tensor"
                named.add(tensor)
                axes.barh(y, long, left=start, height=0.72, facecolor=face, edgecolor=edge,
                          linewidth=0.7, label=label)  # fmt: skip
                start += long
            spent_pj = start / scale * 1e12
            said = f"{_energy(spent_pj)} ({share_text(spent_pj / figures.energy_pj)})"
            _say(axes, said, start, y)
            y += 1.0
        y += _APART
    if len(designs) == 1:
        _name_bars(axes, groups)
    else:
        _name_bars(axes, rows)
        _name_groups(axes, groups)
    _legend(axes)


def _having(designs: Mapping[str, Figures], level: str) -> list[str]:
    """Return the designs in which a level takes energy."""
    return [
        name for name, figures in designs.items()
        if any(of == level and pj for (of, _), pj in figures.energy_by.items())
    ]  # fmt: skip


def _say(axes: Axes, text: str, end: float, y: float) -> None:
    """Write a text behind a bar."""
    axes.annotate(text, (end, y), (3, 0), textcoords="offset points", va="center",
                  fontsize=_POINTS)  # fmt: skip


def _energy(energy_pj: float) -> str:
    """Return an energy in three digits, trailing zeros too."""
    scale, unit = unit_scale(METRICS["energy_j"], [energy_pj / 1e12])
    return f"{f'{energy_pj / 1e12 * scale:#.3g}'.rstrip('.')} {unit}"


def _name_bars(axes: Axes, rows: Sequence[tuple[float, str]]) -> None:
    places = [y for y, _ in rows]
    axes.set_yticks(places, [name for _, name in rows])
    axes.set_ylim(max(places) + 0.6, min(places) - 0.6)
    axes.tick_params(axis="y", length=0, labelsize=_POINTS)
    axes.grid(visible=False, axis="y")


def _name_groups(axes: Axes, groups: Sequence[tuple[float, str]]) -> None:
    """Write a level's name left of its bars' names."""
    second = axes.secondary_yaxis("left")
    second.set_yticks([y for y, _ in groups], [name for _, name in groups])
    longest = max(text_width(t.get_text(), _POINTS) for t in axes.get_yticklabels())
    second.tick_params(axis="y", length=0, labelsize=8, pad=72 * longest + 12)
    for label in second.get_yticklabels():
        label.set_fontweight("bold")
    second.spines["left"].set_visible(False)


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, fontsize=_POINTS,
                handlelength=1.2, columnspacing=1.2, borderpad=0.2)  # fmt: skip
