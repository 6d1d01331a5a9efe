"""Small trees in the layout of public data sets; every figure in them is invented."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

Writer = Callable[[str, Sequence[Sequence[Any]]], Path]


@pytest.fixture
def csv(tmp_path: Path) -> Writer:
    """Write rows of cells to a file below the temporary folder."""

    def write(name: str, rows: Sequence[Sequence[Any]]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def js(tmp_path: Path) -> Callable[[str, Mapping[str, Any]], Path]:
    """Write a mapping as JSON below the temporary folder."""

    def write(name: str, data: Mapping[str, Any]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data))
        return path

    return write
