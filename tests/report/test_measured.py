"""The validation report: files, panels, the same bytes again, and what the page says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from accelsim.measure.compare.comparison import Comparison, compare
from accelsim.measure.compare.summary import KEYS, summary
from accelsim.report import _measured_figures as figures
from accelsim.report.measured import errors_table, write_measured
from tests.measure.compare.standin import predict, table
from tests.measure.compare.test_comparison import rows

COMMAND = "accelsim validate measured rows.csv"


@pytest.fixture
def found(tmp_path: Path) -> Comparison:
    """Return a small comparison."""
    frame = table(rows(), tmp_path)
    return compare(frame, predict(frame))


def test_all_files_are_written_and_equal_when_written_again(
    found: Comparison, tmp_path: Path
) -> None:
    """No time of day, no path and no random draw is in any."""
    told = summary(found, "rows.csv")
    first = write_measured(found, told, tmp_path / "a", COMMAND)
    second = write_measured(found, told, tmp_path / "b" / "c", COMMAND)
    assert [file.name.split(".")[0] for file in first] == [
        "report", "summary", "parity", "ratio", "errors", "errors",
    ]  # fmt: skip
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name
        assert one.stat().st_size > 500


def test_the_page_says_what_the_summary_says(found: Comparison, tmp_path: Path) -> None:
    """Command, headline, baselines, table, causes, refusals, rule."""
    told = summary(found, "rows.csv")
    page = write_measured(found, told, tmp_path, COMMAND)[0].read_text()
    head = told["headline"]
    assert f"`{COMMAND}`" in page
    assert f"| all | {head['cells']} | {head['rows']:,} | {100 * head['mape']:.1f} |" in page
    assert "floor + eff." in page
    line = next(line for line in told["table"] if line["gpu"] == "A6000")
    assert f"| gemm | A6000 | lab | fp16 | {line['test']['rows']} |" in page
    assert "- 5: no datasheet figure" in page
    assert told["split"]["rule"] in page
    assert told["worst"][0]["shape"] in page
    assert "nan" not in page
    data = json.loads((tmp_path / "summary.json").read_text())
    assert list(data) == list(KEYS)
    assert data["headline"]["mape"] == head["mape"]


def test_the_rows_hold_predictions_of_every_row(found: Comparison) -> None:
    """The table can be scored again by anyone."""
    frame = errors_table(found)
    assert len(frame) == len(found.table)
    again = frame["predicted_us"] / frame["latency_us"] - 1
    pd.testing.assert_series_equal(again, frame["error"], check_names=False)
    assert frame["not_modelled"].eq("").sum() == found.modelled.sum()
    assert "c_in" not in frame  # no convolution is there


def test_without_pyarrow_rows_are_gzipped_csv(
    found: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same columns, readable by pandas alone, and the same bytes each time."""
    told = summary(found, "rows.csv")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyarrow", None)
        file = write_measured(found, told, tmp_path / "a", COMMAND)[-1]
        again = write_measured(found, told, tmp_path / "b", COMMAND)[-1]
    assert file.name == "errors.csv.gz"
    assert list(pd.read_csv(file)) == list(errors_table(found))
    assert file.read_bytes() == again.read_bytes()


def _drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that figures are kept in as they are saved."""
    kept: list[Any] = []

    def keep(figure: Any, file: Path) -> Path:
        kept.append(figure)
        return file

    monkeypatch.setattr(figures, "_saved", keep)
    return kept


def test_a_panel_for_each_class_with_test_rows(
    found: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Titles name class, rows and error; the legend every GPU drawn."""
    kept = _drawn(monkeypatch)
    figures.parity_figure(found, tmp_path / "x.png")
    (figure,) = kept
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert [title.split(":")[0] for title in titles] == ["gemm", "softmax"]
    products = found.tested & (found.kind == "gemm")
    assert f"{products.sum():,} rows" in titles[0]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["A40", "A6000", "within 20 %"]
    assert all(panel.get_xscale() == "log" == panel.get_yscale() for panel in figure.axes)


def test_many_rows_are_drawn_as_their_density(
    found: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound a panel has hexagons and a line of medians per GPU instead of points."""
    from matplotlib.collections import PolyCollection

    monkeypatch.setattr(figures, "DENSE", 20)
    kept = _drawn(monkeypatch)
    for ratio in (False, True):
        figures.parity_figure(found, tmp_path / "x.png", ratio=ratio)
        dense, _ = kept[-1].axes
        assert any(isinstance(part, PolyCollection) for part in dense.collections)
        assert len(dense.lines) == 3  # parity, and medians of two GPUs
        assert "density" in kept[-1].legends[0].get_texts()[-1].get_text()


def test_no_test_row_no_figure(found: Comparison, tmp_path: Path) -> None:
    """The page is written all the same."""
    frame = found.table[found.fitted].reset_index(drop=True)
    fit = compare(frame, predict(frame))
    files = write_measured(fit, summary(fit, "rows.csv"), tmp_path / "a", COMMAND)
    assert [file.suffix for file in files if file.suffix == ".png"] == []
    assert "![" not in files[0].read_text()
