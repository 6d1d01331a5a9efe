"""`accelsim reproduce`: the paper's value and ours, resumed like a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.explore.papers import paper_files
from tests.cli.conftest import Command

SWEEP = """\
name: small-sweep
description: A small sweep.
space:
  model: gpt2
  arch: neupims
  phase: decode
  batch: [1, 32]
  seq_len: 512
cases:
  - {mapping: [npu-only, npu-pim]}
objectives: {latency_s: min, energy_j: min}
"""

PAPER = """\
name: small
title: A small paper
source: nobody, 2024
about: Four points.
sweeps: [SWEEP]
figures:
  - name: banks over arrays
    published: 1.5
    source: Fig. 1
    metric: throughput_tokens_per_s
    of: {mapping: npu-pim}
    over: {mapping: npu-only}
    tier: shape
    why: Because it is made up.
  - name: part of the time that banks work
    published: 0.4
    source: Fig. 2
    metric: busy.pim
    of: {mapping: npu-pim, batch: 32}
    tier: shape
    why: Because it is made up.
"""


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a paper of four points, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    sweep = tmp_path / "small-sweep.yaml"
    sweep.write_text(SWEEP, encoding="utf-8")
    file = tmp_path / "small.yaml"
    file.write_text(PAPER.replace("SWEEP", str(sweep)), encoding="utf-8")
    return file


def test_figures_are_computed_and_resumed(accelsim: Command, paper: Path) -> None:
    """The second run evaluates nothing, and answers the same."""
    first = accelsim("reproduce", paper, "--json", "--jobs", "1")
    again = accelsim("reproduce", paper, "--json", "--jobs", "1")
    assert first.status == again.status == 0
    one, two = (found.data["papers"][0] for found in (first, again))
    assert one["counts"] == two["counts"] == {"done": 4}
    assert one["figures"] == two["figures"]
    faster, busy = one["figures"]
    assert faster["points"] == 2
    assert faster["ours"][0] > 1
    assert faster["ratio"] == pytest.approx(faster["ours"][0] / 1.5)
    assert 0 < busy["ours"][0] < 1
    assert list(Path("reports/papers").glob("*.sqlite"))


def test_a_report_is_written_where_asked(accelsim: Command, paper: Path) -> None:
    """And printed: paper, ours, ratio, tier, why."""
    done = accelsim("reproduce", paper, "-o", "out", "--jobs", "1")
    assert done.status == 0
    for text in ("banks over arrays", "1.5", "shape", "Because it is made up."):
        assert text in done.out
    assert Path("out/small.md").is_file()
    assert Path("out/small.png").read_bytes().startswith(b"\x89PNG")


def test_a_mistake_is_told_with_file_line_and_field(accelsim: Command, paper: Path) -> None:
    """Before anything is evaluated."""
    paper.write_text(paper.read_text("utf-8").replace("busy.pim", "busy"), encoding="utf-8")
    done = accelsim("reproduce", paper)
    assert done.status == 2
    assert "small.yaml:18" in done.err
    assert "figures.1.metric" in done.err
    assert "unknown metric `busy`" in done.err
    assert not Path("reports").exists()


def test_neither_name_nor_all_is_refused(accelsim: Command) -> None:
    """The message lists the papers; so it does for an unknown one."""
    for arguments in ((), ("neupims", "--all"), ("no-such-paper",)):
        done = accelsim("reproduce", *arguments)
        assert done.status == 2
        assert all(name in done.err for name in paper_files())
