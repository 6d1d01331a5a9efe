"""The report of papers: every figure with its own number, and no value where there is none."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from accelsim.explore.papers import Figure, PaperSpec
from accelsim.explore.published import Answer, Reproduction
from accelsim.report.papers import paper_page, percent_off, write_papers


def made(ours: tuple[float, float] | None, *, saving: bool = False, name: str = "a|b") -> Answer:
    figure = Figure.model_validate(
        {
            "name": name, "published": 0.25 if saving else 2.0, "source": "Fig. 9, p. 7",
            "metric": "energy_j", "of": {"arch": "x"}, "over": {"arch": "y"}, "saving": saving,
            "tier": "shape", "why": "The paper's\n  GPU is another.",
        }
    )  # fmt: skip
    return Answer(figure, ours, 3, "" if ours else "nothing fits")


@pytest.fixture
def found() -> Reproduction:
    answers = (made((2.5, 2.5)), made((0.2, 0.2), saving=True, name="saved"), made(None, name="c"))
    paper = PaperSpec.model_construct(
        name="demo", title="A demonstration", source="nobody, 2024", about="Little  of it.",
        sweeps=("demo",), figures=tuple(a.figure for a in answers),
        not_reproduced={"Fig. 10": "an image"},
    )  # fmt: skip
    return Reproduction(paper, answers, Counter(done=9, infeasible=1), Counter(), 1.0)


def test_the_page_has_paper_ours_and_how_far_off(found: Reproduction) -> None:
    """Savings in percent; what has no value says why."""
    page = paper_page(found)
    assert "| a\\|b | 2 | 2.5 | +25 % | shape | 3 | Fig. 9, p. 7 |" in page
    assert "| saved | 25 % | 20 % | -20 % | shape |" in page
    assert "| c | 2 | - | - | shape |" in page
    assert "No value: nothing fits." in page
    assert "The paper's GPU is another." in page
    assert "**Fig. 10**: an image" in page


def test_files_are_written_and_the_same_twice(found: Reproduction, tmp_path: Path) -> None:
    """Page, drawing and overview; equal results give equal files."""
    first = write_papers([found], tmp_path / "a")
    again = write_papers([found], tmp_path / "b")
    assert [file.name for file in first] == ["demo.md", "demo.png", "README.md"]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, again, strict=True))
    assert "| [demo](demo.md) | saved | 25 % | 20 % | -20 % | shape |" in first[2].read_text()


@pytest.mark.parametrize("tier", get_args(Figure.model_fields["tier"].annotation))
def test_every_tier_is_explained_and_drawn(found: Reproduction, tmp_path: Path, tier: str) -> None:
    """On the page, and as a bar."""
    answers = tuple(
        replace(a, figure=a.figure.model_copy(update={"tier": tier})) for a in found.answers
    )
    again = replace(found, answers=answers)
    assert f"- *{tier}*: " in paper_page(again)
    assert all(file.is_file() for file in write_papers([again], tmp_path))


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(None, "-"), (1.0, "0 %"), (1 + 1e-9, "0 %"), (1.0024, "+0.24 %"), (0.42, "-58 %")],
)
def test_small_differences_are_not_rounded_away(ratio: float | None, said: str) -> None:
    """Down to what printed digits leave."""
    assert percent_off(ratio) == said
