"""On-chip SRAM: scratchpads, unified buffers and accumulators.

Energy, area and leakage follow from capacity and process node where they are not published: by
the table of published memories, or for a stated word by the model of a macro.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Bytes, BytesPerSecond, Count, Hertz, PicojoulesPerBit, Watts
from accelsim.cost._component import Memory
from accelsim.cost._sram_model import LEAST_WORDS, SramFigures, sram_macro
from accelsim.cost._technology import sram_area_mm2, sram_energy_pj_per_byte, sram_leakage_w

__all__ = ["COMPONENT", "Sram"]


class Sram(Memory):
    """An on-chip memory of one or more banks.

    Notes
    -----
    The energy of an access is that of the whole capacity whatever the banks: the bytes cross
    the memory.  `energy_pj` takes the mean of a read and a write, which differ by 7 %.

    Without `access_bits` energy per byte, area and leakage are those of the technology table,
    whose energies include the wires within memories of many macros.  With it they are those of
    one macro whose accesses are so wide (`_sram_model`), which ends at its ports: right for the
    small memories beside arithmetic, low for a buffer spread over a chip.

    Examples
    --------
    >>> buffer = Sram(
    ...     source="TPUv4i",
    ...     capacity_bytes="128 MiB",
    ...     technology_nm=7,
    ...     banks=128,
    ...     port_bytes=64,
    ...     frequency_hz="1.05 GHz",
    ... )
    >>> round(buffer.bandwidth() / 1e12, 1), round(buffer.energy_pj(1000) / 1000, 2)
    (8.6, 3.4)

    Of a macro the width of a word matters, here 32 against 256 bits:

    >>> fields = {"capacity_bytes": "64 KiB", "bandwidth_bytes_per_s": "64 GB/s"}
    >>> narrow = Sram(technology_nm=22, access_bits=32, **fields)
    >>> wide = Sram(technology_nm=22, access_bits=256, **fields)
    >>> round(narrow.energy_pj(1024)), round(wide.energy_pj(1024))
    (913, 435)
    """

    kind: Literal["sram"] = "sram"
    capacity_bytes: Bytes
    """Capacity of all banks."""
    bandwidth_bytes_per_s: BytesPerSecond | None = None
    """Bandwidth of all banks; where absent ``banks * port_bytes * frequency_hz``."""
    banks: Count = 1
    """Banks that are accessed at the same time."""
    port_bytes: Count | None = None
    """Bytes that one bank yields or takes per cycle."""
    frequency_hz: Hertz | None = None
    """Clock of the banks."""
    access_bits: Count | None = None
    """Bits that one access reads or writes, on which the energy of a macro depends."""
    ports: Count = 1
    """Ports of a macro that read or write; only with `access_bits`."""
    macro_model: Literal["built_in", "hwcomponents"] = "built_in"
    """What tells a macro's figures: the closed form, or CACTI by hwcomponents-cacti where that is
    installed; only with `access_bits`."""
    given_energy_pj_per_bit: PicojoulesPerBit | None = None
    """Published energy per bit; where absent the technology table answers."""
    given_leakage_w: Watts | None = None
    """Published standing power; where absent that of low-standby cells."""

    @model_validator(mode="after")
    def _is_complete(self) -> Sram:
        if self.bandwidth_bytes_per_s is None and None in (self.port_bytes, self.frequency_hz):
            raise PydanticCustomError(
                "bandwidth",
                "an SRAM needs `bandwidth_bytes_per_s`, or `port_bytes` and `frequency_hz`",
            )
        if self.access_bits is None and {"ports", "macro_model"} & self.model_fields_set:
            raise PydanticCustomError("macro", "`ports` and `macro_model` need `access_bits`")
        words = self.capacity_bytes * 8 / self.access_bits if self.access_bits else LEAST_WORDS
        if words < LEAST_WORDS:
            raise PydanticCustomError(
                "words",
                "an SRAM has at least {least} words; {words} words of {bits} bits are a register"
                " file",
                {"least": LEAST_WORDS, "words": f"{words:g}", "bits": self.access_bits},
            )
        given = (self.given_energy_pj_per_bit, self.given_leakage_w)
        if self.technology_nm is None and None in given:
            raise PydanticCustomError(
                "node",
                "an SRAM needs `technology_nm`, or both `given_energy_pj_per_bit` and"
                " `given_leakage_w`",
            )
        return self

    def capacity(self) -> float:
        """Return the capacity in bytes."""
        return self.capacity_bytes

    def bandwidth(self) -> float:
        """Return the bandwidth in bytes per second; streams reach the peak."""
        return self.peak_bandwidth()

    def peak_bandwidth(self) -> float:
        """Return the bandwidth of all ports in bytes per second."""
        if self.bandwidth_bytes_per_s is not None:
            return self.bandwidth_bytes_per_s
        return self.banks * float(self.port_bytes or 0) * (self.frequency_hz or 0.0)

    def energy_pj(self, size_bytes: int) -> float:
        """Return the energy of `size_bytes` of accesses, reads and writes in equal parts."""
        if self.given_energy_pj_per_bit is not None:
            return size_bytes * 8 * self.given_energy_pj_per_bit
        if self.access_bits is not None:
            macro = self._macro(self.access_bits)
            return size_bytes * 8 / self.access_bits * 0.5 * (macro.read_pj + macro.write_pj)
        node = self.technology_nm or 0.0
        read = sram_energy_pj_per_byte(self.capacity_bytes, node)
        write = sram_energy_pj_per_byte(self.capacity_bytes, node, write=True)
        return size_bytes * 0.5 * (read + write)

    def background_w(self) -> float:
        """Return the leakage."""
        if self.given_leakage_w is not None:
            return self.given_leakage_w
        if self.access_bits is not None:
            return self._macro(self.access_bits).leakage_w
        return sram_leakage_w(self.capacity_bytes, self.technology_nm or 0.0)

    def model_area_mm2(self, technology_nm: float) -> float:
        """Return the area of the macros; memories of many macros take up to three times that."""
        if self.access_bits is not None:
            return self._macro(self.access_bits, technology_nm).area_mm2
        return sram_area_mm2(self.capacity_bytes, technology_nm)

    def _macro(self, access_bits: int, technology_nm: float | None = None) -> SramFigures:
        node = technology_nm or self.technology_nm or 0.0
        if self.macro_model == "hwcomponents":
            from accelsim.cost import _hwcomponents

            return _hwcomponents.sram_macro(self.capacity_bytes, access_bits, node, self.ports)
        return sram_macro(self.capacity_bytes, access_bits, node, self.ports)


COMPONENT: Final = Sram
