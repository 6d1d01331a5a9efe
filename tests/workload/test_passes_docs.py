"""The tables of `docs/cascades.md` are what the analysis says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from accelsim.workload import forward
from accelsim.workload.cascade import cascade_of
from accelsim.workload.passes import analyse

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cascades.md"


def rows(first: str) -> Iterator[list[str]]:
    """Yield the cells of the rows of the table whose first column has a name."""
    inside = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] == first:
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not cells[0].startswith("---"):
            yield cells


@pytest.mark.checkout
def test_the_table_of_passes_is_computed() -> None:
    """Every row, by what `accelsim passes` prints."""
    found = list(rows("model"))
    assert len(found) == 13
    for model, rank, kept, *figures in found:
        stored = () if kept == "-" else tuple(kept.split(", "))
        one = analyse(cascade_of(model, forward(1, 1024)), rank, stored)
        reads, writes = (
            ", ".join(f"{t.name} {getattr(t, side)}" for t in one.tensors if getattr(t, side))
            for side in ("reads", "writes")
        )
        words = (one.count, one.footprint, one.held_words, one.state_words, reads, writes)
        assert figures == [str(word) for word in words], model


@pytest.mark.checkout
def test_the_bounds_of_the_two_pass_softmax_are_ratios_of_words() -> None:
    """Four or five words per element against three."""
    two = analyse(cascade_of("softmax-2-pass"), "n").words
    for kept, cells in zip(((), ("E",)), rows("against"), strict=True):
        three = analyse(cascade_of("softmax-3-pass"), "n", kept).words
        assert cells[1] == f"{three // 2**20} N to {two // 2**20} N"
        assert cells[2] == f"{three / two:.3f}"
        # arXiv 2001.04438, abstract: up to 28 % and 18 % faster out of cache on a Skylake-X.
        assert cells[3:] == [f"{measured * two / three:.3f}" for measured in (1.28, 1.18)]
