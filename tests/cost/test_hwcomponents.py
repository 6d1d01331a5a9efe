"""The adapter of hwcomponents: its units against a package of the same shape, and its errors."""

from __future__ import annotations

import inspect
import sys
from collections import namedtuple
from types import ModuleType

import pytest

from accelsim.cost import _hwcomponents as adapter
from accelsim.cost import _sram_model as built_in
from accelsim.cost.sram import Sram
from accelsim.errors import ConfigError

ActionCost = namedtuple("ActionCost", ["energy", "throughput", "latency"])


class SRAM:
    """What the adapter uses of the package's class, in its units (metres, joules, watts, m2)."""

    area, leak_power = 0.178e-6, 11.2e-6
    asked: dict[str, float]
    answer: type = ActionCost

    def __init__(self, tech_node: float, size: int, width: int, n_rw_ports: int) -> None:
        if width % 8:
            raise ValueError("CACTI failed with exit code 1\nsee the log")
        SRAM.asked = {
            "tech_node": tech_node, "size": size, "width": width, "n_rw_ports": n_rw_ports,
        }  # fmt: skip

    def read(self) -> object:
        return ActionCost(13.85e-12, 1e9, 1e-9)

    def write(self) -> object:
        return (10.93e-12, 1e-9)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("hwcomponents_cacti")
    module.SRAM = SRAM  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hwcomponents_cacti", module)
    adapter.sram_macro.cache_clear()


@pytest.mark.usefixtures("installed")
def test_units_are_converted_both_ways() -> None:
    """Nanometres and bytes in; pJ, mm2 and W out; both forms of an action's cost."""
    found = adapter.sram_macro(128 * 1024, 64, 28.0)
    assert found == built_in.SramFigures(
        pytest.approx(13.85), pytest.approx(10.93), pytest.approx(0.178), 11.2e-6
    )
    assert SRAM.asked == {
        "tech_node": pytest.approx(28e-9), "size": 2**20, "width": 64, "n_rw_ports": 1,
    }  # fmt: skip


@pytest.mark.usefixtures("installed")
def test_a_failure_within_is_one_clear_error() -> None:
    """The first line of its message, and what to do instead."""
    with pytest.raises(ConfigError, match="exit code 1") as caught:
        adapter.sram_macro(4096, 12, 28.0)
    assert "see the log" not in str(caught.value)
    assert "built-in model" in str(caught.value)


def test_where_it_is_absent_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A None in the table of modules is an import that fails."""
    monkeypatch.setitem(sys.modules, "hwcomponents_cacti", None)
    adapter.sram_macro.cache_clear()
    with pytest.raises(ConfigError, match="pip install hwcomponents-cacti"):
        adapter.sram_macro(4096, 64, 28.0)


@pytest.mark.usefixtures("installed")
def test_a_memory_asks_it_where_its_file_says_so() -> None:
    """`macro_model: hwcomponents` on an SRAM; half the accesses are reads."""
    fields = {
        "capacity_bytes": 128 * 1024, "technology_nm": 28, "access_bits": 64,
        "bandwidth_bytes_per_s": 1e9, "macro_model": "hwcomponents",
    }  # fmt: skip
    memory = Sram.model_validate(fields)
    assert memory.energy_pj(8) == pytest.approx((13.85 + 10.93) / 2)
    assert memory.area_mm2(28) == pytest.approx(0.178)
    assert memory.background_w() == 11.2e-6


def test_it_stands_in_for_the_built_in_model() -> None:
    """The same parameters in the same order."""
    own = inspect.signature(adapter.sram_macro.__wrapped__)
    assert own == inspect.signature(built_in.sram_macro.__wrapped__)
