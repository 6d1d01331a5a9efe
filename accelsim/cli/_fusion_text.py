"""A fused cascade for people and for scripts: shared loops, who stands where, what stays."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from accelsim.cli._numbers import count, si
from accelsim.cli._output import table
from accelsim.errors import bytes_text

if TYPE_CHECKING:
    from accelsim.nest.fuse import FusedDevice, FusedGroup, FusedStatement, Fusion

__all__ = ["Ran", "comparison", "groups_text", "plain"]

_INDENT = "  "


@dataclass(frozen=True, slots=True)
class Ran:
    """What a policy came to, and the seconds that it took to find."""

    policy: str
    device: FusedDevice
    found: Fusion
    seconds: float

    @property
    def needed_bits(self) -> float:
        """The most that the fusing memory holds at a time."""
        return max(group.needed_bits for group in self.found.groups)


def comparison(runs: Sequence[Ran]) -> Any:
    """Return a table of several policies."""
    rows = [
        [
            one.policy, si(one.found.energy_pj * 1e-12, "J"), si(one.found.latency_s, "s"),
            si(one.found.moved_bits / 8, "B"), str(len(one.found.groups)),
            bytes_text(one.needed_bits / 8), _gap(one.found.gap), f"{one.seconds:.2f} s",
        ]
        for one in runs
    ]  # fmt: skip
    outermost, memory = runs[0].device.outermost.name, runs[0].device.memory
    columns = [
        ("policy", "<"), ("energy", ">"), ("latency", ">"), (outermost, ">"), ("groups", ">"),
        (memory, ">"), ("gap", ">"), ("found in", ">"),
    ]  # fmt: skip
    return table(columns, [("", rows)])


def _gap(gap: float) -> str:
    return "best" if gap == 0 else f"{gap:.1%}" if gap >= 0.0005 else "<0.1%"


def groups_text(one: Ran) -> str:
    """Return the groups of a policy: loops, statements inside them, and what stays."""
    lines = [one.policy]
    total = len(one.found.groups)
    for number, group in enumerate(one.found.groups, 1):
        seconds = group.cycles / one.device.frequency_hz
        lines.append(
            f"{_INDENT}group {number} of {total}: {si(group.energy_pj * 1e-12, 'J')},"
            f" {si(seconds, 's')}, {si(group.moved_bits / 8, 'B')} at"
            f" {one.device.outermost.name}, {bytes_text(group.needed_bits / 8)} of"
            f" {one.device.memory}"
        )
        lines += [2 * _INDENT + line for line in _tree(group, list(group.statements), 0)]
        lines += [2 * _INDENT + line for line in _stays(group)]
    return "\n".join(lines) + "\n"


def _tree(group: FusedGroup, ran: list[FusedStatement], level: int) -> Iterator[str]:
    """Yield the shared loops from a level inwards, each around its statements."""
    for inside, part in itertools.groupby(ran, key=lambda one: one.depth > level):
        if inside:
            loop = group.loops[level]
            yield f"for {loop.dim} in {loop.trips} tiles of {loop.tile}:"
            yield from (_INDENT + line for line in _tree(group, list(part), level + 1))
            continue
        for one in part:
            read, written = one.outside_bits
            crosses = [f"reads {si(read / 8, 'B')}"] if read else []
            crosses += [f"writes {si(written / 8, 'B')}"] if written else []
            where = f", {' and '.join(crosses)} outside" if crosses else ", all on chip"
            cycles, energy = count(round(one.cycles)), si(one.energy_pj * 1e-12, "J")
            yield f"{one.name}: {cycles} cycles, {energy}{where}"


def _stays(group: FusedGroup) -> Iterator[str]:
    names = group.names
    for one in group.residents:
        crosses = [f"loads {si(one.loads / 8, 'B')}"] if one.loads else []
        crosses += [f"stores {si(one.stores / 8, 'B')}"] if one.stores else []
        moved = f"; {', '.join(crosses)}" if crosses else ""
        until = f"{names[one.first]} to {names[one.last]}"
        yield f"stays: {one.tensor}, {bytes_text(one.bits / 8)}, {until}{moved}"


def plain(one: Ran) -> dict[str, Any]:
    """Return the same for scripts; sizes in bits."""
    found = one.found
    return {
        "policy": one.policy, "memory": one.device.memory, "energy_pj": found.energy_pj,
        "latency_s": found.latency_s, "moved_bits": found.moved_bits,
        "needed_bits": one.needed_bits, "bound": found.bound, "gap": found.gap,
        "tried": found.tried, "searched": found.searched, "seconds": one.seconds,
        "groups": [_group(group) for group in found.groups],
    }  # fmt: skip


def _group(group: FusedGroup) -> dict[str, Any]:
    return {
        "loops": [asdict(loop) for loop in group.loops],
        "energy_pj": group.energy_pj, "cycles": group.cycles, "moved_bits": group.moved_bits,
        "needed_bits": group.needed_bits, "bound": group.bound,
        "statements": [
            {
                "name": one.name, "depth": one.depth, "iterations": one.iterations,
                "cycles": one.cycles, "energy_pj": one.energy_pj,
                "outside_read_bits": one.outside_bits[0],
                "outside_written_bits": one.outside_bits[1], "tile_bits": one.tile_bits,
                "loops": [dict(level) for level in one.nest.loops],
            }
            for one in group.statements
        ],
        "residents": [asdict(one) for one in group.residents],
    }  # fmt: skip
