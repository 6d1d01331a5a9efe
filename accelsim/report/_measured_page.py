"""Writes the page of a validation report: what the summary of a comparison says, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

from accelsim._version import __version__
from accelsim.measure.compare.baselines import BASELINES
from accelsim.measure.compare.classes import CLASSES, COMPUTE, LAUNCH, LINK, MEMORY, UNKNOWN

__all__ = ["markdown_table", "percent", "report_page"]

_STRATA: Final[Mapping[str, str]] = {
    LAUNCH: "launch-bound", MEMORY: "memory-bound", COMPUTE: "compute-bound",
    LINK: "link-bound", UNKNOWN: "no datasheet figure",
}  # fmt: skip
_BESIDE: Final = {
    "roofline": "roofline",
    "scaled_roofline": "× scalar",
    "floor_efficiency": "floor + eff.",
}
_SCORES: Final = ("MAPE", "median", "p90", "bias", "≤ 20 %", "τ")


def report_page(summary: Mapping[str, Any], command: str, figures: Sequence[str] = ()) -> str:
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
    lines = [f"# {summary['file']}: simulated against measured", ""]
    lines.append(
        f"accelsim {__version__}, {date.today().isoformat()}; regenerate with `{command}`."
        " docs/validation.md says what each figure means."
    )
    parts = (
        _headline, _figures(figures), _errors, _operators, _strata, _apart, _causes, _worst,
        _not_modelled, _split,
    )  # fmt: skip
    for part in parts:
        lines += ["", *part(summary)]
    return "\n".join(lines).rstrip() + "\n"


def markdown_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1
) -> Iterator[str]:
    """Write a table whose first `texts` columns are text, the others figures."""
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---' if i < texts else '---:' for i in range(len(heads)))} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def percent(value: float, sign: str = "") -> str:
    """Return a share in per cent, to a tenth; empty for NaN."""
    return "" if math.isnan(value) else f"{100 * value:{sign}.1f}"


def _score(of: Mapping[str, Any]) -> list[str]:
    """Return the cells of `_SCORES`, errors in per cent."""
    return [
        percent(of["mape"]), percent(of["median"]), percent(of["p90"]),
        percent(of["bias"], "+"), "" if not of["rows"] else f"{100 * of['within_20']:.0f}",
        "" if math.isnan(of["kendall"]) else f"{of['kendall']:.2f}",
    ]  # fmt: skip


def _beside(baselines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [percent(baselines[name]["mape"]) for name in BASELINES]


def _headline(summary: Mapping[str, Any]) -> Iterator[str]:
    head = summary["headline"]
    yield "## Headline"
    yield ""
    yield (
        f"{summary['modelled']:,} of {summary['rows']:,} rows are modelled; the headline counts"
        f" {head['rows']:,} test rows, none of which a calibration or baseline may be fitted on."
        f" It is the mean over {head['cells']} cells of GPU and operator class of a cell's error,"
        " in per cent."
    )
    yield ""
    yield from markdown_table(
        ("test rows", "cells", "rows", "MAPE", "median", "p90", "mean abs. bias", "≤ 20 %", "τ"),
        [
            _macro_cells(name, of)
            for name, of in [
                ("all", head),
                *((_STRATA[key], of) for key, of in head["strata"].items()),
            ]
        ],
    )
    if not math.isnan(head["fit_mape"]):
        yield f"On the fit rows the mean of the MAPE is {percent(head['fit_mape'])} %."
        yield ""
    yield "Each baseline beside accelsim on the rows that the baseline has, MAPE in per cent:"
    yield ""
    rows = []
    for stratum, of in [("all", head), *head["strata"].items()]:
        for name in BASELINES:
            theirs = of["baselines"][name]
            if theirs["rows"]:
                rows.append([
                    _STRATA.get(stratum, stratum), _BESIDE[name], str(theirs["cells"]),
                    f"{theirs['rows']:,}", percent(theirs["mape"]),
                    percent(theirs["accelsim_mape"]),
                ])  # fmt: skip
    yield from markdown_table(
        ("test rows", "baseline", "cells", "rows", "its MAPE", "accelsim"), rows, 2
    )
    for name, meaning in BASELINES.items():
        yield f"- {_BESIDE[name]}: {meaning}"


def _macro_cells(name: str, of: Mapping[str, Any]) -> list[str]:
    return [
        name, str(of["cells"]), f"{of['rows']:,}", percent(of["mape"]), percent(of["median"]),
        percent(of["p90"]), percent(of["bias"]),
        "" if math.isnan(of["within_20"]) else f"{100 * of['within_20']:.0f}",
        "" if math.isnan(of["kendall"]) else f"{of['kendall']:.2f}",
    ]  # fmt: skip


def _figures(names: Sequence[str]) -> Any:
    def part(summary: Mapping[str, Any]) -> Iterator[str]:
        for name in names:
            yield f"![{name.removesuffix('.png')}]({name})"
            yield ""

    return part


def _errors(summary: Mapping[str, Any]) -> Iterator[str]:
    yield "## Errors by operator class, GPU, source and format"
    yield ""
    yield (
        "In per cent, without the rows kept apart; τ is Kendall's rank correlation. The columns"
        " up to it are of test rows, then come the fit rows, then the baselines on the test rows,"
        " and how many rows of either kind are not modelled."
    )
    yield ""
    heads = (
        "class", "GPU", "source", "format", "test rows", *_SCORES, "fit rows", "fit MAPE",
        *(_BESIDE[name] for name in BASELINES), "not modelled",
    )  # fmt: skip
    rows = [
        [
            line["class"], line["gpu"], line["source"], line["dtype"],
            f"{line['test']['rows']:,}", *_score(line["test"]), f"{line['fit']['rows']:,}",
            percent(line["fit"]["mape"]), *_beside(line["baselines"]),
            f"{line['not_modelled']:,}",
        ]
        for line in summary["table"]
        if line["test"]["rows"] or line["fit"]["rows"]
    ]  # fmt: skip
    yield from markdown_table(heads, rows, 4)


def _operators(summary: Mapping[str, Any]) -> Iterator[str]:
    several = {kind for kind in CLASSES.values() if list(CLASSES.values()).count(kind) > 1}
    chosen = [
        line for line in summary["operators"]
        if CLASSES.get(line["op"]) in several and (line["test"]["rows"] or line["fit"]["rows"])
    ]  # fmt: skip
    if not chosen:
        return
    yield "## Errors by operator, in classes of several"
    yield ""
    heads = (
        "operator", "GPU", "source", "test rows", *_SCORES, "fit rows", "fit MAPE",
        *(_BESIDE[name] for name in BASELINES),
    )  # fmt: skip
    rows = [
        [
            line["op"], line["gpu"], line["source"], f"{line['test']['rows']:,}",
            *_score(line["test"]), f"{line['fit']['rows']:,}", percent(line["fit"]["mape"]),
            *_beside(line["baselines"]),
        ]
        for line in chosen
    ]  # fmt: skip
    yield from markdown_table(heads, rows, 3)


def _strata(summary: Mapping[str, Any]) -> Iterator[str]:
    yield "## What bounds the test rows"
    yield ""
    yield (
        "Rows below twice the smallest latency of their source, clock, operator and GPU are"
        " launch-bound; of the others the larger datasheet time decides."
    )
    yield ""
    heads = (
        "class", "GPU", "source", "bound by", "rows", *_SCORES,
        *(_BESIDE[name] for name in BASELINES),
    )  # fmt: skip
    rows = [
        [
            line["class"], line["gpu"], line["source"], line["stratum"],
            f"{line['test']['rows']:,}", *_score(line["test"]), *_beside(line["baselines"]),
        ]
        for line in summary["strata"]
    ]  # fmt: skip
    yield from markdown_table(heads, rows, 4)


def _apart(summary: Mapping[str, Any]) -> Iterator[str]:
    if not summary["apart"]:
        return
    yield "## Rows kept apart"
    yield ""
    yield "Flagged in the table: faster than memory, or fewer operations than counted."
    yield ""
    heads = ("flag", "class", "GPU", "source", "rows", "modelled", *_SCORES)
    rows = [
        [
            line["flag"], line["class"], line["gpu"], line["source"], f"{line['rows']:,}",
            f"{line['score']['rows']:,}", *_score(line["score"]),
        ]
        for line in summary["apart"]
    ]  # fmt: skip
    yield from markdown_table(heads, rows, 4)


def _causes(summary: Mapping[str, Any]) -> Iterator[str]:
    yield "## Likely causes"
    yield ""
    heads = ("cause", "meaning", "rows", "more than 20 % off", "MAPE")
    rows = [
        [name, of["meaning"], f"{of['rows']:,}", f"{of['far_rows']:,}", percent(of["mape"])]
        for name, of in summary["causes"].items()
    ]
    yield from markdown_table(heads, rows, 2)


def _worst(summary: Mapping[str, Any]) -> Iterator[str]:
    yield "## Rows furthest off"
    yield ""
    heads = (
        "row", "shape", "GPU", "source", "format", "kernel", "cause", "why", "measured µs",
        "predicted µs", "error %",
    )  # fmt: skip
    rows = [
        [
            str(worst["row"]), worst["shape"], worst["gpu"], worst["source"], worst["dtype"],
            worst["choice"], worst["cause"], worst["why"], f"{worst['measured_us']:.4g}",
            f"{worst['predicted_us']:.4g}", percent(worst["error"], "+"),
        ]
        for worst in summary["worst"]
    ]  # fmt: skip
    yield from markdown_table(heads, rows, 8)


def _not_modelled(summary: Mapping[str, Any]) -> Iterator[str]:
    refused = summary["not_modelled"]
    if not refused["count"]:
        return
    yield "## Not modelled"
    yield ""
    for reason, count in refused["reasons"].items():
        yield f"- {count:,}: {reason}"
    yield ""


def _split(summary: Mapping[str, Any]) -> Iterator[str]:
    split = summary["split"]
    yield "## Fit and test rows"
    yield ""
    yield (
        f"{split['fit_rows']:,} rows may be fitted on, {split['test_rows']:,} test."
        f" The rule: {split['rule']}."
    )
    if not summary["calibrations"]:
        yield ""
        yield "No calibration was named: the scalars are those of the shipped component files."
    for one in summary["calibrations"]:
        yield ""
        yield (
            f"`{one['file']}` for {one['gpu']} and {one['source']}, {one['rows']:,} rows:"
            f" {one['split']}."
        )
        if not set(one["split"].split("; ")) <= set(split["rule"].split("; ")):
            yield "That is not the rule above: it may have been fitted on rows that test here."
