"""Processing in memory at the banks: matrix-vector products next to the row buffers.

One equation over row visits serves AttAcc's, NeuPIMs' and Samsung's banks; what differs between
them is parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Picojoules, Whole
from accelsim.cost._component import (
    PICOSECONDS_PER_SECOND,
    Estimate,
    Memory,
    Setting,
    Unit,
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
from accelsim.cost._pim_layout import (
    Placement,
    Product,
    Tiling,
    passes,
    place,
    products,
    vectors,
)
from accelsim.cost.dram import Dram, DramTimings
from accelsim.errors import ConfigError

__all__ = ["COMPONENT", "PimBank", "Placement"]


class PimBank(Unit):
    """MAC units at the banks of a DRAM, driven by all-bank commands.

    Notes
    -----
    A product is a list of row visits; visit i does m_i MACs in every participating bank at once
    and takes t_i = max(RCD + (m_i - 1) c + RTP, RAS) + RP.  Vector loads and result reads add
    where they are exposed.  Refresh adds in whole events or, under the slack rule, cuts time into
    windows that a visit must fit into.  Each of the m vectors is one pass over the rows: nothing
    is reused between them.

    Validated on AttAcc bank-level runs of Ramulator 2, NeuPIMs request sets and Samsung HBM-PIM
    GEMVs; the errors stand in ``tests/cost/test_pim_bank.py``.

    References
    ----------
    Park et al., AttAcc, ASPLOS 2024; Heo et al., NeuPIMs, ASPLOS 2024; Lee et al., Hardware
    architecture and software stack for PIM based on commercial DRAM, ISCA 2021.
    """

    kind: Literal["pim_bank"] = "pim_bank"
    mac_bytes: Count
    """Bytes of matrix that one MAC reads in each bank."""
    mac_cycles: Count
    """Clock cycles from one MAC to the next."""
    operand_bits: tuple[Count, ...] = (16,)
    """Element widths that the MAC units take."""
    max_vectors: Count = 16
    """Most vectors per matrix (m) that the unit accepts; each is a pass over the rows."""
    score: Placement | None = None
    """Where keys lie; without it the unit refuses score products."""
    context: Placement | None = None
    """Where values lie; without it the unit refuses context products."""
    weights: Placement | None = None
    """Where weights lie; without it the unit refuses other products."""
    mac_command: Literal["mac", "result"] = "mac"
    """What a column command does: one MAC, or all MACs of a result and its read."""
    result_slots: Whole = 0
    """MAC slots that the read of a result takes within its command."""
    pipeline_macs: Count = 1
    """Fewest MAC slots of a command that ends with a result."""
    activate_commands: Count = 1
    """Commands that open a row in all banks of a channel, one tFAW apart in each rank."""
    precharge_commands: Count = 1
    """Commands that close them, one per cycle."""
    header_cycles: Whole = 0
    """Command cycles before a visit that carry no access."""
    vector_bytes: Count | None = None
    """Vector that the banks see at a time; all of it where absent."""
    vector_load_cycles: Whole = 0
    """Exposed cycles of loading it; 0 where it hides behind other heads."""
    outputs_per_tile: Count | None = None
    """Outputs that a bank accumulates at a time; all where absent."""
    stationary: Literal["vector", "outputs"] = "vector"
    """What stays while the other changes: each vector part meets all outputs, or each output tile
    is finished first."""
    result_cycles: Whole = 0
    """Exposed cycles of reading an output tile."""
    setup_cycles: Whole = 0
    """Fixed cycles of an operator: mode changes, program load."""
    refresh: Literal["between_rows", "within_row", "slack"] = "between_rows"
    """When refresh strikes: between two row visits, within one, or never, because no visit starts
    that does not fit before it."""
    pipelined_heads: Literal[1, 2] = 1
    """Heads in flight: with 2, softmax and moves of one hide behind the MACs of the other."""
    second_context_reuses_row: bool = False
    """Whether the second head in flight finds its values' row open if they fit one row."""
    hidden_move_cycles: Whole = 0
    """Cycles of the probabilities' move that stay hidden even for a head without a partner."""
    activate_pj: Picojoules
    """Energy of opening and closing a row in one bank."""
    mac_pj: Picojoules
    """Energy of one MAC command in one bank: array read, multipliers and adders."""

    @model_validator(mode="after")
    def _slack_loads_once(self) -> PimBank:
        if self.refresh == "slack" and self.stationary != "vector":
            raise PydanticCustomError("slack", "`refresh: slack` needs `stationary: vector`")
        return self

    def refusal(self, work: Work) -> str:
        """Return why the unit cannot run `work`: kind, missing placement, vectors or width."""
        if work.kind == "attention":
            if self.pipelined_heads < 2 or self.score is None or self.context is None:
                return "fused attention needs two heads in flight, keys and values in the banks"
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
            If the memory is no DRAM with timings.
        """
        dram = _dram(setting.memory)
        visits, banks, energy = 0, 1, 0.0
        for product in products(work):
            rows, macs, banks = self._activity(product, work, dram)
            visits += rows
            energy += (rows * self.activate_pj + macs * self.mac_pj) * banks
        peak = dram.total_channels * banks * self.mac_bytes / self.mac_cycles * dram.clock
        matrix_bytes = sum(p.matrices * p.n * p.k for p in products(work)) * work.bits_b / 8
        copies, parts = self._exchange(work, dram)
        return Estimate(
            compute_ps=to_ps(self.cycles([work], dram) / dram.clock),
            input_traffic_bytes=work.input_bytes * copies,
            output_traffic_bytes=work.output_bytes * parts,
            tiles=max(1, visits),
            includes_memory=True,
            energy_pj={"pim": energy},
            ideal_ps=vectors(work) * matrix_bytes / peak * PICOSECONDS_PER_SECOND,
            choice=f"{visits} row visits in {banks} banks",
        )

    def occupies_memory(self, memory: Memory) -> bool:
        """Return whether the memory serves nothing else meanwhile: unless it has two row buffers.

        Parameters
        ----------
        memory : Memory
            Where the unit's matrices lie.
        """
        return not (isinstance(memory, Dram) and memory.row_buffers == 2)

    def cycles(self, works: Sequence[Work], dram: Dram) -> float:
        """Return the clock cycles of works that run one after the other.

        Parameters
        ----------
        works : sequence of Work
            Each spread over all channels of `dram`; the busiest channel tells its time.
        dram : Dram
            Memory with timings.
        """
        timings = _timings(dram)
        commands = self._commands(dram, timings)
        setup = self.setup_cycles * len(works)
        if self.refresh == "slack":
            queue = [p for work in works for _, p in self._placed(work, dram)]
            return slack_cycles(commands, np.concatenate(queue)) + setup
        busy = setup + sum(self._busy(work, dram, commands) for work in works)
        first = timings.refi if timings.first_refresh is None else timings.first_refresh
        return interrupted_cycles(
            commands, float(busy), float(first), self.refresh == "between_rows"
        )

    def _activity(self, product: Product, work: Work, dram: Dram) -> tuple[int, int, int]:
        """Return row visits and MAC commands on all channels, and the banks that do each."""
        placement = self._placement(product.function, work)
        split = dram.total_channels if placement.over_channels == "outputs" else 1
        done = passes(product, placement, self._tiling(work, dram), split, vectors(work))
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
            change -= product.matrices // 2 * vectors(work) * (visit - macs * commands.mac)
        if product.matrices % 2:
            bytes_per_cycle = dram.channel_width_bits / 8 * dram.data_rate_hz / dram.clock
            move = product.k * work.bits_a / 8 / bytes_per_cycle
            change += max(0, int(move) - self.hidden_move_cycles)
        return change

    def _placed(self, work: Work, dram: Dram) -> list[tuple[Product, Passes]]:
        """Return what the busiest channel holds of a work, and the passes over it."""
        found = []
        for product in products(work):
            placement = self._placement(product.function, work)
            held, split = place(product, placement, dram.total_channels)
            done = passes(held, placement, self._tiling(work, dram), split, vectors(work))
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
        )

    def _commands(self, dram: Dram, t: DramTimings) -> Commands:
        """Return the costs of commands: activates one tFAW apart, precharges one a cycle."""
        ranks = dram.ranks if self.activate_commands > 1 else 1
        opening = (self.activate_commands // ranks - 1) * t.faw + ranks - 1 + t.rcd
        closing = max(t.rp, self.precharge_commands + self.header_cycles)
        return Commands(
            opening, closing, t.rtp, t.ras, self.mac_cycles, self.result_slots,
            self.pipeline_macs, self.vector_load_cycles, self.result_cycles,
            self.precharge_commands, t.ccd_l, t.rcd, t.rp, dram.ranks, t.refi, t.rfc,
        )  # fmt: skip


def _dram(memory: Memory) -> Dram:
    if not isinstance(memory, Dram):
        raise ConfigError(f"pim_bank: its memory is a {type(memory).__name__}, a DRAM is needed")
    _timings(memory)
    return memory


def _timings(dram: Dram) -> DramTimings:
    if dram.timings is None:
        raise ConfigError("pim_bank: its memory has a given efficiency, timings are needed")
    return dram.timings


COMPONENT = PimBank
