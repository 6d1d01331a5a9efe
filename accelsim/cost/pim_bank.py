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
    MACS,
    REPEAT,
    REST_MACS,
    ROWS,
    Commands,
    Cycles,
    Passes,
    interrupted_cycles,
    passes_cycles,
    queues_cycles,
    slack_cycles,
)
from accelsim.cost._pim_elementwise import elementwise_activity
from accelsim.cost._pim_layout import (
    Placement,
    Product,
    products,
    vectors,
)
from accelsim.cost._pim_operands import timings_of
from accelsim.cost._pim_placed import PlacedProducts
from accelsim.cost._pim_sharing import blocked_cycles, row_visits, written_rows
from accelsim.cost.dram import Dram
from accelsim.errors import ConfigError

__all__ = ["COMPONENT", "Cycles", "PimBank", "Placement"]


class PimBank(PlacedProducts):
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
        shared = vectors(work) / self._fetches(work)
        for product in products(work):
            rows, macs, banks = self._activity(product, work, dram)
            visits += rows
            per_mac = self.mac_pj + shared * self.vector_mac_pj
            energy += (rows * self.activate_pj + macs * per_mac) * banks
        peak = dram.total_channels * banks * self.mac_bytes / self.mac_cycles * dram.clock
        matrix_bytes = sum(p.matrices * p.n * p.k for p in products(work)) * work.bits_b / 8
        shortest = vectors(work) / self.vectors_per_read * matrix_bytes / peak
        copies, parts = self._exchange(work, dram)
        cycles = self.cycles(
            [work], dram, beside_traffic=setting.beside_traffic, drains=self.drains([work], dram)
        )
        held = 0.0
        if setting.beside_traffic and not self.occupies_memory(dram):
            held = cycles * self.traffic_share([work], dram, cycles)
        return Estimate(
            compute_ps=to_ps(cycles / dram.clock),
            held_ps=to_ps(held / dram.clock),
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

    def drains(self, works: Sequence[Work], dram: Dram) -> int:
        """Return the groups of writes that the works' results make on a channel meanwhile.

        Parameters
        ----------
        works : sequence of Work
            All that runs at the same time, over all channels.
        dram : Dram

        Notes
        -----
        Units under the slack rule load vectors from rows of the memory, so the results that are
        the next product's vectors are written there: each matrix's to rows of its own, row after
        row to one channel after the other; what each channel gets at least.  Zero without the
        rule.
        """
        if self.refresh != "slack":
            return 0
        rows = sum(written_rows(work, dram.row) for work in works)
        return rows // dram.total_channels

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
            Groups of writes (see `drains`) that a channel with one row buffer serves meanwhile.
            Under the slack rule each costs a window, since units that have given way wait for the
            next refresh.
        """
        timings = timings_of(dram)
        commands = self._commands(dram, timings)
        if beside_traffic:
            commands = commands._replace(shared_row=1)
        setup = self.setup_cycles * sum(work.kind != "elementwise" for work in works)
        if self.refresh == "slack":
            queue = [p for work in works for _, p in self._placed(work, dram)]
            lost = drains * (timings.refi // dram.ranks) if dram.row_buffers == 1 else 0.0
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

    def queues_cycles(
        self, work: Work, queues: Sequence[Sequence[int]], dram: Dram, *,
        beside_traffic: bool = False, drains: int = 0,
    ) -> Cycles:  # fmt: skip
        """Return the clock cycles of every channel, where requests differ in their tokens alone.

        Parameters
        ----------
        work : Work
            One request's scores or contexts, all of them on one channel.
        queues : sequence of sequence of int
            Tokens of the requests on each channel: n of the scores, k of the contexts.
        dram, beside_traffic, drains
            As for `cycles`; many times as fast as asking that for each channel.

        Raises
        ------
        ConfigError
            Unless the unit works under the slack rule, on scores or contexts.
        """
        if self.refresh != "slack" or work.function not in ("score", "context"):
            raise ConfigError(
                f"pim_bank: queues of `{work.function or work.kind}` under `refresh:"
                f" {self.refresh}`",
                hint="queues hold scores or contexts, and need `refresh: slack`",
            )
        timings = timings_of(dram)
        commands = self._commands(dram, timings)
        if beside_traffic:
            commands = commands._replace(shared_row=1)
        placed, first = self._queued(work, queues, dram)
        found = queues_cycles(commands, placed, first)
        busy = np.diff(first) > 0
        setup = self.setup_cycles * np.array([len(queue) for queue in queues])
        lost = drains * (timings.refi // dram.ranks) if dram.row_buffers == 1 else 0.0
        cycles: Cycles = np.where(busy, found + setup + lost, 0.0)
        return cycles

    def crossings(self, work: Work, dram: Dram) -> tuple[int, int]:
        """Return the bytes of a product's vectors and results over the interface, copies counted.

        Parameters
        ----------
        work : Work
            Its operand widths and sizes count, its bytes do not.
        dram : Dram
        """
        copies, parts = self._exchange(work, dram)
        sides = [(p.matrices * p.k, p.matrices * p.n) for p in products(work)]
        read = sum(k for k, _ in sides) * vectors(work) * work.bits_a // 8
        written = sum(n for _, n in sides) * vectors(work) * work.bits_c // 8
        return read * copies, written * parts

    def commands(self, work: Work, dram: Dram) -> tuple[int, int, int]:
        """Return a product's row visits and MAC commands on all channels, and units of each."""
        counted = [self._activity(product, work, dram) for product in products(work)]
        rows, macs = (sum(one[i] for one in counted) for i in range(2))
        return rows, macs, counted[-1][2]

    def traffic_share(
        self, works: Sequence[Work], dram: Dram, cycles: float | None = None
    ) -> float:
        """Return the part of its time that works in a concurrent memory take from traffic.

        Parameters
        ----------
        works : sequence of Work
            They run one after the other; the busiest channel tells, as streams go over all.
        dram : Dram
            Memory with timings; with one row buffer all its time is taken.
        cycles : float, optional
            Clock cycles of the works, where they are known.
        """
        if self.occupies_memory(dram):
            return 1.0
        timings = timings_of(dram)
        visits = row_visits([p for work in works for _, p in self._placed(work, dram)])
        taken = visits * blocked_cycles(self.activate_commands, dram, timings)
        if cycles is None:
            cycles = self.cycles(works, dram, beside_traffic=True)
        return min(1.0, taken / cycles)

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


def _dram(memory: Memory) -> Dram:
    if not isinstance(memory, Dram):
        raise ConfigError(f"pim_bank: its memory is a {type(memory).__name__}, a DRAM is needed")
    timings_of(memory)
    return memory


COMPONENT = PimBank
