"""NeuSight's files: its N is the reduction, repeats of merged files, labels; figures invented."""

import pytest

from accelsim.errors import ConfigError
from accelsim.measure.imports import neusight

DATA = "scripts/asplos/data/dataset"
HEAD = ("OPName", "Latency", "Device", "Kernel Name", "B", "M", "N", "K")
A100 = "NVIDIA A100-PCIE-40GB"


def test_products_have_their_reduction_in_the_column_n(csv, tmp_path) -> None:
    csv(f"{DATA}/test/bmm.csv", [HEAD, ("bmm", 1.5, A100, "ampere_sgemm", 4, 8, 16, 32)])
    csv(f"{DATA}/train/collect/linear/p2.1.0/a.csv",
        [HEAD, ("linear", 0.5, "Tesla T4", "volta_sgemm", 3, 8, 16, 32)])  # fmt: skip
    table = neusight.read(tmp_path).table.set_index("op")
    batched, linear = table.loc["bmm"], table.loc["gemm"]
    assert batched[["b", "m", "n", "k", "latency_us"]].tolist() == [4, 8, 32, 16, 1500]
    assert batched["gpu"] == "A100-PCIe-40GB"
    assert linear[["m", "n", "k", "latency_us"]].tolist() == [24, 32, 16, 500]
    assert linear[["subop", "notes", "gpu"]].tolist() == ["linear_bias", "train", "T4"]
    assert linear.isna()["b"]
    assert set(table["timing"]) == {"cuda_event_eager"}


def test_row_wise_operators_have_rows_b_and_columns_h(csv, tmp_path) -> None:
    head = ("OPName", "Latency", "Device", "Kernel Name", "B", "H")
    kernel = '"void at::native::vectorized_elementwise_kernel<4, at::F>(int, A, B)"'
    names = ("softmax", "ln", "VECadd", "addu", "powu", "tanh")
    rows = [(name, 0.25, "AMD Instinct MI210", kernel, 10, 20) for name in names]
    csv(f"{DATA}_amd/train/vec.csv", [head, *rows])
    table = neusight.read(tmp_path).table
    assert table["op"].tolist() == ["softmax", "layernorm", *["elementwise"] * 4]
    assert table["subop"].tolist()[2:] == ["add", "add_scalar", "pow_scalar", "tanh"]
    assert set(table["rows"]) == {10}
    assert set(table["cols"]) == {20}
    assert set(table["latency_us"]) == {250}
    assert set(table["impl"]) == {"vectorized_elementwise_kernel"}
    assert set(table["gpu"]) == {"MI210"}


def test_a_merged_file_adds_nothing_but_repeats_in_one_file_do(csv, tmp_path) -> None:
    rows = [("bmm", t, A100, "k", 4, 8, 16, 32) for t in (1.0, 1.0, 2.0)]
    csv(f"{DATA}/train/bmm.csv", [HEAD, *rows, ("bmm", 3.0, A100, "k", 4, 8, 16, 64)])
    csv(f"{DATA}/train/collect/bmm/a.csv", [HEAD, *rows])
    found = neusight.read(tmp_path)
    merged = found.table[found.table["n"] == 32].iloc[0]
    assert (merged["n_merged"], merged["latency_us"], merged["spread"]) == (3, 1000, 1)
    assert found.dropped == {"rows repeated by a merged file": 3}
    assert len(found.table) == 2


def test_what_has_no_counterpart_is_counted(csv, tmp_path) -> None:
    csv(f"{DATA}/train/conv.csv", [("anything",), (1,)])
    rows = [("weird", 1, A100, "", 1, 1, 1, 1), ("bmm", 1, "Quadro", "", 1, 1, 1, 1)]
    csv(f"{DATA}/train/bmm.csv", [HEAD, *rows, ("bmm", 1, A100, "", 1, 1, 1, 1)])
    found = neusight.read(tmp_path)
    assert len(found.table) == 1
    assert sorted(found.dropped.values()) == [1, 1, 1]
    assert "devices of unknown name" in found.dropped


def test_labels_say_model_mode_length_batch_and_option(js, tmp_path) -> None:
    label = {"num_layer": 2, "e2e_latency": 30.0, "fw_latency": 10.0, "bwall_latency": 20.0}
    folder = "scripts/asplos/label/NVIDIA_A100-PCIE-40GB"
    js(f"{folder}/gpt2_large-train-1024-4.json", label)
    js(f"{folder}/gpt2_large-inf-1024-8-fusion.json", label)
    js("scripts/asplos/label/NVIDIA_A100-SXM4-40GB/bert_large-train-512-2-tp4.json", label)
    found = neusight.read(tmp_path).end_to_end
    training = found[(found["phase"] == "training") & (found["n_devices"] == 1)]
    values = dict(zip(training["metric"], training["value"], strict=True))
    assert values == {"latency_ms": 30, "fw_latency_ms": 10, "bw_latency_ms": 20}
    assert training[["model", "batch", "seq_in"]].iloc[0].tolist() == ["gpt2_large", 4, 1024]
    fused = found[found["phase"] == "inference"].iloc[0]
    assert (fused["impl"], fused["gpu"]) == ("hf-torch.compile", "A100-PCIe-40GB")
    parallel = found[found["n_devices"] == 4].iloc[0]
    assert (parallel["impl"], parallel["gpu"]) == ("megatron-tp4", "A100-SXM4-40GB")
    assert len(found) == 5


def test_errors_name_the_place(csv, js, tmp_path) -> None:
    path = csv(f"{DATA}/train/bmm.csv", [HEAD, ("bmm", "fast", A100, "", 1, 1, 1, 1)])
    with pytest.raises(ConfigError, match=r"bmm\.csv:2: Latency: found `fast`"):
        neusight.read(tmp_path)
    csv(f"{DATA}/train/bmm.csv", [HEAD[:-1], ("bmm", 1, A100, "", 1, 1, 1)])
    with pytest.raises(ConfigError, match="no column `K`") as caught:
        neusight.read(tmp_path)
    assert "B, M, N and K" in str(caught.value)
    path.unlink()
    js("label/Tesla_T4/m-inf-1-1.json", {"e2e_latency": "soon"})
    with pytest.raises(ConfigError, match="e2e_latency: found `soon`"):
        neusight.read(tmp_path)
    js("label/Abacus/m-inf-1-1.json", {"e2e_latency": 1})
    with pytest.raises(ConfigError, match="unknown device `Abacus`"):
        neusight.read(tmp_path / "label" / "Abacus")
    (tmp_path / "label/Tesla_T4/m-inf-1-1.json").write_text("{\n]")
    with pytest.raises(ConfigError, match=r"json:2: no JSON"):
        neusight.read(tmp_path / "label" / "Tesla_T4")


@pytest.mark.parametrize(
    ("name", "board"),
    [("NVIDIA A100 80GB PCIe", "A100-PCIe-80GB"), ("NVIDIA_A100-SXM4-40GB", "A100-SXM4-40GB"),
     ("Tesla V100-PCIE-32GB", "V100-PCIe-32GB"), ("NVIDIA L4", "L4"), ("Tesla P4", "P4"),
     ("NVIDIA H100 80GB HBM3", "H100-SXM5-80GB"), ("L40S", "")],
)  # fmt: skip
def test_boards_by_the_names_that_pytorch_reports(name: str, board: str) -> None:
    assert neusight.board_of(name) == board
