"""What can be asked of a DRAM besides a plain stream, and what of it falls to one channel.

The same `Access` goes to both levels: `closed_form_cycles`, and `requests` for the command level.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, gcd
from typing import Literal, NamedTuple

import numpy as np

from accelsim.cost._dram_requests import REQUEST_BANK, ROW, WRITE, Requests
from accelsim.cost._dram_state import Cycles
from accelsim.cost._dram_streams import mixed_cycles, random_cycles, strided_cycles
from accelsim.cost._dram_timing import ChannelTimings
from accelsim.errors import ConfigError
from accelsim.jit import kernel

__all__ = [
    "Access", "Pattern", "Share", "bursts_at", "closed_form_cycles", "requests", "rows_at",
    "share",
]  # fmt: skip

Pattern = Literal["stream", "strided", "random", "mixed"]


@dataclass(frozen=True, slots=True)
class Access:
    """What is asked of a memory besides a plain stream: how much, where, in which direction.

    Attributes
    ----------
    size_bytes : int
        Bytes moved.
    pattern : {"stream", "strided", "random", "mixed"}
        One after the other; a burst every `stride_bytes`; `run_bytes` each at random places; a
        stream with runs of reads and of writes in turn.
    write : bool
        Written, not read (not for ``mixed``).
    stride_bytes : int
        Distance of ``strided`` bursts, a multiple of the burst.
    run_bytes : int
        Successive bytes at each ``random`` place; one burst where less.
    reads, writes : int
        Bursts of one channel per run of ``mixed``.
    """

    size_bytes: int
    pattern: Pattern = "stream"
    write: bool = False
    stride_bytes: int = 0
    run_bytes: int = 0
    reads: int = 1
    writes: int = 1


class Share(NamedTuple):
    """What an access asks of the busiest channel."""

    bursts: int
    stride: int
    """Bursts from one to the next in the channel's own address space."""
    hits: int
    """Successive bursts at each random place."""


def share(access: Access, buses: int, burst_bytes: int, row_bytes: int) -> Share:
    """Return the busiest channel's share of an access.

    Parameters
    ----------
    access : Access
    buses : int
        (Pseudo) channels; successive bursts go to them in turn.
    burst_bytes, row_bytes : int
        Bytes of one burst and of one open row.

    Raises
    ------
    ConfigError
        For a stride that is no multiple of a burst, a random access longer than a row, or runs
        of no bursts.

    Examples
    --------
    A stride of all 16 channels stays in one of them; one of 17 bursts goes to all in turn.

    >>> share(Access(1024, "strided", stride_bytes=512), 16, 32, 1024)
    Share(bursts=32, stride=1, hits=1)
    >>> share(Access(1024, "strided", stride_bytes=544), 16, 32, 1024)
    Share(bursts=2, stride=17, hits=1)
    """
    bursts = ceil(access.size_bytes / burst_bytes)
    if access.pattern == "mixed" and (access.reads < 1 or access.writes < 1):
        raise ConfigError(f"runs of {access.reads} reads and {access.writes} writes: at least 1")
    if access.pattern == "random":
        hits = max(1, ceil(access.run_bytes / burst_bytes))
        if hits * burst_bytes > row_bytes:
            raise ConfigError(
                f"a random access of {access.run_bytes} bytes is longer than a row "
                f"({row_bytes} bytes): stream it"
            )
        return Share(ceil(bursts / (hits * buses)) * hits, 1, hits)
    if access.pattern != "strided":
        return Share(ceil(bursts / buses), 1, 1)
    stride, rest = divmod(access.stride_bytes, burst_bytes)
    if stride < 1 or rest:
        raise ConfigError(
            f"a stride of {access.stride_bytes} bytes is not a multiple of a burst "
            f"({burst_bytes} bytes)"
        )
    common = gcd(stride, buses)
    return Share(ceil(bursts * common / buses), stride // common, 1)


def closed_form_cycles(c: ChannelTimings, access: Access, part: Share, window: int) -> float:
    """Return the clock cycles that a channel takes for its share, by the closed forms."""
    if access.pattern == "random":
        return random_cycles(c, part.bursts // part.hits, part.hits, access.write, window)
    if access.pattern == "mixed":
        return mixed_cycles(c, part.bursts, access.reads, access.writes, window)
    return strided_cycles(c, part.bursts, part.stride, access.write, window)


@kernel
def bursts_at(c: ChannelTimings, positions: Cycles, write: int) -> Requests:
    """Return the requests of bursts at given places of a channel's address space.

    Parameters
    ----------
    c : ChannelTimings
    positions : ndarray of int64, shape (n,)
        Addresses in bursts.
    write : int
        1 for writes.

    Notes
    -----
    From the lowest digit: group, column, bank, rank, row where successive bursts go to the bank
    groups in turn; column, bank, group, rank, row where they fill a row first.
    """
    found = np.empty((positions.shape[0], 3), dtype=np.int64)
    for i in range(positions.shape[0]):
        at = positions[i]
        if c.groups_first:
            group = at % c.groups
            at //= c.groups * c.row_bursts
            bank = at % c.banks
            at //= c.banks
        else:
            at //= c.row_bursts
            bank = at % c.banks
            at //= c.banks
            group = at % c.groups
            at //= c.groups
        found[i, WRITE] = write
        found[i, REQUEST_BANK] = (at % c.ranks * c.groups + group) * c.banks + bank
        found[i, ROW] = at // c.ranks
    return found


@kernel
def rows_at(c: ChannelTimings, rows: Cycles, hits: int, write: int) -> Requests:
    """Return the requests of `hits` successive columns in each of some rows.

    Parameters
    ----------
    c : ChannelTimings
    rows : ndarray of int64, shape (n,)
        Rows, counted over all banks of the channel, the bank being the lower digit.
    hits : int
        Bursts at each place.
    write : int
        1 for writes.
    """
    banks = c.ranks * c.groups * c.banks
    found = np.empty((rows.shape[0] * hits, 3), dtype=np.int64)
    for i in range(found.shape[0]):
        found[i, WRITE] = write
        found[i, REQUEST_BANK] = rows[i // hits] % banks
        found[i, ROW] = rows[i // hits] // banks
    return found


def requests(c: ChannelTimings, access: Access, part: Share, rows: int, seed: int) -> Requests:
    """Return the requests of a channel's share for the command level.

    Parameters
    ----------
    c : ChannelTimings
    access : Access
    part : Share
    rows : int
        Rows of all banks of the channel, among which random places are drawn.
    seed : int
        Of the random places.
    """
    write = int(access.write)
    if access.pattern == "random":
        places = np.random.default_rng(seed).integers(0, rows, part.bursts // part.hits)
        return rows_at(c, places, part.hits, write)
    found = bursts_at(c, np.arange(part.bursts) * part.stride, write)
    if access.pattern == "mixed":
        turn = np.arange(part.bursts) % (access.reads + access.writes)
        found[:, 0] = turn >= access.reads
    return found
