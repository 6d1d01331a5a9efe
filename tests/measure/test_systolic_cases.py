"""Reference cases: the SCALE-Sim adapter and the summary of errors."""

from __future__ import annotations

import csv

import pytest

from accelsim.measure.cases import systolic_scalesim
from accelsim.measure.cases._case import Case, summary
from tests.reference import reference_file

ROW = {
    "array_rows": "8", "array_cols": "8", "dataflow": "os", "M": "1", "N": "1", "K": "1",
    "total_cycles": "14", "stall_cycles": "0",
}  # fmt: skip


@pytest.mark.validate
def test_every_golden_row_is_exact() -> None:
    """All rows are predicted without error, in each dataflow."""
    path = reference_file("systolic_scalesim_golden.csv")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert set(rows[0]) >= systolic_scalesim.COLUMNS
    found = summary(systolic_scalesim.predict(rows))
    assert found["rows"] == found["exact"] == 168
    assert found["max_percent"] == 0
    assert set(found["groups"]) == {"os", "ws", "is"}


def test_expected_is_the_number_of_cycles() -> None:
    """SCALE-Sim's figure is the index of the last cycle, one less than their number."""
    case = systolic_scalesim.predict([ROW])[0]
    assert (case.expected, case.predicted) == (15, 15)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"dataflow": "rs"}, "dataflow `rs`"), ({"stall_cycles": "3"}, "stalls")],
)
def test_what_is_not_modelled_is_said(change: dict[str, str], reason: str) -> None:
    """Such a row has no prediction, and the reason why."""
    case = systolic_scalesim.predict([ROW | change])[0]
    assert case.predicted is None
    assert reason in case.unsupported


def test_summary_counts_errors_and_reasons() -> None:
    """Errors are absolute and in percent; what is unsupported is counted apart."""
    cases = [
        Case("a", "x", "s", 100.0, 100.0),
        Case("b", "x", "s", 100.0, 90.0),
        Case("c", "y", "s", 100.0, 130.0),
        Case("d", "y", "s", 100.0, None, "too wide"),
    ]
    found = summary(cases)
    assert (found["rows"], found["exact"]) == (4, 1)
    assert found["mape_percent"] == pytest.approx(40 / 3)
    assert found["max_percent"] == pytest.approx(30)
    assert found["unsupported"] == {"count": 1, "reasons": {"too wide": 1}}
    assert found["groups"]["y"]["rows"] == 2


def test_summary_of_nothing_has_no_error() -> None:
    """Without predictions there is no mean to give."""
    found = summary([])
    assert (found["rows"], found["mape_percent"], found["max_percent"]) == (0, None, None)
