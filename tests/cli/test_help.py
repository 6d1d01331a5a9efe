"""The command line starts fast and says what it can do."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from accelsim import __version__
from tests.cli.conftest import Command

HEAVY = {
    "matplotlib",
    "networkx",
    "numba",
    "numpy",
    "pandas",
    "pydantic",
    "scipy",
    "simpy",
    "yaml",
}
COMMANDS = (
    "run", "sweep", "pareto", "merge", "trace", "nest", "fuse", "passes", "scratchpad", "list",
    "show", "validate", "schemas",
)  # fmt: skip


def help_in_a_process(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-m", "accelsim", "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_help_imports_no_heavy_library() -> None:
    """Whoever asks for help waits for no library that only commands need."""
    trace = help_in_a_process("-X", "importtime").stderr
    imported = set(re.findall(r"^import time:.*\|\s+(\w+)[\w.]*$", trace, re.MULTILINE))
    assert "accelsim" in imported
    assert not imported & HEAVY


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(accelsim: Command, command: str) -> None:
    """A command says what it does, and takes ``--json`` (`validate` has commands of its own)."""
    names = [command, "cases"] if command == "validate" else [command]
    done = accelsim(*names, "--help")
    assert done.status == 0
    assert "--json" in done.out


def test_version(accelsim: Command) -> None:
    """`--version` prints the version of the package."""
    done = accelsim("--version")
    assert (done.status, done.out) == (0, f"accelsim {__version__}\n")


def test_an_unknown_command_is_named(accelsim: Command) -> None:
    """A mistyped command is a usage error."""
    done = accelsim("swep")
    assert (done.status, done.out) == (2, "")
    assert "swep" in done.err
