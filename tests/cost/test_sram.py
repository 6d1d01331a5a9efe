"""SRAM as a component: bandwidth from its ports, energy and leakage from its node."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from accelsim.cost._sram_model import sram_macro
from accelsim.cost._technology import sram_energy_pj_per_byte
from accelsim.cost.sram import Sram


def sram(**changes: object) -> Sram:
    fields = {
        "source": "test", "capacity_bytes": "1 MiB", "technology_nm": 7,
        "bandwidth_bytes_per_s": "1 TB/s",
    }  # fmt: skip
    return Sram.model_validate(fields | changes)


def test_bandwidth_is_that_of_all_ports() -> None:
    """Banks work at the same time, each one port wide per cycle."""
    found = sram(bandwidth_bytes_per_s=None, banks=16, port_bytes=32, frequency_hz="1 GHz")
    assert found.bandwidth() == found.peak_bandwidth() == 16 * 32 * 1e9


def test_given_bandwidth_wins() -> None:
    """A published bandwidth replaces the ports' sum."""
    assert sram(banks=16, port_bytes=32, frequency_hz="1 GHz").bandwidth() == 1e12


def test_stream_time_is_bytes_over_bandwidth() -> None:
    """A microsecond's worth of bytes takes a microsecond."""
    assert sram().stream_ps(10**6) == 10**6


def test_energy_is_the_mean_of_read_and_write() -> None:
    """Each byte held is written once and read once."""
    read = sram_energy_pj_per_byte(2.0**20, 7.0)
    write = sram_energy_pj_per_byte(2.0**20, 7.0, write=True)
    assert sram().energy_pj(1000) == pytest.approx(1000 * (read + write) / 2)


def test_published_energy_and_leakage_replace_the_table() -> None:
    """With both given no node is needed."""
    found = sram(technology_nm=None, given_energy_pj_per_bit=0.1, given_leakage_w=0.5)
    assert found.energy_pj(10) == pytest.approx(8.0)
    assert found.background_w() == 0.5


def test_without_a_node_and_figures_it_is_refused() -> None:
    """A missing node is told when the file is read, not when energy is asked for."""
    with pytest.raises(ValidationError, match="needs `technology_nm`"):
        sram(technology_nm=None)


def test_without_bandwidth_or_ports_it_is_refused() -> None:
    """The error says what may stand in for the bandwidth."""
    with pytest.raises(ValidationError, match="`port_bytes` and `frequency_hz`"):
        sram(bandwidth_bytes_per_s=None, port_bytes=32)


def test_larger_memories_cost_more() -> None:
    """Energy per access, area and leakage all rise with capacity."""
    small, large = sram(), sram(capacity_bytes="16 MiB")
    assert large.energy_pj(1) > small.energy_pj(1)
    assert large.area_mm2(7) > small.area_mm2(7)
    assert large.background_w() == pytest.approx(16 * small.background_w())


def test_a_word_makes_it_a_macro() -> None:
    """Energy per access, leakage and area are the macro's, halves of reads and writes."""
    found, macro = sram(access_bits=256), sram_macro(2.0**20, 256, 7.0)
    mean = (macro.read_pj + macro.write_pj) / 2
    assert found.energy_pj(64) == pytest.approx(2 * mean)
    assert found.background_w() == macro.leakage_w
    assert found.area_mm2(7) == macro.area_mm2


def test_published_figures_win_over_the_macro() -> None:
    """What is given is used, whatever else could be modelled."""
    found = sram(access_bits=64, given_energy_pj_per_bit=0.1, given_leakage_w=0.5)
    assert found.energy_pj(10) == pytest.approx(8.0)
    assert found.background_w() == 0.5


def test_too_few_words_are_refused_when_the_file_is_read() -> None:
    """The error says that it is a register file."""
    with pytest.raises(ValidationError, match="32 words of 64 bits are a register"):
        sram(capacity_bytes=256, access_bits=64)


def test_ports_need_a_word() -> None:
    """Without a word the table answers, which knows no ports."""
    with pytest.raises(ValidationError, match="`ports` and `macro_model` need"):
        sram(ports=2)
    assert sram(access_bits=64, ports=2).area_mm2(7) > sram(access_bits=64).area_mm2(7)
