"""The table of a workload: a row per operator, and sums that are the workload's totals."""

from __future__ import annotations

import pytest

from accelsim.workload import decode, prefill, totals, workload
from accelsim.workload.graph import Operator, Workload
from accelsim.workload.table import COLUMNS, dims_text, operator_rows, table


def mixtral() -> Workload:
    return workload("mixtral-8x7b", prefill(1, 64))


def test_the_last_row_is_the_sum_and_equals_the_totals() -> None:
    """Repetitions count in each row, so rows add up to what `totals` says."""
    frame, expected = table(mixtral()), totals(mixtral())
    last = frame.iloc[-1]
    assert last["block"] == "total"
    for column in COLUMNS[6:]:
        assert frame[column].iloc[:-1].sum() == last[column]
    assert last["macs"] == expected.macs
    assert last["vector_ops"] == expected.vector_ops
    assert last["weight_bytes"] == expected.weight_read_bytes
    moved = sum(last[c] for c in COLUMNS if c.endswith("_bytes"))
    assert moved == expected.read_bytes + expected.write_bytes


def test_rows_stand_in_order_of_execution() -> None:
    """Block by block, operator by operator."""
    built = mixtral()
    names = [(block.name, operator.name) for block, operator in built.operators()]
    assert [(row.block, row.operator.name) for row in operator_rows(built)] == names
    assert list(zip(table(built)["block"], table(built)["name"], strict=True))[:-1] == names


def test_a_workload_without_operators_has_zero_totals() -> None:
    """An empty table still has its row of sums, as numbers."""
    empty = Workload("empty", (), 0, 0, 0, "forward 1x1", 1, 1)
    assert table(empty)["macs"].tolist() == [0]
    assert table(empty)["macs"].dtype == "int64"


_CONV = {
    "batch": 1, "groups": 1, "in_channels": 3, "out_channels": 64, "in_height": 224,
    "in_width": 224, "out_height": 112, "out_width": 112, "kernel_height": 7, "kernel_width": 7,
}  # fmt: skip


@pytest.mark.parametrize(
    ("operator", "text"),
    [
        (Operator("c", "conv", _CONV, (), ()), "7x7, 3 -> 64, 224x224 -> 112x112"),
        (
            Operator("c", "conv", {**_CONV, "batch": 2, "groups": 3, "in_channels": 1}, (), ()),
            "7x7, 3 -> 192, 224x224 -> 112x112, batch 2, groups 3",
        ),
        (
            Operator("m", "matmul", {"batch": 2, "m": 4, "n": 8, "k": 16}, (), ()),
            "batch 2, m 4, n 8, k 16",
        ),
        (
            Operator("n", "norm", {"rows": 2, "columns": 8}, (), (), attributes={"function": "l"}),
            "l: rows 2, columns 8",
        ),
    ],
)
def test_dims_read_as_a_person_writes_them(operator: Operator, text: str) -> None:
    """Sizes of 1 that say nothing are left out."""
    assert dims_text(operator) == text


def test_masks_are_named() -> None:
    """A causal attention and its window stand in the dims' text."""
    rows = operator_rows(workload("mistral-7b", decode(1, 9)))
    attention = next(row for row in rows if row.operator.kind == "attention")
    assert attention.dims.endswith("causal, window 4096")
