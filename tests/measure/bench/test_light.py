"""The bench runs where only python3, numpy, yaml and torch are: nothing else is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.reference import REPOSITORY

_BLOCKED = """
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"blocked {{name}}", name=name)

sys.meta_path.insert(0, Blocker())
sys.path.insert(0, {root!r})
{code}
"""

ABSENT = {
    "pydantic", "pydantic_core", "numba", "llvmlite", "typer", "click", "rich", "simpy",
    "matplotlib", "networkx", "scipy", "pyarrow", "onnx", "optuna", "hypothesis",
}  # fmt: skip


def _python(code: str, *, torch: bool) -> subprocess.CompletedProcess[str]:
    blocked = ABSENT if torch else ABSENT | {"torch"}
    text = _BLOCKED.format(blocked=blocked, root=str(REPOSITORY), code=code)
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=False
    )


_ALL = """
import pkgutil, importlib
import accelsim.measure.bench as bench
found = [m.name for m in pkgutil.walk_packages(bench.__path__, bench.__name__ + ".")]
wanted = [name for name in found if {torch} or ".torch_backend." not in name]
for name in wanted:
    importlib.import_module(name)
from accelsim.measure.bench.suites import names, suite
assert all(suite(name, device) for name in names() for device in ("cuda", "cpu"))
rooms = {{name.split(".")[1] for name in sys.modules if name.startswith("accelsim.")}}
print(len(wanted), *sorted(rooms))
"""


@pytest.mark.parametrize("torch", [False, True], ids=["without torch", "with torch"])
def test_nothing_but_errors_is_imported(torch: bool) -> None:
    """Every module imports, and every suite is made, with all other packages missing."""
    if torch:
        pytest.importorskip("torch")
    done = _python(_ALL.format(torch=torch), torch=torch)
    assert done.returncode == 0, done.stderr
    number, *rooms = done.stdout.split()
    assert int(number) > 15
    assert rooms == ["_version", "errors", "measure"]


def test_the_blocker_blocks() -> None:
    """The test above would notice: a room that needs pydantic does not import here."""
    done = _python("import accelsim.workload", torch=False)
    assert done.returncode == 1
    assert "blocked pydantic" in done.stderr


def test_the_module_runs_and_says_what_is_missing() -> None:
    """Help needs no torch; measuring without it is refused with the way to get it."""
    code = (
        "sys.argv = ['x', {}]\n"
        "import runpy\n"
        "runpy.run_module('accelsim.measure', run_name='__main__')"
    )
    done = _python(code.format("'--help'"), torch=False)
    assert done.returncode == 0
    assert "quick" in done.stdout
    done = _python(code.format("'quick', '--device', 'cpu'"), torch=False)
    assert done.returncode == 2
    assert "accelsim[torch]" in done.stderr
