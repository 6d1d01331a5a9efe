"""Graphs of the workload library as this package carries them: operators, sizes, counts.

`accelsim measure models --write-graphs` writes the file from the library; a machine that measures
needs only the file.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from accelsim.errors import ConfigError, Location, UnknownNameError

__all__ = ["FILE", "SCHEMA", "Block", "Graph", "Operator", "Tensor", "load", "named"]

FILE: Final = Path(__file__).with_name("graphs.json.gz")
"""The exported graphs."""

SCHEMA: Final = "accelsim-measured-graphs/1"

_BITS: Final = {"fp64": 64, "fp32": 32, "tf32": 32, "int64": 64, "int32": 32, "int8": 8, "fp8": 8}


@dataclass(frozen=True)
class Tensor:
    """Shape, number format and role (weight, activation, kv_cache, state) of a tensor."""

    shape: tuple[int, ...]
    dtype: str
    role: str

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits of an element."""
        return _BITS.get(self.dtype, 16)


@dataclass(frozen=True)
class Operator:
    """One operator, as `accelsim.workload.graph.Operator` has it."""

    name: str
    kind: str
    dims: Mapping[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """A body that repeats `count` times; figures are of one repetition.

    Parameters
    ----------
    flops : float
        Twice the multiply-accumulates, plus vector operations.
    bytes_min : float
        Weights, caches and states read and written; activations may stay on chip.
    """

    name: str
    count: int
    operators: tuple[Operator, ...]
    tensors: Mapping[str, Tensor]
    carry: Mapping[str, str]
    shared: tuple[str, ...]
    flops: float
    bytes_min: float

    @property
    def held_bytes(self) -> float:
        """Bytes of all tensors of one repetition, activations included."""
        return sum(t.elements * t.bits / 8 for t in self.tensors.values())

    @property
    def has_experts(self) -> bool:
        """Whether a product is spread over experts."""
        return any("experts" in operator.dims for operator in self.operators)


@dataclass(frozen=True)
class Graph:
    """One pass of a model, and a small twin of it that checks the results."""

    name: str
    dtype: str
    batch: int
    blocks: tuple[Block, ...]
    check_batch: int
    check: tuple[Block, ...]


def _block(data: Mapping[str, Any]) -> Block:
    return Block(
        data["name"], data["count"],
        tuple(
            Operator(name, kind, dims, tuple(inputs), tuple(outputs), attributes)
            for name, kind, dims, inputs, outputs, attributes in data["operators"]
        ),
        {name: Tensor(tuple(shape), *rest) for name, (shape, *rest) in data["tensors"].items()},
        data["carry"], tuple(data["shared"]), data["flops"], data["bytes_min"],
    )  # fmt: skip


@cache
def load(path: Path = FILE) -> Mapping[str, Graph]:
    """Return the exported graphs by name.

    Raises
    ------
    ConfigError
        If the file is missing, damaged or of another format.
    """
    try:
        data = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError) as error:
        raise ConfigError(
            f"cannot be read: {error}", Location(str(path)),
            hint="write it with `accelsim measure models --write-graphs`",
        ) from None  # fmt: skip
    if data.get("schema") != SCHEMA:
        raise ConfigError(f"not of format {SCHEMA}", Location(str(path)))
    return {
        one["name"]: Graph(
            one["name"], one["dtype"], one["batch"], tuple(map(_block, one["blocks"])),
            one["check_batch"], tuple(map(_block, one["check"])),
        )
        for one in data["graphs"]
    }  # fmt: skip


def named(name: str) -> Graph:
    """Return the graph of a name.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    found = load()
    if name not in found:
        raise UnknownNameError("exported graph", name, found)
    return found[name]
