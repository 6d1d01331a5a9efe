"""Statements in order of execution, and how many shared loops may stand around each.

A statement runs inside the leading loops over dims that it has; one that makes all of a tensor
before others begin, or waits for all of it, stands outside the deeper loops.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from accelsim.errors import MappingError
from accelsim.nest.fuse._types import Access, Statement

__all__ = ["Chain", "alike", "depths", "loopable", "optional", "required"]


@dataclass(frozen=True)
class Chain:
    """Statements in order of execution, and who makes and reads each tensor.

    Attributes
    ----------
    statements : tuple of Statement
    makers : mapping of str to int
        Tensor -> the statement that makes it.
    readers : mapping of str to tuple of int
        Tensor -> the statements that read it.
    outputs : frozenset of str
        Tensors that leave the cascade.
    known : dict
        What `depths` has found already.
    """

    statements: tuple[Statement, ...]
    makers: Mapping[str, int]
    readers: Mapping[str, tuple[int, ...]]
    outputs: frozenset[str]
    known: dict[tuple[int, int, tuple[str, ...]], list[int] | None] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def of(cls, statements: Sequence[Statement], outputs: Collection[str] = ()) -> Chain:
        """Return the chain of statements; what nobody reads leaves, too.

        Raises
        ------
        MappingError
            If two statements make one tensor, or one reads what is made only later and is not
            running.
        """
        makers: dict[str, int] = {}
        readers: dict[str, list[int]] = {}
        for place, one in enumerate(statements):
            if one.made in makers:
                raise MappingError(f"`{one.name}` makes `{one.made}`, as another statement does")
            makers[one.made] = place
            for access in one.accesses[:-1]:
                found = readers.setdefault(access.tensor, [])
                if place not in found:
                    found.append(place)
        for tensor, maker in makers.items():
            early = [at for at in readers.get(tensor, ()) if at <= maker]
            if early and not statements[maker].running:
                raise MappingError(
                    f"`{statements[early[0]].name}` reads `{tensor}` before it is made"
                )
        unread = {
            tensor for tensor in makers if not set(readers.get(tensor, ())) - {makers[tensor]}
        }
        return cls(
            tuple(statements), makers, {t: tuple(at) for t, at in readers.items()},
            frozenset(outputs) | unread,
        )  # fmt: skip

    def may_end(self, place: int) -> bool:
        """Return whether groups may part before a statement: no running tensor goes back over."""
        return not any(
            at < place <= maker
            for tensor, maker in self.makers.items()
            for at in self.readers.get(tensor, ())
        )

    def accesses(self, place: int, tensor: str) -> Iterator[tuple[int, Access]]:
        """Yield every access of a statement to a tensor, with its place in the problem."""
        for t, access in enumerate(self.statements[place].accesses):
            if access.tensor == tensor:
                yield t, access


def required(chain: Chain, first: int, last: int) -> frozenset[str]:
    """Return dims that a group must loop over one by one: what runs is read before it is made."""
    return frozenset(chain.statements[maker].running for maker, _ in _early(chain, first, last))


def loopable(chain: Chain, first: int, last: int, shared: frozenset[str] | None) -> dict[str, int]:
    """Return the dims, with their sizes, over which shared loops of a group may run."""
    sizes: dict[str, int] = {}
    users: dict[str, int] = {}
    for one in chain.statements[first:last]:
        for dim, size in zip(one.problem.dims, one.problem.sizes, strict=True):
            sizes[dim], users[dim] = size, users.get(dim, 0) + 1
    must = required(chain, first, last)
    return {
        dim: size for dim, size in sizes.items()
        if size > 1 and users[dim] > 1 and (shared is None or dim in shared or dim in must)
    }  # fmt: skip


def optional(chain: Chain, first: int, last: int) -> tuple[str, ...]:
    """Return tensors that a group reads or makes and that only perhaps stay on chip."""
    names: dict[str, None] = {}
    for place in range(first, last):
        for access in chain.statements[place].accesses:
            maker = chain.makers.get(access.tensor, -1)
            inside = [at for at in chain.readers.get(access.tensor, ()) if first <= at < last]
            if not (first <= maker < last and inside):
                names[access.tensor] = None
    return tuple(names)


def depths(chain: Chain, first: int, last: int, dims: tuple[str, ...]) -> list[int] | None:
    """Return how many shared loops stand around each statement of a group; None if they cannot.

    A loop that joins fewer than two statements is none; what runs and is read before it is made
    must stand inside the loop that it runs over, with those who read it.
    """
    key = (first, last, dims)
    if key not in chain.known:
        found = _depths(chain, first, last, dims)
        legal = all(sum(d > j for d in found) >= 2 for j in range(len(dims)))
        for maker, reader in _early(chain, first, last):
            running = chain.statements[maker].running
            around = dims[: min(found[maker - first], found[reader - first])]
            legal = legal and (running not in dims or running in around)
        chain.known[key] = found if legal else None
    return chain.known[key]


def _early(chain: Chain, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield maker and reader of what a statement of a group reads before it is made."""
    for tensor, maker in chain.makers.items():
        for at in chain.readers.get(tensor, ()):
            if first <= at < maker < last:
                yield maker, at


def _depths(chain: Chain, first: int, last: int, dims: tuple[str, ...]) -> list[int]:
    """Return how many loops stand around each statement, as many as are legal."""
    depth = []
    for one in chain.statements[first:last]:
        leading = (j for j, dim in enumerate(dims) if dim not in one.problem.dims)
        depth.append(next(leading, len(dims)))
    before: list[int] = []
    while before != depth:
        before = list(depth)
        for maker, reader, legal in _edges(chain, first, last):
            common = min(depth[maker], depth[reader])
            broken = next((j for j in range(common) if dims[j] not in legal), None)
            if broken is not None:
                earlier = min(maker, reader)
                depth[earlier] = broken
        for j in range(len(dims)):
            inside = [at for at, d in enumerate(depth) if d > j]
            for at in inside[:-1]:
                if any(depth[x] <= j for x in range(at, inside[-1])):
                    depth[at] = j
    return depth


def _edges(chain: Chain, first: int, last: int) -> Iterator[tuple[int, int, frozenset[str]]]:
    """Yield maker and reader of each tensor between them, and the dims that index it in both."""
    for tensor, maker in chain.makers.items():
        if not first <= maker < last:
            continue
        made = chain.statements[maker].accesses[-1].ranks
        for reader in chain.readers.get(tensor, ()):
            if not first <= reader < last:
                continue
            for t, access in chain.accesses(reader, tensor):
                if reader == maker and t == len(chain.statements[reader].accesses) - 1:
                    continue
                yield maker - first, reader - first, alike(made, access.ranks)


def alike(one: tuple[str, ...], other: tuple[str, ...]) -> frozenset[str]:
    """Return dims that index the same axis of a tensor in two statements."""
    if len(one) != len(other):
        return frozenset()
    return frozenset(a for a, b in zip(one, other, strict=True) if a and a == b)
