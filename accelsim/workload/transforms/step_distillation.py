"""Few-step distillation: a denoiser that needs fewer steps, and often no second guided pass."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final, Literal

from accelsim.config import Count
from accelsim.errors import ConfigError
from accelsim.workload.phase import Phase, SequenceGroup
from accelsim.workload.stages import DENOISE, Generation
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "StepDistillation"]


class StepDistillation(Transform):
    """Replaces the number of denoising steps, and halves their batch where guidance is distilled.

    Guidance is a matter of the batch: without it the denoiser runs on half the inputs.
    """

    paper: ClassVar[str] = "LCM, arXiv 2310.04378: 4 steps without classifier-free guidance"

    kind: Literal["step_distillation"] = "step_distillation"
    steps: Count = 4
    """Denoising steps that are left."""
    distil_guidance: bool = False
    """Whether guidance was distilled too, so that the second half of the batch goes."""

    def schedule(self, generation: Generation) -> Generation:
        """Return the generation of fewer steps.

        Raises
        ------
        ConfigError
            If there is no denoising stage, or its batch has no second half.
        """
        if not generation.named(DENOISE):
            raise ConfigError(f"`{generation.name}` has no stage `{DENOISE}` to distil")
        stages = []
        for stage in generation.stages:
            if stage.name == DENOISE:
                stage = replace(stage, times=self.steps)
                if self.distil_guidance and stage.origin is not None:
                    stage = stage.rebuilt(_halved(stage.origin.phase))
            stages.append(stage)
        return generation.with_stages(*stages)


def _halved(phase: Phase) -> Phase:
    """Return the pass over the first half of a guided batch."""
    groups = []
    for group in phase.groups:
        if group.count % 2:
            raise ConfigError(
                f"a batch of {group.count} has no unguided half", path="distil_guidance"
            )
        groups.append(SequenceGroup(group.count // 2, group.q_len, group.past_len))
    return replace(phase, groups=tuple(groups))


TRANSFORM: Final = StepDistillation
