"""Tensor parallelism: what divides, what must follow, and what cannot be divided."""

from __future__ import annotations

import pytest

from accelsim import arch, mapping
from accelsim.errors import MappingError
from accelsim.evaluation import evaluate
from accelsim.mapping import LINK, Plan
from accelsim.mapping.capacity import memory_need
from accelsim.workload import decode, load_model, prefill, totals, workload

WAYS = (1, 2, 4, 8)


def planned(model: str, ways: int, stages: int = 1) -> Plan:
    policy = mapping.load(
        "roofline-best", {"partition.tensor": ways, "partition.pipeline": stages}
    )
    return mapping.plan(
        workload(load_model(model), decode(4, 512)), arch.load("a100-80gb"), policy
    )


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("model", ["llama3-8b", "mixtral-8x7b", "opt-6.7b"])
def test_devices_share_the_macs_exactly(model: str, ways: int) -> None:
    """Divided operators do 1 / ways each; replicated ones are done by every device."""
    plan = planned(model, ways)
    shared = sum(
        step.counts.macs * block.count * (ways if step.operator.shard else 1)
        for block in plan.blocks
        for step in block.steps
    )
    assert shared == totals(plan.workload).macs


@pytest.mark.parametrize("ways", WAYS[1:])
def test_two_all_reduces_per_layer(ways: int) -> None:
    """After the attention's and the feed-forward's row-parallel products (Megatron-LM)."""
    layers = next(block for block in planned("llama3-8b", ways).blocks if block.count > 1)
    reduced = [s for s in layers.steps if s.unit == LINK]
    assert [s.operator.attributes["pattern"] for s in reduced] == ["all_reduce"] * 2
    assert {s.operator.dims["size_bytes"] for s in reduced} == {4 * 4096 * 2}


def test_one_device_needs_no_collective() -> None:
    """Without partition nothing goes over a link."""
    steps = [s for block in planned("llama3-8b", 1).blocks for s in block.steps]
    assert not [s for s in steps if s.unit == LINK]


def test_divided_logits_are_gathered() -> None:
    """The head's columns are divided over devices; sampling needs them all."""
    head = planned("llama3-8b", 4).blocks[-1]
    assert head.steps[-1].operator.attributes["pattern"] == "all_gather"


def test_heads_that_do_not_divide_are_refused() -> None:
    """gpt2-xl has 25."""
    with pytest.raises(MappingError, match="heads 25 cannot be divided over 2"):
        planned("gpt2-xl", 2)


def test_more_devices_than_there_are_is_refused() -> None:
    """Names both numbers."""
    with pytest.raises(MappingError, match=r"over 16 devices .*`a100-80gb` has 8"):
        planned("llama3-8b", 8, 2)


@pytest.mark.parametrize(("ways", "stages"), [(8, 1), (4, 2), (2, 4), (1, 8)])
def test_eight_devices_hold_gpt3(ways: int, stages: int) -> None:
    """An eighth each of 350 GB, the ends of the pipeline more; one device alone cannot."""
    need = memory_need(planned("gpt3-175b", ways, stages))
    layers = 96 * 12 * 12288**2 * 2 / 8
    ends = 50257 * 12288 * 2
    assert layers < need.weight_bytes < layers + 2 * ends


def test_tensor_parallelism_speeds_up_decode_but_not_linearly() -> None:
    """Weights divide, all-reduces come on top."""
    one, two, four = (
        evaluate(
            "llama2-70b", "h100-sxm", "roofline-best", batch=8, seq_len=512,
            overrides={"mapping.partition.tensor": n},
        ).latency_s
        for n in (2, 4, 8)
    )  # fmt: skip
    assert four < two < one < 2 * two < 4 * four


def test_micro_batches_fill_the_pipeline_in_prefill() -> None:
    """With stages overlapped, four micro-batches take far less than four times one."""

    def latency(batch: int, parts: int) -> float:
        overrides = {"mapping.partition.pipeline": 4, "mapping.partition.microbatches": parts}
        return evaluate(
            "llama2-7b", "a100-80gb", "roofline-best", phase="prefill", batch=batch,
            seq_len=1024, overrides=overrides,
        ).latency_s  # fmt: skip

    assert latency(4, 4) < 0.6 * latency(4, 1)


def test_prefill_of_a_batch_is_work_of_its_tokens() -> None:
    """A plan is made for any phase."""
    plan = mapping.plan(
        workload(load_model("gpt2"), prefill(2, 64)),
        arch.load("a100-80gb"),
        mapping.load("roofline-best"),
    )
    assert plan.devices == 1
