"""Whole models and layers, simulated and measured: tables of other people's end-to-end figures.

`read_rows` reads a table, `compare` simulates its rows, `summary` sums up the errors.
"""

from __future__ import annotations

from accelsim.measure.endtoend.comparison import FRAME_COLUMNS, compare, recipe_of
from accelsim.measure.endtoend.recipe import Pass, Recipe, Simulation, simulate
from accelsim.measure.endtoend.rows import Row, measured_ms, read_rows
from accelsim.measure.endtoend.scores import KEYS, PUBLISHED, summary, tested

__all__ = [
    "FRAME_COLUMNS",
    "KEYS",
    "PUBLISHED",
    "Pass",
    "Recipe",
    "Row",
    "Simulation",
    "compare",
    "measured_ms",
    "read_rows",
    "recipe_of",
    "simulate",
    "summary",
    "tested",
]
