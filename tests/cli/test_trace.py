"""`accelsim trace`: a file that ui.perfetto.dev opens."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.cli.conftest import Command

POINT = ("gpt2", "a100-80gb", "roofline-best", "--seq-len", "64")


def test_trace_is_chrome_json_with_as_many_slices_as_it_says(
    accelsim: Command, tmp_path: Path
) -> None:
    """Complete events have a start, a duration and a place; the rest names the places."""
    file = tmp_path / "timeline.json"
    said = accelsim("trace", *POINT, "--output", file, "--json").data
    events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    assert len(slices) == said["slices"] > 0
    assert all(
        event["dur"] >= 0 and {"pid", "tid", "ts", "name"} <= set(event) for event in slices
    )
    assert file.stat().st_size == said["size_bytes"]


def test_trace_is_compressed_by_its_name(accelsim: Command, tmp_path: Path) -> None:
    """``.json.gz`` holds the same text."""
    files = [tmp_path / "a.json", tmp_path / "a.json.gz"]
    for file in files:
        assert accelsim("trace", *POINT, "-o", file).status == 0
    assert gzip.decompress(files[1].read_bytes()) == files[0].read_bytes()


def test_trace_says_where_it_is(accelsim: Command, tmp_path: Path) -> None:
    """A person is told the file and what opens it."""
    done = accelsim("trace", *POINT, "-o", tmp_path / "t.json.gz")
    assert "t.json.gz" in done.out
    assert "ui.perfetto.dev" in done.out
