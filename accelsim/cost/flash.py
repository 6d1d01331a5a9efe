"""Flash drives: how long pages take to read and to write, inside the drive and for a stream.

Inside a drive the channels' buses or the planes behind them are the limit; what leaves the drive
also crosses the path that the architecture gives to it.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Bytes, BytesPerSecond, Count, PicojoulesPerBit, Seconds, Watts
from accelsim.cost._component import Memory, to_ps

__all__ = ["COMPONENT", "Flash"]


class Flash(Memory):
    """Equal drives of NAND flash that share all data evenly; figures are those of one drive.

    Notes
    -----
    A page is the least that is read or written.  Pages go round over the channels, and within a
    channel over its planes, whose reads overlap: n pages take the first page's `read_s`, then
    ``n page / bandwidth`` with ``bandwidth = min(channels bus, channels planes page / read_s)``.
    Random pages cost as much as successive ones as long as they fall on all planes alike; what
    they cost more is the rest of a page that nobody asked for.  Writes likewise, with
    `program_s`, and with an erase for every `pages_per_block` pages where both are given.

    Drives whose inside is not published have a data sheet's sustained rates in its place
    (`given_read_bytes_per_s`, `given_write_bytes_per_s`).

    References
    ----------
    Tavakkol et al., MQSim, FAST 2018; Kim et al., NVMeVirt, FAST 2023.

    Examples
    --------
    >>> drive = Flash(
    ...     source="NVMeVirt, 970 PRO",
    ...     capacity_bytes="1 TB",
    ...     page_bytes="32 KiB",
    ...     channels=8,
    ...     channel_bytes_per_s="800 MB/s",
    ...     planes=2,
    ...     read_s="36 us",
    ...     program_s="185 us",
    ... )
    >>> drive.bandwidth() / 1e9, round(drive.write_bandwidth() / 1e9, 2)
    (6.4, 2.83)
    >>> drive.pages_bytes(1), drive.read_ps(1) == drive.read_ps(32 * 1024)
    (32768, True)
    """

    kind: Literal["flash"] = "flash"
    capacity_bytes: Bytes
    """Capacity of one drive."""
    drives: Count = 1
    """Drives that share all data evenly."""
    page_bytes: Bytes
    """Least that is read or written at once."""
    channels: Count | None = None
    """Channels of a drive, each with a bus of its own."""
    channel_bytes_per_s: BytesPerSecond | None = None
    """Rate of one channel's bus."""
    planes: Count | None = None
    """Planes of a channel, over all its packages and dies, that read or program on their own."""
    read_s: Seconds = 0.0
    """Time from the cells of a page to its plane's register (tR)."""
    program_s: Seconds = 0.0
    """Time from the register to the cells (tPROG)."""
    erase_s: Seconds = 0.0
    """Time that erasing a block takes (tBERS)."""
    pages_per_block: Count | None = None
    """Pages that are erased together."""
    given_read_bytes_per_s: BytesPerSecond | None = None
    """Sustained reading of one drive by a data sheet or a measurement, instead of the planes."""
    given_write_bytes_per_s: BytesPerSecond | None = None
    """Sustained writing of one drive, instead of what the planes program."""
    access_pj_per_bit: PicojoulesPerBit = 0.0
    """Energy of a bit from the cells to the drive's controller, or back; 0 counts none."""
    standby_w: Watts = 0.0
    """Power of one drive that does nothing."""

    @model_validator(mode="after")
    def _is_complete(self) -> Flash:
        problem = ""
        if (self.channels is None) != (self.channel_bytes_per_s is None):
            problem = "`channels` and `channel_bytes_per_s` go together"
        elif self.channels is None and self.given_read_bytes_per_s is None:
            problem = (
                "a flash needs `channels` and `channel_bytes_per_s`, or `given_read_bytes_per_s`"
            )
        elif self.channels is None and self.given_write_bytes_per_s is None:
            problem = "without channels, a flash needs `given_write_bytes_per_s` as well"
        elif self.planes is None and (self.read_s or self.program_s) and self.channels is not None:
            problem = "`read_s` and `program_s` need `planes`, or they bound no rate"
        elif self.planes is not None and self.channels is None:
            problem = "`planes` needs `channels`"
        elif self.erase_s and self.pages_per_block is None:
            problem = "`erase_s` needs `pages_per_block`"
        elif self.page_bytes % 1 or self.page_bytes > self.capacity_bytes:
            problem = "`page_bytes` must be whole bytes, and no more than the capacity"
        elif self._beyond_buses():
            problem = "a given rate is above what the channels carry"
        if problem:
            raise PydanticCustomError("flash", "{problem}", {"problem": problem})
        return self

    def _beyond_buses(self) -> bool:
        if self.channels is None:
            return False
        given = (self.given_read_bytes_per_s or 0.0, self.given_write_bytes_per_s or 0.0)
        return max(given) > self._buses()

    def _buses(self) -> float:
        """Return what the channels of one drive carry, in bytes per second."""
        return (self.channels or 0) * (self.channel_bytes_per_s or 0.0)

    def _planes_rate(self, busy_s: float) -> float | None:
        """Return what the planes of one drive yield, None where nothing bounds them."""
        if not busy_s or self.planes is None:
            return None
        return (self.channels or 1) * self.planes * self.page_bytes / busy_s

    def capacity(self) -> float:
        """Return the capacity of all drives in bytes."""
        return self.drives * self.capacity_bytes

    def peak_bandwidth(self) -> float:
        """Return what the buses of all channels carry, or the given rate of reading."""
        return self.drives * (self._buses() or self.given_read_bytes_per_s or 0.0)

    def bandwidth(self) -> float:
        """Return the rate at which pages are read inside all drives, in bytes per second."""
        if self.given_read_bytes_per_s is not None:
            return self.drives * self.given_read_bytes_per_s
        cells = self._planes_rate(self.read_s)
        return self.drives * (min(self._buses(), cells) if cells else self._buses())

    def write_bandwidth(self) -> float:
        """Return the rate at which pages are written inside all drives, in bytes per second."""
        if self.given_write_bytes_per_s is not None:
            return self.drives * self.given_write_bytes_per_s
        erase_s = self.erase_s / self.pages_per_block if self.pages_per_block else 0.0
        cells = self._planes_rate(self.program_s + erase_s)
        return self.drives * (min(self._buses(), cells) if cells else self._buses())

    def pages_bytes(self, size_bytes: int, pieces: int = 1) -> int:
        """Return the bytes of the whole pages that hold `pieces` runs of `size_bytes` each."""
        page = int(self.page_bytes)
        return pieces * -(-size_bytes // page) * page

    def read_ps(self, size_bytes: int, pieces: int = 1) -> int:
        """Return the time of reading `pieces` runs of `size_bytes`, spread over all planes.

        Parameters
        ----------
        size_bytes : int
            Bytes that lie together; what is left of their last page is read with them.
        pieces : int
            Runs; single pages at random are runs of at most a page.
        """
        if not size_bytes or not pieces:
            return 0
        return to_ps(self.read_s + self.pages_bytes(size_bytes, pieces) / self.bandwidth())

    def stream_ps(self, size_bytes: int) -> int:
        """Return the time of a sequential read of `size_bytes`, in ps."""
        return self.read_ps(size_bytes)

    def write_ps(self, size_bytes: int) -> int:
        """Return the time of writing `size_bytes` in whole pages, in ps."""
        if not size_bytes:
            return 0
        return to_ps(self.program_s + self.pages_bytes(size_bytes) / self.write_bandwidth())

    def energy_pj(self, size_bytes: int) -> float:
        """Return the energy of `size_bytes` of whole pages read or written."""
        return self.pages_bytes(size_bytes) * 8 * self.access_pj_per_bit

    def background_w(self) -> float:
        """Return the standby power of all drives."""
        return self.drives * self.standby_w


COMPONENT: Final = Flash
