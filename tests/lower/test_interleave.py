"""Sub-batches that take turns: what overlaps, and what stays the same."""

from __future__ import annotations

import pytest

from accelsim.evaluation import evaluate
from accelsim.result import Result

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
