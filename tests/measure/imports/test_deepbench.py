"""DeepBench's sheets: headings anywhere, ms and us, filter order, formats; figures invented."""

import sys

import pytest

from accelsim.errors import ConfigError, MissingExtraError
from accelsim.measure.imports import deepbench

GEMM = ("M", "N", "K", "A Transpose", "B Transpose", "Time (msec)", "TeraFLOPS")
CONV = ("W", "H", "C", "N", "K", "S", "R", "pad_w", "pad_h", "stride_w", "stride_h",
        "fwd_time (usec)", "bwd_inputs_time (usec)", "bwd_params_time (usec)")  # fmt: skip


def test_products_below_captions(csv, tmp_path) -> None:
    csv("results/train/DeepBench_NV_V100_gemm.csv",
        [("Dense matrix multiplication",), GEMM, (8, 16, 32, "T", "N", 0.5, 1), ("",),
         ("Server: none of it",), GEMM, (8, 16, 64, "N", "N", 0.25, 1)])  # fmt: skip
    table = deepbench.read(tmp_path).table
    assert table[["m", "n", "k"]].to_numpy().tolist() == [[8, 16, 32], [8, 16, 64]]
    assert table["latency_us"].tolist() == [500, 250]
    assert table["subop"].tolist() == ["TN", "NN"]
    row = table.iloc[0]
    assert row[["gpu", "dtype", "impl", "notes"]].tolist() == [
        "V100-SXM2-16GB", "fp32", "cublas/cudnn", "DeepBench_NV_V100 training"]  # fmt: skip
    assert row["timing"] == "loop"


def test_convolutions_have_a_row_for_each_pass(csv, tmp_path) -> None:
    csv("results/train/DeepBench_AMD_MI25_conv_float16.csv",
        [CONV, (341, 79, 4, 2, 6, 10, 5, 1, 0, 2, 3, 30, 20, "-")])  # fmt: skip
    table = deepbench.read(tmp_path).table.set_index("subop")
    dims = ["batch", "c_in", "c_out", "kh", "kw", "h_in", "w_in", "stride_h", "stride_w", "pad_h",
            "pad_w"]  # fmt: skip
    assert table.loc["fwd", dims].tolist() == [2, 4, 6, 5, 10, 79, 341, 3, 2, 0, 1]
    assert table["latency_us"].to_dict() == {"fwd": 30, "bwd_input": 20}
    assert set(table["dtype"]) == {"fp16"}


def test_the_output_size_settles_which_side_of_the_filter_is_which(csv, tmp_path) -> None:
    head = (*CONV[:11], "P", "Q", "fwd_time (ms)")
    name = "results/train/DeepBench_NV_M40_conv.csv"
    # 5 wide and 3 high would give 28 x 30 outputs; the stated 30 x 28 are of 3 wide, 5 high.
    csv(name, [head, (32, 32, 1, 1, 1, 5, 3, 0, 0, 1, 2, 14, 30, 0.5)])
    row = deepbench.read(tmp_path).table.iloc[0]
    assert row[["kw", "kh", "latency_us"]].tolist() == [3, 5, 500]
    csv(name, [head, (32, 32, 1, 1, 1, 5, 3, 0, 0, 1, 2, 9, 9, 0.5)])
    with pytest.raises(ConfigError, match=r"conv\.csv:2: p: output of 9 x 9"):
        deepbench.read(tmp_path)


def test_recurrent_layers_and_all_reduces(csv, tmp_path) -> None:
    head = ("type", "hidden", "N", "timesteps", "fwd_time (usec)")
    csv("results/train/DeepBench_NV_TitanX_rnn.csv", [head, ("lstm", 64, 8, 10, 77)])
    csv("results/train/DeepBench_IA_KNL7250_allreduce.csv",
        [("Size", "Number of processors", "Time (ms)"), (1000, 4, 0.5)])  # fmt: skip
    table = deepbench.read(tmp_path).table.set_index("op")
    dims = ["subop", "batch", "q_len", "hidden", "latency_us", "gpu"]
    assert table.loc["rnn", dims].tolist() == ["lstm", 8, 10, 64, 77, "TITANX-Maxwell"]
    assert table.loc["rnn", "flops"] == 2 * 4 * 8 * 10 * 64**2
    reduce = table.loc["allreduce", ["bytes", "n_devices", "latency_us", "impl"]]
    assert reduce.tolist() == [4000, 4, 500, "mkl"]


def test_inference_products_are_int8_unless_they_say_otherwise(csv, tmp_path) -> None:
    csv("results/inference/server/DeepBench_NV_T4_gemm.csv", [GEMM, (8, 16, 32, 0, 0, 1, 1)])
    head = ("m", "n", "k", "a_t", "b_t", "precision", "time (usec)")
    csv("results/inference/server/DeepBench_NV_T4_more.csv", [head, (8, 16, 64, 0, 1, "half", 9)])
    table = deepbench.read(tmp_path).table
    assert table["dtype"].tolist() == ["int8", "fp16"]
    assert table["subop"].tolist() == ["NN", "NT"]
    assert table["notes"].iloc[0] == "DeepBench_NV_T4 inference"


def test_errors_name_the_place(csv, tmp_path) -> None:
    name = "results/train/DeepBench_NV_M40_a.csv"
    csv(name, [GEMM, (8, "x", 32, "N", "N", 1, 1)])
    with pytest.raises(ConfigError, match=r"_a\.csv:2: n: found `x`"):
        deepbench.read(tmp_path)
    csv(name, [("M", "N", "K", "Speed"), (1, 2, 3, 4)])
    with pytest.raises(ConfigError, match="no table of products"):
        deepbench.read(tmp_path)
    csv("other/DeepBench_Z9.csv", [GEMM, (1, 2, 3, "N", "N", 1, 1)])
    with pytest.raises(ConfigError, match="`DeepBench_Z9` is no known board"):
        deepbench.read(tmp_path / "other")


def test_a_spreadsheet_needs_openpyxl(tmp_path, monkeypatch) -> None:
    (tmp_path / "DeepBench_NV_M40.xlsx").write_bytes(b"PK")
    monkeypatch.setitem(sys.modules, "openpyxl", None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=r"openpyxl.*accelsim\[deepbench\]"):
        deepbench.read(tmp_path)


def test_every_sheet_of_a_spreadsheet_is_read(tmp_path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["Machine", "M40"])
    for name, k in (("GEMM Float 32", 32), ("GEMM Float 16", 64)):
        sheet = book.create_sheet(name)
        for row in ([], [None, *GEMM], [None, 8, 16, k, "N", "T", 0.5, 1]):
            sheet.append(row)
    path = tmp_path / "results" / "train" / "DeepBench_NV_M40.xlsx"
    path.parent.mkdir(parents=True)
    book.save(path)
    table = deepbench.read(tmp_path).table
    assert table[["dtype", "k", "subop", "latency_us"]].to_numpy().tolist() == [
        ["fp32", 32, "NT", 500], ["fp16", 64, "NT", 500]]  # fmt: skip
    path.write_bytes(b"not one")
    with pytest.raises(ConfigError, match="no spreadsheet"):
        deepbench.read(tmp_path)
