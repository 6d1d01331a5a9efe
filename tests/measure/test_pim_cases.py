"""The adapter of PIM simulator rows: every row answered, by a figure or a reason."""

from __future__ import annotations

import csv

import pytest

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
        only(pim="rank"),
        only(level="e2e_decode"),
        only(level="something new"),
        only(level="kernel_64ch", case_id="samsung-gelu-64", out_dim="64", metric="pim_cycles"),
        only(level=layer, system="other", metric=keys, model="gpt3-7B tp4", batch="1"),
        only(level=layer, system="neupims", metric=keys, model="gpt3-7B tp4", seq_len=""),
        only(level=layer, system="neupims", metric="stage:A"),
    ):
        assert case.predicted is None
        assert case.unsupported


def test_every_placement_and_kernel_has_a_figure() -> None:
    """Figures of the simulators, one per kind of unit, within a few per cent."""
    layer = "one_decoder_layer_generation"
    keys = "op:PIM_stage_B/attn.NeuPIMSLogitSoftmax"
    neupims = {"level": layer, "metric": keys, "model": "gpt3-7B tp4", "batch": "1"}
    for case in (
        only(pim="bg", seq_len="256", heads="32", value="3099"),
        only(pim="buffer", seq_len="256", value="4158"),
        only(level="kernel_64ch", case_id="samsung-add", out_dim="1048576", metric="pim_cycles",
             value="3349"),
        only(level="gddr6_aim_decode", system="8 CXL devices TP1 PP8", model="Llama2-7B",
             metric="block_pim_latency", value="0.05904"),
        only(**neupims, system="npupim", seq_len="1024", value="18291"),
    ):  # fmt: skip
        assert case.error_percent is not None, case
        assert case.error_percent < 3, case


def test_a_sub_batch_holds_half_of_each_channel() -> None:
    """Five requests on a channel: three in the first sub-batch, two in the second."""
    fields = {
        "case_id": "x", "level": "one_decoder_layer_generation", "model": "gpt3-7B tp4",
        "system": "neupims sub-batch-on", "seq_len": "", "batch": "5",
    }  # fmt: skip
    name = "op:PIM_stage_{}/attn.NeuPIMSLogitSoftmax"
    requests = [{"case_id": "x", "seq_len": "512", "channel": "0"}] * 5
    rows = [row(**fields, metric=name.format(stage)) for stage in "BC"]
    first, second = (case.predicted or 0 for case in pim.predict(rows, requests))
    assert first / second == pytest.approx(3 / 2, rel=0.05)


def test_no_reference_row_is_dropped() -> None:
    """One case per row, in order, each with a figure or a reason; request lists add figures."""
    rows = read("pim_golden.csv")
    cases = pim.predict(rows)
    assert [case.expected for case in cases] == [float(r["value"]) for r in rows]
    assert all((case.predicted is None) == bool(case.unsupported) for case in cases)
    with_lists = pim.predict(rows, read("pim_golden_requests.csv"))
    figures = [sum(c.predicted is not None for c in found) for found in (cases, with_lists)]
    assert figures[1] > figures[0]
