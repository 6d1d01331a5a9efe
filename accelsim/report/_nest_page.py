"""What pictures of nests share: pages in inches, colours of tensors, how a file is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelsim.errors import ConfigError, Location

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DOTS_PER_INCH", "box", "check_ending", "page", "saved", "tensor_colours", "text_width",
]  # fmt: skip

DOTS_PER_INCH: Final = 200

# Light tints of Okabe and Ito's colours, under black text; darker ones as the border.
_TENSORS: Final = (
    ("#CFE4F3", "#0072B2"), ("#CDEBDF", "#009E73"), ("#F9DCC6", "#D55E00"),
    ("#F3DCEA", "#CC79A7"), ("#FBEFC8", "#C58B00"), ("#DDF0FA", "#4A9CC7"),
)  # fmt: skip


def tensor_colours(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return name -> (tint, border); beyond six tensors colours come again."""
    return {name: _TENSORS[i % len(_TENSORS)] for i, name in enumerate(names)}


def page(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure in inches from its upper left corner, downwards."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    return figure, axes


def box(
    axes: Axes, place: tuple[float, float, float, float], colours: tuple[str, str], **look: Any
) -> None:
    """Draw a rectangle: left, top, width, height in inches; tint and border."""
    from matplotlib.patches import Rectangle

    left, top, width, height = place
    look = {"linewidth": 0.7, **look}
    axes.add_patch(
        Rectangle((left, top), width, height, facecolor=colours[0], edgecolor=colours[1], **look)
    )


def text_width(text: str, points: float, *, bold: bool = False, mono: bool = False) -> float:
    """Return the inches that a text takes in the house font."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    family = "DejaVu Sans Mono" if mono else "DejaVu Sans"
    font = FontProperties(family=family, weight="bold" if bold else "normal")
    extent = TextPath((0, 0), text.replace("$", r"\$"), size=points, prop=font).get_extents()
    return float(extent.width) / 72.0


_UNDATED: Final[dict[str, dict[str, Any]]] = {
    ".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None},
}  # fmt: skip


def check_ending(file: Path) -> None:
    """Raise `ConfigError` where a figure cannot be written to a file of that ending."""
    if file.suffix.lower() not in _UNDATED:
        endings = ", ".join(_UNDATED)
        raise ConfigError(f"a picture's ending is one of {endings}", Location(str(file)))


def saved(figure: Figure, file: Path) -> Path:
    """Write a figure as PNG, SVG or PDF by the file's ending, whole or not at all."""
    kind = file.suffix.lower()
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    figure.savefig(partial, format=kind.removeprefix("."), metadata=_UNDATED[kind])
    partial.replace(file)
    return file
