"""Gives tests the command line as a function, and designs that are small enough to run often."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from accelsim.cli import main


class Outcome(NamedTuple):
    """What a command left: exit status and both streams."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What stands on standard output, all of which must be JSON."""
        return json.loads(self.out)


Command = Callable[..., Outcome]


@pytest.fixture
def accelsim(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``accelsim`` with some arguments."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Outcome(int(done.value.code or 0), out, err)

    return run


MODEL = """\
name: tiny
family: decoder
source: made up for a test
parameters:
  hidden_size: 64
  num_hidden_layers: 4
  num_attention_heads: 4
  intermediate_size: 128
  vocab_size: 1000
  activation: silu
  gated: true
  norm: rmsnorm
"""


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """Return the file of a model of four small layers."""
    file = tmp_path / "tiny.yaml"
    file.write_text(MODEL, encoding="utf-8")
    return file
