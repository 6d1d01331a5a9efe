"""GPUs: every board has its architecture, and every figure is that of the table of sources."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from accelsim import arch
from accelsim.config import library, load_spec
from accelsim.cost.dram import Dram
from accelsim.cost.gpu import Calibration, Gpu
from accelsim.measure.gpus import board, boards
from tests.reference import reference_file

OLDER_NAMES = {"A100-SXM4-80GB": "a100-80gb", "H100-SXM5-80GB": "h100-sxm"}
"""Architectures that are named more shortly than their boards."""
NO_GPUS = {"KNL7250", "Gaudi2", "SN40L"}
BOARDS = sorted(boards())
FRAGMENTS = sorted(
    path.stem
    for path in (library.library_root() / "arch" / "components").glob("gpu_calibration_*.yaml")
)


def plain(name: str) -> str:
    """Return a name without what spellings differ in."""
    return name.lower().replace("-", "")


def gpu_names() -> list[str]:
    """Return the architectures of arch/gpu."""
    return sorted(path.stem for path in (library.library_root() / "arch" / "gpu").glob("*.yaml"))


def architecture_of(name: str) -> str:
    """Return the architecture of a board: its name in lower case, dashes as one likes."""
    if name in OLDER_NAMES:
        return OLDER_NAMES[name]
    return next(one for one in gpu_names() if plain(one) == plain(name))


def parts(name: str) -> tuple[Gpu, Dram]:
    """Return the GPU and the memory of a board's architecture."""
    device = arch.load(architecture_of(name)).device
    gpu, dram = device.units["sm"], device.memories["dram"]
    assert isinstance(gpu, Gpu)
    assert isinstance(dram, Dram)
    return gpu, dram


def hardware() -> dict[str, Any]:
    """Return the GPUs of the table of sources."""
    table = yaml.safe_load(reference_file("measured/hardware.yaml").read_text())
    return {name: row for name, row in table.items() if name not in NO_GPUS}


def test_boards_and_architectures_are_one_to_one() -> None:
    """A new board needs an architecture, and an architecture a board."""
    assert sorted(architecture_of(name) for name in BOARDS) == gpu_names()


@pytest.mark.parametrize("name", BOARDS)
def test_the_memory_has_the_bandwidth_of_the_board(name: str) -> None:
    """Pins times rate are the data sheet's figure to half a per cent."""
    gpu, dram = parts(name)
    listed = gpu.boards[name].bandwidth_bytes_per_s
    assert dram.peak_bandwidth() == pytest.approx(listed, rel=5e-3)
    assert gpu.boards[name].power_w


@pytest.mark.parametrize("name", BOARDS)
def test_the_architecture_runs_what_the_board_is_scored_as(name: str) -> None:
    """Validation takes the component by board; a run takes the architecture: the same GPU."""
    alone, _ = board(name)
    within, _ = parts(name)
    assert within.model_copy(update={"memory": alone.memory}) == alone


@pytest.mark.parametrize("name", BOARDS)
def test_rates_are_in_order(name: str) -> None:
    """A narrower format is never slower than a wider one, and matrix units never than SIMDs.

    AMD's first matrix cores are the exception: bf16 at half the rate of fp16.
    """
    gpu, _ = board(name)
    peaks = gpu.peak_flops
    assert peaks["fp32"] >= gpu.vector_flops
    for wide, narrow in (("fp64", "fp32"), ("fp32", "fp16"), ("fp16", "fp8"), ("fp8", "fp4")):
        if wide in peaks and narrow in peaks:
            assert peaks[wide] <= peaks[narrow]
    if "bf16" in peaks:
        assert peaks["bf16"] == peaks["fp16"] / (2 if gpu.generation == "cdna1" else 1)


@pytest.mark.parametrize("name", BOARDS)
def test_lanes_give_the_vector_rate(name: str) -> None:
    """fp32 peak is two operations per lane and clock, with 64 or 128 lanes a multiprocessor.

    On Hopper's SXM boards the file holds the tensor cores' clock, 8 % below that of the lanes.
    """
    gpu, _ = board(name)
    per_clock = gpu.vector_flops / (2 * gpu.sms * gpu.frequency_hz)
    allowed = 0.09 if gpu.generation == "hopper" else 0.01
    assert min(abs(per_clock / lanes - 1) for lanes in (64, 128)) < allowed


@pytest.mark.parametrize("name", FRAGMENTS)
def test_a_generation_has_a_calibration_to_share(name: str) -> None:
    """The fragment is a whole calibration, of a generation that some board is of."""
    shared = load_spec(library.find("arch", f"components/{name}"), Calibration)
    for section in (shared.tensor, shared.simt, shared.vector):
        assert 0.4 <= section.memory_efficiency <= 1
    assert not shared.gpu
    assert name.removeprefix("gpu_calibration_") in {board(one)[0].generation for one in BOARDS}


def test_every_generation_has_a_fragment() -> None:
    """A GPU without measurements of its own has something to extend."""
    generations = {board(one)[0].generation for one in BOARDS}
    assert {f"gpu_calibration_{one}" for one in generations} == set(FRAGMENTS)


def test_every_gpu_of_the_table_is_shipped() -> None:
    """45 devices less the three that are no GPUs."""
    assert sorted(hardware()) == BOARDS


@pytest.mark.parametrize("name", BOARDS)
def test_figures_are_those_of_the_table(name: str) -> None:
    """Peaks, multiprocessors, caches, bandwidth, capacity, power and area."""
    row = hardware()[name]
    gpu, dram = parts(name)
    peaks = dict(row["peak_tflops"])
    vector = peaks["fp32"]
    peaks["fp32"] = peaks.pop("fp32_matrix", vector)
    assert {k: v / 1e12 for k, v in gpu.peak_flops.items()} == pytest.approx(peaks)
    assert gpu.vector_flops == pytest.approx(vector * 1e12)
    assert gpu.sms == row["sm"]
    assert gpu.frequency_hz == pytest.approx(row.get("tensor_mhz", row["boost_mhz"]) * 1e6)
    assert gpu.l2_bytes == row["l2_mb"] * 2**20
    assert gpu.shared_memory_bytes == row["smem_kb"] * 2**10
    assert gpu.boards[name].bandwidth_bytes_per_s == pytest.approx(row["mem_gbs"] * 1e9)
    assert gpu.boards[name].power_w == row["tdp_w"]
    assert dram.capacity_bytes == row["mem_gb"] * 2**30
    assert dram.standard.lower() == row["mem_type"].lower()
    if "die_mm2" in row:
        assert gpu.given_area_mm2 == row["die_mm2"]
