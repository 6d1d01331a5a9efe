"""Attention kernels over requests of several lengths: one launch, and the cost of their mean."""

from __future__ import annotations

import pytest

from accelsim import arch, mapping
from accelsim.evaluation import evaluate, simulate_workload
from accelsim.mapping import Plan, Step
from accelsim.result import Result
from accelsim.workload import load_model, workload
from accelsim.workload.phase import Phase, SequenceGroup


def run(*groups: tuple[int, int, int], kind: str = "decode") -> Result:
    """Return GPT-2 on an A100 over groups of sequences, new and cached tokens."""
    at = Phase(kind, tuple(SequenceGroup(*group) for group in groups))  # type: ignore[arg-type]
    built = workload(load_model("gpt2"), at)
    policy = mapping.load("roofline-best", {})
    return simulate_workload(built, arch.load("a100-80gb"), policy, check=True)


def attentions(found: Result) -> list[Step]:
    plan: Plan = found.simulated.lowered.plan
    layers = max(plan.blocks, key=lambda block: block.count)
    return [step for step in layers.steps if step.work.kind == "attention"]


def test_all_lengths_take_one_launch_and_the_time_of_their_mean() -> None:
    mixed = attentions(run((8, 1, 511), (8, 1, 1535)))
    alone = attentions(run((16, 1, 1023)))
    assert [step.estimate.launch_ps > 0 for step in mixed] == [True, False]
    total = sum(step.estimate.compute_ps for step in mixed)
    assert total == pytest.approx(alone[0].estimate.compute_ps, rel=1e-6)


def test_a_group_has_the_time_of_its_cache() -> None:
    short, long = attentions(run((4, 1, 99), (4, 1, 399)))
    assert long.estimate.compute_ps == pytest.approx(4 * short.estimate.compute_ps, rel=1e-6)


def test_many_lengths_cost_no_more_than_one() -> None:
    """Before, each length was a kernel, and a batch of 64 took 4.5 times as long."""
    many = run(*((1, 1, 992 + n) for n in range(64)))
    assert many.latency_s == pytest.approx(run((64, 1, 1023)).latency_s, rel=0.02)


def test_prompts_stay_kernels_of_their_own() -> None:
    found = attentions(run((1, 512, 0), (4, 1, 99), (4, 1, 399), kind="mixed"))
    assert [step.estimate.launch_ps > 0 for step in found] == [True, True, False]


def test_a_unit_without_launches_is_left_alone() -> None:
    changes = {"mapping.partition.tensor": 4, "workload.lengths.listed": "8x100 8x900"}
    found = evaluate("gpt3-7b-neupims", "neupims", "npu-only", batch=16, overrides=changes)
    assert all(step.estimate.launch_ps == 0 for step in found.simulated.lowered.steps)
