"""aiconfigurator's tables: ms, messages in elements, formats, republished rows; all invented."""

import pandas as pd
import pytest

from accelsim.errors import ConfigError
from accelsim.measure.imports import aiconfigurator

ROOT = "aic-core/src/aiconfigurator_core/systems/data"
ATTENTION = {"attn_dtype": "bfloat16", "kv_cache_dtype": "bfloat16", "batch_size": 2,
             "num_heads": 8, "num_key_value_heads": 2, "head_dim": 128, "window_size": 0,
             "kernel_source": "flash", "latency": 0.5}  # fmt: skip


@pytest.fixture
def table(tmp_path):
    """Write a performance table of some rows."""
    pytest.importorskip("pyarrow")

    def write(place: str, *rows):
        path = tmp_path / ROOT / place
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_parquet(path, index=False)
        return path

    return write


def test_products_are_in_ms_and_formats_get_their_names(table, tmp_path) -> None:
    shape = {"m": 8, "n": 16, "k": 32, "latency": 0.25, "framework": "VLLM"}
    formats = ("bfloat16", "fp8", "nvfp4", "int8_wo", "sq", "fp8_block")
    table("a100_sxm/gemm/vllm/0.14.0/gemm_perf.parquet",
          *({"gemm_dtype": name, **shape} for name in formats))  # fmt: skip
    found = aiconfigurator.read(tmp_path)
    assert found.table["dtype"].tolist() == ["bf16", "fp8", "nvfp4", "int8_wo", "sq_int8"]
    row = found.table.iloc[0]
    assert row[["m", "n", "k", "latency_us"]].tolist() == [8, 16, 32, 250]
    assert row[["gpu", "impl", "timing"]].tolist() == [
        "A100-SXM4-80GB", "vllm-0.14.0", "cuda_graph"]  # fmt: skip
    assert found.dropped == {"rows of format `fp8_block`": 1}


def test_a_decoding_query_sees_isl_and_step(table, tmp_path) -> None:
    table("rtx_pro_6000_server/attention/vllm/0.24.0/generation_attention_perf.parquet",
          {**ATTENTION, "isl": 1, "step": 63}, {**ATTENTION, "isl": 1, "step": 63,
                                                "window_size": 128})  # fmt: skip
    table("rtx_pro_6000_server/attention/vllm/0.24.0/context_attention_perf.parquet",
          {**ATTENTION, "isl": 64}, {**ATTENTION, "isl": 32, "kv_cache_dtype": "fp8"})  # fmt: skip
    encoder = {k: v for k, v in ATTENTION.items() if "kv" not in k and "key" not in k}
    table("rtx_pro_6000_server/encoder_attention/vllm/0.24.0/encoder_attention_perf.parquet",
          {**encoder, "isl": 32})  # fmt: skip
    found = aiconfigurator.read(tmp_path)
    rows = found.table
    dims = ["batch", "heads", "kv_heads", "q_len", "kv_len", "causal"]
    decode = rows[rows["op"] == "attention_decode"].iloc[0]
    assert decode[dims].tolist() == [2, 8, 2, 1, 64, 1]
    prefill = rows[(rows["op"] == "attention_prefill") & (rows["subop"] == "")].iloc[0]
    assert prefill[dims].tolist() == [2, 8, 2, 64, 64, 1]
    whole = rows[rows["subop"] == "encoder"].iloc[0]
    assert whole[dims].tolist() == [2, 8, 8, 32, 32, 0]
    assert set(rows["gpu"]) == {"RTXPRO6000"}
    assert set(rows["notes"]) == {"flash"}
    assert found.dropped == {"attention with a window or prefix": 1,
                             "attention in a quantised format": 1}  # fmt: skip


def test_mislabelled_decode_attention_is_left_out(table, tmp_path) -> None:
    row = {**ATTENTION, "isl": 1, "step": 63}
    for version in ("1.0.0", "1.2.0"):
        table(f"a100_sxm/attention/trtllm/{version}/generation_attention_perf.parquet", row)
    found = aiconfigurator.read(tmp_path)
    assert found.table["impl"].tolist() == ["trtllm-1.2.0"]
    assert list(found.dropped.values()) == [1]


def test_experts_have_their_width_before_it_is_split(table, tmp_path) -> None:
    row = {"moe_dtype": "fp8", "num_tokens": 64, "hidden_size": 512, "inter_size": 256, "topk": 4,
           "num_experts": 16, "moe_tp_size": 2, "moe_ep_size": 4, "latency": 0.5,
           "distribution": "balanced"}  # fmt: skip
    table("rtx_pro_6000_server/moe/vllm/0.24.0/moe_perf.parquet", row)
    only = aiconfigurator.read(tmp_path).table.iloc[0]
    dims = ["rows", "hidden", "inter", "topk", "experts", "tp", "ep"]
    assert only[dims].tolist() == [64, 512, 256, 4, 16, 2, 4]
    assert only["flops"] == 6 * 64 * 4 * 512 * 256 / 8
    assert only["subop"] == "balanced"


def test_messages_count_elements_and_republished_ones_are_left_out(table, tmp_path) -> None:
    row = {"allreduce_dtype": "bfloat16", "num_gpus": 4, "message_size": 1024, "latency": 0.1}
    rows = [{**row, "kernel_source": f"vLLM_custom_{kind}"} for kind in ("graph", "eager")]
    for version, changed in (("0.9.0", 0.1), ("0.14.0", 0.2)):
        table(f"a100_sxm/comm/vllm/{version}/custom_allreduce_perf.parquet",
              rows[0], {**rows[1], "latency": changed})  # fmt: skip
    nccl = {"nccl_dtype": "half", "num_gpus": 4, "message_size": 1024, "latency": 0.4}
    table("a100_sxm/comm/nccl/2.27.3/nccl_perf.parquet",
          {**nccl, "op_name": "all_gather"}, {**nccl, "op_name": "barrier"})  # fmt: skip
    found = aiconfigurator.read(tmp_path)
    ours = found.table.set_index(["subop", "impl"])
    assert set(found.table["bytes"]) == {2048}
    assert ("vLLM_custom_graph", "vllm-0.9.0") in ours.index  # 0.9 is older than 0.14
    assert ("vLLM_custom_graph", "vllm-0.14.0") not in ours.index
    assert ours.loc[("vLLM_custom_eager", "vllm-0.14.0"), "latency_us"] == 200
    assert set(ours.loc["vLLM_custom_eager", "timing"]) == {"eager"}
    assert ours.loc[("NCCL", "nccl-2.27.3"), ["op", "dtype"]].tolist() == ["allgather", "fp16"]
    assert sorted(found.dropped.values()) == [1, 1]


def test_the_older_layout_is_text_without_families(csv, tmp_path) -> None:
    csv(f"{ROOT}/h100_sxm/vllm/0.11.0/gemm_perf.txt",
        [("gemm_dtype", "m", "n", "k", "latency"), ("bfloat16", 8, 16, 32, 1)])  # fmt: skip
    row = aiconfigurator.read(tmp_path).table.iloc[0]
    assert row[["gpu", "impl", "latency_us"]].tolist() == ["H100-SXM5-80GB", "vllm-0.11.0", 1000]


def test_unknown_systems_and_operators_are_counted(csv, tmp_path) -> None:
    csv(f"{ROOT}/z9/gemm/vllm/1/gemm_perf.txt", [("a",)])
    csv(f"{ROOT}/a100_sxm/mla/vllm/1/context_mla_perf.txt", [("a",)])
    found = aiconfigurator.read(tmp_path)
    assert found.table.empty
    assert list(found.dropped.values()) == [1, 1]


def test_errors_name_the_place(table, csv, tmp_path) -> None:
    path = table("a100_sxm/gemm/vllm/1/gemm_perf.parquet",
                 {"gemm_dtype": "fp8", "m": "8", "n": "?", "k": 2, "latency": 1})  # fmt: skip
    with pytest.raises(ConfigError, match=r"gemm_perf\.parquet: n: found `\?` in row 1"):
        aiconfigurator.read(tmp_path)
    table("a100_sxm/gemm/vllm/1/gemm_perf.parquet", {"gemm_dtype": "fp8", "M": 8})
    with pytest.raises(ConfigError, match="no column `m`"):
        aiconfigurator.read(tmp_path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ConfigError, match="git lfs pull"):
        aiconfigurator.read(tmp_path)
    path.write_text("PAR1 but not")
    with pytest.raises(ConfigError, match="no Parquet file"):
        aiconfigurator.read(tmp_path)
