"""ANT and the designs beside it: published times out of the general array, without a fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.explore.papers import load_paper
from accelsim.explore.published import reproduce
from accelsim.workload import forward, totals, workload

NETWORKS = ("ant-bert", "ant-vit", "ant-resnet50", "ant-resnet18", "ant-vgg16")


def test_times_are_the_published_ones_and_energies_near(tmp_path: Path) -> None:
    """Times within 3.5 %, of which the table's digits are up to 2.5 %; energies within 20 %."""
    done = reproduce(load_paper("ant"), tmp_path, jobs=1, quiet=True)
    assert set(done.counts) == {"done"}
    by_metric: dict[str, list[float]] = {"latency_s": [], "energy_j": []}
    for found in done.answers:
        assert found.ratio is not None, found.figure.name
        by_metric[found.figure.metric].append(found.ratio)
    assert len(by_metric["latency_s"]) == 22
    assert all(abs(ratio - 1) < 0.035 for ratio in by_metric["latency_s"])
    assert all(abs(ratio - 1) < 0.2 for ratio in by_metric["energy_j"])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("design", ["ant", "bitfusion"])
def test_bits_change_bytes_and_no_products(name: str, design: str) -> None:
    """The variants of a network differ in formats alone."""
    whole, narrow = (totals(workload(n, forward(4, 1))) for n in (name, f"{name}-{design}"))
    assert whole.macs == narrow.macs
    assert narrow.weight_read_bytes < whole.weight_read_bytes
    assert narrow.weight_read_bytes >= whole.weight_read_bytes / 2


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("ant-vgg16", "vgg16"),
        ("ant-resnet50", "resnet50"),
        ("ant-resnet18", "resnet18"),
        ("ant-vit", "vit-b16"),
    ],
)
def test_layers_are_those_of_the_network(name: str, model: str) -> None:
    """Weights of the listed layers against the library's network: less than 1.2 % apart.

    Biases, norms and the patch embedding are not in the list.
    """
    listed = totals(workload(name, forward(1, 1))).weight_read_bytes  # int8
    network = totals(workload(model, forward(1))).weight_read_bytes / 2  # bf16
    assert listed == pytest.approx(network, rel=0.012)
