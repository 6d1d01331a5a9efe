"""``accelsim validate endtoend``: whole models and layers against a table of measured times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelsim.cli._options import Json
from accelsim.cli._output import place, print_json, table, write, writing
from accelsim.cli.measured_validation import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["endtoend"]


def endtoend(
    file: Annotated[
        Path, typer.Argument(help="Table of end-to-end times: CSV, plain or gzipped.")
    ],
    source: Annotated[
        list[str] | None,
        typer.Option("--source", "-s", help="Only this source; may be given several times."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")] = Path(
        "reports/validation/endtoend"
    ),
    as_json: Json = False,
) -> None:
    """Simulate every row of a table of whole models; write errors, figures and worst rows."""
    from accelsim.errors import UnknownNameError
    from accelsim.measure.endtoend import compare, read_rows, summary
    from accelsim.report.endtoend import write_endtoend

    rows = read_rows(file)
    known = sorted({row.source for row in rows})
    for name in source or ():
        if name not in known:
            raise UnknownNameError("source", name, known)
    found = compare([row for row in rows if not source or row.source in source])
    total = summary(found, file)
    command = " ".join([
        "accelsim validate endtoend", file.name, *(f"--source {name}" for name in source or ()),
    ])  # fmt: skip
    with writing(out / "report.md"):
        files = write_endtoend(found, total, out, command)
    if as_json:
        print_json({**total, "files": files})
        return
    split = total["split"]
    write(
        f"{place(file)}: {total['modelled']:,} of {total['rows']:,} rows are simulated;"
        f" {split['test_rows']:,} test, {split['launch_rows']:,} are bound by launches,"
        f" {split['fit_rows']:,} were fitted on\n"
    )
    write(_errors(total))
    reasons = total["not_modelled"]["reasons"]
    write(*(f"not simulated, {count:,} rows: {why}" for why, count in reasons.items()))
    write("\n".join(["", *map(place, files)]) + "\n")


def _errors(total: Mapping[str, Any]) -> Any:
    sections: dict[str, list[list[str]]] = {}
    for line in total["table"]:
        of, published = line["test"], line["published"]
        if not of["rows"]:
            continue
        sections.setdefault(line["kind"], []).append([
            line["gpu"], line["source"], f"{of['rows']:,}", percent(of["mape"]),
            percent(of["median"]), percent(of["p90"]), percent(of["bias"], "+"),
            "-" if of["kendall"] != of["kendall"] else f"{of['kendall']:.2f}",
            percent(line["baselines"]["roofline"]["mape"]), percent(published["mape"]),
        ])  # fmt: skip
    heads = ("rows", "MAPE %", "median", "p90", "bias", "tau", "roofline", "published")
    columns = [("test rows of", "<"), ("source", "<"), *((head, ">") for head in heads)]
    return table(columns, sections.items())
