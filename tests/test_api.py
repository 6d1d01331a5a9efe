"""What `import accelsim` gives: everything by name, and nothing loaded before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import accelsim
from accelsim import api


def python(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", api.__all__)
def test_every_name_of_the_api_is_in_the_package(name: str) -> None:
    """`accelsim.x` is `accelsim.api.x`."""
    assert getattr(accelsim, name) is getattr(api, name)
    assert name in dir(accelsim)


def test_import_loads_nothing() -> None:
    """`import accelsim` alone loads no other file of the package but the version."""
    code = "import sys, accelsim; print(*sorted(m for m in sys.modules if 'accelsim' in m))"
    assert python(code) == "accelsim accelsim._version"


@pytest.mark.parametrize(
    "before", ["", "import accelsim.evaluation", "from accelsim.evaluation import evaluate as e"]
)
def test_evaluate_is_the_function_whatever_was_imported_before(before: str) -> None:
    """No file of the package has the name of a verb."""
    code = f"{before}\nimport accelsim\nfrom accelsim import evaluate\n"
    assert python(f"{code}print(evaluate.__name__, evaluate is accelsim.evaluate)") == (
        "evaluate True"
    )


def test_rooms_are_there_without_an_import_of_their_own() -> None:
    """`accelsim.workload` loads the room when it is asked for."""
    assert python("import accelsim; print(accelsim.workload.__name__)") == "accelsim.workload"


def test_unknown_names_are_refused() -> None:
    """As any module does, with the name."""
    with pytest.raises(AttributeError, match="'accelsim' has no attribute 'evalute'"):
        accelsim.__getattribute__("evalute")
