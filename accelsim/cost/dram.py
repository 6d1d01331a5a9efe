"""DRAM by standard: how long a stream takes from the timings, what a bit costs, what it holds.

Where a device's timings are unpublished (GPUs), a measured efficiency stands in their place.
"""

from __future__ import annotations

from functools import cached_property
from math import ceil, inf
from typing import Literal

import numpy as np
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import (
    Bytes,
    Count,
    Fraction,
    Hertz,
    Picojoules,
    PicojoulesPerBit,
    Spec,
    Watts,
    Whole,
)
from accelsim.cost._component import Memory, to_ps
from accelsim.cost._technology import dram_energy_pj_per_bit
from accelsim.errors import UnknownNameError
from accelsim.jit import kernel

__all__ = [
    "COMPONENT",
    "Dram",
    "DramTimings",
    "refresh_stall_cycles",
    "refreshed_cycles",
    "row_stream_cycles",
]


@kernel
def row_stream_cycles(
    bursts: float, cadence: float, rrd: int, faw: int, row_cycle: int, banks: int
) -> float:
    """Return the cycles per row of a sequential stream, in steady state.

    Notes
    -----
    max(bursts cadence, tRRD, tFAW / 4, tRC / banks): the next bank is activated while this one
    bursts, so a row costs more than its bursts only where activations come too thick.
    """
    return max(bursts * cadence, float(rrd), faw / 4.0, row_cycle / banks)


@kernel
def refresh_stall_cycles(blocked: float, dwell: float, ranks: int) -> float:
    """Return how long one rank's refresh stalls a stream that walks through the ranks in turn.

    Parameters
    ----------
    blocked : float
        Cycles for which the refreshed rank answers nothing.
    dwell : float
        Cycles that the stream spends in one rank before it moves to the next.
    ranks : int
        Ranks that share the channel; their refreshes are staggered.

    Notes
    -----
    Mean over the phase: if the stream stands in the rank (1 in `ranks`) it waits for all of the
    refresh, else for what is left of it when the stream arrives.
    """
    away = (ranks - 1) * dwell
    part = min(blocked, away)
    return blocked / ranks + (blocked * part - part * part / 2.0) / (ranks * dwell)


@kernel
def refreshed_cycles(busy: float, interval: float, first: float, stall: float) -> float:
    """Return the cycles of `busy` work with every refresh that falls due before it ends.

    Notes
    -----
    T = busy + n stall with n = floor((T - first) / interval) + 1, counted in whole events: the
    average factor 1 / (1 - stall / interval) makes runs shorter than one interval 10 % too slow.

    Examples
    --------
    >>> refreshed_cycles(3810.0, 5070.0, 5070.0, 437.0)
    3810.0
    """
    events = 0.0
    while True:
        due = max(0.0, np.floor((busy + events * stall - first) / interval) + 1.0)
        if due == events:
            return busy + events * stall
        events = due


class DramTimings(Spec):
    """Timing parameters in clock cycles, named as in the JEDEC standards without the n or t."""

    rcd: Count
    """Activate to read."""
    rp: Count
    """Precharge to activate."""
    ras: Count
    """Activate to precharge."""
    rc: Count | None = None
    """Activate to activate of one bank; `ras` + `rp` where absent."""
    cl: Whole = 0
    """Read to first data; adds to a stream's first access only."""
    ccd_s: Count
    """Column command to column command, other bank group."""
    ccd_l: Count
    """Column command to column command, same bank group."""
    rrd: Count
    """Activate to activate of another bank (the shorter, across bank groups)."""
    faw: Count
    """Window that may hold four activates."""
    rtp: Count
    """Read to precharge."""
    rfc: Whole
    """Refresh to activate."""
    refi: Count
    """Interval of refreshes of one rank."""
    first_refresh: Whole | None = None
    """First refresh after the start of a stream; one staggered interval where absent."""

    @property
    def row_cycle(self) -> int:
        """Cycles from one activate of a bank to its next."""
        return self.rc or self.ras + self.rp


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
    row_buffers: Literal[1, 2] = 1
    """Row buffers per bank: with 2, memory and in-memory commands run at the same time."""
    activate_pj: Picojoules | None = None
    """Energy of opening and closing one row of a bank."""
    access_pj_per_bit: PicojoulesPerBit | None = None
    """Energy from the open row to the interface, or all of it where `activate_pj` is absent."""
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
            raise ValueError("cycles need `timings`, this memory has a given efficiency")
        return self.timings

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
        stall = refresh_stall_cycles(float(t.rfc), banks * per_row, self.ranks)
        return per_row, t.refi / self.ranks, stall


COMPONENT = Dram
