"""Sliding windows bring what is new, and neighbours that read the same word share it."""

from __future__ import annotations

import itertools

import pytest

from accelsim.nest import (
    ACCOUNTINGS,
    Fanout,
    Hierarchy,
    Problem,
    Storage,
    convolution,
    evaluate,
    parse,
)

ALL = frozenset({"input", "weight", "output"})
RULES = ACCOUNTINGS["timeloop"]


def _image_words(problem: Problem, loops: dict[str, dict[str, int]], level: int) -> float:
    hierarchy = Hierarchy(
        (Storage("outer", keep=ALL), Fanout("spread", 64, ALL), Storage("inner", keep=ALL))
    )
    figures = evaluate(problem, hierarchy, parse(loops, hierarchy), RULES)
    return float(figures.accesses[level, 0, 0 if level == 0 else 1])


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [1, 2, 6])
def test_a_window_that_slides_brings_each_row_once(stride: int, rows: int) -> None:
    """Steps of the innermost loop bring the union of all their windows, counted row by row."""
    problem = convolution((12, 1), (3, 1), (2, 2), stride=(stride, 1))
    loops = {"outer": {"p": 12 // rows}, "inner": {"p": rows, "r": 3, "c": 2, "m": 2}}
    steps = [
        {p * stride + r for p in range(rows * step, rows * (step + 1)) for r in range(3)}
        for step in range(12 // rows)
    ]
    boxes = [set(range(min(step), max(step) + 1)) for step in steps]
    new = len(boxes[0]) + sum(len(b - a) for a, b in itertools.pairwise(boxes))
    assert _image_words(problem, loops, 0) == pytest.approx(2 * new)


def test_a_loop_over_another_dim_inside_loses_the_overlap() -> None:
    """The window stands still under it and then jumps, so that it is brought whole."""
    problem = convolution((12, 1), (3, 1), (1, 4))
    inside = {"p": 3, "r": 3}
    kept = _image_words(problem, {"outer": {"m": 4, "p": 4}, "inner": inside}, 0)
    lost = _image_words(problem, {"outer": {"p": 4, "m": 4}, "inner": inside}, 0)
    assert kept == pytest.approx(4 * (5 + 3 * 3))
    assert lost == pytest.approx(4 * 5)


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
def test_neighbours_at_the_same_row_are_served_by_one_read(stride: int) -> None:
    """Rows r and p over one fan-out read as many rows as their sums have different values."""
    problem = convolution((6, 1), (4, 1), (1, 1), stride=(stride, 1))
    rows = {stride * p + r for p in range(6) for r in range(4)}
    assert _image_words(problem, {"spread": {"p": 6, "r": 4}}, 0) == pytest.approx(len(rows))
    assert _image_words(problem, {"spread": {"p": 6, "r": 4}}, 2) == pytest.approx(24)
