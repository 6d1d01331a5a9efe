"""A whole generation: passes of one or several networks, each so many times.

A text takes one prefill and a decoding step per token, an image a text encoder, steps x guidance
x network, and a decoder; caching, distillation and speculation change how often each pass runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from accelsim.errors import ConfigError
from accelsim.workload.families import family
from accelsim.workload.families.pipeline import PipelineConfig, StageConfig
from accelsim.workload.model import ModelSpec, load_model
from accelsim.workload.phase import Phase, decode, prefill
from accelsim.workload.request import Request, phase_of
from accelsim.workload.stages import DENOISE, Generation, Origin, Stage, build_stage

__all__ = ["generation"]

SEGMENTS = 8
"""Decoding is counted in so many stretches of tokens, each at the length of its middle."""


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
    runs ``steps`` times over ``guidance`` inputs per request; a masked diffusion language model
    over prompt and answer together, one step per token unless ``steps`` says otherwise.

    Raises
    ------
    ConfigError
        If the model cannot generate, or a size is out of range.
    """
    if request.lengths is not None:
        raise ConfigError(
            "a generation is of requests that are alike", path="workload.lengths",
            hint="evaluate a decode step of a snapshot, or give seq_len and workload.output_len",
        )  # fmt: skip
    spec = load_model(model) if isinstance(model, str) else model
    outputs = batch
    if isinstance(spec.parameters, PipelineConfig):
        stages = list(_pipeline(spec.parameters, batch, seq_len, request))
    elif getattr(spec.parameters, "bidirectional", False):
        steps = request.steps or request.output_len
        whole = seq_len + request.output_len
        stages = [_denoising(spec, batch, whole, request.model_copy(update={"steps": steps}))]
        outputs = batch * request.output_len
    elif "decode" in family(spec.family).PHASES:
        stages, outputs = list(_text(spec, batch, seq_len, request)), batch * request.output_len
    else:
        stages = [_denoising(spec, batch, seq_len, request)]
    made = Generation(spec.name, tuple(stages), outputs)
    for transform in spec.transforms:
        made = transform.schedule(made)
    return _applied(made, spec) if spec.family == "pipeline" else made


def _applied(made: Generation, spec: ModelSpec[Any]) -> Generation:
    """Return a pipeline with its denoising passes as the transforms leave them."""
    stages = []
    for stage in made.stages:
        built = stage.workload
        if stage.name.partition(".")[0] == DENOISE:
            for transform in spec.transforms:
                built = transform.apply(built)
        stages.append(replace(stage, workload=built))
    return made.with_stages(*stages)


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
        asked = request.model_copy(update=sizes | {"context_len": _context(stage, request)})
        inputs = batch * (guidance if stage.guided else 1)
        phase = phase_of(model, "forward", inputs, stage.seq_len or seq_len, asked)
        times = steps if stage.times == "steps" else stage.times
        yield build_stage(stage.name, Origin(model, phase, request.conventions), times)


def _context(stage: StageConfig, request: Request) -> int | None:
    return stage.context_len or request.context_len
