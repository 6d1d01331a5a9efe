"""`accelsim schemas`: what editors check configuration files by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accelsim.config import library, load_tree
from accelsim.explore.papers import paper_files
from tests.cli.conftest import Command
from tests.reference import REPOSITORY

# Schema -> folder of the library; papers lie beside sweeps.
FOLDERS = {
    "model": "models", "arch": "arch", "mapping": "mapping", "sweep": "sweeps", "paper": "",
    "fusion": "mapping/fusion",
}  # fmt: skip


@pytest.fixture
def schemas(accelsim: Command, tmp_path: Path) -> dict[str, Any]:
    """Return name -> schema, as the command writes them."""
    files = accelsim("schemas", "--output", tmp_path / "made", "--json").data["files"]
    return {Path(f).name.partition(".")[0]: json.loads(Path(f).read_text("utf-8")) for f in files}


def test_two_runs_write_the_same_bytes(accelsim: Command, tmp_path: Path) -> None:
    """Schemas change when the types do, and never else."""
    for folder in ("a", "b"):
        assert accelsim("schemas", "--output", tmp_path / folder).status == 0
    a, b = ({f.name: f.read_bytes() for f in (tmp_path / n).iterdir()} for n in ("a", "b"))
    assert a == b
    assert len(a) == len(FOLDERS)


@pytest.mark.checkout
@pytest.mark.parametrize("name", FOLDERS)
def test_schemas_of_the_repository_are_up_to_date(schemas: dict[str, Any], name: str) -> None:
    """The schemas that editors read describe the types of now."""
    file = REPOSITORY / "schemas" / f"{name}.schema.json"
    advice = "run `accelsim schemas` (or `make schemas`) in the repository and commit schemas/"
    assert file.is_file(), advice
    assert json.loads(file.read_text(encoding="utf-8")) == schemas[name], advice


@pytest.mark.parametrize("name", FOLDERS)
def test_every_shipped_file_fits_its_schema(schemas: dict[str, Any], name: str) -> None:
    """An editor underlines nothing in a file that accelsim accepts."""
    jsonschema = pytest.importorskip("jsonschema")
    checker = jsonschema.Draft202012Validator(schemas[name])
    files = library.paths(FOLDERS[name]) if FOLDERS[name] else paper_files()
    assert files
    for path in files.values():
        problems = [problem.message for problem in checker.iter_errors(load_tree(path).data)]
        assert not problems, path


def test_fields_have_their_documentation(schemas: dict[str, Any]) -> None:
    """What stands under a field in the code is what an editor shows over it."""
    fields = schemas["arch"]["else"]["properties"]
    assert fields["devices"]["description"] == "Number of equal devices."
    assert {"type": "string", "title": "quantity in nm, or expression"} in fields["technology_nm"][
        "anyOf"
    ]


def test_extends_frees_a_mapping_from_required_fields(schemas: dict[str, Any]) -> None:
    """Beside `extends` any known field may stand alone, and still no unknown one."""
    arch = schemas["arch"]
    assert arch["if"] == {"required": ["extends"]}
    assert "required" not in arch["then"]
    assert set(arch["then"]["properties"]) == {"extends", *arch["else"]["properties"]}
    assert arch["then"]["additionalProperties"] is False
    assert "device" in arch["else"]["required"]
