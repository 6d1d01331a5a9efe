"""``accelsim nest``: tables, one nest with its loops, pictures, and what it refuses."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Command

INT8 = ("--set", "model.dtypes.weight=int8", "--set", "model.dtypes.activation=int8")


def test_a_product_is_shown_loop_by_loop(accelsim: Command) -> None:
    """AccelForge's optimum, by its rules."""
    rules = ("--set", "mapping.nests.accounting=accelforge")
    shown = accelsim("nest", "4096x4096x4096", "tpuv4i-accelforge", "nests-thriftiest", *rules).out
    assert "1,048,576 cycles, 999 µs, 100.0% busy, 14.2 mJ" in shown
    assert "parallel-for" in shown
    assert "GlobalBuffer" in shown


def test_a_model_is_a_table_and_data(accelsim: Command) -> None:
    shown = accelsim("nest", "resnet18", "nvdla-large", "nests-nvdla", *INT8).out
    assert "m 64, c 64, p 56, q 56, r 3, s 3" in shown
    assert "elsewhere: stem.stem.bn" in shown
    data = accelsim("nest", "resnet18", "nvdla-large", "nests-nvdla", *INT8, "--json").data
    assert len(data["nests"]) == 12
    assert data["cycles"] == sum(one["times"] * one["cycles"] for one in data["nests"])


def test_one_operator_is_drawn(accelsim: Command, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    asked = ("--operator", "stage.0.conv1", "--pictures", str(folder))
    accelsim("nest", "resnet18", "nvdla-large", "nests-nvdla", *INT8, *asked)
    assert {file.name for file in folder.iterdir()} == {"energy.png", "nest.png", "traffic.png"}


def test_what_there_is_not_is_named(accelsim: Command) -> None:
    asked = ("nest", "resnet18", "nvdla-large", "nests-nvdla", *INT8)
    refused = accelsim(*asked, "--operator", "nosuch")
    assert "nosuch" in refused.err
    refused = accelsim("nest", "64x64x64", "null")
    assert "no unit of kind spatial" in refused.err


def test_a_front_goes_from_the_fastest_to_the_thriftiest(accelsim: Command) -> None:
    front = accelsim("nest", "1x512x512", "tpuv4i-accelforge", "--front", "--json").data["front"]
    latencies = [one["latency_s"] for one in front]
    energies = [one["energy_pj"] for one in front]
    assert latencies == sorted(latencies)
    assert energies == sorted(energies, reverse=True)
    refused = accelsim("nest", "resnet18", "nvdla-large", "nests-nvdla", *INT8, "--front")
    assert "a front is of one operator" in refused.err
