"""`accelsim list` and `accelsim show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelsim.config import library
from accelsim.workload import decode, workload
from tests.cli.conftest import Command

DESIGNS = {
    "models": "models", "archs": "arch", "mappings": "mapping", "sweeps": "sweeps",
    "fusions": "mapping/fusion",
}  # fmt: skip


@pytest.mark.parametrize("what", DESIGNS)
def test_list_names_every_design(accelsim: Command, what: str) -> None:
    """The list is that of the library, and each file is there."""
    found = accelsim("list", what, "--json").data
    assert [row["name"] for row in found] == library.names(DESIGNS[what])
    assert all(Path(row["file"]).is_file() for row in found)
    assert not [row for row in found if not row["description"]]


@pytest.mark.parametrize(
    ("what", "name"), [("units", "systolic"), ("memories", "dram"), ("links", "link"),
                       ("operators", "attention")],
)  # fmt: skip
def test_list_names_kinds(accelsim: Command, what: str, name: str) -> None:
    """Kinds of components and operators are listed with what their files say of them."""
    found = {row["name"]: row["description"] for row in accelsim("list", what, "--json").data}
    assert found[name].endswith(".")


def test_list_gives_every_figure_its_citation(accelsim: Command) -> None:
    """The component library: value, unit, node and full reference; sections for people."""
    found = accelsim("list", "technology", "--json").data
    assert len(found) > 110
    assert all(row["source"].endswith("]") for row in found)
    int8 = next(r for r in found if r["name"] == "multiply int8" and r["technology_nm"] == 45)
    assert (int8["value"], int8["unit"]) == (0.2, "pJ")
    out = accelsim("list", "technology").out
    assert "register file" in out
    assert max(map(len, out.splitlines())) <= 100


def test_list_fits_100_columns(accelsim: Command) -> None:
    """Long descriptions are wrapped."""
    out = accelsim("list", "mappings").out
    assert max(map(len, out.splitlines())) <= 100


def test_list_survives_a_broken_file(
    accelsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file that cannot be read does not hide the others; the list says what is wrong."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "broken.yaml").write_text("name: [", encoding="utf-8")
    monkeypatch.setenv("ACCELSIM_LIBRARY", str(tmp_path))
    found = {row["name"]: row["description"] for row in accelsim("list", "models", "--json").data}
    assert "not valid YAML" in found["broken"]
    assert "gpt2" in found


def test_show_counts_a_model(accelsim: Command) -> None:
    """Counts of `show` are those of the workload graph."""
    facts = accelsim("show", "llama3-8b", "--json").data["facts"]
    assert facts["parameters"] == workload("llama3-8b", decode(1, 1023)).parameters == 8030261248
    assert facts["kv_bytes_per_token"] == 131072


@pytest.mark.parametrize(
    ("name", "kind"), [("gpt2", "model"), ("a100-80gb", "arch"), ("npu-pim", "mapping")]
)
def test_show_finds_the_kind_and_a_source_of_every_parameter(
    accelsim: Command, name: str, kind: str
) -> None:
    """Each parameter has a value and says where it comes from."""
    found = accelsim("show", name, "--json").data
    assert found["kind"] == kind
    assert found["parameters"]
    assert not [p["path"] for p in found["parameters"] if not p["source"]]


def test_show_says_file_and_line_of_what_is_not_a_default(accelsim: Command) -> None:
    """A parameter that a file sets names the line, also in a file that the design extends."""
    found = {p["path"]: p for p in accelsim("show", "a100-80gb", "--json").data["parameters"]}
    assert found["devices"]["place"].endswith("a100-80gb.yaml:5:10")
    assert "components" in found["device.units.sm.sms"]["place"]
    assert found["device.main_memory"] | {"value": 0, "text": ""} == {
        "path": "device.main_memory", "value": 0, "text": "", "source": "default", "place": "",
    }  # fmt: skip


def test_show_takes_a_file(accelsim: Command, model_file: Path) -> None:
    """The kind of a file outside the library follows from its content."""
    found = accelsim("show", model_file, "--json").data
    assert (found["kind"], found["name"]) == ("model", "tiny")


def test_show_takes_a_hugging_face_configuration(accelsim: Command, tmp_path: Path) -> None:
    """The folder of a ``config.json`` is a model."""
    config = {
        "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 100,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    found = accelsim("show", tmp_path, "--json").data
    assert found["kind"] == "model"
    assert found["facts"]["parameters"] > 0


def test_show_asks_which_where_a_name_has_two_kinds(
    accelsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ambiguous name is refused with the option that settles it, and settled by it."""
    (tmp_path / "mapping").mkdir()
    (tmp_path / "mapping" / "gpt2.yaml").write_text(
        "name: gpt2\nplace: [{on: fastest}]\n", encoding="utf-8"
    )
    monkeypatch.setenv("ACCELSIM_LIBRARY", str(tmp_path))
    refused = accelsim("show", "gpt2")
    assert refused.status == 2
    assert "--kind" in refused.err
    assert accelsim("show", "gpt2", "--kind", "mapping", "--json").data["kind"] == "mapping"


def test_show_text_fits_100_columns(accelsim: Command) -> None:
    """Sources are numbered and listed below, so that the table stays readable."""
    out = accelsim("show", "a100-80gb").out
    assert max(map(len, out.splitlines())) <= 100
    assert "[1]" in out


def test_an_architecture_says_what_its_die_costs(accelsim: Command, tmp_path: Path) -> None:
    """Where it says how the die is made."""
    file = tmp_path / "dear.yaml"
    base = "extends: nvdla-large\nname: dear\ntechnology_nm: 7\n"
    die = "  die: {area_mm2: 400, wafer_price_usd: 9346, defects_per_cm2: 0.09}\n"
    file.write_text(base + "device:\n" + die, encoding="utf-8")
    shown = accelsim("show", str(file), "--json")
    assert shown.status == 0, shown.err
    assert "USD good" in accelsim("show", str(file)).out
