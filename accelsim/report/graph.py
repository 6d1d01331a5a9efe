"""Draws a workload as a layered graph: blocks as frames, operators coloured by kind.

A repeated layer is drawn once, with its count.  Large workloads are drawn block by block; the
operators of chosen blocks can be drawn instead.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelsim.errors import UnknownNameError
from accelsim.report._layered import Layered, layered
from accelsim.report._strips import Box, Strip, overview, strips
from accelsim.report.style import FONT_AND_LINES
from accelsim.workload import Workload

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw", "graph_figure"]

OPERATORS: Final = 110
"""Operators up to which a whole workload is drawn operator by operator."""
LONGEST: Final = 32
"""Operators in one frame; longer blocks are continued in the next."""
BLOCKS: Final = 11
"""Blocks in one column of an overview."""

# Light tints of Okabe and Ito's colours, under black text; darker ones as the border.
_COLOURS: Final[Mapping[str, tuple[str, str]]] = {
    "matmul": ("#CFE4F3", "#0072B2"),
    "conv": ("#CDEBDF", "#009E73"),
    "attention": ("#F9DCC6", "#D55E00"),
    "scan": ("#F3DCEA", "#CC79A7"),
    "norm": ("#FBEFC8", "#C58B00"),
    "softmax": ("#FBEFC8", "#C58B00"),
    "elementwise": ("#EFEFEF", "#777777"),
    "reduce": ("#E3E3E3", "#555555"),
    "gather": ("#DDF0FA", "#4A9CC7"),
    "transfer": ("#FFFFFF", "#4A9CC7"),
    "route": ("#F3DCEA", "#CC79A7"),
    "collective": ("#FFFFFF", "#CC79A7"),
}
_OTHER: Final = ("#FFFFFF", "#000000")

_WIDTH: Final = 2.75  # inches, of an operator
_STREAM_WIDTH: Final = 1.9
_HEIGHT: Final = 0.52
_PITCH: Final = 0.78  # from one layer to the next
_GAP: Final = 0.22
_MARGIN: Final = 0.3  # of a frame around its nodes
_TITLE: Final = 0.3
_BETWEEN: Final = 0.55  # frames
_ASPECT: Final = 1.5  # of the page that the frames are packed for
_ARROW: Final = "-|>,head_width=1.6,head_length=3"
_PIXELS: Final = 16_000  # longest side of a PNG that viewers open


def draw(
    workload: Workload,
    path: str | Path,
    *,
    blocks: Sequence[str] = (),
    detail: str = "auto",
) -> list[Path]:
    """Draw a workload; return the files.

    Parameters
    ----------
    workload : Workload
        Any.
    path : str or Path
        Where to: ``x.png``, ``x.svg`` or ``x.pdf``, or a name without an ending for PNG and SVG.
    blocks : sequence of str
        Names of the blocks whose operators are drawn; all if empty.
    detail : {"auto", "operators", "blocks"}
        Operators, or one box per block; ``auto`` draws blocks where there are more than 110
        operators and none are chosen.

    Raises
    ------
    UnknownNameError
        If there is no such block.
    """
    import matplotlib as mpl

    path = Path(path)
    files = [path] if path.suffix else [path.with_name(f"{path.name}.{s}") for s in ("png", "svg")]
    path.parent.mkdir(parents=True, exist_ok=True)
    parameters: Any = {"backend": "agg", **FONT_AND_LINES}  # mypy would have 300 literal keys
    with mpl.rc_context(parameters):
        figure = graph_figure(workload, blocks=blocks, detail=detail)
        longest = max(figure.get_size_inches())
        for file in files:
            metadata: dict[str, Any] = {"Software": None} if file.suffix == ".png" else {}
            if file.suffix in (".svg", ".pdf"):
                metadata = {"Date": None} if file.suffix == ".svg" else {"CreationDate": None}
            figure.savefig(file, metadata=metadata, dpi=min(150, _PIXELS / longest))
    return files


def graph_figure(
    workload: Workload, *, blocks: Sequence[str] = (), detail: str = "auto"
) -> Figure:
    """Return the figure that `draw` writes."""
    from matplotlib.figure import Figure

    names = [block.name for block in workload.blocks]
    for name in blocks:
        if name not in names:
            raise UnknownNameError("block", name, names)
    operators = sum(len(block.operators) for block in workload.blocks)
    whole = detail == "blocks" or (detail == "auto" and not blocks and operators > OPERATORS)
    found = overview(workload, BLOCKS) if whole else strips(workload, blocks, LONGEST)
    handed = [{name for name in one.exits if name in two.entries} for one, two in pairwise(found)]
    frames = [
        _placed(strip, above, below)
        for strip, above, below in zip(found, [set(), *handed], [*handed, set()], strict=True)
    ]
    width, height = _pack(frames)
    head, foot = 0.55, 0.45
    size = (max(width, 5.5) + 0.6, height + head + foot)
    figure = Figure(figsize=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.3, size[0] - 0.3)
    axes.set_ylim(-height - foot, head)
    axes.axis("off")
    title = f"{workload.name}, {workload.phase}"
    axes.text(0, head - 0.15, title, fontsize=11, fontweight="bold", va="top")
    _between(axes, frames)
    for frame in frames:
        _draw_frame(axes, frame)
    _legend(axes, frames, -height - 0.22)
    return figure


# ---------------------------------------------------------------- places


@dataclass(slots=True)
class _Frame:
    """A strip with its places; x and y are its upper left corner, y downwards negative."""

    strip: Strip
    places: Layered
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0

    def centre(self, box: str) -> tuple[float, float]:
        top = self.y - (_TITLE if self.strip.title else 0.0) - _MARGIN / 2 - _HEIGHT / 2
        return (
            self.x + self._inset() + self.places.x[box],
            top - _PITCH * self.places.layer[box],
        )

    def _inset(self) -> float:
        return (self.width - self.places.width) / 2


def _placed(strip: Strip, above: Collection[str], below: Collection[str]) -> _Frame:
    """Return a strip with places; what joins it to those before and after stands at its ends."""
    ends = [box for name, box in strip.entries.items() if name in above or name in strip.loops]
    ends += [box for name, box in strip.exits.items() if name in below or name in strip.loops]
    widths = {name: _box_size(box)[0] for name, box in strip.boxes.items()}
    places = layered(list(strip.boxes), strip.edges, widths, _GAP, ends)
    layers = 1 + max(places.layer.values(), default=0)
    loop = 0.5 if strip.loops else 0.0
    height = (layers - 1) * _PITCH + _HEIGHT + _MARGIN + (_TITLE if strip.title else 0.0)
    return _Frame(strip, places, places.width + 2 * _MARGIN + loop, height)


def _box_size(box: Box) -> tuple[float, float]:
    if box.kind == "stream":
        longest = max(map(len, (box.name, *box.lines)))
        return min(_WIDTH, max(0.9, 0.062 * longest + 0.2)), (0.22, 0.3, 0.38)[len(box.lines)]
    return _WIDTH, _HEIGHT


def _pack(frames: Sequence[_Frame]) -> tuple[float, float]:
    """Place frames in columns, so that the page has about the wanted shape; return its size."""
    best: tuple[float, float, float] | None = None
    tallest = max(frame.height for frame in frames)
    total = sum(frame.height + _BETWEEN for frame in frames)
    for columns in range(1, len(frames) + 1):
        limit = max(tallest, total / columns)
        width, height = _columns(frames, limit)
        score = abs(width / height - _ASPECT)
        if best is None or score < best[0]:
            best = (score, limit, width)
    return _columns(frames, best[1] if best else tallest)


def _columns(frames: Sequence[_Frame], limit: float) -> tuple[float, float]:
    x = y = widest = lowest = 0.0
    for frame in frames:
        if y and y + frame.height > limit + 1e-9:
            x, y, widest = x + widest + _BETWEEN, 0.0, 0.0
        frame.x, frame.y = x, -y
        y += frame.height + _BETWEEN
        widest, lowest = max(widest, frame.width), max(lowest, y - _BETWEEN)
    return x + widest, lowest


# ---------------------------------------------------------------- drawing


def _draw_frame(axes: Axes, frame: _Frame) -> None:
    from matplotlib.patches import FancyBboxPatch

    strip = frame.strip
    if strip.title:
        axes.add_patch(
            FancyBboxPatch(
                (frame.x, frame.y - frame.height), frame.width, frame.height,
                boxstyle="round,pad=0,rounding_size=0.08", facecolor="#FBFBFB",
                edgecolor="#333333" if strip.count > 1 else "#BBBBBB",
                linewidth=1.3 if strip.count > 1 else 0.7, zorder=1,
            )
        )  # fmt: skip
        axes.text(frame.x + 0.12, frame.y - 0.09, strip.title, fontsize=9, va="top", zorder=5)
        if strip.count > 1:
            axes.text(
                frame.x + frame.width - 0.12, frame.y - 0.08, f"× {strip.count}", fontsize=12,
                fontweight="bold", ha="right", va="top", zorder=5,
            )  # fmt: skip
    for edge in dict.fromkeys(strip.edges):
        _edge(axes, frame, edge)
    for stream in strip.loops:
        _loop(axes, frame, stream)
    for name, box in strip.boxes.items():
        _box(axes, frame.centre(name), box)


def _box(axes: Axes, centre: tuple[float, float], box: Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    (x, y), (width, height) = centre, _box_size(box)
    stream = box.kind == "stream"
    face, edge = ("#FFFFFF", "#999999") if stream else _COLOURS.get(box.kind, _OTHER)
    rounding = height / 2 if stream else 0.06
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height,
            boxstyle=f"round,pad=0,rounding_size={rounding}", facecolor=face, edgecolor=edge,
            linewidth=0.8, zorder=3,
        )
    )  # fmt: skip
    lines = [box.name, *box.lines]
    if stream:
        axes.text(x, y, "\n".join(lines), fontsize=5.8, color="#333333", ha="center",
                  va="center", zorder=4, linespacing=1.1)  # fmt: skip
        return
    step = min(0.15, (height - 0.06) / len(lines))
    top = y + step * (len(lines) - 1) / 2
    for i, line in enumerate(lines):
        size = 7.2 if i == 0 else 5.9
        axes.text(
            x - width / 2 + 0.09, top - i * step, _cut(line, 60 if i else 42), fontsize=size,
            fontweight="bold" if i == 0 else "normal", va="center", zorder=4,
            color="#111111" if i == 0 else "#333333",
        )  # fmt: skip
    if box.note:
        axes.text(x + width / 2 - 0.08, top, box.note, fontsize=5.8, fontstyle="italic",
                  color=edge, ha="right", va="center", zorder=4)  # fmt: skip


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _edge(axes: Axes, frame: _Frame, edge: tuple[str, str]) -> None:
    """Draw a smooth line from box to box through its bends."""
    (x0, y0), (x1, y1) = (frame.centre(name) for name in edge)
    heights = [_box_size(frame.strip.boxes[name])[1] / 2 for name in edge]
    first = frame.places.layer[edge[0]] + 1
    top = frame.centre(edge[0])[1] + _PITCH * frame.places.layer[edge[0]]
    inset = frame.centre(edge[0])[0] - frame.places.x[edge[0]]
    points = [(x0, y0 - heights[0])]
    for i, bend in enumerate(frame.places.routes[edge]):
        middle = top - _PITCH * (first + i)
        points += [(bend + inset, middle + _HEIGHT / 2), (bend + inset, middle - _HEIGHT / 2)]
    points.append((x1, y1 + heights[1]))
    _curve(axes, points, "#555555", arrow=True)


def _curve(axes: Axes, points: Sequence[tuple[float, float]], colour: str, *, arrow: bool) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    places: list[tuple[float, float]] = [points[0]]
    codes = [int(Curve.MOVETO)]
    for (x0, y0), (x1, y1) in pairwise(points):
        if abs(x1 - x0) < 1e-6:
            places.append((x1, y1))
            codes.append(int(Curve.LINETO))
            continue
        middle = (y0 + y1) / 2
        places += [(x0, middle), (x1, middle), (x1, y1)]
        codes += [int(Curve.CURVE4)] * 3
    axes.add_patch(
        FancyArrowPatch(
            path=Curve(places, codes), arrowstyle=_ARROW if arrow else "-",
            color=colour, linewidth=0.8, zorder=2, shrinkA=0, shrinkB=0, capstyle="round",
        )
    )  # fmt: skip


def _loop(axes: Axes, frame: _Frame, stream: str) -> None:
    """Draw what the next repetition reads: from the bottom back to the top, dashed."""
    out, entry = frame.strip.exits.get(stream), frame.strip.entries.get(stream)
    if out is None or entry is None:
        return
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    (x0, y0), (x1, y1) = frame.centre(out), frame.centre(entry)
    half0, half1 = (_box_size(frame.strip.boxes[name])[0] / 2 for name in (out, entry))
    side = frame.x + 0.16
    if x0 > frame.x + 0.6 * frame.width:
        side, half0, half1 = frame.x + frame.width - 0.16, -half0, -half1
    points = [(x0 - half0, y0), (side, y0), (side, y1), (x1 - half1, y1)]
    axes.add_patch(
        FancyArrowPatch(
            path=Curve(points), arrowstyle=_ARROW, color="#333333",
            linewidth=0.9, linestyle=(0, (3, 2)), zorder=2, shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip


def _between(axes: Axes, frames: Sequence[_Frame]) -> None:
    """Draw what flows from frame to frame, in the gaps between them."""
    holders: dict[str, tuple[_Frame, str]] = {}
    for number, frame in enumerate(frames):
        for lane, (name, entry) in enumerate(frame.strip.entries.items()):
            if name in holders:
                source, out = holders[name]
                near = number and frames[number - 1] is source
                _connect(axes, (source, out), (frame, entry), lane, near=bool(near))
        holders |= {name: (frame, out) for name, out in frame.strip.exits.items()}


def _connect(
    axes: Axes, start: tuple[_Frame, str], end: tuple[_Frame, str], lane: int, *, near: bool
) -> None:
    (one, out), (other, entry) = start, end
    (x0, y0), (x1, y1) = one.centre(out), other.centre(entry)
    y0, y1 = y0 - 0.11, y1 + 0.15
    if one.x == other.x and near:
        _curve(axes, [(x0, y0), (x1, y1)], "#0072B2", arrow=True)
        return
    if not near:
        return
    gutter = other.x - _BETWEEN / 2 + 0.07 * (lane - 1)
    low, high = one.y - one.height - 0.12 - 0.05 * lane, other.y + 0.12 + 0.05 * lane
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    points = [(x0, y0), (x0, low), (gutter, low), (gutter, high), (x1, high), (x1, y1)]
    axes.add_patch(
        FancyArrowPatch(
            path=Curve(points), arrowstyle=_ARROW, color="#0072B2",
            linewidth=1.0, zorder=2, shrinkA=0, shrinkB=0, joinstyle="round",
        )
    )  # fmt: skip


def _legend(axes: Axes, frames: Sequence[_Frame], y: float) -> None:
    from matplotlib.patches import Rectangle

    kinds = {box.kind for frame in frames for box in frame.strip.boxes.values()} - {"stream"}
    x = 0.0
    for kind in sorted(
        kinds, key=lambda k: (k not in _COLOURS, list(_COLOURS).index(k) if k in _COLOURS else 0)
    ):
        face, edge = _COLOURS.get(kind, _OTHER)
        axes.add_patch(
            Rectangle((x, y - 0.06), 0.2, 0.12, facecolor=face, edgecolor=edge, linewidth=0.8)
        )
        axes.text(x + 0.26, y, kind, fontsize=7, va="center")
        x += 0.42 + 0.065 * len(kind)
