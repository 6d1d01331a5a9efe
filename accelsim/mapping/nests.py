"""The loop nests that the arrays of an architecture run for a workload: one for each shape.

Needs no whole plan: operators that no array runs are left out, and named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from accelsim.arch import ArchitectureSpec
from accelsim.cost import Setting, Work
from accelsim.cost.spatial import ArrayNest, SpatialArray
from accelsim.errors import MappingError
from accelsim.mapping._lone import arrays_for, rule_for
from accelsim.mapping.plan import Placer, settings_of
from accelsim.mapping.policy import MappingSpec
from accelsim.mapping.work import work_of
from accelsim.nest import Problem
from accelsim.workload import Workload
from accelsim.workload.counts import counts

__all__ = ["MappedNest", "MappedNests", "map_product", "map_workload"]


@dataclass(frozen=True)
class MappedNest(ArrayNest):
    """How an array runs operators of one shape; figures are of one run.

    Attributes
    ----------
    operators : tuple of str
        Their names, ``block.operator``.
    times : int
        How often they run, repetitions of blocks included.
    unit : str
    """

    operators: tuple[str, ...]
    times: int
    unit: str

    @property
    def utilisation(self) -> float:
        """Multiply-accumulates per cycle over those of all units."""
        peak = self.hierarchy.units * self.hierarchy.mac_rate
        return self.problem.macs / self.figures.cycles / peak

    @property
    def shape(self) -> str:
        """Dims above 1 with their sizes, as ``m 128, n 64``."""
        sizes = zip(self.problem.dims, self.problem.sizes, strict=True)
        return ", ".join(f"{dim} {size}" for dim, size in sizes if size > 1)


@dataclass(frozen=True)
class MappedNests:
    """All nests of a workload, and (operator, reason) of those that no array runs."""

    nests: tuple[MappedNest, ...]
    others: tuple[tuple[str, str], ...]

    @property
    def cycles(self) -> float:
        """Cycles of all nests, one after the other."""
        return sum(nest.times * nest.figures.cycles for nest in self.nests)

    @property
    def latency_s(self) -> float:
        """Their time."""
        return sum(nest.times * nest.figures.latency_s for nest in self.nests)

    @property
    def energy_pj(self) -> float:
        """Their dynamic energy."""
        return sum(nest.times * nest.figures.energy_pj for nest in self.nests)

    @property
    def macs(self) -> int:
        """Their multiply-accumulates."""
        return sum(nest.times * nest.problem.macs for nest in self.nests)


def map_workload(
    workload: Workload, architecture: ArchitectureSpec, mapping: MappingSpec
) -> MappedNests:
    """Return the nests of all operators that spatial arrays run.

    Raises
    ------
    MappingError
        If the architecture has no such array, or a nest does not fit; names the operator.
    """
    _arrays(architecture)
    placer = Placer(workload, architecture, mapping)
    found: dict[tuple[str, Problem], MappedNest] = {}
    others: list[tuple[str, str]] = []
    for block in workload.blocks:
        for whole in block.operators:
            parts, tensors, _ = placer.parts(whole, block.tensors)
            for part in parts:
                name = f"{block.name}.{part.name}"
                work = work_of(part, tensors, counts(part, tensors), whole)
                rule = placer.rule(part, whole, tensors)
                unit, reason = _unit(architecture, work)
                if reason:
                    others.append((name, reason))
                    continue
                made = _mapped(name, block.count, unit, architecture, work,
                               placer.setting(unit, rule))  # fmt: skip
                known = found.get((unit, made.problem))
                found[unit, made.problem] = (
                    made
                    if known is None
                    else replace(
                        known, operators=(*known.operators, name), times=known.times + block.count
                    )
                )
    return MappedNests(tuple(found.values()), tuple(others))


def map_product(work: Work, architecture: ArchitectureSpec, mapping: MappingSpec) -> MappedNest:
    """Return the nest of one operator by its sizes, on the fastest array that the rules allow.

    Parameters
    ----------
    work : Work
        A product or a convolution; the zeros and formats of its operands count.
    architecture, mapping
        What it runs on, and how: the first rule of `place` that holds decides, as for a model.

    Raises
    ------
    ConfigError
        If no format of the arrays holds the operator's.
    MappingError
        If the architecture has no spatial array, the nest does not fit, or the rules cannot be
        followed: none holds, or the one to decide asks for what only an operator of a model has
        (phase, label, name), places it on other units or divides it over several; names the rule.
    """
    _arrays(architecture)
    rule, called = rule_for(work, mapping)
    settings = settings_of(architecture, mapping)
    found = [
        _mapped(
            "product", 1, unit, architecture, work,
            settings[unit] if rule.nest is None else replace(settings[unit], nests=rule.nest),
        )
        for unit in arrays_for(work, architecture, rule, called)
    ]  # fmt: skip
    return min(found, key=lambda one: one.figures.latency_s)


def _arrays(architecture: ArchitectureSpec) -> list[str]:
    units = architecture.device.units
    arrays = [name for name, unit in units.items() if isinstance(unit, SpatialArray)]
    if not arrays:
        raise MappingError(
            f"`{architecture.name}` has no unit of kind spatial, which alone runs loop nests"
        )
    return arrays


def _unit(architecture: ArchitectureSpec, work: Work) -> tuple[str, str]:
    """Return the first array that runs an operator; where none does, why the last refuses."""
    name, reason = "", ""
    for name in _arrays(architecture):
        reason = architecture.device.units[name].refusal(work)
        if not reason:
            break
    return name, reason


def _mapped(
    name: str, times: int, unit: str, architecture: ArchitectureSpec, work: Work, setting: Setting
) -> MappedNest:
    array = architecture.device.units[unit]
    assert isinstance(array, SpatialArray)  # noqa: S101 - `_arrays` takes no others
    try:
        run = array.nest(work, setting)
    except MappingError as error:
        raise MappingError(f"operator `{name}` on `{unit}`: {error}") from None
    return MappedNest(
        run.problem, run.hierarchy, run.nest, run.rules, run.figures, run.gap, (name,), times, unit
    )
