"""The technology table: sourced figures come back unchanged, and the rules between them hold."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.config import library, load_spec
from accelsim.cost import _technology as technology
from accelsim.cost._scaling import bent
from accelsim.cost._technology_table import Technology
from accelsim.errors import ConfigError, UnknownNameError

nodes = st.floats(3, 65)


@pytest.mark.parametrize(
    ("op", "fmt", "at_45", "at_7"),
    [
        ("add", "int8", 0.03, 0.007), ("add", "int32", 0.1, 0.03),
        ("add", "fp16", 0.4, 0.16), ("add", "fp32", 0.9, 0.38),
        ("mul", "int8", 0.2, 0.07), ("mul", "int32", 3.1, 1.48),
        ("mul", "fp16", 1.1, 0.34), ("mul", "fp32", 3.7, 1.31),
    ],
)  # fmt: skip
def test_published_energies_come_back_unchanged(
    op: str, fmt: str, at_45: float, at_7: float
) -> None:
    """Table 2 of Jouppi et al. (ISCA 2021), whose 45 nm column is Horowitz's (ISSCC 2014)."""
    assert technology.vector_op_energy_pj(op, fmt, 45.0) == pytest.approx(at_45)
    assert technology.vector_op_energy_pj(op, fmt, 7.0) == pytest.approx(at_7)


@pytest.mark.parametrize(
    ("capacity", "at_45", "at_7"), [(8192, 10, 7.5), (32768, 20, 8.5), (2**20, 100, 14)]
)
def test_published_sram_reads_come_back_unchanged(
    capacity: int, at_45: float, at_7: float
) -> None:
    """The SRAM rows of the same table, per 64 bits."""
    assert 8 * technology.sram_energy_pj_per_byte(capacity, 45.0) == pytest.approx(at_45)
    assert 8 * technology.sram_energy_pj_per_byte(capacity, 7.0) == pytest.approx(at_7)


@pytest.mark.parametrize(
    ("capacity", "published", "within"), [(192 * 1024, 1.28, 0.08), (40 * 2**20, 2.4, 0.25)]
)
def test_interpolated_sram_reads_are_near_an_a100s(
    capacity: int, published: float, within: float
) -> None:
    """AttAcc's L1 and L2 energies (pJ per byte, 7 nm), which the table was not made from."""
    found = technology.sram_energy_pj_per_byte(capacity, 7.0)
    assert found == pytest.approx(published, rel=within)


def test_int8_mac_is_near_the_aladdin_tables() -> None:
    """An int8 MAC with a 32-bit accumulator at 7 nm: 0.109 pJ by hwcomponents."""
    assert technology.mac_energy_pj("int8", 7.0) == pytest.approx(0.109, rel=0.1)


@pytest.mark.parametrize(("nm", "area"), [(28, 0.178), (7, 0.0378)])
def test_cacti_areas_come_back_unchanged(nm: float, area: float) -> None:
    """The macro of 128 KiB at the two nodes at which it was evaluated."""
    assert technology.sram_area_mm2(128 * 1024, nm) == pytest.approx(area)


@given(a=nodes, b=nodes)
def test_finer_nodes_never_take_more_energy_or_area(a: float, b: float) -> None:
    """Every format's MAC shrinks with the node."""
    fine, coarse = sorted((a, b))
    for fmt in technology.mac_formats():
        assert technology.mac_energy_pj(fmt, fine) <= technology.mac_energy_pj(fmt, coarse) * (
            1 + 1e-9
        )
        assert technology.mac_area_mm2(fmt, fine) <= technology.mac_area_mm2(fmt, coarse) * (
            1 + 1e-9
        )


@pytest.mark.parametrize("nm", [45.0, 28.0, 7.0, 5.0])
def test_wider_formats_take_more_energy(nm: float) -> None:
    """Formats order as their widths, and bfloat16 below half precision."""
    order = ("int4", "int8", "fp8", "bf16", "fp16", "fp32")
    energies = [technology.mac_energy_pj(fmt, nm) for fmt in order]
    assert energies == sorted(energies)


@given(st.floats(1024, 2**30), st.floats(1024, 2**30), nodes)
def test_larger_srams_take_more_energy(a: float, b: float, nm: float) -> None:
    """Energy per byte rises with capacity at every node."""
    small, large = sorted((a, b))
    low = technology.sram_energy_pj_per_byte(small, nm)
    assert low <= technology.sram_energy_pj_per_byte(large, nm) * (1 + 1e-9)


def test_curve_between_anchors_meets_both() -> None:
    """A bent curve passes through its anchors and lies between them elsewhere."""
    curve, anchors = [(7.0, 1.0), (16.0, 3.0), (45.0, 9.0)], [(45.0, 2.0), (7.0, 1.0)]
    assert bent(anchors, curve, 45.0) == 2.0
    assert bent(anchors, curve, 7.0) == 1.0
    assert 1.0 < bent(anchors, curve, 16.0) < 2.0


def test_below_seven_nanometres_the_foundrys_factors_hold() -> None:
    """N5 against N7: 30 % less energy, logic 1.84 and SRAM 1.35 times as dense."""
    energy, area = technology.mac_energy_pj, technology.mac_area_mm2
    assert energy("bf16", 5.0) == pytest.approx(0.7 * energy("bf16", 7.0))
    assert area("bf16", 5.0) == pytest.approx(area("bf16", 7.0) / 1.84, rel=1e-3)
    sram = technology.sram_area_mm2
    assert sram(2**20, 5.0) == pytest.approx(sram(2**20, 7.0) / 1.35, rel=1e-3)


def test_bfloat16_scales_as_half_precision() -> None:
    """Its single figure, at 7 nm, moves between nodes as fp16 does."""
    mul = technology.vector_op_energy_pj
    for nm in (45.0, 16.0, 5.0):
        assert mul("mul", "bf16", nm) / mul("mul", "fp16", nm) == pytest.approx(0.21 / 0.34)


def test_an_exponential_is_five_fmas_and_a_multiply() -> None:
    """FuseMax's Taylor series, in the format's own adds and multiplies."""
    found = technology.vector_op_energy_pj("exp", "fp32", 7.0)
    assert found == pytest.approx(6 * 1.31 + 5 * 0.38)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: technology.mac_energy_pj("fp4", 7.0), "fp4"),
        (lambda: technology.vector_op_energy_pj("tanh", "fp32", 7.0), "tanh"),
        (lambda: technology.vector_op_energy_pj("add", "fp8", 7.0), "fp8"),
        (lambda: technology.dram_energy_pj_per_bit("ddr5"), "ddr5"),
        (lambda: technology.link_energy_pj_per_bit("cxl"), "cxl"),
    ],
)
def test_what_has_no_source_is_refused(call: object, named: str) -> None:
    """The error names what was asked for and what there is."""
    with pytest.raises(UnknownNameError, match=named) as caught:
        call()  # type: ignore[operator]
    assert "Legal:" in str(caught.value)


@pytest.mark.parametrize("nm", [90.0, 2.0])
def test_nodes_outside_the_table_are_refused(nm: float) -> None:
    """No extrapolation beyond the nodes that a source covers."""
    with pytest.raises(ConfigError, match="65 down to 3 nm"):
        technology.mac_energy_pj("int8", nm)


def test_tiny_srams_are_refused() -> None:
    """Below a kilobyte the smallest sourced macro says nothing."""
    with pytest.raises(ConfigError, match="registers"):
        technology.sram_energy_pj_per_byte(100, 7.0)


def test_every_row_has_its_reference() -> None:
    """Display rows carry value and full reference, none of them empty."""
    rows = technology.rows()
    assert len(rows) > 110
    for row in rows:
        assert "[" in row.source
        assert len(row.source) > 40


def test_an_unknown_reference_is_refused() -> None:
    """A row cannot cite what the file does not list."""
    path = library.find("arch", "components/technology")
    with pytest.raises(ConfigError, match="source `hearsay` is not among"):
        load_spec(path, Technology, overrides={"sram_write.source": "hearsay"})


def test_eyeriss_s_node_is_coarser_than_horowitz_s() -> None:
    """At 65 nm everything takes more than at 45 nm; how much is Stillmaker and Baas's ratio."""
    energy, area = technology.mac_energy_pj, technology.mac_area_mm2
    assert energy("int8", 65.0) / energy("int8", 45.0) == pytest.approx(1.952, rel=1e-3)
    assert area("int8", 65.0) / area("int8", 45.0) == pytest.approx(1.5)


def test_repeated_calls_are_cached() -> None:
    """The second call of the same arguments does not look at the table."""
    technology.mac_energy_pj("bf16", 6.5)
    hits = technology.mac_energy_pj.cache_info().hits
    technology.mac_energy_pj("bf16", 6.5)
    assert technology.mac_energy_pj.cache_info().hits == hits + 1


def test_dram_standards_order_as_their_generations() -> None:
    """Each generation of stacked DRAM moves a bit for less."""
    energies = [technology.dram_energy_pj_per_bit(name) for name in ("hbm2", "hbm3", "hbm4")]
    assert all(old > new for old, new in itertools.pairwise(energies))
