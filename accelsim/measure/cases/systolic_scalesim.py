"""Systolic-array cycle counts of SCALE-Sim, one matrix product per row.

The expected figure is SCALE-Sim's "Total Cycles" plus one: the report gives the 0-based index of
the last cycle, so that a run of one cycle would read 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from accelsim.cost._systolic import DATAFLOWS, cycles
from accelsim.measure.cases._case import Case

__all__ = ["COLUMNS", "NAME", "predict"]

NAME: Final = "SCALE-Sim systolic cycles"
"""What the format is called in reports."""

COLUMNS: Final = frozenset({"array_rows", "array_cols", "dataflow", "M", "N", "K", "total_cycles"})
"""Columns that identify the format."""

_SIZES: Final = ("M", "N", "K", "array_rows", "array_cols")


def predict(rows: Sequence[dict[str, str]]) -> list[Case]:
    """Return one case per row: cycles of an array without double buffering, as SCALE-Sim's.

    Parameters
    ----------
    rows : sequence of dict
        Column -> text, at least `COLUMNS`.
    """
    return [_case(number, row) for number, row in enumerate(rows)]


def _case(number: int, row: dict[str, str]) -> Case:
    dataflow = row["dataflow"].strip().lower()
    m, n, k, array_rows, array_columns = (int(row[name]) for name in _SIZES)
    name = f"{number}: {array_rows}x{array_columns} {dataflow} {m}x{n}x{k}"
    expected, predicted, reason = int(row["total_cycles"]) + 1, None, ""
    if dataflow in DATAFLOWS:
        code = DATAFLOWS.index(dataflow)
        predicted = float(cycles(code, 1, m, n, k, array_rows, array_columns, 1, False))
    else:
        reason = f"dataflow `{dataflow}`; there are {', '.join(DATAFLOWS)}"
    if int(row.get("stall_cycles") or 0):
        predicted, reason = None, "row with memory stalls: the model is of the array alone"
    return Case(name, dataflow, "cycles", float(expected), predicted, reason)
