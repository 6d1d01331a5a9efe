"""Processing in or under memory: products next to the row buffers, bank groups or on a die below.

One equation over row visits serves AttAcc's, NeuPIMs', Samsung's and AiM's banks, AttAcc's bank
groups and Duplex's logic die; what differs between them is parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from accelsim.cost._component import (
    PICOSECONDS_PER_SECOND,
    Estimate,
    Memory,
    Setting,
    Work,
    to_ps,
)
from accelsim.cost._pim_cycles import (
    LOADS,
    MACS,
    REPEAT,
    REST_MACS,
    ROWS,
    TILES,
    Commands,
    Passes,
    interrupted_cycles,
    passes_cycles,
    slack_cycles,
)
from accelsim.cost._pim_elementwise import elementwise_activity
from accelsim.cost._pim_layout import (
    Placement,
    Product,
    Tiling,
    check_banks,
    check_capacity,
    passes,
    place,
    products,
    vectors,
)
from accelsim.cost._pim_operands import OperandsInBanks, timings_of
from accelsim.cost.dram import Dram, DramTimings
from accelsim.errors import ConfigError

__all__ = ["COMPONENT", "PimBank", "Placement"]


class PimBank(OperandsInBanks):
    """MAC units in a DRAM or on the die under it, driven by commands to all of them at once.

    Notes
    -----
    A product is a list of row visits; visit i does m_i MACs in every participating bank at once
    and takes t_i = max(RCD + (m_i - 1) c + RTP, RAS) + RP.  Vector loads and result reads add
    where they are exposed.  Refresh adds in whole events or, under the slack rule, cuts time into
    windows that a visit must fit into.  Of the m vectors, `vectors_per_read` share a pass over
    the rows.  A unit that reads `banks_in_turn` banks (at a bank group, on a buffer or logic die)
    opens the next row behind the present one: t_i = max(m_i c, t_visit / banks).

    Validated on AttAcc runs of Ramulator 2, NeuPIMs request sets, Samsung HBM-PIM kernels and
    CENT's GDDR6-AiM blocks; the errors stand in ``docs/pim.md``.

    References
    ----------
    Park et al., AttAcc, ASPLOS 2024; Heo et al., NeuPIMs, ASPLOS 2024; Lee et al., Hardware
    architecture and software stack for PIM based on commercial DRAM, ISCA 2021.
    """

    kind: Literal["pim_bank"] = "pim_bank"

    def refusal(self, work: Work) -> str:
        """Return why the unit cannot run `work`: kind, missing placement, vectors or width."""
        if work.kind == "attention":
            if self.pipelined_heads < 2 or self.score is None or self.context is None:
                return "fused attention needs two heads in flight, keys and values in the banks"
        elif work.kind == "elementwise" and self.elementwise is not None:
            known = self.elementwise.functions
            return "" if work.function in known else f"`{work.function}` is none of {known}"
        elif work.kind != "matmul":
            return f"banks multiply matrices by vectors, `{work.kind}` is no product"
        elif self._placed_as(work.function) is None:
            return f"no placement of {work.function or 'weight'} matrices is given"
        if vectors(work) > self.max_vectors:
            return f"{vectors(work)} vectors per matrix, at most {self.max_vectors}"
        for bits in (work.bits_a, work.bits_b):
            if bits not in self.operand_bits:
                return f"operands of {bits} bits, the banks take {self.operand_bits}"
        return ""

    def estimate(self, work: Work, setting: Setting) -> Estimate:
        """Return the time and energy of `work`, its matrix resting in the memory's banks.

        Raises
        ------
        ConfigError
            If the memory is no DRAM with timings, or its banks do not divide among the units.
        InfeasibleError
            If the matrices that fall to the busiest channel do not fit its banks.
        """
        dram = _dram(setting.memory)
        if work.kind == "elementwise":
            return self._elementwise_estimate(work, dram)
        self._check_capacity(work, dram)
        visits, banks, energy = 0, 1, 0.0
        shared = vectors(work) / self._reads(work)
        for product in products(work):
            rows, macs, banks = self._activity(product, work, dram)
            visits += rows
            per_mac = self.mac_pj + shared * self.vector_mac_pj
            energy += (rows * self.activate_pj + macs * per_mac) * banks
        peak = dram.total_channels * banks * self.mac_bytes / self.mac_cycles * dram.clock
        matrix_bytes = sum(p.matrices * p.n * p.k for p in products(work)) * work.bits_b / 8
        shortest = vectors(work) / self.vectors_per_read * matrix_bytes / peak
        copies, parts = self._exchange(work, dram)
        return Estimate(
            compute_ps=to_ps(self.cycles([work], dram) / dram.clock),
            input_traffic_bytes=work.input_bytes * copies,
            output_traffic_bytes=work.output_bytes * parts,
            tiles=max(1, visits),
            includes_memory=True,
            energy_pj={"pim": energy},
            ideal_ps=shortest * PICOSECONDS_PER_SECOND,
            choice=f"{visits} row visits in {banks} units",
        )

    def occupies_memory(self, memory: Memory) -> bool:
        """Return whether the memory serves nothing else meanwhile: unless it has two row buffers.

        Parameters
        ----------
        memory : Memory
            Where the unit's matrices lie.
        """
        return not (isinstance(memory, Dram) and memory.row_buffers == 2)

    def cycles(
        self, works: Sequence[Work], dram: Dram, *, beside_traffic: bool = False, drains: int = 0
    ) -> float:
        """Return the clock cycles of works that run one after the other.

        Parameters
        ----------
        works : sequence of Work
            Each spread over all channels of `dram`; the busiest channel tells its time.
        dram : Dram
            Memory with timings.
        beside_traffic : bool
            Whether memory traffic runs at the same time through the other row buffer: it closes
            the vector's row between loads.
        drains : int
            Groups of writes that a channel with one row buffer serves meanwhile.  Under the slack
            rule each costs a window, since units that have given way wait for the next refresh.
        """
        timings = timings_of(dram)
        commands = self._commands(dram, timings)
        if beside_traffic:
            commands = commands._replace(shared_row=1)
        setup = self.setup_cycles * sum(work.kind != "elementwise" for work in works)
        if self.refresh == "slack":
            queue = [p for work in works for _, p in self._placed(work, dram)]
            lost = drains * timings.refi // dram.ranks if dram.row_buffers == 1 else 0
            return slack_cycles(commands, np.concatenate(queue)) + setup + lost
        busy = setup + sum(self._busy(work, dram, commands) for work in works)
        if self.banks_in_turn > 1:
            busy += commands.opening + commands.rtp
        if self.refresh == "none":
            return float(busy)
        first = timings.refi if timings.first_refresh is None else timings.first_refresh
        return interrupted_cycles(
            commands, float(busy), float(first), self.refresh == "between_rows"
        )

    def _elementwise_estimate(self, work: Work, dram: Dram) -> Estimate:
        """Return time and energy of an operation; with an `exchange` its operands cross for it."""
        spec = self._elementwise_spec(work)
        columns, operands = elementwise_activity(work, spec, self.mac_bytes, dram.total_channels)
        visits = -(-columns // spec.columns) * (operands + 1)
        units = spec.units * dram.total_channels
        accesses = columns * (operands + 1)
        cycles, read, written = self.cycles([work], dram), 0, 0
        if self.exchange is not None:
            size = work.batch * work.m * work.n * work.bits_a // 8
            cycles += self.scatter_cycles(size, units, dram, operands)
            cycles += self.scatter_cycles(size, units, dram)
            read, written = operands * size, size
        return Estimate(
            compute_ps=to_ps(cycles / dram.clock),
            input_traffic_bytes=read,
            output_traffic_bytes=written,
            tiles=max(1, visits),
            includes_memory=True,
            energy_pj={"pim": units * (visits * self.activate_pj + accesses * self.mac_pj)},
            ideal_ps=accesses * self.mac_cycles / dram.clock * PICOSECONDS_PER_SECOND,
            choice=f"{visits} row visits in {units} units",
        )

    def _activity(self, product: Product, work: Work, dram: Dram) -> tuple[int, int, int]:
        """Return row visits and MAC commands on all channels, and the banks that do each."""
        placement = self._placement(product.function, work)
        split = dram.total_channels if placement.over_channels == "outputs" else 1
        done = passes(product, placement, self._tiling(work, dram), split, self._reads(work))
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
        if self.stationary == "outputs":
            return split * int(done[0, LOADS]), 1
        k = -(-product.k // placement.reduction_over)
        held = (self.vector_bytes or 0) * 8 // work.bits_a
        return split, -(-k // held) if held else 1

    def _busy(self, work: Work, dram: Dram, commands: Commands) -> int:
        """Return the cycles of one work without refresh."""
        if work.kind == "elementwise":
            return self._elementwise_cycles(work, dram)
        total = 0
        for product, placed in self._placed(work, dram):
            total += passes_cycles(commands, placed)
            if self.pipelined_heads == 2 and product.function == "context":
                total += self._pairing(product, placed, work, dram, commands)
        return total

    def _pairing(
        self, product: Product, placed: Passes, work: Work, dram: Dram, commands: Commands
    ) -> int:
        """Return what pairing heads changes: a row found open, or a last move that shows."""
        change = 0
        one_row = placed.shape[0] == 1 and placed[0, ROWS] + (placed[0, REST_MACS] > 0) == 1
        if self.second_context_reuses_row and one_row:
            macs = int(placed[0, ROWS] * placed[0, MACS] + placed[0, REST_MACS])
            visit = passes_cycles(commands, placed) // int(placed[0, REPEAT])
            change -= product.matrices // 2 * self._reads(work) * (visit - macs * commands.mac)
        if product.matrices % 2:
            bytes_per_cycle = dram.channel_width_bits / 8 * dram.data_rate_hz / dram.clock
            move = product.k * work.bits_a / 8 / bytes_per_cycle
            change += max(0, int(move) - self.hidden_move_cycles)
        return change

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


def _dram(memory: Memory) -> Dram:
    if not isinstance(memory, Dram):
        raise ConfigError(f"pim_bank: its memory is a {type(memory).__name__}, a DRAM is needed")
    timings_of(memory)
    return memory


COMPONENT = PimBank
