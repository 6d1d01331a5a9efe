"""The one way through the house: a model on an architecture by a mapping, to a result."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from accelsim import arch as architectures
from accelsim import mapping as policies
from accelsim.errors import ConfigError, nearest
from accelsim.lower import simulate_plan
from accelsim.mapping.capacity import check_capacity
from accelsim.result import Result, check_conservation
from accelsim.workload import (
    ModelSpec,
    Phase,
    SequenceGroup,
    Workload,
    decode,
    load_model,
    mixed,
    prefill,
    workload,
)
from accelsim.workload.phase import PHASES

__all__ = ["evaluate", "simulate_workload"]


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
        Library names, or paths of YAML files.
    phase : {"prefill", "decode", "mixed"}
        Prefill processes `seq_len` new tokens per sequence; decode one new token per sequence
        after `seq_len` cached ones; mixed decodes `batch` sequences so while one more sequence
        of `seq_len` tokens is prefilled in the same pass.
    batch : int
        Sequences.
    seq_len : int
        Tokens per sequence.
    overrides : mapping, optional
        Dotted parameter path -> value; the path begins with ``model.``, ``arch.`` or
        ``mapping.``.
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
    parts = policy.partition.microbatches
    if batch < 1:
        raise ConfigError(f"{batch} sequences, at least 1 is needed", path="batch")
    if batch % parts:
        raise ConfigError(
            f"{batch} sequences do not divide into {parts} micro-batches", path="batch"
        )
    described = load_model(model, split["model"])
    built = _workload(described, _phase(phase, batch // parts, seq_len))
    point = {
        "model": model, "arch": arch, "mapping": mapping, "phase": phase,
        "batch": batch, "seq_len": seq_len, "overrides": dict(overrides or {}),
    }  # fmt: skip
    return simulate_workload(
        built, architecture, policy, point=point, engine=engine, check=check, exact=exact
    )


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
def _workload(model: ModelSpec[Any], phase: Phase) -> Workload:
    return workload(model, phase)


def _phase(name: str, batch: int, seq_len: int) -> Phase:
    if name == "prefill":
        return prefill(batch, seq_len)
    if name == "decode":
        return decode(batch, seq_len)
    if name == "mixed":
        return mixed([SequenceGroup(1, seq_len, 0), SequenceGroup(batch, 1, seq_len)])
    raise ConfigError(f"unknown phase `{name}`", path="phase", hint=nearest(name, PHASES))


def _split(overrides: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the overrides of each file."""
    split: dict[str, dict[str, Any]] = {"model": {}, "arch": {}, "mapping": {}}
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
