"""Placement: which unit gets an operator, by which rule, and what is said when none can."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim import arch, mapping
from accelsim.errors import ConfigError, MappingError
from accelsim.mapping import Plan
from accelsim.workload import decode, load_model, mixed, prefill, workload
from accelsim.workload.phase import Phase, SequenceGroup


def planned(arch_name: str, policy: str, phase: Phase, **overrides: object) -> Plan:
    return mapping.plan(
        workload(load_model("llama2-7b"), phase),
        arch.load(arch_name),
        mapping.load(policy, overrides),
    )


def units(plan: Plan) -> dict[str, str]:
    """Return operator -> unit over the layers."""
    layers = next(block for block in plan.blocks if block.count > 1)
    return {step.operator.name: step.unit for step in layers.steps}


def test_npu_pim_puts_decode_attention_in_memory_only() -> None:
    """Score and context GEMVs go to the banks; softmax and weights stay on the NPU."""
    where = units(planned("npu-pim-dual", "npu-pim", decode(8, 512)))
    assert where["attention.score"] == where["attention.context"] == "pim"
    assert where["attention.softmax"] == "vector"
    assert where["qkv_proj"] == "array"


def test_npu_pim_keeps_prefill_attention_on_the_array() -> None:
    """A matrix of queries is no GEMV."""
    where = units(planned("npu-pim-dual", "npu-pim", prefill(1, 512)))
    assert where["attention.score"] == where["attention.context"] == "array"


def test_a_mixed_batch_is_split_by_group() -> None:
    """The prefill chunk's attention runs on the array, the decodes' in memory."""
    phase = mixed([SequenceGroup(1, 256, 0), SequenceGroup(8, 1, 512)])
    where = units(planned("npu-pim-dual", "npu-pim", phase))
    scores = {name: unit for name, unit in where.items() if name.endswith(".score")}
    assert sorted(scores.values()) == ["array", "pim"]


def in_memory_ps(arch_name: str, **overrides: object) -> int:
    """Return the time of a layer's scores and contexts in memory, 64 sequences of 1024."""
    plan = planned(arch_name, "npu-pim", decode(64, 1024), **overrides)
    layers = next(block for block in plan.blocks if block.count > 1)
    return sum(step.estimate.compute_ps for step in layers.steps if step.unit == "pim")


def test_loads_that_may_run_beside_close_the_vectors_row() -> None:
    """Weights that load ahead share the bank of the vector; without them it stays open."""
    quiet = in_memory_ps("neupims", prefetch_weights=False)
    assert quiet < in_memory_ps("neupims") < 1.1 * quiet
    assert in_memory_ps("neupims", prefetch_weights=False, interleave=True) > quiet


def test_one_row_buffer_pays_for_the_writes_between() -> None:
    """Results that wait for a refresh make the naive memory more than twice as slow."""
    assert in_memory_ps("neupims-blocked") > 2 * in_memory_ps("neupims")
    shared = in_memory_ps("neupims-blocked", balance="greedy")
    assert shared == pytest.approx(in_memory_ps("neupims-blocked"), rel=0.02)


def test_npu_only_leaves_the_banks_idle() -> None:
    """The policy's units, whatever else there is."""
    assert "pim" not in units(planned("npu-pim-dual", "npu-only", decode(8, 512))).values()


def test_roofline_best_is_never_slower_per_operator_than_npu_only() -> None:
    """Each operator goes where it finishes first."""
    best = planned("npu-pim-dual", "roofline-best", decode(64, 512))
    only = planned("npu-pim-dual", "npu-only", decode(64, 512))
    assert units(best) != units(only)
    for ours, theirs in zip(best.blocks, only.blocks, strict=True):
        for a, b in zip(ours.steps, theirs.steps, strict=True):
            if a.operator.name != b.operator.name:
                continue
            assert (
                a.estimate.compute_ps <= b.estimate.compute_ps
                or a.unit == b.unit
                or (a.estimate.includes_memory)
            )


def test_a_gpu_runs_attention_fused_an_array_cannot() -> None:
    """Fused where a unit can, expanded where none does."""
    assert "attention" in units(planned("a100-80gb", "roofline-best", decode(1, 64)))
    assert "attention.score" in units(planned("npu-tpuv4i", "npu-only", decode(1, 64)))


def test_attention_can_be_kept_unfused_on_a_gpu() -> None:
    """A policy option."""
    where = units(planned("a100-80gb", "roofline-best", decode(1, 64), attention="unfused"))
    assert where["attention.softmax"] == "sm"


def test_an_unplaced_operator_names_policy_operator_and_reasons() -> None:
    """A GPU has neither arrays nor vector units."""
    with pytest.raises(MappingError, match=r"`npu-only` leaves operator .* on `a100-80gb`.*sm"):
        planned("a100-80gb", "npu-only", decode(1, 64))


def test_fused_attention_without_a_unit_for_it_is_refused() -> None:
    """With each unit's reason."""
    with pytest.raises(MappingError, match=r"unplaced.*refuses"):
        planned("npu-tpuv4i", "npu-only", decode(1, 64), attention="fused")


def test_the_dataflow_can_be_prescribed() -> None:
    """All of the array's operators then use it."""
    plan = planned("npu-tpuv4i", "npu-only", prefill(1, 256), dataflow="os")
    chosen = {s.estimate.choice.split()[0] for b in plan.blocks for s in b.steps
              if s.unit == "array"}  # fmt: skip
    assert chosen == {"os"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "place: [{when: kindd == 'x', on: fastest}]",
            "unknown name `kindd`.*did you mean `kind`",
        ),
        ("place: [{when: 'open(1)', on: fastest}]", "function `open` is not allowed"),
        ("place: [{on: fastest}]\ndataflow: xs", "found `xs`"),
        ("place: [{on: fastest}]\ntile_buffers: 0", "greater than 0"),
        ("place: [{on: fastest}]\npartition: {tensor: -2}", "greater than 0"),
    ],
)
def test_a_bad_policy_is_located(tmp_path: Path, text: str, says: str) -> None:
    """File, field, what is legal."""
    path = tmp_path / "bad.yaml"
    path.write_text(f"name: bad\n{text}\n")
    with pytest.raises(ConfigError, match=f"(?s)bad.yaml:.*{says}"):
        mapping.load(str(path))
