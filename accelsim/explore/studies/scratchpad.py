"""Plans scratchpads of several sizes by several methods, and counts what they move to and fro.

A row is one network: ``arch`` names the size of the scratchpad, ``mapping`` the method of
planning, ``mapping.weights`` whether weights lie in it or pass by.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from accelsim.config import Count, Positive, Spec
from accelsim.explore.axes import refuse
from accelsim.explore.studies import Axes, ModelName, Row, StudySpec, attempt, unknown
from accelsim.workload.dtypes import Dtype

if TYPE_CHECKING:
    from accelsim.mapping.scratchpad import Problem

__all__ = ["METRICS", "Network", "Study", "axes", "rows", "sizes_bytes"]

METRICS: Final = (
    "dram_bytes", "noncompulsory_bytes", "capacity_bytes", "bound_bytes", "proven", "plan_s",
)  # fmt: skip
"""Metrics of the rows: all traffic, that above reading inputs and weights and writing outputs
once, room, what is proven of the least traffic, whether the plan is proven best, and the duration
of planning."""

_WEIGHTS: Final = "mapping.weights"

Size = Literal["largest_operator", "middle", "no_spill"]
"""Room for the largest operator, for the order of lowest peak, and the mean of the two."""


class Network(Spec):
    """One pass of a model of the library."""

    model: ModelName
    """The model."""
    batch: Count = 1
    """Sequences or images."""
    seq_len: Count = 1
    """Tokens of each."""
    dtype: Dtype
    """Format of all numbers."""


class Study(StudySpec):
    """Networks planned in scratchpads."""

    networks: Annotated[dict[str, Network], Field(min_length=1)]
    """Networks by name; it is the row's ``model``."""
    weights: Annotated[tuple[Literal["streamed", "resident"], ...], Field(min_length=1)]
    """Whether weights pass the scratchpad by, or must lie in it."""
    sizes: Annotated[tuple[Size, ...], Field(min_length=1)]
    """Sizes; it is the row's ``arch``.  One that is no more than the largest operator's is that
    one, and has no row."""
    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    """Methods of planning; it is the row's ``mapping``."""
    time_limit_s: Positive = 15.0
    """For each plan's searches, about."""

    @model_validator(mode="after")
    def _methods_exist(self) -> Self:
        from accelsim.mapping.scratchpad import METHODS

        refuse(list(unknown(("methods",), "method", self.methods, METHODS)))
        return self


def axes(study: Study) -> Axes:
    """Return axis -> its values, as the rows of the study have them."""
    batches = dict.fromkeys(network.batch for network in study.networks.values())
    lengths = dict.fromkeys(network.seq_len for network in study.networks.values())
    return {
        "model": (*study.networks,), "arch": study.sizes, "mapping": study.methods,
        _WEIGHTS: study.weights, "phase": ("forward",), "batch": (*batches,),
        "seq_len": (*lengths,),
    }  # fmt: skip


def rows(study: Study) -> Iterator[Row]:
    """Yield a row for each network, way of weights, size and method."""
    for name, network in study.networks.items():
        for weights in study.weights:
            problem = _problem(network, weights)
            known = sizes_bytes(problem)
            for size in study.sizes:
                if size != "largest_operator" and known[size] <= known["largest_operator"]:
                    continue
                for method in study.methods:
                    point = {
                        "model": name, "arch": size, "mapping": method, "phase": "forward",
                        "batch": network.batch, "seq_len": network.seq_len, _WEIGHTS: weights,
                    }  # fmt: skip
                    planned = partial(_plan, problem, known[size], method, study.time_limit_s)
                    yield attempt(point, planned)


def _problem(network: Network, weights: str) -> Problem:
    from accelsim.mapping.scratchpad import scratchpad_problem
    from accelsim.workload import forward, load_model, workload

    formats = {"dtypes.activation": network.dtype, "dtypes.weight": network.dtype}
    graph = workload(load_model(network.model, formats), forward(network.batch, network.seq_len))
    return scratchpad_problem(graph, weights=weights)


def sizes_bytes(problem: Problem) -> dict[Size, int]:
    """Return the room of each named size for a problem.

    Notes
    -----
    They are M_R, M_H and M_P of Li, Gupta and Malik, COSMA (arXiv 2311.18246).
    """
    from accelsim.mapping.scratchpad import largest_footprint_bytes, lowest_peak

    least, peak = largest_footprint_bytes(problem), lowest_peak(problem).peak_bytes
    return {"largest_operator": least, "middle": (least + peak) // 2, "no_spill": peak}


def _plan(
    problem: Problem, capacity_bytes: int, method: str, time_limit_s: float
) -> dict[str, Any]:
    from accelsim.mapping.scratchpad import allocate

    plan = allocate(problem, capacity_bytes, method=method, time_limit_s=time_limit_s)
    return {
        "dram_bytes": plan.traffic_bytes, "noncompulsory_bytes": plan.noncompulsory_bytes,
        "capacity_bytes": capacity_bytes, "bound_bytes": plan.bound_bytes,
        "proven": float(plan.status == "optimal"), "plan_s": plan.wall_s,
    }  # fmt: skip
