"""Products where they lie in the banks: placements, passes, commands, and what crosses for them.

`pim_bank` turns them into time and energy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelsim.cost._component import Work
from accelsim.cost._pim_cycles import (
    LOADS,
    MACS,
    REPEAT,
    REST_MACS,
    ROWS,
    TILES,
    Commands,
    Passes,
)
from accelsim.cost._pim_layout import (
    Placement,
    Product,
    Tiling,
    check_banks,
    check_capacity,
    passes,
    place,
    products,
    queued_passes,
    vectors,
)
from accelsim.cost._pim_operands import OperandsInBanks
from accelsim.cost.dram import Dram, DramTimings
from accelsim.errors import ConfigError

__all__ = ["PlacedProducts"]


class PlacedProducts(OperandsInBanks):
    """What a unit's parameters make of a product in a memory."""

    def _activity(self, product: Product, work: Work, dram: Dram) -> tuple[int, int, int]:
        """Return row visits and MAC commands on all channels, and the banks that do each.

        A visit with data that is held for more vectors than one MAC meets counts once.
        """
        placement = self._placement(product.function, work)
        split = dram.total_channels if placement.over_channels == "outputs" else 1
        done = passes(product, placement, self._tiling(work, dram), split, self._fetches(work))
        rows = done[:, ROWS] + (done[:, REST_MACS] > 0)
        macs = done[:, ROWS] * done[:, MACS] + done[:, REST_MACS]
        runs = done[:, REPEAT] * done[:, TILES] * split
        return int((runs * rows).sum()), int((runs * macs).sum()), placement.banks

    def _exchange(self, work: Work, dram: Dram) -> tuple[int, int]:
        """Return how often the vector is sent, and how many partial sums an output comes in."""
        product = products(work)[-1]
        placement = self._placement(product.function, work)
        split = dram.total_channels if placement.over_channels == "outputs" else 1
        done = passes(product, placement, self._tiling(work, dram), split, 1)
        if self.vectors_sent_to == "stacks":
            split = -(-split * dram.stacks // dram.total_channels)
        if self.stationary == "outputs":
            return split * int(done[0, LOADS]), 1
        k = -(-product.k // placement.reduction_over)
        held = (self.vector_bytes or 0) * 8 // work.bits_a
        return split, -(-k // held) if held else 1

    def _check_capacity(self, work: Work, dram: Dram) -> None:
        """Raise unless what falls to the busiest channel fits its banks, rows counted whole."""
        for product, done in self._placed(work, dram):
            placement = self._placement(product.function, work)
            held = dram.capacity() / dram.total_channels
            check_capacity(done, self._reads(work), placement, dram.row, held)

    def _placed(self, work: Work, dram: Dram) -> list[tuple[Product, Passes]]:
        """Return what the busiest channel holds of a work, and the passes over it."""
        found = []
        for product in products(work):
            placement = self._placement(product.function, work)
            check_banks(
                product.function or "weights", placement, self.banks_in_turn,
                dram.banks_per_channel,
            )  # fmt: skip
            held, split = place(product, placement, dram.total_channels)
            done = passes(held, placement, self._tiling(work, dram), split, self._reads(work))
            found.append((held, done))
        return found

    def _queued(
        self, work: Work, queues: Sequence[Sequence[int]], dram: Dram
    ) -> tuple[Passes, Passes]:
        """Return the passes of requests of other lengths, and where each channel's begin."""
        placement = self._placement(work.function, work)
        check_banks(work.function, placement, self.banks_in_turn, dram.banks_per_channel)
        lengths = [length for queue in queues for length in queue]
        sizes = np.empty((len(lengths), 2), np.int64)
        sizes[:, 0], sizes[:, 1] = work.n, work.k
        sizes[:, 0 if work.function == "score" else 1] = lengths
        first = np.cumsum([0, *(len(queue) for queue in queues)])
        tiling = self._tiling(work, dram)
        product = products(work)[0]
        return queued_passes(product, sizes, first, placement, tiling, self._reads(work))

    def _placed_as(self, function: str) -> Placement | None:
        return {"score": self.score, "context": self.context}.get(function, self.weights)

    def _placement(self, function: str, work: Work) -> Placement:
        placement = self._placed_as(function)
        if placement is None:
            raise ConfigError(f"pim_bank: {self.refusal(work)}")
        return placement

    def _tiling(self, work: Work, dram: Dram) -> Tiling:
        return Tiling(
            vector_elements=(self.vector_bytes or 0) * 8 // work.bits_a,
            outputs_per_tile=self.outputs_per_tile or 0,
            lanes=self.mac_bytes * 8 // work.bits_b,
            macs_per_row=int(dram.row) // self.mac_bytes,
            whole_results=self.mac_command == "result",
            outputs_stationary=self.stationary == "outputs",
            single_results=self.mac_command == "single",
        )

    def _fetches(self, work: Work) -> int:
        """Return how often a matrix is read out of its banks, passes from a buffer left out."""
        return -(-vectors(work) // (self.vectors_held or self.vectors_per_read))

    def _reads(self, work: Work) -> int:
        """Return the passes over a matrix that its vectors take."""
        return -(-vectors(work) // self.vectors_per_read)

    def _commands(self, dram: Dram, t: DramTimings) -> Commands:
        """Return the costs of commands: activates one tFAW apart, precharges one a cycle."""
        ranks = dram.ranks if self.activate_commands > 1 else 1
        to_mac = self.activate_to_mac_cycles or t.rcd
        opening = (self.activate_commands // ranks - 1) * t.faw + ranks - 1 + to_mac
        closing = max(t.rp, self.precharge_commands + self.header_cycles)
        return Commands(
            opening, closing, t.rtp, t.ras, self.mac_cycles, self.result_slots,
            self.pipeline_macs, self.vector_load_cycles, self.result_cycles,
            self.precharge_commands, t.ccd_l, t.rcd, t.rp, dram.ranks, t.refi, t.rfc,
            self.banks_in_turn, int(self.mac_command == "single"), int(dram.row_buffers == 1),
            self.mode_switch_cycles,
        )  # fmt: skip
