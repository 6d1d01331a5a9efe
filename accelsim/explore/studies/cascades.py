"""Evaluates cascades bound to several arrays over models, lengths and designs.

A row is one model at one length on one design; its ``mapping`` names the parts that it adds up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec
from accelsim.errors import InfeasibleError, nearest
from accelsim.explore.studies import Axes, Row, StudySpec

if TYPE_CHECKING:
    from accelsim.mapping.cascade import CascadeCost

__all__ = ["METRICS", "Study", "StudyCase", "StudyDesign", "axes", "part_cost", "rows"]

METRICS: Final = ("latency_s", "energy_j", "power_w", "area_mm2", "dram_bytes", "busy.")
"""Metrics of the rows; ``busy.ARRAY`` is the part of the time that an array works."""

_PICO: Final = 1e-12
_MM2_PER_UM2: Final = 1e-6

Scalar = int | float | str
"""What may replace a field of a file."""


class StudyCase(Spec):
    """What is different for some models and lengths: another policy, or fields of it."""

    model: tuple[str, ...] = ()
    """Models that are meant; all where empty."""
    seq_len: tuple[Count, ...] = ()
    """Lengths that are meant; all where empty."""
    policies: dict[str, str] = Field(default_factory=dict)
    """Part -> policy in place of the design's."""
    change: dict[str, dict[str, Scalar]] = Field(default_factory=dict)
    """Part -> dotted path in its policy -> value."""

    def meets(self, model: str, seq_len: int) -> bool:
        """Return whether the case is of this model and length."""
        named = not self.model or model in self.model
        return named and (not self.seq_len or seq_len in self.seq_len)


class StudyDesign(Spec):
    """A device, and how each part is bound to it."""

    device: str
    """Library file of the device."""
    device_change: dict[str, Scalar] = Field(default_factory=dict)
    """Dotted path in the device -> value."""
    policies: Annotated[dict[str, str], Field(min_length=1)]
    """Part -> library file of its binding."""
    change: dict[str, dict[str, Scalar]] = Field(default_factory=dict)
    """Part -> dotted path in its policy -> value, before those of the cases."""
    ranks: dict[str, dict[str, Scalar]] = Field(default_factory=dict)
    """Part -> rank of its cascade -> size, as of parts as wide as the array; over the model's."""
    cases: tuple[StudyCase, ...] = ()
    """Exceptions; all that are met apply, the later over the earlier."""


class Study(StudySpec):
    """Designs that run the same cascades at several sizes."""

    batch: Count
    """Sequences."""
    seq_len: Annotated[tuple[Count, ...], Field(min_length=1)]
    """Tokens of each."""
    models: Annotated[dict[str, dict[str, dict[str, Scalar]]], Field(min_length=1)]
    """Model -> part -> rank of its cascade -> size in place of the file's."""
    rows: Annotated[dict[str, tuple[str, ...]], Field(min_length=1)]
    """Name of a kind of row -> parts that it adds up; it is the row's ``mapping``."""
    designs: Annotated[dict[str, StudyDesign], Field(min_length=1)]
    """Designs by name; it is the row's ``arch``."""

    @model_validator(mode="after")
    def _parts_exist(self) -> Self:
        wanted = {part for parts in self.rows.values() for part in parts}
        for name, design in self.designs.items():
            for part in sorted(wanted):
                if part not in design.policies:
                    raise PydanticCustomError(
                        "part",
                        "design `{design}` has no policy for the part `{part}`; {hint}",
                        {"design": name, "part": part, "hint": nearest(part, design.policies)},
                    )
        return self


def part_cost(study: Study, design: str, part: str, model: str, seq_len: int) -> CascadeCost:
    """Return what one part costs at one size on one design.

    Raises
    ------
    ConfigError, MappingError
        If a file is wrong or the binding does not fit.
    InfeasibleError
        If a tile does not fit the buffer.
    """
    from accelsim.mapping.cascade import evaluate_cascade, load_device, load_policy
    from accelsim.workload import forward, load_model
    from accelsim.workload.cascade import cascade_of

    one = study.designs[design]
    met = [case for case in one.cases if case.meets(model, seq_len)]
    policy_name, change = one.policies[part], dict(one.change.get(part, {}))
    for case in met:
        policy_name = case.policies.get(part, policy_name)
        change |= case.change.get(part, {})
    policy = load_policy(policy_name, change)
    sizes = {**study.models[model].get(part, {}), **one.ranks.get(part, {})}
    ranks = {f"parameters.shape.{rank}": size for rank, size in sizes.items()}
    cascade = cascade_of(load_model(policy.model, ranks), forward(study.batch, seq_len))
    return evaluate_cascade(cascade, load_device(one.device, one.device_change), policy)


def axes(study: Study) -> Axes:
    """Return axis -> its values, as the rows of the study have them."""
    return {
        "model": tuple(study.models), "arch": tuple(study.designs), "mapping": tuple(study.rows),
        "phase": ("prefill",), "batch": (study.batch,), "seq_len": study.seq_len,
    }  # fmt: skip


def rows(study: Study) -> Iterator[Row]:
    """Yield a row for each model, length, design and kind: axes, status, metrics, busy parts.

    Notes
    -----
    Of a row that adds up several parts, latency, energy and traffic are sums; an array is busy
    for the mean over the time.
    """
    for model in study.models:
        for seq_len in study.seq_len:
            for design in study.designs:
                place = {
                    "model": model, "arch": design, "phase": "prefill", "batch": study.batch,
                    "seq_len": seq_len,
                }  # fmt: skip
                for name, figures in _kinds(study, design, model, seq_len):
                    yield {**place, "mapping": name, "status": "done", "error": "", **figures}


def _kinds(
    study: Study, design: str, model: str, seq_len: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    from accelsim.mapping.cascade import load_device

    costs: dict[str, CascadeCost | str] = {}
    for part in dict.fromkeys(part for parts in study.rows.values() for part in parts):
        try:
            costs[part] = part_cost(study, design, part, model, seq_len)
        except InfeasibleError as error:
            costs[part] = str(error)
    one = study.designs[design]
    area_mm2 = load_device(one.device, one.device_change).area_um2 * _MM2_PER_UM2
    for kind, parts in study.rows.items():
        found = [costs[part] for part in parts]
        if lost := [text for text in found if isinstance(text, str)]:
            yield kind, {"status": "infeasible", "error": lost[0]}
        else:
            summed = [cost for cost in found if not isinstance(cost, str)]
            yield kind, {"area_mm2": area_mm2, **_figures(summed)}


def _figures(costs: list[CascadeCost]) -> Mapping[str, float]:
    latency_s = sum(cost.latency_s for cost in costs)
    busy = {
        f"busy.{array}": sum(cost.utilisation[array] * cost.latency_s for cost in costs)
        / latency_s
        for array in costs[0].utilisation
    }
    energy_j = sum(cost.total_pj for cost in costs) * _PICO
    traffic = sum(cost.dram_bytes for cost in costs)
    return {
        "latency_s": latency_s, "energy_j": energy_j, "power_w": energy_j / latency_s,
        "dram_bytes": traffic, **busy,
    }  # fmt: skip
