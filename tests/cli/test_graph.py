"""``accelsim graph`` and ``accelsim import``: what they print, write and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelsim.workload import load_model
from accelsim.workload.serial import load
from tests.cli.conftest import Command

LLAMA = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 128, "vocab_size": 100,
}  # fmt: skip


def test_a_graph_is_shown_with_its_conventions(accelsim: Command) -> None:
    """Totals, what was counted, and every operator of every block."""
    text = accelsim("graph", "show", "deepseek-v2-lite", "--seq-len", "64").out
    assert "absorbed" in text
    assert "q_absorb" in text
    assert "layers.1 x 26" in text


def test_a_saved_graph_stands_for_a_model(accelsim: Command, tmp_path: Path) -> None:
    """Saving, running and comparing with itself; its sizes cannot be changed any more."""
    file = tmp_path / "bert.json"
    accelsim("graph", "save", "bert-base", str(file), "--seq-len", "32")
    assert load(file).tokens == 32
    run = json.loads(accelsim("run", str(file), "a100-80gb", "--json").out)
    fresh = json.loads(
        accelsim("run", "bert-base", "a100-80gb", "--phase", "forward", "--seq-len", "32",
               "--json").out
    )  # fmt: skip
    assert run["summary"]["latency_s"] == fresh["summary"]["latency_s"]
    assert "no difference" in accelsim("graph", "diff", str(file), str(file)).out
    refused = accelsim("run", str(file), "a100-80gb", "--set", "workload.height=8")
    assert refused.status == 2
    assert "saved graph, whose sizes are fixed" in refused.err


def test_a_difference_names_dims_and_totals(accelsim: Command) -> None:
    """Prefill against decode of one model."""
    text = accelsim(
        "graph", "diff", "gpt2", "gpt2", "--phase", "decode", "--to-phase", "prefill"
    ).out
    assert "qkv_proj: m 1 -> 1,024" in text


def test_a_drawing_is_written(accelsim: Command, tmp_path: Path) -> None:
    """PNG by its name, of one block."""
    file = tmp_path / "mid.png"
    accelsim("graph", "draw", "sd15-unet", "-o", str(file), "--block", "mid")
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_configuration_becomes_a_model_file(accelsim: Command, tmp_path: Path) -> None:
    """The file that is written is a model of the library's form."""
    config, model = tmp_path / "config.json", tmp_path / "tiny.yaml"
    config.write_text(json.dumps(LLAMA))
    accelsim("import", "hf", str(config), "-o", str(model))
    assert load_model(model).parameters == load_model(config).parameters
    assert "family: decoder" in accelsim("import", "hf", str(config)).out


@pytest.mark.checkout
def test_einsums_become_a_graph(accelsim: Command, tmp_path: Path) -> None:
    """The example's layer, decoded after 99 tokens."""
    file = tmp_path / "layer.json"
    example = Path(__file__).parents[2] / "examples" / "attention.einsum.yaml"
    arguments = ("--phase", "decode", "--seq-len", "99", "-o", str(file))
    accelsim("import", "einsum", str(example), *arguments)
    assert any(o.dims.get("n") == 100 for _, o in load(file).operators())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("graph", "show", "sd15"), "is a pipeline: it has no single pass"),
        (("graph", "show", "llama9"), "unknown model `llama9`"),
        (("graph", "show", "gpt2", "--phase", "forward"), "is causal"),
        (("graph", "show", "gpt2", "--set", "arch.devices=2"), "begins with model. or workload."),
        (("graph", "draw", "gpt2", "--block", "attic"), "attic"),
        (("import", "onnx", "missing.onnx"), "missing.onnx"),
        (("import", "onnx", "x.onnx", "--dim", "batch"), "NAME=VALUE"),
        (("import", "onnx", "x.onnx", "--dim", "batch=none"), "no whole number"),
        (("import", "hf", "missing.json"), "missing.json"),
        (("import", "einsum", "missing.yaml"), "missing.yaml"),
        (("run", "sd15", "a100-80gb", "--phase", "forward"), "is of family pipeline"),
        (("trace", "sd15", "a100-80gb", "--phase", "generate"), "a pass is needed"),
        (("run", "vit-b16", "a100-80gb", "--phase", "forward", "--set", "workload.height=100"),
         "no multiple of the 16 pixels"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(
    accelsim: Command, arguments: tuple[str, ...], text: str
) -> None:
    """A message with what is wrong, no traceback."""
    outcome = accelsim(*arguments)
    assert outcome.status == 2
    assert text in outcome.err


def test_a_generation_is_a_sum_of_stages(accelsim: Command) -> None:
    """Stages with their runs; the summary adds them up."""
    data = json.loads(
        accelsim("run", "gpt2", "a100-80gb", "--phase", "generate", "--seq-len", "64",
               "--set", "workload.output_len=9", "--json").out
    )  # fmt: skip
    whole = sum(stage["times"] * stage["latency_s"] for stage in data["stages"])
    assert data["summary"]["latency_s"] == pytest.approx(whole)
    assert sum(stage["times"] for stage in data["stages"]) == 9
    assert "TPOT" in accelsim("run", "gpt2", "a100-80gb", "--phase", "generate").out
