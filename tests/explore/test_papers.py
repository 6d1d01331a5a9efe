"""The paper file: what it accepts, and that every mistake is found at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.errors import ConfigError, UnknownNameError
from accelsim.explore import load_sweep
from accelsim.explore.papers import PaperSpec, load_paper, paper_files

SWEEP = """\
name: demo
description: A demonstration.
space:
  model: tiny-gpt
  mapping: on-gpu
  batch: [1, 2, 4]
  arch: [small-gpu, small-pim]
objectives: {latency_s: min, energy_j: min}
"""

PAPER = """\
name: demo
title: A demonstration
source: nobody, 2024
about: Nothing.
sweeps: [SWEEP]
figures:
  - name: how much faster
    published: 2.0
    source: Fig. 1, p. 2
    metric: throughput_tokens_per_s
    of: {arch: small-pim}
    over: {arch: small-gpu, batch: largest}
    tier: shape
    why: no reason
"""


def load(folder: Path, text: str = PAPER) -> PaperSpec:
    sweep = folder / "demo-sweep.yaml"
    sweep.write_text(SWEEP, encoding="utf-8")
    file = folder / "demo.yaml"
    file.write_text(text.replace("SWEEP", str(sweep)), encoding="utf-8")
    return load_paper(file)


def test_a_good_file_is_read(library: Path) -> None:
    """One value and lists of them become the same; a number is a range of itself."""
    figure = load(library).figures[0]
    assert figure.published == (2.0, 2.0)
    assert figure.of == ({"arch": ("small-pim",)},)
    assert figure.over == ({"arch": ("small-gpu",), "batch": ("largest",)},)


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("published: 2.0", "published: -1", 8, "a number above 0"),
        ("published: 2.0", "published: [3, 1]", 8, "a number above 0"),
        ("published: 2.0", "published: [1, 3]", 7, "needs `summary: range`"),
        ("throughput_tokens_per_s", "latency", 10, "latency_s"),
        ("of: {arch: small-pim}", "of: {archs: small-pim}", 11, "did you mean `arch`?"),
        ("of: {arch: small-pim}", "of: {arch: small-pin}", 11, "did you mean `small-pim`?"),
        ("of: {arch: small-pim}", "of: {batch: 3}", 11, "no point of the sweeps has batch `3`"),
        ("of: {arch: small-pim}", "of: fast", 11, "a mapping from axes to values"),
        ("tier: shape", "tier: wild", 13, "exact"),
        ("why: no reason", "because: no reason", 14, "unknown key `because`"),
        ("[SWEEP]", "[no-such-sweep]", 5, "unknown sweep `no-such-sweep`"),
        ("[SWEEP]", "[]", 5, "at least 1"),
    ],
)
def test_a_mistake_is_found_at_its_line(
    library: Path, old: str, new: str, line: int, said: str
) -> None:
    """File, line, field and what is legal."""
    assert old in PAPER
    with pytest.raises(ConfigError) as caught:
        load(library, PAPER.replace(old, new, 1))
    assert f"demo.yaml:{line}" in str(caught.value)
    assert said in str(caught.value)


def test_an_unknown_paper_is_named_with_the_nearest() -> None:
    """As every other name."""
    with pytest.raises(UnknownNameError, match="did you mean `neupims`"):
        load_paper("neupim")


@pytest.mark.parametrize("name", paper_files())
def test_every_shipped_paper_is_sound(name: str) -> None:
    """Its name is the file's; its sweeps exist; each figure has a place in the paper and a why."""
    paper = load_paper(name)
    assert paper.name == name
    assert all(load_sweep(sweep).source for sweep in paper.sweeps)
    assert len({figure.name for figure in paper.figures}) == len(paper.figures)
    for figure in paper.figures:
        assert figure.source.strip()
        assert len(figure.why.split()) > 2
