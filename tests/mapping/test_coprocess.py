"""One product on several units: shares add up, and both units end at about the same time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim import arch, mapping
from accelsim.evaluation import evaluate
from accelsim.mapping import Plan
from accelsim.mapping._coprocess import part_of, shares
from accelsim.workload import Operator, decode, load_model, prefill, workload
from accelsim.workload.phase import Phase

TENSOR = {"mapping.partition.tensor": 8}


def planned(policy: str, phase: Phase, model: str = "gpt3-175b", name: str = "attacc") -> Plan:
    overrides = {"partition.tensor": 8}
    return mapping.plan(
        workload(load_model(model), phase), arch.load(name), mapping.load(policy, overrides)
    )


def test_feed_forward_parts_end_before_the_whole_would() -> None:
    """GPU and banks take rows of the same weights; neither alone is as fast."""
    whole = next(b for b in planned("gpu-pim", decode(54, 2048)).blocks if b.count > 1)
    alone = next(s for s in whole.steps if s.operator.name == "down_proj")
    layers = next(b for b in planned("gpu-pim-coprocess", decode(54, 2048)).blocks if b.count > 1)
    parts = [s for s in layers.steps if s.operator.name.startswith("down_proj.part")]
    assert [step.unit for step in parts] == ["sm", "pim"]
    assert sum(step.operator.dims["k"] for step in parts) == 49152 // 8
    assert {step.operator.dims["n"] for step in parts} == {12288}
    times = [step.estimate.compute_ps + step.estimate.launch_ps for step in parts]
    assert max(times) < 0.95 * (alone.estimate.compute_ps + alone.estimate.launch_ps)


def test_both_parts_are_waited_for() -> None:
    """What follows a divided product needs all of its partial results."""
    layers = next(b for b in planned("gpu-pim-coprocess", decode(54, 2048)).blocks if b.count > 1)
    at = {step.operator.name: i for i, step in enumerate(layers.steps)}
    after = layers.steps[at["down_proj.all_reduce"]]
    assert {at["down_proj.part0"], at["down_proj.part1"]} <= set(after.here)


def test_co_processing_pays_and_conserves() -> None:
    """Faster than the GPU alone; MACs and bytes are those of the model."""
    alone = evaluate("gpt3-175b", "attacc", "gpu-pim", batch=54, seq_len=2048, overrides=TENSOR)
    both = evaluate(
        "gpt3-175b", "attacc", "gpu-pim-coprocess", batch=54, seq_len=2048, check=True,
        overrides={**TENSOR, "mapping.pipeline_heads": False},
    )  # fmt: skip
    assert 1.01 < alone.latency_s / both.latency_s < 1.3


def test_the_policy_says_what_is_divided() -> None:
    """By columns each part has the whole reduction, by reduction all columns; MACs are kept."""
    built = workload(load_model("gpt3-175b"), decode(54, 2048))
    sizes = {"columns": "n", "reduction": "k"}
    for divide, dim in sizes.items():
        rules = [
            {"when": "name == 'down_proj'", "on": ["gpu", "pim_bank"], "coprocess": True,
             "divide": divide},
            {"on": ["gpu"]},
        ]  # fmt: skip
        policy = mapping.MappingSpec.model_validate(
            {"name": "made", "place": rules, "partition": {"tensor": 8}}
        )
        plan = mapping.plan(built, arch.load("attacc-bank-group"), policy)
        layers = next(block for block in plan.blocks if block.count > 1)
        parts = [s.operator for s in layers.steps if s.operator.name.startswith("down_proj.part")]
        whole = {"n": 12288, "k": 49152 // 8}
        if parts:  # by columns the GPU's waves may leave nothing to gain
            assert sum(part.dims[dim] for part in parts) == whole.pop(dim)
            assert all(part.dims[other] == size for part in parts for other, size in whole.items())
        assert parts or divide == "columns"


def test_a_prefill_is_left_whole() -> None:
    """The rule asks for decode."""
    plan = planned("gpu-pim-coprocess", prefill(1, 512))
    assert not any(".part" in step.operator.name for block in plan.blocks for step in block.steps)


def test_experts_are_divided_whole() -> None:
    """Experts, and the tokens that are sent to them, add up."""
    experts = Operator(
        "up", "matmul",
        {"batch": 1, "m": 100, "n": 64, "k": 8, "experts": 8, "active_experts": 7}, (), (),
    )  # fmt: skip
    dim = "active_experts"
    parts = [part_of(experts, dim, 3, 0, 0), part_of(experts, dim, 4, 3, 1)]
    assert [part.dims["active_experts"] for part in parts] == [3, 4]
    assert sum(part.dims["m"] for part in parts) == 100


@given(
    st.sampled_from(["n", "k"]), st.integers(1, 5000),
    st.lists(st.integers(1, 50), min_size=2, max_size=4),
)  # fmt: skip
def test_shares_add_up_and_never_lose_to_the_fastest_alone(
    dim: str, n: int, slowness: list[int]
) -> None:
    """Dividing is never worse than not dividing."""
    whole = Operator("up", "matmul", {"batch": 1, "m": 1, "n": 8, "k": 8} | {dim: n}, (), ())

    def time_ps(unit: int, size: int) -> int:
        return 1000 + size * slowness[unit]

    taken = shares(whole, dim, len(slowness), time_ps)
    assert sum(taken) == n
    assert min(taken) >= 0
    took = max(time_ps(i, size) for i, size in enumerate(taken) if size)
    assert took <= min(time_ps(i, n) for i in range(len(slowness)))


def test_intensity_chooses_the_unit() -> None:
    """A condition may ask for operations per byte: a matrix of queries has more than one query."""
    rules = [
        {"when": "kind in ['matmul', 'attention'] and intensity <= 8", "on": ["pim_bank"]},
        {"on": ["gpu"]},
    ]
    policy = mapping.MappingSpec.model_validate({"name": "made", "place": rules})
    for batch, unit in ((1, "pim"), (64, "sm")):
        built = workload(load_model("gpt2"), decode(batch, 512))
        plan = mapping.plan(built, arch.load("attacc"), policy)
        layers = next(block for block in plan.blocks if block.count > 1)
        where = {step.operator.name: step.unit for step in layers.steps}
        assert where["up_proj"] == unit
        assert where["attention"] == "pim"  # whatever the batch, each query meets its own keys


@pytest.mark.parametrize("field", ["balance", "capacity"])
def test_an_unknown_choice_is_refused(field: str) -> None:
    """The message lists the legal ones."""
    with pytest.raises(Exception, match="greedy" if field == "balance" else "pooled"):
        mapping.load("npu-pim", {field: "best"})
