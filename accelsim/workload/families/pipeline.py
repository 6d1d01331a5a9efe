"""Pipelines of several networks: text encoders, a denoiser that runs once per step, a decoder.

A pipeline has no single pass; `accelsim.workload.generation` turns it into stages.
"""

from __future__ import annotations

from typing import Final, Literal, NoReturn

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec
from accelsim.errors import ConfigError

__all__ = ["PHASES", "Config", "PipelineConfig", "StageConfig", "build"]

PHASES: Final[tuple[str, ...]] = ()


class StageConfig(Spec):
    """One network of a pipeline."""

    name: str
    """What it does; ``denoise`` for the network that runs once per step."""
    model: str
    """Name of the model."""
    times: Count | Literal["steps"] = 1
    """How often it runs: a number, or once per denoising step."""
    guided: bool = False
    """Whether it runs for every input of classifier-free guidance."""
    seq_len: Count | None = None
    """Tokens of a text encoder; those of the request where absent."""
    context_len: Count | None = None
    """Tokens of the text that conditions a denoiser."""


class PipelineConfig(Spec):
    """Networks that make an image or a video together."""

    stages: tuple[StageConfig, ...]
    """In the order in which they run."""
    steps: Count
    """Denoising steps as published."""
    guidance: Count = 1
    """Network evaluations per step: 2 with classifier-free guidance."""
    height: Count
    """Height of the result in pixels."""
    width: Count
    """Width of the result in pixels."""
    frames: Count = 1
    """Frames of the result."""

    @model_validator(mode="after")
    def _named_once(self) -> PipelineConfig:
        names = [stage.name for stage in self.stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            problem = f"stages {', '.join(twice)} stand twice" if twice else "no stages"
            raise PydanticCustomError("stages", "{problem}", {"problem": problem})
        return self


Config: Final = PipelineConfig


def build(config: PipelineConfig, *_: object, name: str = "pipeline", **__: object) -> NoReturn:
    """Raise: a pipeline is no single pass.

    Raises
    ------
    ConfigError
        Always; names the networks.
    """
    models = ", ".join(stage.model for stage in config.stages)
    raise ConfigError(
        f"`{name}` is a pipeline of {models}", path="phase", hint="legal for it: generate"
    )


def parameter_count(config: PipelineConfig) -> int:
    """Return the parameters of all its networks."""
    from accelsim.workload.families import family
    from accelsim.workload.model import load_model

    models = [load_model(stage.model) for stage in config.stages]
    return sum(family(model.family).parameter_count(model.parameters) for model in models)


active_parameter_count = parameter_count
