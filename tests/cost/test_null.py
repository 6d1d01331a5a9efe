"""The null unit and the infinite memory: everything runs, nothing takes time or energy."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import pytest

from accelsim import registry
from accelsim.cost import Setting, Work
from accelsim.cost.infinite import InfiniteMemory
from accelsim.cost.null import NullUnit
from accelsim.testing.components import UnitContract

MEMORY = InfiniteMemory(source="test")
SETTING = Setting(memory=MEMORY, buffer=None, technology_nm=7.0)


@pytest.mark.parametrize("kind", registry.names("operator"))
def test_every_operator_kind_runs_in_no_time(kind: str) -> None:
    """Whatever kinds the package has, the null unit takes them, for nothing."""
    unit = NullUnit(source="test", memory="all")
    work = Work(kind, weight_bytes=3, kv_bytes=4, input_bytes=5, output_bytes=6)
    assert unit.refusal(work) == ""
    found = unit.estimate(work, SETTING)
    assert (found.compute_ps, sum(found.energy_pj.values())) == (0, 0)


def test_bytes_are_still_counted() -> None:
    """Compulsory traffic stays, so that conservation can be checked on the null architecture."""
    work = Work("matmul", weight_bytes=3, kv_bytes=4, input_bytes=5, output_bytes=6)
    found = NullUnit(source="test", memory="all").estimate(work, SETTING)
    moved = (found.weight_traffic_bytes, found.input_traffic_bytes, found.output_traffic_bytes)
    assert moved == (7, 5, 6)


def test_infinite_memory_takes_no_time_or_energy() -> None:
    """Any stream ends at once, whatever its size."""
    assert MEMORY.capacity() == MEMORY.bandwidth() == inf
    assert (MEMORY.stream_ps(10**18), MEMORY.energy_pj(10**18), MEMORY.background_w()) == (0, 0, 0)


class TestContract(UnitContract):
    """The null unit obeys the contract of every unit."""

    def unit(self) -> NullUnit:
        return NullUnit(source="test", memory="all")

    def setting(self) -> Setting:
        return SETTING

    def works(self) -> Sequence[Work]:
        return [Work("matmul", m=8, n=8, k=8, macs=512, weight_bytes=128), Work("softmax", m=4)]
