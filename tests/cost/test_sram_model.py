"""The SRAM model: near CACTI where it has not been fitted, and monotone as memories are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.cost._sram_model import sram_macro
from accelsim.cost._technology_table import table
from accelsim.errors import ConfigError

KIB = 1024
sizes = st.floats(1024, 2**27)
words = st.sampled_from([8, 16, 32, 64, 96, 128])
nodes = st.floats(3, 65)


@pytest.mark.checkout
def test_the_fit_gives_the_shipped_parameters() -> None:
    """Nobody has set a parameter by hand: fitting again gives what the file says."""
    from benchmarks.bench_sram import fit, pitch, points

    known = points()
    found, macro = fit([p for p in known if p.is_fitted]), table().sram_macro
    assert pitch(known) == pytest.approx(macro.port_pitch, rel=2e-3)
    for access in ("read", "write"):
        shape = getattr(macro, access).model_dump()
        assert found[access] == pytest.approx(shape, rel=5e-3)
    assert found["area_row"] == pytest.approx(macro.area_row, rel=5e-3)
    assert found["leakage_edge"] == pytest.approx(macro.leakage_edge, rel=5e-3)
    for fitted, shipped in zip(found["nodes"], macro.nodes, strict=True):
        assert fitted == pytest.approx(shipped.model_dump(), rel=5e-3)


@pytest.mark.checkout
@pytest.mark.parametrize(
    ("group", "most"),
    [
        ("held out", {"read_pj": 0.10, "write_pj": 0.08, "area_mm2": 0.08, "leakage_uw": 0.05}),
        ("held out, below 1 KiB", {"read_pj": 0.25, "write_pj": 0.22, "area_mm2": 0.08}),
        ("held out, 8 and 16 MiB", {"read_pj": 0.08, "write_pj": 0.08, "area_mm2": 0.11}),
        ("held out, 2 ports", {"read_pj": 0.20, "write_pj": 0.16, "area_mm2": 0.09}),
    ],
)
def test_mean_errors_off_the_fit_are_as_documented(group: str, most: dict[str, float]) -> None:
    """Capacities, words, and ports that the fit has not seen; `docs/energy.md` states these."""
    from benchmarks.bench_sram import errors, groups, points

    of = groups(points())
    assert not {p for p in of[group] if p.is_fitted}
    off = errors(of[group])
    for figure, limit in most.items():
        assert np.mean(np.abs(off[figure])) < limit, figure


@pytest.mark.parametrize(
    ("capacity", "bits", "nm", "read", "write", "within"),
    [
        # Timeloop's example designs: simba_like, eyeriss_like, simple_weight_stationary,
        # sparse_tensor_core_like (repository timeloop-accelergy-exercises at ac42b269).
        (64 * KIB, 256, 45, 51.87, 66.31, 0.07), (128 * KIB, 64, 32, 18.18, 14.14, 0.12),
        (128 * KIB, 64, 45, 32.38, 26.16, 0.12), (256 * KIB, 256, 45, 124.66, 118.09, 0.10),
        # FuseMax's global buffer, eight times beyond the fit.
        (32 * KIB * KIB, 64, 45, 484.88, 451.21, 0.12),
        # hwcomponents at nodes between and below those of CACTI.
        (128 * KIB, 64, 28, 13.85, 10.93, 0.06), (128 * KIB, 256, 28, 32.7, 37.5, 0.04),
        (128 * KIB, 64, 7, 4.18, 3.47, 0.13), (128 * KIB, 256, 7, 10.8, 11.7, 0.06),
    ],
)  # fmt: skip
def test_published_energies_are_met(
    capacity: int, bits: int, nm: float, read: float, write: float, within: float
) -> None:
    """Figures of others, which the fit has not used."""
    found = sram_macro(capacity, bits, nm)
    assert found.read_pj == pytest.approx(read, rel=within)
    assert found.write_pj == pytest.approx(write, rel=within)


@pytest.mark.parametrize(
    ("capacity", "bits", "nm", "area", "within"),
    [
        (128 * KIB, 64, 28, 0.178, 0.05), (KIB * KIB, 256, 28, 1.467, 0.08),
        (128 * KIB, 64, 7, 0.0378, 0.11), (KIB * KIB, 256, 7, 0.279, 0.03),
        (64 * KIB, 256, 45, 0.199, 0.10), (32 * KIB * KIB, 64, 45, 94.18, 0.16),
    ],
)  # fmt: skip
def test_published_areas_are_met(
    capacity: int, bits: int, nm: float, area: float, within: float
) -> None:
    """Areas of the same sources, in mm2."""
    assert sram_macro(capacity, bits, nm).area_mm2 == pytest.approx(area, rel=within)


@given(a=sizes, b=sizes, bits=words, nm=nodes)
def test_larger_memories_take_more(a: float, b: float, bits: int, nm: float) -> None:
    """Energy, area and leakage rise with capacity."""
    small, large = sorted((a, b))
    low, high = sram_macro(small, bits, nm), sram_macro(large, bits, nm)
    for figure in ("read_pj", "write_pj", "area_mm2", "leakage_w"):
        assert getattr(low, figure) <= getattr(high, figure) * (1 + 1e-9)


@given(capacity=st.floats(2**16, 2**27), a=words, b=words, nm=nodes)
def test_wider_words_take_more_in_all_and_less_per_bit(
    capacity: float, a: int, b: int, nm: float
) -> None:
    """A word's address is paid once."""
    narrow, wide = sorted((a, b))
    low, high = sram_macro(capacity, narrow, nm), sram_macro(capacity, wide, nm)
    assert low.read_pj <= high.read_pj * (1 + 1e-9)
    assert low.read_pj / narrow >= high.read_pj / wide * (1 - 1e-9)


@given(a=nodes, b=nodes)
def test_finer_nodes_take_less_energy_and_area(a: float, b: float) -> None:
    """From node to node; leakage follows cells, not nodes, and is free to rise."""
    fine, coarse = sorted((a, b))
    low, high = sram_macro(2**17, 64, fine), sram_macro(2**17, 64, coarse)
    for figure in ("read_pj", "write_pj", "area_mm2"):
        assert getattr(low, figure) <= getattr(high, figure) * (1 + 1e-9)


def test_ports_widen_the_cells() -> None:
    """Area grows with the square of the cell's side, energy with the side."""
    one, two = sram_macro(2**16, 64, 22), sram_macro(2**16, 64, 22, ports=2)
    assert two.area_mm2 / one.area_mm2 == pytest.approx((two.read_pj / one.read_pj) ** 2)
    assert two.read_pj > one.read_pj


def test_below_seven_nanometres_area_shrinks_as_foundries_say() -> None:
    """N5 holds 1.35 times the SRAM of N7, N3 hardly more."""
    area = {nm: sram_macro(2**20, 256, nm).area_mm2 for nm in (7.0, 5.0, 3.0)}
    assert area[7.0] / area[5.0] == pytest.approx(1.35, rel=1e-3)
    assert area[5.0] / area[3.0] == pytest.approx(1.05, rel=1e-2)


def test_few_words_are_no_sram() -> None:
    """Where CACTI has no organisation the error says what to do."""
    with pytest.raises(ConfigError, match="32 words of 64 bits"):
        sram_macro(256, 64, 22)


@pytest.mark.parametrize("nm", [90.0, 2.0])
def test_nodes_outside_are_refused(nm: float) -> None:
    """The table's range holds for macros too."""
    with pytest.raises(ConfigError, match="65 down to 3 nm"):
        sram_macro(2**16, 64, nm)
