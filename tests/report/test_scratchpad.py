"""Pictures of scratchpad plans: a box per stay, inside the axes, the same file every time."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from accelsim.mapping.scratchpad import Allocation, allocate, largest_footprint_bytes
from accelsim.report.scratchpad import NAMED, draw_allocation
from tests.mapping.scratchpad_oracle import random_problem


def plan(tasks: int) -> Allocation:
    problem = random_problem(Random(3), tasks=tasks, largest=5)
    return allocate(problem, largest_footprint_bytes(problem), method="belady")


@pytest.mark.parametrize("tasks", [8, NAMED + 10])
def test_every_stay_is_a_box_of_its_size(
    tasks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Widths are steps, heights are bytes; what comes back after a spill has another colour."""
    from matplotlib.axes import Axes

    boxes: list[Any] = []
    add = Axes.add_patch
    monkeypatch.setattr(
        Axes, "add_patch", lambda axes, box: (boxes.append(box), add(axes, box))[1]
    )
    one = plan(tasks)
    draw_allocation(one, tmp_path / "plan.png")
    assert len(boxes) == len(one.stays)
    for box, stay in zip(boxes, one.stays, strict=True):
        assert box.get_height() == one.problem.storages[stay.storage].size_bytes
        assert round(box.get_width() + 0.08) == stay.last - stay.first + 1
    seen: set[int] = set()
    again = [s.storage in seen or seen.add(s.storage) is not None for s in one.stays]
    assert sum(again) > 0
    colours = {box.get_facecolor() for box, back in zip(boxes, again, strict=True) if back}
    assert len(colours) == 1
    others = {box.get_facecolor() for box, back in zip(boxes, again, strict=True) if not back}
    assert not colours & others


def test_the_file_is_the_same_every_time(tmp_path: Path) -> None:
    one = plan(8)
    files = [draw_allocation(one, tmp_path / name) for name in ("a.png", "b.png")]
    assert files[0].read_bytes() == files[1].read_bytes()
