"""Calibration of the GPU kernel model: known scalars are found again, test rows are left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from accelsim.cost.gpu import Calibration
from accelsim.errors import ConfigError, UnknownNameError
from accelsim.measure.calibrate import Fit, calibrate
from accelsim.measure.gpus import board
from accelsim.measure.predict import predict
from accelsim.measure.split import split
from tests.cost.gpu_boards import changed
from tests.measure.compare.standin import table
from tests.measure.made import (
    GPU,
    KNOWN,
    LAB,
    attention,
    experts,
    measured,
    products,
    streams,
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Return products as a GPU of the known scalars would take them."""
    return measured(products(), tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def fit(rows: pd.DataFrame) -> Fit:
    """Return the fit to them."""
    return calibrate(rows, GPU, LAB)


def close(found: Any, known: Any, share: float, *skipped: str) -> None:
    """Assert that the scalars of a section are those known, within a share."""
    told, wanted = found.model_dump(), known.model_dump()
    for name in wanted.keys() - {"watts_per_tflops", "start_s", *skipped}:
        value = wanted[name]
        told_as = value if isinstance(value, str) else pytest.approx(value, rel=share)
        assert told[name] == told_as, name


def test_known_scalars_of_products_are_recovered(fit: Fit) -> None:
    """All eight, and with them the times of weight matrices that were kept back."""
    close(fit.calibration.tensor, KNOWN.tensor, 0.01)
    assert fit.calibration.tensor.start_s == pytest.approx(KNOWN.tensor.start_s, rel=0.01)
    score = fit.scores["gemm", "fp16", ""]["test"]
    assert score.rows > 30
    assert score.mape < 0.002


def test_test_rows_set_no_scalar(rows: pd.DataFrame, fit: Fit) -> None:
    """Were they three times as slow, the scalars would be the same and their error would show."""
    fitted, _ = split(rows)
    slow = rows.assign(latency_us=rows["latency_us"] * np.where(fitted, 1.0, 3.0))
    again = calibrate(slow, GPU, LAB)
    assert again.calibration.tensor == fit.calibration.tensor
    sides = again.scores["gemm", "fp16", ""]
    assert sides["fit"] == fit.scores["gemm", "fp16", ""]["fit"]
    assert sides["test"].mape == pytest.approx(2 / 3, abs=0.01)
    assert sides["fit"].rows + sides["test"].rows == len(rows)


def test_rows_may_be_chosen_by_hand(rows: pd.DataFrame) -> None:
    """The calibration quotes the rule; every row is on the side that it was put on."""
    fitted = rows["n"].ne(4096).to_numpy()
    found = calibrate(rows, GPU, LAB, fitted, "all but 4096 columns")
    assert found.calibration.split == "all but 4096 columns"
    assert found.scores["gemm", "fp16", ""]["fit"].rows == fitted.sum()
    assert found.scores["gemm", "fp16", ""]["test"].rows == (~fitted).sum()


def test_a_fit_repeats_itself(rows: pd.DataFrame, fit: Fit) -> None:
    """The search is seeded."""
    assert calibrate(rows, GPU, LAB) == fit


def test_only_the_campaigns_own_rows_count(rows: pd.DataFrame, fit: Fit) -> None:
    """Not those of another board or source, nor those whose operands stay in a cache."""
    strange = [
        rows.assign(gpu="T4"), rows.assign(source="elsewhere"), rows.assign(flag="cache_resident"),
        rows.assign(op="allreduce"),
    ]  # fmt: skip
    extra = pd.concat(strange).assign(latency_us=1e6)
    whole = pd.concat([rows, extra], ignore_index=True)
    found = calibrate(whole, GPU, LAB)
    assert found.calibration.tensor == fit.calibration.tensor
    assert found.scores == fit.scores


def test_scatter_and_outliers_bend_little(rows: pd.DataFrame) -> None:
    """Measurements scatter by 5 %, one in twenty is ten times too slow: the rest is still met."""
    random = np.random.default_rng(1)
    noise = np.exp(0.05 * random.standard_normal(len(rows)))
    noise[random.random(len(rows)) < 0.05] *= 10
    noisy = rows.assign(latency_us=rows["latency_us"] * noise)
    found = calibrate(noisy, GPU, LAB).calibration
    true = predict(rows, {(GPU, LAB): KNOWN}).latency_us
    error = np.abs(predict(rows, {(GPU, LAB): found}).latency_us / true - 1)
    assert error.mean() < 0.03
    assert found.tensor.memory_efficiency == pytest.approx(KNOWN.tensor.memory_efficiency, 0.1)


def test_what_was_not_measured_keeps_the_boards_scalars(fit: Fit) -> None:
    """And the record names the measured sections alone."""
    before, found = board(GPU)[0].calibration, fit.calibration
    for section in ("simt", "convolution", "vector", "libraries", "formats"):
        assert getattr(found, section) == getattr(before, section), section
    assert found.fitted_on == {"tensor": "A40, lab: fp16 gemm"}
    assert (found.gpu, found.campaign, found.clock) == (GPU, LAB, {})
    assert "weight matrix" in found.split
    assert found.error.startswith("MAPE on rows not fitted: fp16 gemm 0.0%")


def test_the_power_model_gives_way_to_a_measured_clock(tmp_path: Path) -> None:
    """A board's own rows say what it sustains: its watts are not guessed any more."""
    guessed = measured(products(), tmp_path, changed("tensor", KNOWN, watts_per_tflops=2.0))
    assert calibrate(guessed, GPU, LAB).calibration.tensor.watts_per_tflops == 0


def test_functions_share_a_start_and_have_their_own_bandwidth(tmp_path: Path) -> None:
    """The best function sets the section's share, the others theirs of it."""
    known = changed(
        "vector", memory_efficiency=0.88, start_s=2.6e-6, smoothness=3.0,
        efficiency={"gelu": 1.0, "softmax": 0.7, "rope": 0.4},
    )  # fmt: skip
    widths = [512, 1024, 2048, 4096, 768, 3072, 6144, 8192]
    made = streams("gelu", widths) + streams("softmax", widths)
    rope = streams("elementwise", widths, subop="rope")
    found = calibrate(measured(made + rope, tmp_path, known), GPU, LAB).calibration.vector
    assert found.start_s == pytest.approx(2.6e-6, rel=0.03)
    assert found.memory_efficiency == pytest.approx(0.88, rel=0.01)
    assert found.efficiency == pytest.approx({"gelu": 1.0, "softmax": 0.7, "rope": 0.4}, rel=0.02)


def test_attention_is_recovered_by_library(tmp_path: Path) -> None:
    """Decode, then prefill; their clock's constant stands for what the start lacks."""
    made = measured(attention("decode") + attention("prefill"), tmp_path)
    found = calibrate(made, GPU, LAB)
    assert list(found.calibration.libraries) == ["vllm"]
    ours, known = found.calibration.libraries["vllm"], KNOWN.libraries["vllm"]
    close(ours.prefill, known.prefill, 0.05)
    close(ours.decode, known.decode, 0.02, "most_splits", "shortest_split", "resident",
          "block_s", "combine_s")  # fmt: skip
    start = ours.decode.start_s + ours.decode.block_s
    start += ours.clock["attention_decode"].launch_s
    assert start == pytest.approx(known.decode.start_s + known.decode.block_s, rel=0.03)
    assert set(found.calibration.fitted_on) == {"vllm.decode", "vllm.prefill"}
    for phase in ("decode", "prefill"):
        assert found.scores[f"attention_{phase}", "fp16", "vllm"]["test"].mape < 0.01


def test_experts_are_recovered(tmp_path: Path) -> None:
    """Shapes that were kept back are met to one per cent."""
    found = calibrate(measured(experts(), tmp_path), GPU, LAB)
    assert set(found.calibration.fitted_on) == {"vllm.grouped"}
    assert found.scores["moe", "fp16", "vllm"]["test"].mape < 0.01


def test_a_quantised_format_is_fitted_beside_its_section(tmp_path: Path) -> None:
    """Its share and its start, with the scalars of the 16-bit products found before."""
    data = KNOWN.model_dump() | {"formats": {"int8": {"efficiency": 0.6, "start_s": 9e-6}}}
    known = Calibration.model_validate(data)
    made = measured(products() + products(dtype="int8"), tmp_path, known)
    found = calibrate(made, GPU, LAB).calibration
    assert set(found.fitted_on) == {"tensor", "formats.int8"}
    assert found.formats["int8"].efficiency == pytest.approx(0.6, rel=0.02)
    assert found.formats["int8"].start_s == pytest.approx(9e-6, rel=0.02)
    close(found.tensor, KNOWN.tensor, 0.01)


def test_an_eager_clock_is_apart_from_the_kernel(tmp_path: Path) -> None:
    """Its constants are found; the kernel's start, which cannot be told from them, is kept."""
    own = board(GPU)[0].calibration.tensor
    data = changed("tensor", KNOWN, start_s=own.start_s).model_dump()
    data["clock"] = {"gemm": {"launch_s": 20e-6, "least_s": 45e-6}}
    known = Calibration.model_validate(data)
    made = measured(products(timing="cuda_event_eager"), tmp_path, known)
    found = calibrate(made, GPU, LAB)
    assert found.calibration.tensor.start_s == own.start_s
    assert found.calibration.clock["gemm"].launch_s == pytest.approx(20e-6, rel=0.1)
    assert found.calibration.clock["gemm"].least_s == pytest.approx(45e-6, rel=0.01)
    assert found.scores["gemm", "fp16", ""]["test"].mape < 0.02


def test_unknown_boards_and_empty_campaigns_are_named(rows: pd.DataFrame) -> None:
    """Errors say which."""
    with pytest.raises(UnknownNameError, match="A41"):
        calibrate(rows, "A41", LAB)
    with pytest.raises(ConfigError, match="no rows of A40 by elsewhere"):
        calibrate(rows, GPU, "elsewhere")
    with pytest.raises(ConfigError, match="no rows of A40 by lab"):
        calibrate(rows.assign(op="sampler"), GPU, LAB)


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    """Nothing is written that no row set; eleven rows are too few, twelve enough."""
    few = table(products(latency_us=10.0)[:40], tmp_path)
    for count in (11, 12):
        fitted = np.arange(len(few)) < count
        if count < 12:
            with pytest.raises(
                ConfigError, match=r"too few rows of A40 by lab to fit: 11"
            ) as told:
                calibrate(few, GPU, LAB, fitted, "by hand")
            assert "measure more shapes" in str(told.value.hint)
        else:
            found = calibrate(few, GPU, LAB, fitted, "by hand")
            assert found.scores["gemm", "fp16", ""]["fit"].rows == 12


def test_a_campaign_without_test_rows_says_so(rows: pd.DataFrame) -> None:
    """Its error is marked as one of fitted rows."""
    found = calibrate(rows, GPU, LAB, np.ones(len(rows), dtype=bool), "all")
    assert set(found.scores["gemm", "fp16", ""]) == {"fit"}
    assert found.calibration.error.endswith("(fitted)")
