"""vidur's profiles: ms, shapes of one shard, collectives, copied files; figures are invented."""

import pytest

from accelsim.errors import ConfigError
from accelsim.measure.imports import vidur

TIMED = ("emb", "input_layernorm", "attn_pre_proj", "attn_rope", "attn_post_proj",
         "post_attention_layernorm", "mlp_up_proj", "mlp_act", "mlp_down_proj", "add")  # fmt: skip
SHAPE = {"n_head": 8, "n_kv_head": 2, "n_embd": 512, "n_expanded_embd": 1024, "vocab_size": 99,
         "use_gated_mlp": True, "num_tokens": 16, "num_tensor_parallel_workers": 2}  # fmt: skip


def layers(*, gated: bool = True, second_norm: bool = True, **changes):
    """Return head and one row: step i has a median of i + 1 ms, less at its least."""
    row = {**SHAPE, "use_gated_mlp": gated}
    for i, name in enumerate(TIMED):
        if name == "post_attention_layernorm" and not second_norm:
            continue
        row[f"time_stats.{name}.median"] = i + 1
        row[f"time_stats.{name}.min"] = i + 0.5
        row[f"time_stats.{name}.std"] = 0.01
    row |= changes
    return [list(row), list(row.values())]


def test_layers_are_in_ms_with_the_shapes_of_one_shard(csv, tmp_path) -> None:
    csv("data/profiling/compute/a100/org/model/mlp.csv", layers())
    table = vidur.read(tmp_path).table
    products = {
        (r.m, r.n, r.k): r.latency_us for r in table[table["op"] == "gemm"].itertuples()
    }  # heads of 64; of 8 + 2 * 2 heads and of both halves of the gated layer, half
    assert products == {(16, 384, 512): 3000, (16, 512, 256): 5000, (16, 1024, 512): 7000,
                        (16, 512, 512): 9000}  # fmt: skip
    by = table.set_index("op")
    assert by.loc["silu_mul", ["rows", "cols"]].tolist() == [16, 512]
    assert by.loc["rope", ["heads", "kv_heads", "head_dim"]].tolist() == [4, 1, 64]
    assert by.loc["rope", ["lat_min_us", "lat_std_us"]].tolist() == [3500, 10]
    assert by.loc["rmsnorm", ["n_merged", "latency_us"]].tolist() == [2, 4000]
    assert by.loc["elementwise", ["subop", "cols"]].tolist() == ["add", 512]
    assert by.loc["embedding", ["rows", "cols"]].tolist() == [16, 512]
    assert set(table["gpu"]) == {"A100-PCIe-80GB"}
    assert set(table["notes"]) == {"org/model"}
    assert by["tp"].isna().all()


def test_a_parallel_block_has_layernorm_gelu_and_one_addition_of_three(csv, tmp_path) -> None:
    rows = layers(gated=False, second_norm=False, n_expanded_embd=2048)
    csv("data/profiling/compute/a40/microsoft/phi-2/mlp.csv", rows)
    table = vidur.read(tmp_path).table
    assert {"layernorm", "gelu"} <= set(table["op"])
    assert table[table["op"] == "elementwise"].iloc[0]["subop"] == "add3"
    up = table[(table["op"] == "gemm") & (table["latency_us"] == 7000)].iloc[0]
    assert (up["n"], up["notes"]) == (1024, "microsoft/phi-2; bias")


def test_equal_layers_of_several_models_merge(csv, tmp_path) -> None:
    csv("data/profiling/compute/a40/org/one/mlp.csv", layers())
    slower = {"time_stats.attn_pre_proj.median": 5}
    csv("data/profiling/compute/a40/org/two/mlp.csv", layers(**slower))
    row = vidur.read(tmp_path).table.query("n == 384").iloc[0]
    assert row[["latency_us", "n_merged", "notes"]].tolist() == [4000, 2, "org/one"]
    assert row["spread"] == pytest.approx(0.5)


HEAD = ["time_stats.{}.median", "time_stats.{}.min", "time_stats.{}.std", "rank", "num_workers",
        "size", "collective", "devices_per_node", "max_devices_per_node"]  # fmt: skip


def collective(name: str, *rows):
    """Return head and rows of (ms, workers, bytes, devices per node)."""
    head = [column.format(name) for column in HEAD]
    return [head, *([t, t, 0, 0, workers, size, name, node, 8] for t, workers, size, node in rows)]


def test_collectives_are_in_bytes_and_say_whether_they_cross_nodes(csv, tmp_path) -> None:
    rows = collective("all_reduce", (0.5, 4, 4096, 4), (0.25, 4, 4096, 2))
    csv("data/profiling/network/a100_dgx/all_reduce.csv", rows)
    table = vidur.read(tmp_path).table.set_index("subop")
    inside, across = table.loc["intra_node"], table.loc["inter_node"]
    assert inside[["op", "bytes", "n_devices"]].tolist() == ["allreduce", 4096, 4]
    assert inside["latency_us"] == 500
    assert inside["gpu"] == "A100-SXM4-80GB"
    assert inside["bytes_min"] == 6144
    assert across["notes"] == "NVSwitch DGX; 2 per node; crosses nodes"


def test_an_a100_file_that_is_another_boards_is_left_out(csv, tmp_path) -> None:
    rows = collective("send_recv", (0.5, 2, 4096, 2))
    for system in ("a100_pairwise_nvlink", "h100_pairwise_nvlink"):
        csv(f"data/profiling/network/{system}/send_recv.csv", rows)
    csv("data/profiling/network/a100_dgx/send_recv.csv", collective("send_recv", (1, 2, 64, 2)))
    found = vidur.read(tmp_path)
    assert sorted(found.table["gpu"]) == ["A100-SXM4-80GB", "H100-SXM5-80GB"]
    assert list(found.dropped.values()) == [1]


def test_prefill_attention_sees_cache_and_chunk_and_decode_is_counted(csv, tmp_path) -> None:
    row = {"n_embd": 512, "n_q_head": 8, "n_kv_head": 2, "num_tensor_parallel_workers": 2,
           "batch_size": 1, "prefill_chunk_size": 32, "kv_cache_size": 64, "is_prefill": True,
           "time_stats.attn_prefill.median": 0.5, "time_stats.attn_prefill.min": 0.25,
           "time_stats.attn_prefill.std": 0.0}  # fmt: skip
    decode = {name: "" if name.startswith("time") else value for name, value in row.items()}
    decode |= {"is_prefill": False, "prefill_chunk_size": 0}
    csv("data/profiling/compute/a100/org/model/attention.csv",
        [list(row), list(row.values()), list(decode.values())])  # fmt: skip
    found = vidur.read(tmp_path)
    only = found.table.iloc[0]
    assert only[["q_len", "kv_len", "heads", "kv_heads", "head_dim"]].tolist() == [
        32,
        96,
        4,
        1,
        64,
    ]
    assert only["latency_us"] == 500
    assert list(found.dropped.values()) == [1]


def test_errors_name_the_place(csv, tmp_path) -> None:
    name = "data/profiling/compute/a100/org/model/mlp.csv"
    csv(name, layers(**{"time_stats.mlp_act.median": "n/k"}))
    with pytest.raises(ConfigError, match=r"mlp\.csv:2: time_stats\.mlp_act\.median: found `n/k`"):
        vidur.read(tmp_path)
    csv(name, layers(n_head=0))
    with pytest.raises(ConfigError, match=r":2: n_head: found `0`"):
        vidur.read(tmp_path)
    head, row = layers()
    csv(name, [head[1:], row[1:]])
    with pytest.raises(ConfigError, match=r":1: n_head: no column `n_head`"):
        vidur.read(tmp_path)
    csv("other/compute/x9/org/model/mlp.csv", layers())
    with pytest.raises(ConfigError, match="`x9` is no known board"):
        vidur.read(tmp_path / "other")
