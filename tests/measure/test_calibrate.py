"""Calibration of the GPU kernel model: recovery, splits, and its error on measured products."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
import yaml

from accelsim.errors import ConfigError, UnknownNameError
from accelsim.measure.calibrate import (
    CAMPAIGNS,
    SCALARS,
    calibrate_gemm,
    main,
    predicted_s,
    roofline_s,
    typical,
)
from accelsim.measure.gpus import board, boards
from accelsim.measure.products import (
    TRAIN_MODELS,
    Products,
    read_products,
    score,
    split_rows,
)
from tests.reference import REPOSITORY, reference_file

GPU, BANDWIDTH = board("A100-PCIe-80GB")
REPORTS = REPOSITORY / "reports" / "calibration"


def scalars_of(name: str) -> np.ndarray:
    calibration = board(name)[0].calibration
    return np.array([getattr(calibration, scalar) for scalar in SCALARS])


def products(seed: int = 0, rows: int = 90) -> Products:
    random = np.random.default_rng(seed)
    matrices = np.array([(1024, 4096), (4096, 4096), (11008, 4096), (5120, 5120), (2560, 10240)])
    n, k = matrices[random.integers(0, len(matrices), rows)].T
    m = 2 ** random.integers(0, 13, rows)
    blank = Products(m, n, k, np.ones(rows), np.array([""] * rows), "fp16")
    times = predicted_s(blank, GPU, BANDWIDTH, scalars_of("A40"))
    return Products(m, n, k, times, blank.origin, "fp16")


def sample(gpu: str, source: str, dtype: str) -> Products:
    """Return the products of one campaign in the small sample of the reference data."""
    path = reference_file("measured/ops_sample.csv.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        key = {"gpu": gpu, "source": source, "dtype": dtype, "op": "gemm"}
        rows = [row for row in csv.DictReader(file) if key.items() <= row.items()]
    m, n, k = (np.array([int(row[name]) for row in rows]) for name in "mnk")
    times = np.array([float(row["latency_us"]) for row in rows]) * 1e-6
    return Products(m, n, k, times, np.array([row["notes"] for row in rows]), dtype)


def test_known_scalars_are_recovered() -> None:
    """Times made by the model itself are fitted to half a per cent on matrices kept back."""
    fit = calibrate_gemm(products(), GPU, BANDWIDTH)
    assert fit.model["test"].rows > 10
    assert fit.model["test"].mape < 0.005
    assert fit.roofline["test"].mape > 0.2


def test_a_fit_repeats_itself() -> None:
    """The search is seeded."""
    first, second = (calibrate_gemm(products(), GPU, BANDWIDTH) for _ in range(2))
    assert first == second


def test_models_are_kept_whole_where_named() -> None:
    """Rows of the four named models are fitted, all others test."""
    rows = products(rows=4)
    named = Products(
        rows.m, rows.n, rows.k, rows.latency_s,
        np.array([TRAIN_MODELS[2] + "; bias", "Qwen/Qwen-72B", TRAIN_MODELS[0], "other"]), "fp16",
    )  # fmt: skip
    fitted, how = split_rows(named)
    assert fitted.tolist() == [True, False, True, False]
    assert how.startswith("by model")


def test_weight_matrices_are_kept_whole_otherwise() -> None:
    """No weight matrix is on both sides."""
    rows = products()
    fitted, how = split_rows(rows)
    train, test = rows.where(fitted), rows.where(~fitted)
    assert not set(train.matrices()) & set(test.matrices())
    assert how.startswith("by weight matrix")


def test_score_by_hand() -> None:
    """MAPE is arithmetic, bias geometric."""
    found = score(np.array([2.0, 0.5]), np.array([1.0, 1.0]))
    assert (found.rows, found.mape, found.bias) == (2, 0.75, 0.0)


def test_the_mean_calibration_says_so() -> None:
    """Scalars of a GPU without rows are the mean of the others', and the record says whose."""
    both = [board(name)[0].calibration for name in ("A40", "A6000")]
    mean = typical(both, ["one", "two"])
    assert mean.memory_efficiency == pytest.approx(
        (both[0].memory_efficiency + both[1].memory_efficiency) / 2, rel=1e-3
    )
    assert "one, two" in mean.fitted_on


def test_unknown_boards_and_empty_tables_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are errors that say what there is."""
    with pytest.raises(UnknownNameError, match="A40"):
        board("A41")
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    row = {"source": "s", "gpu": "g", "dtype": "fp16", "op": "gemm", "flag": "", "notes": ""}
    path = tmp_path / "ops.parquet"
    pandas.DataFrame([row | {"m": 1, "n": 1, "k": 1, "latency_us": 1.0}]).to_parquet(path)
    with pytest.raises(ConfigError, match="no rows"):
        read_products(path, "A40", "vidur", "fp16")
    assert main(["--data", str(path), "--gpu", "A40", "--source", "vidur"]) == 2
    assert "no rows" in capsys.readouterr().err


@pytest.mark.checkout
@pytest.mark.parametrize("name", sorted(set(boards())))
def test_component_files_quote_their_reports(name: str) -> None:
    """The scalars in a component file are those of the report that its source names."""
    gpu, _ = board(name)
    assert isinstance(gpu.source, dict)
    report = REPOSITORY / gpu.source["calibration"].split(",")[0]
    told = yaml.safe_load(report.read_text())["calibration"]
    for scalar in SCALARS:
        assert getattr(gpu.calibration, scalar) == pytest.approx(told[scalar], rel=1e-9), scalar
    for text in ("fitted_on", "split", "error"):
        assert getattr(gpu.calibration, text) == told[text]


@pytest.mark.checkout
def test_every_campaign_has_its_report() -> None:
    """A report per campaign and the mean of all, each with the error of two simpler models."""
    for name, source, _ in CAMPAIGNS:
        told = yaml.safe_load((REPORTS / f"{name}-{source}.yaml".lower()).read_text())
        errors = {model: told["error"][model]["unseen"]["mape"] for model in told["error"]}
        assert errors["model"] < errors["two_constants"] < errors["roofline"]
    assert (REPORTS / "typical.yaml").is_file()


@pytest.mark.validate
@pytest.mark.parametrize(
    ("name", "source", "dtype", "bound"),
    [("A100-PCIe-80GB", "vidur", "fp16", 0.075), ("A40", "vidur", "fp16", 0.09)],
)
def test_products_of_models_not_fitted(name: str, source: str, dtype: str, bound: float) -> None:
    """On the sample's test models the error is below the bound, the roofline's far above.

    Measured on all rows of the test models: A100 5.8 % (roofline 32.2 %, a floor and an efficiency
    fitted on the same rows 9.5 %), A40 7.2 % (30.2 %, 9.6 %); on this sample of some 30 to 40 rows
    the error scatters by about 1 %.
    """
    gpu, bandwidth = board(name)
    rows = sample(name, source, dtype)
    fitted, _ = split_rows(rows)
    test = rows.where(~fitted)
    ours = score(predicted_s(test, gpu, bandwidth, scalars_of(name)), test.latency_s)
    roofline = score(roofline_s(test, gpu, bandwidth), test.latency_s)
    assert ours.rows > 20
    assert ours.mape < bound
    assert ours.mape < roofline.mape / 3


@pytest.mark.validate
@pytest.mark.parametrize(
    ("name", "source", "dtype", "bound"),
    [
        ("A100-PCIe-80GB", "vidur", "fp16", 0.065),
        ("A40", "vidur", "fp16", 0.08),
        ("A6000", "llmservingsim", "fp16", 0.065),
        ("RTX3090", "llmservingsim", "fp16", 0.10),
        ("RTXPRO6000", "llmservingsim", "bf16", 0.08),
    ],
)
def test_all_products_not_fitted(name: str, source: str, dtype: str, bound: float) -> None:
    """As above on every row whose weight matrix no fitted row has (measured 5.4 to 9.0 %)."""
    pytest.importorskip("pyarrow")
    rows = read_products(reference_file("measured/ops.parquet"), name, source, dtype)
    fitted, _ = split_rows(rows)
    known = set(rows.where(fitted).matrices())
    unseen = rows.where(np.array([matrix not in known for matrix in rows.matrices()]))
    gpu, bandwidth = board(name)
    ours = score(predicted_s(unseen, gpu, bandwidth, scalars_of(name)), unseen.latency_s)
    assert ours.mape < bound
    assert abs(ours.bias) < 0.03
