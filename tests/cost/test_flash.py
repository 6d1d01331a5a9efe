"""Flash drives: rates inside them, whole pages, and what they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.config import load_spec
from accelsim.cost.flash import Flash


def flash(**changes: object) -> Flash:
    """Return two channels of two planes: 1 GB/s of buses, 1.6 GB/s of cells."""
    fields = {
        "source": "test", "capacity_bytes": "1 GB", "page_bytes": 4000, "channels": 2,
        "channel_bytes_per_s": "500 MB/s", "planes": 2, "read_s": "10 us", "program_s": "100 us",
    }  # fmt: skip
    return Flash.model_validate(fields | changes)


def events(drive: Flash, pages: int) -> float:
    """Return the time in which `pages` leave the drive, page by page: cells, then the bus.

    A plane reads its next page while its register is still to be sent, as with cache reads.
    """
    channels, planes = drive.channels or 1, drive.planes or 1
    bus_s = drive.page_bytes / (drive.channel_bytes_per_s or 1.0)
    cells = [[0.0] * planes for _ in range(channels)]
    bus = [0.0] * channels
    for page in range(pages):
        channel, plane = page % channels, page // channels % planes
        cells[channel][plane] += drive.read_s
        bus[channel] = max(bus[channel], cells[channel][plane]) + bus_s
    return max(bus)


def test_the_slower_of_buses_and_cells_is_the_rate() -> None:
    """Cells yield 2 x 2 pages of 4000 bytes in 10 us, buses carry 1 GB/s."""
    assert flash().bandwidth() == pytest.approx(1e9)
    assert flash(read_s="20 us").bandwidth() == pytest.approx(0.8e9)
    assert flash(read_s="20 us").peak_bandwidth() == pytest.approx(1e9)


@given(
    st.integers(1, 4), st.integers(1, 8), st.floats(1e-6, 1e-4), st.integers(1, 200),
)  # fmt: skip
def test_the_equation_follows_the_pages_event_by_event(
    channels: int, planes: int, read_s: float, pages: int
) -> None:
    """Off by no more than the last round over all planes and buses, which is not full."""
    drive = flash(channels=channels, planes=planes, read_s=read_s)
    found = drive.read_ps(4000 * pages) / 1e12
    wanted = events(drive, pages)
    round_s = max(read_s, planes * drive.page_bytes / 500e6)
    assert wanted - round_s - 1e-9 <= found <= wanted + round_s + 1e-9


def test_a_part_of_a_page_costs_a_page() -> None:
    """Ten bytes at ten places are ten pages, ten bytes at one place a single one."""
    drive = flash()
    assert drive.pages_bytes(10, 10) == 40_000
    assert drive.read_ps(10) == drive.read_ps(4000) < drive.read_ps(4001)
    assert drive.read_ps(10, 10) == drive.read_ps(40_000)
    assert drive.read_ps(0) == drive.write_ps(0) == 0


def test_writing_is_bound_by_programming_and_erasing() -> None:
    """4 planes program 4000 bytes in 100 us; an erase of 3 ms for 100 pages adds 30 us to each."""
    assert flash().write_bandwidth() == pytest.approx(160e6)
    erased = flash(erase_s="3 ms", pages_per_block=100)
    assert erased.write_bandwidth() == pytest.approx(16000 / 130e-6)
    assert erased.write_ps(4000) == pytest.approx(100e6 + 4000 / erased.write_bandwidth() * 1e12)


def test_drives_share_evenly() -> None:
    """Three drives hold and move three times as much, and stand by as three."""
    one, three = flash(standby_w=0.1), flash(drives=3, standby_w=0.1)
    assert three.capacity() == 3 * one.capacity()
    assert three.bandwidth() == pytest.approx(3 * one.bandwidth())
    assert three.write_bandwidth() == pytest.approx(3 * one.write_bandwidth())
    assert three.background_w() == pytest.approx(0.3)


def test_a_data_sheet_stands_in_for_the_inside() -> None:
    """The 980 PRO by its data sheet: 7.0 GB/s out, 5.1 GB/s in, 6.2 W while reading."""
    drive = load_spec_of("nvme_980pro")
    assert drive.bandwidth() == pytest.approx(7e9)
    assert drive.write_bandwidth() == pytest.approx(5.1e9)
    assert drive.energy_pj(7 * 10**9) / 1e12 == pytest.approx(6.2, rel=1e-5)


def test_nvmevirt_s_970_pro() -> None:
    """Its buses (6.4 GB/s), not its cells, bound reading; the data sheet writes 2.7 GB/s."""
    drive = load_spec_of("flash_970pro")
    assert drive.bandwidth() == pytest.approx(6.4e9)
    assert drive.write_bandwidth() == pytest.approx(2.7e9, rel=0.06)


def load_spec_of(name: str) -> Flash:
    """Return a shipped fragment."""
    from accelsim.config import library

    folder = library.find("arch", "null").parent / "components"
    return load_spec(folder / f"{name}.yaml", Flash, kind="arch")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": None}, "go together"),
        ({"channels": None, "channel_bytes_per_s": None}, "needs `channels`"),
        (
            {"channels": None, "channel_bytes_per_s": None, "given_read_bytes_per_s": 1e9},
            "given_write_bytes_per_s",
        ),
        ({"planes": None}, "need `planes`"),
        ({"erase_s": "1 ms"}, "pages_per_block"),
        ({"page_bytes": "2 GB"}, "no more than the capacity"),
        ({"given_read_bytes_per_s": "2 GB/s"}, "above what the channels carry"),
        ({"channels": 0}, "greater than 0"),
    ],
)
def test_parameters_that_contradict_each_other(changes: dict[str, object], message: str) -> None:
    """Each is an error that names the field."""
    with pytest.raises(ValidationError, match=message):
        flash(**changes)
