"""Writes the accuracy report: the error of every cost model on every reference file at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from accelsim._version import __version__
from accelsim.errors import ConfigError, Location
from accelsim.measure.cases._case import summary
from accelsim.measure.validate import Validation, validate_file

__all__ = ["REFERENCES", "write_accuracy"]

REFERENCES: Final = (
    "systolic_scalesim_golden.csv",
    "workload_golden.csv",
    "pim_golden.csv",
    "measured/ops_sample.csv.gz",
)
"""Files that the report is made of, where the folder has them."""

_REASONS: Final = 12  # listed per file; the rest are counted


def write_accuracy(folder: Path, output: Path) -> list[Path]:
    """Compare with every reference file in `folder` and write one Markdown page for each.

    Parameters
    ----------
    folder : Path
        Where the reference files are.
    output : Path
        Folder of the pages; made if need be.

    Returns
    -------
    list of Path
        The pages written.

    Raises
    ------
    ConfigError
        If the folder has none of the files.
    """
    present = [folder / name for name in REFERENCES if (folder / name).is_file()]
    if not present:
        raise ConfigError(f"has none of {', '.join(REFERENCES)}", Location(str(folder)))
    pages = []
    output.mkdir(parents=True, exist_ok=True)
    for file in present:
        found = validate_file(file)
        page = output / f"{file.name.split('.')[0]}.md"
        page.write_text(_page(file, found, summary(found.cases)), encoding="utf-8")
        pages.append(page)
    return pages


def _page(file: Path, found: Validation, total: Mapping[str, Any]) -> str:
    made = (
        f"{found.format}. accelsim {__version__}, {date.today().isoformat()}; regenerate with"
        " `make validate`. Rows that a model cannot predict are counted, with the reason, never"
        " dropped; errors are of the others."
    )
    head = [f"# {file.name}", "", made, ""]
    if found.conventions:
        head += [f"Conventions: {found.conventions}", ""]
    groups = total["groups"] if len(total["groups"]) > 1 else {}
    table = _table([("all", total), *groups.items()])
    return "\n".join([*head, *table, *_reasons(total["unsupported"])]) + "\n"


def _table(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    lines = [
        "| group | rows | exact | unsupported | MAPE % | p90 % | max % |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, of in rows:
        errors = [of[f"{kind}_percent"] for kind in ("mape", "p90", "max")]
        shown = " | ".join("" if error is None else f"{error:.2f}" for error in errors)
        lines.append(
            f"| {name} | {of['rows']} | {of['exact']} | {of['unsupported']['count']} | {shown} |"
        )
    return lines


def _reasons(unsupported: Mapping[str, Any]) -> list[str]:
    reasons = list(unsupported["reasons"].items())
    if not reasons:
        return []
    lines = ["", "## Unsupported", ""]
    lines += [f"- {count}: {reason}" for reason, count in reasons[:_REASONS]]
    rest = sum(count for _, count in reasons[_REASONS:])
    return lines + ([f"- {rest}: for {len(reasons) - _REASONS} further reasons"] if rest else [])
