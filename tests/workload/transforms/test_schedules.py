"""Transforms of a generation's schedule against closed forms."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from accelsim.errors import ConfigError, GraphError
from accelsim.workload import Request, generation, generation_totals, totals
from accelsim.workload.stages import Generation
from accelsim.workload.transforms._rewrite import keep_blocks
from accelsim.workload.transforms.resolution_schedule import ResolutionSchedule
from accelsim.workload.transforms.speculative import Speculative
from accelsim.workload.transforms.step_caching import StepCaching
from accelsim.workload.transforms.step_distillation import StepDistillation

SD15 = generation("sd15")
TEXT = generation("gpt2-xl", seq_len=100, request=Request(output_len=61))


def runs(made: Generation) -> dict[str, int]:
    return {stage.name: stage.times for stage in made.stages}


def test_a_fifth_of_the_steps_is_full() -> None:
    """Interval 5 over 50 steps: 10 full and 40 cached, of the outermost layers alone."""
    cached = StepCaching().schedule(SD15)
    assert runs(cached) == {"text": 1, "denoise": 10, "denoise.cached": 40, "image": 1}
    less = cached.stages[2].workload
    assert [b.name for b in less.blocks] == ["time", "conv_in", "down.0.0", "up.3.2", "conv_out"]
    assert less.parameters == SD15.stages[1].workload.parameters
    assert less.idle_parameters > less.parameters / 2


def test_a_share_of_counted_layers_is_left_out() -> None:
    """21 of DiT's 27 repeated layers at a share of 0.78; the first one stays."""
    base = generation("dit-xl-2-256")
    less = StepCaching(skip=("layers",), share=0.78, interval=2).schedule(base).stages[1].workload
    assert {b.name: b.count for b in less.blocks}["layers"] == 27 - 21


def test_first_steps_may_all_be_full() -> None:
    """Three full steps, then every sixth of 47."""
    assert StepCaching(interval=6, first_full=3).full_steps(50) == 3 + 8


def test_distillation_takes_steps_and_guidance() -> None:
    """4 steps of half the batch cost 4 / 100 of 50 steps of guidance."""
    few = StepDistillation(steps=4, distil_guidance=True).schedule(SD15)
    before, after = SD15.stages[1], few.stages[1]
    assert after.times * totals(after.workload).macs * 100 == (
        before.times * totals(before.workload).macs * 4
    )


def test_smaller_steps_run_on_fewer_latents() -> None:
    """A fifth, three fifths and a fifth of the steps, the middle at half the sides."""
    base = generation("flux-dev")
    made = ResolutionSchedule().schedule(base)
    assert [n for name, n in runs(made).items() if name.startswith("denoise")] == [10, 30, 10]
    small = made.stages[3].origin
    assert small is not None
    assert str(small.phase.extent) == "512x512"


def test_speculation_makes_the_expected_tokens_per_round() -> None:
    """(1 - a^(n+1)) / (1 - a) tokens; the model verifies n + 1, the draft runs n times."""
    plan = Speculative(draft="gpt2", length=3, acceptance=0.5)
    assert plan.tokens_per_round() == 1.875
    made = plan.schedule(TEXT)
    steps = sum(n for name, n in runs(TEXT).items() if name.startswith("decode"))
    verified = [stage for stage in made.stages if stage.name.startswith("verify")]
    drafted = [stage for stage in made.stages if stage.name.startswith("draft.") and
               stage.name != "draft.prefill"]  # fmt: skip
    assert steps == 60
    assert sum(s.times for s in verified) >= 60 / 1.875
    assert sum(s.times for s in drafted) == 3 * sum(s.times for s in verified)
    assert all(s.workload.tokens == 4 for s in verified)
    assert runs(made)["draft.prefill"] == 1


def test_a_generation_of_text_is_exact_in_the_cached_length() -> None:
    """Stretches counted at their middle add up to every step counted alone."""
    from accelsim.workload import decode, prefill, workload

    alone = totals(workload("gpt2-xl", prefill(1, 100))).macs
    alone += sum(totals(workload("gpt2-xl", decode(1, 100 + i))).macs for i in range(60))
    assert generation_totals(TEXT).macs == alone


@pytest.mark.parametrize(
    ("transform", "base", "text"),
    [
        (StepCaching(), TEXT, "no stage `denoise`"),
        (StepCaching(skip=("nowhere",)), SD15, "no block of `sd15-unet` matches nowhere"),
        (StepDistillation(), TEXT, "no stage `denoise`"),
        (Speculative(draft="gpt2"), SD15, "decodes no tokens"),
        (ResolutionSchedule(shares=(0.01, 0.99), scales=(0.5, 1)), SD15, "too few"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(
    transform: StepCaching, base: Generation, text: str
) -> None:
    """The error names the stage or block that is missing."""
    with pytest.raises(ConfigError, match=text):
        transform.schedule(base)


def test_a_pass_without_blocks_is_none() -> None:
    """Something must be left, and blocks must exist."""
    built = SD15.stages[0].workload
    with pytest.raises(GraphError, match="no block is left"):
        keep_blocks(built, {block.name: 0 for block in built.blocks})
    with pytest.raises(GraphError, match="has no block attic"):
        keep_blocks(built, {"attic": 0})


def test_more_cannot_be_accepted_than_was_drafted() -> None:
    """The measured length of an accepted run is at most the draft's."""
    with pytest.raises(ValidationError, match="more than the 3 tokens drafted"):
        Speculative(draft="gpt2", length=3, accepted=4)
