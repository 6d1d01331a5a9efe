"""A whole generation: passes of one or several networks, each so many times.

A text takes one prefill and a decoding step per token, an image a text encoder, steps x guidance
x network, and a decoder; caching, distillation and speculation change how often each pass runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from accelsim.errors import ConfigError
from accelsim.workload.conventions import Conventions
from accelsim.workload.counts import Counts, totals
from accelsim.workload.families import family
from accelsim.workload.families.pipeline import PipelineConfig, StageConfig
from accelsim.workload.graph import Workload
from accelsim.workload.model import ModelSpec, load_model, workload
from accelsim.workload.phase import Phase, decode, prefill
from accelsim.workload.request import Request, phase_of

__all__ = [
    "DENOISE",
    "Generation",
    "Origin",
    "Stage",
    "build_stage",
    "generation",
    "generation_totals",
]

DENOISE = "denoise"
"""Name of the stage that runs once per step."""
SEGMENTS = 8
"""Decoding is counted in so many stretches of tokens, each at the length of its middle."""


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
    built = workload(origin.model, origin.phase, conventions=origin.conventions)
    return Stage(name, built, times, origin)


def generation_totals(generation: Generation) -> Counts:
    """Return work and traffic of the whole generation."""
    total = Counts()
    for stage in generation.stages:
        total += totals(stage.workload) * stage.times
    return total


def generation(
    model: str | ModelSpec[Any],
    *,
    batch: int = 1,
    seq_len: int = 1024,
    request: Request = Request(),  # noqa: B008 - frozen
) -> Generation:
    """Return what a model does for one answer to each of `batch` requests.

    Parameters
    ----------
    model : str or ModelSpec
        A pipeline of several networks, or one network.
    batch : int
        Requests.
    seq_len : int
        Tokens of each prompt.
    request : Request
        Tokens to make, image size, steps, guidance.

    Notes
    -----
    A decoder runs a prefill, which makes the first token, and a step for each further one; steps
    are grouped into `SEGMENTS` stretches of an odd number of tokens each, counted at the middle,
    which is exact for everything that is linear in the cached length.  A network without cache
    runs ``steps`` times over ``guidance`` inputs per request.

    Raises
    ------
    ConfigError
        If the model cannot generate, or a size is out of range.
    """
    spec = load_model(model) if isinstance(model, str) else model
    outputs = batch
    if isinstance(spec.parameters, PipelineConfig):
        stages = list(_pipeline(spec.parameters, batch, seq_len, request))
    elif "decode" in family(spec.family).PHASES:
        stages, outputs = list(_text(spec, batch, seq_len, request)), batch * request.output_len
    else:
        stages = [_denoising(spec, batch, seq_len, request)]
    made = Generation(spec.name, tuple(stages), outputs)
    for transform in spec.transforms:
        made = transform.schedule(made)
    return made


def _text(spec: ModelSpec[Any], batch: int, seq_len: int, request: Request) -> Iterator[Stage]:
    def stage(name: str, phase: Phase, times: int = 1) -> Stage:
        return build_stage(name, Origin(spec, phase, request.conventions), times)

    context = request.context_len
    yield stage("prefill", prefill(batch, seq_len, context_len=context))
    for number, (middle, times) in enumerate(_stretches(seq_len, request.output_len - 1)):
        step = decode(batch, middle, context_len=context)
        yield stage(f"decode.{number}", step, times)


def _stretches(first: int, steps: int) -> Iterator[tuple[int, int]]:
    """Yield (past length in the middle, steps) of stretches of an odd number of steps."""
    done = 0
    while done < steps:
        length = min(steps - done, max(1, -(-steps // SEGMENTS)) | 1)
        length -= 1 - length % 2
        yield first + done + length // 2, length
        done += length


def _denoising(spec: ModelSpec[Any], batch: int, seq_len: int, request: Request) -> Stage:
    inputs = batch * (request.guidance or 1)
    phase = phase_of(spec, "forward", inputs, seq_len, request)
    return build_stage(DENOISE, Origin(spec, phase, request.conventions), request.steps or 1)


def _pipeline(
    config: PipelineConfig, batch: int, seq_len: int, request: Request
) -> Iterator[Stage]:
    steps = request.steps or config.steps
    guidance = request.guidance or config.guidance
    sizes = {
        name: getattr(request, name) or getattr(config, name)
        for name in ("height", "width", "frames")
    }
    for stage in config.stages:
        model = load_model(stage.model)
        asked = replace_fields(request, sizes | {"context_len": _context(stage, request)})
        inputs = batch * (guidance if stage.guided else 1)
        phase = phase_of(model, "forward", inputs, stage.seq_len or seq_len, asked)
        times = steps if stage.times == "steps" else stage.times
        yield build_stage(stage.name, Origin(model, phase, request.conventions), times)


def _context(stage: StageConfig, request: Request) -> int | None:
    return stage.context_len or request.context_len


def replace_fields(request: Request, changes: dict[str, Any]) -> Request:
    """Return the request with other values of some fields."""
    return request.model_copy(update=changes)
