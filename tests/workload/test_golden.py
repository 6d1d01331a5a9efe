"""Counts against figures taken from the real models in transformers, row by row, exactly."""

from __future__ import annotations

import csv
from functools import cache

import pytest

from accelsim.workload import (
    Conventions,
    Dtypes,
    Phase,
    Workload,
    decode,
    flop_split,
    load_model,
    model_names,
    prefill,
    workload,
)
from tests.reference import reference_file

COUNTS = (
    "params", "params_active", "flops_total", "flops_linear", "flops_lm_head", "flops_experts",
    "flops_attn", "flops_attn_causal", "kv_bytes_per_token", "state_bytes_per_seq",
)  # fmt: skip


@cache
def rows() -> list[dict[str, str]]:
    """Return the reference rows of the decoder models that the library has."""
    with reference_file("workload_golden.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(line for line in file if not line.startswith("#")))
    known = set(model_names())
    return [
        row
        for row in table
        if row["model"] in known and load_model(row["model"]).family == "decoder"
    ]


def phase_of(row: dict[str, str]) -> Phase:
    batch, new, past = (int(row[name]) for name in ("batch", "q_len", "past_len"))
    return prefill(batch, new, past) if row["phase"] == "prefill" else decode(batch, past)


def figures(graph: Workload) -> dict[str, int]:
    split, unmasked = flop_split(graph), flop_split(graph, unmasked=True)
    linear = ("linear", "router", "shared_experts")
    return {
        "params": graph.parameters,
        "params_active": graph.active_parameters,
        "flops_total": sum(split.values()),
        "flops_linear": sum(split.get(label, 0) for label in linear),
        "flops_lm_head": split["lm_head"],
        "flops_experts": split.get("experts", 0),
        "flops_attn": split["attention"],
        "flops_attn_causal": unmasked["attention"],
        "kv_bytes_per_token": graph.kv_bytes_per_token,
        "state_bytes_per_seq": graph.state_bytes_per_sequence,
    }


@pytest.mark.validate
def test_every_reference_row_is_met_exactly() -> None:
    """Parameters, FLOPs by class and KV bytes equal those of the real model at every point."""
    checked = rows()
    wrong: list[str] = []
    for row in checked:
        graph = workload(
            row["model"], phase_of(row), conventions=Conventions(logits="all"), dtypes=Dtypes()
        )
        ours = figures(graph)
        wrong += [
            f"{row['id']} {name}: {ours[name]} is not {row[name]}"
            for name in COUNTS
            if ours[name] != int(row[name])
        ]
    assert not wrong, "\n".join(wrong)
    assert checked
