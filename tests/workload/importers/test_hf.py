"""Hugging Face configurations: every field that changes counts is honoured or refused.

The figures are of transformers 5.23.0 on torch 2.13.0 ``meta`` tensors: parameters by ``numel``,
FLOPs by ``FlopCounterMode`` for a prefill of 2 x 48 tokens with logits of all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accelsim.errors import ConfigError, UnknownNameError
from accelsim.workload import Conventions, flop_split, load_model, prefill, validate
from accelsim.workload.families.decoder import build
from accelsim.workload.importers import _hf_decoder
from accelsim.workload.importers.hf import from_hf_config, model_types
from tests.workload.importers import test_hf_models

GPT2 = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50257}
OPT = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "ffn_dim": 3072,
    "vocab_size": 50272, "max_position_embeddings": 2048,
}  # fmt: skip
LLAMA = {
    "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "intermediate_size": 11008, "vocab_size": 32000,
}  # fmt: skip
MISTRAL = {**LLAMA, "intermediate_size": 14336}
QWEN = {**LLAMA, "intermediate_size": 22016, "vocab_size": 151936}
QWEN2_MOE = {
    "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16,
    "intermediate_size": 5632, "vocab_size": 151936, "moe_intermediate_size": 1408,
    "shared_expert_intermediate_size": 5632, "num_experts": 60, "num_experts_per_tok": 4,
}  # fmt: skip
QWEN3_MOE = {
    "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32,
    "intermediate_size": 6144, "vocab_size": 151936, "moe_intermediate_size": 768,
    "num_experts": 128, "num_experts_per_tok": 8,
}  # fmt: skip
STARCODER2 = {
    "hidden_size": 3072, "num_hidden_layers": 30, "num_attention_heads": 24,
    "intermediate_size": 12288, "vocab_size": 49152,
}  # fmt: skip
PHI3 = {
    "hidden_size": 3072, "num_hidden_layers": 32, "num_attention_heads": 32,
    "intermediate_size": 8192, "vocab_size": 32064,
}  # fmt: skip
GPT_OSS = {
    "hidden_size": 2880, "num_hidden_layers": 36, "num_attention_heads": 64,
    "intermediate_size": 2880, "vocab_size": 201088, "num_local_experts": 128,
}  # fmt: skip

# (model type, fields, changes to them) -> (parameters, FLOPs)
REAL: list[tuple[str, dict[str, Any], dict[str, Any], int, int]] = [
    ("gpt2", GPT2, {}, 124_439_808, 23_888_019_456),
    ("gpt2", GPT2, {"n_inner": 1000, "n_embd": 96, "n_head": 4}, 7_691_904, 1_474_873_344),
    ("gpt_bigcode", GPT2, {}, 111_446_784, 21_396_602_880),
    ("gpt_bigcode", GPT2, {"multi_query": False}, 124_439_808, 23_888_019_456),
    ("gpt_oss", GPT_OSS, {}, 116_829_156_672, 987_889_139_712),
    ("llama", LLAMA, {}, 6_738_415_616, 1_270_974_775_296),
    (
        "llama", LLAMA,
        {"num_key_value_heads": 4, "attention_bias": True, "mlp_bias": True,
         "tie_word_embeddings": True},
        5_668_950_016, 1_090_586_148_864,
    ),
    ("llama", LLAMA, {"head_dim": 64}, 5_664_673_792, 1_063_608_385_536),
    ("mistral", MISTRAL, {}, 7_241_732_096, 1_367_611_539_456),
    ("mixtral", MISTRAL, {}, 46_702_792_704, 2_450_144_624_640),
    ("opt", OPT, {}, 125_239_296, 23_890_231_296),
    ("opt", OPT, {"enable_bias": False}, 125_156_352, 23_890_231_296),
    ("phi3", PHI3, {}, 3_821_079_552, 716_508_758_016),
    ("phi3", PHI3, {"num_key_value_heads": 8}, 3_368_094_720, 629_535_670_272),
    ("qwen2", QWEN, {}, 12_049_846_272, 2_196_372_455_424),
    (
        "qwen2", QWEN,
        {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 20},
        12_049_846_272, 2_196_372_455_424,
    ),
    ("qwen2_moe", QWEN2_MOE, {}, 14_315_784_192, 457_436_037_120),
    (
        "qwen2_moe", QWEN2_MOE, {"decoder_sparse_step": 2, "mlp_only_layers": [3]},
        7_566_573_568, 370_755_108_864,
    ),
    ("qwen2_moe", QWEN2_MOE, {"qkv_bias": False}, 14_315_636_736, 457_436_037_120),
    ("qwen3", QWEN, {}, 12_049_461_248, 2_196_372_455_424),
    (
        "qwen3", QWEN, {"attention_bias": True, "tie_word_embeddings": True},
        11_427_655_680, 2_196_372_455_424,
    ),
    ("qwen3_moe", QWEN3_MOE, {}, 15_350_731_776, 279_290_314_752),
    (
        "qwen3_moe", QWEN3_MOE,
        {"decoder_sparse_step": 3, "mlp_only_layers": [2], "attention_bias": True},
        5_720_458_240, 278_434_676_736,
    ),
    ("starcoder2", STARCODER2, {}, 3_030_371_328, 583_331_217_408),
    ("starcoder2", STARCODER2, {"use_bias": False}, 3_029_710_848, 583_331_217_408),
]  # fmt: skip


@pytest.mark.parametrize(("model_type", "fields", "changes", "parameters", "flops"), REAL)
def test_import_equals_the_real_class(
    model_type: str, fields: dict[str, Any], changes: dict[str, Any], parameters: int, flops: int
) -> None:
    """Parameters and FLOPs are those of the class that transformers makes of the same fields."""
    found = from_hf_config({"model_type": model_type, **fields, **changes})
    graph = validate(build(found.config, prefill(2, 48), conventions=Conventions(logits="all")))
    assert (graph.parameters, sum(flop_split(graph).values())) == (parameters, flops)


def test_every_model_type_is_compared() -> None:
    """No supported decoder goes without a comparison with its real class."""
    compared = {row[0] for row in REAL} | {
        row["config"].get("model_type") for row in test_hf_models.REAL
    }
    # Kimi K2 is DeepSeek-V3's class by another name; Llama 4 has a test of its own.
    assert set(_hf_decoder.MODEL_TYPES) - compared == {"kimi_k2", "llama4_text"}
    assert set(_hf_decoder.MODEL_TYPES) <= set(model_types())


@pytest.mark.parametrize(
    ("model_type", "fields", "change", "text"),
    [
        ("gpt2", GPT2, {"add_cross_attention": True}, "cross-attention is not supported"),
        ("opt", OPT, {"word_embed_proj_dim": 512}, "another width"),
        ("opt", OPT, {"do_layer_norm_before": False}, "after the residual"),
        ("opt", OPT, {"_remove_final_layer_norm": True}, "no final norm"),
        ("opt", OPT, {"layer_norm_elementwise_affine": False}, "norms without weights"),
        ("llama", LLAMA, {"hidden_act": "xielu"}, "activation `xielu`"),
        ("llama", LLAMA, {"torch_dtype": "float8"}, "format `float8`"),
        ("llama", LLAMA, {"quantization_config": {"quant_method": "gptq"}}, "`gptq`"),
        ("llama", LLAMA, {"num_nextn_predict_layers": 1}, "num_nextn_predict_layers"),
        ("llama", LLAMA, {"pruned_heads": {"0": [1]}}, "pruned heads"),
        ("llama", LLAMA, {"is_encoder_decoder": True}, "an encoder"),
        ("phi3", PHI3, {"rope_parameters": {"partial_rotary_factor": 0.75}}, "rotated in part"),
        ("phi3", PHI3, {"partial_rotary_factor": 0.5}, "rotated in part"),
        ("llama", LLAMA, {"num_attention_heads": 33}, "does not divide over"),
        ("llama", LLAMA, {"hidden_size": None}, "`hidden_size` is missing"),
    ],
)
def test_a_field_that_is_not_understood_is_refused(
    model_type: str, fields: dict[str, Any], change: dict[str, Any], text: str
) -> None:
    """What would change the graph and is not supported stops the import, by name."""
    with pytest.raises(ConfigError, match=text):
        from_hf_config({"model_type": model_type, **fields, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        {"eos_token_id": [1, 2], "transformers_version": "4.40.0", "use_cache": True},
        {"num_nextn_predict_layers": 0, "quantization_config": None},
    ],
)
def test_fields_without_influence_are_passed_over(change: dict[str, Any]) -> None:
    """Fields of training and generation, and unknown ones that are off, change nothing."""
    plain = {"model_type": "llama", **LLAMA}
    assert from_hf_config({**plain, **change}) == from_hf_config(plain)


def test_an_unknown_model_type_names_the_supported_ones() -> None:
    """A model type without a mapping is refused with those that have one."""
    with pytest.raises(UnknownNameError, match=r"(?s)type `mambo`.*mixtral.*mt5, opt"):
        from_hf_config({"model_type": "mambo"})


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """JSON without a model type is no configuration; the error names the file."""
    file = tmp_path / "config.json"
    file.write_text('{"hidden_size": 8}')
    with pytest.raises(ConfigError, match=r"config.json.*no `model_type`"):
        from_hf_config(file)


def test_an_error_in_a_file_has_its_line(tmp_path: Path) -> None:
    """A refused field is shown where it stands."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "opt", **OPT, "word_embed_proj_dim": 512}, indent=1))
    with pytest.raises(ConfigError) as caught:
        from_hf_config(file)
    assert caught.value.location is not None
    assert caught.value.location.line == 9


@pytest.mark.parametrize(
    ("text", "found"),
    [("float16", "fp16"), ("torch.bfloat16", "bf16"), ("float32", "fp32")],
)
def test_the_published_format_is_taken(text: str, found: str) -> None:
    """`torch_dtype`, or `dtype` since transformers 5, sets weights, activations and cache."""
    for key in ("torch_dtype", "dtype"):
        dtypes = from_hf_config({"model_type": "llama", **LLAMA, key: text}).dtypes
        assert {dtypes.weight, dtypes.activation, dtypes.kv_cache} == {found}


def test_gpt_oss_keeps_its_experts_in_mxfp4() -> None:
    """Its checkpoint's quantisation is that of the routed experts."""
    quantised = {"quantization_config": {"quant_method": "mxfp4"}}
    dtypes = from_hf_config({"model_type": "gpt_oss", **GPT_OSS, **quantised}).dtypes
    assert (dtypes.experts, dtypes.weight) == ("mxfp4", "bf16")


@pytest.mark.parametrize(
    ("folder", "file", "field", "name"),
    [
        ("my-llama", "config.json", {}, "my-llama"),
        ("x", "tiny.json", {}, "tiny"),
        ("x", "config.json", {"_name_or_path": "org/Llama-9"}, "Llama-9"),
    ],
)
def test_the_name_is_the_published_one_or_the_files(
    tmp_path: Path, folder: str, file: str, field: dict[str, str], name: str
) -> None:
    """A model is called as it was published, else after its folder or file."""
    path = tmp_path / folder / file
    path.parent.mkdir()
    path.write_text(json.dumps({"model_type": "llama", **LLAMA, **field}))
    assert from_hf_config(path).name == name


def test_import_equals_the_library_model() -> None:
    """The library's Llama-2-7B and its published configuration are the same model."""
    fields = {**LLAMA, "max_position_embeddings": 4096, "torch_dtype": "float16"}
    fields |= {"num_key_value_heads": 32, "head_dim": 128}
    found = from_hf_config({"model_type": "llama", **fields}, name="llama2-7b")
    ours = load_model("llama2-7b")
    assert build(found.config, prefill(1, 64)) == build(ours.parameters, prefill(1, 64))
    assert found.dtypes == ours.dtypes
