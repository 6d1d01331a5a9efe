"""``accelsim measure``: operators, blocks and models on a GPU or CPU, into a table.

The same as ``python3 -m accelsim.measure``, which needs no more than torch and numpy.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["measure"]


def measure(
    suite: Annotated[
        str,
        typer.Argument(
            help="quick, gemm, vector, attention, moe, scan, diffusion, layers or models."
        ),
    ],
    device: Annotated[str, typer.Option(help="cuda or cpu; cuda where torch sees it.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV table to append to.")
    ] = None,
    budget_s: Annotated[
        float, typer.Option(help="Stop cleanly before so many seconds; status 3: cases remain.")
    ] = math.inf,
    clock: Annotated[
        str, typer.Option(help="graph, events, loop, kernel, wall; several by commas.")
    ] = "",
    l2: Annotated[str, typer.Option(help="State of the cache before a call: cold or warm.")] = (
        "cold"
    ),
    ops: Annotated[str, typer.Option(help="Only these operators, by commas.")] = "",
    dtypes: Annotated[str, typer.Option(help="Only these number formats, by commas.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many cases; 0: all.")] = 0,
    retry: Annotated[str, typer.Option(help="Measure again: error, skip, wrong.")] = "",
    seconds: Annotated[float, typer.Option(help="Sampling time per case and clock.")] = 0.5,
    max_call_s: Annotated[
        float | None, typer.Option(help="Skip cases of which one call takes longer.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of the CPU; 0: torch's own number.")] = 0,
    write_graphs: Annotated[
        bool, typer.Option("--write-graphs", help="Export the library's graphs; measure nothing.")
    ] = False,
) -> None:
    """Measure a suite and append to its table; the same command again goes on where it stopped."""
    from accelsim.measure.bench.command import Options, export_graphs
    from accelsim.measure.bench.command import measure as measure_suite

    if write_graphs:
        raise typer.Exit(export_graphs())
    options = Options(
        suite,
        device,
        out,
        budget_s,
        clock,
        l2,
        ops,
        dtypes,
        limit,
        retry,
        seconds,
        max_call_s,
        threads,
    )
    raise typer.Exit(measure_suite(options, sys.argv[2:]))
