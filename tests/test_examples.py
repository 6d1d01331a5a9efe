"""The examples run, and say what they promise."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def python(*arguments: str, folder: Path) -> str:
    """Run Python in a process of its own, in `folder`, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.checkout
def test_batch_scaling_prints_a_row_per_device_and_batch(tmp_path: Path) -> None:
    """Throughput grows with the batch on every device."""
    lines = python(str(EXAMPLES / "batch_scaling.py"), folder=tmp_path).splitlines()
    assert len(lines) == 1 + 3 * 3
    a100 = [float(line.split()[3]) for line in lines if line.startswith("a100")]
    assert a100 == sorted(a100)


@pytest.mark.checkout
def test_a_library_of_ones_own_stands_beside_the_shipped_one(tmp_path: Path) -> None:
    """The folder's designs are found by name; the wider arrays follow from an expression."""
    own = tmp_path / "own_npu"
    shutil.copytree(EXAMPLES / "own_npu", own)
    shown = json.loads(python("-m", "accelsim", "show", "own-npu", "--json", folder=own))
    assert "256" in json.dumps(shown)
    python("-m", "accelsim", "sweep", "own-sweep", "--json", folder=own)
    assert (own / "reports/own-sweep/front.csv").is_file()
    assert (own / "reports/own-sweep/pareto.png").is_file()
