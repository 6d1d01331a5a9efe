"""The nests of a whole model, and of one product."""

from __future__ import annotations

import pytest

from accelsim import arch, build_workload, forward, load_model, mapping, prefill
from accelsim.cost import Work
from accelsim.errors import MappingError
from accelsim.mapping.nests import map_product, map_workload
from accelsim.workload import totals

INT8 = {"dtypes.weight": "int8", "dtypes.activation": "int8"}


def test_equal_layers_are_searched_once_and_counted_as_often_as_they_run() -> None:
    built = build_workload(load_model("resnet18", INT8), forward(1))
    found = map_workload(built, arch.load("nvdla-large"), mapping.load("nests-nvdla"))
    assert sum(nest.times for nest in found.nests) == 21
    assert len(found.nests) == 12
    assert found.macs == totals(built).macs
    assert {reason.split(", not ")[1] for _, reason in found.others} == {
        "norm", "elementwise", "reduce",
    }  # fmt: skip
    assert all(0 < nest.utilisation <= 1 for nest in found.nests)


def test_least_energy_and_least_time_keep_their_promises() -> None:
    work = Work("matmul", dtype="int8", m=100, n=200, k=300, bits_a=8, bits_b=8, bits_c=8)
    device = arch.load("nvdla-large")
    fast, thrifty = (
        map_product(work, device, mapping.load(name))
        for name in ("nests-fastest", "nests-thriftiest")
    )
    assert fast.figures.latency_s <= thrifty.figures.latency_s
    assert thrifty.figures.energy_pj <= fast.figures.energy_pj


def test_an_architecture_without_such_an_array_is_refused() -> None:
    built = build_workload(load_model("gpt2"), prefill(1, 16))
    with pytest.raises(MappingError, match="`null` has no unit of kind spatial"):
        map_workload(built, arch.load("null"), mapping.load("nests-fastest"))


def test_a_mapping_that_fits_no_operator_names_the_operator() -> None:
    built = build_workload(load_model("resnet18", INT8), forward(1))
    policy = mapping.load("nests-fastest", {"nests.levels.CBuff.used": 2})
    with pytest.raises(MappingError, match=r"operator `stem\.stem` on `.*`: no level"):
        map_workload(built, arch.load("nvdla-large"), policy)
