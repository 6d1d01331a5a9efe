"""The adapter of PIM simulator rows: every row answered, by a figure or a reason."""

from __future__ import annotations

import csv

from accelsim import registry
from accelsim.measure.cases import pim
from accelsim.measure.cases._case import Case
from tests.reference import reference_file


def read(name: str) -> list[dict[str, str]]:
    with reference_file(name).open() as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def row(**changes: str) -> dict[str, str]:
    """Return a row of the format with AttAcc's smallest case."""
    fields = {
        "case_id": "attacc", "tool": "attacc_simulator", "level": "attention_gemv_one_hbm",
        "system": "", "pim": "bank", "power_limited": "1", "model": "", "seq_len": "128",
        "heads": "16", "d_head": "128", "bytes_per_elem": "2", "batch": "", "out_dim": "",
        "in_dim": "", "metric": "memory_system_cycles", "value": "273", "unit": "cycle",
        "sim_wall_s": "",
    }  # fmt: skip
    return fields | changes


def only(**changes: str) -> Case:
    return pim.predict([row(**changes)])[0]


def test_the_adapter_is_found_by_its_file() -> None:
    """The registry lists it, and its columns tell the format."""
    assert registry.module("cases", "pim") is pim
    assert set(row()) >= pim.COLUMNS


def test_a_known_case_has_a_figure() -> None:
    """AttAcc, 16 heads of 128 tokens: 273 cycles in Ramulator."""
    case = only()
    assert case.group == "attacc bank"
    assert not case.unsupported
    assert case.predicted is not None
    assert abs(case.predicted - 273) <= 2


def test_what_is_not_modelled_says_why() -> None:
    """Levels, systems and kernels without a model have a reason and no figure."""
    layer = "one_decoder_layer_generation"
    keys = "op:PIM_stage_B/attn.NeuPIMSLogitSoftmax"
    for case in (
        only(pim="bg"),
        only(level="e2e_decode"),
        only(level="something new"),
        only(level="kernel_64ch", case_id="samsung-add-64", out_dim="64", metric="pim_cycles"),
        only(level=layer, system="npupim", metric=keys, model="gpt3-7B tp4"),
        only(level=layer, system="neupims", metric=keys, model="gpt3-7B tp4", seq_len=""),
        only(level=layer, system="neupims", metric="stage:A"),
    ):
        assert case.predicted is None
        assert case.unsupported


def test_no_reference_row_is_dropped() -> None:
    """One case per row, in order, each with a figure or a reason; request lists add figures."""
    rows = read("pim_golden.csv")
    cases = pim.predict(rows)
    assert [case.expected for case in cases] == [float(r["value"]) for r in rows]
    assert all((case.predicted is None) == bool(case.unsupported) for case in cases)
    with_lists = pim.predict(rows, read("pim_golden_requests.csv"))
    figures = [sum(c.predicted is not None for c in found) for found in (cases, with_lists)]
    assert figures[1] > figures[0]
