"""Draws a scratchpad plan: steps to the right, addresses upwards, a box for each stay.

What comes from DRAM and what goes there is marked at the box's ends, so that traffic can be seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from accelsim.mapping.scratchpad import Allocation, Stay
from accelsim.report._measured_figures import house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_allocation"]

# Light tints of Okabe and Ito's colours, under black text; darker ones as the border.
_INPUT: Final = ("#CFE4F3", "#0072B2")
_MADE: Final = ("#CDEBDF", "#009E73")
_BACK: Final = ("#F9DCC6", "#D55E00")
_SCALES: Final = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "bytes"))
NAMED: Final = 60
"""Steps up to which tasks and storages are named."""
LETTERS: Final = 5.4
"""Letters of a storage's name that one step has room for."""


def draw_allocation(plan: Allocation, file: Path, *, title: str = "") -> Path:
    """Draw when each storage is on chip and where; write a PNG.

    Parameters
    ----------
    plan : Allocation
        From `accelsim.mapping.scratchpad.allocate`.
    file : Path
        Where to.
    title : str
        What stands above; name, capacity and traffic of the plan unless given.

    Notes
    -----
    A blue box was in DRAM from the start, a green one is made here, an orange one comes back
    after a spill; a triangle at the right end says that it is written to DRAM.
    """
    from matplotlib.figure import Figure

    steps = len(plan.order)
    with house_style():
        width = min(max(5.0, 0.26 * steps + 1.6), 16.0)
        figure = Figure(figsize=(width, 4.4), dpi=200, layout="constrained")
        axes = figure.subplots()
        factor, unit = next((f, u) for f, u in _SCALES if plan.capacity_bytes >= f)
        for stay in plan.stays:
            _box(axes, plan, stay, factor)
        axes.axhline(plan.capacity_bytes / factor, color="#000000", linewidth=1.0)
        axes.set_xlim(-0.5, steps - 0.5)
        axes.set_ylim(0, 1.04 * plan.capacity_bytes / factor)
        axes.set_ylabel(f"address ({unit})")
        _name_steps(axes, plan)
        axes.set_title(title or _summary(plan), loc="left")
        _legend(figure)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".partial")
        figure.savefig(partial, format="png", metadata={"Software": None})
        partial.replace(file)
    return file


def _readable(size: float) -> str:
    factor, unit = next(((f, u) for f, u in _SCALES if size >= f), (1, "bytes"))
    return f"{size / factor:.4g} {unit}"


def _summary(plan: Allocation) -> str:
    extra = _readable(plan.noncompulsory_bytes)
    return (
        f"{plan.problem.name} in {_readable(plan.capacity_bytes)}: {plan.method},"
        f" {extra} above the compulsory {_readable(plan.problem.compulsory_bytes)}"
        f" ({plan.status})"
    )


def _again(plan: Allocation, stay: Stay) -> bool:
    """Say whether a stay is not the first of its storage."""
    return stay.loaded and any(
        s.storage == stay.storage and s.first < stay.first for s in plan.stays
    )


def _colours(plan: Allocation, stay: Stay) -> tuple[str, str]:
    if _again(plan, stay):
        return _BACK
    return _INPUT if stay.loaded else _MADE


def _box(axes: Axes, plan: Allocation, stay: Stay, factor: int) -> None:
    from matplotlib.patches import Rectangle

    storage = plan.problem.storages[stay.storage]
    face, edge = _colours(plan, stay)
    left, right = stay.first - 0.46, stay.last + 0.46
    low, height = stay.offset_bytes / factor, storage.size_bytes / factor
    axes.add_patch(
        Rectangle((left, low), right - left, height, facecolor=face, edgecolor=edge, linewidth=0.7)
    )
    if stay.stored:
        axes.plot(right - 0.08, low + height / 2, marker=">", color="#000000", markersize=2.6,
                  zorder=4)  # fmt: skip
    tall = height * factor > plan.capacity_bytes / 28
    name = storage.name.rpartition("/")[2]
    room = int((right - left) * LETTERS)
    if len(plan.order) <= NAMED and tall:
        axes.text(left + 0.08, low + height / 2, _cut(name, room), fontsize=4.5, va="center",
                  clip_on=True, zorder=5)  # fmt: skip


def _cut(name: str, room: int) -> str:
    """Return as much of a name as its box takes."""
    if len(name) <= room:
        return name
    return name[: room - 1] + "…" if room >= 4 else ""


def _name_steps(axes: Axes, plan: Allocation) -> None:
    steps = len(plan.order)
    axes.grid(visible=False, axis="x")
    if steps > NAMED:
        axes.set_xlabel("step (one operator each)")
        return
    names = [plan.problem.tasks[task].name.replace("/", "\n", 1) for task in plan.order]
    axes.set_xticks(range(steps), names, rotation=90, fontsize=4.5, linespacing=0.95)


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries = [
        Patch(facecolor=face, edgecolor=edge, label=label)
        for (face, edge), label in (
            (_INPUT, "read from DRAM"), (_MADE, "made on chip"), (_BACK, "read again"),
        )
    ]  # fmt: skip
    arrow = Line2D([], [], color="#000000", marker=">", markersize=4, linestyle="none",
                   label="written to DRAM")  # fmt: skip
    line = Line2D([], [], color="#000000", linewidth=1.0, label="capacity")
    figure.legend(handles=[*entries, arrow, line], loc="outside lower center", ncols=5)
