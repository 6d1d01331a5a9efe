"""`accelsim calibrate`: what it writes is what the rows say, what it refuses, what it ships."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import yaml

from accelsim.cost.gpu import Generation
from accelsim.measure import shipped
from accelsim.measure.compare.calibrations import read_calibrations
from accelsim.measure.compare.table import read_measured
from accelsim.measure.split import split
from accelsim.report import calibration as report
from tests.cli.conftest import Command
from tests.measure import made
from tests.measure.compare.standin import BASE
from tests.measure.made import GPU, KNOWN, LAB


def written(frame: pd.DataFrame, file: Path) -> Path:
    frame.to_csv(file, index=False)
    return file


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a table that a GPU of known scalars would have made."""
    folder = tmp_path_factory.mktemp("lab")
    return written(made.measured(made.products(), folder), folder / "lab.csv")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of the test: calibrations go under it unless told."""
    monkeypatch.chdir(tmp_path)


def test_the_file_holds_scalars_split_error_date_and_source(
    accelsim: Command, measured: Path, tmp_path: Path
) -> None:
    """The scalars are those that made the rows; the table counts fitted and tested rows apart."""
    found = accelsim("calibrate", "--data", measured, "--gpu", GPU, "-o", "here")
    file = tmp_path / "here" / "calibration_a40_lab.yaml"
    assert found.status == 0
    assert "here/calibration_a40_lab.yaml" in found.out
    told = shipped.read(file)
    for name, value in KNOWN.tensor.model_dump().items():
        wanted = value if isinstance(value, str) else pytest.approx(value, rel=0.01, abs=1e-12)
        assert getattr(told.tensor, name) == wanted, name
    assert (told.gpu, told.campaign) == (GPU, LAB)
    assert told.fitted_on == {"tensor": "A40, lab: fp16 gemm"}
    rows = read_measured(measured)
    fitted, rule = split(rows)
    assert told.split == rule
    assert told.error == "MAPE on rows not fitted: fp16 gemm 0.0%"
    head = file.read_text(encoding="utf-8").splitlines()[1]
    assert head.startswith(f"# {date.today().isoformat()}, accelsim ")
    assert head.endswith("accelsim calibrate --data lab.csv --gpu A40")
    (line,) = (line for line in found.out.splitlines() if line.lstrip().startswith("gemm"))
    assert f" {fitted.sum()} " in line
    assert f" {(~fitted).sum()} " in line
    assert max(map(len, found.out.splitlines()[:5])) <= 100


def test_json_says_files_scalars_and_errors(accelsim: Command, measured: Path) -> None:
    """The default folder is that of reports."""
    found = accelsim("calibrate", "--data", measured, "--gpu", GPU, "--source", LAB, "--json").data
    assert set(found) == {"files", "fits"}
    (one,) = found["fits"]
    assert one["calibration"]["tensor"]["camping"] == pytest.approx(KNOWN.tensor.camping, rel=0.01)
    (error,) = one["errors"]
    assert (error["op"], error["dtype"], error["gpu"]) == ("gemm", "fp16", GPU)
    assert error["fit_rows"] + error["test_rows"] == len(read_measured(measured))
    assert [Path(file) for file in found["files"]] == [
        Path("reports/calibration/calibration_a40_lab.yaml")
    ]
    assert Path(found["files"][0]).is_file()


def test_test_rows_set_no_scalar(accelsim: Command, measured: Path) -> None:
    """Were they three times as slow, only the error would change."""
    rows = read_measured(measured)
    fitted, _ = split(rows)
    slow = rows.assign(latency_us=rows["latency_us"] * np.where(fitted, 1.0, 3.0))
    written(slow, Path("lab.csv"))
    files = [
        accelsim("calibrate", "--data", data, "--gpu", GPU, "-o", folder, "--json").data["files"]
        for data, folder in ((measured, "a"), ("lab.csv", "b"))
    ]
    true, bent = (yaml.safe_load(Path(file).read_text()) for (file,) in files)
    assert true.pop("error").endswith("gemm 0.0%")
    assert bent.pop("error").endswith("gemm 66.7%")
    assert true == bent


def test_each_campaign_on_the_board_is_fitted(accelsim: Command, measured: Path) -> None:
    """Unless one is named."""
    rows = read_measured(measured)
    both = pd.concat([rows, rows.assign(source="plant", latency_us=rows["latency_us"] * 1.1)])
    data = written(both, Path("both.csv"))
    found = accelsim("calibrate", "--data", data, "--gpu", GPU, "--json").data
    assert [Path(file).name for file in found["files"]] == [
        "calibration_a40_lab.yaml", "calibration_a40_plant.yaml",
    ]  # fmt: skip
    one = accelsim("calibrate", "--data", data, "--gpu", GPU, "--source", "plant", "--json").data
    assert one["fits"] == found["fits"][1:]
    head = Path(one["files"][0]).read_text().splitlines()[1]
    assert head.endswith("--gpu A40 --source plant")


@pytest.mark.parametrize(
    ("change", "arguments", "texts"),
    [
        ({}, (), ["either a board (--gpu) or --shipped"]),
        ({}, ("--gpu", GPU, "--shipped"), ["either a board (--gpu) or --shipped"]),
        ({}, ("--gpu", "T4"), ["rows.csv", "has no rows of T4", "boards: A40"]),
        ({"gpu": "A41"}, ("--gpu", "A41"), ["unknown board `A41`", "A40"]),
        ({}, ("--gpu", GPU, "--source", "plant"), ["no rows of A40 by plant", "campaigns: lab"]),
        ({"timing": None}, ("--gpu", GPU), ["rows.csv", "no column `timing`"]),
        ({"k": None}, ("--gpu", GPU), ["rows.csv", "gemm", "no column `k`"]),
        ({"latency_us": -1.0}, ("--gpu", GPU), ["rows.csv", "latency_us"]),
        ({"op": "sampler"}, ("--gpu", GPU), ["no rows of A40 by lab", "covers"]),
        ({"dtype": "posit8"}, ("--gpu", GPU), ["no rows of A40 by lab"]),
        ({"n": 4096, "k": 4096, "keep": 11}, ("--gpu", GPU), ["too few rows of A40 by lab"]),
    ],
)  # fmt: skip
def test_what_is_refused(
    accelsim: Command, measured: Path, change: dict[str, Any], arguments: tuple[str, ...],
    texts: list[str],
) -> None:  # fmt: skip
    """Status 2 and one message that says what and where; nothing is written."""
    rows = pd.read_csv(measured)
    for name, value in change.items():
        if name == "keep":
            rows = rows[:value]
        else:
            rows = rows.drop(columns=name) if value is None else rows.assign(**{name: value})
    found = accelsim("calibrate", "--data", written(rows, Path("rows.csv")), *arguments)
    assert found.status == 2
    for text in texts:
        assert text in found.err
    assert not Path("reports").exists()


def test_a_table_that_is_not_there_and_a_folder_that_is_a_file(
    accelsim: Command, measured: Path
) -> None:
    """Both are named."""
    absent = accelsim("calibrate", "--data", "absent.csv", "--gpu", GPU)
    assert absent.status == 2
    assert "absent.csv" in absent.err
    blocked = accelsim("calibrate", "--data", measured, "--gpu", GPU, "--out", measured)
    assert blocked.status == 2
    assert "cannot be written" in blocked.err


def test_validation_takes_what_calibration_writes(accelsim: Command, measured: Path) -> None:
    """The file goes into `accelsim validate measured --calibration` as it is."""
    (file,) = accelsim("calibrate", "--data", measured, "--gpu", GPU, "--json").data["files"]
    named = read_calibrations([file])[GPU, LAB]
    assert named.calibration == shipped.read(Path(file))
    assert named.split == named.calibration.split


def slice_of_all(folder: Path) -> pd.DataFrame:
    """Return a few rows of each section of a calibration, on two boards."""
    conv = [
        {
            **BASE, "op": "conv", "batch": batch, "c_in": channels, "c_out": filters, "kh": 3,
            "kw": 3, "h_in": side, "w_in": side, "stride_h": 1, "stride_w": 1, "pad_h": 1,
            "pad_w": 1, "dtype": "fp32", "latency_us": 1.0,
        }
        for batch in (1, 16)
        for channels, filters, side in (
            (64, 64, 56), (128, 128, 28), (256, 256, 14), (512, 512, 7), (64, 128, 56),
            (128, 256, 28), (32, 64, 112), (96, 96, 28), (192, 192, 14), (48, 96, 56),
        )
    ]  # fmt: skip
    products = [row for row in made.products() if row["m"] in (1, 64, 2048)]
    rows = products + [row | {"dtype": "fp32"} for row in products] + conv
    rows += made.streams("gelu", [512, 1024, 2048, 4096])
    rows += made.attention("prefill")[::3] + made.attention("decode")[::3] + made.experts()
    return pd.concat([made.measured(rows, folder, gpu=gpu) for gpu in (GPU, "T4")])


def test_all_that_is_shipped_is_made_anew(
    accelsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Campaigns, chips and generations of a library, and a page of errors; here of two boards."""
    monkeypatch.setattr(shipped, "CAMPAIGNS", ((GPU, LAB), ("T4", LAB)))
    monkeypatch.setattr(shipped, "_WIDE", frozenset({LAB}))
    home = SimpleNamespace(library_root=lambda: tmp_path / "library")
    monkeypatch.setattr(report, "library", home)
    data = written(slice_of_all(tmp_path), tmp_path / "all.csv")
    found = accelsim("calibrate", "--data", data, "--shipped", "-o", "pages")
    assert found.status == 0, found.err
    folder = tmp_path / "library" / "arch" / "components"
    assert {file.name for file in folder.iterdir()} == {
        "calibration_a40_lab.yaml", "calibration_gpu_a40.yaml", "calibration_t4_lab.yaml",
        "calibration_gpu_t4.yaml",
        *(f"gpu_calibration_{generation}.yaml" for generation in get_args(Generation)),
    }  # fmt: skip
    one = shipped.read(folder / "calibration_a40_lab.yaml")
    assert set(one.fitted_on) == {
        "tensor", "simt", "convolution", "vector", "vllm.prefill", "vllm.decode", "vllm.grouped",
    }  # fmt: skip
    ampere, ada = (shipped.read(folder / f"gpu_calibration_{g}.yaml") for g in ("ampere", "ada"))
    assert ampere.tensor.memory_efficiency == one.tensor.memory_efficiency
    assert ampere.fitted_on["tensor"] == "median of A40 (lab)"
    assert ada.fitted_on["tensor"] == "median of A40 (lab), T4 (lab)"
    page = Path("pages/gpus.md").read_text(encoding="utf-8")
    assert re.search(r"\| A40 \| lab \| gemm \| fp16 \| \d+ \| 0\.\d \|", page)
    assert re.search(r"\| T4, lab, tensor \| \d+ \| [\d.]+ \| [\d.]+ \| [+-][\d.]+ \|", page)
    assert "accelsim calibrate --data all.csv --shipped" in page
