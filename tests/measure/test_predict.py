"""Predictions of measured rows: whose scalars a row takes, its clock, why it has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelsim.cost.gpu import Calibration
from accelsim.measure import predict as module
from accelsim.measure.gpus import board
from accelsim.measure.predict import campaigns, clock_s, predict
from accelsim.measure.rows import MODELLED
from tests.cost.gpu_boards import PLAIN, changed
from tests.measure.compare.standin import BASE, gemm, softmax, table
from tests.measure.made import GPU, LAB, attention, experts, products, streams

SLOW = changed("tensor", compute_efficiency=0.45)


def clocked(launch_s: float, least_s: float = 0.0, gpu: str = GPU) -> Calibration:
    """Return round scalars with a clock of products."""
    clock = {"gemm": {"launch_s": launch_s, "least_s": least_s}}
    return Calibration.model_validate(
        PLAIN.model_dump() | {"gpu": gpu, "campaign": LAB, "clock": clock}
    )


@pytest.fixture
def nothing_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the calibrations of campaigns out."""
    monkeypatch.setattr(module, "campaigns", dict)


def test_a_named_calibration_comes_first(tmp_path: Path) -> None:
    """For rows of its board and campaign alone; others take the shipped one, or the board's."""
    rows = table(
        [gemm(4096, 4096, 4096, gpu=gpu, source=source)
         for gpu in (GPU, "A6000") for source in (LAB, "vidur")],
        tmp_path,
    )  # fmt: skip
    before = predict(rows).kernel_us
    after = predict(rows, {(GPU, LAB): SLOW}).kernel_us
    assert after[0] > 1.5 * before[0]
    assert after[1:].tolist() == before[1:].tolist()


def test_a_row_takes_the_scalars_of_its_campaign(tmp_path: Path) -> None:
    """And of its board where the campaign did not measure that."""
    shipped = campaigns()[GPU, "vidur"]
    own, other = (table([gemm(4096, 4096, 4096, source=s)], tmp_path) for s in ("vidur", LAB))
    alone = predict(own, {(GPU, "vidur"): shipped}).kernel_us
    assert predict(own).kernel_us == alone
    boards = board(GPU)[0].calibration
    assert predict(other).kernel_us == predict(other, {(GPU, LAB): boards}).kernel_us


def test_every_operator_that_is_modelled_is_predicted(tmp_path: Path) -> None:
    """Positive, finite times for each; the same in whatever order and company."""
    conv = {
        **BASE, "op": "conv", "batch": 8, "c_in": 64, "c_out": 64, "kh": 3, "kw": 3, "h_in": 28,
        "w_in": 28, "stride_h": 1, "stride_w": 1, "pad_h": 1, "pad_w": 1, "latency_us": 1.0,
    }  # fmt: skip
    mixed = attention("prefill", op="attention_mixed", n_decode=4, kv_decode=512)[:2]
    rows = [
        *products()[:5], gemm(64, 64, 64, op="bmm", b=4), conv, *attention("prefill")[:5],
        *attention("decode")[:5], *mixed, *experts()[:3],
    ]  # fmt: skip
    for op in sorted(MODELLED - {str(row["op"]) for row in rows}):
        rows += streams(op, [64], subop="add" if op == "elementwise" else "")
    frame = table(rows, tmp_path)
    found = predict(frame)
    assert set(frame["op"]) == MODELLED
    assert not found.reason.any()
    assert np.isfinite(found.kernel_us).all()
    assert (found.kernel_us > 0).all()
    order = np.random.default_rng(0).permutation(len(frame))
    shuffled = predict(frame.iloc[order].reset_index(drop=True))
    assert shuffled.latency_us.tolist() == found.latency_us[order].tolist()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gpu": "mystery"}, "no component file lists the board mystery"),
        ({"op": "rnn"}, "recurrent networks"),
        ({"op": "sampler"}, "sampling"),
        ({"op": "allreduce"}, "tell its sizes"),
        ({"op": "allreduce", "timing": "eager"}, "its clock holds the host"),
        ({"op": "novel"}, "operator novel is not modelled"),
        ({"dtype": "posit8"}, "number format posit8"),
        ({"op": "softmax", "bytes_min": None}, "tell its sizes"),
    ],
)
def test_what_is_not_modelled_is_said(change: dict[str, str], reason: str, tmp_path: Path) -> None:
    """Such rows have no time, the others do."""
    frame = table([gemm(512, 512, 512), softmax(8, 64)], tmp_path)
    frame = pd.concat([frame, pd.DataFrame([gemm(512, 512, 512) | change])], ignore_index=True)
    found = predict(frame.assign(impl="", subop=""))
    assert np.isnan(found.kernel_us).tolist() == [False, False, True]
    assert reason in found.reason[2]
    assert found.reason[:2].tolist() == ["", ""]


@pytest.mark.usefixtures("nothing_shipped")
def test_clocks_add_a_constant_or_what_is_missing_to_the_least(tmp_path: Path) -> None:
    """max(least, launch + kernel), apart from the kernel's own time."""
    frame = table([gemm(m, 4096, 4096) for m in (1, 4096, 65536)], tmp_path)
    bare = predict(frame, {(GPU, LAB): PLAIN})
    found = predict(frame, {(GPU, LAB): clocked(10e-6, 300e-6)})
    assert bare.added_us.tolist() == [0, 0, 0]
    assert found.kernel_us.tolist() == bare.kernel_us.tolist()
    assert found.latency_us == pytest.approx(np.maximum(300, 10 + bare.kernel_us))
    assert found.latency_us[0] == pytest.approx(300)


@pytest.mark.usefixtures("nothing_shipped")
def test_an_unmeasured_boards_clock_is_the_campaigns_median(tmp_path: Path) -> None:
    """Over its other boards; campaigns that nobody calibrated add nothing."""
    known = {(gpu, LAB): clocked(s, 2 * s, gpu) for gpu, s in
             (("A6000", 4e-6), ("T4", 9e-6), ("L4", 50e-6))}  # fmt: skip
    known["A100-PCIe-80GB", "elsewhere"] = clocked(90e-6)
    frame = table([gemm(4096, 4096, 4096), gemm(4096, 4096, 4096, source="new")], tmp_path)
    found = predict(frame, known)
    assert found.added_us == pytest.approx([9, 0])
    assert found.kernel_us[0] == found.kernel_us[1]


def test_clock_by_hand() -> None:
    """Short kernels are filled up to the least, long ones get the launch."""
    clock = clocked(5e-6, 20e-6).clock["gemm"]
    added = clock_s(clock, np.array([1e-6, 15e-6, 40e-6]))
    assert added == pytest.approx([19e-6, 5e-6, 5e-6])


def test_shipped_campaigns_are_on_known_boards() -> None:
    """Each says what was fitted, on which split, and its error on the rest."""
    named = {key: one for key, one in campaigns().items() if key != ("", "")}
    assert len(named) >= 15
    for (gpu, source), one in named.items():
        board(gpu)
        assert (one.gpu, one.campaign) == (gpu, source)
        assert any(text.startswith(f"{gpu}, {source}") for text in one.fitted_on.values())
        assert one.split
        assert "MAPE on rows not fitted" in one.error
