"""Requests of different lengths on channels that compute: who waits for whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim import arch, mapping
from accelsim.evaluation import simulate_workload
from accelsim.mapping._balance import assign
from accelsim.result import Result
from accelsim.workload import load_model, workload
from accelsim.workload.phase import Phase, SequenceGroup

LENGTHS = (1800, 900, 500, 300, 200, 150, 100, 60)


def phase(lengths: tuple[int, ...] = LENGTHS, each: int = 8) -> Phase:
    """Return a decode step of continuous batching: `each` requests of every length."""
    return Phase("decode", tuple(SequenceGroup(each, 1, length) for length in lengths))


def result(policy: str, *, at: Phase | None = None, **changes: object) -> Result:
    built = workload(load_model("gpt3-7b-neupims"), at or phase())
    chosen = mapping.load(policy, {"partition.tensor": 4, **changes})
    return simulate_workload(built, arch.load("neupims"), chosen, check=True)


def banks_s(found: Result) -> float:
    return found.busy_s["pim"]


def test_greedy_shares_out_better_than_round_robin() -> None:
    """The longest requests meet on different channels."""
    order = tuple(sorted(LENGTHS * 4, key=lambda n: (LENGTHS.index(n) % 2, n)))
    at = phase(order, each=3)
    greedy = banks_s(result("npu-pim", at=at, balance="greedy"))
    in_order = banks_s(result("npu-pim", at=at, balance="round_robin"))
    assert greedy < 0.95 * in_order


def test_groups_by_themselves_wait_for_each_other() -> None:
    """A group of 8 requests alone leaves 24 of 32 channels idle."""
    even, greedy = result("npu-pim"), result("npu-pim", balance="greedy")
    assert banks_s(greedy) < banks_s(even)
    assert greedy.latency_s < even.latency_s


def test_the_busiest_channel_is_what_the_banks_take() -> None:
    """Times of the groups add up to the load of one channel, score and context each."""
    found = result("npu-pim", balance="round_robin")
    plan = found.simulated.lowered.plan
    layers = next(block for block in plan.blocks if block.count > 1)
    by_hand = _busiest([n for n in LENGTHS for _ in range(8)])
    for part in ("score", "context"):
        steps = [s for s in layers.steps if s.work.function == part]
        total = sum(step.estimate.compute_ps for step in steps)
        assert total == pytest.approx(by_hand[part], rel=1e-6)


def _busiest(lengths: list[int]) -> dict[str, int]:
    """Return each part's time on the busiest channel, requests dealt out in turn."""
    alone: dict[tuple[str, int], int] = {}
    for n in LENGTHS:
        one = workload(load_model("gpt3-7b-neupims"), phase((n,), each=1))
        policy = mapping.load("npu-pim", {"partition.tensor": 4})
        placed = mapping.plan(one, arch.load("neupims"), policy)
        block = next(b for b in placed.blocks if b.count > 1)
        for step in block.steps:
            if step.work.function in ("score", "context"):
                alone[step.work.function, n] = step.estimate.compute_ps
    loads: dict[str, list[int]] = {"score": [0] * 32, "context": [0] * 32}
    for i, n in enumerate(lengths):
        for part, load in loads.items():
            load[i % 32] += alone[part, n]
    return {part: max(load) for part, load in loads.items()}


def test_equal_lengths_need_no_balance() -> None:
    """64 requests of a length are two on each of 32 channels, however they are dealt out."""
    at = phase((300,), each=64)
    even, greedy = (banks_s(result("npu-pim", at=at, balance=b)) for b in ("even", "greedy"))
    assert greedy == pytest.approx(even, rel=0.05)  # apart by where a refresh falls


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60), st.integers(1, 8))
def test_greedy_is_within_its_bound(costs: list[int], channels: int) -> None:
    """Longest first is at most 4/3 of the best, which is at least the mean and the longest."""
    loads = [0] * channels
    for cost, channel in zip(costs, assign(costs, channels, "greedy"), strict=True):
        loads[channel] += cost
    first = sorted(costs, reverse=True)
    two = first[channels - 1] + first[channels] if len(costs) > channels else 0
    best = max(sum(costs) / channels, first[0], two)
    assert max(loads) <= 4 / 3 * best + max(costs) / 3
    assert sum(loads) == sum(costs)


def test_an_array_is_not_touched() -> None:
    """Balance is of memories that compute; arrays take groups as they come."""
    even, greedy = result("npu-only"), result("npu-only", balance="greedy")
    assert even.latency_s == greedy.latency_s
