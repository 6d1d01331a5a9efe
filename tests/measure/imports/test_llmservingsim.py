"""LLMServingSim's profiles: us, ns and ms, shapes from configurations; figures are invented."""

import pytest

from accelsim.errors import ConfigError
from accelsim.measure.imports import llmservingsim

MODEL = {"hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 2,
         "intermediate_size": 1024, "vocab_size": 4096, "head_dim": 128, "num_experts": 16,
         "num_experts_per_tok": 4, "moe_intermediate_size": 256}  # fmt: skip
NEW = "profiler/perf/RTXPRO6000/org/model/bf16/tp2"
OLD = "profiler/v0/perf_models/A6000/org/model"


@pytest.fixture
def model(js):
    """Configuration of the model of all profiles."""
    return js("configs/model/org/model.json", MODEL)


def test_dense_layers_have_the_shapes_of_one_shard(csv, model, tmp_path) -> None:
    names = ("embedding", "layernorm", "qkv_proj", "qk_norm", "rotary_emb", "o_proj",
             "gate_up_proj", "act_fn", "down_proj", "final_layernorm", "mystery")  # fmt: skip
    rows = [("layer", "tokens", "time_us"), *((n, 16, 10 + i) for i, n in enumerate(names))]
    csv(f"{NEW}/dense.csv", rows)
    found = llmservingsim.read(tmp_path)
    by = found.table.set_index("subop")
    assert by.loc["qkv_proj", ["m", "n", "k", "latency_us"]].tolist() == [16, 768, 512, 12]
    assert by.loc["o_proj", ["n", "k"]].tolist() == [512, 512]
    assert by.loc["gate_up_proj", ["n", "k"]].tolist() == [1024, 512]
    assert by.loc["down_proj", ["n", "k"]].tolist() == [512, 512]
    assert by.loc["qk_norm", ["rows", "cols"]].tolist() == [80, 128]
    assert by.loc["act_fn", ["op", "cols"]].tolist() == ["silu_mul", 512]
    assert by.loc["rotary_emb", ["heads", "kv_heads"]].tolist() == [4, 1]
    assert by.loc["final_layernorm", "notes"] == "org/model; fused residual add"
    assert set(by["tp"]) == {2}
    assert set(by["dtype"]) == {"bf16"}
    assert found.dropped == {"layers `mystery`, which have no counterpart here": 1}


def test_per_sequence_layers_and_experts(csv, model, tmp_path) -> None:
    csv(f"{NEW}/per_sequence.csv",
        [("layer", "sequences", "time_us"), ("lm_head", 3, 7), ("sampler", 3, 5)])  # fmt: skip
    csv(f"{NEW}/moe.csv", [("tokens", "activated_experts", "time_us"), (32, 8, 90)])
    by = llmservingsim.read(tmp_path).table.set_index("op")
    assert by.loc["gemm", ["m", "n", "k", "latency_us"]].tolist() == [3, 2048, 512, 7]
    assert by.loc["sampler", ["rows", "cols", "latency_us"]].tolist() == [3, 4096, 5]
    dims = ["rows", "hidden", "inter", "experts", "topk", "active_experts", "tp", "latency_us"]
    assert by.loc["moe", dims].tolist() == [32, 512, 256, 16, 4, 8, 2, 90]


def test_attention_is_prefill_decode_or_both(csv, model, tmp_path) -> None:
    head = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us")
    rows = [(32, 64, 0, 0, 10), (0, 0, 8, 256, 20), (32, 64, 8, 256, 30), (0, 0, 0, 0, 1)]
    csv(f"{NEW}/attention.csv", [head, *rows])
    found = llmservingsim.read(tmp_path)
    by = found.table.set_index("op")
    dims = ["batch", "q_len", "kv_len", "n_decode", "kv_decode", "latency_us"]
    assert by.loc["attention_prefill", dims].tolist() == [1, 32, 96, 0, 0, 10]
    assert by.loc["attention_decode", dims].tolist() == [8, 1, 256, 8, 256, 20]
    assert by.loc["attention_mixed", dims].tolist() == [1, 32, 96, 8, 256, 30]
    assert found.dropped == {"attention without a request": 1}


def test_the_older_profiles_are_in_ns_and_ms(csv, model, tmp_path) -> None:
    head = ("layer_name", "input", "kv_cache", "tp_size", "latency(ns)")
    rows = [("k_proj", 16, 0, 2, 5000), ("up_proj", 16, 0, 1, 7000), ("rope", 16, 0, 1, 9)]
    csv(f"{OLD}/tp1/layers.csv", [head, *rows])
    attention = {"n_embd": 512, "n_q_head": 8, "n_kv_head": 2, "num_tensor_parallel_workers": 2,
                 "batch_size": 1, "prefill_chunk_size": 32, "kv_cache_size": 0, "is_prefill": True,
                 "time_stats.attn_prefill.median": 0.5, "time_stats.attn_prefill.min": 0.5,
                 "time_stats.attn_prefill.std": 0}  # fmt: skip
    decode = attention | {"is_prefill": False}
    csv(f"{OLD}/tp2/attention.csv", [list(row) for row in
        (attention, attention.values(), decode.values())])  # fmt: skip
    found = llmservingsim.read(tmp_path)
    by = found.table.set_index(found.table["subop"].astype(str))
    assert by.loc["k_proj", ["m", "n", "k", "tp", "latency_us"]].tolist() == [16, 128, 512, 2, 5]
    assert by.loc["up_proj", ["n", "latency_us"]].tolist() == [1024, 7]
    assert by.loc["", ["op", "q_len", "kv_len", "heads", "tp"]].tolist() == [
        "attention_prefill", 32, 32, 4, 2]  # fmt: skip
    assert by.loc["", "latency_us"] == 500
    assert set(by["notes"]) == {"org/model; v0 profile"}
    assert sorted(found.dropped.values()) == [1, 1]


def test_tpus_are_left_out(csv, tmp_path) -> None:
    csv("profiler/v0/perf_models/TPU-v6e-1/org/model/tp1/layers.csv", [("a",)])
    found = llmservingsim.read(tmp_path)
    assert found.table.empty
    assert list(found.dropped.values()) == [1]


def test_errors_name_the_place(csv, js, model, tmp_path) -> None:
    name = f"{NEW}/dense.csv"
    csv(name, [("layer", "tokens", "time_us"), ("o_proj", 16, "-")])
    with pytest.raises(ConfigError, match=r"dense\.csv:2: time_us: found `-`"):
        llmservingsim.read(tmp_path)
    csv(name, [("layer", "tokens", "time_us"), ("o_proj", 16, 1)])
    js("configs/model/org/model.json", {k: v for k, v in MODEL.items() if k != "hidden_size"})
    with pytest.raises(ConfigError, match=r"model\.json: hidden_size: no `hidden_size`"):
        llmservingsim.read(tmp_path)
    model.unlink()
    with pytest.raises(ConfigError, match="needs the shapes of org/model"):
        llmservingsim.read(tmp_path)
    csv(f"{NEW}/attention.csv", [("layer", "prefill_key", "time_us"), (1, 2, 3)])
    (tmp_path / name).unlink()
    js("configs/model/org/model.json", MODEL)
    with pytest.raises(ConfigError, match="no column `prefill_chunk`"):
        llmservingsim.read(tmp_path)
