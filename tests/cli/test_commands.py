"""`accelsim commands`: one channel's commands for a product, blocked and concurrent."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

SMALL = ("--outputs", "512", "--inputs", "1024", "--reads", "8 KiB")


def test_trace_and_picture_are_where_it_says(accelsim: Command, tmp_path: Path) -> None:
    """Cycles of both, and files with as many slices as it says."""
    said = accelsim("commands", "neupims", *SMALL, "-o", tmp_path, "--json").data
    assert said["cycles"]["concurrent"]["all"] < said["cycles"]["blocked"]["all"]
    text = gzip.decompress((tmp_path / "commands.json.gz").read_bytes())
    events = json.loads(text)["traceEvents"]
    assert sum(event["ph"] == "X" for event in events) == said["slices"]
    assert (tmp_path / "commands.png").read_bytes().startswith(b"\x89PNG")


def test_a_person_is_told_cycles_and_what_opens_the_trace(
    accelsim: Command, tmp_path: Path
) -> None:
    """Two lines of cycles, then the files."""
    out = accelsim("commands", *SMALL, "-o", tmp_path).out
    assert "blocked: one row buffer per bank" in out
    assert "concurrent: two row buffers per bank" in out
    assert "ui.perfetto.dev" in out


def test_parameters_of_the_architecture_count(accelsim: Command, tmp_path: Path) -> None:
    """A slower MAC makes the product longer."""
    change = ("--set", "arch.device.units.pim.mac_cycles=8")
    before, after = (
        accelsim("commands", "neupims", *SMALL, *more, "-o", tmp_path, "--json").data["cycles"]
        for more in ((), change)
    )
    assert after["blocked"]["product"] > before["blocked"]["product"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a100-80gb",), "no unit of `a100-80gb` computes in a DRAM"),
        (("attacc-bank-group",), "banks_in_turn"),
        (("neupims", "--outputs", "0"), "0 is less than 1"),
        (("neupims", "--reads", "0"), "0 bytes to read"),
        (("neupims", "--set", "model.parameters.x=1"), "only parameters of the architecture"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    accelsim: Command, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """One error, and no file."""
    done = accelsim("commands", *arguments, "-o", tmp_path)
    assert done.status != 0
    assert message in done.err
    assert not list(tmp_path.iterdir())
