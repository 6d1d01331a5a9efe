"""Cycle equations of matrix-vector products in memory: row visits, loads, modes, refresh.

All units of a channel work in step, so one unit's commands tell the channel's time.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.cost.dram import refreshed_cycles
from accelsim.jit import kernel

__all__ = [
    "Commands",
    "Cycles",
    "Passes",
    "column_cycles",
    "interrupted_cycles",
    "passes_cycles",
    "queues_cycles",
    "slack_cycles",
    "visit_cycles",
]

Cycles = npt.NDArray[np.float64]
"""Clock cycles, one figure per channel."""
Passes = npt.NDArray[np.int64]
"""One row per run of equal passes; columns as numbered below."""
# A pass loads a part of the vector `LOADS` times and works through `TILES` equal tiles, each
# `ROWS` full rows of `MACS` MACs in `COMMANDS` commands, then a rest.  `RESULTS` are exposed
# result reads of all repetitions together, in `SWITCHES` changes to register mode and back.
REPEAT, LOADS, TILES, ROWS, MACS, COMMANDS, REST_MACS, REST_COMMANDS, RESULTS, SWITCHES = range(10)
COLUMNS: Final = 10
PHASES: Final = 8


class Commands(NamedTuple):
    """What commands cost on one channel, in clock cycles."""

    opening: int  # first activate command to first MAC command
    closing: int  # first precharge command to the next row's first activate command
    rtp: int
    ras: int
    mac: int  # MAC to MAC
    result_slots: int  # MAC slots that reading one result takes
    pipeline_macs: int  # fewest MAC slots of a command that ends with a result
    load: int  # exposed vector load
    result: int  # exposed result read
    precharges: int
    column_l: int
    rcd: int
    rp: int
    ranks: int
    refi: int
    rfc: int
    turns: int = 1  # banks that a unit reads in turn: the next row opens behind the present one
    single: int = 0  # 1: each MAC and each result is a command of its own
    shared_row: int = 0  # 1: the vector's row and the matrix' rows share one row buffer
    switch: int = 0  # change between the modes that run MACs and that access registers


@kernel
def column_cycles(c: Commands, macs: int, commands: int) -> tuple[int, int]:
    """Return cycles from the first to the last column command of a row, and after the last.

    Parameters
    ----------
    c : Commands
    macs, commands : int
        MACs on the row, and column commands that carry them.
    """
    if commands <= 0:
        return 0, 0
    if c.single:
        return (commands - 1) * c.mac, c.mac
    each = (macs + commands - 1) // commands
    slots = max(each, c.pipeline_macs) + c.result_slots
    return (commands - 1) * slots * c.mac, slots * c.mac


@kernel
def visit_cycles(c: Commands, macs: int, commands: int) -> int:
    """Return the cycles of one row visit: activate, MACs, precharge.

    Notes
    -----
    t = max(opening + (commands - 1) cadence + RTP, RAS) + closing.  A command that carries many
    MACs lets the precharge follow its issue, but the next row's MACs wait for its end.

    Examples
    --------
    AttAcc, 32 MACs of 6 cycles in a row of 1 KB; NeuPIMs, 4 heads of 8 MACs and a result each:

    >>> attacc = Commands(19, 19, 8, 45, 6, 0, 1, 0, 0, 1, 4, 19, 19, 2, 5070, 456)
    >>> visit_cycles(attacc, 32, 32)
    232
    >>> neupims = Commands(105, 33, 5, 34, 2, 1, 6, 96, 0, 32, 2, 14, 14, 2, 3900, 260)
    >>> visit_cycles(neupims, 32, 4)
    197
    """
    column, last = column_cycles(c, macs, commands)
    whole = max(max(c.opening + column + c.rtp, c.ras) + c.closing, column + last)
    if c.turns > 1:
        return max(macs * c.mac, -(-whole // c.turns))
    return whole


@kernel
def passes_cycles(c: Commands, passes: Passes) -> int:
    """Return the cycles of all passes one after the other, without refresh.

    Notes
    -----
    A change to register mode and back at the end of a row hides the wait before its precharge.
    """
    total = 0
    for p in range(passes.shape[0]):
        row = passes[p]
        tile = row[ROWS] * visit_cycles(c, row[MACS], row[COMMANDS])
        visits = row[ROWS]
        if row[REST_MACS] > 0:
            tile += visit_cycles(c, row[REST_MACS], row[REST_COMMANDS])
            visits += 1
        total += row[REPEAT] * (row[TILES] * tile + row[LOADS] * c.load)
        total += row[RESULTS] * c.result
        if c.switch > 0:
            at_row_ends = min(row[SWITCHES], row[REPEAT] * row[TILES] * visits)
            total += row[SWITCHES] * 2 * c.switch - at_row_ends * min(c.rtp, 2 * c.switch)
    return total


@kernel
def interrupted_cycles(c: Commands, busy: float, first: float, between_rows: bool) -> float:
    """Return `busy` cycles with the refreshes that interrupt them, all ranks at once.

    Notes
    -----
    A refresh between two visits replaces a precharge that the visit has paid for (RFC - RP); one
    within a row must open the row again (RFC + RCD).  Units that read banks in turn stand still
    from one MAC to the next: RTP + RFC + RCD, less the cadence that would have passed anyway.
    """
    stall = c.rfc - c.rp if between_rows else c.rfc + c.rcd
    if c.turns > 1:
        stall = c.rtp + c.rfc + c.rcd - c.mac
    return refreshed_cycles(busy, float(c.refi), first, float(stall))


@kernel
def _estimate(c: Commands, macs: int, commands: int) -> int:
    """Return what the controller reckons a visit takes before it lets it start."""
    slots = c.mac * max(macs, c.pipeline_macs)
    results = commands - macs if c.single else commands
    return c.precharges * c.rtp + c.opening + slots + c.column_l * (results - 1)


@kernel
def _load_cycles(c: Commands, fresh: bool, vector_row_open: bool) -> tuple[int, int]:
    """Return what the controller reckons a vector load takes, and what it takes.

    With one row buffer the matrix' row must be closed for the vector's; with two the vector's row
    stays open until a refresh.
    """
    if not c.shared_row:
        missing = 0 if vector_row_open else 1
        return c.load + missing * (c.rp + c.rcd), c.load + missing * c.rcd
    closing = 0 if fresh else c.rtp
    return c.load + closing + c.rp + c.rcd, c.load + c.rcd + (0 if fresh else closing + c.rp)


@kernel
def _costs(c: Commands, macs: int, commands: int) -> tuple[int, int, int]:
    """Return what a visit is reckoned to take, takes, and takes from its activates on."""
    column, _ = column_cycles(c, macs, commands)
    visit = visit_cycles(c, macs, commands)
    return _estimate(c, macs, commands), visit, c.opening + column + c.rtp


@kernel
def _visits(
    c: Commands, window: int, half: int, state: tuple[int, int, bool, bool], n: int,
    costs: tuple[int, int, int],
) -> tuple[int, int, bool, bool]:  # fmt: skip
    """Return the place in time after `n` equal visits, those that fit a window in one step.

    `state` is the cycle in the window, the windows begun, whether no row is open since the
    refresh, and whether the vector's is; `half` the precharges of a rank.
    """
    t, begun, fresh, vector_row_open = state
    needed, visit, first = costs
    while n > 0:
        if not fresh:
            left = window - t - needed  # above 0 where a visit fits
            if left > 0:
                fitting = n if left > (n - 1) * visit else (left + visit - 1) // visit
                t += fitting * visit
                n -= fitting
                if n == 0:
                    break
            t, begun, vector_row_open = 0, begun + 1, False
        elif needed - half * c.rtp >= window - t:
            t, begun, vector_row_open = 0, begun + 1, False
        # Only the other ranks' rows are still open.
        t = max(half + c.rp + c.rfc, t + half + 1) + first
        fresh = False
        n -= 1
    return t, begun, fresh, vector_row_open


@kernel
def _slack_from(c: Commands, passes: Passes, low: int, past: int, phase: int) -> int:
    """Return the cycles of passes `low` to `past` when they start `phase` after a refresh."""
    window, half = c.refi // c.ranks, c.precharges // c.ranks
    state = (phase, 0, True, False)
    for p in range(low, past):
        row = passes[p]
        tiles, full, rest = row[TILES], row[ROWS], row[REST_MACS]
        whole = _costs(c, row[MACS], row[COMMANDS])
        part = _costs(c, rest, row[REST_COMMANDS])
        for _ in range(row[REPEAT]):
            for _ in range(row[LOADS]):
                t, begun, fresh, vector_row_open = state
                if _load_cycles(c, fresh, vector_row_open)[0] >= window - t:
                    t, begun, fresh, vector_row_open = 0, begun + 1, True, False
                t += _load_cycles(c, fresh, vector_row_open)[1]
                state = (t, begun, fresh, True)
            if rest == 0:
                state = _visits(c, window, half, state, tiles * full, whole)
            elif full == 0:
                state = _visits(c, window, half, state, tiles, part)
            else:
                for _ in range(tiles):
                    state = _visits(c, window, half, state, full, whole)
                    state = _visits(c, window, half, state, 1, part)
    return state[1] * window + state[0] - phase


@kernel
def slack_cycles(c: Commands, passes: Passes) -> float:
    """Return the cycles of all passes under the refresh-slack rule.

    Notes
    -----
    A load or visit starts only if the controller's estimate of it fits before the next refresh
    of either rank, which comes every REFI / ranks; what is left of the window is lost.  The mean
    over `PHASES` starts within the window, because what ran before is not known.

    References
    ----------
    Heo et al., NeuPIMs, ASPLOS 2024; NewtonSim ``neupims_command_queue.cc``.
    """
    return _mean_from(c, passes, 0, passes.shape[0])


@kernel
def _mean_from(c: Commands, passes: Passes, low: int, past: int) -> float:
    window = c.refi // c.ranks
    total = 0
    for i in range(PHASES):
        total += _slack_from(c, passes, low, past, (2 * i + 1) * window // (2 * PHASES))
    return total / PHASES


@kernel
def queues_cycles(c: Commands, passes: Passes, first: Passes) -> Cycles:
    """Return `slack_cycles` of several queues at once.

    Parameters
    ----------
    c : Commands
    passes : ndarray of int64
        Passes of all queues, one queue after the other.
    first : ndarray of int64, shape (queues + 1,)
        Where each queue begins, and the end.
    """
    found = np.zeros(first.shape[0] - 1)
    for q in range(found.shape[0]):
        found[q] = _mean_from(c, passes, first[q], first[q + 1])
    return found
