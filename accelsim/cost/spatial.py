"""Spatial arrays: any hierarchy of memories and fan-outs above multiply-accumulate units.

Each operator runs as a loop nest, given by the mapping or found by search; time, traffic and
energy follow from the nest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, Literal, Self

from pydantic import model_validator

from accelsim.config import Count, Picojoules, Watts
from accelsim.cost._array_formats import is_integer
from accelsim.cost._array_unit import ArrayUnit
from accelsim.cost._component import (
    PICOSECONDS_PER_SECOND,
    Estimate,
    Memory,
    Setting,
    Work,
    to_ps,
)
from accelsim.cost._logic import int_add_energy_pj
from accelsim.cost._nest_policy import NestPolicy
from accelsim.cost._spatial_levels import (
    FanoutSpec,
    LevelSpec,
    StorageSpec,
    check_levels,
    node_of,
)
from accelsim.cost._spatial_problem import problem_of
from accelsim.cost._sram_model import LEAST_WORDS, sram_macro
from accelsim.cost._technology import (
    mac_area_mm2,
    mac_formats,
    register_area_mm2,
)
from accelsim.errors import ConfigError
from accelsim.nest import (
    Accounting,
    Figures,
    Hierarchy,
    Nest,
    Problem,
    accounting,
    evaluate,
    parse,
)
from accelsim.nest.mapper.constraint import Constraint
from accelsim.nest.mapper.memo import found_nest

__all__ = ["COMPONENT", "ArrayNest", "SpatialArray"]


@dataclass(frozen=True, slots=True)
class ArrayNest:
    """How an array runs an operator.

    Attributes
    ----------
    problem, hierarchy, nest, rules
        What runs where, how, and what is counted.
    figures : Figures
        What it costs, the outermost memory included.
    gap : float
        How much more of the objective the nest may have than the best one; 0 where it is proven
        best, or given.
    """

    problem: Problem
    hierarchy: Hierarchy
    nest: Nest
    rules: Accounting
    figures: Figures
    gap: float


class SpatialArray(ArrayUnit):
    """An array of multiply-accumulate units behind memories and fan-outs, outermost first.

    Notes
    -----
    The time of an operator is that of its nest with the outermost memory out of the way; what
    that memory takes is left to the event simulation, where other units may want it too.

    Examples
    --------
    >>> array = SpatialArray(
    ...     source="-",
    ...     memory="dram",
    ...     frequency_hz="1 GHz",
    ...     formats={"int8": 1},
    ...     levels=[
    ...         {"name": "DRAM", "of": "memory"},
    ...         {"name": "PEs", "fanout": 64, "shares": ["input"]},
    ...         {
    ...             "name": "Register",
    ...             "capacity_bytes": 64,
    ...             "keep": ["weight"],
    ...             "model": "register_file",
    ...         },
    ...     ],
    ... )
    >>> array.peak_macs_per_s("int8") / 1e9
    64.0
    """

    kind: Literal["spatial"] = "spatial"
    levels: list[LevelSpec]
    """Memories and fan-outs from the device's memory inwards; the units are the innermost."""
    partial_bits: Count | None = None
    """Bits of a result wherever it is kept; those of the operator's output where absent."""
    given_accumulate_energy_pj: Picojoules | None = None
    """Energy of adding a weight where the input is one bit, a spike, and so nothing is multiplied;
    that of an integer addition as wide as a partial sum where absent."""
    given_leakage_w: Watts | None = None
    """Published standing power; that of the SRAM models alone where absent."""

    @model_validator(mode="after")
    def _is_a_hierarchy(self) -> Self:
        check_levels(self.levels, self.buffer)
        return self

    @cached_property
    def units(self) -> int:
        """Multiply-accumulate units."""
        return math.prod(level.fanout for level in self.levels if isinstance(level, FanoutSpec))

    @cached_property
    def _hierarchies(self) -> dict[tuple[Any, ...], tuple[Memory, Memory | None, Hierarchy]]:
        return {}

    def peak_macs_per_s(self, fmt: str) -> float:
        """Return the multiply-accumulates per second of all units."""
        return self.units * self.formats[fmt] * self.frequency_hz

    def hierarchy(self, work: Work, setting: Setting) -> Hierarchy:
        """Return the levels as the loop-nest model reads them, for one operator.

        Parameters
        ----------
        work : Work
            Its format and zeros decide the rate and energy of a MAC, its dims what is unrolled.
        setting : Setting
            The device's memory and buffer.
        """
        found = self.format_of(work.dtype)
        if found is None:
            raise ConfigError(self.refusal(work))
        fmt, rate = found
        problem = problem_of(work, self.partial_bits)
        faster, energised = self.use_of_zeros(work)
        rate *= faster
        if self.bricks is not None and is_integer(work.dtype):
            rate /= self.bricks.cycles(work.bits_a, work.bits_b)
        node_nm = self.technology_nm or setting.technology_nm
        energy = self._product_energy_pj(work, fmt, node_nm) * energised
        # memories are told apart by identity, and kept so that it stays theirs
        key = (problem.dims, id(setting.memory), id(setting.buffer), rate, energy, node_nm)
        if key not in self._hierarchies:
            device = {"memory": setting.memory, "buffer": setting.buffer, None: None}
            nodes = tuple(
                node_of(
                    level, problem,
                    device[level.of] if isinstance(level, StorageSpec) else None,
                    self.frequency_hz, node_nm,
                )
                for level in self.levels
            )  # fmt: skip
            made = Hierarchy(nodes, energy, rate, self.frequency_hz)
            self._hierarchies[key] = setting.memory, setting.buffer, made
        return self._hierarchies[key][2]

    def nest(self, work: Work, setting: Setting) -> ArrayNest:
        """Return how an operator runs, with what it costs.

        Raises
        ------
        MappingError
            If the given nest does not fit, or the search finds none.
        """
        problem = problem_of(work, self.partial_bits)
        hierarchy = self.hierarchy(work, setting)
        policy = setting.nests
        rules = accounting(policy.accounting)
        if policy.given is not None:
            keep = {name: list(p.keep) for name, p in policy.levels.items() if p.keep is not None}
            given = parse(policy.given, hierarchy, keep)
            figures = _evaluated(problem, hierarchy, given, rules)
            return ArrayNest(problem, hierarchy, given, rules, figures, 0.0)
        found = found_nest(
            problem, hierarchy, policy.objective, rules, _constraints(policy, problem), policy.pad
        )
        return ArrayNest(problem, hierarchy, found.nest, rules, found.figures, found.gap)

    def figures(self, work: Work, setting: Setting) -> Figures:
        """Return what an operator's nest costs, the outermost memory included."""
        return self.nest(work, setting).figures

    def estimate(self, work: Work, setting: Setting) -> Estimate:
        """Return time, memory traffic and energy of an operator."""
        run = self.nest(work, setting)
        problem, gap = run.problem, run.gap
        # not the search's figures: there the outermost memory takes time and energy
        inside = _evaluated(problem, run.hierarchy.with_free_memory(), run.nest, run.rules)
        moved = inside.accesses[0].sum(axis=1) * problem.arrays.bits / 8.0
        # a bias comes with the weights, but is no tensor of the nest
        beside = max(0.0, work.weight_bytes - problem.words(1) * problem.tensors[1].bits / 8.0)
        energy: dict[str, float] = {}
        for (level, _), value in inside.energy_by.items():
            energy[level] = energy.get(level, 0.0) + value
        fmt = self.format_of(work.dtype)
        ideal_s = problem.macs / self.peak_macs_per_s(fmt[0]) if fmt is not None else 0.0
        choice = f"{problem.macs / inside.cycles / self.units:.0%} busy"
        return Estimate(
            compute_ps=to_ps(inside.latency_s),
            weight_traffic_bytes=math.ceil(float(moved[1]) + beside),
            input_traffic_bytes=round(float(moved[0])),
            output_traffic_bytes=round(float(moved[2])),
            tiles=max(1, int(inside.tiles)),
            energy_pj=energy,
            ideal_ps=ideal_s * PICOSECONDS_PER_SECOND,
            choice=choice if not gap else f"{choice}, gap {gap:.1%}",
        )

    def _product_energy_pj(self, work: Work, fmt: str, technology_nm: float) -> float:
        """Return the energy of one product: of a MAC, of its bricks, or of adding a weight."""
        if work.bits_a == 1:
            if self.given_accumulate_energy_pj is not None:
                return self.given_accumulate_energy_pj
            return int_add_energy_pj(self.partial_bits or work.bits_c, technology_nm)
        share = 1.0
        if self.bricks is not None and is_integer(work.dtype):
            share = self.bricks.energy(work.bits_a, work.bits_b)
        return share * self.mac_energy_pj(fmt, technology_nm)

    def model_area_mm2(self, technology_nm: float) -> float:
        """Return the area of units and of the memories that are the array's own.

        Wiring, control and networks are left out.
        """
        macs = [
            rate * mac_area_mm2(name, technology_nm)
            for name, rate in self.formats.items()
            if name in mac_formats()
        ]
        total, copies = 0.0, 1
        for level in self.levels:
            if isinstance(level, FanoutSpec):
                copies *= level.fanout
            elif level.of is None:
                total += copies * _memory_area_mm2(level, technology_nm)
        return total + self.units * max(macs, default=0.0)

    def leakage_w(self, technology_nm: float) -> float:
        """Return the standing power: published, or that of the array's SRAMs."""
        if self.given_leakage_w is not None:
            return self.given_leakage_w
        total, copies = 0.0, 1
        for level in self.levels:
            if isinstance(level, FanoutSpec):
                copies *= level.fanout
            elif level.of is None:
                for size in _sizes(level):
                    if _is_sram(level, size):
                        macro = sram_macro(size, int(level.access_bits or 64), technology_nm)
                        total += copies * macro.leakage_w
        return total


# Layers of a model are alike, and a plan asks of each how it runs on every unit and in every part.
@lru_cache(maxsize=4096)
def _evaluated(problem: Problem, hierarchy: Hierarchy, nest: Nest, rules: Accounting) -> Figures:
    """Return what a nest costs, evaluated once for equal questions."""
    return evaluate(problem, hierarchy, nest, rules)


def _constraints(policy: NestPolicy, problem: Problem) -> dict[str, Constraint]:
    """Return what a policy fixes, of the dims and tensors that the problem has."""
    return {
        name: Constraint(
            {dim: factor for dim, factor in level.loops.items() if dim in problem.dims},
            None if level.dims is None else frozenset(level.dims),
            None if level.keep is None else frozenset(level.keep),
            level.used,
        )
        for name, level in policy.levels.items()
    }


def _sizes(level: StorageSpec) -> list[float]:
    """Return the bytes of each macro of a memory."""
    if level.capacity_bytes is not None:
        return [level.capacity_bytes]
    return list(level.partitions.values())


def _is_sram(level: StorageSpec, size_bytes: float) -> bool:
    return level.model != "register_file" and size_bytes * 8 >= LEAST_WORDS * (
        level.access_bits or 64
    )


def _memory_area_mm2(level: StorageSpec, technology_nm: float) -> float:
    if level.given_area_mm2 is not None:
        return level.given_area_mm2
    total = 0.0
    for size in _sizes(level):
        if _is_sram(level, size):
            total += sram_macro(size, int(level.access_bits or 64), technology_nm).area_mm2
        else:
            total += register_area_mm2(size * 8, technology_nm)
    return total


COMPONENT: Final = SpatialArray
