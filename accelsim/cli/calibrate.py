"""``accelsim calibrate``: fit the scalars of the GPU kernel model to measured operators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelsim.cli._options import Json
from accelsim.cli._output import place, print_json, table, write, writing
from accelsim.errors import ConfigError, Location

if TYPE_CHECKING:
    from accelsim.measure.calibrate import Fit

__all__ = ["calibrate"]


def calibrate(
    data: Annotated[
        Path,
        typer.Option("--data", help="Table of measured operators: CSV, gzipped CSV or Parquet."),
    ],
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="Board, as in the table; `accelsim list archs`.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Campaign; each that measured the board.")
    ] = None,
    shipped: Annotated[
        bool,
        typer.Option("--shipped", help="Refit all that accelsim ships, with the typical ones."),
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the calibrations.")
    ] = Path("reports/calibration"),
    as_json: Json = False,
) -> None:  # fmt: skip
    """Fit one board's campaigns, each on its own split; write scalars, split, error and date."""
    from accelsim.measure.calibrate import calibrate as fit
    from accelsim.measure.compare.table import read_measured
    from accelsim.measure.shipped import CAMPAIGNS
    from accelsim.measure.split import split
    from accelsim.report.calibration import write_calibrations

    if (gpu is None) == (not shipped):
        raise ConfigError("name either a board (--gpu) or --shipped")
    measured = read_measured(data)
    pairs = list(CAMPAIGNS) if shipped else _pairs(measured, str(gpu), source, data)
    fitted, rule = split(measured)
    options = " --shipped" if shipped else f" --gpu {gpu}" + (f" --source {source}" * bool(source))
    command = f"accelsim calibrate --data {data.name}{options}"
    fits = []
    for name, campaign in pairs:
        fits.append(fit(measured, name, campaign, fitted, rule))
        if not as_json:
            write(_errors(fits[-1]))
    with writing(out):
        files = write_calibrations(fits, measured if shipped else None, out, command)
    if as_json:
        print_json({"files": files, "fits": [_data(one) for one in fits]})
        return
    write("\n".join(["", *map(place, files)]) + "\n")


def _pairs(measured: Any, gpu: str, source: str | None, data: Path) -> list[tuple[str, str]]:
    rows = measured[measured["gpu"].eq(gpu)]
    sources = sorted(map(str, rows["source"].unique()))
    if not sources:
        known = ", ".join(sorted(map(str, measured["gpu"].unique())))
        raise ConfigError(f"has no rows of {gpu}", Location(str(data)), hint=f"boards: {known}")
    if source is not None and source not in sources:
        raise ConfigError(
            f"has no rows of {gpu} by {source}", Location(str(data)),
            hint=f"campaigns: {', '.join(sources)}",
        )  # fmt: skip
    return [(gpu, one) for one in ([source] if source else sources)]


def _errors(fit: Fit) -> Any:
    c = fit.calibration
    rows = []
    for (op, dtype, variant), sides in sorted(fit.scores.items()):
        line = [f"{op} {variant}".strip(), dtype]
        for side in ("fit", "test"):
            one = sides.get(side)
            line += [f"{one.rows:,}", f"{one.mape:.1%}", f"{one.p90:.1%}"] if one else ["", "", ""]
        rows.append(line)
    heads = ("fitted", "MAPE", "p90", "tested", "MAPE", "p90")
    columns = [(f"{c.gpu}, {c.campaign}", "<"), ("format", "<"), *((h, ">") for h in heads)]
    return table(columns, [("", rows)])


def _data(fit: Fit) -> dict[str, Any]:
    from accelsim.measure.shipped import record

    return {"calibration": fit.calibration.model_dump(), "errors": record([fit])}
