"""Resolution schedule: some denoising steps run on smaller latents."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Positive
from accelsim.errors import ConfigError
from accelsim.workload.families import family
from accelsim.workload.phase import Extent
from accelsim.workload.stages import DENOISE, Generation, Stage
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "ResolutionSchedule"]


class ResolutionSchedule(Transform):
    """Runs shares of the steps at a fraction of height and width, in the order given."""

    paper: ClassVar[str] = "Bottleneck Sampling, arXiv 2503.18940: high, low, high resolution"

    kind: Literal["resolution_schedule"] = "resolution_schedule"
    shares: tuple[Positive, ...] = (0.2, 0.6, 0.2)
    """Share of the steps of each part; they add up to 1."""
    scales: tuple[Positive, ...] = (1.0, 0.5, 1.0)
    """Height and width of each part over those of the result, at most 1."""
    multiple: Count = 16
    """Sides are rounded down to multiples of so many pixels."""

    @model_validator(mode="after")
    def _fits(self) -> ResolutionSchedule:
        problem = ""
        if len(self.shares) != len(self.scales) or abs(sum(self.shares) - 1) > 1e-6:
            problem = "`shares` must add up to 1 and have as many entries as `scales`"
        elif max(self.scales) > 1:
            problem = "`scales` are at most 1"
        if problem:
            raise PydanticCustomError("schedule", "{problem}", {"problem": problem})
        return self

    def schedule(self, generation: Generation) -> Generation:
        """Return the generation with its denoising in parts of different sizes.

        Raises
        ------
        ConfigError
            If there is no denoising stage of images or videos, or it has too few steps.
        """
        if not generation.named(DENOISE):
            raise ConfigError(f"`{generation.name}` has no stage `{DENOISE}`")
        stages: list[Stage] = []
        for stage in generation.stages:
            stages += self._parts(stage) if stage.name == DENOISE else [stage]
        return generation.with_stages(*stages)

    def _parts(self, stage: Stage) -> list[Stage]:
        if stage.origin is None:
            raise ConfigError(f"stage `{stage.name}` was changed before its resolution could be")
        phase, model = stage.origin.phase, stage.origin.model
        default = getattr(family(model.family), "default_extent", None)
        extent = phase.extent or (default and default(model.parameters))
        if extent is None:
            raise ConfigError(f"`{model.name}` makes no images", path="resolution_schedule")
        parts, done = [], 0
        for number, (share, scale) in enumerate(zip(self.shares, self.scales, strict=True)):
            last = number == len(self.shares) - 1
            times = stage.times - done if last else round(stage.times * share)
            done += times
            if times < 1:
                raise ConfigError(
                    f"{stage.times} steps are too few for shares {self.shares}", path="steps"
                )
            part = replace(stage, name=f"{DENOISE}.{number}", times=times)
            if scale != 1:
                part = part.rebuilt(replace(phase, extent=self._scaled(extent, scale)))
            parts.append(part)
        return parts

    def _scaled(self, extent: Extent, scale: float) -> Extent:
        height, width = (
            max(self.multiple, int(side * scale) // self.multiple * self.multiple)
            for side in (extent.height, extent.width)
        )
        return Extent(height, width, extent.frames)


TRANSFORM: Final = ResolutionSchedule
