"""Step caching: most denoising steps run a part of the network and reuse what the rest made."""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from typing import ClassVar, Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Fraction, Whole
from accelsim.errors import ConfigError
from accelsim.workload.graph import Workload
from accelsim.workload.stages import DENOISE, Generation, Stage
from accelsim.workload.transforms._rewrite import keep_blocks, with_note
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "StepCaching"]


class StepCaching(Transform):
    """Every `interval` steps the network runs in full, in between only what `skip` leaves.

    Notes
    -----
    ``skip`` names blocks; ``*`` matches any text.  A counted block is repeated less often by the
    `share` of its layers.  The defaults are DeepCache's: a cached step runs the outermost layer
    on each side of a UNet and takes the deep features of the last full step.

    Delta-DiT (arXiv 2406.01125) skips the rear or front layers of a transformer:
    ``{skip: [layers], share: 0.75, interval: 2}``.  TaylorSeer (arXiv 2503.06923) forecasts the
    features of all layers: ``{skip: [layers, double, single], share: 1.0, interval: 6}``; its
    polynomial costs a few vector operations per feature, added as `order` + 1 of them.
    """

    paper: ClassVar[str] = "DeepCache, arXiv 2312.00858: interval 5, branch 0"

    kind: Literal["step_caching"] = "step_caching"
    interval: Count = 5
    """A full step and interval - 1 cached ones take turns."""
    first_full: Whole = 0
    """Steps at the beginning that are all full."""
    skip: tuple[str, ...] = (
        "down.0.1", "down.0.1.*", "down.0.downsample", "down.[1-9]*", "mid", "mid.*",
        "up.[0-2].*", "up.3.[01]", "up.3.[01].*",
    )  # fmt: skip
    """Blocks that a cached step leaves out."""
    share: Fraction = 1.0
    """Share of a counted block's repetitions that is left out."""

    @model_validator(mode="after")
    def _skips(self) -> StepCaching:
        if not self.skip:
            raise PydanticCustomError("skip", "`skip` names no block", {})
        return self

    def full_steps(self, steps: int) -> int:
        """Return how many of so many steps run in full.

        Examples
        --------
        >>> StepCaching(interval=5).full_steps(50), StepCaching(interval=1).full_steps(50)
        (10, 50)
        """
        first = min(steps, self.first_full)
        return first + -(-(steps - first) // self.interval)

    def schedule(self, generation: Generation) -> Generation:
        """Return the generation with its denoising split into full and cached steps.

        Raises
        ------
        ConfigError
            If there is no denoising stage, or no block of it matches.
        """
        if not generation.named(DENOISE):
            raise ConfigError(f"`{generation.name}` has no stage `{DENOISE}` to cache steps of")
        stages: list[Stage] = []
        for stage in generation.stages:
            if stage.name.partition(".")[0] != DENOISE:
                stages.append(stage)
                continue
            full = self.full_steps(stage.times)
            stages.append(replace(stage, times=full))
            if stage.times > full:
                less = self.cached(stage.workload)
                stages.append(Stage(f"{stage.name}.cached", less, stage.times - full))
        return generation.with_stages(*stages)

    def cached(self, workload: Workload) -> Workload:
        """Return the pass of a cached step.

        Raises
        ------
        ConfigError
            If no block matches.
        """
        counts = {
            block.name: block.count - round(block.count * self.share)
            for block in workload.blocks
            if any(fnmatch.fnmatchcase(block.name, pattern) for pattern in self.skip)
        }
        if not counts:
            raise ConfigError(
                f"no block of `{workload.name}` matches {', '.join(self.skip)}; it has"
                f" {', '.join(block.name for block in workload.blocks)}",
                path="skip",
            )
        kept = keep_blocks(workload, counts)
        return with_note(kept, "step_caching", f"without {', '.join(self.skip)}")


TRANSFORM: Final = StepCaching
