"""Writes calibrations of the GPU kernel model and a page with the error of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelsim._version import __version__
from accelsim.config import library
from accelsim.measure.calibrate import Fit
from accelsim.measure.fit import Score
from accelsim.measure.shipped import completed, file_of, record, transfers, write, write_typical

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["write_calibrations"]

_PAGE: Final = "gpus.md"

_HEAD: Final = """# Calibrations of the GPU kernel model

Generated: {comment}.

Errors are means of |predicted / measured - 1|. *Fitted* rows set the scalars, *tested* rows did
not; which is which: {rule}.
"""

_TRANSFERS: Final = """
## Products of a GPU without measurements of its own

Each GPU's products as the medians of other GPUs predict them: of its generation where others were
measured, else of all. No row of the GPU set a scalar but those of its campaign's clock.
"""


def write_calibrations(
    fits: Sequence[Fit], shipped: pd.DataFrame | None, folder: Path, command: str
) -> list[Path]:
    """Write one YAML per fit, and a page of their errors.

    Parameters
    ----------
    fits : sequence of Fit
        What was fitted.
    shipped : pandas.DataFrame or None
        Rewrite the library's own component files too; the measured rows on which the medians of
        other GPUs are tried.
    folder : Path
        Where the page goes, and the calibrations unless they are the library's own.
    command : str
        What makes them again.

    Returns
    -------
    list of Path
        The files written.
    """
    comment = f"{date.today().isoformat()}, accelsim {__version__}: {command}"
    known = [fit.calibration for fit in fits]
    home = library.library_root() / "arch" / "components" if shipped is not None else folder
    files = [home / file_of(c.gpu, c.campaign) for c in known]
    for path, c in zip(files, known, strict=True):
        write(path, c if shipped is None else completed(c, known), comment)
    if shipped is None:
        return files
    files += write_typical(home, known, comment)
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / _PAGE
    page.write_text(_page(fits, transfers(shipped, known), comment), encoding="utf-8")
    return [*files, page]


def _page(fits: Sequence[Fit], moved: Mapping[str, Score], comment: str) -> str:
    heads = "| GPU | campaign | operator | format | fitted rows | MAPE % | p90"
    lines = [
        _HEAD.format(comment=comment, rule=fits[0].calibration.split),
        heads + " | tested rows | MAPE % | p90 | bias |",
        "| --- | --- | --- | --- " + "| ---: " * 7 + "|",
    ]
    lines += [_line(row) for row in record(fits)]
    lines += [_TRANSFERS, "| GPU, campaign, section | rows | MAPE % | p90 | bias |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    lines += [
        f"| {name} | {one.rows:,} | {100 * one.mape:.1f} | {100 * one.p90:.1f} |"
        f" {100 * one.bias:+.1f} |"
        for name, one in moved.items()
    ]
    return "\n".join(lines) + "\n"


def _line(row: Mapping[str, Any]) -> str:
    """Return a row of the table; a side without rows is empty."""
    cells = [row["gpu"], row["campaign"], f"{row['op']} {row['variant']}".strip(), row["dtype"]]
    for side in ("fit", "test"):
        if f"{side}_rows" in row:
            cells += [f"{row[f'{side}_rows']:,}", f"{100 * row[f'{side}_mape']:.1f}",
                      f"{100 * row[f'{side}_p90']:.1f}"]  # fmt: skip
        else:
            cells += ["", "", ""]
    cells.append(f"{100 * row['test_bias']:+.1f}" if "test_bias" in row else "")
    return "| " + " | ".join(cells) + " |"
