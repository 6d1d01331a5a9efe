"""Narrow, wide and outlying operands: one rule of digits for every kind of element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.cost import Setting, Work
from accelsim.cost._array_formats import (
    Bricks,
    Outliers,
    array_shape,
    brick_cycles,
    cycles_per_mac,
    digits,
    energy_share,
    listed_bits,
    outlier_macs,
)
from accelsim.cost._systolic import products_along
from accelsim.cost.systolic import SystolicArray
from accelsim.errors import UnknownNameError
from accelsim.testing.components import KernelCall, UnitContract
from tests.cost.test_systolic import BUFFER, SETTING, array, product

FUSION = Bricks(digit_a=2, digit_b=2, across_a=4, across_b=4)
"""The Fusion Unit of Bit Fusion (ISCA 2018): sixteen 2-bit bricks."""
STRIPES = Bricks(digit_a=1, digit_b=16, powers_of_two=False)
LOOM = Bricks(digit_a=1, digit_b=1, powers_of_two=False)
QUADS = {"digit_a": 4, "digit_b": 4, "across_a": 2, "across_b": 2, "joins": "sides"}
"""Elements of ANT: four 4-bit multipliers."""

bits = st.integers(1, 16)
sizes = st.integers(1, 2000)


def whole(**changes: object) -> SystolicArray:
    """Return an array of 8-bit elements."""
    fields: dict[str, object] = {"rows": 16, "columns": 8, "arrays": 1, "formats": {"int8": 1}}
    return array(**(fields | changes))


def integers(m: int, n: int, k: int, a: int, b: int) -> Work:
    wide = f"int{max(a, b)}"
    return replace(
        product(m, n, k), dtype=wide, bits_a=a, bits_b=b,
        input_bytes=-(-m * k * a // 8), weight_bytes=-(-n * k * b // 8),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b", "engines"),
    [(2, 2, 16), (1, 1, 16), (2, 8, 4), (4, 4, 4), (8, 2, 4), (4, 8, 2), (8, 8, 1)],
)
def test_a_fusion_unit_is_as_many_engines_as_published(a: int, b: int, engines: int) -> None:
    """16, 8, 4, 2 or 1 fused engines by the widths of the operands (Bit Fusion, section III)."""
    assert FUSION.cycles(a, b) == 1 / engines
    assert FUSION.cycles(16, 16) == 4  # in four passes over the same bricks


@given(bits, bits)
def test_serial_elements_are_linear_in_what_they_take_bit_by_bit(a: int, b: int) -> None:
    """Stripes in the activation's bits, Loom in both."""
    assert STRIPES.cycles(a, b) == pytest.approx(a)
    assert LOOM.cycles(a, b) == pytest.approx(a * b)


@given(st.integers(1, 5000), st.integers(1, 64))
def test_serial_products_along_k_are_whole_cycles(k: int, times: int) -> None:
    """A rate of 1 / t sees k t products, whatever the rounding of 1 / t."""
    assert products_along(k, 1 / times) == k * times
    assert products_along(k, float(times)) == -(-k // times)


@given(bits, bits, st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4]), st.booleans())
def test_wider_operands_never_take_fewer_cycles(
    a: int, b: int, digit: int, across: int, powers: bool
) -> None:
    for joins in (0, 1):
        rule = (digit, digit, across, across, joins, powers)
        assert cycles_per_mac(a, b, *rule) <= cycles_per_mac(a + 1, b, *rule)
        assert cycles_per_mac(a, b, *rule) <= cycles_per_mac(a, b + 1, *rule)


@given(bits, bits, st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]), st.booleans())
def test_no_arrangement_makes_bricks_that_are_not_there(
    a: int, b: int, digit: int, across: int, powers: bool
) -> None:
    """Products per cycle times their brick-cycles are at most the bricks of an element."""
    needed = brick_cycles(a, b, digit, digit, powers)
    for joins in (0, 1):
        rows, columns, rate = array_shape(a, b, digit, digit, across, across, joins, powers)
        assert rows * columns * rate * needed <= across * across
        share = energy_share(a, b, digit, digit, across, across, powers)
        assert rows * columns * rate * share <= 1


@given(bits, st.integers(1, 8))
def test_digits_cover_the_operand_with_less_than_twice_as_many(width: int, digit: int) -> None:
    plain, rounded = digits(width, digit, False), digits(width, digit, True)
    assert (plain - 1) * digit < width <= plain * digit
    assert plain <= rounded < 2 * plain
    assert rounded & (rounded - 1) == 0


@given(m=sizes, n=sizes, k=sizes, dataflow=st.sampled_from(["os", "ws", "is"]))
def test_four_bit_operands_see_an_array_of_twice_the_sides(
    m: int, n: int, k: int, dataflow: str
) -> None:
    """Four 4-bit multipliers per element are a 4-bit array of four times the elements."""
    setting = replace(SETTING, dataflow=dataflow)  # type: ignore[arg-type]
    work = integers(m, n, k, 4, 4)
    plain = whole(rows=32, columns=16, formats={"int4": 1}).estimate(work, setting)
    found = whole(bricks=QUADS).estimate(work, setting)
    assert found.compute_ps == plain.compute_ps
    assert found.ideal_ps == pytest.approx(plain.ideal_ps)
    assert found.weight_traffic_bytes == plain.weight_traffic_bytes


def test_operands_of_different_widths_stretch_one_side() -> None:
    """4-bit activations fill twice the rows, 8-bit weights the columns that there are."""
    mixed = whole(bricks=QUADS).estimate(integers(256, 64, 500, 4, 8), SETTING)
    plain = whole(rows=32).estimate(integers(256, 64, 500, 8, 8), SETTING)
    assert mixed.compute_ps == plain.compute_ps


def test_an_element_of_bricks_runs_wider_integers_than_its_own() -> None:
    """An 8-bit element takes four passes for 16 bits; one of a piece refuses them."""
    work, setting = integers(512, 512, 512, 16, 16), replace(SETTING, dataflow="os")
    fused = whole(bricks=FUSION, drain="hidden")
    wide = fused.estimate(work, setting)
    narrow = fused.estimate(integers(512, 512, 512, 8, 8), setting)
    assert wide.compute_ps / narrow.compute_ps == pytest.approx(4, rel=1e-2)
    assert wide.ideal_ps == pytest.approx(4 * narrow.ideal_ps)
    assert "no format holds int16" in whole().refusal(work)


def test_peak_is_by_format() -> None:
    fused = whole(bricks=FUSION)
    eight = fused.peak_macs_per_s("int8")
    assert eight == 16 * 8 * 1.05e9
    assert fused.peak_macs_per_s("int4") == 4 * eight
    assert fused.peak_macs_per_s("int16") == eight / 4
    with pytest.raises(UnknownNameError, match="bf16"):
        fused.peak_macs_per_s("bf16")


def test_a_product_costs_the_energy_of_its_bricks() -> None:
    """A quarter of the element at 4 bits, half where one operand has 8; published where given."""
    fused = whole(bricks=FUSION)
    mac = {
        (a, b): fused.estimate(integers(64, 64, 64, a, b), SETTING).energy_pj["mac"]
        for a, b in ((8, 8), (4, 8), (4, 4))
    }
    assert mac[8, 8] == pytest.approx(64**3 * fused.mac_energy_pj("int8", 7))
    assert mac[4, 8] == mac[8, 8] / 2
    assert mac[4, 4] == mac[8, 8] / 4
    given = whole(bricks=FUSION, given_mac_energy_pj={"int4": 0.5})
    found = given.estimate(integers(64, 64, 64, 4, 4), SETTING).energy_pj["mac"]
    assert found == 64**3 * 0.5


def test_floating_formats_beside_bricks_stay_as_they_are() -> None:
    both = whole(formats={"int8": 1, "bf16": 0.25}, bricks=FUSION)
    alone = whole(formats={"bf16": 0.25})
    assert both.estimate(product(64, 64, 64), SETTING) == alone.estimate(
        product(64, 64, 64), SETTING
    )


@pytest.mark.parametrize("formats", [{"bf16": 1}, {"int8": 1, "int4": 4}])
def test_bricks_need_one_integer_format(formats: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="needs one integer format"):
        whole(formats=formats, bricks=FUSION)


# ---------------------------------------------------------------- outliers


def test_an_outlier_in_its_neighbours_place_costs_its_decoding_alone() -> None:
    """OliVe: time and traffic of plain 4 bits; each operand read is decoded once."""
    work, setting = integers(256, 128, 512, 4, 4), replace(SETTING, dataflow="os")
    plain = whole(bricks=QUADS).estimate(work, setting)
    pair = Outliers(stored="pair", weight_share=0.01, decoder_energy_pj=0.1)
    found = whole(bricks=QUADS, outliers=pair).estimate(work, setting)
    # os on 32 x 16 logical elements: A is read for each of 8 column folds, B for 8 row folds.
    read = 256 * 512 * 8 + 512 * 128 * 8
    assert found.energy_pj["decoder"] == pytest.approx(0.1 * read)
    rest = {name: value for name, value in found.energy_pj.items() if name != "decoder"}
    assert replace(found, energy_pj=rest) == plain


def test_listed_outliers_add_traffic_and_wait_for_their_own_units() -> None:
    """OLAccel: a list beside the tensor, and as many cycles as the outliers' units need."""
    work, setting = integers(256, 128, 512, 4, 4), replace(SETTING, dataflow="os")
    listed = {
        "stored": "list", "weight_share": 0.03, "bits": 16, "index_bits": 4,
        "macs_per_cycle": 1,
    }  # fmt: skip
    plain = whole(bricks=QUADS).estimate(work, setting)
    slow = whole(bricks=QUADS, outliers=listed).estimate(work, setting)
    assert slow.compute_ps == pytest.approx(256 * 128 * 512 * 0.03 / 1.05e9 * 1e12, rel=1e-6)
    assert slow.weight_traffic_bytes / plain.weight_traffic_bytes == pytest.approx(
        1 + 0.03 * 20 / 4, rel=1e-3
    )
    assert slow.input_traffic_bytes == plain.input_traffic_bytes
    fast = whole(bricks=QUADS, outliers=listed | {"macs_per_cycle": 1e6})
    assert fast.estimate(work, setting).compute_ps == plain.compute_ps


@given(st.floats(0, 1), st.floats(0, 1))
def test_outlier_products_are_those_of_either_operand(a: float, b: float) -> None:
    found = outlier_macs(100.0, a, b)
    assert max(a, b) * 100 - 1e-9 <= found <= min(1, a + b) * 100 + 1e-9


def test_decoders_stand_at_the_edges() -> None:
    pair = {"stored": "pair", "decoder_area_um2": 1e4}
    extra = whole(outliers=pair).area_mm2(7) - whole().area_mm2(7)
    assert extra == pytest.approx((16 + 8) * 0.01)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stored": "list", "weight_share": 0.1}, "macs_per_cycle"),
        ({"stored": "pair", "index_bits": 4}, "index_bits"),
        ({"stored": "pair", "weight_share": 0.6}, "at most half"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Outliers.model_validate(fields)


class TestFusionContract(UnitContract):
    """An array of Fusion Units obeys the contract of every unit."""

    def unit(self) -> SystolicArray:
        return whole(bricks=FUSION, outliers=Outliers(stored="pair", decoder_energy_pj=0.01))

    def setting(self) -> Setting:
        return Setting(memory=SETTING.memory, buffer=BUFFER, technology_nm=7.0)

    def works(self) -> Sequence[Work]:
        return [
            integers(1, 4096, 4096, 8, 8),
            integers(300, 256, 512, 4, 4),
            integers(128, 128, 128, 16, 16),
        ]

    def refused(self) -> Sequence[Work]:
        return [Work("softmax"), Work("matmul", dtype="bf16")]

    def peak_macs_per_s(self, work: Work) -> float:
        return self.unit().peak_macs_per_s(work.dtype)

    def kernels(self) -> Sequence[KernelCall]:
        rule = (2, 2, 4, 4)
        return [
            (digits, (6, 2, True)),
            (brick_cycles, (8, 4, 2, 2, True)),
            *((array_shape, (a, b, *rule, j, True)) for a, b in ((4, 4), (16, 8)) for j in (0, 1)),
            *((cycles_per_mac, (a, 8, *rule, j, True)) for a in (4, 16) for j in (0, 1)),
            (energy_share, (4, 8, *rule, True)),
            (outlier_macs, (100.0, 0.1, 0.2)),
            (listed_bits, (0.03, 16, 4.0)),
        ]
