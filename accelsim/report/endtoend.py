"""Writes the validation report of whole models: page, figures, rows and summary.

Everything but the date in the page's first line is the same whenever the rows and models are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelsim._version import __version__
from accelsim.measure.endtoend.launch import LAUNCH
from accelsim.measure.endtoend.scores import tested
from accelsim.report._endtoend_figures import error_figure, parity_figure
from accelsim.report._measured_page import markdown_table, percent
from accelsim.report.measured import write_report

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["endtoend_page", "write_endtoend"]

_SCORES: Final = ("rows", "MAPE", "median", "p90", "bias", "≤ 20 %", "τ")


def write_endtoend(
    found: pd.DataFrame, summary: Mapping[str, Any], folder: Path, command: str
) -> list[Path]:
    """Write ``report.md``, ``summary.json``, figures and a table of all rows with simulations.

    Parameters
    ----------
    found : pandas.DataFrame
        What `accelsim.measure.endtoend.compare` returns.
    summary : mapping
        Of `found`.
    folder : Path
        Where to; made if need be.
    command : str
        What makes the report again.

    Returns
    -------
    list of Path
        The files: the page first; the rows as Parquet where pyarrow is installed, else as gzipped
        CSV.  A figure that would be empty is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = [
        parity_figure(tested(found), folder / "parity.png"),
        error_figure(summary["table"], folder / "errors.png"),
    ]

    def page(names: Sequence[str]) -> str:
        return endtoend_page(summary, command, names)

    return write_report(page, summary, figures, found, folder)


def endtoend_page(summary: Mapping[str, Any], command: str, figures: Sequence[str] = ()) -> str:
    """Return the report as Markdown.

    Parameters
    ----------
    summary : mapping
        Of a comparison.
    command : str
        What makes the report again.
    figures : sequence of str, optional
        Names of the files to show.
    """
    lines = [f"# {summary['file']}: whole models, simulated against measured", ""]
    lines.append(
        f"accelsim {__version__}, {date.today().isoformat()}; regenerate with `{command}`."
        " docs/end-to-end.md says what each figure means."
    )
    for part in (_headline, _errors, _published, _models, _worst, _left, _split):
        lines += ["", *part(summary)]
        if part is _headline:
            lines += [f"\n![{name.removesuffix('.png')}]({name})" for name in figures]
    return "\n".join(lines).rstrip() + "\n"


def _cells(of: Mapping[str, Any]) -> list[str]:
    """Return the cells of `_SCORES`, errors in per cent."""
    if not of["rows"]:
        return ["0", *[""] * (len(_SCORES) - 1)]
    return [
        f"{of['rows']:,}", percent(of["mape"]), percent(of["median"]), percent(of["p90"]),
        percent(of["bias"], "+"), f"{100 * of['within_20']:.0f}",
        "" if math.isnan(of["kendall"]) else f"{of['kendall']:.2f}",
    ]  # fmt: skip


def _headline(summary: Mapping[str, Any]) -> Iterator[str]:
    head, split = summary["headline"], summary["split"]
    yield (
        f"{summary['modelled']:,} of {summary['rows']:,} rows are simulated:"
        f" {split['test_rows']:,} test, {split['launch_rows']:,} are bound by launches,"
        f" {split['fit_rows']:,} were fitted on (the last two overlap).  Means over cells of"
        " source, kind and GPU, in per cent:"
    )
    yield ""
    rows = [
        [
            name, str(of["cells"]), f"{of['rows']:,}", percent(of["mape"]), percent(of["median"]),
            percent(of["p90"]), percent(of["bias"]), percent(of["baselines"]["roofline"]["mape"]),
        ]
        for name, of in [("all", head), *head["kinds"].items()]
    ]  # fmt: skip
    heads = ("kind", "cells", "rows", "MAPE", "median", "p90", "mean abs. bias", "roofline")
    yield from markdown_table(heads, rows)


def _errors(summary: Mapping[str, Any]) -> Iterator[str]:
    yield "## Errors by kind, GPU and source"
    yield ""
    yield (
        "In per cent; τ is Kendall's rank correlation within a model, averaged over models.  The"
        " columns up to the roofline's are of test rows; then come rows bound by launches that no"
        " constant was fitted on, fitted rows, and how many rows are not simulated."
    )
    yield ""
    heads = (
        "kind", "GPU", "source", *_SCORES, "roofline", "mostly", "launch rows", "MAPE",
        "fit rows", "MAPE", "not simulated",
    )  # fmt: skip
    rows = [
        [
            line["kind"], line["gpu"], line["source"], *_cells(line["test"]),
            percent(line["baselines"]["roofline"]["mape"]), line["dominant"],
            f"{line['launch']['rows']:,}", percent(line["launch"]["mape"]),
            f"{line['fit']['rows']:,}", percent(line["fit"]["mape"]),
            f"{line['not_modelled']:,}",
        ]
        for line in summary["table"]
    ]  # fmt: skip
    yield from markdown_table(heads, rows, 3)


def _published(summary: Mapping[str, Any]) -> Iterator[str]:
    lines = [line for line in summary["table"] if line["published"]["by"]]
    if not lines:
        return
    yield "## Beside published predictors, on their own data"
    yield ""
    heads = ("kind", "GPU", "predictor", "its error", "rows", "MAPE", "bias")
    rows = [
        [
            line["kind"], line["gpu"], line["published"]["by"],
            percent(line["published"]["mape"]), f"{line['test']['rows']:,}",
            percent(line["test"]["mape"]), percent(line["test"]["bias"], "+"),
        ]
        for line in lines
    ]  # fmt: skip
    yield from markdown_table(heads, rows, 3)


def _models(summary: Mapping[str, Any]) -> Iterator[str]:
    yield "## Errors by model"
    yield ""
    heads = ("kind", "model", "GPUs", *_SCORES, "roofline")
    rows = [
        [
            line["kind"], line["model"], ", ".join(line["gpus"]), *_cells(line["test"]),
            percent(line["baselines"]["roofline"]["mape"]),
        ]
        for line in summary["models"]
    ]  # fmt: skip
    yield from markdown_table(heads, rows, 3)


def _worst(summary: Mapping[str, Any]) -> Iterator[str]:
    yield "## Rows furthest off"
    yield ""
    heads = (
        "row", "source", "GPU", "model", "kind", "run as", "mostly", "measured ms",
        "simulated ms", "error %",
    )  # fmt: skip
    rows = [
        [
            str(row["row"]), row["source"], f"{row['n_devices']} × {row['gpu']}", row["model"],
            row["kind"], _run_as(row),
            row["dominant"], f"{row['measured_ms']:.4g}", f"{row['simulated_ms']:.4g}",
            percent(row["error"], "+"),
        ]
        for row in summary["worst"]
    ]  # fmt: skip
    yield from markdown_table(heads, rows, 7)


def _run_as(row: Mapping[str, Any]) -> str:
    sizes = f"batch {row['batch']}, {row['seq_in']}/{row['seq_out']}"
    return f"{sizes}, {row['dtype']}, {row['impl']}"


def _left(summary: Mapping[str, Any]) -> Iterator[str]:
    left = summary["not_modelled"]
    if not left["count"]:
        return
    yield "## Not simulated"
    yield ""
    for reason, count in left["reasons"].items():
        yield f"- {count:,}: {reason}"


def _split(summary: Mapping[str, Any]) -> Iterator[str]:
    yield "## Fit and test rows"
    yield ""
    yield f"The rule: {summary['split']['rule']}."
    yield ""
    rows = [
        [name, f"{1e6 * one.host_s:.0f}", one.rationale, ", ".join(one.fitted_on)]
        for name, one in LAUNCH.items()
        if one.host_s is not None
    ]
    yield from markdown_table(("launches", "µs per call", "fitted on", "sources"), rows, 1)
