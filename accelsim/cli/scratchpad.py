"""``accelsim scratchpad``: operator order and on-chip residence with the least DRAM traffic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelsim.cli._graphs import graph_of
from accelsim.cli._numbers import percent
from accelsim.cli._options import Batch, Json, SeqLen, Set
from accelsim.cli._output import facts, place, print_json, table, write, writing
from accelsim.errors import ConfigError, bytes_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from accelsim.mapping.scratchpad import Allocation, Problem

__all__ = ["scratchpad"]


def scratchpad(
    source: Annotated[str, typer.Argument(help="A model, or the file of a saved graph.")],
    capacity: Annotated[
        str,
        typer.Option(help="Size, e.g. `4 MiB`; `least`: what the largest operator needs; `peak`:"
                     " what no traffic above the compulsory one needs; `middle` of the two."),
    ] = "least",
    phase: Annotated[
        str,
        typer.Option(help="prefill, decode, mixed or forward; the model's usual one."),
    ] = "",
    batch: Batch = 1, seq_len: SeqLen = 1024, changes: Set = None,
    block: Annotated[
        list[str] | None, typer.Option("--block", help="Only this block. Repeatable.")
    ] = None,
    weights: Annotated[
        str, typer.Option(help="streamed past the scratchpad, or resident in it.")
    ] = "streamed",
    method: Annotated[
        str,
        typer.Option(help="auto, exact, heuristic, replacement (given order), or a baseline:"
                     " belady[-online][-low-peak], lru, no-retention."),
    ] = "auto",
    compare: Annotated[bool, typer.Option("--compare", help="Show the baselines, too.")] = False,
    time_limit: Annotated[float, typer.Option(help="Seconds that a search may take.")] = 30.0,
    picture: Annotated[
        Path | None, typer.Option("--picture", "-o", help="Draw the plan: a PNG.")
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Plan a scratchpad: operator order, what stays on chip when and where.

    Traffic above the compulsory one (inputs read once, outputs written once) is made smallest.
    """
    from accelsim.mapping.scratchpad import METHODS, allocate, scratchpad_problem

    problem = scratchpad_problem(
        graph_of(source, phase, batch, seq_len, changes), weights=weights, blocks=block or ()
    )
    size = _capacity(problem, capacity)
    plan = allocate(problem, size, method=method, time_limit_s=time_limit)
    others = [
        allocate(problem, size, method=name)
        for name in METHODS
        if compare and name not in ("auto", "exact", "heuristic", method)
    ]
    if picture is not None:
        from accelsim.report.scratchpad import draw_allocation

        with writing(picture):
            draw_allocation(plan, picture)
    if as_json:
        print_json({**_plain(plan), "baselines": [_totals(other) for other in others]})
        return
    write(f"{problem.name} in {_bytes(size)}\n", facts(_facts(plan)))
    if others:
        write(_comparison(plan, others))
    if picture is not None:
        write(f"{place(picture)}\n")


def _capacity(problem: Problem, text: str) -> int:
    """Return the size that an option means, in bytes."""
    from accelsim.mapping.scratchpad import largest_footprint_bytes, lowest_peak
    from accelsim.quantity import parse

    least = largest_footprint_bytes(problem)
    if text == "least":
        return least
    if text in ("peak", "middle"):
        peak = lowest_peak(problem).peak_bytes
        return peak if text == "peak" else (least + peak) // 2
    try:
        return int(parse(text, "bytes"))
    except ValueError as error:
        hint = "a size such as 4 MiB, or least, middle or peak"
        raise ConfigError(str(error), path="--capacity", hint=hint) from None


def _bytes(size: int) -> str:
    return bytes_text(size, 2)


def _facts(plan: Allocation) -> Iterator[tuple[str, str]]:
    """Yield name and text of what a plan does."""
    problem = plan.problem
    moved = sum(step != task for step, task in enumerate(plan.order))
    yield "operators", f"{len(plan.order)}, {moved} of them at another step than given"
    yield "method", f"{plan.method}, {plan.wall_s:.2f} s"
    yield "compulsory", _bytes(problem.compulsory_bytes)
    if problem.streamed_bytes:
        yield "", f"{_bytes(problem.streamed_bytes)} of it streamed past the scratchpad"
    yield "above it", _bytes(plan.noncompulsory_bytes)
    proof = f"{plan.status}; no plan has less than {_bytes(plan.bound_bytes)}"
    yield "traffic", f"{_bytes(plan.traffic_bytes)} ({proof})"
    yield "", f"{_bytes(plan.read_bytes)} read into it, {_bytes(plan.write_bytes)} written from it"
    yield "in use", f"{_bytes(plan.peak_bytes)} of {_bytes(plan.capacity_bytes)}"


def _comparison(plan: Allocation, others: list[Allocation]) -> Any:
    lines = []
    for one in (plan, *others):
        saved = "-"
        if one is not plan and one.noncompulsory_bytes:
            saved = percent(1 - plan.noncompulsory_bytes / one.noncompulsory_bytes)
        lines.append(
            [one.method, _bytes(one.traffic_bytes), _bytes(one.noncompulsory_bytes), saved]
        )
    columns = [("method", "<"), ("traffic", ">"), ("above compulsory", ">"), ("saved of it", ">")]
    return table(columns, [("", lines)])


def _totals(plan: Allocation) -> dict[str, Any]:
    return {
        "method": plan.method, "status": plan.status, "traffic_bytes": plan.traffic_bytes,
        "noncompulsory_bytes": plan.noncompulsory_bytes, "bound_bytes": plan.bound_bytes,
        "read_bytes": plan.read_bytes, "write_bytes": plan.write_bytes,
        "peak_bytes": plan.peak_bytes, "wall_s": plan.wall_s,
    }  # fmt: skip


def _plain(plan: Allocation) -> dict[str, Any]:
    problem = plan.problem
    return {
        "name": problem.name, "capacity_bytes": plan.capacity_bytes,
        "compulsory_bytes": problem.compulsory_bytes,
        "streamed_bytes": problem.streamed_bytes, **_totals(plan),
        "order": [problem.tasks[task].name for task in plan.order],
        "stays": [
            {
                "storage": problem.storages[s.storage].name,
                "size_bytes": problem.storages[s.storage].size_bytes,
                "first_step": s.first, "last_step": s.last, "offset_bytes": s.offset_bytes,
                "loaded": s.loaded, "stored": s.stored,
            }
            for s in plan.stays
        ],
    }  # fmt: skip
