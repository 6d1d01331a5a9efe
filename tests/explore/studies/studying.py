"""Studies written by tests: from YAML text to rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelsim.explore.studies import load_study, study_rows

__all__ = ["rows_of_text"]


def rows_of_text(folder: Path, text: str) -> list[dict[Any, Any]]:
    """Return the rows of a study that stands in `text`."""
    file = folder / "study.yaml"
    file.write_text(text, encoding="utf-8")
    return study_rows(load_study(file)).to_dict("records")
