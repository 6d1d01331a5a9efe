"""Areas of macros and multipliers against die photos: how much of a chip the models leave out."""

from __future__ import annotations

import csv

import pytest

from accelsim.cost._sram_model import sram_macro
from accelsim.cost._technology import mac_area_mm2
from tests.reference import reference_file

MIB = 2**20


def areas(chip: str) -> dict[str, float]:
    with reference_file("measured/die_area.csv").open(encoding="utf-8") as file:
        return {row["component"]: float(row[chip]) for row in csv.DictReader(file)}


@pytest.mark.validate
def test_an_l2_is_some_ten_times_its_macros_in_both_chips() -> None:
    """48 MiB in a whole GA100 (40 in an A100) and 8 MiB in an Aldebaran.

    The factor is that of caches with their tags, crossbars and control; `docs/energy.md` states
    it.  That it is alike for two sizes of two makers says that a macro's area scales as theirs.
    """
    found = [
        areas(chip)["global_buffer"] / sram_macro(size * MIB, 512, 7).area_mm2
        for chip, size in (("GA100_mm2", 48), ("Aldebaran_GCD_mm2", 8))
    ]
    assert found == pytest.approx([9.1, 11.6], abs=0.1)


@pytest.mark.validate
def test_multipliers_are_a_tenth_of_the_cores() -> None:
    """128 multiprocessors of 1024 half-precision MACs: registers, caches, schedulers and wires."""
    share = 128 * 1024 * mac_area_mm2("fp16", 7) / areas("GA100_mm2")["cores"]
    assert share == pytest.approx(0.095, abs=0.01)
