"""Integers of any width, register files, leakage, wires: sourced where sourced, lawful between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.cost import _logic as logic
from accelsim.cost import _wires as wires
from accelsim.cost._technology import link_energy_pj_per_bit, mac_area_mm2, mac_energy_pj
from accelsim.errors import ConfigError

nodes = st.floats(3, 65)
widths = st.integers(1, 32)


@pytest.mark.parametrize("nm", [45.0, 16.0, 7.0])
def test_eight_bits_are_the_table_s_mac(nm: float) -> None:
    """The general rule and the int8 row are one figure."""
    assert logic.int_mac_energy_pj(8, 8, 32, nm) == pytest.approx(mac_energy_pj("int8", nm))
    assert logic.int_mac_area_mm2(8, 8, 32, nm) == pytest.approx(mac_area_mm2("int8", nm))


def test_four_bits_are_near_the_square_law() -> None:
    """The rule of hwcomponents for narrow multipliers: a quarter of 8 bits."""
    ratio = logic.int_multiply_energy_pj(4, 4, 45) / logic.int_multiply_energy_pj(8, 8, 45)
    assert ratio == pytest.approx(0.25, rel=0.03)


@given(a=widths, b=widths, c=widths, nm=nodes)
def test_wider_operands_take_more(a: int, b: int, c: int, nm: float) -> None:
    """Either operand, energy and area; and the order of operands does not matter."""
    narrow, wide = sorted((a, b))
    for figure in (logic.int_multiply_energy_pj, logic.int_multiply_area_mm2):
        assert figure(narrow, c, nm) <= figure(wide, c, nm) * (1 + 1e-9)
        assert figure(narrow, c, nm) == figure(c, narrow, nm)


def test_integers_beyond_are_refused() -> None:
    """Twice the widest source is as far as the law is trusted."""
    with pytest.raises(ConfigError, match="1 to 64 bits"):
        logic.int_add_energy_pj(128, 45)


@pytest.mark.parametrize(
    ("capacity", "energy"), [(8, 0.015), (16, 0.03), (32, 0.06), (64, 0.12), (512, 0.96)]
)
def test_register_files_come_back_unchanged(capacity: int, energy: float) -> None:
    """Interstellar's figures per 16 bits at 28 nm, those between its ends as well."""
    assert logic.register_file_energy_pj(capacity, 16, 28) == pytest.approx(energy)
    assert logic.register_file_energy_pj(capacity, 32, 28) == pytest.approx(2 * energy)


@pytest.mark.parametrize("capacity", [1, 4096])
def test_other_register_files_are_refused(capacity: int) -> None:
    """A register file of 4 KiB is an SRAM."""
    with pytest.raises(ConfigError, match="2 to 1024 bytes"):
        logic.register_file_energy_pj(capacity, 16, 28)


def test_leakage_is_that_of_the_source_and_follows_the_circuit() -> None:
    """80 uW on 6350 um2 at 40 nm; a circuit leaks less when it shrinks, twice the area twice."""
    assert logic.logic_leakage_w(6350e-6, 40) == pytest.approx(80e-6, rel=1e-3)
    assert logic.logic_leakage_w(2, 7) == pytest.approx(2 * logic.logic_leakage_w(1, 7))
    shrink = mac_area_mm2("int8", 7) / mac_area_mm2("int8", 40)
    assert logic.logic_leakage_w(shrink, 7) < logic.logic_leakage_w(1, 40)


def test_a_millimetre_of_wire_costs_its_source() -> None:
    """256 bits over 10 mm at 40 nm: 310 pJ."""
    assert 2560 * wires.wire_energy_pj_per_bit_mm(40) == pytest.approx(310, rel=1e-3)


def test_hops_add_routers_and_wires() -> None:
    """Three hops of two millimetres, at the node of the router's source."""
    found = wires.noc_energy_pj_per_bit(3, 2, 32)
    assert found == pytest.approx(3 * 0.081 + 6 * wires.wire_energy_pj_per_bit_mm(32))
    assert 256 * wires.router_energy_pj_per_bit(32) == pytest.approx(20.74, rel=1e-3)
    assert wires.router_area_mm2(256, 32) == pytest.approx(0.15, rel=1e-3)


def test_leaving_the_chip_costs_more_than_a_hop() -> None:
    """Chiplet links and stacks, in the order of their reach."""
    hop = wires.noc_energy_pj_per_bit(1, 1, 16)
    order = [hop, link_energy_pj_per_bit("tsv"), link_energy_pj_per_bit("grs")]
    assert order == sorted(order)
