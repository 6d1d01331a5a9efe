"""Prices loop nests, given or searched, on arrays of the library, by any accounting.

A row is one operator, or all of a model, on one array: ``mapping`` names how the nest is fixed,
``mapping.accounting`` the rules of counting.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import InitErrorDetails

from accelsim.config import Spec
from accelsim.cost import NestPolicy
from accelsim.errors import MappingError
from accelsim.explore.axes import refuse
from accelsim.explore.studies import (
    ArchFile,
    Axes,
    MappingName,
    Row,
    StudySpec,
    attempt,
    unknown,
)
from accelsim.explore.studies._operators import OperatorSpec, asked_of, pass_of
from accelsim.nest.accounting import ACCOUNTINGS
from accelsim.nest.problem import OUTPUT
from accelsim.workload.dtypes import Dtype

if TYPE_CHECKING:
    from accelsim.arch import ArchitectureSpec
    from accelsim.mapping import MappingSpec
    from accelsim.mapping.nests import MappedNest

__all__ = ["METRICS", "NestRun", "Study", "axes", "nest_figures", "rows"]

METRICS: Final = (
    "latency_s", "energy_j", "power_w", "utilisation", "cycles", "dram_bytes", "dynamic_energy_j",
    "gap", "served_bytes.", "filled_bytes.", "used.",
)  # fmt: skip
"""Metrics of the rows: ``dynamic_energy_j`` is without standing power, ``gap`` the largest bound
on what a search may have missed, ``used.FANOUT`` the mean instances of a fan-out in use.  Of a
memory ``filled_bytes.LEVEL`` come from outside; ``served_bytes.LEVEL`` are operands read for what
lies inside, and every result that comes from there written and read once."""

_ACCOUNTING: Final = "mapping.accounting"
_PICO: Final = 1e-12


def _form(given: Any) -> str:
    return "file" if isinstance(given, str) else "nests"


Fixed = Annotated[
    Annotated[MappingName, Tag("file")] | Annotated[NestPolicy, Tag("nests")],
    Discriminator(_form),
]
"""A mapping of the library, whose rules hold for models, or what its ``nests`` would say."""


class NestRun(Spec):
    """Operators on one array, by some mappings."""

    arch: ArchFile
    """Architecture of the library that has units of kind ``spatial``."""
    dtype: Dtype
    """Format of operands and results."""
    operators: Annotated[tuple[str, ...], Field(min_length=1)]
    """Operators of the study."""
    mappings: Annotated[tuple[str, ...], Field(min_length=1)]
    """Mappings of the study."""
    accounting: tuple[str, ...] = ()
    """Rules of counting, each a row; the mapping's own where empty."""


class Study(StudySpec):
    """Operators mapped onto arrays."""

    operators: Annotated[dict[str, OperatorSpec], Field(min_length=1)]
    """Operators by name; it is the row's ``model``."""
    mappings: Annotated[dict[str, Fixed], Field(min_length=1)]
    """How nests are fixed, by name: as ``nests`` of a mapping, or a mapping of the library."""
    runs: Annotated[tuple[NestRun, ...], Field(min_length=1)]
    """What runs where."""

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        problems: list[InitErrorDetails] = []
        for i, run in enumerate(self.runs):
            place = ("runs", i)
            problems += unknown((*place, "operators"), "operator", run.operators, self.operators)
            problems += unknown((*place, "mappings"), "mapping", run.mappings, self.mappings)
            problems += unknown((*place, "accounting"), "accounting", run.accounting, ACCOUNTINGS)
        refuse(problems)
        return self


def axes(study: Study) -> Axes:
    """Return axis -> its values, as the rows of the study have them."""
    points = list(_points(study))
    return {
        name: tuple(dict.fromkeys(point[name] for _, _, point in points)) for name in points[0][2]
    }


def rows(study: Study) -> Iterator[Row]:
    """Yield a row for each operator, mapping and accounting of each run."""
    for run, mapping, point in _points(study):
        operator = study.operators[point["model"]]
        yield attempt(point, partial(nest_figures, run, mapping, operator))


def _points(study: Study) -> Iterator[tuple[NestRun, MappingSpec, dict[str, Any]]]:
    """Yield run, mapping and axes of each row."""
    for run in study.runs:
        for name in run.mappings:
            mapping = _mapping(name, study.mappings[name])
            for rules in run.accounting or (mapping.nests.accounting,):
                counted = _counted(mapping, rules)
                for operator in run.operators:
                    asked = study.operators[operator]
                    point = {
                        "model": operator, "arch": run.arch, "mapping": name, "phase": asked.phase,
                        "batch": asked.batch, "seq_len": asked.seq_len, _ACCOUNTING: rules,
                    }  # fmt: skip
                    yield run, counted, point


def _mapping(name: str, given: NestPolicy | str) -> MappingSpec:
    from accelsim import mapping

    if isinstance(given, str):
        return mapping.load(given)
    return mapping.MappingSpec(name=name, place=[mapping.Rule()], nests=given)


def _counted(mapping: MappingSpec, accounting: str) -> MappingSpec:
    """Return a mapping, and all its rules, by other rules of counting."""
    change = {"accounting": accounting}
    place = [
        rule if rule.nest is None
        else rule.model_copy(update={"nest": rule.nest.model_copy(update=change)})
        for rule in mapping.place
    ]  # fmt: skip
    nests = mapping.nests.model_copy(update=change)
    return mapping.model_copy(update={"place": place, "nests": nests})


def nest_figures(
    run: NestRun, mapping: MappingSpec, operator: OperatorSpec
) -> Mapping[str, float]:
    """Return what an operator, or all of a model one after the other, costs on an array.

    Raises
    ------
    ConfigError
        If the format is unknown, or no format of the array holds it.
    MappingError
        If the architecture has no array for nests, a given nest does not fit, a search finds
        none, or operators are neither run nor left out.
    """
    from accelsim import arch

    loaded = arch.load(run.arch)
    total, gap = Counter[str](), 0.0
    for one in _mapped(run, mapping, operator, loaded):
        total.update({name: one.times * value for name, value in _costs(one).items()})
        gap = max(gap, one.gap)
    latency_s, ideal_s = total["latency_s"], total.pop("ideal_s")
    energy_j = total["dynamic_energy_j"] + arch.standing_power_w(loaded) * latency_s
    used = {k: value / latency_s for k, value in total.items() if k.startswith("used.")}
    return {
        **total, **used, "energy_j": energy_j, "power_w": energy_j / latency_s,
        "utilisation": ideal_s / latency_s, "gap": gap,
    }  # fmt: skip


def _mapped(
    run: NestRun, mapping: MappingSpec, operator: OperatorSpec, loaded: ArchitectureSpec
) -> tuple[MappedNest, ...]:
    """Return the nests of all operators that are asked for."""
    from accelsim.mapping.nests import map_product, map_workload

    asked = asked_of(operator, run.dtype)
    if operator.model is None:
        return (map_product(asked[0].work, loaded, mapping),)
    found = map_workload(pass_of(operator.model, operator, run.dtype), loaded, mapping)
    refused = dict(found.others)
    for one in asked:
        if one.name in refused:
            raise MappingError(f"`{one.name}` on `{run.arch}`: {refused[one.name]}")
    return found.nests


def _costs(one: MappedNest) -> Mapping[str, float]:
    """Return what one run of a nest adds to each metric.

    Instances in use are multiplied by the time, to become a mean over it.
    """
    from accelsim.nest import Storage

    problem, hierarchy, figures = one.problem, one.hierarchy, one.figures
    peak = hierarchy.units * hierarchy.mac_rate * hierarchy.frequency_hz
    found = {
        "cycles": figures.cycles, "latency_s": figures.latency_s,
        "dynamic_energy_j": figures.energy_pj * _PICO, "dram_bytes": figures.moved_bits / 8.0,
        "ideal_s": problem.macs / peak,
    }  # fmt: skip
    size_bytes = problem.arrays.bits / 8.0
    for i, node in enumerate(hierarchy.nodes):
        if isinstance(node, Storage):
            reads, fills, updates, _ = figures.accesses[i].T * size_bytes
            served = reads[:OUTPUT].sum() + 2.0 * updates[OUTPUT]
            found[f"served_bytes.{node.name}"] = float(served)
            found[f"filled_bytes.{node.name}"] = float(fills.sum())
        else:
            instances = math.prod(loop.factor for loop in one.nest.loops[i])
            found[f"used.{node.name}"] = instances * figures.latency_s
    return found
