"""A small library in a folder of its own, and sweeps over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accelsim.explore import SweepSpec

MakeSweep = Callable[..., SweepSpec]


def write_library(folder: Path) -> None:
    """Write two models, two architectures and two mappings; models and mappings are empty."""
    for kind, names in {
        "models": ("tiny-gpt", "tiny-mamba"),
        "arch": ("small-gpu", "small-pim"),
        "mapping": ("on-gpu", "on-pim"),
    }.items():
        (folder / kind).mkdir()
        for name in names:
            base = 'extends: "null"\n' if kind == "arch" else ""
            (folder / kind / f"{name}.yaml").write_text(
                f"{base}name: {name}\ndescription: the first\n", encoding="utf-8"
            )


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with its own models, arch and mapping."""
    write_library(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(**changes: Any) -> SweepSpec:
    """Return a sweep of 24 points; `space` is laid over its axes, other fields replace."""
    space = {
        "model": ["tiny-gpt", "tiny-mamba"],
        "arch": "small-gpu",
        "mapping": "on-gpu",
        "phase": ["prefill", "decode"],
        "batch": [1, 2, 4],
        "seq_len": [128, 256],
    }
    fields = {
        "name": "test",
        "description": "A test.",
        "objectives": {"latency_s": "min", "energy_j": "min"},
        **changes,
        "space": {**space, **changes.get("space", {})},
    }
    return SweepSpec.model_validate(fields)


@pytest.fixture
def make_sweep(library: Path) -> MakeSweep:
    """The function `sweep`, in a folder where its names exist."""
    return sweep
