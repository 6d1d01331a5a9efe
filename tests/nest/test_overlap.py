"""A level takes the longest way through its loads, work and drains; more never takes less."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.nest._overlap import level_row, overlapped, rows_cycles

TENSORS = 3


def level(random: np.random.Generator) -> np.ndarray:
    """Return the row of a double-buffered level, first parts no more than the whole."""
    load = random.integers(0, 4, TENSORS) * random.random(TENSORS) * 50
    drain = random.random() * 60 * random.integers(0, 2)
    return np.concatenate([load, load * random.random(TENSORS), [drain, drain * random.random()]])


def longest_way(row: np.ndarray, inside: float) -> float:
    """Return the most over a fine grid of when work begins to flow and when it has flowed."""
    load, first = row[:TENSORS], row[TENSORS : 2 * TENSORS]
    drain, last = row[-2:]
    part = np.linspace(0.0, 1.0, 401)
    come = np.minimum(load, part[:, None] * load + first).sum(axis=1)
    leave = np.minimum(drain, (1 - part) * drain + last)
    ways = come[:, None] + (part[None, :] - part[:, None]) * inside + leave[None, :]
    return float(ways[np.triu_indices(len(part))].max())


@pytest.mark.parametrize("seed", range(200))
def test_a_level_takes_its_longest_way(seed: int) -> None:
    random = np.random.default_rng(seed)
    row, inside = level(random), float(random.random() * 100)
    found = overlapped(row, TENSORS, inside)
    # the grid misses a corner by at most one of its steps
    step = (row.sum() + inside) / 400
    assert longest_way(row, inside) <= found * (1 + 1e-12) <= longest_way(row, inside) + step


@pytest.mark.parametrize("seed", range(100))
def test_more_of_anything_never_takes_less(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, waits = np.array([level(random) for _ in range(3)]), random.random(3) * 9
    more_rows, more_waits = rows.copy(), waits + random.random(3) * random.integers(0, 2, 3)
    whole = [0, 1, 2, 2 * TENSORS]
    more_rows[:, whole] += random.random((3, 4)) * random.integers(0, 2, (3, 4)) * 20
    inside = float(random.random() * 200)
    least = rows_cycles(rows, waits, TENSORS, inside)
    assert rows_cycles(more_rows, more_waits, TENSORS, inside) >= least - 1e-9
    assert rows_cycles(rows, waits, TENSORS, inside + 1.0) >= least - 1e-9
    assert least <= inside + rows.sum() + waits.sum() + 1e-9


def test_a_single_buffer_moves_nothing_beside_work() -> None:
    load, tiles, anew = np.array([6.0, 8.0, 0.0]), np.array([3.0, 4.0, 12.0]), np.ones(4)
    row = np.full(2 * TENSORS + 2, 7.0)
    assert level_row(load, tiles, 24.0, 2, 1, anew, row) == 6 + 8 + 24 + 12 * 2
    assert not row.any()
    assert anew.tolist() == [3, 4, 1, 12]


def test_a_level_inside_a_single_buffer_begins_anew_with_its_tiles() -> None:
    load, tiles = np.array([60.0, 80.0, 0.0]), np.array([6.0, 8.0, 24.0])
    row, anew = np.zeros(2 * TENSORS + 2), np.array([3.0, 16.0, 1.0, 12.0])
    waits = level_row(load, tiles, 48.0, 2, 2, anew, row)
    assert waits == 12 * 2
    # a third of one tensor's tiles are first ones, all of the other's
    assert row.tolist() == [60, 80, 0, 30, 80, 0, 48, 24]
