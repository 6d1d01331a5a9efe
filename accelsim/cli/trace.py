"""``accelsim trace``: the timeline of one point, as a file that ui.perfetto.dev opens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accelsim.cli._numbers import count, si
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
from accelsim.cli._output import place, print_json, write, writing

__all__ = ["trace"]

Output = Annotated[
    Path, typer.Option("--output", "-o", help="File to write: .json, or .json.gz compressed.")
]


def trace(
    model: Model, arch: Arch, mapping: Mapping = "roofline-best",
    phase: Phase = PhaseName.DECODE, batch: Batch = 1, seq_len: SeqLen = 1024, changes: Set = None,
    engine: Engine = EngineName.NUMBA, check: Check = False, exact: Exact = False,
    output: Output = Path("timeline.json.gz"), as_json: Json = False,
) -> None:  # fmt: skip
    """Write the timeline of one point for ui.perfetto.dev (Chrome JSON)."""
    from accelsim.result import write_trace

    result = evaluate_point(
        model, arch, mapping, phase, batch, seq_len, changes, engine, check, exact
    )
    with writing(output):
        slices = write_trace(result, output)
    size = output.stat().st_size
    if as_json:
        print_json({
            "output": output, "slices": slices, "size_bytes": size, "latency_s": result.latency_s,
        })  # fmt: skip
        return
    write(
        f"{place(output)}: {count(slices)} slices of {si(result.latency_s, 's')}, {si(size, 'B')};"
        " open it in https://ui.perfetto.dev"
    )
