"""DRAM timings: illegal sets and bank counts are refused by name, with the place in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.config import load_spec
from accelsim.cost.dram import Access, Dram
from accelsim.errors import ConfigError
from tests.cost.test_dram_commands import STANDARDS, dram

FILE = """
extends: components/dram_ddr4
timings:
  {timing}
{more}
"""


def loaded(folder: Path, timing: str = "rcd: 22", more: str = "") -> Dram:
    path = folder / "memory.yaml"
    path.write_text(FILE.format(timing=timing, more=more))
    return load_spec(path, Dram)


@pytest.mark.parametrize(
    ("timing", "law"),
    [
        ("ras: 20", "tRAS = 20 must be at least tRCD = 22"),
        ("rtp: 60", "tRAS = 52 must be at least tRTP = 60"),
        ("faw: 3", "tFAW = 3 must be at least tRRD = 4"),
        ("rc: 50", "tRC = 50 must be at least tRAS = 52"),
        ("ccd_l: 3", "tCCD_L = 3 must be at least tCCD_S = 4"),
        ("ccd_l_wr: 2", "tCCD_L_WR = 2 must be at least tCCD_S = 4"),
        ("rrd_l: 3", "tRRD_L = 3 must be at least tRRD = 4"),
        ("wtr_l: 3", "tWTR_L = 3 must be at least tWTR_S = 4"),
        ("rfc_pb: 600", "tRFC = 560 must be at least tRFC_PB = 600"),
        ("rcd_wr: 53", "tRAS = 52 must be at least tRCD_WR = 53"),
        ("refi: 560", "`rfc` of all ranks must be shorter than `refi`"),
        ("cwl: null", "tCWL, tWR and tWTR_S go together"),
        ("rcd: 0", "timings.rcd"),
        ("rdc: 22", "unknown key `rdc`"),
    ],
)
def test_illegal_timings_name_the_constraint(tmp_path: Path, timing: str, law: str) -> None:
    """The error says which constraint, with both numbers, and where in the file."""
    with pytest.raises(ConfigError) as found:
        loaded(tmp_path, timing)
    assert law in str(found.value)
    assert "memory.yaml" in str(found.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("bank_groups: 3", "`bank_groups` is 3: address bits name a power of two"),
        ("banks_per_group: 12", "`banks_per_group` is 12: address bits"),
        ("capacity_bytes: 8 * 2 ** 30 + 1024", "does not divide into 16 banks of whole rows"),
        ("row_bytes: 8200", "not a whole number of bursts of 64 bytes"),
        ("channels: 3", "does not divide into 48 banks"),
        ("refresh: per_bank", "needs `timings.rfc_pb`"),
        ("refresh: sometimes", "refresh"),
    ],
)
def test_banks_that_do_not_divide_are_refused(tmp_path: Path, more: str, message: str) -> None:
    """Counts that no address can name, and capacities with a rest, are errors."""
    with pytest.raises(ConfigError) as found:
        loaded(tmp_path, more=more)
    assert message in str(found.value)
    assert "memory.yaml" in str(found.value)


def test_refreshes_that_leave_no_time_between_them(tmp_path: Path) -> None:
    """One bank after the other, each before the last has made room, cannot be scheduled."""
    spec = loaded(tmp_path, "rfc_pb: 40", "refresh: per_bank")
    assert spec.timings is not None
    tight = spec.timings.model_copy(update={"refi": 64})
    with pytest.raises(ConfigError, match="leaves no time"):
        spec.model_copy(update={"timings": tight}).channel()


@pytest.mark.parametrize(
    ("access", "message"),
    [
        (Access(4096, "strided", stride_bytes=100), "not a multiple of a burst"),
        (Access(4096, "strided"), "stride of 0 bytes"),
        (Access(4096, "random", run_bytes=10_000), "longer than a row"),
        (Access(4096, "mixed", reads=0), "runs of 0 reads"),
    ],
)
def test_accesses_without_sense_are_refused(access: Access, message: str) -> None:
    """Both levels refuse alike."""
    with pytest.raises(ConfigError, match=message):
        dram("dram_ddr4").access_cycles(access)
    with pytest.raises(ConfigError, match=message):
        dram("dram_ddr4").simulate(access)


def test_writes_need_their_timings() -> None:
    """A memory described by its reads alone says so, as does one without timings."""
    with pytest.raises(ConfigError, match="cwl"):
        dram("hbm2_samsung").access_cycles(Access(4096, write=True))
    with pytest.raises(ConfigError, match="given efficiency"):
        dram("hbm2e_a100").access_cycles(Access(4096))


def test_a_stride_over_the_channels_leaves_some_out() -> None:
    """A stride of all channels loads one of them alone; one that is odd loads all alike."""
    spec = dram("dram_hbm2")
    burst, buses = spec.burst_bytes, spec.total_channels * spec.pseudo_channels
    narrow = Access(16_000 * burst, "strided", stride_bytes=buses * burst)
    wide = Access(16_000 * burst, "strided", stride_bytes=(buses + 1) * burst)
    assert spec.access_ps(narrow) > 10 * spec.access_ps(wide)


@pytest.mark.parametrize("name", STANDARDS)
def test_published_bandwidth(name: str) -> None:
    """Pins x data rate as published by the standard or the vendor, in GB/s per stack or part."""
    published = {
        "dram_ddr4": 25.6, "dram_ddr5": 19.2, "dram_gddr6": 28.07, "dram_hbm2": 256,
        "dram_hbm2e": 486.4, "dram_hbm3": 819.2, "dram_hbm3e": 1228.8, "dram_lpddr4x": 17.06,
        "dram_lpddr5": 51.2, "dram_lpddr5_pim": 51.2, "dram_lpddr5x": 68.2,
    }  # fmt: skip
    assert dram(name).peak_bandwidth() / 1e9 == pytest.approx(published[name], rel=2e-3)


def test_pim_bandwidth_of_lpddr5_pim() -> None:
    """All banks of a channel at tCCD_L give the 102.4 GB/s that Samsung published."""
    spec = dram("dram_lpddr5_pim")
    c = spec.channel()
    assert c.total_banks * spec.burst_bytes / c.mac * spec.clock == pytest.approx(102.4e9)


@pytest.mark.parametrize("name", STANDARDS)
def test_command_energy_adds_up(name: str) -> None:
    """A stream's commands cost what `energy_pj` says of its bytes, but for refreshes."""
    spec = dram(name)
    rows = 4 * spec.banks_per_channel // spec.pseudo_channels
    size = rows * int(spec.row) * spec.total_channels * spec.pseudo_channels
    done = spec.simulate(Access(size)).commands
    channel = spec.commands_pj(done | {"REF": 0})
    # A refresh closes rows that are opened again: a few activates more than rows.
    reopened = (done["ACT"] - rows) * (spec.activate_pj or 0.0)
    total = (channel - reopened) * spec.total_channels * spec.pseudo_channels
    assert total == pytest.approx(spec.energy_pj(size), rel=1e-9)
    assert spec.commands_pj({"REF": 2}) == 2 * spec.refresh_pj


def test_random_places_cost_more_energy_than_streams() -> None:
    """A row opened for each burst pays its activation 32 times over."""
    spec = dram("dram_hbm2")
    stream = spec.simulate(Access(2**22)).commands
    places = spec.simulate(Access(2**22, "random")).commands
    assert places["RD"] == stream["RD"]
    assert spec.commands_pj(places) > 1.8 * spec.commands_pj(stream)
