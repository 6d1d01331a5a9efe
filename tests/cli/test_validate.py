"""`accelsim validate cases`: the error of every row, and over all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.reference import reference_file

HEAD = "array_rows,array_cols,dataflow,M,N,K,total_cycles\n"
FIGURES = {"rows", "exact", "mape_percent", "p90_percent", "max_percent", "unsupported"}


@pytest.fixture
def cases_file(tmp_path: Path) -> Path:
    """Return two rows that are right, one that is 50 % off, and one of an unknown dataflow."""
    file = tmp_path / "cases.csv"
    rows = "8,8,os,1,1,1,14\n8,8,os,4,5,3,16\n8,8,ws,1,1,1,1\n8,8,rs,1,1,1,5\n"
    file.write_text(f"# a remark\n{HEAD}{rows}", encoding="utf-8")
    return file


def test_json_has_the_figures_over_all_and_by_group(accelsim: Command, cases_file: Path) -> None:
    """Rows that are not modelled are counted with the reason, never dropped."""
    found = accelsim("validate", "cases", cases_file, "--json").data
    assert set(found) >= FIGURES
    assert set(found["groups"]) == {"os", "ws", "rs"}
    assert all(set(group) == FIGURES for group in found["groups"].values())
    assert (found["rows"], found["exact"], found["unsupported"]["count"]) == (4, 2, 1)
    assert "rs" in next(iter(found["unsupported"]["reasons"]))
    assert found["lines"] == len(found["cases"]) == 4


def test_text_prints_every_row_and_the_summary(accelsim: Command, cases_file: Path) -> None:
    """Each row stands with its error, the one without a prediction too."""
    out = accelsim("validate", "cases", cases_file).out
    assert out.count("0.00 %") >= 2
    assert "unsupported" in out
    assert all(f" {dataflow} " in out for dataflow in ("os", "ws", "rs"))
    assert max(map(len, out.splitlines()[1:])) <= 100  # the first line is the file's path


@pytest.mark.validate
def test_systolic_cycles_equal_the_reference(accelsim: Command) -> None:
    """Every row of SCALE-Sim's cycles is met exactly."""
    file = reference_file("systolic_scalesim_golden.csv")
    found = accelsim("validate", "cases", file, "--json").data
    assert found["rows"] == found["exact"] == 168
    assert found["unsupported"]["count"] == 0
