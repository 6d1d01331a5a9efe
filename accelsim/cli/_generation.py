"""``accelsim run --phase generate``: a whole generation, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from accelsim._version import __version__
from accelsim.cli._numbers import count, percent, si
from accelsim.cli._options import EngineName, read_overrides
from accelsim.cli._output import Column, facts, print_json, table, write

if TYPE_CHECKING:
    from accelsim.result import GenerationResult

__all__ = ["run_generation"]

_COLUMNS: tuple[Column, ...] = (
    ("stage", "<"), ("runs", ">"), ("one run", ">"), ("all", ">"), ("share", ">"),
    ("energy", ">"), ("busiest", "<"), ("pass", "~"),
)  # fmt: skip


def run_generation(
    model: str, arch: str, mapping: str, batch: int, seq_len: int, changes: Sequence[str] | None,
    engine: EngineName, check: bool, exact: bool, as_json: bool,
) -> None:  # fmt: skip
    """Evaluate a whole generation and print its stages."""
    from accelsim.evaluation import evaluate_generation

    result = evaluate_generation(
        model, arch, mapping, batch=batch, seq_len=seq_len, overrides=read_overrides(changes),
        engine=engine.value, check=check or None, exact=exact,
    )  # fmt: skip
    if as_json:
        print_json({"accelsim": __version__, "point": result.point, "summary": result.summary(),
                    **result.breakdown()})  # fmt: skip
        return
    write(_headline(result.point), facts(_summary(result)), _stages(result))


def _headline(point: dict[str, Any]) -> str:
    changed = "".join(f"\n  with {path} = {value}" for path, value in point["overrides"].items())
    return (
        f"{point['model']} on {point['arch']} by {point['mapping']}, a whole generation for"
        f" {point['batch']} at once{changed}\n"
    )


def _summary(result: GenerationResult) -> Iterator[tuple[str, str]]:
    yield "latency", si(result.latency_s, "s")
    if result.tpot_s:
        yield "TTFT", si(result.ttft_s, "s")
        yield "TPOT", si(result.tpot_s, "s")
    rate = result.outputs / result.latency_s if result.latency_s else 0.0
    what = "tokens" if result.tpot_s else "outputs"
    yield "throughput", f"{count(rate)} {what}/s"
    each = si(result.energy_j / result.outputs, "J")
    yield "energy", f"{si(result.energy_j, 'J')} ({each} per {what[:-1]})"
    yield "utilisation", f"{percent(float(result.summary()['utilisation']))} of peak compute"


def _stages(result: GenerationResult) -> Any:
    total = result.latency_s or 1.0
    rows = [
        [
            f"  {stage.name}", str(stage.times), si(stage.result.latency_s, "s"),
            si(stage.latency_s, "s"), percent(stage.latency_s / total), si(stage.energy_j, "J"),
            stage.result.bottleneck,
            stage.result.simulated.lowered.plan.workload.phase,
        ]
        for stage in result.stages
    ]  # fmt: skip
    return table(_COLUMNS, [("", rows)])
