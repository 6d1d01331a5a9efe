"""What the README shows runs as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.mark.checkout
def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten lines; one printed line for each architecture and batch."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.splitlines()) <= 11
    exec(compile(code, str(README), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all("bound by" in line for line in lines)


@pytest.mark.checkout
def test_the_first_command_runs() -> None:
    """`accelsim run` as the README shows it."""
    text = README.read_text(encoding="utf-8")
    command = next(line for line in text.splitlines() if "$ accelsim run" in line)
    arguments = [sys.executable, "-m", *shlex.split(command)[1:]]
    done = subprocess.run(
        arguments, capture_output=True, text=True, check=False, cwd=README.parent
    )
    assert done.returncode == 0, done.stderr
    assert "throughput" in done.stdout


@pytest.mark.checkout
def test_it_opens_with_the_two_commands() -> None:
    """Nothing else is asked of a newcomer."""
    head = README.read_text(encoding="utf-8").splitlines()[:6]
    assert [line.split("#")[0].strip() for line in head if line.startswith("make")] == [
        "make demo",
        "make test",
    ]
