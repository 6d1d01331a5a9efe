"""Sub-batches that take turns: what overlaps, and what stays the same."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim import arch, mapping
from accelsim.evaluation import evaluate
from accelsim.lower import lower
from accelsim.lower._emit import LOAD_WEIGHT, STORE
from accelsim.result import Result
from accelsim.workload import decode, load_model, workload

MODEL, TENSOR = "gpt3-7b-neupims", {"mapping.partition.tensor": 4}


def run(batch: int, engine: str = "numba", **changes: object) -> Result:
    overrides = {**TENSOR, **{f"mapping.{name}": value for name, value in changes.items()}}
    split = {name.replace("microbatches", "partition.microbatches"): v
             for name, v in overrides.items()}  # fmt: skip
    return evaluate(MODEL, "neupims", "npu-pim", batch=batch, seq_len=376, check=True,
                    engine=engine, overrides=split)  # fmt: skip


def test_interleaving_pays_for_a_large_batch_only() -> None:
    """Weights are read once per sub-batch; NeuPIMs' README advises it from batch 256 on."""
    for batch, pays in ((64, False), (512, True)):
        whole, halves = run(batch), run(batch, microbatches=2, interleave=True)
        assert (halves.latency_s < whole.latency_s) is pays


def test_taking_turns_beats_one_sub_batch_first() -> None:
    """The first sub-batch's next layer must not keep the second from the arrays."""
    turns, first = run(256, microbatches=2, interleave=True), run(256, microbatches=2)
    assert turns.latency_s < first.latency_s
    for resource in ("array", "pim", "hbm"):
        assert turns.busy_s[resource] == pytest.approx(first.busy_s[resource], rel=1e-9)


def test_engines_agree_on_interleaved_sub_batches() -> None:
    """To the picosecond, as on every graph."""
    numba = run(128, microbatches=2, interleave=True, chunks=2)
    simpy = run(128, "simpy", microbatches=2, interleave=True, chunks=2)
    assert numba.simulated.latency_ps == simpy.simulated.latency_ps


def test_one_sub_batch_is_the_plain_order() -> None:
    """Nothing to take turns with."""
    assert run(64, interleave=True).latency_s == run(64).latency_s


def test_no_repetition_is_extended_where_sub_batches_overlap() -> None:
    """A steady state of one sub-batch says nothing of the other."""
    assert not any(run(64, microbatches=2).simulated.skipped)


@pytest.mark.parametrize(("name", "beside"), [("neupims", True), ("neupims-blocked", False)])
def test_work_in_memory_holds_the_memory_beside_it(name: str, beside: bool) -> None:
    """For the activates it takes from streams, while it runs; nothing waits for that to end."""
    built = workload(load_model(MODEL), decode(64, 376))
    plan = mapping.plan(built, arch.load(name), mapping.load("npu-pim", {"partition.tensor": 4}))
    lowered = lower(plan, 1)
    graph = lowered.graph
    pim = [i for i, step in enumerate(lowered.steps) if step.unit == "pim"]
    held = np.flatnonzero((lowered.kind == STORE) & np.isin(graph.owner, pim))
    assert bool(held.size) is beside
    assert sum(lowered.steps[i].estimate.held_ps for i in pim) == graph.duration_ps[held].sum()
    assert {graph.resource_names[r] for r in graph.resource[held]} <= {"hbm"}
    assert not np.isin(graph.pred_indices, held).any()


def test_weights_of_a_first_pass_load_in_its_chunks() -> None:
    """Two passes of 128 of 256 requests: all weights come in the first half of the chunks."""
    built = workload(load_model(MODEL), decode(256, 376))
    sums, last = [], []
    for loads in ("spread", "first_pass"):
        device = arch.load("neupims", {"device.units.array.loads": loads})
        policy = mapping.load("npu-pim-interleaved", {"partition.tensor": 4, "interleave": False,
                                                      "partition.microbatches": 1})  # fmt: skip
        lowered = lower(mapping.plan(built, device, policy), 1)
        graph = lowered.graph
        found = [step.operator.name for step in lowered.steps]
        up = found.index("up_proj")
        of_up = (graph.owner == up) & (lowered.kind == LOAD_WEIGHT)
        sums.append(graph.duration_ps[lowered.kind == LOAD_WEIGHT].sum())
        assert of_up.sum() == lowered.steps[up].chunks > 1
        last.append(float(np.count_nonzero(graph.duration_ps[of_up])) / of_up.sum())
    assert sums[0] == sums[1], "not a byte more or less"
    assert last == [1.0, 0.5]
