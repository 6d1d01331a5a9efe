"""The report of whole models: files, the same bytes again, and what the page says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from accelsim.measure.endtoend import KEYS, Row, compare, summary
from accelsim.report.endtoend import write_endtoend

COMMAND = "accelsim validate endtoend e2e.csv"


def rows() -> list[Row]:
    """Return rows of two kinds on two GPUs, one of which nothing can simulate."""
    common = {"n_devices": 1, "seq_in": 128, "seq_out": 0, "dtype": "fp32", "impl": "hf-eager",
              "metric": "latency_ms", "source": "neusight", "notes": ""}  # fmt: skip
    asked = [
        ("A100-PCIe-40GB", "bert_large", "inference", 8, 60.0),
        ("A100-PCIe-40GB", "bert_large", "inference", 16, 110.0),
        ("V100-PCIe-32GB", "bert_large", "training", 8, 300.0),
        ("V100-PCIe-32GB", "gpt9", "training", 8, 300.0),
    ]
    return [
        Row(number=i, gpu=gpu, model=model, phase=phase, batch=batch, value=value, **common)  # type: ignore[arg-type]
        for i, (gpu, model, phase, batch, value) in enumerate(asked)
    ]


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    """Return a small comparison."""
    return compare(rows())


def test_all_files_are_written_and_equal_when_written_again(
    found: pd.DataFrame, tmp_path: Path
) -> None:
    """No time of day, no path and no random draw is in any."""
    told = summary(found, "e2e.csv")
    first = write_endtoend(found, told, tmp_path / "a", COMMAND)
    second = write_endtoend(found, told, tmp_path / "b" / "c", COMMAND)
    names = ["report.md", "summary.json", "parity.png", "errors.png"]
    assert [file.name for file in first][:4] == names
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name
        assert one.stat().st_size > 500


def test_the_page_says_what_the_summary_says(found: pd.DataFrame, tmp_path: Path) -> None:
    """Command, means, errors beside the roofline and the published predictor, reasons, rule."""
    told = summary(found, "e2e.csv")
    page = write_endtoend(found, told, tmp_path, COMMAND)[0].read_text()
    head, line = told["headline"], told["table"][0]
    assert f"`{COMMAND}`" in page
    assert f"| all | {head['cells']} | {head['rows']:,} | {100 * head['mape']:.1f} |" in page
    assert (line["kind"], line["gpu"], line["test"]["rows"]) == ("inference", "A100-PCIe-40GB", 2)
    roofline = 100 * line["baselines"]["roofline"]["mape"]
    mape = 100 * line["test"]["mape"]
    assert f"| inference | A100-PCIe-40GB | neusight | 2 | {mape:.1f} |" in page
    assert f"| {roofline:.1f} | {line['dominant']} | 0 |" in page
    assert f"| inference | A100-PCIe-40GB | NeuSight | 6.5 | 2 | {mape:.1f} |" in page
    assert "- 1: neusight: the library has no model `gpt9` of NeuSight" in page
    assert told["split"]["rule"] in page
    assert "nan" not in page
    data = json.loads((tmp_path / "summary.json").read_text())
    assert list(data) == list(KEYS)
    assert data["headline"]["mape"] == head["mape"]


def test_rows_can_be_scored_again_without_pyarrow(
    found: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured and simulated times of every row, or the reason."""
    told, found = summary(found), found.astype(object)  # as pandas holds texts without pyarrow
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyarrow", None)
        *_, file = write_endtoend(found, told, tmp_path, COMMAND)
    assert file.name == "errors.csv.gz"
    again = pd.read_csv(file)
    done = again[again["simulated_ms"].notna()]
    assert len(again) == 4
    assert len(done) == 3
    expected = (done["simulated_ms"] / done["measured_ms"] - 1).tolist()
    assert done["error"].tolist() == pytest.approx(expected)


def test_nothing_to_draw_is_no_figure(tmp_path: Path) -> None:
    """Rows that all lack a simulation still make a page."""
    frame = compare(rows()[3:])
    files = write_endtoend(frame, summary(frame), tmp_path, COMMAND)
    assert [file.suffix for file in files][:2] == [".md", ".json"]
    assert not any(file.suffix == ".png" for file in files)
