"""Stages of a generation: passes that run a number of times, one after the other.

Transforms rewrite them; `accelsim.workload.generation` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from accelsim.errors import ConfigError
from accelsim.workload.conventions import Conventions
from accelsim.workload.counts import Counts, totals
from accelsim.workload.graph import Workload
from accelsim.workload.phase import Phase

if TYPE_CHECKING:
    from accelsim.workload.model import ModelSpec

__all__ = ["DENOISE", "Generation", "Origin", "Stage", "build_stage", "generation_totals"]

DENOISE = "denoise"
"""Name of the stage that runs once per step."""


class Origin(NamedTuple):
    """What a workload is built from."""

    model: ModelSpec[Any]
    phase: Phase
    conventions: Conventions


@dataclass(frozen=True, slots=True)
class Stage:
    """A pass that runs a number of times.

    Parameters
    ----------
    name : str
        What it does: ``prefill``, ``decode``, ``denoise``, ``text``, ``image``, ...
    workload : Workload
        One pass.
    times : int
        How often it runs, at least 1.
    origin : Origin, optional
        What the workload was built from, for transforms that need it in another size.
    """

    name: str
    workload: Workload
    times: int
    origin: Origin | None = None

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ConfigError(f"stage `{self.name}` runs {self.times} times, at least 1 is needed")

    def rebuilt(self, phase: Phase) -> Stage:
        """Return the stage with another pass of the same model.

        Raises
        ------
        ConfigError
            If the stage does not know its model, or the model does not run such a pass.
        """
        if self.origin is None:
            raise ConfigError(f"stage `{self.name}` has no model to build another pass of")
        return build_stage(self.name, self.origin._replace(phase=phase), self.times)


@dataclass(frozen=True, slots=True)
class Generation:
    """Stages that run one after the other.

    Parameters
    ----------
    name : str
        Name of the model.
    stages : tuple of Stage
        In order; those of equal passes may interleave in reality (full and cached steps).
    outputs : int
        What comes of it: tokens of text, or images and videos.
    """

    name: str
    stages: tuple[Stage, ...]
    outputs: int

    def named(self, name: str) -> tuple[Stage, ...]:
        """Return the stages of a name, or of a name with a suffix after a dot."""
        return tuple(s for s in self.stages if s.name.partition(".")[0] == name)

    def with_stages(self, *stages: Stage) -> Generation:
        """Return the same generation of other stages; those that never run are left out."""
        return replace(self, stages=stages)


def build_stage(name: str, origin: Origin, times: int) -> Stage:
    """Return the stage that runs a pass of a model."""
    from accelsim.workload.model import workload  # whose model files list transforms of stages

    built = workload(origin.model, origin.phase, conventions=origin.conventions)
    return Stage(name, built, times, origin)


def generation_totals(generation: Generation) -> Counts:
    """Return work and traffic of the whole generation."""
    total = Counts()
    for stage in generation.stages:
        total += totals(stage.workload) * stage.times
    return total
