"""Draws a loop nest as boxes in boxes: a memory with its tiles and loops, a fan-out, the units.

The bar of a memory is its capacity, filled as far as tiles in flight take it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from accelsim.nest import Fanout, Hierarchy, Loop, Nest, Problem, Storage
from accelsim.nest.text import (
    Tile,
    count_text,
    held_bits,
    instances,
    loops,
    share_text,
    size_text,
    sizes_text,
    tiles,
)
from accelsim.report._nest_page import box, page, tensor_colours, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["nest_figure"]

# Inches.
_MARGIN: Final = 0.15
_PAD: Final = 0.1
_LINE: Final = 0.165
_BAR: Final = 0.12
_SWATCH: Final = 0.14
_GAP: Final = 0.22  # between columns
_LEAST: Final = 3.0
_POINTS: Final = 7.5
_MEMORY: Final = ("#FFFFFF", "#404040")
_FANOUT: Final = ("#F4F4F4", "#777777")
_UNITS: Final = ("#E3E3E3", "#404040")


@dataclass(frozen=True, slots=True)
class _Level:
    """What stands in one box."""

    node: Storage | Fanout
    head: str
    note: str
    held: tuple[Tile, ...]
    found: tuple[Loop, ...]

    @property
    def bounded(self) -> bool:
        """Whether a bar shows how full it is."""
        return isinstance(self.node, Storage) and 0 < held_bits(self.node, self.held)[1] < math.inf

    @property
    def height(self) -> float:
        """Inches down to where the next box begins."""
        rows = 1 + len(self.held) + len(self.found)
        return _PAD + rows * _LINE + (_BAR + 0.06 if self.bounded else 0.0) + 0.06


@dataclass(frozen=True, slots=True)
class _Columns:
    """Inches that the columns of tiles take, the same in every box."""

    name: float
    shape: float
    words: float
    size: float

    @property
    def width(self) -> float:
        """Of all together."""
        return _SWATCH + self.name + self.shape + self.words + self.size + 3 * _GAP


def nest_figure(problem: Problem, hierarchy: Hierarchy, nest: Nest, title: str) -> Figure:
    """Return the figure of a nest.

    Parameters
    ----------
    problem, hierarchy, nest
        What is mapped where, how.
    title : str
        What stands above; the operator's sizes come beneath.
    """
    levels = _levels(problem, hierarchy, nest)
    columns = _columns(levels)
    units = _units_text(problem, hierarchy, nest)
    sizes = sizes_text(problem, hierarchy, nest)
    depth = len(levels)
    inner = max(
        _LEAST,
        text_width(units, _POINTS) + 2 * _PAD,
        *(_needed(level, columns) - 2 * _PAD * (depth - i) for i, level in enumerate(levels)),
        text_width(sizes, _POINTS) - 2 * _PAD * depth,
        text_width(title, 9, bold=True) - 2 * _PAD * depth,
    )
    head = 0.2 + (0.22 if title else 0.0) + _MARGIN
    tops = [head]
    for level in levels:
        tops.append(tops[-1] + level.height)
    end = tops[-1] + _LINE + _PAD
    width = inner + 2 * (_PAD * depth + _MARGIN)
    figure, axes = page(width, end + _PAD * depth + _MARGIN)
    if title:
        axes.text(_MARGIN, _MARGIN, title, fontsize=9, fontweight="bold", va="top")
    axes.text(_MARGIN, head - 0.07, sizes, fontsize=_POINTS, va="bottom")
    colours = tensor_colours([tensor.name for tensor in problem.tensors])
    for i, level in enumerate(levels):
        left = _MARGIN + _PAD * i
        _draw_frame(
            axes, level, (left, tops[i], width - 2 * left, end + _PAD * (depth - i) - tops[i])
        )
    for i, level in enumerate(levels):
        left = _MARGIN + _PAD * (i + 1)
        _draw_level(axes, level, (left, width - left), tops[i] + _PAD, columns, colours)
    left = _MARGIN + _PAD * depth
    box(axes, (left, tops[-1], width - 2 * left, end - tops[-1]), _UNITS)
    axes.text(left + _PAD, (tops[-1] + end) / 2, units, fontsize=_POINTS, va="center")
    return figure


def _levels(problem: Problem, hierarchy: Hierarchy, nest: Nest) -> list[_Level]:
    found, working = loops(problem, hierarchy, nest), instances(problem, hierarchy, nest)
    levels = []
    for i, node in enumerate(hierarchy.nodes):
        held = tiles(problem, hierarchy, nest, i)
        if isinstance(node, Fanout):
            used = math.prod(loop.factor for loop in found[i])
            levels.append(
                _Level(node, node.name, f"{used:,} of {node.size:,} instances", (), found[i])
            )
            continue
        times = f" × {working[i]:,}" if working[i] > 1 else ""
        levels.append(_Level(node, node.name + times, _room_text(node, held), held, found[i]))
    return levels


def _room_text(node: Storage, held: tuple[Tile, ...]) -> str:
    taken, room = held_bits(node, held)
    flight = f", {node.buffers} tiles in flight" if node.buffers > 1 else ""
    if not 0 < room < math.inf:
        return f"{size_text(taken)}{flight}" if held else ""
    return f"{size_text(taken)} of {size_text(room)} ({share_text(taken / room)}){flight}"


def _units_text(problem: Problem, hierarchy: Hierarchy, nest: Nest) -> str:
    working = instances(problem, hierarchy, nest)[-1]
    macs = count_text(problem.macs)
    return f"{working:,} of {hierarchy.units:,} units: {macs} multiply-accumulates"


def _columns(levels: list[_Level]) -> _Columns:
    held = [tile for level in levels for tile in level.held]
    return _Columns(
        max((text_width(tile.tensor, _POINTS) for tile in held), default=0.0),
        max((text_width(tile.shape, _POINTS) for tile in held), default=0.0),
        max((text_width(_words(tile), _POINTS) for tile in held), default=0.0),
        max((text_width(_size(tile), _POINTS) for tile in held), default=0.0),
    )


def _words(tile: Tile) -> str:
    return f"{count_text(tile.words)} element{'s' if tile.words != 1 else ''}"


def _size(tile: Tile) -> str:
    return size_text(tile.bits) + (f" ({share_text(tile.share)})" if tile.share else "")


def _needed(level: _Level, columns: _Columns) -> float:
    """Return the width of a box that what stands in it needs."""
    head = text_width(level.head, 8, bold=True) + _GAP + text_width(level.note, _POINTS)
    stated = [text_width(_loop(level, loop), _POINTS, mono=True) for loop in level.found]
    return max(head, *stated, columns.width if level.held else 0.0, 0.0) + 2 * _PAD


def _loop(level: _Level, loop: Loop) -> str:
    kind = "parallel-for" if isinstance(level.node, Fanout) else "for"
    return f"{kind} {loop.dim} in 0..{loop.factor}"


def _draw_frame(axes: Axes, level: _Level, place: tuple[float, float, float, float]) -> None:
    """Draw the box of a level; that of a fan-out is dashed."""
    if isinstance(level.node, Fanout):
        box(axes, place, _FANOUT, linestyle=(0, (3, 1.5)))
    else:
        box(axes, place, _MEMORY, linewidth=0.9)


def _draw_level(
    axes: Axes, level: _Level, across: tuple[float, float], top: float, columns: _Columns,
    colours: dict[str, tuple[str, str]],
) -> None:  # fmt: skip
    """Write what stands in a box between two x, from a y downwards."""
    left, right = across
    middle = top + _LINE / 2
    axes.text(left, middle, level.head, fontsize=8, fontweight="bold", va="center")
    axes.text(right, middle, level.note, fontsize=_POINTS, va="center", ha="right")
    middle += _LINE
    if isinstance(level.node, Storage) and level.bounded:
        _draw_bar(
            axes, level.node, level, (left, middle - _LINE / 2 + 0.02, right - left), colours
        )
        middle += _BAR + 0.06
    for tile in level.held:
        _draw_tile(axes, tile, (left, right), middle, columns, colours[tile.tensor])
        middle += _LINE
    for loop in level.found:
        axes.text(left, middle, _loop(level, loop), fontsize=_POINTS, va="center",
                  family="DejaVu Sans Mono")  # fmt: skip
        middle += _LINE


def _draw_bar(
    axes: Axes, node: Storage, level: _Level, place: tuple[float, float, float],
    colours: dict[str, tuple[str, str]],
) -> None:  # fmt: skip
    """Draw a memory's capacity from the left, filled with its tiles in flight.

    Partitions stand side by side, before what all other tensors share.
    """
    left, top, width = place
    taken, room = held_bits(node, level.held)
    scale = width / max(room, taken)
    apart = [tile for tile in level.held if tile.tensor in node.partition_bits]
    common = [tile for tile in level.held if tile.tensor not in node.partition_bits]
    at = left
    for section in (*([tile] for tile in apart), common):
        filled = sum(tile.bits for tile in section) * node.buffers
        has = node.partition_bits[section[0].tensor] if section and section != common else 0.0
        long = max(has, filled) * scale if has else left + width - at
        if long > 0:
            box(axes, (at, top, long, _BAR), ("#FFFFFF", "#808080"), linewidth=0.5)
        start = at
        for tile in section:
            part = tile.bits * node.buffers * scale
            box(axes, (start, top, part, _BAR), colours[tile.tensor], linewidth=0.5)
            start += part
        at += long


def _draw_tile(
    axes: Axes, tile: Tile, across: tuple[float, float], middle: float, columns: _Columns,
    colours: tuple[str, str],
) -> None:  # fmt: skip
    left, right = across
    box(axes, (left, middle - 0.045, 0.09, 0.09), colours)
    at = left + _SWATCH
    axes.text(at, middle, tile.tensor, fontsize=_POINTS, va="center")
    at += columns.name + _GAP
    axes.text(at, middle, tile.shape, fontsize=_POINTS, va="center")
    axes.text(right, middle, _size(tile), fontsize=_POINTS, va="center", ha="right")
    at = right - columns.size - _GAP
    axes.text(at, middle, _words(tile), fontsize=_POINTS, va="center", ha="right")
