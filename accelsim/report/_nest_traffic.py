"""Draws a mapped hierarchy with its traffic: a lane for each tensor, an arrow for each edge.

A memory that does not hold a tensor is passed by: its row is empty in that lane.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from accelsim.explore.metrics import METRICS
from accelsim.nest import Fanout, Figures, Hierarchy, Nest, Problem, Storage
from accelsim.nest.text import count_text, held_bits, instances, share_text, size_text, tiles
from accelsim.report._nest_edges import Edge, edges, shared_words
from accelsim.report._nest_page import box, page, tensor_colours, text_width
from accelsim.report.style import unit_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["traffic_figure"]

# Inches.
_MARGIN: Final = 0.15
_PAD: Final = 0.08
_MEMORY: Final = 0.44
_FANOUT: Final = 0.24
_ENDS: Final = 0.25  # below and above a memory, for what its arrows are labelled with
_BETWEEN: Final = 0.04
_ARROW: Final = 0.16  # from the left of a lane to its arrow, and on to its labels
_POINTS: Final = 7
_THICK: Final = (0.7, 4.0)  # points of the thinnest and the thickest arrow


@dataclass(frozen=True, slots=True)
class _Flow:
    """What one arrow carries: words at its outer and inner ends, and their names."""

    edge: Edge
    outer: float
    inner: float
    inwards: bool

    @property
    def labels(self) -> tuple[str, str]:
        """Texts at the outer and the inner end; empty where nothing is counted."""
        names = ("reads", "fills") if self.inwards else ("updates", "drains")
        outer, inner = (
            f"{name} {count_text(words)}, {size_text(words * self.edge.bits)}" if words else ""
            for name, words in zip(names, (self.outer, self.inner), strict=True)
        )
        return outer, inner

    @property
    def bits(self) -> float:
        """Bits at the outer end."""
        return self.outer * self.edge.bits


@dataclass(frozen=True, slots=True)
class _Lane:
    """All arrows of a tensor in one direction, from an x over a width."""

    tensor: str
    inwards: bool
    flows: tuple[_Flow, ...]
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class _Row:
    """One level: its name and note, and where it stands."""

    node: Storage | Fanout | None
    name: str
    note: str
    top: float
    height: float


def traffic_figure(
    problem: Problem, hierarchy: Hierarchy, nest: Nest, figures: Figures, title: str
) -> Figure:
    """Return the figure of a mapped hierarchy.

    Parameters
    ----------
    problem, hierarchy, nest
        What is mapped where, how.
    figures : Figures
        Of that nest.
    title : str
        What stands above; time and energy come beneath.
    """
    head = 0.6 if title else 0.38
    rows = _rows(problem, hierarchy, nest, head)
    names = max(text_width(row.name, 8, bold=True) for row in rows)
    label = max(names, *(text_width(row.note, _POINTS) for row in rows)) + 2 * _PAD
    lanes = _lanes(problem, hierarchy, nest, figures, _MARGIN + label + _PAD)
    right = max(lane.left + lane.width for lane in lanes) + _PAD
    facts = _facts(problem, figures)
    texts = max(text_width(facts, _POINTS), text_width(title, 9, bold=True))
    wide = max(right + _MARGIN, texts + 2 * _MARGIN, 5.6)
    foot = rows[-1].top + rows[-1].height
    figure, axes = page(wide, foot + 0.42)
    if title:
        axes.text(_MARGIN, _MARGIN, title, fontsize=9, fontweight="bold", va="top")
    axes.text(_MARGIN, head - 0.09, facts, fontsize=_POINTS, va="bottom")
    for row in rows:
        _draw_row(axes, row, right)
    colours = tensor_colours([tensor.name for tensor in problem.tensors])
    for tensor, tint in colours.items():
        mine = [lane for lane in lanes if lane.tensor == tensor]
        _draw_cells(axes, problem, hierarchy, nest, rows, mine, tint)
    least, most = _extremes(lanes)
    for lane in lanes:
        for flow in lane.flows:
            _draw_flow(axes, lane, flow, rows, colours[lane.tensor][1], (least, most))
        _draw_sharing(axes, problem, hierarchy, nest, lane, rows)
    _draw_notes(axes, foot, (least, most))
    return figure


def _rows(problem: Problem, hierarchy: Hierarchy, nest: Nest, top: float) -> list[_Row]:
    working = instances(problem, hierarchy, nest)
    rows: list[_Row] = []
    for i, node in enumerate(hierarchy.nodes):
        if isinstance(node, Fanout):
            used = f"{working[i + 1] // working[i]:,} of {node.size:,}"
            rows.append(_Row(node, f"{node.name}: {used}", "", top, _FANOUT))
            top += _FANOUT + _BETWEEN
            continue
        held = tiles(problem, hierarchy, nest, i)
        taken, room = held_bits(node, held)
        bounded = 0 < room < math.inf
        note = f"{share_text(taken / room)} of {size_text(room)}" if bounded else "unbounded"
        name = f"{node.name} × {working[i]:,}" if working[i] > 1 else node.name
        top += _ENDS - _BETWEEN if i else 0.0
        rows.append(_Row(node, name, note, top, _MEMORY))
        top += _MEMORY + _ENDS
    units = f"{working[-1]:,} of {hierarchy.units:,} units"
    note = f"{count_text(problem.macs)} multiply-accumulates"
    rows.append(_Row(None, units, note, top + 0.06, _MEMORY))
    return rows


def _lanes(
    problem: Problem, hierarchy: Hierarchy, nest: Nest, figures: Figures, left: float
) -> list[_Lane]:
    found: list[_Lane] = []
    all_edges = edges(problem, hierarchy, nest, figures)
    for tensor in problem.tensors:
        mine = [edge for edge in all_edges if edge.tensor == tensor.name]
        flows = [
            (True, [_Flow(edge, edge.reads, edge.fills, True) for edge in mine]),
            (False, [_Flow(edge, edge.updates, edge.drains, False) for edge in mine]),
        ]
        for inwards, candidates in flows:
            kept = tuple(flow for flow in candidates if flow.outer or flow.inner)
            if not kept:
                continue
            texts = [text for flow in kept for text in flow.labels]
            width = max(text_width(text, _POINTS) for text in texts) + 2 * _ARROW
            width = max(width, 2 * _ARROW + 0.75)
            found.append(_Lane(tensor.name, inwards, kept, left, width))
            left += width + _PAD
        left += _PAD
    return found


def _facts(problem: Problem, figures: Figures) -> str:
    sizes = zip(problem.dims, problem.sizes, strict=True)
    dims = ", ".join(f"{dim} {size:,}" for dim, size in sizes if size > 1)
    time, energy = (
        f"{value * scale:.4g} {unit}"
        for name, value in (
            ("latency_s", figures.latency_s),
            ("energy_j", figures.energy_pj / 1e12),
        )
        for scale, unit in (unit_scale(METRICS[name], [value]),)
    )
    return f"{dims}: {figures.cycles:,.0f} cycles, {time}, {energy}"


def _draw_row(axes: Axes, row: _Row, right: float) -> None:
    """Draw the band of a level, and its name at the left."""
    place = (_MARGIN, row.top, right - _MARGIN, row.height)
    if isinstance(row.node, Fanout):
        box(axes, place, ("#F4F4F4", "#999999"), linestyle=(0, (3, 1.5)), linewidth=0.5, zorder=1)
        axes.text(
            _MARGIN + _PAD, row.top + row.height / 2, row.name, fontsize=_POINTS, va="center"
        )
        return
    box(axes, place, ("#FFFFFF" if row.node else "#E3E3E3", "#404040"), zorder=1)
    axes.text(_MARGIN + _PAD, row.top + 0.15, row.name, fontsize=8, fontweight="bold", va="center")
    axes.text(_MARGIN + _PAD, row.top + 0.32, row.note, fontsize=_POINTS, va="center")


def _draw_cells(
    axes: Axes, problem: Problem, hierarchy: Hierarchy, nest: Nest, rows: Sequence[_Row],
    lanes: Sequence[_Lane], colours: tuple[str, str],
) -> None:  # fmt: skip
    """Draw what each memory holds of one tensor, across its lanes."""
    left = min(lane.left for lane in lanes)
    right = max(lane.left + lane.width for lane in lanes)
    for i, row in enumerate(rows[:-1]):
        for tile in tiles(problem, hierarchy, nest, i):
            if tile.tensor != lanes[0].tensor:
                continue
            place = (left, row.top + 0.06, right - left, row.height - 0.12)
            box(axes, place, colours, zorder=3)
            axes.text(
                left + 0.07, row.top + row.height / 2, f"{tile.tensor}  {size_text(tile.bits)}",
                fontsize=_POINTS, va="center", zorder=4,
            )  # fmt: skip


def _extremes(lanes: Sequence[_Lane]) -> tuple[float, float]:
    carried = [flow.bits for lane in lanes for flow in lane.flows if flow.bits > 0]
    return (min(carried), max(carried)) if carried else (1.0, 1.0)


def _draw_flow(
    axes: Axes, lane: _Lane, flow: _Flow, rows: Sequence[_Row], colour: str,
    extremes: tuple[float, float],
) -> None:  # fmt: skip
    """Draw one arrow, as thick as the logarithm of its bytes, with a label at each end."""
    outer, inner = rows[flow.edge.outer_level], rows[flow.edge.inner_level]
    x = lane.left + _ARROW
    ends = outer.top + outer.height - 0.06, inner.top + 0.06
    if inner.node is None:
        ends = ends[0], inner.top
    if outer.node is None:
        ends = outer.top + outer.height, ends[1]
    tail, tip = ends if flow.inwards else ends[::-1]
    least, most = (math.log(value) for value in extremes)
    part = (math.log(flow.bits) - least) / (most - least) if flow.bits and most > least else 0.0
    thick = _THICK[0] + part * (_THICK[1] - _THICK[0])
    wide = 1.5 + thick * 0.9
    axes.annotate(
        "", (x, tip), (x, tail), zorder=5,
        arrowprops={
            "arrowstyle": f"-|>,head_width={wide / 10},head_length={(wide + 1.5) / 10}",
            "color": colour, "linewidth": thick, "shrinkA": 0, "shrinkB": 0,
            "mutation_scale": 10, "joinstyle": "miter",
        },
    )  # fmt: skip
    at_outer, at_inner = flow.labels
    below = outer.top + outer.height + 0.1
    above = inner.top - 0.1
    axes.text(x + _ARROW, below, at_outer, fontsize=_POINTS, va="center", zorder=6)
    axes.text(x + _ARROW, above, at_inner, fontsize=_POINTS, va="center", zorder=6)


def _draw_sharing(
    axes: Axes, problem: Problem, hierarchy: Hierarchy, nest: Nest, lane: _Lane,
    rows: Sequence[_Row],
) -> None:  # fmt: skip
    """Write at each fan-out over how many instances it shares or sums up a word of a lane."""
    place = [tensor.name for tensor in problem.tensors].index(lane.tensor)
    result = place == len(problem.tensors) - 1
    if lane.inwards is result:
        return  # partial sums come back to one place
    for i, node in enumerate(hierarchy.nodes):
        times = shared_words(problem, hierarchy, nest, place, i - 1, i + 1)
        if isinstance(node, Fanout) and times > 1:
            text = f"sum of {times:,}" if result else f"1 to {times:,}"
            axes.text(lane.left + 2 * _ARROW, rows[i].top + rows[i].height / 2, text,
                      fontsize=_POINTS, va="center", zorder=6)  # fmt: skip


def _draw_notes(axes: Axes, foot: float, extremes: tuple[float, float]) -> None:
    least, most = (size_text(bits) for bits in extremes)
    notes = (
        "Words and bytes of all instances together. Of a fan-out: instances at work.",
        f"Arrows are as thick as the logarithm of bytes at the outer end, {least} to {most}.",
    )
    for i, note in enumerate(notes):
        axes.text(_MARGIN, foot + 0.13 + 0.14 * i, note, fontsize=6.5, va="center")
