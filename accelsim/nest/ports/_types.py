"""The parts of an array of ported memories, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["HIDING", "LINKS", "Hiding", "Link", "Port", "PortedArray", "PortedMemory"]

Link = Literal["read_down", "write_up", "read_up", "write_down"]
Hiding = Literal["longest_first", "alike", "none"]

LINKS: Final[tuple[Link, ...]] = ("read_down", "write_up", "read_up", "write_down")
"""Read for the level inside, written by it, read for the level outside, written by it."""

HIDING: Final[tuple[Hiding, ...]] = ("longest_first", "alike", "none")


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a memory.

    Attributes
    ----------
    bits_per_cycle : int
        At most; one access of this width costs the memory's energy.
    least_bits : int
        Of an access; narrower ones cost as much.
    serves : tuple of (str, Link)
        Tensors and their transfers.
    """

    bits_per_cycle: int
    least_bits: int
    serves: tuple[tuple[str, Link], ...]


@dataclass(frozen=True, slots=True)
class PortedMemory:
    """A memory of an array.

    Attributes
    ----------
    name : str
    capacity_bits : int
        Of one unit, shared by its tensors.
    tensors : tuple of str
        That it holds.
    ports : tuple of Port
    read_pj, write_pj : float
        Of an access of the full width.
    spans : frozenset of str
        Dims of the array that one unit serves; there is one for each step along all others.
    """

    name: str
    capacity_bits: int
    tensors: tuple[str, ...]
    ports: tuple[Port, ...]
    read_pj: float
    write_pj: float
    spans: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PortedArray:
    """An array of multiply-accumulate units and its memories.

    Attributes
    ----------
    dims : mapping of str to int
        Units along each dim.
    memories : tuple of PortedMemory
        Each tensor's from the innermost to the outermost.
    mac_pj : float
        Of one multiply-accumulate.
    systolic : frozenset of str
        Dims along which results move a unit per cycle, so that the last ones come late.
    """

    dims: Mapping[str, int]
    memories: tuple[PortedMemory, ...]
    mac_pj: float
    systolic: frozenset[str] = frozenset()
