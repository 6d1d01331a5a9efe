"""A saved workload comes back as it was; a damaged file says where it is damaged."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accelsim.errors import ConfigError, GraphError
from accelsim.workload import Sparsity, Workload, decode, model_names, prefill, workload
from accelsim.workload.families import family
from accelsim.workload.frozen import FrozenMap
from accelsim.workload.model import load_model
from accelsim.workload.phase import Phase, forward
from accelsim.workload.serial import SCHEMA, from_json, load, save, to_json

_PHASES = {"decode": decode(2, 31), "prefill": prefill(2, 32), "forward": forward(1)}


def small() -> Workload:
    return workload("llama3-8b", decode(2, 127))


def usual_phase(model: str) -> Phase | None:
    phases = family(load_model(model).family).PHASES
    return next((_PHASES[kind] for kind in phases if kind in _PHASES), None)


@pytest.mark.parametrize("model", model_names())
def test_a_saved_model_comes_back_equal(model: str, tmp_path: Path) -> None:
    """Every model of the library survives the file: same values, same order, same hash."""
    phase = usual_phase(model)
    if phase is None:
        pytest.skip(f"{model} has no single pass")
    built = workload(model, phase)
    again = load(save(built, tmp_path / "graph.json"))
    assert again == built
    assert hash(again) == hash(built)
    assert to_json(again) == to_json(built)


def test_sparsity_and_attributes_survive() -> None:
    """Sparse formats, tuples, nested maps, floats and nothing come back with their types."""
    built = small()
    block = built.blocks[1]
    operator = block.operators[0]
    extra = {"stride": (1, 2), "density": 0.5, "none": None, "map": FrozenMap(a=(True, "x"))}
    attributes = {**operator.attributes, **extra}
    tensors = {
        name: replace(tensor, sparsity=Sparsity(0.5, "2:4", 0.125))
        for name, tensor in block.tensors.items()
    }
    changed = replace(
        block,
        operators=(replace(operator, attributes=attributes), *block.operators[1:]),
        tensors=tensors,
    )
    built = replace(built, blocks=(built.blocks[0], changed, built.blocks[2]))
    again = from_json(to_json(built))
    assert again == built
    assert type(again.blocks[1].operators[0].attributes["map"]) is FrozenMap


def test_what_json_lacks_is_refused() -> None:
    """An attribute that would not come back as it was is an error, not a string."""
    built = small()
    block = built.blocks[0]
    operator = replace(block.operators[0], attributes={"mask": frozenset({1})})
    changed = replace(built, blocks=(replace(block, operators=(operator,)), *built.blocks[1:]))
    with pytest.raises(GraphError, match=r"hidden.*frozenset"):
        to_json(changed)


def damaged(change: Any) -> str:
    data = json.loads(to_json(small()))
    change(data)
    return json.dumps(data)


def _drop_count(data: dict[str, Any]) -> None:
    del data["blocks"][1]["count"]


def _text_for_a_dim(data: dict[str, Any]) -> None:
    data["blocks"][1]["operators"][2]["dims"]["m"] = "two"


def _unknown_role(data: dict[str, Any]) -> None:
    data["blocks"][0]["tensors"]["hidden"]["role"] = "activatoin"


def _zero_in_a_shape(data: dict[str, Any]) -> None:
    data["blocks"][0]["tensors"]["hidden"]["shape"] = [0, 4096]


def _unknown_format(data: dict[str, Any]) -> None:
    data["blocks"][0]["tensors"]["hidden"]["dtype"] = "bf17"


def _misspelt_field(data: dict[str, Any]) -> None:
    data["blocks"][0]["operators"][0]["atributes"] = {}


def _newer(data: dict[str, Any]) -> None:
    data["schema"] = "accelsim-workload/9"


def _missing_tensor(data: dict[str, Any]) -> None:
    data["blocks"][1]["operators"][0]["inputs"] = ["nowhere"]


def _true_for_a_number(data: dict[str, Any]) -> None:
    data["batch"] = True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_drop_count, r"blocks\[1\]\.count: is missing"),
        (_text_for_a_dim, r"blocks\[1\]\.operators\[2\]\.dims\.m: found text, not a whole number"),
        (_unknown_role, r"blocks\[0\]\.tensors\.hidden\.role.*`activatoin`"),
        (_zero_in_a_shape, r"blocks\[0\]\.tensors\.hidden: .*dimension 0"),
        (_unknown_format, r"blocks\[0\]\.tensors\.hidden: .*bf17"),
        (_misspelt_field, r"blocks\[0\]\.operators\[0\]\.atributes: unknown field\n.*attributes"),
        (_newer, rf"schema: found `accelsim-workload/9`, this version reads `{SCHEMA}`"),
        (_missing_tensor, r"describes no legal workload: .*layers.*nowhere"),
        (_true_for_a_number, r"batch: found true or false, not a whole number"),
    ],
)
def test_a_damaged_field_is_named(change: Any, said: str) -> None:
    """The error names the file, and the field by its place."""
    with pytest.raises(ConfigError, match=rf"graph\.json: {said}"):
        from_json(damaged(change), "graph.json")


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", '{"schema": "x"}', "\x00\x01"])
def test_what_is_no_graph_is_refused(text: str) -> None:
    """Any other text is an error that names the file."""
    with pytest.raises(ConfigError, match=r"graph\.json"):
        from_json(text, "graph.json")


def test_a_cut_file_names_the_line(tmp_path: Path) -> None:
    """A file that ends too early names the line at which it ends."""
    path = save(small(), tmp_path / "graph.json")
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    line = path.read_text().count("\n") + 1
    with pytest.raises(ConfigError, match=rf"graph\.json:{line}:"):
        load(path)


def test_a_field_that_stands_twice_is_refused() -> None:
    """JSON would keep the last silently."""
    text = to_json(small()).replace('"batch": 2,', '"batch": 2, "batch": 3,')
    with pytest.raises(ConfigError, match="twice"):
        from_json(text)


def test_a_missing_file_and_a_binary_one_are_named(tmp_path: Path) -> None:
    """Neither ends in a traceback."""
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read"):
        load(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.json: not UTF-8"):
        load(tmp_path / "binary.json")


def test_saving_leaves_no_half_file(tmp_path: Path) -> None:
    """A failed save leaves the earlier file as it was, and nothing beside it."""
    path = save(small(), tmp_path / "graph.json")
    before = path.read_text()
    save(small(), path)
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["graph.json"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        save(small(), tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "graph.json"]


def test_an_operator_stands_on_one_line() -> None:
    """So that a text tool compares two files operator by operator."""
    built = small()
    lines = [line for line in to_json(built).splitlines() if '"kind"' in line]
    assert len(lines) == sum(1 for _ in built.operators())


def test_saving_and_reading_take_less_time_than_a_person_notices() -> None:
    """Below 50 ms together for a mixture of experts."""
    built = workload("mixtral-8x7b", prefill(1, 2048))
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        from_json(to_json(built))
        best = min(best, time.perf_counter() - start)
    assert best < 0.05
