"""Presents mapped loop nests: boxes in boxes, traffic on a hierarchy, energy by level and tensor.

Every number in a picture is one of the figures, or of the nest itself; nothing is counted anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from accelsim.errors import ConfigError
from accelsim.nest import Figures, Hierarchy, Nest, Problem
from accelsim.nest.text import count_text, size_text
from accelsim.report._measured_figures import house_style
from accelsim.report._nest_boxes import nest_figure
from accelsim.report._nest_edges import UNITS, Edge, edges
from accelsim.report._nest_energy import energy_figure
from accelsim.report._nest_page import check_ending, saved
from accelsim.report._nest_traffic import traffic_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["UNITS", "Edge", "draw_energy", "draw_nest", "draw_traffic", "edges", "traffic_text"]


def draw_nest(
    problem: Problem, hierarchy: Hierarchy, nest: Nest, file: Path, *, title: str = ""
) -> Path:
    """Draw a loop nest: a box for each level, in it its tiles, its loops, and the next level.

    Parameters
    ----------
    problem, hierarchy, nest
        What is mapped where, how.
    file : Path
        Where to: a PNG, SVG or PDF by its ending.
    title : str
        What stands above.

    Raises
    ------
    ConfigError
        If the file's ending is none of these.

    Notes
    -----
    A bar is a memory's capacity, filled as far as all tiles in flight take it, with partitions
    side by side.  Elements and bytes are of one tile in one instance.
    """
    check_ending(file)
    with house_style():
        return saved(nest_figure(problem, hierarchy, nest, title), file)


def draw_traffic(
    problem: Problem, hierarchy: Hierarchy, nest: Nest, figures: Figures, file: Path, *,
    title: str = "",
) -> Path:  # fmt: skip
    """Draw a hierarchy with the traffic of a nest: an arrow for each tensor and edge.

    Parameters
    ----------
    problem, hierarchy, nest
        What is mapped where, how.
    figures : Figures
        Of that nest; the accesses at both ends of an arrow are theirs.
    file, title
        As in `draw_nest`.

    Raises
    ------
    ConfigError
        If the file's ending is none of PNG, SVG or PDF.

    Notes
    -----
    An arrow begins at the memory that sends and ends at the next that holds the tensor: a memory
    between them that does not is passed by.
    """
    check_ending(file)
    with house_style():
        return saved(traffic_figure(problem, hierarchy, nest, figures, title), file)


def draw_energy(designs: Mapping[str, Figures], file: Path, *, title: str = "") -> Path:
    """Draw the dynamic energy of nests side by side: by level, and each level by tensor.

    Parameters
    ----------
    designs : mapping of str to Figures
        Name -> figures, of one hierarchy or of several; levels of one name stand together.
    file, title
        As in `draw_nest`.

    Raises
    ------
    ConfigError
        If no design takes energy, or the file's ending is none of PNG, SVG or PDF.
    """
    check_ending(file)
    if not any(figures.energy_pj for figures in designs.values()):
        raise ConfigError("no design that takes energy", hint="give the levels read_pj_per_bit")
    with house_style():
        return saved(energy_figure(designs, title), file)


_HEAD = ("tensor", "from", "to", "reads", "", "fills", "", "drains", "", "updates", "")


def traffic_text(problem: Problem, hierarchy: Hierarchy, nest: Nest, figures: Figures) -> str:
    """Return the traffic of a nest as a table, one line for each edge.

    Reads and fills are words that go inwards, drains and updates words that come back, each with
    its bytes, of all instances together; ``-`` where nothing is counted.

    Examples
    --------
    >>> from accelsim.nest import Fanout, Hierarchy, Storage, evaluate, matmul, parse
    >>> device = Hierarchy((Storage("DRAM"), Fanout("lanes", 4, frozenset({"input"}))))
    >>> held = {"DRAM": ("input", "weight", "output")}
    >>> problem = matmul(2, 4, 8)
    >>> nest = parse({"DRAM": {"m": 2, "k": 8}, "lanes": {"n": 4}}, device, held)
    >>> print(traffic_text(problem, device, nest, evaluate(problem, device, nest)))
    tensor  from  to     reads        fills    drains    updates
    input   DRAM  units     16  16 B      -         -          -
    weight  DRAM  units     64  64 B      -         -          -
    output  DRAM  units     56  56 B      -         -         64  64 B
    """
    rows: list[Sequence[str]] = [_HEAD]
    for edge in edges(problem, hierarchy, nest, figures):
        cells = [edge.tensor, edge.outer, edge.inner]
        for words in (edge.reads, edge.fills, edge.drains, edge.updates):
            cells += [count_text(words), size_text(words * edge.bits)] if words else ["-", ""]
        rows.append(cells)
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
