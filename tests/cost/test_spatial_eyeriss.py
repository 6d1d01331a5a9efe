"""Eyeriss: accesses of its global buffer follow from the row-stationary mapping that it states."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from accelsim import arch
from accelsim.cost import ConvShape, Work
from accelsim.cost._component import Setting
from accelsim.cost._nest_policy import NestPolicy
from accelsim.cost.spatial import SpatialArray
from accelsim.nest import Figures

WORD_BYTES = 2


class Layer(NamedTuple):
    """A layer of AlexNet at batch 4, its mapping, and what was measured.

    Chen et al., JSSC 52(1), 2017: tables III (shape; m, n, e, p, q, r, t) and V (accesses of the
    global buffer in MB, active elements, processing latency), as transcribed by cucapra/fodlam at
    e50c5c3 and 9d4b9f5.
    """

    channels: tuple[int, int]
    groups: int
    kernel: int
    stride: int
    out: int
    filters_kept: int
    images: int
    rows: int
    filters: int
    inputs: int
    sets_inputs: int
    sets_filters: int
    accesses_mb: float
    active: int
    processing_s: float


LAYERS = {
    "conv1": Layer((3, 96), 1, 11, 4, 55, 96, 1, 7, 16, 1, 1, 2, 18.5, 154, 16.5e-3),
    "conv2": Layer((48, 128), 2, 5, 1, 27, 64, 1, 27, 16, 2, 1, 1, 77.6, 135, 39.2e-3),
    # table III prints q, r, t = 4, 1, 4, which would be 69.2 MB; 50.2 is that of conv4's mapping
    "conv3": Layer((256, 384), 1, 3, 1, 13, 64, 4, 13, 16, 3, 2, 2, 50.2, 156, 21.8e-3),
    "conv4": Layer((192, 192), 2, 3, 1, 13, 64, 4, 13, 16, 3, 2, 2, 37.4, 156, 16.0e-3),
    "conv5": Layer((192, 128), 2, 3, 1, 13, 64, 4, 13, 16, 3, 2, 2, 24.9, 156, 10.0e-3),
}


def _loops(layer: Layer) -> dict[str, dict[str, int]]:
    inputs, filters = layer.channels
    return {
        "DRAM": {
            "g": layer.groups,
            "m": -(-filters // layer.filters_kept),
            "n": 4 // layer.images,
            "p": -(-layer.out // layer.rows),
            "c": -(-inputs // (layer.inputs * layer.sets_inputs)),
        },
        "GLB": {"m": layer.filters_kept // (layer.filters * layer.sets_filters)},
        "elements": {
            "r": layer.kernel,
            "p": layer.rows,
            "c": layer.sets_inputs,
            "m": layer.sets_filters,
        },
        "filter_spad": {"n": layer.images, "q": layer.out},
        "ifmap_spad": {"c": layer.inputs, "s": layer.kernel},
        "psum_spad": {"m": layer.filters},
    }


def _evaluated(layer: Layer) -> Figures:
    loaded = arch.load("eyeriss")
    array = loaded.device.units["array"]
    assert isinstance(array, SpatialArray)
    shape = ConvShape(
        (layer.out, layer.out), (layer.kernel, layer.kernel), layer.channels, batch=4,
        groups=layer.groups, stride=(layer.stride, layer.stride),
    )  # fmt: skip
    work = Work("conv", dtype="int16", bits_a=16, bits_b=16, bits_c=16, conv=shape)
    policy = NestPolicy(accounting="timeloop", given=_loops(layer))
    memory = arch.main_memory(loaded)
    return array.figures(work, Setting(memory, None, loaded.technology_nm, nests=policy))


@pytest.mark.parametrize("name", LAYERS)
def test_accesses_of_the_global_buffer_are_those_measured(name: str) -> None:
    """Image words that the array reads, and sums written and read once per pass; all digits."""
    accesses = _evaluated(LAYERS[name]).accesses[1]
    found_mb = (accesses[0, 0] + 2.0 * accesses[2, 2]) * WORD_BYTES * 1e-6
    assert found_mb == pytest.approx(LAYERS[name].accesses_mb, abs=0.051)


@pytest.mark.parametrize("name", LAYERS)
def test_as_many_elements_are_active_as_on_the_chip(name: str) -> None:
    """Rows of the kernel by rows of results by sets of inputs and of filters."""
    used = 1
    for factor in _loops(LAYERS[name])["elements"].values():
        used *= factor
    assert used == LAYERS[name].active


@pytest.mark.parametrize("name", LAYERS)
def test_products_alone_take_most_of_the_processing_latency(name: str) -> None:
    """84 to 96 % of it: passes also load filters and drain sums, which is left out here."""
    layer = LAYERS[name]
    groups, (inputs, filters) = layer.groups, layer.channels
    products = 4 * groups * inputs * filters * (layer.kernel * layer.out) ** 2
    share = products / layer.active / 200e6 / layer.processing_s
    assert 0.82 < share < 0.97
