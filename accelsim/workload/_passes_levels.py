"""In which traversal of a rank each Einsum can run at the earliest, and with what it waits.

A traversal visits the coordinates of a rank once, in order.  What is indexed by the rank streams
along with it; what is combined over the rank is there only when the traversal has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accelsim.errors import GraphError
from accelsim.workload._cascade_core import Cascade, Einsum, Reference
from accelsim.workload.frozen import EMPTY

__all__ = ["Levels", "along", "levels"]


@dataclass(frozen=True, slots=True)
class Levels:
    """Traversals of one rank.

    Parameters
    ----------
    rank : str
        The rank that is traversed.
    einsums : mapping of str to int
        Einsum -> the earliest traversal, from 1, in which it can run; for one that does not
        iterate over the rank, the traversal after whose end it can.
    tensors : mapping of str to int
        Tensor that an Einsum makes -> the traversal in which it streams, or with whose end it is
        complete.
    """

    rank: str
    einsums: Mapping[str, int]
    tensors: Mapping[str, int]


def along(made: Reference, rank: str) -> int | None:
    """Return the dimension of a tensor that a rank indexes; None if there is none."""
    for place, index in enumerate(made.indices):
        if any(name == rank for _, name in index.terms):
            return place
    return None


def levels(cascade: Cascade, rank: str, not_before: Mapping[str, int] = EMPTY) -> Levels:
    """Return the earliest traversal of a rank for each Einsum of a cascade.

    Parameters
    ----------
    cascade : Cascade
        The Einsums.
    rank : str
        The rank that is traversed.
    not_before : mapping of str to int
        Einsum -> a traversal before which it does not run, though it could.

    Raises
    ------
    GraphError
        If a value needs the end of a traversal that it is part of.

    Notes
    -----
    The levels are the least solution of

    - an Einsum that iterates over the rank runs with the latest of what it streams, and after the
      end of all that it reads whole: level = max(1, streamed, complete + 1);
    - one that does not runs once what it reads is complete: level = max(0, complete).

    Running tensors make cycles, so the equations are solved by repetition from 0.  A level is at
    most the number of Einsums; one that grows beyond is in a cycle through its own end.

    References
    ----------
    .. [1] Nayak et al., "FuseMax: Leveraging Extended Einsums to Optimize Attention Accelerator
       Design", MICRO 2024, arXiv 2406.10491, section on passes.
    """
    makers = {one.made.tensor: one for one in cascade.einsums}
    made: dict[str, int] = dict.fromkeys(makers, 0)
    found: dict[str, int] = {}
    changed = True
    while changed:
        changed = False
        for one in cascade.einsums:
            level = max(_level(one, rank, makers, made), not_before.get(one.name, 0))
            if level > len(cascade.einsums) + max(not_before.values(), default=0):
                raise GraphError(
                    f"cascade `{cascade.name}`: `{one.made}` needs the end of a traversal of"
                    f" `{rank}` that it is part of"
                )
            changed |= level != found.get(one.name)
            found[one.name] = made[one.made.tensor] = level
    return Levels(rank, found, made)


def _level(
    one: Einsum,
    rank: str,
    makers: Mapping[str, Einsum],
    made: Mapping[str, int],
) -> int:
    iterates = rank in one.ranks
    level = 1 if iterates else 0
    for operand in one.operands:
        maker = makers.get(operand.tensor)
        if maker is None or _earlier(maker, operand, rank):
            continue
        complete = not _streams(maker.made, operand, rank)
        level = max(level, made[operand.tensor] + (iterates and complete))
    return level


def _streams(made: Reference, read: Reference, rank: str) -> bool:
    """Whether a tensor made along a rank is read along with it, coordinate by coordinate."""
    place = along(made, rank)
    return place is not None and any(name == rank for _, name in read.indices[place].terms)


def _earlier(maker: Einsum, read: Reference, rank: str) -> bool:
    """Whether what is read is of an earlier step of another rank, so that it is there already."""
    running = maker.running
    if not running or running == rank:
        return False
    place = along(maker.made, running)
    if place is None:
        return False
    index = read.indices[place]
    return index.rank == running and index.offset < maker.made.indices[place].offset
