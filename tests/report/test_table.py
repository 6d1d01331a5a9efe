"""Tables of Pareto fronts."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from accelsim.explore.pareto import front
from accelsim.report.table import front_markdown, write_front
from tests.report.designs import designs, sweep_of


def test_the_csv_holds_the_front_exactly(tmp_path: Path) -> None:
    """Read back, the CSV has the rows of the front with all digits."""
    files = write_front(designs(), sweep_of(), tmp_path)
    assert [file.name for file in files] == ["front.csv", "front.md"]
    read = pd.read_csv(io.StringIO(files[0].read_text()))
    best = front(designs(), sweep_of().objectives, sweep_of().front_per)
    expected = best.drop(columns=["error", "wall_s"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(read, expected, check_exact=True, check_dtype=False)


def test_the_markdown_has_a_table_for_each_group() -> None:
    """Each group has its heading, and a row for each design on its front."""
    spec = sweep_of()
    best = front(designs(), spec.objectives, spec.front_per)
    lines = front_markdown(best, spec).splitlines()
    headings = [line for line in lines if line.startswith("## ")]
    assert headings == [f"## model model-{i}, phase decode, seq_len 1024" for i in (0, 1)]
    assert sum(line.startswith("| arch-") for line in lines) == len(best)
    assert lines.count("| arch | batch | Latency (ms) | Energy (J) |") == 2
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_a_parameter_left_alone_is_default() -> None:
    """Designs that do not set a swept parameter say so instead of showing nothing."""
    frame = designs().assign(**{"arch.banks": pd.array([None, 8] * 24 + [None], dtype="Int64")})
    text = front_markdown(front(frame, sweep_of().objectives), sweep_of(front_per=()))
    assert "arch.banks" in text
    assert "| default |" in text
    assert "| 8 |" in text


def test_no_result_is_said() -> None:
    """A sweep without results has a table that says so."""
    text = front_markdown(designs().iloc[:0], sweep_of())
    assert "No design has a result." in text
