"""Operands that rest in the banks: elementwise operations on them, and how they get there."""

from __future__ import annotations

from accelsim.cost._component import Work
from accelsim.cost._pim_elementwise import (
    Elementwise,
    Exchange,
    RowWrites,
    copy_cycles,
    elementwise_activity,
    elementwise_cycles,
    row_writes,
    scatter_cycles,
)
from accelsim.cost._pim_parameters import PimParameters
from accelsim.cost.dram import Dram, DramTimings
from accelsim.errors import ConfigError

__all__ = ["OperandsInBanks", "timings_of"]


class OperandsInBanks(PimParameters):
    """Units that also work element by element, and vectors that cross the interface for them."""

    def scatter_cycles(self, size_bytes: int, banks: int, dram: Dram, vectors: int = 1) -> int:
        """Return the cycles in which vectors cross the interface into, or out of, banks.

        Parameters
        ----------
        size_bytes : int
            Size of a vector.
        banks : int
            Banks over all channels that share it out, whole bursts each.
        dram : Dram
            Memory with timings.
        vectors : int
            Vectors of this size that follow each other without a pause.

        Raises
        ------
        ConfigError
            If the unit describes no `exchange` and `elementwise`.
        """
        exchange, writes = self._exchanged(dram)
        per_bank = -(-size_bytes // banks)
        used = -(-size_bytes // per_bank)
        bursts = -(-per_bank // dram.burst_bytes)
        channels = min(dram.total_channels, used)
        return scatter_cycles(
            writes, vectors, bursts, used, channels, exchange.commands_per_cycle,
            exchange.precharge_gap_cycles,
        )  # fmt: skip

    def copy_cycles(self, size_bytes: int, dram: Dram) -> int:
        """Return the cycles of a copy of `size_bytes` in one bank to another of its channel.

        Raises
        ------
        ConfigError
            If the unit describes no `exchange` and `elementwise`.
        """
        exchange, writes = self._exchanged(dram)
        columns = -(-size_bytes // self.mac_bytes)
        opens = exchange.copy_open_cycles, exchange.copy_back_open_cycles
        return copy_cycles(writes, columns, *opens)

    def _exchanged(self, dram: Dram) -> tuple[Exchange, RowWrites]:
        """Return how vectors cross the interface, and the timings of bursts into a row."""
        if self.exchange is None or self.elementwise is None:
            raise ConfigError("pim_bank: give `exchange` and `elementwise` to move vectors")
        timings = timings_of(dram)
        return self.exchange, row_writes(self.elementwise, timings, timings.ccd_s)

    def _elementwise_spec(self, work: Work) -> Elementwise:
        if self.elementwise is None or self.refusal(work):
            raise ConfigError(f"pim_bank: {self.refusal(work)}")
        return self.elementwise

    def _elementwise_cycles(self, work: Work, dram: Dram) -> int:
        """Return the cycles of an elementwise operation without refresh."""
        spec = self._elementwise_spec(work)
        columns, operands = elementwise_activity(work, spec, self.mac_bytes, dram.total_channels)
        return spec.setup_cycles + elementwise_cycles(
            row_writes(spec, timings_of(dram), self.mac_cycles), columns, spec.columns, operands,
            spec.operands_lie == "bank_each", spec.alternate_banks,
        )  # fmt: skip


def timings_of(dram: Dram) -> DramTimings:
    """Return a memory's timings.

    Raises
    ------
    ConfigError
        If it has a given efficiency instead.
    """
    if dram.timings is None:
        raise ConfigError("pim_bank: its memory has a given efficiency, timings are needed")
    return dram.timings
