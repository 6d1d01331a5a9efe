"""``accelsim validate``: how far the models are from reference figures, row by row."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelsim.cli._options import Json
from accelsim.cli._output import place, print_json, table, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from accelsim.measure.cases._case import Case

__all__ = ["cases", "write_report", "write_workload_report"]


def cases(
    file: Annotated[Path, typer.Argument(help="CSV of reference cases, plain or gzipped.")],
    as_json: Json = False,
) -> None:
    """Compare a file of reference cases with the models: the error of each row, and over all."""
    from accelsim.measure.cases._case import summary
    from accelsim.measure.validate import validate_file

    found = validate_file(file)
    total = summary(found.cases)
    if as_json:
        print_json({
            "file": file, "format": found.format, "lines": found.lines,
            "conventions": found.conventions, **total,
            "cases": [_data(case) for case in found.cases],
        })  # fmt: skip
        return
    write(f"{place(file)}: {found.format}\n", fill(found.conventions, 100) + "\n")
    columns = [
        ("case", "~"), ("metric", "~"), ("reference", ">"), ("accelsim", ">"), ("error", ">"),
    ]  # fmt: skip
    write(table(columns, [("", map(_row, found.cases))]))
    write(_totals(total), *_refusals(total))


def write_report(
    folder: Annotated[Path, typer.Argument(help="Folder of the reference files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the pages.")] = Path(
        "reports/accuracy"
    ),
    as_json: Json = False,
) -> None:
    """Compare with every reference file of a folder and write a page for each."""
    from accelsim.report.accuracy import write_accuracy

    pages = write_accuracy(folder, output)
    if as_json:
        print_json({"pages": pages})
        return
    write("\n".join(map(place, pages)) + "\n")


def write_workload_report(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the pages.")] = Path(
        "reports/workloads"
    ),
    as_json: Json = False,
) -> None:
    """Compare counts of workloads with what publications print, and write the pages."""
    from accelsim.report.workloads import write_workloads

    pages = write_workloads(output)
    if as_json:
        print_json({"pages": pages})
        return
    write("\n".join(map(place, pages)) + "\n")


def _data(case: Case) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(case), "error_percent": case.error_percent}


def _row(case: Case) -> list[str]:
    error = case.error_percent
    predicted = "-" if case.predicted is None else _figure(case.predicted)
    return [
        case.id, case.metric, _figure(case.expected), predicted,
        "unsupported" if error is None else f"{error:.2f} %",
    ]  # fmt: skip


def _figure(value: float) -> str:
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"


def _totals(total: Mapping[str, Any]) -> Any:
    heads = ("rows", "exact", "unsupported", "mean", "90 % below", "largest")
    groups = {"all": total, **total["groups"]} if len(total["groups"]) > 1 else {"all": total}
    rows = [
        [
            name, str(of["rows"]), str(of["exact"]), str(of["unsupported"]["count"]),
            *(_percent(of[f"{kind}_percent"]) for kind in ("mape", "p90", "max")),
        ]
        for name, of in groups.items()
    ]  # fmt: skip
    return table([("group", "~"), *((head, ">") for head in heads)], [("", rows)])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"


def _refusals(total: Mapping[str, Any]) -> list[str]:
    reasons = total["unsupported"]["reasons"]
    return [f"unsupported, {number} rows: {reason}" for reason, number in reasons.items()]
