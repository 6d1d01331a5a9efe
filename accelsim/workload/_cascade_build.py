"""Builds a cascade from parsed statements: which tensors there are, their shapes, and whose.

Statements come from a file of Einsums or from the operators of a workload; both end here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from accelsim.errors import GraphError
from accelsim.workload._cascade_core import Cascade, CascadeTensor, Einsum, Reference
from accelsim.workload.frozen import EMPTY
from accelsim.workload.tensor import Role

__all__ = ["Described", "assemble"]


@dataclass(frozen=True, slots=True)
class Described:
    """What the statements do not say of a tensor."""

    role: Role = Role.ACTIVATION
    dtype: str = ""
    shape: tuple[int, ...] | None = None


_PLAIN: Final = Described()


def assemble(
    name: str,
    einsums: Sequence[Einsum],
    sizes: Mapping[str, int],
    *,
    described: Mapping[str, Described] = EMPTY,
    dtypes: Mapping[Role, str],
    outputs: Iterable[str] = (),
    partitions: Mapping[str, tuple[str, ...]] = EMPTY,
) -> Cascade:
    """Return the cascade of some Einsums.

    Parameters
    ----------
    name : str
        Of the cascade.
    einsums : sequence of Einsum
        In order of execution; their names are made unique.
    sizes : mapping of str to int
        Size of every rank that they use.
    described : mapping of str to Described
        Tensors that are more than activations.
    dtypes : mapping of Role to str
        Number format of each role, for tensors that state none.
    outputs : iterable of str
        Tensors that leave; those that nothing reads where empty.
    partitions : mapping of str to tuple of str
        Rank -> the ranks it is divided into, the outermost first.

    Raises
    ------
    GraphError
        If a rank has no size, a tensor is made twice, or read before it is made by a statement
        that does not run along with it.
    """
    named = _named(einsums)
    _check(name, named, sizes, partitions)
    makers = {one.made.tensor: one.made for one in named}
    made = set(makers)
    # What only later steps of a running tensor read leaves with its last value.
    read = {
        o.tensor
        for one in named
        for o in one.operands
        if o.tensor in made and not _earlier_step(makers[o.tensor], o)
    }
    wanted = set(outputs) or made - read
    if unknown := sorted(wanted - made):
        raise GraphError(f"no statement makes `{unknown[0]}`")
    tensors: dict[str, CascadeTensor] = {}
    for one in named:
        for reference in (*one.operands, one.made):
            tensor = reference.tensor
            if tensor in tensors or (reference is not one.made and tensor in made):
                continue
            kind: Literal["input", "between", "output"] = (
                "output" if tensor in wanted else "between" if tensor in made else "input"
            )
            tensors[tensor] = _tensor(reference, described, dtypes, sizes, kind)
    used = {rank: sizes[rank] for one in named for rank in one.ranks}
    return Cascade(name, used, named, tensors, partitions)


def _tensor(
    reference: Reference,
    described: Mapping[str, Described],
    dtypes: Mapping[Role, str],
    sizes: Mapping[str, int],
    kind: Literal["input", "between", "output"],
) -> CascadeTensor:
    said = described.get(reference.tensor, _PLAIN)
    shape = said.shape or tuple(
        1 + sum(factor * (sizes[rank] - 1) for factor, rank in index.terms)
        for index in reference.indices
    )
    return CascadeTensor(
        reference.tensor, tuple(index.rank or "" for index in reference.indices), shape,
        said.role, said.dtype or dtypes[said.role], kind, reference.running,
    )  # fmt: skip


def _named(einsums: Sequence[Einsum]) -> tuple[Einsum, ...]:
    """Return the Einsums with names that no other has."""
    seen: dict[str, int] = {}
    found = []
    for one in einsums:
        seen[one.name] = seen.get(one.name, 0) + 1
        again = seen[one.name]
        found.append(one if again == 1 else replace(one, name=f"{one.name}.{again}"))
    return tuple(found)


def _check(
    name: str,
    einsums: Sequence[Einsum],
    sizes: Mapping[str, int],
    partitions: Mapping[str, tuple[str, ...]],
) -> None:
    makers: dict[str, int] = {}
    for place, one in enumerate(einsums):
        if one.made.tensor in makers:
            raise GraphError(f"cascade `{name}`: two statements make `{one.made.tensor}`")
        makers[one.made.tensor] = place
        for rank in one.ranks:
            if rank not in sizes:
                raise GraphError(f"cascade `{name}`: rank `{rank}` has no size")
    for place, one in enumerate(einsums):
        for operand in one.operands:
            maker = makers.get(operand.tensor)
            if maker is not None:
                _check_read(einsums[maker].made, operand, later=maker >= place)
    for rank, parts in partitions.items():
        if missing := [part for part in parts if part not in sizes]:
            raise GraphError(f"partition of `{rank}`: `{missing[0]}` is no rank")
        if rank in sizes and math.prod(sizes[part] for part in parts) != sizes[rank]:
            raise GraphError(
                f"partition of `{rank}`: {' x '.join(str(sizes[part]) for part in parts)} is not"
                f" {sizes[rank]}"
            )


def _check_read(made: Reference, read: Reference, *, later: bool) -> None:
    """Refuse what is read before it is made, or in another number of dimensions."""
    if len(made.indices) != len(read.indices):
        raise GraphError(f"`{read}` has not the {len(made.indices)} dimensions of `{made}`")
    if any(i.last for i, j in zip(read.indices, made.indices, strict=True) if not j.offset):
        raise GraphError(f"`{read}`: `end` stands for the rank along which `{made}` runs")
    if later and not _earlier_step(made, read):
        raise GraphError(f"`{read}` is read before `{made}` is made")


def _earlier_step(made: Reference, read: Reference) -> bool:
    """Whether what is read was made at an earlier step of the rank along which it is made."""
    return any(
        new.offset > old.offset and new.rank == old.rank
        for new, old in zip(made.indices, read.indices, strict=True)
    )
