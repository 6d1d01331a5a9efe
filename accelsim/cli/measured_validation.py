"""``accelsim validate measured``: the GPU models against a table of measured operators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelsim.cli._options import Json
from accelsim.cli._output import place, print_json, table, write, writing

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["measured", "percent"]

_HEADS = ("rows", "MAPE %", "p90", "bias", "tau", "roofline", "x scalar", "floor+eff")


def measured(
    file: Annotated[
        Path, typer.Argument(help="Table of measured operators: CSV, gzipped CSV or Parquet.")
    ],
    calibration: Annotated[
        list[Path] | None,
        typer.Option(
            "--calibration", "-c",
            help="Calibration (YAML) of one GPU and source; may be given several times.",
        ),
    ] = None,
    architecture: Annotated[
        str,
        typer.Option(
            "--architecture", "-a",
            help="What ran the rows of boards that are no known GPUs, such as a CPU.",
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the report.  [reports/validation/FILE]"),
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Predict every row of a measured table; write errors, baselines, figures and worst rows."""
    from accelsim.measure.compare.comparison import compare_file
    from accelsim.measure.compare.summary import summary
    from accelsim.report.measured import write_measured

    named = calibration or []
    found = compare_file(file, named, architecture=architecture)
    total = summary(found, file)
    folder = out or Path("reports/validation") / file.name.split(".")[0]
    command = " ".join([
        "accelsim validate measured", file.name, *(f"--calibration {one.name}" for one in named),
        *([f"--architecture {architecture}"] if architecture else []),
    ])  # fmt: skip
    with writing(folder / "report.md"):
        files = write_measured(found, total, folder, command)
    if as_json:
        print_json({**total, "files": files})
        return
    head = total["headline"]
    write(
        f"{place(file)}: {total['modelled']:,} of {total['rows']:,} rows are modelled;"
        f" {head['rows']:,} of them test, in {head['cells']} cells of GPU and class\n"
    )
    write(_errors(total), _headline(head))
    reasons = total["not_modelled"]["reasons"]
    write(*(f"not modelled, {count:,} rows: {why}" for why, count in reasons.items()))
    write("\n".join(["", *map(place, files)]) + "\n")


def _errors(total: Mapping[str, Any]) -> Any:
    sections: dict[str, list[list[str]]] = {}
    for line in total["table"]:
        of = line["test"]
        if of["rows"]:
            sections.setdefault(line["class"], []).append([
                line["gpu"], line["source"], line["dtype"], f"{of['rows']:,}",
                percent(of["mape"]), percent(of["p90"]), percent(of["bias"], "+"),
                "-" if of["kendall"] != of["kendall"] else f"{of['kendall']:.2f}",
                *_beside(line),
            ])  # fmt: skip
    columns = [("test rows of", "<"), ("source", "<"), ("format", "<")]
    return table([*columns, *((head, ">") for head in _HEADS)], sections.items())


def _headline(head: Mapping[str, Any]) -> Any:
    rows = [
        [name, str(of["cells"]), f"{of['rows']:,}", percent(of["mape"]), *_beside(of)]
        for name, of in [("all", head), *head["strata"].items()]
    ]
    heads = ("cells", "rows", "MAPE %", "roofline", "x scalar", "floor+eff")
    return table([("mean over cells", "<"), *((head, ">") for head in heads)], [("", rows)])


def _beside(of: Mapping[str, Any]) -> list[str]:
    return [percent(baseline["mape"]) for baseline in of["baselines"].values()]


def percent(value: float, sign: str = "") -> str:
    """Return a share in per cent, to a tenth."""
    return "-" if value != value else f"{100 * value:{sign}.1f}"
