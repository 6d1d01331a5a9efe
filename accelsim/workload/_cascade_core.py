"""The values of a cascade: Einsums over named ranks, the tensors between them, and their sizes.

They are frozen and know neither files nor hardware, so that mapping, pass analysis and pictures
read one and the same description.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from accelsim.errors import GraphError
from accelsim.workload.families._einsum_text import Call, Index, Reference, Statement
from accelsim.workload.frozen import EMPTY, FrozenMap
from accelsim.workload.tensor import Role, packed_bytes

__all__ = [
    "MOVES",
    "REDUCTIONS",
    "Cascade",
    "CascadeTensor",
    "Einsum",
    "Index",
    "Reference",
    "einsum_of",
]

REDUCTIONS: Final = ("sum", "max", "mean")
"""Functions that, of one operand, combine its points over the ranks that the result lacks."""

MOVES: Final = frozenset({"copy", "view", "gather"})
"""Operations that move data and compute nothing."""


@dataclass(frozen=True, slots=True)
class CascadeTensor:
    """A tensor of a cascade.

    Parameters
    ----------
    name : str
        Unique in the cascade.
    ranks : tuple of str
        The rank of each dimension where the tensor is made, or first read; empty text where the
        index is an affine sum or one coordinate.
    shape : tuple of int
        Elements along each dimension; of a running tensor its initial value is left out.
    role : Role
        What it is to the memory system.
    dtype : str
        Number format.
    kind : {"input", "between", "output"}
        Whether it comes from outside, stays inside, or leaves.
    running : str
        The rank along which it is made from one step to the next; empty if none.
    """

    name: str
    ranks: tuple[str, ...]
    shape: tuple[int, ...]
    role: Role
    dtype: str
    kind: Literal["input", "between", "output"]
    running: str = ""

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of the packed array."""
        return packed_bytes(self.elements, self.dtype)


@dataclass(frozen=True, slots=True)
class Einsum:
    """One statement: at each point of an iteration space, operations on operands to a result.

    Parameters
    ----------
    name : str
        Unique in the cascade; the result's unless the file says otherwise.
    made : Reference
        Result with its indices.
    operands : tuple of Reference
        What is read, each access once, in the order in which it is written.
    operations : tuple of str
        What one point of the iteration space takes, in order: ``mac`` (a product that is summed),
        ``mul``, ``add``, ``sub``, ``max``, ``div``, ``exp``, ..., or one of `MOVES`.
    reduction : str
        How points with the same result are combined: ``sum``, ``max``, ``mean``; empty if each
        has a result of its own.  The division of a mean, once per result, is neglected.
    times : int
        How often the statement runs, with data of its own each time.
    label : str
        Class of the operator in counts.
    """

    name: str
    made: Reference
    operands: tuple[Reference, ...]
    operations: tuple[str, ...]
    reduction: str = ""
    times: int = 1
    label: str = ""

    @property
    def ranks(self) -> tuple[str, ...]:
        """The iteration space: ranks of the result, then those that are reduced."""
        every = [*self.made.ranks, *(rank for one in self.operands for rank in one.ranks)]
        return tuple(dict.fromkeys(every))

    @property
    def reduced(self) -> tuple[str, ...]:
        """Ranks of the iteration space that the result lacks."""
        return tuple(rank for rank in self.ranks if rank not in self.made.ranks)

    @property
    def running(self) -> str:
        """The rank along which the result is made step by step; empty if none."""
        return self.made.running

    def points(self, sizes: Mapping[str, int]) -> int:
        """Return the points of the iteration space, over all repetitions."""
        return math.prod(sizes[rank] for rank in self.ranks) * self.times


@dataclass(frozen=True, slots=True)
class Cascade:
    """Einsums in order of execution, their tensors and the sizes of their ranks.

    Parameters
    ----------
    name : str
        Of the cascade.
    sizes : mapping of str to int
        Rank -> size.
    einsums : tuple of Einsum
        In order of execution.
    tensors : mapping of str to CascadeTensor
        Every tensor that an Einsum names.
    partitions : mapping of str to tuple of str
        Rank -> the ranks that it is divided into, the outermost first.
    """

    name: str
    sizes: Mapping[str, int]
    einsums: tuple[Einsum, ...]
    tensors: Mapping[str, CascadeTensor]
    partitions: Mapping[str, tuple[str, ...]] = EMPTY

    def __post_init__(self) -> None:
        for field in ("sizes", "tensors", "partitions"):
            object.__setattr__(self, field, FrozenMap(getattr(self, field)))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that come from outside."""
        return tuple(name for name, one in self.tensors.items() if one.kind == "input")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tensors that leave."""
        return tuple(name for name, one in self.tensors.items() if one.kind == "output")

    def einsum(self, name: str) -> Einsum:
        """Return an Einsum by its name.

        Raises
        ------
        GraphError
            If there is none; names those there are.
        """
        for one in self.einsums:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.einsums)
        raise GraphError(f"cascade `{self.name}` has no Einsum `{name}`; it has {known}")

    def maker(self, tensor: str) -> Einsum | None:
        """Return the Einsum that makes a tensor; None for an input."""
        return next((one for one in self.einsums if one.made.tensor == tensor), None)

    def readers(self, tensor: str) -> tuple[Einsum, ...]:
        """Return the Einsums that read a tensor, in order."""
        return tuple(e for e in self.einsums if any(o.tensor == tensor for o in e.operands))

    def points(self, name: str) -> int:
        """Return the points of the iteration space of an Einsum."""
        return self.einsum(name).points(self.sizes)

    def part(self, names: Collection[str]) -> Cascade:
        """Return the cascade of some of the Einsums, as a group that is fused.

        What they read of others comes from outside, what others read of them leaves.

        Raises
        ------
        GraphError
            If there is no Einsum of such a name.
        """
        chosen = tuple(self.einsum(name) for name in names)
        inside = tuple(one for one in self.einsums if one in chosen)
        made = {one.made.tensor for one in inside}
        others = [one for one in self.einsums if one not in chosen]
        leave = {o.tensor for one in others for o in one.operands} | set(self.outputs)
        tensors = {}
        for one in inside:
            for name in (*(o.tensor for o in one.operands), one.made.tensor):
                kind: Literal["input", "between", "output"] = (
                    "input" if name not in made else "output" if name in leave else "between"
                )
                tensors[name] = replace(self.tensors[name], kind=kind)
        ranks = {rank for one in inside for rank in one.ranks}
        sizes = {rank: size for rank, size in self.sizes.items() if rank in ranks}
        parts = {rank: p for rank, p in self.partitions.items() if ranks.issuperset(p)}
        return Cascade(self.name, sizes, inside, tensors, parts)

    def operations(self) -> dict[str, int]:
        """Return operation -> how often it runs, over all Einsums; movements left out."""
        found: dict[str, int] = {}
        for one in self.einsums:
            for operation in one.operations:
                if operation not in MOVES:
                    found[operation] = found.get(operation, 0) + one.points(self.sizes)
        return found


# ---------------------------------------------------------------- from a statement


def einsum_of(statement: Statement, name: str = "", times: int = 1, label: str = "") -> Einsum:
    """Return the Einsum of a parsed statement.

    Raises
    ------
    GraphError
        If an operand of an elementwise function has a rank that the result has not.
    """
    made, body = statement.made, statement.body
    operands = tuple(dict.fromkeys(statement.operands))
    ranks = {rank for one in operands for rank in one.ranks}
    gone = sorted(ranks - set(made.ranks))
    reduction = _reduction(body) if gone else ""
    if gone and not reduction and body.function not in MOVES:
        raise GraphError(
            f"`{made}`: operands of `{body.function}` have the rank `{gone[0]}`, the result has"
            f" not; only {', '.join(REDUCTIONS)} and products combine over a rank"
        )
    operations = tuple(_operations(body, bool(gone)))
    return Einsum(name or made.tensor, made, operands, operations, reduction, times, label)


def _reduction(body: Call) -> str:
    if body.function == "*":
        return "sum"
    single = len(body.arguments) == 1
    return body.function if single and body.function in REDUCTIONS else ""


def _operations(body: Call, reduces: bool) -> Iterable[str]:
    """Yield what one point takes; the product of a sum of products is its ``mac``."""
    function, terms = body.function, len(body.arguments)
    inner = body.arguments[0]
    if function in ("sum", "mean") and isinstance(inner, Call) and inner.function == "*":
        yield from _operations(inner, reduces)
        return
    for one in body.arguments:
        if isinstance(one, Call):
            yield from _operations(one, reduces=False)
    if function == "*":
        yield from ["mul"] * (terms - 2)
        yield "mac" if reduces else "mul"
    elif function in REDUCTIONS and terms == 1:
        if reduces:
            yield "max" if function == "max" else "add"
        elif isinstance(inner, Reference):
            yield "copy"
    elif function in ("+", "max"):
        yield from ["add" if function == "+" else "max"] * (terms - 1)
    else:
        yield function
