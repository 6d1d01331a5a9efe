"""The one way through the house: a model on an architecture by a mapping, to a result."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from accelsim import arch as architectures
from accelsim import mapping as policies
from accelsim.errors import ConfigError, nearest
from accelsim.lower import simulate_plan
from accelsim.mapping.capacity import check_capacity
from accelsim.result import GenerationResult, Result, StageResult, check_conservation
from accelsim.workload import (
    Conventions,
    ModelSpec,
    Phase,
    Workload,
    generation,
    load_model,
    phase_of,
    read_request,
    workload,
)
from accelsim.workload.serial import is_graph
from accelsim.workload.serial import load as load_graph

__all__ = ["evaluate", "evaluate_generation", "simulate_workload"]


def evaluate(
    model: str,
    arch: str,
    mapping: str,
    *,
    phase: str = "decode",
    batch: int = 1,
    seq_len: int = 1024,
    overrides: Mapping[str, Any] | None = None,
    engine: str = "numba",
    check: bool | None = None,
    exact: bool = False,
) -> Result:
    """Evaluate one point.

    Parameters
    ----------
    model, arch, mapping : str
        Library names, or paths of YAML files; the model may also be a saved graph, whose phase
        and sizes are its own.
    phase : {"prefill", "decode", "mixed", "forward"}
        Prefill processes `seq_len` new tokens per sequence; decode one new token per sequence
        after `seq_len` cached ones; mixed decodes `batch` sequences so while one more sequence
        of `seq_len` tokens is prefilled in the same pass; forward is one pass of a network
        without a cache.  For a whole generation call `evaluate_generation`.
    batch : int
        Sequences.
    seq_len : int
        Tokens per sequence.
    overrides : mapping, optional
        Dotted parameter path -> value; the path begins with ``model.``, ``arch.``, ``mapping.``,
        or ``workload.``, after which come the fields of `accelsim.workload.Request`: image size,
        frames, conventions.
    engine : {"numba", "simpy"}
        Event engine; both give the same picoseconds.
    check : bool, optional
        Check conservation of bytes, MACs, energy and resource time.  Unless given, only where
        the environment has ``ACCELSIM_CHECK``, as in accelsim's own tests.
    exact : bool
        Simulate every layer instead of extending a steady state.

    Raises
    ------
    ConfigError
        For bad input; says file, line, field and what is legal.
    MappingError, InfeasibleError
        If the policy leaves an operator unplaced, or the model does not fit.

    Examples
    --------
    >>> evaluate("gpt2", "null", "roofline-best", batch=4).latency_s
    0.0
    """
    split = _split(overrides or {})
    architecture = architectures.load(arch, split["arch"])
    policy = policies.load(mapping, split["mapping"])
    share = _microbatch(policy, batch)
    asked = read_request(split["workload"])
    if is_graph(model):
        built = _saved(model, Path(model).stat().st_mtime_ns, split)
        phase = built.phase.partition(" ")[0]
    else:
        described = load_model(model, split["model"])
        passed = phase_of(described, phase, share, seq_len, asked)
        built = _workload(described, passed, asked.conventions)
    return simulate_workload(
        built, architecture, policy,
        point=_point(model, arch, mapping, phase, batch, seq_len, overrides),
        engine=engine, check=check, exact=exact,
    )  # fmt: skip


def evaluate_generation(
    model: str,
    arch: str,
    mapping: str,
    *,
    batch: int = 1,
    seq_len: int = 1024,
    overrides: Mapping[str, Any] | None = None,
    engine: str = "numba",
    check: bool | None = None,
    exact: bool = False,
) -> GenerationResult:
    """Evaluate a whole generation: every stage once, times how often it runs.

    Parameters
    ----------
    model, arch, mapping, overrides, engine, check, exact
        As in `evaluate`; ``workload.output_len``, ``workload.steps`` and ``workload.guidance``
        say how long the generation is.
    batch : int
        Requests that are answered together.
    seq_len : int
        Tokens of each prompt.

    Raises
    ------
    ConfigError, MappingError, InfeasibleError
        As in `evaluate`.
    """
    split = _split(overrides or {})
    architecture = architectures.load(arch, split["arch"])
    policy = policies.load(mapping, split["mapping"])
    described = load_model(model, split["model"])
    asked = read_request(split["workload"])
    made = generation(described, batch=_microbatch(policy, batch), seq_len=seq_len, request=asked)
    point = _point(model, arch, mapping, "generate", batch, seq_len, overrides)
    stages = tuple(
        StageResult(
            stage.name, stage.times,
            simulate_workload(
                stage.workload, architecture, policy, point=point | {"phase": stage.name},
                engine=engine, check=check, exact=exact,
            ),
        )
        for stage in made.stages
    )  # fmt: skip
    return GenerationResult(point, stages, made.outputs * policy.partition.microbatches)


def _point(
    model: str, arch: str, mapping: str, phase: str, batch: int, seq_len: int,
    overrides: Mapping[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "model": model, "arch": arch, "mapping": mapping, "phase": phase,
        "batch": batch, "seq_len": seq_len, "overrides": dict(overrides or {}),
    }  # fmt: skip


def _microbatch(policy: policies.MappingSpec, batch: int) -> int:
    """Return the sequences of one micro-batch."""
    parts = policy.partition.microbatches
    if batch < 1:
        raise ConfigError(f"{batch} sequences, at least 1 is needed", path="batch")
    if batch % parts:
        raise ConfigError(
            f"{batch} sequences do not divide into {parts} micro-batches", path="batch"
        )
    return batch // parts


def simulate_workload(
    built: Workload,
    architecture: architectures.ArchitectureSpec,
    policy: policies.MappingSpec,
    *,
    point: dict[str, Any] | None = None,
    engine: str = "numba",
    check: bool | None = None,
    exact: bool = False,
) -> Result:
    """Evaluate a workload that is already built: plan, check capacity, lower, simulate.

    Raises
    ------
    MappingError, InfeasibleError
        If the policy leaves an operator unplaced, or the model does not fit.
    """
    planned = policies.plan(built, architecture, policy)
    need = check_capacity(planned)
    result = Result(
        point or {"model": built.name, "arch": architecture.name, "mapping": policy.name},
        simulate_plan(planned, engine, exact=exact),
        need,
    )
    if check or (check is None and os.environ.get("ACCELSIM_CHECK")):
        check_conservation(result)
    return result


@lru_cache(maxsize=512)
def _workload(model: ModelSpec[Any], phase: Phase, conventions: Conventions) -> Workload:
    return workload(model, phase, conventions=conventions)


@lru_cache(maxsize=32)
def _read_graph(path: str, modified_ns: int) -> Workload:
    return load_graph(path)


def _saved(path: str, modified_ns: int, split: Mapping[str, Mapping[str, Any]]) -> Workload:
    """Return a saved graph, which has its sizes and takes no others."""
    for head in ("model", "workload"):
        for name in split[head]:
            raise ConfigError(
                f"`{path}` is a saved graph, whose sizes are fixed", path=f"{head}.{name}"
            )
    return _read_graph(path, modified_ns)


def _split(overrides: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the overrides of each file."""
    split: dict[str, dict[str, Any]] = {"model": {}, "arch": {}, "mapping": {}, "workload": {}}
    for path, value in overrides.items():
        head, _, rest = path.partition(".")
        if head not in split or not rest:
            raise ConfigError(
                f"an override's path must begin with {', '.join(f'{k}.' for k in split)}",
                path=path,
                hint=nearest(head, split),
            )
        split[head][rest] = value
    return split
