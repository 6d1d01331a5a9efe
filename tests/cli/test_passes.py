"""``accelsim passes``: what it prints of a cascade, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command


def test_every_rank_has_its_passes(accelsim: Command) -> None:
    """As data, and as a table for people."""
    data = accelsim("passes", "attention-3-pass", "--seq-len", "256", "--json").data
    assert {one["rank"]: one["count"] for one in data["ranks"]}["m"] == 3
    text = accelsim("passes", "attention-1-pass", "--seq-len", "256").out
    assert "O(1)" in text
    assert "O(m)" not in text


def test_one_rank_is_shown_pass_by_pass(accelsim: Command) -> None:
    """Einsums, reads and writes of each visit, and the words of each tensor."""
    text = accelsim("passes", "softmax-3-pass", "--rank", "n", "--keep", "E").out
    lines = [line.split() for line in text.splitlines()]
    for visit in ("1 all MU X -", "2 all E S X E", "3 all Y E Y"):
        assert visit.split() in lines
    assert ["words", f"{5 * 2**20},", "21.0", "MB"] in lines


def test_sizes_can_be_set_and_the_cheapest_choice_asked_for(accelsim: Command) -> None:
    """Two heads; recomputing the exponentials moves the fewest words."""
    arguments = ("--rank", "m", "--cheapest", "--set", "model.parameters.shape.h=2", "--json")
    (found,) = accelsim("passes", "attention-3-pass", *arguments).data["ranks"]
    assert found["stored"] == []
    assert found["words"] == 6 * 2 * 1024 * 64


def test_a_block_of_any_model_will_do(accelsim: Command, tmp_path: Path) -> None:
    """By name, and from a saved graph."""
    rows = accelsim("passes", "gpt2", "--block", "layers", "--json").data["ranks"]
    assert {one["rank"]: one["count"] for one in rows}["attention.m"] == 3
    file = str(tmp_path / "gpt2.json")
    accelsim("graph", "save", "gpt2", file)
    assert accelsim("passes", file, "--block", "layers", "--json").data["ranks"] == rows


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("softmax-3-pass", "--keep", "E"), "--keep needs --rank"),
        (("softmax-3-pass", "--rank", "m"), "no rank `m`; legal: r, n"),
        (("softmax-3-pass", "--set", "shape.n=3"), "begins with model."),
        (("gpt2", "--block", "layer"), "no block `layer`"),
        (("gpt3",), "unknown model"),
    ],
)
def test_bad_input_is_refused(accelsim: Command, arguments: tuple[str, ...], said: str) -> None:
    """With exit status 2 and a hint."""
    done = accelsim("passes", *arguments)
    assert done.status == 2
    assert said in done.err
