"""The closed form of the event view where no port serves two streams: which chain is longest.

Each double buffered level is as long as its slowest chain (the units, one port inwards, one port
outwards), from the first tile that must come before to the last that must come after.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.lower._nest_streams import Level, Streams, TileStream

__all__ = ["chain_cycles"]


def chain_cycles(streams: Streams) -> float:
    """Return the cycles of a nest, level by level from the innermost outwards.

    Parameters
    ----------
    streams : Streams

    Notes
    -----
    The units take C cycles: of their steps, or of the busiest port that serves them if longer.
    With a_t cycles of all loads of a tensor t in n_t tiles, b of all drains in n_b, N tiles of the
    level and a wave of w cycles, a single buffered level takes C + sum(a) + b + N w.

    A double buffered one comes to rest R times: once at the end, or with every tile of a single
    buffered level outside it.  Tensor t then loads r_t <= R of its tiles with nothing to hide
    them, the result drains R.  With ``first = sum(r_t a_t / n_t)`` and ``last = R b / n_b``, it
    takes R w more than the longest of

    - ``first + C + last``: units;
    - ``sum(a) + max(r) C / N + last``: all loads, then the last tile is worked on;
    - ``a_t + r_t C / n_t + last``: the same of a tensor whose tiles last longer;
    - ``first + R C / n_b + b``: the first result is made, then all drain;
    - for a port that serves loads and drains, both on it and C / N.

    Never less than what the busiest port is asked for.
    """
    operands, ports = _by_port(streams.operands), _by_port((*streams.tiles, *streams.operands))
    cycles = max([streams.steps * streams.step_cycles, *operands.values()])
    for i in range(len(streams.levels) - 1, -1, -1):
        level = streams.levels[i]
        mine = [s for s in streams.tiles if s.node == level.node and s.lanes]
        if level.buffers == 1:
            cycles += sum(map(_all_tiles, mine)) + level.tiles * level.skew
        else:
            single = [outer for outer in streams.levels[:i] if outer.buffers == 1]
            cycles = _longest(streams, level, mine, single, cycles)
    return max([cycles, *ports.values()])


def _by_port(streams: Sequence[TileStream]) -> dict[int, float]:
    found: dict[int, float] = defaultdict(float)
    for stream in streams:
        for lane in stream.lanes:
            found[lane.resource] += lane.cycles
    return found


def _all_tiles(stream: TileStream) -> float:
    return max(lane.cycles for lane in stream.lanes)


@dataclass(frozen=True, slots=True)
class _Part:
    """A stream of one level: cycles of all tiles, tiles, and how many nothing hides."""

    cycles: float
    tiles: int
    seen: int
    outwards: bool


def _longest(
    streams: Streams, level: Level, mine: Sequence[TileStream], single: Sequence[Level],
    cycles: float,
) -> float:  # fmt: skip
    """Return the cycles of a double buffered level around an inside of so many."""
    held = {(s.node, s.tensor): s.tiles for s in streams.tiles if not s.outwards}
    rests = min(level.tiles, max((outer.tiles for outer in single), default=1))

    def seen(stream: TileStream) -> int:
        fed = max((held.get((one.node, stream.tensor), 1) for one in single), default=1)
        return min(stream.tiles, rests if stream.outwards else fed)

    parts = [_Part(_all_tiles(s), s.tiles, seen(s), s.outwards) for s in mine]
    loads = [part for part in parts if not part.outwards]
    first = sum(part.seen * part.cycles / part.tiles for part in loads)
    last = sum(part.seen * part.cycles / part.tiles for part in parts if part.outwards)
    most = max((part.seen for part in loads), default=1)
    chains = [
        first + cycles + last,
        sum(part.cycles for part in loads) + most * cycles / level.tiles + last,
    ]
    for part in parts:
        rest = first if part.outwards else last
        chains.append(part.cycles + part.seen * cycles / part.tiles + rest)
    both = _by_port([s for s in mine if s.outwards]).keys() & _by_port(
        [s for s in mine if not s.outwards]
    )
    on_ports = _by_port(mine)
    chains += [on_ports[port] + cycles / level.tiles for port in both]
    return rests * level.skew + max(chains)
