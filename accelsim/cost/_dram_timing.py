"""DRAM timings: what a file says, which sets are illegal, and what a channel makes of them.

`DramTimings` is the typed file, in clock cycles; `ChannelTimings` the same for compiled kernels,
with every default resolved and the organisation beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec, Whole
from accelsim.errors import ConfigError

__all__ = [
    "ChannelTimings", "DramTimings", "Organisation", "channel_timings", "check_counts",
    "check_rows",
]  # fmt: skip


class DramTimings(Spec):
    """Timing parameters in clock cycles, named as in the JEDEC standards without the n or t."""

    rcd: Count
    """Activate to read."""
    rcd_wr: Count | None = None
    """Activate to write; `rcd` where absent."""
    rp: Count
    """Precharge to activate."""
    ras: Count
    """Activate to precharge."""
    rc: Count | None = None
    """Activate to activate of one bank; `ras` + `rp` where absent."""
    cl: Whole = 0
    """Read to first data; adds to a stream's first access only."""
    cwl: Whole | None = None
    """Write to first data; needed by writes."""
    ccd_s: Count
    """Column command to column command, other bank group."""
    ccd_l: Count
    """Column command to column command, same bank group."""
    ccd_l_wr: Count | None = None
    """Write to write, same bank group; `ccd_l` where absent."""
    ccd_r: Count | None = None
    """Column command to column command, other rank; the longer of `ccd_s` and the burst where
    absent."""
    rrd: Count
    """Activate to activate of another bank (the shorter, across bank groups)."""
    rrd_l: Count | None = None
    """Activate to activate of another bank in the same group; `rrd` where absent."""
    faw: Count
    """Window that may hold four activates."""
    rtp: Count
    """Read to precharge."""
    wr: Count | None = None
    """End of write data to precharge; needed by writes."""
    wtr_s: Count | None = None
    """End of write data to read, other bank group; needed by writes."""
    wtr_l: Count | None = None
    """End of write data to read, same bank group; `wtr_s` where absent."""
    rtw: Count | None = None
    """Read to write; `cl` + burst + 2 - `cwl` where absent."""
    ppd: Count = 1
    """Precharge to precharge."""
    rfc: Whole
    """Refresh of all banks to activate."""
    rfc_pb: Whole | None = None
    """Refresh of one bank to its activate; needed by per-bank refresh."""
    refi: Count
    """Interval of refreshes of one rank."""
    first_refresh: Whole | None = None
    """First refresh after the start of a stream; one staggered interval where absent."""

    @property
    def row_cycle(self) -> int:
        """Cycles from one activate of a bank to its next."""
        return self.rc or self.ras + self.rp

    @property
    def writes(self) -> bool:
        """Whether the timings of writes are given."""
        return None not in (self.cwl, self.wr, self.wtr_s)

    def need_writes(self) -> None:
        """Raise a ConfigError unless the timings of writes are given."""
        if not self.writes:
            raise ConfigError("writes need the timings `cwl`, `wr` and `wtr_s`", path="timings")

    @model_validator(mode="after")
    def _legal(self) -> DramTimings:
        for broken, law, why in _laws(self):
            if broken:
                raise PydanticCustomError(
                    "timing", "illegal timings: {law} ({why})", {"law": law, "why": why}
                )
        return self


def _laws(t: DramTimings) -> Iterator[tuple[bool, str, str]]:
    """Yield whether a constraint is broken, the constraint with its numbers, and its reason."""

    def law(longer: str, shorter: str, why: str) -> tuple[bool, str, str]:
        high, low = getattr(t, longer), getattr(t, shorter)
        broken = high is not None and low is not None and high < low
        text = f"t{longer.upper()} = {high} must be at least t{shorter.upper()} = {low}"
        return broken, text, why

    yield law("ras", "rcd", "a row is open before its first column command and closed after it")
    yield law("ras", "rcd_wr", "a row is open before its first write and closed after it")
    yield law("ras", "rtp", "the precharge after a read lies within the row's active time")
    yield law("rc", "ras", "a row cycle holds the row's active time")
    yield law("faw", "rrd", "the window of four activates holds at least one gap between two")
    yield law("ccd_l", "ccd_s", "a bank group is never faster than the channel")
    yield law("ccd_l_wr", "ccd_s", "a bank group is never faster than the channel")
    yield law("ccd_r", "ccd_s", "changing ranks is never faster than staying")
    yield law("rrd_l", "rrd", "a bank group is never faster than the rank")
    yield law("wtr_l", "wtr_s", "a bank group is never faster than the rank")
    yield law("rfc", "rfc_pb", "refreshing all banks takes at least as long as one")
    some = (t.cwl, t.wr, t.wtr_s)
    partly = not t.writes and any(one is not None for one in some)
    yield partly, "tCWL, tWR and tWTR_S go together", "writes need all three"


def check_counts(**counts: int) -> None:
    """Refuse numbers of banks or groups that address bits cannot name.

    Raises
    ------
    PydanticCustomError
        Naming the count; a file's reader adds the place.
    """
    for name, count in counts.items():
        if count & (count - 1):
            raise PydanticCustomError(
                "banks",
                "`{name}` is {count}: address bits name a power of two",
                {"name": name, "count": count},
            )


def check_rows(capacity_bytes: float, banks: int, row_bytes: float, burst_bytes: int) -> None:
    """Refuse rows that bursts, and capacities that rows and banks do not divide.

    Raises
    ------
    PydanticCustomError
        Naming what does not divide; a file's reader adds the place.
    """
    if burst_bytes < 1 or row_bytes % burst_bytes:
        raise PydanticCustomError(
            "row",
            "`row_bytes` {row} is not a whole number of bursts of {burst} bytes",
            {"row": row_bytes, "burst": burst_bytes},
        )
    if capacity_bytes % (banks * row_bytes):
        raise PydanticCustomError(
            "capacity",
            "`capacity_bytes` {capacity} does not divide into {banks} banks of whole rows of "
            "{row} bytes",
            {"capacity": capacity_bytes, "banks": banks, "row": row_bytes},
        )


class Organisation(NamedTuple):
    """How the banks of one (pseudo) channel hang together, and how a burst maps to them."""

    ranks: int
    groups: int
    """Bank groups per rank."""
    banks: int
    """Banks per group."""
    row_bursts: int
    """Bursts that one open row holds."""
    burst: int
    """Clock cycles of one burst on the data pins."""
    groups_first: int
    """1 where successive bursts go to the groups in turn, 0 where they fill a row first."""
    per_bank_refresh: int
    """1 where one bank at a time is refreshed."""
    row_buffers: int
    """Row buffers per bank; with 2, banks of the second half are numbered after all others."""
    staggered: int
    """1 where the ranks are refreshed in turn, 0 where all at once (in-memory compute)."""


class ChannelTimings(NamedTuple):
    """Timings of one (pseudo) channel in clock cycles, every default resolved, for kernels."""

    ranks: int
    groups: int
    banks: int
    row_bursts: int
    burst: int
    groups_first: int
    per_bank_refresh: int
    row_buffers: int
    staggered: int
    rcd: int
    rcd_wr: int
    rp: int
    ras: int
    rc: int
    rtp: int
    ccd_s: int
    ccd_l: int
    ccd_l_wr: int
    ccd_r: int
    rrd_s: int
    rrd_l: int
    faw: int
    ppd: int
    read_to_write: int
    write_to_read_s: int  # from command to command, data included
    write_to_read_l: int
    write_to_read_r: int  # to another rank: only the data pins are in the way
    write_to_precharge: int
    refresh: int  # of a rank, or of a bank where refresh is per bank
    interval: int  # between refreshes of a rank, or of any of its banks
    first_refresh: int
    mac: int  # MAC to MAC
    rcd_mac: int
    single_bus: int  # 1 where row and column commands share one command bus
    cl: int
    cwl: int
    total_nodes: int  # banks x row buffers

    @property
    def total_banks(self) -> int:
        """Banks of the channel."""
        return self.ranks * self.groups * self.banks


def channel_timings(
    t: DramTimings,
    org: Organisation,
    *,
    mac: int | None = None,
    rcd_mac: int | None = None,
    single_bus: bool = True,
) -> ChannelTimings:
    """Return what the kernels of `_dram_commands` and `_dram_streams` take.

    Parameters
    ----------
    t : DramTimings
        Timings in clock cycles.
    org : Organisation
        Banks of the channel.
    mac, rcd_mac : int, optional
        Cycles from one MAC command to the next and from activate to the first; those of reads
        (`ccd_l`, `rcd`) where absent.
    single_bus : bool
        Row and column commands share one command bus (DDR, LPDDR, GDDR); HBM has two.

    Raises
    ------
    ConfigError
        If per-bank refresh is asked for and `rfc_pb` is not given, or if refreshes of one bank
        after the other leave no time between them.
    """
    t_refresh, interval = t.rfc, t.refi
    if org.per_bank_refresh:
        if t.rfc_pb is None:
            raise ConfigError("refresh per bank needs the timing `rfc_pb`", path="timings.rfc_pb")
        t_refresh, interval = t.rfc_pb, t.refi // (org.groups * org.banks)
        if interval <= t.rrd:
            raise ConfigError(
                f"tREFI / {org.groups * org.banks} banks = {interval} cycles leaves no time "
                f"between the refreshes of two banks (tRRD = {t.rrd})",
                path="timings.refi",
            )
    ccd_s = max(t.ccd_s, org.burst)
    ccd_r = max(t.ccd_r or ccd_s, org.burst)
    cwl, write_data = t.cwl or 0, (t.cwl or 0) + org.burst
    wtr_s = t.wtr_s or 0
    turn = interval // org.ranks if org.staggered else interval
    first = t.first_refresh if t.first_refresh is not None else turn
    return ChannelTimings(
        **org._asdict(),
        rcd=t.rcd,
        rcd_wr=t.rcd_wr or t.rcd,
        rp=t.rp,
        ras=t.ras,
        rc=max(t.row_cycle, t.ras + t.rp),
        rtp=t.rtp,
        ccd_s=ccd_s,
        ccd_l=max(t.ccd_l, ccd_s),
        ccd_l_wr=max(t.ccd_l_wr or t.ccd_l, ccd_s),
        ccd_r=ccd_r,
        rrd_s=t.rrd,
        rrd_l=t.rrd_l or t.rrd,
        faw=t.faw,
        ppd=t.ppd,
        read_to_write=t.rtw or max(ccd_s, t.cl + org.burst + 2 - cwl),
        write_to_read_s=write_data + wtr_s,
        write_to_read_l=write_data + (t.wtr_l or wtr_s),
        write_to_read_r=max(ccd_r, write_data + ccd_r - org.burst - t.cl),
        write_to_precharge=write_data + (t.wr or 0),
        refresh=t_refresh,
        interval=interval,
        first_refresh=first,
        mac=mac or max(t.ccd_l, ccd_s),
        rcd_mac=rcd_mac or t.rcd,
        single_bus=int(single_bus),
        cl=t.cl,
        cwl=cwl,
        total_nodes=org.ranks * org.groups * org.banks * org.row_buffers,
    )
