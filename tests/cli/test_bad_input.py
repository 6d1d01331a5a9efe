"""Bad input: exit status 2, a text that says where and what would be right, nothing written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import MODEL, Command

DEVICE = """\
name: mine
family: edge
source: made up for a test
technology_nm: 7 nm
device:
  units:
    array: {{kind: systolic, memory: dram, rows: {rows}, columns: 8, frequency_hz: {clock},
            formats: {{bf16: 1}}, source: test}}
  memories:
    dram: {{kind: dram, extends: components/lpddr5_6400}}
"""
SWEEP = """\
name: mine
description: A test.
space: {{model: gpt2, arch: "null", mapping: roofline-best, batch: {batch}}}
objectives: {{latency_s: min, energy_j: min}}
"""


def arch(rows: object = 8, clock: object = "1 GHz", extra: str = "") -> str:
    return DEVICE.format(rows=rows, clock=clock) + extra


RUN_MINE = ("run", "gpt2", "mine.yaml")
CASES = {
    "unknown key": (
        arch(extra="technologie_nm: 5\n"), RUN_MINE,
        ["mine.yaml:11:1", "unknown key `technologie_nm`", "did you mean `technology_nm`"],
    ),
    "wrong unit": (
        arch(clock="3 GB"), RUN_MINE,
        ["mine.yaml:7:", "device.units.array.frequency_hz", "`GB` does not fit", "Hz", "`3 GB`"],
    ),
    "negative size": (
        arch(rows=-4), RUN_MINE,
        ["mine.yaml:7:", "device.units.array.rows", "greater than 0", "`-4`"],
    ),
    "expression cycle": (
        arch(rows="columns * 1").replace("columns: 8", "columns: rows * 1"), RUN_MINE,
        ["mine.yaml:7:", "expression cycle", "array.rows -> ", "array.columns"],
    ),
    "not YAML": ("name: [", RUN_MINE, ["mine.yaml:", "not valid YAML"]),
    "missing file": (None, RUN_MINE, ["mine.yaml", "no such file"]),
    "unknown model": (None, ("run", "lama3-8b", "null"), ["`lama3-8b`", "mean `llama3-8b`"]),
    "unknown arch": (None, ("run", "gpt2", "a100-80g"), ["`a100-80g`", "mean `a100-80gb`"]),
    "unknown mapping": (None, ("trace", "gpt2", "null", "npu_pim"), ["mean `npu-pim`"]),
    "unknown phase": (None, ("run", "gpt2", "null", "--phase", "train"), ["train", "prefill"]),
    "unknown name": (None, ("show", "gtp2"), ["`gtp2`", "mean `gpt2`"]),
    "batch 0": (None, ("run", "gpt2", "null", "--batch", "0"), ["batch", "0", "at least 1"]),
    "no tokens": (
        None, ("run", "gpt2", "null", "--phase", "prefill", "--seq-len", "0"),
        ["seq_len", "0", "at least 1"],
    ),
    "heads that do not divide": (
        MODEL + "  num_key_value_heads: 3\n", ("run", "mine.yaml", "null"),
        ["mine.yaml:", "num_attention_heads 4", "num_key_value_heads 3"],
    ),
    "head dim that does not divide": (
        MODEL.replace("num_attention_heads: 4", "num_attention_heads: 5"),
        ("run", "mine.yaml", "null"), ["mine.yaml:", "hidden_size 64", "5"],
    ),
    "unplaced operator": (
        "name: mine\nplace: [{on: [systolic]}]\n", ("run", "gpt2", "edge-npu", "mine.yaml"),
        ["`mine`", "leaves operator", "unplaced on `edge-npu`", "refuses"],
    ),
    "does not fit": (
        None, ("run", "gpt3-175b", "a100-80gb"),
        ["needs", "has 80.00 GiB", "short by", "weights", "KV cache"],
    ),
    "override of nothing": (
        None, ("run", "gpt2", "null", "--set", "arch.devcies=2"), ["devcies", "mean `devices`"]
    ),
    "override without value": (None, ("run", "gpt2", "null", "--set", "arch.devices"), ["PATH=V"]),
    "override of no file": (None, ("run", "gpt2", "null", "--set", "x.y=2"), ["model., arch."]),
    "override by a list": (
        None, ("run", "gpt2", "null", "--set", "arch.devices=[1]"), ["a number or a text"]
    ),
    "sweep of batch 0": (SWEEP.format(batch="[1, 0]"), ("sweep", "mine.yaml"), ["mine.yaml:3:"]),
    "bad shard": (
        SWEEP.format(batch=1), ("sweep", "mine.yaml", "--shard", "3/2"), ["`3/2`", "1 to n"]
    ),
    "unknown sweep": (None, ("sweep", "quikstart"), ["mean `quickstart`"]),
    "no store": (None, ("pareto", "points.sqlite"), ["points.sqlite", "no such"]),
    "merge of no store": (None, ("merge", "new.sqlite", "old.sqlite"), ["old.sqlite", "no such"]),
    "cases of no format": ("a,b\n1,2\n", ("validate", "cases", "mine.yaml"), ["no known format"]),
    "no cases": (None, ("validate", "cases", "none.csv"), ["none.csv", "No such file"]),
}  # fmt: skip


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder of the command."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_bad_input(accelsim: Command, folder: Path, case: str) -> None:
    """Status 2, nothing on standard output, no traceback, and no file made or changed."""
    content, arguments, texts = CASES[case]
    if content is not None:
        (folder / "mine.yaml").write_text(content, encoding="utf-8")
    before = tree(folder)
    done = accelsim(*arguments)
    assert (done.status, done.out) == (2, "")
    # Usage errors come in a box, whose lines break anywhere.
    said = " ".join(done.err.replace("│", " ").split())
    assert not [text for text in texts if text not in said], said
    assert "Traceback" not in done.err
    assert tree(folder) == before


def test_all_problems_of_a_file_are_told_at_once(accelsim: Command, folder: Path) -> None:
    """Whoever mends a file need not run it once for each mistake."""
    (folder / "mine.yaml").write_text(arch(rows=0, clock="3 GB", extra="devices: 0\n"), "utf-8")
    done = accelsim(*RUN_MINE)
    assert done.err.count("mine.yaml:") == 3


def test_store_of_another_schema_version(accelsim: Command, folder: Path) -> None:
    """A store that another version wrote is neither read nor changed."""
    (folder / "mine.yaml").write_text(SWEEP.format(batch=1), encoding="utf-8")
    store = folder / "reports" / "mine" / "points.sqlite"
    assert accelsim("sweep", "mine.yaml", "--jobs", 1).status == 0
    connection = sqlite3.connect(store)
    connection.execute("PRAGMA user_version = 999")
    connection.commit()
    connection.close()
    before = tree(folder)
    for command in (("sweep", "mine.yaml"), ("pareto", store), ("merge", store, store)):
        done = accelsim(*command)
        assert (done.status, done.out) == (2, "")
        assert "schema version 999" in done.err
    assert tree(folder) == before


def test_what_is_no_store_is_left_alone(accelsim: Command, folder: Path) -> None:
    """A file of another kind is not taken for a damaged store."""
    (folder / "notes.sqlite").write_text("not a database " * 20, encoding="utf-8")
    before = tree(folder)
    done = accelsim("pareto", "notes.sqlite")
    assert done.status == 2
    assert "not a results store" in done.err
    assert tree(folder) == before


def mounted(options: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run accelsim where `folder` is a small file system; skip where that cannot be had."""
    folder.mkdir()
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = f"mount -t tmpfs -o {options} tmpfs '{folder}'"
    possible = (
        shutil.which("unshare")
        and not subprocess.run(
            [*unshare, "sh", "-c", mount], capture_output=True, check=False
        ).returncode
    )
    if not possible:
        pytest.skip("a file system of a test's own needs unshare and user namespaces")
    command = [sys.executable, "-m", "accelsim", *arguments]
    # After the command, so that what it left is seen before the file system is gone.
    script = f"{mount} && \"$@\"; status=$?; ls -A '{folder}'; exit $status"
    return subprocess.run(
        [*unshare, "sh", "-c", script, "sh", *command],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "100"},
    )  # fmt: skip


WRITERS = {
    "sweep": ("sweep", "quickstart", "--jobs", "1", "--output"),
    "trace": ("trace", "gpt2", "null", "--output"),
    "schemas": ("schemas", "--output"),
}


@pytest.mark.parametrize("command", WRITERS)
def test_read_only_folder(tmp_path: Path, command: str) -> None:
    """A folder that cannot be written is named before anything is evaluated in vain."""
    folder = tmp_path / "small"
    target = folder / "timeline.json" if command == "trace" else folder
    done = mounted("size=64k,ro", folder, *WRITERS[command], str(target))
    assert (done.returncode, done.stdout) == (2, "")
    assert str(folder) in done.stderr
    assert "read-only" in done.stderr.lower()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["trace", "schemas"])
def test_full_disk_leaves_no_partial_file(tmp_path: Path, command: str) -> None:
    """A file is whole or not there."""
    folder = tmp_path / "small"
    target = folder / "timeline.json" if command == "trace" else folder
    done = mounted("size=4k", folder, *WRITERS[command], str(target))
    assert (done.returncode, done.stdout) == (2, "")
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_full_disk_ends_a_sweep_with_a_message(tmp_path: Path) -> None:
    """The text names the store and says that running again goes on."""
    done = mounted("size=96k", tmp_path / "small", *WRITERS["sweep"], str(tmp_path / "small"))
    assert done.returncode == 2
    assert "points.sqlite" in done.stderr
    assert "disk" in done.stderr
    assert "Traceback" not in done.stderr
