"""What a file may say of an array with ported memories, and how to read it.

Such files stand among the components of the architecture library; `accelsim.nest.ports` prices
loop orders on what they describe.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Bytes, Count, Nonnegative, Spec, load_named
from accelsim.errors import MappingError, nearest
from accelsim.nest.ports import Hiding, Link, Port, PortedArray, PortedMemory

__all__ = ["MemorySpec", "PortSpec", "PortedArraySpec", "UnrolledSpec", "load_ported"]


class PortSpec(Spec):
    """A port of a memory."""

    bits_per_cycle: Count
    """Bits per cycle at most; one access of this width costs the memory's energy."""
    least_bits: Count | None = None
    """Bits of an access at least; as many as at most if left out."""
    serves: Annotated[dict[str, tuple[Link, ...]], Field(min_length=1)]
    """Tensor -> its transfers that take this port."""


class MemorySpec(Spec):
    """A memory of an array."""

    capacity: Bytes
    """What one unit holds of all its tensors."""
    tensors: Annotated[tuple[str, ...], Field(min_length=1)]
    """Tensors that it holds; of cuts that spare the same traffic, later ones get more."""
    read_pj: Nonnegative
    """Energy of reading the full width."""
    write_pj: Nonnegative
    """Energy of writing the full width."""
    spans: tuple[str, ...] = ()
    """Dims of the array that one unit serves; there is one for each step along the others."""
    ports: Annotated[tuple[PortSpec, ...], Field(min_length=1)]
    """Its ports."""

    @model_validator(mode="after")
    def _ports_serve_what_it_holds(self) -> Self:
        for port in self.ports:
            for name in port.serves:
                if name not in self.tensors:
                    raise PydanticCustomError(
                        "tensor",
                        "a port serves `{name}`, which the memory does not hold; {hint}",
                        {"name": name, "hint": nearest(name, self.tensors)},
                    )
        return self


class UnrolledSpec(Spec):
    """What is spread along a dim of the array."""

    dim: str
    """Dim of the problem."""
    units: Count
    """Units at most."""


class PortedArraySpec(Spec):
    """An array of multiply-accumulate units with memories for each tensor."""

    name: str
    """Short name."""
    source: str | dict[str, str]
    """Where the parameters come from."""
    dims: Annotated[dict[str, Count], Field(min_length=1)]
    """Dim of the array -> units along it."""
    mac_pj: Nonnegative
    """Energy of one multiply-accumulate."""
    systolic: tuple[str, ...] = ()
    """Dims along which results move a unit per cycle, so that the last ones come late."""
    hiding: Hiding = "longest_first"
    """Which first fills hide behind the computation."""
    memories: Annotated[dict[str, MemorySpec], Field(min_length=1)]
    """Memories by name, each tensor's from the innermost to the outermost."""
    unrolling: dict[str, dict[str, UnrolledSpec]] = Field(default_factory=dict)
    """Kind of operator -> dim of the array -> what is spread along it."""

    @model_validator(mode="after")
    def _dims_exist(self) -> Self:
        named = [*self.systolic, *(dim for m in self.memories.values() for dim in m.spans)]
        named += [dim for spread in self.unrolling.values() for dim in spread]
        for dim in named:
            if dim not in self.dims:
                raise PydanticCustomError(
                    "dim",
                    "no dim `{dim}` of the array; {hint}",
                    {"dim": dim, "hint": nearest(dim, self.dims)},
                )
        return self

    def array(self) -> PortedArray:
        """Return the array as a value."""
        memories = tuple(_memory(name, memory) for name, memory in self.memories.items())
        return PortedArray(self.dims, memories, self.mac_pj, frozenset(self.systolic))

    def unrolled(self, kind: str) -> dict[str, tuple[str, int]]:
        """Return what is spread along each dim of the array for a kind of operator.

        Raises
        ------
        MappingError
            If the file does not say.
        """
        if kind not in self.unrolling:
            raise MappingError(
                f"`{self.name}` does not say how to unroll `{kind}`; "
                f"{nearest(kind, self.unrolling)}"
            )
        return {side: (one.dim, one.units) for side, one in self.unrolling[kind].items()}


def load_ported(name: str | Path, overrides: Mapping[str, Any] | None = None) -> PortedArraySpec:
    """Return an array of the library of architectures, by name or by the path of a file.

    Raises
    ------
    ConfigError
        With file, line and field, what was found and what is legal.
    """
    return load_named(name, PortedArraySpec, "arch", overrides)


def _memory(name: str, memory: MemorySpec) -> PortedMemory:
    ports = tuple(
        Port(
            port.bits_per_cycle,
            port.bits_per_cycle if port.least_bits is None else port.least_bits,
            tuple((tensor, link) for tensor, links in port.serves.items() for link in links),
        )
        for port in memory.ports
    )
    return PortedMemory(
        name, round(memory.capacity * 8), memory.tensors, ports, memory.read_pj, memory.write_pj,
        frozenset(memory.spans),
    )  # fmt: skip
