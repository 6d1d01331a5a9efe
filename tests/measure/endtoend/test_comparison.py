"""The comparison as a table: strata, scores; and bounds on the real table."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from accelsim.arch import main_memory
from accelsim.errors import ConfigError
from accelsim.measure.compare.table import read_measured
from accelsim.measure.endtoend import (
    FRAME_COLUMNS,
    KEYS,
    Pass,
    Recipe,
    Row,
    compare,
    read_rows,
    simulate,
    summary,
)
from accelsim.measure.endtoend.boards import SESSIONS, architecture_of
from accelsim.measure.endtoend.comparison import kind_of
from accelsim.measure.endtoend.launch import ATTENTION, LAUNCH
from accelsim.measure.endtoend.scores import rank_within
from accelsim.measure.gpus import architecture_name, gpu_unit
from accelsim.measure.predict import predict
from accelsim.workload.transforms.eager import Eager
from tests.reference import reference_file

_HEAD = (
    "source,gpu,n_devices,model,phase,batch,seq_in,seq_out,dtype,impl,metric,value,n_merged,"
    "spread,notes\n"
)
_ROWS = (
    "neusight,A100-SXM4-80GB,1,bert_large,inference,1,32,0,fp32,hf-eager,latency_ms,20.0,1,,\n"
    "neusight,A100-SXM4-80GB,1,bert_large,inference,8,512,0,fp32,hf-eager,latency_ms,200.0,1,,\n"
    "neusight,A100-SXM4-80GB,1,gpt9,inference,8,512,0,fp32,hf-eager,latency_ms,200.0,1,,\n"
    "nvidia-dle,A100-SXM4-80GB,1,resnet50-v1.5,training,,224,0,fp16,pytorch,images_per_s,9,1,,\n"
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "e2e.csv"
    path.write_text(_HEAD + _ROWS)
    return path


def test_every_row_is_simulated_or_has_a_reason(table: Path) -> None:
    """Rows keep their order; a gap in the table is a gap, not a zero."""
    frame = compare(read_rows(table))
    assert tuple(frame.columns) == FRAME_COLUMNS
    assert frame["simulated_ms"].notna().tolist() == [True, True, False, False]
    assert frame["reason"].tolist()[2:] == [
        "the library has no model `gpt9` of NeuSight", "the table does not give the batch",
    ]  # fmt: skip
    first = frame.iloc[0]
    assert first["error"] == pytest.approx(first["simulated_ms"] / 20.0 - 1)
    # One sequence of 32 tokens takes its launches, eight of 512 the device.
    assert frame["stratum"].tolist()[:2] == ["launch", "device"]
    assert frame["dominant"].iloc[1].startswith("product ")


def _scored(**given: Any) -> dict[str, Any]:
    """Return a row of a comparison that is 10 % off, but for what is given."""
    base: dict[str, Any] = dict.fromkeys(FRAME_COLUMNS, "")
    base |= {
        "row": 0, "source": "neusight", "kind": "inference", "gpu": "T4", "stratum": "device",
        "model": "m", "metric": "latency_ms", "measured_ms": 1.0, "simulated_ms": 1.1,
        "roofline_ms": 0.5, "fitted": False, "dominant": "product 80%",
    }  # fmt: skip
    row = base | given
    if row["simulated_ms"] is None:
        return row
    return row | {"error": row["simulated_ms"] / row["measured_ms"] - 1}


def test_scores_by_source_kind_and_gpu() -> None:
    """Errors of +10 %, -10 % and +30 %: their mean, median, bias and share within a fifth."""
    records = [_scored(measured_ms=m, simulated_ms=m * (1 + e), roofline_ms=m / 2)
               for m, e in ((1.0, 0.1), (2.0, -0.1), (3.0, 0.3))]  # fmt: skip
    told = summary(pd.DataFrame(records), "e2e.csv")
    assert tuple(told) == KEYS
    (line,) = told["table"]
    test = line["test"]
    assert test["mape"] == pytest.approx(0.5 / 3)
    assert test["median"] == pytest.approx(0.1)
    assert test["bias"] == pytest.approx((1.1 * 0.9 * 1.3) ** (1 / 3) - 1)
    assert test["within_20"] == pytest.approx(2 / 3)
    assert test["kendall"] == pytest.approx(1)
    assert line["baselines"]["roofline"]["mape"] == pytest.approx(0.5)
    assert (line["published"], line["dominant"]) == ({"by": "NeuSight", "mape": 0.185}, "product")
    assert told["headline"]["mape"] == test["mape"]
    assert told["worst"][0]["error"] == pytest.approx(0.3)


def test_only_rows_that_test_the_model_count() -> None:
    """Fitted rows and rows about launching have columns of their own; parts stay out of means."""
    rows = [
        _scored(), _scored(stratum="launch", simulated_ms=2.0),
        _scored(stratum="launch", simulated_ms=5.0, fitted=True),
        _scored(kind="inference, operator", simulated_ms=9.0), _scored(simulated_ms=None),
    ]  # fmt: skip
    told = summary(pd.DataFrame(rows))
    whole = next(line for line in told["table"] if line["kind"] == "inference")
    assert [whole[part]["rows"] for part in ("test", "launch", "fit")] == [1, 1, 1]
    assert whole["test"]["mape"] == pytest.approx(0.1)
    assert whole["launch"]["mape"] == pytest.approx(1.0)
    assert told["headline"]["rows"] == 1
    assert told["not_modelled"]["count"] == 1
    assert told["split"]["test_rows"] == 2


def test_ranks_count_within_models() -> None:
    """A larger model takes longer anyway; the batches of the small one are in the wrong order."""
    rows = [_scored(model=model, measured_ms=size * batch, simulated_ms=size * (9 - sign * batch))
            for model, size, sign in (("small", 1, 1), ("large", 100, -1))
            for batch in (1, 2, 3)]  # fmt: skip
    assert rank_within(pd.DataFrame(rows)) == pytest.approx(0)
    assert math.isnan(rank_within(pd.DataFrame(rows[:2])))


def test_fitted_rows_are_of_batch_one_and_of_the_constants_sources() -> None:
    """PyTorch's constant was taken from NVIDIA's examples, not from NeuSight."""
    common: dict[str, Any] = {
        "number": 0, "gpu": "A100-SXM4-80GB", "n_devices": 1, "seq_in": 224, "seq_out": 0,
        "dtype": "fp16", "metric": "latency_ms", "value": 30.0, "notes": "",
    }  # fmt: skip
    rows = [
        Row(source="nvidia-dle", model="resnet50-v1.5", phase="inference", batch=batch,
            impl="pytorch", **common)
        for batch in (1, 2)
    ]  # fmt: skip
    rows.append(Row(source="neusight", model="bert", phase="inference", batch=1, impl="hf-eager",
                    **(common | {"seq_in": 16, "dtype": "fp32"})))  # fmt: skip
    assert compare(rows)["fitted"].tolist() == [True, False, False]


def test_metrics_of_a_part_are_a_kind_of_their_own() -> None:
    """The forward pass of a training step is not the step."""
    base = Row(0, "s", "g", 1, "m", "training", 1, 1, 0, "fp32", "", "latency_ms", 1.0, "")
    kinds = [kind_of(replace(base, metric=m)) for m in ("latency_ms", "bw_latency_ms", "op_ms:x")]
    assert kinds == ["training", "training, backward", "training, operator"]


def test_a_table_without_a_column_is_refused(tmp_path: Path) -> None:
    """The missing column is named."""
    path = tmp_path / "e2e.csv"
    path.write_text("source,gpu\nx,y\n")
    with pytest.raises(ConfigError, match="n_devices"):
        read_rows(path)


def test_boards_find_the_architecture_of_their_name_or_memory() -> None:
    """Boards of one GPU differ in memory; a board nobody lists has none."""
    for board, bandwidth in (("A100-PCIe-80GB", 1935e9), ("A100-SXM4-80GB", 2039e9)):
        found = architecture_of(board, 1, "graph")
        assert main_memory(found).peak_bandwidth() == pytest.approx(bandwidth, rel=0.01)
    assert architecture_name("Abacus") == ""


def test_a_way_of_launching_sets_mode_and_host_time() -> None:
    """Constants of a framework replace the architecture's own; without one it keeps its own."""
    for name, launch in LAUNCH.items():
        unit = gpu_unit(architecture_of("A100-SXM4-80GB", 1, name))
        assert unit is not None
        assert unit[1].launch == launch.mode
        if launch.host_s is not None:
            assert unit[1].launch_s[launch.mode] == launch.host_s


def test_slower_launches_are_never_faster() -> None:
    """At one short sequence every constant counts, in their order; at many long ones none does."""
    order = sorted(LAUNCH, key=lambda name: LAUNCH[name].host_s or 0)
    for batch, length, few in ((1, 16, True), (16, 512, False)):
        one = Pass("bert-base", "forward", batch, length)
        times = [simulate(Recipe("A100-SXM4-80GB", (one,), name)).latency_ms for name in order]
        assert times == sorted(times)
        assert (times[-1] > 5 * times[0]) is few


def test_gathering_weights_bounds_a_short_pass() -> None:
    """A pass of one token over sharded weights waits for them, not for the arithmetic."""
    one = Pass("gpt2", "prefill", 1, 1)
    alone = simulate(Recipe("A100-SXM4-80GB", (one,), "graph"))
    sharded = simulate(Recipe("A100-SXM4-80GB", (one,), "graph", gathered=8))
    assert sharded.latency_ms > alone.latency_ms


def test_older_attention_kernels_are_slower() -> None:
    """A long prefill is mostly attention; the generation's factor acts on nothing else."""
    one = Pass("gpt2", "prefill", 1, 1024)
    times = {
        name: simulate(Recipe("A100-SXM4-80GB", (one,), "graph", attention=name))
        for name in ATTENTION
    }
    new, old = times["flash-2"], times["flash-1"]
    assert old.by_class["attention"] > 1.4 * new.by_class["attention"]
    assert old.by_class["product"] == pytest.approx(new.by_class["product"])


def test_kernels_inside_a_call_cost_the_host_little() -> None:
    """Of two networks with as many calls the one with copies inside them launches as fast."""
    plain = Eager(attention="fused")
    fine = plain.model_copy(update={"layout": "first", "image_kernels": True})
    host = []
    for eager in (plain, fine):
        one = Pass("sd15-unet", "forward", 1, transforms=(eager,))
        host.append(simulate(Recipe("A100-SXM4-80GB", (one,), "python")).host_ms)
    assert host[0] < host[1] < 1.15 * host[0]


@pytest.mark.validate
@pytest.mark.parametrize("board", [board for board, _ in SESSIONS])
def test_session_speeds_are_those_of_products(board: str) -> None:
    """The figure is the median of the model's time over the measured one, of ``test`` products."""
    table = read_measured(reference_file("measured/ops.parquet"))
    wanted = (table["gpu"] == board) & (table["source"] == "neusight") & (table["op"] == "gemm")
    rows = table[wanted & (table["notes"] == "test") & (table["flops"] > 4e9)]
    found = predict(rows)
    ratio = (found.latency_us / rows["latency_us"].to_numpy())[found.reason == ""]
    assert float(np.median(ratio)) == pytest.approx(SESSIONS[board, "neusight"], rel=0.03)


@pytest.mark.validate
def test_the_real_table_is_never_faster_than_the_roofline() -> None:
    """Simulated and measured times of whole passes stay above the datasheet's floor."""
    rows = read_rows(reference_file("measured/e2e.csv.gz"))
    wanted = {"neusight", "calculon", "gpt-fast", "stable-fast", "lmdeploy"}
    frame = compare([row for row in rows if row.source in wanted])
    done = frame[frame["simulated_ms"].notna()]
    assert len(done) > 100
    assert (done["simulated_ms"] >= done["roofline_ms"]).all()
    assert (done["measured_ms"] >= done["roofline_ms"]).all()
    assert set(done["source"]) == wanted
    assert not frame["reason"].str.contains("/").any()  # no path of a machine


@pytest.mark.validate
def test_published_predictors_are_beaten_on_their_own_rows() -> None:
    """NeuSight on three GPUs and LLMCompass in prefill and decoding, and steps of training."""
    rows = read_rows(reference_file("measured/e2e.csv.gz"))
    told = summary(compare(r for r in rows if r.source in ("neusight", "llmcompass", "calculon")))
    lines = {(line["source"], line["kind"], line["gpu"]): line for line in told["table"]}
    published = [line for line in lines.values() if line["published"]["by"]]
    assert len(published) == 5
    for line in published:
        assert line["test"]["mape"] < line["published"]["mape"], line
    bars = {
        ("neusight", "inference", "A100-PCIe-40GB"): 0.05,
        ("neusight", "inference", "V100-PCIe-32GB"): 0.05,
        ("neusight", "inference", "T4"): 0.10,
        ("llmcompass", "layer_prefill", "A100-SXM4-80GB"): 0.03,
        ("llmcompass", "layer_decode", "A100-SXM4-80GB"): 0.08,
        ("neusight", "training", "V100-PCIe-32GB"): 0.12,
        ("calculon", "training", "A100-SXM4-80GB"): 0.12,
    }
    for key, bar in bars.items():
        assert lines[key]["test"]["mape"] <= bar, key
