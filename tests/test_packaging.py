"""What an install of accelsim carries, from the checkout and from the built wheel alike.

`scripts/wheel.sh` runs the tests with ACCELSIM_EXPECT_WHEEL naming the environment of the wheel.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import accelsim

REPOSITORY = Path(__file__).resolve().parent.parent
WHEEL_HOME = os.environ.get("ACCELSIM_EXPECT_WHEEL")
PACKAGE = Path(accelsim.__file__).resolve().parent
DATA_FOLDERS = ("arch", "mapping", "models", "sweeps")
HEAVY = {"matplotlib", "networkx", "numba", "pandas", "scipy"}


def pyproject() -> dict[str, dict]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_package_under_test_is_the_intended_one() -> None:
    """Tests of the wheel see the wheel, never the checkout it was built from, and vice versa."""
    home = Path(WHEEL_HOME).resolve() if WHEEL_HOME else REPOSITORY
    assert PACKAGE.is_relative_to(home)


def test_version_is_the_installed_one() -> None:
    """`accelsim.__version__` is what the package metadata say."""
    assert accelsim.__version__ == importlib.metadata.version("accelsim")


def test_type_marker_is_shipped() -> None:
    """Without `py.typed` a type checker takes everything from accelsim for Any."""
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("folder", DATA_FOLDERS)
def test_library_folder_is_shipped(folder: str) -> None:
    """Each library folder holds YAML: at the top of a checkout, in `accelsim/_data` of a wheel."""
    root = PACKAGE / "_data" if WHEEL_HOME else REPOSITORY
    assert list((root / folder).rglob("*.yaml"))


@pytest.mark.parametrize("folder", DATA_FOLDERS)
def test_library_folder_holds_no_python(folder: str) -> None:
    """The folders hold data only: code in them could be imported from a checkout alone."""
    root = PACKAGE / "_data" if WHEEL_HOME else REPOSITORY
    assert not list((root / folder).rglob("*.py"))


def test_build_places_every_library_folder() -> None:
    """The wheel takes each library folder to the place where the package looks for it."""
    placed = pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert placed == {folder: f"accelsim/_data/{folder}" for folder in DATA_FOLDERS}


def test_help_imports_nothing_heavy() -> None:
    """`accelsim --help` answers before any of the slow libraries would be imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "accelsim", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    imported = set(re.findall(r"^import time:.*\|\s+(\w+)[\w.]*$", done.stderr, re.MULTILINE))
    assert "accelsim" in imported
    assert not imported & HEAVY


def test_console_script_is_declared() -> None:
    """The command `accelsim` is an entry point of the installed distribution."""
    scripts = importlib.metadata.entry_points(group="console_scripts", name="accelsim")
    assert {script.value for script in scripts} == {"accelsim.cli:main"}
