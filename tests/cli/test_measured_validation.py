"""`accelsim validate measured`: JSON and text, the report's folder, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from accelsim.measure.compare.summary import KEYS
from tests.cli.conftest import Command
from tests.measure.compare import standin
from tests.measure.compare.test_comparison import calibration_file, rows
from tests.reference import reference_file


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-in where the kernel model's predictor is."""
    module = ModuleType("accelsim.measure.predict")
    module.predict = standin.predict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "accelsim.measure.predict", module)


@pytest.fixture
def rows_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a table in a folder that is the working folder."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "lab_rows.csv"
    pd.DataFrame(rows()).to_csv(file, index=False)
    return file


@pytest.mark.usefixtures("predictor")
def test_json_has_the_keys_of_the_summary_file(accelsim: Command, rows_file: Path) -> None:
    """And names the files, which lie in a folder of the table's name."""
    found = accelsim("validate", "measured", rows_file, "--json").data
    assert set(found) == {*KEYS, "files"}
    assert found["rows"] == len(rows())
    folder = Path("reports/validation/lab_rows")
    assert {file.name for file in folder.iterdir()} == {Path(file).name for file in found["files"]}
    assert "`accelsim validate measured lab_rows.csv`" in (folder / "report.md").read_text()


@pytest.mark.usefixtures("predictor")
def test_text_has_errors_beside_baselines(accelsim: Command, rows_file: Path) -> None:
    """One line per GPU and source, none wider than a page."""
    file = calibration_file(rows_file.parent)
    out = accelsim("validate", "measured", rows_file, "-c", file, "-o", "here").out
    assert Path("here/report.md").is_file()
    for word in (
        "roofline",
        "floor+eff",
        "A6000",
        "softmax",
        "mean over cells",
        "not modelled, 5",
    ):
        assert word in out
    assert max(map(len, out.splitlines()[2:])) <= 100
    assert "--calibration A40.yaml" in Path("here/report.md").read_text()
    assert "may have been fitted on rows that test here" in Path("here/report.md").read_text()


@pytest.mark.usefixtures("predictor")
def test_what_is_refused(accelsim: Command, rows_file: Path) -> None:
    """A missing column, an unknown GPU, a folder that is a file: status 2, one message."""
    bad = rows_file.with_name("bad.csv")
    bad.write_text("source,gpu\nlab,A40\n")
    assert "no column `dtype`" in accelsim("validate", "measured", bad).err
    pd.DataFrame(rows()).assign(gpu="mystery").to_csv(bad, index=False)
    unknown = accelsim("validate", "measured", bad)
    assert unknown.status == 2
    assert "unknown board `mystery`" in unknown.err
    blocked = accelsim("validate", "measured", rows_file, "--out", rows_file)
    assert blocked.status == 2
    assert "cannot be written" in blocked.err


@pytest.mark.validate
def test_the_kernel_model_on_the_reference_sample(accelsim: Command, tmp_path: Path) -> None:
    """It beats the datasheet roofline on the mean over cells, and most rows are modelled."""
    pytest.importorskip("accelsim.measure.predict", reason="the kernel model's predictor")
    file = reference_file("measured/ops_sample.csv.gz")
    found = accelsim("validate", "measured", file, "--out", tmp_path, "--json").data
    assert found["modelled"] > 0.5 * found["rows"]
    roofline = found["headline"]["baselines"]["roofline"]
    assert roofline["accelsim_mape"] < roofline["mape"]
