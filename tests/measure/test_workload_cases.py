"""Counts of workloads against those of public implementations."""

from __future__ import annotations

import pytest

from accelsim.measure.cases._case import summary
from accelsim.measure.cases.workload import METRICS, predict
from accelsim.measure.validate import validate_file
from tests.reference import reference_file

GPT2 = {
    "id": "x", "model": "gpt2", "phase": "decode", "batch": "1", "q_len": "1", "past_len": "511",
    "params": "124439808", "params_active": "124439808", "flops_total": "265938432",
    "alt_flops_total": "", "flops_attn_causal": "18874368", "kv_bytes_per_token": "36864",
    "state_bytes_per_seq": "0",
}  # fmt: skip
"""A row of transformers.GPT2LMHeadModel."""


def test_a_row_is_one_case_per_metric_that_it_has() -> None:
    """Every figure of the row is compared; a blank one is no case."""
    cases = predict([GPT2])
    assert {case.metric for case in cases} == METRICS.keys() & GPT2.keys() - {"alt_flops_total"}
    assert all(case.error_percent == 0 for case in cases)
    assert len(predict([{**GPT2, "flops_attn_causal": ""}])) == len(cases) - 1


def test_what_an_optimised_implementation_does_is_compared_where_a_row_says_it() -> None:
    """The metric names which of the two figures it is."""
    metrics = {case.metric for case in predict([{**GPT2, "alt_flops_total": "1"}])}
    assert {"alt_flops_total", "flops_total"} <= metrics


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "gpt9"}, "model `gpt9` is not in the library"),
        ({"phase": "encode"}, "is causal; it runs decode"),
    ],
)
def test_what_is_not_modelled_says_why(change: dict[str, str], reason: str) -> None:
    """Every metric of such a row is a case without a prediction."""
    cases = predict([{**GPT2, **change}])
    assert len(cases) == len(predict([GPT2]))
    assert all(case.predicted is None and reason in case.unsupported for case in cases)


@pytest.mark.validate
def test_counts_equal_the_reference() -> None:
    """Every model of the library is counted exactly, and rows of others are not dropped."""
    found = validate_file(reference_file("workload_golden.csv"))
    total = summary(found.cases)
    assert total["exact"] == total["rows"] - total["unsupported"]["count"]
    assert total["exact"] >= 264
    assert len({case.id for case in found.cases}) == found.lines
