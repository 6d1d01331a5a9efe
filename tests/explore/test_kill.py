"""A sweep in a process of its own: killed, interrupted or out of disk, it resumes to the end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from accelsim.errors import StoreError
from accelsim.explore import Store, code_version, run
from tests.explore import evaluators
from tests.explore.killable import killable_sweep
from tests.explore.rows import content
from tests.reference import REPOSITORY


def start(store: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `tests.explore.killable` in a process group of its own."""
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.explore.killable", code_version(), str(store), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def stored(path: Path) -> int:
    """Return how many results a store has now, 0 before it exists."""
    try:
        with Store(path, read_only=True) as store:
            return sum(row.status == "done" for row in store.rows())
    except StoreError:
        return 0


def wait_for(path: Path, rows: int, process: subprocess.Popen[str]) -> None:
    """Return when the store has so many rows, or the process has ended."""
    deadline = time.monotonic() + 30
    while stored(path) < rows and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def group_members(group: int) -> list[int]:
    """Return the processes of a group that run still."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, of = (folder / "stat").read_text().rsplit(") ", 1)[1].split()[:3]
        except OSError:
            continue
        if int(of) == group and state != "Z":
            found.append(int(folder.name))
    return found


def finish(path: Path) -> None:
    run(killable_sweep(), store=path, jobs=1, quiet=True, evaluate_point=evaluators.trivial)


def test_kill_9_at_any_moment_loses_nothing(library: Path) -> None:
    """Killed four times at random moments, the sweep ends with the rows of one never killed."""
    moments = random.Random(20240131)
    path = library / "killed.sqlite"
    for _ in range(4):
        before = stored(path)
        process = start(path, "slow", "2")
        wait_for(path, before + moments.randint(1, 40), process)
        time.sleep(moments.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert stored(path) >= before
    assert 0 < stored(path) < 320
    finish(path)
    finish(library / "whole.sqlite")
    assert content(path) == content(library / "whole.sqlite")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_workers_end_with_a_killed_parent(library: Path) -> None:
    """Kill -9 of the parent leaves no worker behind."""
    path = library / "killed.sqlite"
    process = start(path, "slow", "2")
    wait_for(path, 5, process)
    assert len(group_members(process.pid)) >= 3
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while group_members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert group_members(process.pid) == []


def test_ctrl_c_stores_finished_rows_and_says_how_to_go_on(library: Path) -> None:
    """SIGINT to parent and workers, as a terminal sends it, ends the sweep cleanly."""
    path = library / "stopped.sqlite"
    process = start(path, "slow", "2")
    wait_for(path, 20, process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"of 320 points in {path}; the same command goes on from there" in output
    finish(path)
    finish(library / "whole.sqlite")
    assert content(path) == content(library / "whole.sqlite")


def test_two_runs_of_one_sweep_share_a_store(library: Path) -> None:
    """Started together on one file, both end well, and the rows are those of one run."""
    path = library / "shared.sqlite"
    both = [start(path, "slow", "1") for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    finish(library / "whole.sqlite")
    assert content(path) == content(library / "whole.sqlite")


def test_a_disk_that_fails_stops_the_sweep_which_then_resumes(library: Path) -> None:
    """A file that may not grow is an error with a reason, and costs no row that was stored."""
    path = library / "starved.sqlite"
    process = start(path, "trivial", "2", str(150_000))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "rows written so far are kept" in output
    assert 0 < stored(path) < 320
    finish(path)
    finish(library / "whole.sqlite")
    assert content(path) == content(library / "whole.sqlite")


def test_a_script_without_main_guard_is_told_so(library: Path) -> None:
    """Workers import the script; without the guard each would start the sweep again."""
    script = library / "script.py"
    script.write_text(
        "from accelsim.explore import run\n"
        "from tests.explore import evaluators\n"
        "from tests.explore.killable import killable_sweep\n"
        "run(killable_sweep(), jobs=2, quiet=True, evaluate_point=evaluators.trivial)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "if __name__ == '__main__':" in done.stderr.splitlines()[-1]
