"""Written calibrations: one file for each fit, a page of errors for those that are shipped."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from accelsim._version import __version__
from accelsim.cost.gpu import Calibration
from accelsim.measure import shipped
from accelsim.measure.calibrate import Fit
from accelsim.measure.fit import Score
from accelsim.report import calibration as report
from accelsim.report.calibration import write_calibrations
from tests.cost.gpu_boards import PLAIN
from tests.measure import made
from tests.measure.compare.standin import gemm

COMMAND = "accelsim calibrate --data rows.csv --gpu A40"
GOOD, BAD = Score(1234, 0.0512, 0.1, 0.004), Score(56, 0.125, 0.3, -0.034)
SECTIONS = ("tensor", "simt", "convolution", "vector",
            *(f"sglang.{part}" for part in ("prefill", "decode", "grouped")))  # fmt: skip


def fit(gpu: str) -> Fit:
    """Return a fit with errors of two operators, of which one has no test rows."""
    known = Calibration.model_validate(
        PLAIN.model_dump()
        | {"gpu": gpu, "campaign": "lab", "split": "every third family tests", "error": "none",
           "fitted_on": dict.fromkeys(SECTIONS, f"{gpu}, lab")}
    )  # fmt: skip
    scores = {("gemm", "fp16", ""): {"fit": GOOD, "test": BAD},
              ("moe", "bf16", "vllm"): {"fit": GOOD}}  # fmt: skip
    return Fit(known, scores)


def test_a_users_calibrations_go_to_the_folder(tmp_path: Path) -> None:
    """One file each with date, version and command in its head; no page, nothing else."""
    folder = tmp_path / "a" / "b"
    files = write_calibrations([fit("A40"), fit("T4")], None, folder, COMMAND)
    assert [file.name for file in files] == ["calibration_a40_lab.yaml", "calibration_t4_lab.yaml"]
    assert sorted(folder.iterdir()) == files
    for file, gpu in zip(files, ("A40", "T4"), strict=True):
        assert shipped.read(file).gpu == gpu
        head = file.read_text(encoding="utf-8").splitlines()[1]
        assert head == f"# {date.today().isoformat()}, accelsim {__version__}: {COMMAND}"


def test_shipped_calibrations_come_with_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of both sides, how the split was made, and of GPUs that others' medians predict."""
    home = SimpleNamespace(library_root=lambda: tmp_path)
    monkeypatch.setattr(report, "library", home)
    monkeypatch.setattr(shipped, "_WIDE", frozenset({"lab"}))
    frame = made.measured([gemm(m, 4096, 4096) for m in (1, 64, 4096)], tmp_path, PLAIN)
    files = write_calibrations([fit("A40"), fit("T4")], frame, tmp_path / "pages", COMMAND)
    page = files[-1]
    assert page == tmp_path / "pages" / "gpus.md"
    components = tmp_path / "arch" / "components"
    assert {file.parent for file in files[:-1]} == {components}
    assert sorted(components.iterdir()) == sorted(files[:-1])
    text = page.read_text(encoding="utf-8")
    assert "which is which: every third family tests" in text
    assert f"{date.today().isoformat()}, accelsim {__version__}: {COMMAND}" in text
    lines = text.splitlines()
    row = "| gemm | fp16 | 1,234 | 5.1 | 10.0 | 56 | 12.5 | 30.0 | -3.4 |"
    assert f"| A40 | lab {row}" in lines
    assert "| T4 | lab | moe vllm | bf16 | 1,234 | 5.1 | 10.0 |  |  |  |  |" in lines
    (moved,) = (line for line in lines if line.startswith("| A40, lab, tensor | 3 |"))
    assert not any(line.startswith("| T4, lab, tensor") for line in lines)
    assert len(moved.split("|")) == 7
    for line in lines:
        if line.startswith("| A40 | lab"):
            assert line.count("|") == 12
