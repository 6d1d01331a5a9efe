"""Links between devices: collectives as steps of a start, a latency and a transfer.

A communication library has several protocols, some for short messages and some for long ones; the
fastest for the message is taken, as the library does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import BytesPerSecond, Fraction, PicojoulesPerBit, Seconds, Spec
from accelsim.cost._component import Link, to_ps
from accelsim.errors import UnknownNameError

__all__ = ["COMPONENT", "PATTERNS", "AlphaBetaLink", "Protocol"]


def _every_part(devices: int) -> float:
    return (devices - 1) / devices


def _ring_hops(devices: int) -> float:
    """Return the parts that cross a device's links when all exchange over a two-way ring."""
    return (devices * devices // 4) / devices


Pattern = Literal[
    "all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast", "transfer"
]

PATTERNS: Final[Mapping[str, tuple[Callable[[int], int], Callable[[int], float]]]] = {
    "all_reduce": (lambda p: 2 * (p - 1), lambda p: 2 * _every_part(p)),
    "reduce_scatter": (lambda p: p - 1, _every_part),
    "all_gather": (lambda p: p - 1, _every_part),
    "all_to_all": (lambda p: p - 1, _every_part),
    "broadcast": (lambda p: p - 1, lambda p: 1.0),
    "transfer": (lambda p: 1, lambda p: 1.0),
}
"""Pattern -> steps of the ring algorithm, and parts of the whole array that one device sends."""


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


class AlphaBetaLink(Link):
    """A link whose messages cost a latency per step and a time per byte.

    Notes
    -----
    With P devices, an array of S bytes and bandwidth B per direction and device, a ring
    all-reduce takes start + 2 (P - 1) (alpha + S / (P B)), its halves (all-gather, reduce-
    scatter) half of that; a transfer is one step.  The direct algorithm sends to all at once, so
    that each half is one step.

    Validated on measured A100 all-reduces of two campaigns that its parameters have not seen; see
    ``tests/cost/test_link.py`` for the errors.

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
    algorithm: Literal["ring", "direct"] = "ring"
    """Whether parts go round by neighbours, or straight to every device at once."""
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
        if self.algorithm == "direct" and self.topology == "ring":
            raise PydanticCustomError(
                "topology", "`algorithm: direct` needs `topology: fully_connected`"
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
        steps, parts = self._shape(pattern, devices)
        if devices < 2 or not size_bytes:
            return 0
        full_s = size_bytes * parts / self.bandwidth_bytes_per_s
        return to_ps(
            min(
                p.start_s + steps * p.latency_s + full_s / p.efficiency
                for p in self.protocols
                if not p.patterns or pattern in p.patterns
            )
        )

    def collective_bytes(self, pattern: str, size_bytes: int, devices: int) -> int:
        """Return the bytes that one device sends during the collective."""
        _, parts = self._shape(pattern, devices)
        return -(-int(size_bytes * round(parts * devices)) // devices) if devices > 1 else 0

    def energy_pj(self, size_bytes: int) -> float:
        """Return the energy of sending `size_bytes` over one link."""
        return size_bytes * 8 * self.energy_pj_per_bit

    def _shape(self, pattern: str, devices: int) -> tuple[int, float]:
        """Return the steps of a collective and the parts of the array that a device sends."""
        if pattern not in PATTERNS:
            raise UnknownNameError("pattern", pattern, PATTERNS)
        if devices < 2:
            return 0, 0.0
        steps, parts = PATTERNS[pattern][0](devices), PATTERNS[pattern][1](devices)
        if pattern == "all_to_all" and self.topology == "ring":
            parts = _ring_hops(devices)
        if self.algorithm == "direct" and pattern != "transfer":
            steps = 2 if pattern == "all_reduce" else 1
        return steps, parts


COMPONENT = AlphaBetaLink
