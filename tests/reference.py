"""Finds reference data that validates accelsim but is not part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def reference_file(name: str) -> Path:
    """Return the path of a reference file, or skip the calling test saying where it was sought."""
    given = os.environ.get("ACCELSIM_REFERENCE_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    path = folder / name
    if not path.is_file():
        pytest.skip(f"reference data {name} not found in {folder} (ACCELSIM_REFERENCE_DATA)")
    return path
