"""What a GPU is: formats, catalogues of tiles, scalars of a product, the clock, libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from accelsim.config import library, load_resolved
from accelsim.cost._gpu_calibration import ClockScalars
from accelsim.cost._gpu_product import BATCHED_TILES, TILES
from accelsim.cost.gpu import Calibration, Gpu
from accelsim.measure.gpus import board, boards
from tests.cost.gpu_boards import PLAIN, calibrated, changed, product

A100, BANDWIDTH = calibrated("A100-PCIe-80GB")
H100, _ = calibrated("H100-SXM5-80GB")
T4, _ = calibrated("T4")


@pytest.mark.parametrize(
    ("gpu", "dtype", "listed"),
    [
        (A100, "fp16", "fp16"), (A100, "fp8", "fp16"), (A100, "mxfp8", "fp16"),
        (A100, "uint8", "int8"), (A100, "posit16", ""), (H100, "fp8", "fp8"),
        (H100, "nvfp4", "fp8"), (T4, "bf16", "fp32"), (T4, "tf32", "fp32"),
    ],
)  # fmt: skip
def test_a_format_without_a_rate_runs_as_the_next_wider_one(
    gpu: Gpu, dtype: str, listed: str
) -> None:
    """The next that holds all its values; a format that nobody knows runs in none."""
    assert gpu.multiplied(dtype) == listed
    if listed:
        assert gpu.peak(dtype) == gpu.peak_flops[listed]


@pytest.mark.parametrize(
    ("name", "dtype", "arithmetic"),
    [
        ("A100-PCIe-80GB", "fp16", "tensor"), ("A100-PCIe-80GB", "tf32", "tensor"),
        ("A100-PCIe-80GB", "fp32", "simt"), ("T4", "bf16", "simt"), ("MI25", "fp16", "simt"),
        ("M40", "fp32", "simt"),
    ],
)  # fmt: skip
def test_tensor_cores_multiply_narrow_formats(name: str, dtype: str, arithmetic: str) -> None:
    """Where the generation has them."""
    assert board(name)[0].arithmetic(dtype) == arithmetic


def test_catalogues_follow_units_generation_and_batching() -> None:
    """Of Ampere, batched fp32 products have one tile; single ones and 16-bit formats many."""
    assert A100.tiles("fp16") is A100.tiles("fp16", batched=True) is TILES["tensor"]
    assert A100.tiles("fp32") is TILES["simt"]
    assert A100.tiles("fp32", batched=True).tolist() == [[128, 128]]
    assert H100.tiles("fp32", batched=True) is BATCHED_TILES["ampere"]
    assert T4.tiles("fp32", batched=True) is BATCHED_TILES["turing"]
    assert board("M40")[0].tiles("fp32", batched=True) is BATCHED_TILES["volta"]
    for dtype in ("fp16", "fp32"):
        assert board("MI210")[0].tiles(dtype) is TILES["matrix"]


@pytest.mark.parametrize("tiles", [*TILES.values(), *BATCHED_TILES.values()])
def test_tiles_are_those_of_thread_blocks(tiles: np.ndarray) -> None:
    """Two sides, whole fragments, none twice, accumulators within a register file."""
    assert tiles.shape == (len(tiles), 2)
    assert (tiles % 16 == 0).all()
    assert len({tuple(tile) for tile in tiles.tolist()}) == len(tiles)
    assert (tiles.prod(axis=1) * 4 <= 256 * 1024 // 2).all()


def test_fixed_times_are_counted_in_elements_of_their_format() -> None:
    """Twice as many at twice the rate; an element of half the width is fed twice as fast."""
    scalars = PLAIN.tensor
    peak, share, found = H100.product_scalars("fp8")
    efficiency, start, p, edge, fill, clock, combine, camping = found
    assert peak == H100.peak_flops["fp8"]
    assert (share, efficiency, p) == (
        scalars.memory_efficiency, scalars.compute_efficiency, scalars.smoothness,
    )  # fmt: skip
    assert fill == pytest.approx(2 * scalars.fill_elements, rel=1e-3)
    assert edge == pytest.approx(scalars.edge_elements, rel=1e-3)
    assert (start, clock, combine, camping) == (3e-6, 0.9, 1e-6, 0.05)


def test_sections_follow_the_arithmetic() -> None:
    """Products in fp32 have the section of the scalar lanes."""
    assert A100.product_scalars("fp32")[2][3] == PLAIN.simt.edge_elements
    assert A100.product_scalars("tf32")[2][0] == PLAIN.tensor.compute_efficiency


def test_a_quantised_format_has_its_share_and_start() -> None:
    """Beside the section that it runs in; an entry that is not there changes nothing."""
    data = PLAIN.model_dump() | {"formats": {"int4_wo": {"efficiency": 0.5, "start_s": 2e-6}}}
    gpu, _ = calibrated("A100-PCIe-80GB", Calibration.model_validate(data))
    plain = gpu.product_scalars("fp16")
    assert gpu.product_scalars("fp16", quantised="int8_wo") == plain
    slow = gpu.product_scalars("fp16", quantised="int4_wo")
    assert slow[2][0] == plain[2][0] / 2
    assert slow[2][1] == plain[2][1] + 2e-6


def test_an_unmeasured_boards_clock_follows_its_power() -> None:
    """Power goes with the cube of the clock, so an eighth of what is needed halves it."""
    peak = A100.peak_flops["fp16"] / 1e12
    drawing = changed("tensor", watts_per_tflops=8 * 300 / peak).tensor
    for watts, clock in ((300.0, 0.5), (2400.0, 1.0), (9999.0, 1.0), (None, 0.9)):
        gpu = A100.model_copy(update={"power_w": watts})
        assert gpu.sustained_clock(drawing, "fp16") == pytest.approx(clock)
        assert gpu.sustained_clock(PLAIN.tensor, "fp16") == PLAIN.tensor.sustained_clock


def test_a_lower_power_limit_slows_long_products_alone() -> None:
    """Where multiprocessors idle the others have the boost clock; many waves do not."""
    scalars = changed("tensor", watts_per_tflops=2.0)
    gpu, _ = calibrated("A100-PCIe-80GB", scalars)
    low, high = (gpu.model_copy(update={"power_w": watts}) for watts in (250.0, 700.0))
    short, long = product(128, 1024, 256), product(16384, 4096, 4096)
    assert low.run(short, BANDWIDTH) == high.run(short, BANDWIDTH)
    assert low.run(long, BANDWIDTH).compute_ps > 1.2 * high.run(long, BANDWIDTH).compute_ps


def test_a_library_is_chosen_by_name() -> None:
    """The first holds where none is named, and where one is that nobody calibrated."""
    scalars = changed("vllm.prefill", tail=0.25)
    gpu, _ = calibrated("A100-PCIe-80GB", scalars)
    assert gpu.kernels().prefill.tail == gpu.kernels("mystery").prefill.tail == 0.5
    assert gpu.kernels("vllm").prefill.tail == 0.25
    own = gpu.model_copy(update={"library": "vllm"})
    assert own.kernels().prefill.tail == own.kernels("mystery").prefill.tail == 0.25


def test_a_library_that_is_not_calibrated_is_an_error() -> None:
    """Its message lists those that are."""
    data = A100.model_dump() | {"library": "mystery"}
    with pytest.raises(ValidationError, match=r"`mystery` is not calibrated: sglang, vllm"):
        Gpu.model_validate(data)


def test_clocks_are_found_by_library_function_or_operator() -> None:
    """The narrowest that is listed; None where a campaign's clock sees kernels alone."""
    ten, twenty = ({"launch_s": s, "least_s": 0.0} for s in (1e-5, 2e-5))
    data = PLAIN.model_dump()
    data["clock"] = {"gemm": ten, "elementwise": ten, "gelu": twenty}
    data["libraries"]["vllm"]["clock"] = {"moe": twenty}
    known = Calibration.model_validate(data)
    found = {
        key: known.clock_of(*key)
        for key in [("gemm",), ("elementwise", "add"), ("elementwise", "gelu"), ("moe", "vllm"),
                    ("moe", "sglang"), ("softmax",)]
    }  # fmt: skip
    assert [clock and clock.launch_s for clock in found.values()] == [
        1e-5, 1e-5, 2e-5, 2e-5, None, None,
    ]  # fmt: skip
    assert found["gemm",] == ClockScalars(launch_s=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"compute_efficiency": 1.2}, {"smoothness": 0.5}, {"start_s": -1e-6},
        {"sustained_clock": 0.0}, {"memory_efficiency": "much"},
    ],
)  # fmt: skip
def test_scalars_without_physical_meaning_are_refused(change: dict[str, object]) -> None:
    """Shares beyond one, exponents below one, negative times."""
    with pytest.raises(ValidationError, match=next(iter(change))):
        changed("tensor", **change)


@pytest.mark.parametrize("name", sorted(boards()))
def test_every_board_is_complete(name: str) -> None:
    """Bandwidth, power, a calibration that covers each section, known boost clock and peaks."""
    gpu, bandwidth = board(name)
    assert 1e11 < bandwidth < 1e13
    assert gpu.power_w is not None
    assert 50 <= gpu.power_w <= 1400
    assert gpu.calibration.split
    assert gpu.peak_flops["fp32"] >= 0.5 * gpu.vector_flops
    lanes = gpu.vector_flops / gpu.frequency_hz / gpu.sms / 2
    # GH100 runs fp32 at 1.98 GHz, 8 % above the clock of its tensor cores' peak (whitepaper).
    assert min(abs(lanes / 64 - 1), abs(lanes / 128 - 1)) < 0.085


@pytest.mark.parametrize("path", sorted(set(boards().values())), ids=lambda path: path.stem)
def test_a_gpu_takes_its_own_scalars_or_those_of_its_generation(path: Path) -> None:
    """Whether its file names the one or the other: what was measured of it decides."""
    data, folder = load_resolved(path).data, library.library_root() / "arch" / "components"
    own = folder / f"calibration_{path.stem}.yaml"
    typical = folder / f"gpu_calibration_{data['generation']}.yaml"
    wanted = load_resolved(own if own.is_file() else typical).data
    assert data["calibration"]["tensor"] == wanted["tensor"]
    assert data["calibration"]["fitted_on"] == wanted["fitted_on"]
