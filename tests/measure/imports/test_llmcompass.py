"""LLMCompass's files: units, order of lines, repeated steps, errors; every figure is invented."""

import pytest

from accelsim.errors import ConfigError
from accelsim.measure.imports import llmcompass

FOLDER = "ae/figure5"


def test_products_are_in_ms_and_row_wise_operators_in_elements_per_second(csv, tmp_path) -> None:
    csv(f"{FOLDER}/ab/real_hardware/matmul_A100.csv", [(64, " 256", 128, " 2.5ms", " 1.0Tflops")])
    csv(f"{FOLDER}/cf/real_hardware/softmax_MI210.csv", [(1000, 2000, 0.5)])
    csv(f"{FOLDER}/de/real_hardware/layernorm_A100.csv", [(1000, 2000, 0.25)])
    csv(f"{FOLDER}/g/real_hardware/gelu_A100.csv", [(3000, 0.125)])
    table = llmcompass.read(tmp_path).table.set_index("op")
    product = table.loc["gemm"]
    assert product[["m", "n", "k", "latency_us"]].tolist() == [64, 256, 128, 2500]
    assert product[["gpu", "dtype", "impl"]].tolist() == ["A100-SXM4-80GB", "bf16", "torch.matmul"]
    assert table.loc["softmax", ["rows", "cols", "latency_us"]].tolist() == [1000, 2000, 4000]
    assert table.loc["softmax", ["gpu", "dtype"]].tolist() == ["MI210", "fp32"]
    assert table.loc["layernorm", ["dtype", "latency_us"]].tolist() == ["fp16", 8000]
    assert table.loc["gelu", ["rows", "cols", "latency_us"]].tolist() == [1, 3000, 24]
    assert set(table["timing"]) == {"wallclock_sync"}


def test_a_layer_is_in_seconds_and_gives_operators_and_end_to_end(csv, tmp_path) -> None:
    seconds = [3e-3, 2e-3, 1e-3, 4e-3, 5e-3, 7e-3, 8e-3, 9e-3, 9e-3, 6e-3, 1e-4, 3e-4]
    csv(f"{FOLDER}/ijkl/real_hardware/transformerAR_A100.csv", [(s,) for s in seconds])
    found = llmcompass.read(tmp_path)
    table = found.table
    query = table[table["subop"] == "q_proj"].iloc[0]
    assert query[["m", "n", "k"]].tolist() == [8, 3072, 12288]
    assert query["latency_us"] == pytest.approx(1000)
    wide = table[(table["op"] == "gemm") & (table["n"] == 12288) & (table["k"] == 12288)].iloc[0]
    assert (wide["n_merged"], wide["latency_us"]) == (2, pytest.approx(6000))
    scores = table[(table["op"] == "bmm") & (table["k"] == 128)].iloc[0]
    assert scores[["b", "m", "n"]].tolist() == [192, 1, 3072]
    assert scores["latency_us"] == pytest.approx(2000)
    reduce = table[table["op"] == "allreduce"].iloc[0]
    assert (reduce["bytes"], reduce["n_devices"]) == (8 * 12288 * 2, 4)
    assert reduce["latency_us"] == pytest.approx(200)
    whole = found.end_to_end.set_index("metric")["value"]
    assert whole["latency_ms"] == pytest.approx(sum(seconds) * 1e3)
    assert whole["op_ms:Softmax"] == pytest.approx(8)
    assert set(found.end_to_end["phase"]) == {"layer_decode"}
    assert len(whole) == 13


def test_prefill_sees_the_prompt_alone(csv, tmp_path) -> None:
    csv(f"{FOLDER}/ijkl/real_hardware/transformer_A100.csv", [(1e-2,)] * 12)
    table = llmcompass.read(tmp_path).table
    scores = table[(table["op"] == "bmm") & (table["k"] == 128)].iloc[0]
    assert scores[["b", "m", "n"]].tolist() == [192, 2048, 2048]
    assert table[table["op"] == "softmax"].iloc[0]["rows"] == 192 * 2048


def test_all_reduce_is_the_one_list_of_times_for_doubling_sizes(csv, tmp_path) -> None:
    path = csv(f"{FOLDER}/h/test_allreduce.py", [])
    times = [10.5 + i for i in range(20)]
    path.write_text(f"sizes = {[2**i for i in range(20)]}\nreal = {times}\n")
    table = llmcompass.read(tmp_path).table
    assert table["bytes"].tolist() == [8 * 2**i for i in range(20)]
    assert table["latency_us"].tolist() == times
    path.write_text("real = [1, 2]\n")
    with pytest.raises(ConfigError, match="0 lists of numbers"):
        llmcompass.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("ab/real_hardware/matmul_A100.csv", (1, 2, 3, "4", "5Tflops"), r":1: latency: found `4`"),
        ("ab/real_hardware/matmul_A100.csv", (1, "x", 3, "4ms", "5"), r":1: N: found `x`"),
        ("ab/real_hardware/matmul_A100.csv", (1, 2, 3), "3 columns"),
        ("ab/real_hardware/matmul_Z9.csv", (1, 2, 3, "4ms", "5"), "`Z9` is no known board"),
        ("g/real_hardware/gelu_A100.csv", (1, 0), r":1: throughput: found `0`"),
        ("ijkl/real_hardware/transformer_A100.csv", (1,), "1 times"),
    ],
)
def test_errors_name_the_place(csv, tmp_path, name, row, message) -> None:
    csv(f"{FOLDER}/{name}", [row])
    with pytest.raises(ConfigError, match=message):
        llmcompass.read(tmp_path)
