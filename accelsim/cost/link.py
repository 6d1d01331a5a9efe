"""Links between devices: collectives as steps of a start, a latency and a transfer.

A communication library has several protocols, some for short messages and some for long ones; the
fastest for the message is taken, as the library does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil, log2
from typing import Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import BytesPerSecond, Count, Fraction, PicojoulesPerBit, Seconds, Spec
from accelsim.cost._component import Link, to_ps
from accelsim.errors import UnknownNameError

__all__ = ["COMPONENT", "PATTERNS", "AlphaBetaLink", "Between", "Course", "Protocol", "course"]


def _every_part(devices: int) -> float:
    return (devices - 1) / devices


def _ring_hops(devices: int) -> float:
    """Return the parts that cross a device's links when all exchange over a two-way ring."""
    return (devices * devices // 4) / devices


Pattern = Literal[
    "all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast", "transfer"
]
Algorithm = Literal["ring", "direct", "one_shot", "tree"]

PATTERNS: Final[Mapping[str, tuple[Callable[[int], int], Callable[[int], float]]]] = {
    "all_reduce": (lambda p: 2 * (p - 1), lambda p: 2 * _every_part(p)),
    "reduce_scatter": (lambda p: p - 1, _every_part),
    "all_gather": (lambda p: p - 1, _every_part),
    "all_to_all": (lambda p: p - 1, _every_part),
    "broadcast": (lambda p: p - 1, lambda p: 1.0),
    "transfer": (lambda p: 1, lambda p: 1.0),
}
"""Pattern -> steps of the ring algorithm, and parts of the whole array that one device sends."""

_OWN_PART: Final = frozenset({"all_reduce", "reduce_scatter", "all_gather", "all_to_all"})
_PASSES: Final[Mapping[str, int]] = {"all_reduce": 2}  # reduce and then gather; others go once


@dataclass(frozen=True, slots=True)
class Course:
    """How a collective runs: what one device does.

    Attributes
    ----------
    steps : int
        Messages one after the other, those between groups included.
    crossings : int
        Of those, the messages from one group of devices to another.
    sent : float
        Parts of the whole array that a device sends.
    crossed : float
        Parts of the whole array that leave a group of devices, over all its members.
    own : float
        Part of the whole array that a device moves within itself.
    """

    steps: int
    crossings: int
    sent: float
    crossed: float
    own: float


def course(
    pattern: str, devices: int, algorithm: Algorithm = "ring", group_devices: int | None = None
) -> Course:
    """Return what one of `devices` devices does during a collective.

    Parameters
    ----------
    pattern : str
        One of `PATTERNS`.
    devices : int
        Devices that take part, at least 2.
    algorithm : {"ring", "direct", "one_shot", "tree"}
        See `AlphaBetaLink`.
    group_devices : int, optional
        Devices that are joined more closely than others: those of a node, a bridge, a switch.

    Examples
    --------
    >>> course("all_reduce", 16, "ring", 8)
    Course(steps=30, crossings=2, sent=1.875, crossed=1.875, own=0.0625)
    """
    groups = ceil(devices / (group_devices or devices))
    members = ceil(devices / groups)
    passes, steps = _PASSES.get(pattern, 1), PATTERNS[pattern][0](devices)
    sent = crossed = PATTERNS[pattern][1](devices)
    crossings = passes * (groups - 1) if pattern != "transfer" else min(groups - 1, 1)
    if algorithm == "one_shot" and pattern == "all_reduce":
        passes, sent = 1, float(devices - 1)
    if algorithm == "tree" and pattern == "all_reduce":
        crossings = passes * ceil(log2(groups))
        steps, sent, crossed = passes * (members - 1) + crossings, 2.0, 2.0
    elif algorithm in ("direct", "one_shot") and pattern != "transfer":
        steps, crossings = passes, min(passes, groups - 1)
        crossed = sent * members * (devices - members) / (devices - 1)
    if groups == 1:
        crossed = 0.0
    return Course(steps, crossings, sent, crossed, 1 / devices if pattern in _OWN_PART else 0.0)


class Protocol(Spec):
    """One way in which the library sends messages."""

    start_s: Seconds
    """Time of a collective that neither size nor devices change: launch, handshake, pipeline."""
    latency_s: Seconds
    """Latency of each step (alpha)."""
    efficiency: Fraction = 1.0
    """Part of the link's bandwidth that carries payload."""
    patterns: tuple[Pattern, ...] = ()
    """Patterns that it serves; all where absent."""
    algorithm: Algorithm | None = None
    """Algorithm, where it is another than the link's."""

    def serves(self, pattern: str) -> bool:
        """Return whether the protocol is there for a pattern."""
        return not self.patterns or pattern in self.patterns


class Between(Spec):
    """What joins groups of devices: the network between nodes, the host between pairs of cards."""

    group_devices: Count
    """Devices of a group, joined by the link itself."""
    bandwidth_bytes_per_s: BytesPerSecond
    """Bandwidth out of one group, in one direction, over all its ports."""
    efficiency: Fraction = 1.0
    """Part of it that carries payload in the pattern's most efficient protocol; less in others."""
    latency_s: Seconds = 0.0
    """What a step from group to group takes longer than one within a group."""
    source: str | dict[str, str] = ""
    """Where these figures come from; that of the link where absent."""


class AlphaBetaLink(Link):
    """A link whose messages cost a latency per step and a time per byte.

    Notes
    -----
    With P devices, an array of S bytes and bandwidth B per direction and device, a ring
    all-reduce takes start + 2 (P - 1) (alpha + S / (P B)), its halves (all-gather, reduce-
    scatter) half of that; a transfer is one step.  Of the other algorithms, `direct` sends to all
    at once, so that each half is one step; `one_shot` lets every device read the whole arrays of
    all others and reduce alone, one step for an all-reduce of short messages; `tree` goes from
    group to group in log2 steps.  With L = `local_bytes_per_s` each device's own part costs
    S / (P L): it passes through the library's buffers and not through the link.

    Where devices form groups (`between`), the slower of a device's link and a group's way out
    bounds the transfer, and the steps from group to group take longer.

    ``python -m accelsim.measure.collectives`` fits the figures; errors of the shipped links are
    in ``reports/calibration/collectives.md`` and ``tests/cost/test_link.py``.

    References
    ----------
    Thakur, Rabenseifner, Gropp, Optimization of collective communication operations in MPICH,
    2005; NVIDIA NCCL, ``src/graph/tuning.cc``.
    """

    kind: Literal["link"] = "link"
    bandwidth_bytes_per_s: BytesPerSecond
    """Raw bandwidth of one device in one direction, over all its lanes."""
    protocols: tuple[Protocol, ...] = Field(min_length=1)
    """Protocols of the library; the fastest for a message is taken."""
    topology: Literal["ring", "fully_connected"] = "fully_connected"
    """What is joined: neighbours, or every pair (also through a switch)."""
    algorithm: Algorithm = "ring"
    """How parts go round: by neighbours, straight to every device at once, ..."""
    local_bytes_per_s: BytesPerSecond | None = None
    """Rate at which a device moves its own part; endless where absent."""
    between: Between | None = None
    """What joins groups of devices, where not all are joined alike."""
    energy_pj_per_bit: PicojoulesPerBit
    """Energy of a bit sent, both ends."""

    @model_validator(mode="after")
    def _serves_every_pattern(self) -> AlphaBetaLink:
        served = {name for p in self.protocols for name in p.patterns or PATTERNS}
        if absent := sorted(set(PATTERNS) - served):
            raise PydanticCustomError(
                "patterns", "no protocol serves {absent}", {"absent": ", ".join(absent)}
            )
        return self

    @model_validator(mode="after")
    def _direct_needs_pairs(self) -> AlphaBetaLink:
        used = {self.algorithm, *(p.algorithm for p in self.protocols)} & {"direct", "one_shot"}
        if used and self.topology == "ring":
            raise PydanticCustomError(
                "topology",
                "`algorithm: {used}` needs `topology: fully_connected`",
                {"used": ", ".join(sorted(str(name) for name in used))},
            )
        return self

    @model_validator(mode="after")
    def _own_part_is_no_bottleneck(self) -> AlphaBetaLink:
        if self.local_bytes_per_s is not None and self.local_bytes_per_s < max(
            p.efficiency * self.bandwidth_bytes_per_s for p in self.protocols
        ):
            raise PydanticCustomError(
                "local", "`local_bytes_per_s` must not be below what the link carries"
            )
        return self

    def collective_ps(self, pattern: str, size_bytes: int, devices: int) -> int:
        """Return the time of a collective over an array of `size_bytes`, in ps.

        Parameters
        ----------
        pattern : str
            One of `PATTERNS`.
        size_bytes : int
            Whole array: what every device holds after an all-gather or all-reduce, and before a
            reduce-scatter or all-to-all.
        devices : int
            Devices that take part.

        Examples
        --------
        >>> fast = Protocol(start_s=0, latency_s="1 us")
        >>> link = AlphaBetaLink(
        ...     source="-",
        ...     bandwidth_bytes_per_s="100 GB/s",
        ...     protocols=(fast,),
        ...     energy_pj_per_bit=1,
        ... )
        >>> link.collective_ps("all_reduce", 4_000_000, 4)  # 6 steps of 1 us + 10 us
        66000000
        """
        if pattern not in PATTERNS:
            raise UnknownNameError("pattern", pattern, PATTERNS)
        if devices < 2 or not size_bytes:
            return 0
        return to_ps(
            min(
                self._seconds(p, pattern, size_bytes, devices)
                for p in self.protocols
                if p.serves(pattern)
            )
        )

    def collective_bytes(self, pattern: str, size_bytes: int, devices: int) -> int:
        """Return the bytes that one device sends during the collective, by the link's algorithm.

        Protocols with an algorithm of their own may send more: `one_shot` does, of short messages.
        """
        if pattern not in PATTERNS:
            raise UnknownNameError("pattern", pattern, PATTERNS)
        if devices < 2:
            return 0
        sent = self._course(self.algorithm, pattern, devices).sent
        return -(-int(size_bytes * round(sent * devices)) // devices)

    def energy_pj(self, size_bytes: int) -> float:
        """Return the energy of sending `size_bytes` over one link."""
        return size_bytes * 8 * self.energy_pj_per_bit

    def _seconds(self, protocol: Protocol, pattern: str, size_bytes: int, devices: int) -> float:
        """Return the time of a collective in one of the protocols, in s."""
        way = self._course(protocol.algorithm or self.algorithm, pattern, devices)
        seconds = way.sent / self.bandwidth_bytes_per_s / protocol.efficiency
        latency_s = protocol.start_s + way.steps * protocol.latency_s
        if self.between is not None:
            latency_s += way.crossings * self.between.latency_s
            most = max(p.efficiency for p in self.protocols if p.serves(pattern))
            carried = self.between.efficiency * protocol.efficiency / most
            out_s = way.crossed / self.between.bandwidth_bytes_per_s / carried
            seconds = max(seconds, out_s)
        if self.local_bytes_per_s is not None:
            seconds += way.own / self.local_bytes_per_s
        return latency_s + size_bytes * seconds

    def _course(self, algorithm: Algorithm, pattern: str, devices: int) -> Course:
        """Return what one device does, on this link's topology and groups."""
        group = self.between.group_devices if self.between is not None else None
        way = course(pattern, devices, algorithm, group)
        if pattern == "all_to_all" and self.topology == "ring":
            return replace(way, sent=_ring_hops(devices))
        return way


COMPONENT = AlphaBetaLink
