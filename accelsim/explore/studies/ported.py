"""Searches loop orders on arrays with ported memories, as `accelsim.nest.ports` prices them.

A row is one operator, or all of a model, on one array; ``mapping`` names the orders tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import InitErrorDetails

from accelsim.config import Count, Spec
from accelsim.explore.axes import refuse
from accelsim.explore.studies import ArchFile, Axes, Row, StudySpec, attempt, unknown
from accelsim.explore.studies._operators import Asked, OperatorSpec, asked_of
from accelsim.workload.dtypes import Dtype

if TYPE_CHECKING:
    from accelsim.arch.ported import PortedArraySpec
    from accelsim.nest.ports import PortedTask

__all__ = ["METRICS", "PortedChange", "PortedRun", "Study", "axes", "order_figures", "rows"]

METRICS: Final = ("energy_j", "utilisation", "cycles", "ideal_cycles", "stall_cycles", "orders")
"""Metrics of the rows; ``orders`` is how many were priced.  The arrays have no clock, so there
are no seconds."""

_PICO: Final = 1e-12
_ROWS, _COLUMNS = 3, 4  # axes of a convolution's image

Scalar = int | float | str | tuple[str, ...]
"""What may replace a field of a file."""


class PortedChange(Spec):
    """An array of the library, perhaps with other parameters."""

    file: ArchFile
    """Library file of the array."""
    change: dict[str, Scalar] = Field(default_factory=dict)
    """Dotted path in it -> value."""


class OrderSet(Spec):
    """Which loop orders are tried."""

    loops: Count
    """Loops at most: prime factors become one until there are no more than these."""
    coarser: bool = False
    """Also with fewer loops, which may be faster."""
    objective: Literal["latency", "energy", "edp"] = "latency"
    """What the best order makes small."""


class PortedRun(Spec):
    """Operators on arrays, by some sets of orders."""

    arrays: Annotated[tuple[str, ...], Field(min_length=1)]
    """Arrays of the study."""
    operators: Annotated[tuple[str, ...], Field(min_length=1)]
    """Operators of the study."""
    orders: Annotated[tuple[str, ...], Field(min_length=1)]
    """Sets of orders of the study."""


class Study(StudySpec):
    """Operators on arrays with ported memories."""

    dtype: Dtype
    """Format of operands and final results."""
    partial_bits: Count
    """Bits of a result that is still summed up."""
    arrays: Annotated[dict[str, PortedChange], Field(min_length=1)]
    """Arrays by name; it is the row's ``arch``."""
    operators: Annotated[dict[str, OperatorSpec], Field(min_length=1)]
    """Operators by name; it is the row's ``model``."""
    orders: Annotated[dict[str, OrderSet], Field(min_length=1)]
    """Sets of orders by name; it is the row's ``mapping``."""
    runs: Annotated[tuple[PortedRun, ...], Field(min_length=1)]
    """What runs where."""

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        problems: list[InitErrorDetails] = []
        for i, run in enumerate(self.runs):
            place = ("runs", i)
            problems += unknown((*place, "arrays"), "array", run.arrays, self.arrays)
            problems += unknown((*place, "operators"), "operator", run.operators, self.operators)
            problems += unknown((*place, "orders"), "set of orders", run.orders, self.orders)
        refuse(problems)
        return self


def axes(study: Study) -> Axes:
    """Return axis -> its values, as the rows of the study have them."""
    points = list(_points(study))
    return {name: tuple(dict.fromkeys(point[name] for point in points)) for name in points[0]}


def rows(study: Study) -> Iterator[Row]:
    """Yield a row for each array, set of orders and operator of each run."""
    for point in _points(study):
        yield attempt(point, partial(order_figures, study, **_names(point)))


def _names(point: Mapping[str, Any]) -> dict[str, str]:
    return {"array": point["arch"], "operator": point["model"], "orders": point["mapping"]}


def _points(study: Study) -> Iterator[dict[str, Any]]:
    for run in study.runs:
        for array in run.arrays:
            for orders in run.orders:
                for name in run.operators:
                    one = study.operators[name]
                    yield {
                        "model": name, "arch": array, "mapping": orders, "phase": one.phase,
                        "batch": one.batch, "seq_len": one.seq_len,
                    }  # fmt: skip


def order_figures(
    study: Study, *, array: str, operator: str, orders: str
) -> Mapping[str, float | int]:
    """Return what the best orders of an operator, or of all of a model, cost together.

    Raises
    ------
    ConfigError
        If the array's file, the model or the format is wrong.
    MappingError
        If an operator cannot be laid on the array, or no order fits.
    """
    from accelsim.arch.ported import load_ported
    from accelsim.nest.ports import factors, search_order

    given, tried = study.arrays[array], study.orders[orders]
    spec = load_ported(given.file, given.change)
    total: dict[str, float] = dict.fromkeys(METRICS, 0)
    for asked in asked_of(study.operators[operator], study.dtype):
        task = _task(spec, asked, study.partial_bits)
        if tried.coarser:
            found = search_order(task, tried.objective, limit=tried.loops)
        else:
            found = search_order(task, tried.objective, loops=factors(task, tried.loops))
        figures = found.figures
        total["cycles"] += asked.times * figures.cycles
        total["ideal_cycles"] += asked.times * figures.ideal_cycles
        total["stall_cycles"] += asked.times * figures.stall_cycles
        total["energy_j"] += asked.times * figures.energy_pj * _PICO
        total["orders"] += found.tried
    return {**total, "utilisation": total["ideal_cycles"] / total["cycles"]}


def _task(spec: PortedArraySpec, asked: Asked, partial_bits: int) -> PortedTask:
    """Return an operator laid on an array.

    Tensors stand in the order of the array's file: of cuts that spare equal traffic memories
    prefer later ones.
    """
    from accelsim.cost._spatial_problem import problem_of
    from accelsim.nest.ports import PortedTask

    plain = problem_of(asked.work, None)
    order = list(dict.fromkeys(name for one in spec.memories.values() for name in one.tensors))
    operands = sorted(plain.tensors[:-1], key=lambda tensor: order.index(tensor.name))
    problem = replace(plain, tensors=(*operands, plain.tensors[-1]))
    kind = "matmul" if asked.work.conv is None else "convolution"
    stored = {}
    if asked.work.conv is not None and asked.image is not None:
        rows, columns = asked.image
        stored = {("input", _ROWS): rows, ("input", _COLUMNS): columns}
    return PortedTask(
        problem, spec.array(), spec.unrolled(kind), partial_bits, stored, spec.hiding
    )
