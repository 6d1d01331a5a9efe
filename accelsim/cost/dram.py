"""DRAM by standard: how long a stream takes from the timings, what a bit costs, what it holds.

Where a device's timings are unpublished (GPUs), a measured efficiency stands in their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import ceil, inf
from typing import Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import (
    Bytes,
    Count,
    Fraction,
    Hertz,
    Picojoules,
    PicojoulesPerBit,
    Watts,
)
from accelsim.cost._component import Memory, to_ps
from accelsim.cost._dram_access import Access, Share, closed_form_cycles, requests, share
from accelsim.cost._dram_requests import QUEUE, Served, serve
from accelsim.cost._dram_state import packed
from accelsim.cost._dram_streams import (
    refresh_stall_cycles,
    refreshed_cycles,
    row_stream_cycles,
)
from accelsim.cost._dram_timing import (
    ChannelTimings,
    DramTimings,
    Organisation,
    channel_timings,
    check_counts,
    check_rows,
)
from accelsim.cost._technology import dram_energy_pj_per_bit
from accelsim.errors import ConfigError, UnknownNameError

__all__ = [
    "COMPONENT",
    "Access",
    "Dram",
    "DramTimings",
    "refresh_stall_cycles",
    "refreshed_cycles",
    "row_stream_cycles",
]


class Dram(Memory):
    """A DRAM: stacks (or packages) of channels of ranks of banks.

    Notes
    -----
    A stream over all channels takes, per channel, the first access, then
    `row_stream_cycles` per row, then `refresh_stall_cycles` per refresh, in whole events.

    Validated on the sequential reads of the Samsung HBM-PIM simulator (64 pseudo channels) and
    the weight streams of NeuPIMs' NewtonSim; see ``tests/cost/test_dram.py`` for the errors.

    References
    ----------
    JEDEC JESD235, JESD209-5, JESD250; Luo et al., Ramulator 2.0, 2023.
    """

    kind: Literal["dram"] = "dram"
    standard: str
    """Name of the standard (HBM2E, HBM3, GDDR6X, LPDDR5, ...); picks the energy's fallback."""
    capacity_bytes: Bytes
    """Capacity of all stacks."""
    stacks: Count = 1
    """Stacks or packages."""
    channels: Count
    """Independent channels per stack."""
    channel_width_bits: Count
    """Data pins per channel."""
    data_rate_hz: Hertz
    """Transfers per second and pin."""
    given_efficiency: Fraction | None = None
    """Sustained over pin bandwidth, measured; instead of `timings`."""
    clock_hz: Hertz | None = None
    """Clock of the timings."""
    timings: DramTimings | None = None
    """Timings in clock cycles; instead of `given_efficiency`."""
    burst_length: Count | None = None
    """Transfers of one column command."""
    pseudo_channels: Count = 1
    """Pseudo channels per channel, which split its width."""
    ranks: Count = 1
    """Ranks per (pseudo) channel."""
    bank_groups: Count = 1
    """Bank groups per rank."""
    banks_per_group: Count | None = None
    """Banks per bank group."""
    row_bytes: Bytes | None = None
    """Bytes that one activate opens in a (pseudo) channel."""
    interleave: Literal["bank_group", "row"] = "bank_group"
    """What successive bursts of a stream go to: bank groups in turn, or the same row."""
    refresh: Literal["all_bank", "channel", "per_bank"] = "all_bank"
    """What is refreshed at a time: all banks of a rank, rank by rank; all banks of all ranks of
    a (pseudo) channel; or one bank."""
    command_buses: Literal[1, 2] = 1
    """Command buses per channel: 2 where row and column commands have one each (HBM)."""
    row_buffers: Literal[1, 2] = 1
    """Row buffers per bank: with 2, memory and in-memory commands run at the same time."""
    activate_pj: Picojoules | None = None
    """Energy of opening and closing one row of a bank."""
    access_pj_per_bit: PicojoulesPerBit | None = None
    """Energy from the open row to the interface, or all of it where `activate_pj` is absent."""
    write_pj_per_bit: PicojoulesPerBit | None = None
    """Energy from the interface to the open row; `access_pj_per_bit` where absent."""
    refresh_pj: Picojoules = 0.0
    """Energy of one refresh command, where `standby_w` leaves it out."""
    io_pj_per_bit: PicojoulesPerBit = 0.0
    """Energy of the pins, where `access_pj_per_bit` leaves it out."""
    standby_w: Watts = 0.0
    """Standing power, refresh included."""

    @model_validator(mode="after")
    def _one_way_to_a_bandwidth(self) -> Dram:
        if (self.timings is None) == (self.given_efficiency is None):
            raise PydanticCustomError(
                "efficiency", "give either `timings` or `given_efficiency`, one of the two"
            )
        needed = ("clock_hz", "burst_length", "banks_per_group", "row_bytes")
        absent = [name for name in needed if getattr(self, name) is None]
        if self.timings is not None and absent:
            raise PydanticCustomError(
                "organisation", "`timings` need {absent}", {"absent": ", ".join(absent)}
            )
        if self.timings is not None and self.timings.rfc * self.ranks >= self.timings.refi:
            raise PydanticCustomError("refresh", "`rfc` of all ranks must be shorter than `refi`")
        self._check_banks()
        if self.access_pj_per_bit is None:
            try:
                dram_energy_pj_per_bit(self.standard.lower())
            except UnknownNameError as error:
                raise PydanticCustomError(
                    "energy",
                    "give `access_pj_per_bit`: no figure is known for {standard}; {hint}",
                    {"standard": self.standard, "hint": error.hint},
                ) from None
        return self

    def _check_banks(self) -> None:
        check_counts(bank_groups=self.bank_groups, banks_per_group=self.banks_per_group or 1)
        if self.timings is not None and self.row_bytes is not None:
            banks = self.total_channels * self.banks_per_channel
            check_rows(self.capacity_bytes, banks, self.row_bytes, self.burst_bytes)
            if self.refresh == "per_bank" and self.timings.rfc_pb is None:
                raise PydanticCustomError("refresh", "`refresh: per_bank` needs `timings.rfc_pb`")

    def capacity(self) -> float:
        """Return the capacity in bytes."""
        return self.capacity_bytes

    def peak_bandwidth(self) -> float:
        """Return the pin bandwidth in bytes per second.

        Examples
        --------
        >>> a100 = Dram(
        ...     source="data sheet",
        ...     standard="HBM2E",
        ...     capacity_bytes="80 GB",
        ...     channels=40,
        ...     channel_width_bits=128,
        ...     data_rate_hz="3.186 GHz",
        ...     given_efficiency=0.88,
        ... )
        >>> round(a100.peak_bandwidth() / 1e9), round(a100.bandwidth() / 1e9)
        (2039, 1794)
        """
        return self.stacks * self.channels * self.channel_width_bits / 8 * self.data_rate_hz

    def bandwidth(self) -> float:
        """Return the bandwidth of a long sequential stream in bytes per second."""
        if self.timings is None:
            return self.peak_bandwidth() * (self.given_efficiency or 1.0)
        per_row, interval, stall = self._stream
        rate = self.row * self._buses() * self.clock / per_row
        return rate * (1.0 - stall / interval)

    def stream_ps(self, size_bytes: int) -> int:
        """Return the time of a sequential stream of `size_bytes` over all channels, in ps."""
        if not size_bytes:
            return 0
        if self.timings is None:
            return to_ps(size_bytes / self.bandwidth())
        return to_ps(self.stream_cycles(size_bytes) / self.clock)

    def stream_cycles(self, size_bytes: int) -> float:
        """Return the clock cycles of a sequential stream, first access and refreshes included."""
        t = self._timings()
        per_row, interval, stall = self._stream
        burst = self.burst_bytes
        bursts = ceil(size_bytes / (self._buses() * burst))
        first_access = t.rcd + t.cl + self._burst_cycles()
        busy = first_access + max(0, bursts - 1) * per_row * burst / self.row
        first = interval if t.first_refresh is None else float(t.first_refresh)
        return refreshed_cycles(busy, interval, first, stall)

    def energy_pj(self, size_bytes: int) -> float:
        """Return the energy of moving `size_bytes` across the interface, rows opened once."""
        access = self.access_pj_per_bit
        if access is None:
            access = dram_energy_pj_per_bit(self.standard.lower())
        rows = size_bytes / self.row_bytes if self.row_bytes and self.activate_pj else 0.0
        per_bit = access + self.io_pj_per_bit
        return size_bytes * 8 * per_bit + rows * (self.activate_pj or 0.0)

    def access_ps(self, access: Access) -> int:
        """Return the time of an access by the closed form, in ps.

        Raises
        ------
        ConfigError
            Without timings, for writes without theirs, and for a stride between bursts.
        """
        return to_ps(self.access_cycles(access) / self.clock)

    def access_cycles(self, access: Access, window: int = QUEUE) -> float:
        """Return the clock cycles of an access by the closed form.

        Parameters
        ----------
        access : Access
        window : int
            Requests that each channel's controller looks ahead.

        Notes
        -----
        The tests (``tests/cost/test_dram_levels.py``) bound the distance to `simulate`.
        `stream_cycles` differs from a ``stream`` in that it averages over where refreshes strike.
        """
        return closed_form_cycles(self._packed, access, self._share(access), window)

    def simulate(
        self, access: Access, *, window: int = QUEUE, seed: int = 0, log: bool = False
    ) -> Served:
        """Return what an access takes command by command, on the busiest channel.

        Parameters
        ----------
        access : Access
        window : int
            Requests that the channel's controller looks ahead.
        seed : int
            Of the random places.
        log : bool
            Also return every command.
        """
        rows = int(self.capacity_bytes // (self._buses() * self.row))
        found = requests(self._packed, access, self._share(access), rows, seed)
        return serve(self.channel(), found, window=window, log=log)

    def channel(
        self, *, mac: int | None = None, rcd_mac: int | None = None, staggered: bool | None = None
    ) -> ChannelTimings:
        """Return the timings of one (pseudo) channel for the command-level model.

        Parameters
        ----------
        mac, rcd_mac : int, optional
            Cycles between MAC commands and from activate to the first, for in-memory compute.
        staggered : bool, optional
            Whether the ranks are refreshed in turn; as `refresh` says where absent.

        Raises
        ------
        ConfigError
            Without timings.
        """
        t = self._timings()
        turns = self.refresh != "channel" if staggered is None else staggered
        org = Organisation(
            ranks=self.ranks,
            groups=self.bank_groups,
            banks=self.banks_per_group or 1,
            row_bursts=int(self.row) // self.burst_bytes,
            burst=max(1, round(self._burst_cycles())),
            groups_first=int(self.interleave == "bank_group"),
            per_bank_refresh=int(self.refresh == "per_bank"),
            row_buffers=self.row_buffers,
            staggered=int(turns),
        )
        return channel_timings(
            t, org, mac=mac, rcd_mac=rcd_mac, single_bus=self.command_buses == 1
        )

    def commands_pj(self, commands: Mapping[str, int]) -> float:
        """Return the energy of commands by name (ACT, RD, WR, REF), standing power aside.

        Notes
        -----
        ACT stands for opening and closing a row; where `activate_pj` is absent, the energy per
        bit of reads and writes holds it.
        """
        read = self.access_pj_per_bit
        if read is None:
            read = dram_energy_pj_per_bit(self.standard.lower())
        write = read if self.write_pj_per_bit is None else self.write_pj_per_bit
        bits = self.burst_bytes * 8
        return (
            commands.get("ACT", 0) * (self.activate_pj or 0.0)
            + commands.get("RD", 0) * bits * (read + self.io_pj_per_bit)
            + commands.get("WR", 0) * bits * (write + self.io_pj_per_bit)
            + commands.get("REF", 0) * self.refresh_pj
        )

    def background_w(self) -> float:
        """Return the standing power, refresh included."""
        return self.standby_w

    @property
    def total_channels(self) -> int:
        """Channels of all stacks."""
        return self.stacks * self.channels

    @property
    def banks_per_channel(self) -> int:
        """Banks that one channel holds: pseudo channels x ranks x groups x banks."""
        return self.pseudo_channels * self.ranks * self.bank_groups * (self.banks_per_group or 1)

    @property
    def burst_bytes(self) -> int:
        """Bytes of one column command."""
        return self.channel_width_bits // self.pseudo_channels // 8 * (self.burst_length or 1)

    @property
    def clock(self) -> float:
        """Clock of the timings in Hz."""
        return self.clock_hz or inf

    @property
    def row(self) -> float:
        """Bytes of one row of a (pseudo) channel."""
        return self.row_bytes or inf

    def _timings(self) -> DramTimings:
        if self.timings is None:
            raise ConfigError(
                "cycles need `timings`, this memory has a given efficiency", path="timings"
            )
        return self.timings

    @cached_property
    def _packed(self) -> ChannelTimings:
        return packed(self.channel())

    def _share(self, access: Access) -> Share:
        if access.write or access.pattern == "mixed":
            self._timings().need_writes()
        return share(access, self._buses(), self.burst_bytes, int(self.row))

    def _buses(self) -> int:
        return self.total_channels * self.pseudo_channels

    def _burst_cycles(self) -> float:
        return (self.burst_length or 1) * self.clock / self.data_rate_hz

    @cached_property
    def _stream(self) -> tuple[float, float, float]:
        """Return cycles per row, between refreshes of the channel, and lost to each."""
        t = self._timings()
        spacing = t.ccd_s if self.interleave == "bank_group" and self.bank_groups > 1 else t.ccd_l
        cadence = max(self._burst_cycles(), float(spacing))
        banks = self.bank_groups * (self.banks_per_group or 1)
        bursts = self.row / self.burst_bytes
        per_row = row_stream_cycles(bursts, cadence, t.rrd, t.faw, t.row_cycle, banks)
        if self.refresh == "channel":
            return per_row, float(t.refi), float(t.rfc)
        stall = refresh_stall_cycles(float(t.rfc), banks * per_row, self.ranks)
        return per_row, t.refi / self.ranks, stall


COMPONENT = Dram
