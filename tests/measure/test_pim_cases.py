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


def system(**changes: str) -> dict[str, str]:
    """Return what makes `row` one of AttAcc's systems: eight GPUs alone, batch 54."""
    fields = {
        "level": "e2e_decode", "system": "dgx x8", "pim": "", "power_limited": "",
        "model": "GPT-175B", "gpu": "A100a", "batch": "54", "lin": "2048", "lout": "128",
        "ff_opt": "", "pipe_opt": "", "metric": "comm_time", "value": "10.151221",
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
        only(**system(model="GPT-5")),
        only(**system(gpu="V100")),
        only(**system(system="dgx x4")),
        only(**system(metric="area")),
        only(level="something new"),
        only(level="gddr6_aim_decode", metric="area"),
        only(level="kernel_64ch", case_id="samsung-gelu-64", out_dim="64", metric="pim_cycles"),
        only(level=layer, system="other", metric=keys, model="gpt3-7B tp4", batch="1"),
        only(level=layer, system="neupims", metric=keys, model="gpt3-7B tp4", seq_len=""),
        only(level=layer, system="neupims", metric="stage:A", model="gpt4 tp4", batch="1"),
        only(level=layer, system="neupims", metric="stage:C", model="gpt3-7B tp4", batch="1"),
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
        only(level="gddr6_aim_decode", system="8 CXL devices TP1 PP8", model="Llama2-7B",
             metric="token_latency", value="2.280247"),
        only(level="gddr6_aim_decode", system="8 CXL devices TP1 PP8", model="Llama2-7B",
             metric="token_energy", value="66.7822"),
        only(**neupims, system="npupim", seq_len="1024", value="18291"),
        only(**neupims | {"metric": "stage:E"}, system="neupims", seq_len="256", value="81891"),
        only(**neupims | {"metric": "layer_time"}, system="neupims", seq_len="256",
             value="120333"),
    ):  # fmt: skip
        assert case.error_percent is not None, case
        assert case.error_percent < 3, case


def test_head_pipelining_and_co_processing_change_the_step_of_a_system() -> None:
    """Each field of the row reaches the evaluation, in the order of the authors' ablation."""
    banks = system(system="dgx-attacc x8", pim="bank", power_limited="1", metric="token_latency")
    plain, both = (
        only(**(banks | {"ff_opt": flag, "pipe_opt": flag})).predicted or 0 for flag in "01"
    )
    groups = only(**(banks | {"pim": "bg", "ff_opt": "1", "pipe_opt": "1"})).predicted or 0
    alone = only(**system(metric="token_latency")).predicted or 0
    assert both < plain < alone
    assert both < groups < alone


# Mean and largest error in per cent, over all rows; what is missing stands in docs/pim.md.
SYSTEMS = {
    "token_latency": (0.5, 2.6),
    "throughput": (0.5, 2.6),
    "attention_time": (3.5, 20.5),
    "fc_time": (0.8, 4.7),
    "comm_time": (0.2, 0.8),
    "etc_time": (1.1, 2.1),
    "prefill_time": (0.6, 2.6),
    "energy_per_step": (0.9, 1.9),
}


def test_systems_stay_within_their_errors() -> None:
    """Every row of AttAcc's systems has a figure, and no group is worse than documented."""
    cases = pim.predict([r for r in read("pim_golden.csv") if r["level"] == "e2e_decode"])
    for metric, (mean, largest) in SYSTEMS.items():
        group = [case for case in cases if case.group == f"attacc system {metric}"]
        errors = [case.error_percent for case in group if case.error_percent is not None]
        assert len(errors) == len(group) > 0
        assert sum(errors) / len(errors) <= mean, metric
        assert max(errors) <= largest, metric


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


# Mean and largest error in per cent, over all rows; what is missing stands in docs/pim.md.
LAYERS = {
    "products": (3, 13), "products, one row buffer": (3, 7), "products, sub-batches": (5.5, 24),
    "stage A": (2, 2.5), "stage A, sub-batches": (6, 6), "stage B": (2, 3.5),
    "stage B, one row buffer": (4.5, 7), "stage B, sub-batches": (3, 3),
    "stage C, sub-batches": (2.5, 2.5), "stage D, sub-batches": (2.5, 2.5),
    "stage E": (1.5, 2), "stage E, one row buffer": (2, 3), "stage E, sub-batches": (1.5, 1.5),
    "stage F, sub-batches": (2, 2), "layer": (1, 1.5), "layer, one row buffer": (2.8, 4.8),
    "layer, sub-batches": (2.2, 2.4),
}  # fmt: skip


def test_layers_stay_within_their_errors() -> None:
    """Every figure of NeuPIMs' layers is predicted, no group worse than documented."""
    layers = [r for r in read("pim_golden.csv") if r["level"] == "one_decoder_layer_generation"]
    cases = pim.predict(layers, read("pim_golden_requests.csv"))
    assert not [case.id for case in cases if case.predicted is None]
    for group, (mean, largest) in LAYERS.items():
        errors = [case.error_percent or 0.0 for case in cases if case.group == f"neupims {group}"]
        assert errors, group
        assert sum(errors) / len(errors) <= mean, group
        assert max(errors) <= largest, group


@pytest.mark.parametrize(
    ("figure", "mean", "largest"), [("latency", 1.2, 4), ("energy", 3.3, 11.5)]
)
def test_tokens_of_cent_stay_within_their_errors(figure: str, mean: float, largest: float) -> None:
    """Every token row has a figure; what is missing of the energy grows with the length."""
    tokens = [r for r in read("pim_golden.csv") if r["metric"] == f"token_{figure}"]
    cases = [c for c in pim.predict(tokens) if c.group == f"cent token {figure}"]
    errors = [case.error_percent for case in cases if case.error_percent is not None]
    assert len(errors) == len(cases) > 0
    assert sum(errors) / len(errors) <= mean
    assert max(errors) <= largest


def test_more_devices_shorten_a_token_and_cost_energy() -> None:
    """The block's products divide over eight devices, their vectors go to all of them."""
    aim = {"level": "gddr6_aim_decode", "model": "Llama2-7B", "seq_len": "1024"}
    systems = ("8 CXL devices TP1 PP8", "8 CXL devices TP8 PP1")
    one, eight = (only(**aim, system=s, metric="token_latency").predicted or 0 for s in systems)
    assert 1.5 * eight < one < 8 * eight
    one, eight = (only(**aim, system=s, metric="token_energy").predicted or 0 for s in systems)
    assert one < eight < 2 * one


def layer(stage: str, system: str, count: int, length: int = 512) -> float:
    """Return the cycles of a stage with `count` requests on each of 32 channels."""
    fields = {
        "case_id": "x", "level": "one_decoder_layer_generation", "model": "gpt3-7B tp4",
        "system": system, "seq_len": str(length), "batch": str(32 * count), "metric": stage,
    }  # fmt: skip
    return pim.predict([row(**fields)])[0].predicted or 0.0


def test_products_slow_down_beside_memory_work_and_not_without() -> None:
    """FC1 of half a batch: in stage F alone, in C while the other half is in memory."""
    name, system = "op:SA_stage_{}/ffn.fc1", "neupims sub-batch-on"
    alone, beside = (layer(name.format(stage), system, 8) for stage in "FC")
    assert 1.15 * alone < beside < 1.6 * alone
    # So few requests that memory has ended when FC1 begins.
    few = (layer(name.format(stage), system, 2, 32) for stage in "FC")
    assert len(set(few)) == 1


def test_two_row_buffers_and_sub_batches_both_pay() -> None:
    """The layer, at 8 requests a channel: blocked, concurrent, concurrent in sub-batches."""
    systems = ("npupim", "neupims", "neupims sub-batch-on")
    blocked, dual, interleaved = (layer("layer_time", system, 8) for system in systems)
    assert blocked > 1.5 * dual
    assert dual > 1.1 * interleaved


def test_a_stage_is_its_operators_or_the_memory_whichever_is_longer() -> None:
    """Stage A sums its two operators; stage B without sub-batches is keys and values."""
    names = ("attn.ln", "attn.QKVgen")
    parts = sum(layer(f"op:SA_stage_A/{name}", "neupims", 4) for name in names)
    assert layer("stage:A", "neupims", 4) == pytest.approx(parts)
    sides = ("attn.NeuPIMSLogitSoftmax", "attn.NeuPIMSAttend")
    parts = sum(layer(f"op:PIM_stage_B/{name}", "neupims", 4) for name in sides)
    assert layer("stage:B", "neupims", 4) == pytest.approx(parts)


def test_no_reference_row_is_dropped() -> None:
    """One case per row, in order, each with a figure or a reason; request lists add figures."""
    rows = read("pim_golden.csv")
    cases = pim.predict(rows)
    assert [case.expected for case in cases] == [float(r["value"]) for r in rows]
    assert all((case.predicted is None) == bool(case.unsupported) for case in cases)
    with_lists = pim.predict(rows, read("pim_golden_requests.csv"))
    figures = [sum(c.predicted is not None for c in found) for found in (cases, with_lists)]
    assert figures[1] > figures[0]
