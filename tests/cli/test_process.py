"""How the command behaves as a process: pipes that close, Ctrl-C, errors, bugs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from accelsim.cli import app
from tests.cli.conftest import Command

ACCELSIM = [sys.executable, "-m", "accelsim"]


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    """`accelsim ... | head -1` ends as a pipe's writer does, without a word."""
    rows = "8,8,os,1,1,1,14\n" * 5000  # far more text than a pipe holds
    file = tmp_path / "cases.csv"
    file.write_text(f"array_rows,array_cols,dataflow,M,N,K,total_cycles\n{rows}", encoding="utf-8")
    for option in ([], ["--json"]):
        command = [*ACCELSIM, "validate", "cases", str(file), *option]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stderr is not None
            writer.stdout.readline()
            writer.stdout.close()
            assert writer.wait(60) == 128 + signal.SIGPIPE
            assert writer.stderr.read() == b""


SWEEP = """\
name: long
description: A sweep that nobody waits for.
space:
  {model: gpt2, arch: a100-80gb, mapping: roofline-best, batch: {from: 1, to: 20000, step: 1}}
objectives: {latency_s: min, energy_j: min}
"""


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    """Status 130, no traceback, and the text says that the same command goes on."""
    (tmp_path / "long.yaml").write_text(SWEEP, encoding="utf-8")
    places = (str(tmp_path / "long.yaml"), "--output", str(tmp_path / "out"))
    command = [*ACCELSIM, "sweep", *places, "--jobs", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as sweep:
        store, deadline = tmp_path / "out" / "points.sqlite-wal", time.monotonic() + 60
        while time.monotonic() < deadline and not (store.exists() and store.stat().st_size > 1e5):
            time.sleep(0.05)
        sweep.send_signal(signal.SIGINT)
        assert sweep.wait(60) == 130
        assert sweep.stderr is not None
        said = sweep.stderr.read()
    assert "Traceback" not in said
    assert "the same command goes on" in said


def test_an_error_shows_its_traceback_on_request(
    accelsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ACCELSIM_TRACEBACK=1 says where in the program an error was raised; the status stays."""
    monkeypatch.setenv("ACCELSIM_TRACEBACK", "1")
    done = accelsim("run", "gtp2", "null")
    assert done.status == 2
    assert "Traceback" in done.err
    assert done.err.rstrip().splitlines()[-2].startswith("accelsim: error: unknown model `gtp2`")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What accelsim does not raise on purpose is not dressed up as the user's mistake."""

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("accelsim.config.library.paths", broken)
    with pytest.raises(ZeroDivisionError):
        app.main(["list", "models"])


def test_output_survives_a_terminal_without_unicode() -> None:
    """A sign that the terminal lacks becomes `?`."""
    done = subprocess.run(
        [*ACCELSIM, "run", "gpt2", "a100-80gb"],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert "?s" in done.stdout
