"""A comparison and its summary: nothing dropped, headlines of test rows only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from accelsim.cost.gpu import Calibration
from accelsim.errors import ConfigError, UnknownNameError
from accelsim.measure.compare.calibrations import read_calibrations
from accelsim.measure.compare.classes import APART
from accelsim.measure.compare.comparison import Comparison, compare, compare_file
from accelsim.measure.compare.summary import KEYS, summary
from accelsim.measure.gpus import board
from tests.measure.compare.standin import Prediction, gemm, predict, softmax, table
from tests.reference import reference_file

SIZES = [(n, k) for n in range(512, 8192, 512) for k in (1024, 4096)]


def rows() -> list[dict[str, Any]]:
    """Return products on two GPUs, softmax on one, flagged rows and rows nobody models."""
    random = np.random.default_rng(0)
    noise = iter(random.lognormal(0, 0.2, 1000))
    made = [
        gemm(m, n, k, (3 + 2e-8 * m * n * k + n * k / 300_000) * next(noise), gpu=gpu)
        for gpu in ("A40", "A6000")
        for n, k in SIZES
        for m in (1, 64, 2048)
    ]
    made += [softmax(2048, cols, cols / 20 * next(noise)) for cols in range(256, 8192, 256)]
    made += [gemm(64, n, k, 0.01, flag="cache_resident") for n, k in SIZES[:9]]
    return made + [gemm(64, n, k, 50.0, gpu="mystery") for n, k in SIZES[:5]]


@pytest.fixture
def found(tmp_path: Path) -> Comparison:
    """Return a comparison of them."""
    frame = table(rows(), tmp_path)
    return compare(frame, predict(frame))


def test_every_row_is_scored_apart_or_refused(found: Comparison) -> None:
    """Counts add up, and refusals have reasons."""
    told = summary(found, "folder/rows.csv")
    assert list(told) == list(KEYS)
    assert told["file"] == "rows.csv"
    assert told["rows"] == told["modelled"] + told["not_modelled"]["count"]
    assert told["not_modelled"] == {"count": 5, "reasons": {"no datasheet figure": 5}}
    apart = sum(line["rows"] for line in told["apart"])
    tabled = sum(line["rows"] for line in told["table"])
    assert apart == 9
    assert apart + tabled == told["rows"]
    assert told["split"]["fit_rows"] + told["split"]["test_rows"] == told["rows"]


def test_the_headline_is_the_mean_over_cells_of_test_rows(found: Comparison) -> None:
    """Each GPU and class counts once, without flagged or fitted rows."""
    error = np.abs(found.predicted / found.measured - 1)
    mask = ~found.fitted & ~found.table["flag"].isin(APART).to_numpy() & ~np.isnan(error)
    cells = pd.DataFrame({"gpu": found.table["gpu"].astype(str), "kind": found.kind, "e": error})
    expected = cells[mask].groupby(["gpu", "kind"])["e"].mean()
    head = summary(found)["headline"]
    assert head["cells"] == len(expected) == 3
    assert head["rows"] == mask.sum()
    assert head["mape"] == pytest.approx(expected.mean())
    assert sum(of["rows"] for of in head["strata"].values()) == head["rows"]


def test_test_rows_do_not_depend_on_measurements_of_fit_rows(found: Comparison) -> None:
    """Changing what fit rows measure changes the baselines, and our test scores not at all."""
    fitted = found.fitted
    slower = found.table.assign(latency_us=np.where(fitted, found.measured * 1.5, found.measured))
    again = compare(slower, predict(slower))
    assert again.fitted.tolist() == fitted.tolist()
    one, two = summary(found)["headline"], summary(again)["headline"]
    assert one["mape"] == pytest.approx(two["mape"])
    beside = "scaled_roofline"
    assert one["baselines"][beside]["mape"] != pytest.approx(two["baselines"][beside]["mape"])


def test_flagged_rows_bend_no_constants(found: Comparison) -> None:
    """Baselines are fitted without them."""
    plain = found.table["flag"] == ""
    frame = found.table[plain].reset_index(drop=True)
    alone = compare(frame, predict(frame))
    for name, guess in found.baselines.items():
        np.testing.assert_allclose(guess[plain.to_numpy()], alone.baselines[name])


def test_a_baseline_is_compared_on_its_own_rows(tmp_path: Path) -> None:
    """Where a campaign has test rows only, two constants cannot be fitted and none are told."""
    frame = table(rows(), tmp_path)
    fitted = compare(frame, predict(frame)).fitted
    tests = frame[~fitted].reset_index(drop=True)
    head = summary(compare(tests, predict(tests)))["headline"]
    assert head["rows"] > 0
    assert head["baselines"]["floor_efficiency"]["rows"] == 0
    assert head["baselines"]["roofline"]["rows"] == head["rows"]
    assert head["baselines"]["roofline"]["accelsim_mape"] == pytest.approx(head["mape"])


def test_a_row_without_prediction_and_reason_is_still_counted(tmp_path: Path) -> None:
    """A predictor that says nothing is told so."""
    frame = table([gemm(1, 64, 64)], tmp_path)
    nothing = Prediction(np.array([np.nan]), np.array([0.0]), np.array([""], dtype=object))
    told = summary(compare(frame, nothing))
    assert told["not_modelled"]["reasons"] == {"no prediction": 1}
    assert told["headline"]["cells"] == 0


def test_worst_rows_are_furthest_off_and_spread_over_campaigns(found: Comparison) -> None:
    """Half the time is as far off as twice; no more than two of a class, GPU and source."""
    worst = summary(found)["worst"]
    distance = [abs(np.log(1 + row["error"])) for row in worst]
    assert distance == sorted(distance, reverse=True)
    assert len(worst) == 6
    assert all(row["why"] for row in worst)


def calibration_file(folder: Path, gpu: str = "A40", **change: Any) -> Path:
    """Return a calibration file of the lab."""
    scalars = board("A40")[0].calibration.model_dump()
    data = scalars | {"gpu": gpu, "campaign": "lab", "split": "by hand"}
    file = folder / f"{gpu}.yaml"
    file.write_text(yaml.safe_dump({**data, **change}))
    return file


def test_calibrations_reach_the_predictor(tmp_path: Path) -> None:
    """By GPU and source; the summary names file and split."""
    pd.DataFrame(rows()).to_csv(tmp_path / "rows.csv", index=False)
    given: list[Any] = []

    def keeping(frame: pd.DataFrame, scalars: Mapping[Any, Calibration] | None) -> Prediction:
        given.append(scalars)
        return predict(frame)

    file = calibration_file(tmp_path)
    found = compare_file(tmp_path / "rows.csv", [file], predictor=keeping)
    assert list(given[0]) == [("A40", "lab")]
    expected = board("A40")[0].calibration.model_copy(
        update={"gpu": "A40", "campaign": "lab", "split": "by hand"}
    )
    assert given[0]["A40", "lab"] == expected
    assert summary(found)["calibrations"] == [
        {"file": "A40.yaml", "gpu": "A40", "source": "lab", "split": "by hand", "rows": 130}
    ]
    compare_file(tmp_path / "rows.csv", predictor=keeping)
    assert given[1] is None


def test_malformed_calibrations_are_refused(tmp_path: Path) -> None:
    """An unknown GPU, a missing field, an unknown scalar, and two for one campaign."""
    with pytest.raises(UnknownNameError, match="A41"):
        read_calibrations([calibration_file(tmp_path, "A41")])
    with pytest.raises(ConfigError, match="campaign"):
        read_calibrations([calibration_file(tmp_path, campaign="")])
    with pytest.raises(ConfigError, match="unknown key `nonsense`"):
        read_calibrations([calibration_file(tmp_path, nonsense=1.5)])
    file = calibration_file(tmp_path)
    with pytest.raises(ConfigError, match="as is"):
        read_calibrations([file, file])


def test_a_table_of_unknown_gpus_is_refused(tmp_path: Path) -> None:
    """One known GPU is enough to go on; none is an error that lists the known."""
    pd.DataFrame([gemm(1, 8, 8, gpu="A4O")]).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(UnknownNameError, match="did you mean `A40`"):
        compare_file(tmp_path / "rows.csv", predictor=predict)


@pytest.mark.validate
def test_reference_operators_add_up() -> None:
    """Every row of the sample is accounted for, and test headlines never see a fitted row."""
    found = compare_file(reference_file("measured/ops_sample.csv.gz"), predictor=predict)
    told = json.loads(json.dumps(summary(found)))
    apart = sum(line["rows"] for line in told["apart"])
    assert apart + sum(line["rows"] for line in told["table"]) == told["rows"] == 7169
    assert not (found.tested & found.fitted).any()
    assert {"launch", "memory", "compute"} <= set(told["headline"]["strata"])
