"""Elementwise operations in the banks, and vectors that cross the interface to or from them.

Both are rows visited command by command, so timing parameters alone give their cycles.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from accelsim.config import Count, Spec, Whole
from accelsim.cost._component import Work
from accelsim.cost.dram import DramTimings
from accelsim.jit import kernel

__all__ = [
    "Elementwise",
    "Exchange",
    "RowWrites",
    "copy_cycles",
    "elementwise_activity",
    "elementwise_cycles",
    "row_writes",
    "scatter_cycles",
]


class Elementwise(Spec):
    """What units in memory do element by element, on operands that rest in the banks."""

    functions: tuple[str, ...]
    """Operations by name: ``add``, ``mul``, ``relu``, ..."""
    units: Count
    """Units of a channel that work at once."""
    operands_lie: Literal["same_bank", "bank_each"]
    """Operands and result in rows of one bank, visited in turn; or each in a bank of its own, all
    rows open at once and one command per column."""
    columns: Count
    """Columns that a unit takes from a row before it goes on: its registers, or a whole row."""
    alternate_banks: bool = False
    """Whether successive visits go to different banks, so that write recovery hides."""
    activate_to_column_cycles: Count | None = None
    """Activate to the first command; the memory's `rcd` where absent."""
    activate_to_write_cycles: Count | None = None
    """Activate to the first write; the memory's `rcd` where absent."""
    write_recovery_cycles: Count
    """Last write command to precharge: CWL + burst + WR."""
    setup_cycles: Whole = 0
    """Fixed cycles of an operation: mode changes, program load."""


class Exchange(Spec):
    """How vectors cross the interface to and from banks, outside the units' own commands."""

    commands_per_cycle: Count = 1
    """Commands that the host's command bus carries to all channels together in a clock cycle."""
    precharge_gap_cycles: Count
    """One bank's precharge to the next one's on a channel."""
    copy_open_cycles: Whole = 0
    """Activate to the first column of a copy from a bank into the unit's vector buffer."""
    copy_back_open_cycles: Whole = 0
    """Activate to the first column of a copy from the buffer into a bank."""


class RowWrites(NamedTuple):
    """What a row visit with a write depends on, in clock cycles."""

    rcd: int
    rcd_write: int
    ras: int
    rtp: int
    rp: int
    recovery: int  # last write command to precharge
    column: int


@kernel
def elementwise_cycles(
    t: RowWrites, columns: int, chunk: int, operands: int, apart: bool, hidden: bool
) -> int:
    """Return the cycles of an operation over `columns` columns in every unit.

    Parameters
    ----------
    t : RowWrites
    columns : int
        Columns of each operand in a unit's banks.
    chunk : int
        Columns per row visit.
    operands : int
        Operands read.
    apart : bool
        Operands and result in banks of their own, one command for all.
    hidden : bool
        The write's recovery and precharge hide behind the next bank's reads.

    Notes
    -----
    In one bank: `operands` visits max(RCD + (n - 1) c + RTP, RAS) + RP, then a write visit
    RCDWR + (n - 1) c, plus recovery + RP where that does not hide.  In banks of their own:
    RCD + (n - 1) c + recovery + RP.

    Examples
    --------
    Samsung's ADD, eight columns a visit, two operands, write recovery hidden:

    >>> samsung = RowWrites(14, 10, 33, 5, 14, 26, 4)
    >>> elementwise_cycles(samsung, 8, 8, 2, False, True)
    160
    """
    total = 0
    for begin in range(0, columns, chunk):
        spread = (min(chunk, columns - begin) - 1) * t.column
        if apart:
            total += t.rcd + spread + t.recovery + t.rp
        else:
            reads = max(t.rcd + spread + t.rtp, t.ras) + t.rp
            closing = 0 if hidden else t.recovery + t.rp
            total += operands * reads + t.rcd_write + spread + closing
    return total


@kernel
def scatter_cycles(
    t: RowWrites,
    vectors: int,
    bursts: int,
    banks: int,
    channels: int,
    commands_per_cycle: int,
    gap: int,
) -> int:
    """Return the cycles in which vectors cross the interface into (or out of) banks.

    Parameters
    ----------
    t : RowWrites
    vectors : int
        Vectors that follow each other without a pause, in rows of their own.
    bursts : int
        Bursts of a vector per bank.
    banks : int
        Banks that hold a vector, over all channels.
    channels : int
        Channels that they belong to.
    commands_per_cycle : int
        Commands that the host sends to all channels together in a clock cycle.
    gap : int
        One bank's precharge to the next one's.

    Notes
    -----
    The slower of the host's command bus, bursts x banks / `commands_per_cycle` a vector, and a
    channel: its banks' rows closed one after the other and the bursts, then, once, RP + RCDWR and
    the last write's recovery.
    """
    held = -(-banks // channels)
    rows = vectors * held * (gap + bursts * t.column) + t.rp + t.rcd_write + t.recovery
    return max(-(-vectors * bursts * banks // commands_per_cycle), rows)


@kernel
def copy_cycles(t: RowWrites, columns: int, open_from: int, open_to: int) -> int:
    """Return the cycles of a copy from one bank to another through the vector buffer.

    Notes
    -----
    Both banks are opened one after the other: 2 RP, both activates, the columns twice, recovery.
    """
    return 2 * t.rp + open_from + open_to + 2 * columns * t.column + t.recovery


def row_writes(spec: Elementwise, t: DramTimings, column: int) -> RowWrites:
    """Return the timings of row visits with writes, the memory's where the unit gives none."""
    return RowWrites(
        spec.activate_to_column_cycles or t.rcd, spec.activate_to_write_cycles or t.rcd, t.ras,
        t.rtp, t.rp, spec.write_recovery_cycles, column,
    )  # fmt: skip


def elementwise_activity(
    work: Work, spec: Elementwise, column_bytes: int, channels: int
) -> tuple[int, int]:
    """Return the columns of each operand per unit, and the operands that an operation reads.

    Parameters
    ----------
    work : Work
        ``batch`` times ``m`` rows of ``n`` elements; its bytes, where given, tell the operands.
    spec : Elementwise
    column_bytes : int
        Bytes of one column in a unit's bank.
    channels : int
        Channels that share the elements.
    """
    elements = work.batch * work.m * work.n
    per_unit = -(-elements * work.bits_a // (8 * spec.units * channels))
    operands = 2 if work.function in ("add", "mul") else 1
    if work.input_bytes and work.output_bytes:
        written = work.output_bytes * 8 / work.bits_c
        operands = max(1, round(work.input_bytes * 8 / work.bits_a / written))
    return -(-per_unit // column_bytes), operands
