"""``accelsim run``: one point; what it takes, what limits it, operator by operator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelsim._version import __version__
from accelsim.cli._generation import run_generation
from accelsim.cli._numbers import count, percent, si
from accelsim.cli._options import (
    Arch,
    Batch,
    Check,
    Engine,
    EngineName,
    Exact,
    Json,
    Mapping,
    Model,
    Phase,
    PhaseName,
    SeqLen,
    Set,
    evaluate_point,
)
from accelsim.cli._output import Column, facts, place, print_json, table, write, writing
from accelsim.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from accelsim.result import OperatorRecord, Result

__all__ = ["run"]


def run(
    model: Model, arch: Arch, mapping: Mapping = "roofline-best",
    phase: Phase = PhaseName.DECODE, batch: Batch = 1, seq_len: SeqLen = 1024, changes: Set = None,
    engine: Engine = EngineName.NUMBA, check: Check = False, exact: Exact = False,
    roofline: Annotated[
        Path | None,
        typer.Option(help="Draw operators beneath peaks and bandwidths: .png, .svg or .pdf."),
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Evaluate one point: latency, energy, what limits it, and every operator."""
    if phase is PhaseName.GENERATE:
        if roofline is not None:
            raise ConfigError(
                "is drawn of one pass, not of a whole generation", path="--roofline",
                hint="name the pass by `--phase`: prefill, decode, mixed or forward",
            )  # fmt: skip
        run_generation(
            model, arch, mapping, batch, seq_len, changes, engine, check, exact, as_json
        )
        return
    result = evaluate_point(
        model, arch, mapping, phase, batch, seq_len, changes, engine, check, exact
    )
    if roofline is not None:
        from accelsim.report.roofline import draw_roofline

        with writing(roofline):
            draw_roofline(result, roofline)
    if as_json:
        print_json(_data(result))
        return
    write(
        _headline(result),
        facts(_summary(result)),
        _operators(result),
        "Time, bytes and energy are of one repetition on one device; `of path` is the share of the"
        "\ncritical path that all repetitions take.\n",
        _energy(result),
        *([] if roofline is None else [f"{place(roofline)}\n"]),
    )


def _data(result: Result) -> dict[str, Any]:
    """Return all that a result says; times in seconds, energies in picojoules."""
    from dataclasses import asdict

    return {
        "accelsim": __version__,
        "point": result.point,
        "summary": result.summary(),
        "memory": asdict(result.memory),
        "busy_s": result.busy_s,
        "energy_pj": result.energy_parts_pj,
        "operators": [asdict(record) for record in result.operators],
    }


def _headline(result: Result) -> str:
    point = result.point
    tokens = "cached" if point["phase"] in ("decode", "mixed") else "new"
    beside = f" and a prefill of {point['seq_len']}" if point["phase"] == "mixed" else ""
    changed = "".join(f"\n  with {path} = {value}" for path, value in point["overrides"].items())
    what = f"{point['phase']} of {point['batch']} x {point['seq_len']} {tokens} tokens{beside}"
    if any(path.startswith("workload.lengths") for path in point["overrides"]):
        what = f"{point['phase']} of {point['batch']} requests of different lengths"
    if point["phase"] == "forward":  # images have no tokens to name, saved graphs their own sizes
        what = result.simulated.lowered.plan.workload.phase
    return f"{point['model']} on {point['arch']} by {point['mapping']}, {what}{changed}\n"


def _summary(result: Result) -> Iterator[tuple[str, str]]:
    from accelsim.arch import main_memory

    need, summary = result.memory, result.summary()
    plan = result.simulated.lowered.plan
    name, busiest = plan.architecture.device.main_memory, result.bottleneck
    share = result.busy_s[busiest] / result.latency_s if result.latency_s else 0.0
    yield "latency", si(result.latency_s, "s")
    yield "throughput", f"{count(float(summary['throughput_tokens_per_s']))} tokens/s"
    per_token = si(result.energy_j / result.tokens, "J")
    yield "energy", f"{si(result.energy_j, 'J')} ({per_token} per token)"
    yield "power", f"{si(result.power_w, 'W')} on average, {result.tops_per_w:.3g} TOPS/W"
    yield "area", f"{result.area_mm2:.4g} mm2"
    yield "busiest", f"{busiest}, {percent(share)} of the time"
    yield "utilisation", f"{percent(result.utilisation)} of peak compute"
    capacity = si(main_memory(plan.architecture).capacity(), "B")
    parts = (
        f"weights {si(need.weight_bytes, 'B')}, KV cache {si(need.kv_bytes, 'B')},"
        f" activations {si(need.activation_bytes, 'B')}"
    )
    yield "memory", f"{si(need.total_bytes, 'B')} of {capacity} in {name} per device: {parts}"
    yield "devices", str(summary["devices"])


_COLUMNS: tuple[Column, ...] = (
    ("operator", "<"), ("unit", "<"), ("choice", "~"), ("bound", "<"), ("util.", ">"),
    ("time", ">"), ("of path", ">"), ("bytes", ">"), ("energy", ">"),
)  # fmt: skip


def _operators(result: Result) -> Any:
    """Return the table of operators, one section for each block."""
    blocks: dict[tuple[str, int], list[list[str]]] = {}
    for record in result.operators:
        rows = blocks.setdefault((record.block, record.count), [])
        rows.append(_operator(record, result.latency_s))
    return table(_COLUMNS, [(f"{name} x {count}", rows) for (name, count), rows in blocks.items()])


def _operator(record: OperatorRecord, latency_s: float) -> list[str]:
    return [
        f"  {record.name}", record.unit, record.choice, record.bound,
        percent(record.utilisation), si(max(record.compute_s, record.memory_s), "s"),
        percent(record.critical_s / latency_s if latency_s else 0.0),
        si(record.traffic_bytes, "B"), si(record.energy_pj / 1e12, "J"),
    ]  # fmt: skip


def _energy(result: Result) -> Any:
    parts = result.energy_parts_pj
    total = sum(parts.values()) or 1.0
    ranked = sorted(parts.items(), key=lambda item: -item[1])
    rows = [[f"  {name}", si(pj / 1e12, "J"), percent(pj / total)] for name, pj in ranked]
    return table([("energy", "<"), ("", ">"), ("", ">")], [("", rows)])
