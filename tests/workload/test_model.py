"""Models by name, by file and from a Hugging Face folder; what is wrong is shown with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelsim.errors import ConfigError, UnknownNameError
from accelsim.workload import Dtypes, decode, load_model, workload

TINY = """\
name: tiny
family: decoder
source: made up
parameters:
  hidden_size: 8
  num_hidden_layers: 2
  num_attention_heads: 2
  intermediate_size: 16
  vocab_size: 10
  activation: relu
  gated: false
  norm: layernorm
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(text)
    return path


def test_a_model_file_of_the_user(tmp_path: Path) -> None:
    """A path to a YAML file is as good as a library name; formats default to BF16."""
    path = write(tmp_path, TINY)
    assert load_model(path).dtypes == Dtypes()
    assert workload(path, decode(1, 3)).name == "tiny"


def test_a_model_is_read_once() -> None:
    """A sweep asks for the same model at every point; the file is read at the first."""
    assert load_model("llama3-8b") is load_model("llama3-8b")


def test_overrides_change_one_field() -> None:
    """An override names a field by its dotted path; the library's model stays as it was."""
    changed = load_model("llama3-8b", {"parameters.num_hidden_layers": 2})
    assert changed.parameters.num_hidden_layers == 2
    assert load_model("llama3-8b").parameters.num_hidden_layers == 32


def test_formats_may_be_given() -> None:
    """Formats of the caller replace the model's own."""
    graph = workload("llama3-8b", decode(1, 7), dtypes=Dtypes(kv_cache="fp8"))
    assert graph.kv_bytes_per_token == 131_072 // 2


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("hidden_size: 8", "hidden_size: 9", r"tiny.yaml:5.*parameters: hidden_size 9 does not"),
        ("vocab_size", "vocabulary", r"tiny.yaml:9.*unknown key `vocabulary`"),
        ("norm: layernorm", "norm: batch", r"tiny.yaml:12.*found `batch`"),
        ("  norm: layernorm\n", "", "`norm` is missing"),
        ("family: decoder\n", "", "`family` is missing"),
        ("source: made up\n", "", "`source` is missing"),
        ("name: tiny", "name: tiny\ndtypes: {weight: int9}", r"tiny.yaml:2.*`int9`.*int4|int5"),
    ],
)
def test_what_is_wrong_is_shown_where_it_stands(
    tmp_path: Path, old: str, new: str, text: str
) -> None:
    """Errors carry file, line and field."""
    with pytest.raises(ConfigError, match=text):
        load_model(write(tmp_path, TINY.replace(old, new)))


def test_an_unknown_family_is_answered_with_the_known(tmp_path: Path) -> None:
    """A family without a file is refused with file and line."""
    with pytest.raises(UnknownNameError, match=r"(?s)tiny.yaml:2.*did you mean `decoder`"):
        load_model(write(tmp_path, TINY.replace("family: decoder", "family: decodr")))


def test_an_unknown_model_is_answered_with_the_nearest() -> None:
    """A misspelt model gets the nearest name of the library."""
    with pytest.raises(UnknownNameError, match="did you mean `llama3-8b`"):
        load_model("llama3-8B")


def test_a_hugging_face_folder_is_a_model(tmp_path: Path) -> None:
    """A folder with a config.json, or the file itself, names a model."""
    fields = {"model_type": "gpt2", "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16,
              "vocab_size": 10, "torch_dtype": "float16"}  # fmt: skip
    file = tmp_path / "config.json"
    file.write_text(json.dumps(fields))
    graph = workload(tmp_path, decode(1, 3))
    assert graph == workload(file, decode(1, 3))
    assert graph.name == tmp_path.name
    assert load_model(file).dtypes.weight == "fp16"


def test_a_hugging_face_file_takes_no_overrides(tmp_path: Path) -> None:
    """An override that would be lost is refused."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ConfigError, match="overrides apply to YAML models"):
        load_model(file, {"parameters.n_layer": 1})
