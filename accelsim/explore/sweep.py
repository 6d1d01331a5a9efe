"""Describes a sweep: the space of points, what to leave out, and what to optimise.

A sweep is a YAML file in ``sweeps/``; everything wrong in it is found, with file and line, before
a point is evaluated or a file is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from accelsim.config import Spec, library, load_spec
from accelsim.explore.axes import Axes, refuse
from accelsim.explore.metrics import Sense

__all__ = ["Rule", "SweepSpec", "load_sweep"]


class Rule(Spec):
    """A condition that a point must meet to be evaluated."""

    require: str
    """Expression over axes, for example ``batch * seq_len <= 65536`` or ``phase == 'decode'``.
    A point that lacks one of the axes named is not concerned."""
    reason: str
    """Why other points are left out; stored with each of them."""


class SweepSpec(Spec):
    """A space of points to evaluate and the metrics to optimise.

    Examples
    --------
    .. code-block:: yaml

        name: batch-and-devices
        description: How far does batch size carry each of two designs?
        space:
          model: llama-3-8b
          phase: [prefill, decode]
          batch: {from: 1, to: 64, factor: 2}
          seq_len: 2048
        cases:
          - {arch: a100-80gb, mapping: roofline-best}
          - {arch: neupims, mapping: npu-pim, arch.devices: [1, 2, 4]}
        where:
          - {require: batch * seq_len <= 65536, reason: beyond the KV cache of one device}
        objectives: {latency_s: min, energy_j: min}
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Short name; names the folder of the results."""
    description: str
    """The question that the sweep answers."""
    source: str | None = None
    """Paper or data sheet that the sweep reproduces."""
    space: Axes = Field(default_factory=dict)
    """Axis -> value, list of values, or range ``{from:, to:, step: | factor:}``.
    Axes are `model`, `arch`, `mapping`, `phase` (decode), `batch` (1), `seq_len` (1024), and
    parameters' paths after ``model.``, ``arch.``, ``mapping.`` or ``workload.`` (image size,
    frames, steps, conventions: the fields of `accelsim.workload.Request`)."""
    cases: tuple[Axes, ...] = ()
    """Sub-spaces, each laid over `space`: so that an architecture can bring its own mapping.
    A point that several of them contain is evaluated once."""
    where: tuple[Rule, ...] = ()
    """Conditions on points; those that fail one are recorded as excluded, with the reason."""
    objectives: Annotated[dict[str, Sense], Field(min_length=2, max_length=3)]
    """Metric -> ``min`` or ``max``; two or three."""
    front_per: tuple[str, ...] = ("model", "phase", "seq_len")
    """Axes whose values are not compared with each other: one Pareto front for each group."""
    output: str | None = None
    """Folder of the results; ``reports/NAME`` unless given."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        from accelsim.explore.check import problems  # which needs this class

        refuse(list(problems(self)))
        return self

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        return Path(self.output) if self.output else Path("reports") / self.name


def load_sweep(name: str | Path) -> SweepSpec:
    """Return a sweep by library name or file path.

    Raises
    ------
    ConfigError
        Lists everything wrong in the file, with line and legal values.
    """
    return load_spec(library.find("sweeps", name), SweepSpec, kind="sweeps")
