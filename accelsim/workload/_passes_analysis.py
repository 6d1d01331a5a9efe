"""The traversals of one rank of a cascade: what runs and is read in each, and what moves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from accelsim.errors import GraphError
from accelsim.workload._cascade_core import Cascade
from accelsim.workload._passes_footprint import held_words, independent_ranks, state_words
from accelsim.workload._passes_levels import along, levels
from accelsim.workload._passes_schedule import Schedule, schedule, streams, whole
from accelsim.workload.frozen import EMPTY

__all__ = ["Analysis", "Pass", "TensorTraffic", "analyse", "parts_of"]


@dataclass(frozen=True, slots=True)
class Pass:
    """One traversal of the rank.

    Parameters
    ----------
    number : int
        From 1.
    einsums : tuple of str
        What runs in it, in order of execution.
    reads, writes : tuple of str
        Tensors along the rank that it reads from memory and writes to it.
    full : bool
        Whether it visits every coordinate; a traversal of one value per part does not.
    """

    number: int
    einsums: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    full: bool


@dataclass(frozen=True, slots=True)
class TensorTraffic:
    """How often a tensor crosses the edge of the chip.

    Parameters
    ----------
    name : str
        The tensor.
    elements, size_bytes : int
        Its elements, and their bytes.
    reads, writes : int
        How often all of it is read and written.
    along : bool
        Whether the traversed rank indexes it.
    """

    name: str
    elements: int
    size_bytes: int
    reads: int
    writes: int
    along: bool

    @property
    def words(self) -> int:
        """Elements read and written."""
        return self.elements * (self.reads + self.writes)

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return self.size_bytes * (self.reads + self.writes)


@dataclass(frozen=True, slots=True)
class Analysis:
    """The traversals of one rank of a cascade.

    Parameters
    ----------
    cascade : str
        Name of the cascade.
    rank : str
        The rank, or the one that its partition divides.
    parts : tuple of str
        The ranks of the statements that it is, the outermost first.
    size : int
        Coordinates of the rank.
    passes : tuple of Pass
        All traversals.
    tensors : tuple of TensorTraffic
        Traffic where fibres of the rank do not fit on chip and all else is read once.
    stored : tuple of str
        Tensors that were asked to be kept in memory between traversals.
    fibres : int
        Fibres that do not depend on each other.
    held_words : int
        Words per fibre on chip that make every traversal after the first read nothing again.
    state_words : int
        Words per fibre of accumulators and running values, whatever the size of the rank.
    """

    cascade: str
    rank: str
    parts: tuple[str, ...]
    size: int
    passes: tuple[Pass, ...]
    tensors: tuple[TensorTraffic, ...]
    stored: tuple[str, ...]
    fibres: int
    held_words: int
    state_words: int

    @property
    def count(self) -> int:
        """How often every coordinate of the rank is visited."""
        return sum(one.full for one in self.passes)

    @property
    def words(self) -> int:
        """Words read and written, of all tensors."""
        return sum(one.words for one in self.tensors)

    @property
    def bytes(self) -> int:
        """Bytes read and written, of all tensors."""
        return sum(one.bytes for one in self.tensors)

    @property
    def footprint(self) -> str:
        """``O(1)`` where a fibre's live part does not grow with the rank, else ``O(rank)``."""
        return f"O({self.rank})" if self.held_words else "O(1)"

    def traffic(self, tensor: str) -> TensorTraffic:
        """Return the traffic of one tensor.

        Raises
        ------
        GraphError
            If it never crosses the edge of the chip.
        """
        for one in self.tensors:
            if one.name == tensor:
                return one
        known = ", ".join(one.name for one in self.tensors)
        raise GraphError(f"`{tensor}` is neither read nor written; {known} are")


def analyse(
    cascade: Cascade,
    rank: str,
    stored: Collection[str] = (),
    not_before: Mapping[str, int] = EMPTY,
) -> Analysis:
    """Return the traversals of a rank that a cascade needs.

    Parameters
    ----------
    cascade : Cascade
        The Einsums.
    rank : str
        A rank of the statements, or one that a partition divides.
    stored : collection of str
        Tensors along the rank that are kept in memory for later traversals; all others are
        computed again from what is.
    not_before : mapping of str to int
        Einsum -> a traversal before which it does not run; each runs as early as it can else.

    Returns
    -------
    Analysis
        The least number of passes does not depend on what is kept; the traffic does.

    Raises
    ------
    GraphError
        If there is no such rank, or nothing to keep by that name; names what there is.

    Notes
    -----
    A pass is a visit of every element of a fibre after having visited every element of it [1]_.

    References
    ----------
    .. [1] Nayak et al., "FuseMax: Leveraging Extended Einsums to Optimize Attention Accelerator
       Design", MICRO 2024, arXiv 2406.10491.

    Examples
    --------
    >>> from accelsim.workload import forward
    >>> from accelsim.workload.cascade import cascade_of
    >>> names = ("attention-3-pass", "attention-2-pass", "attention-1-pass")
    >>> found = [analyse(cascade_of(name, forward(1, 4096)), "m") for name in names]
    >>> [(one.count, one.footprint) for one in found]
    [(3, 'O(m)'), (2, 'O(m)'), (1, 'O(1)')]
    >>> softmax = cascade_of("softmax-3-pass", forward(1))
    >>> [analyse(softmax, "n", kept).words // 2**20 for kept in ((), ("E",))]
    [4, 5]
    """
    parts = parts_of(cascade, rank)
    found = levels(cascade, parts[0], not_before)
    made = schedule(cascade, found, parts, stored)
    free = independent_ranks(cascade, parts)
    bare = schedule(cascade, found, parts) if stored else made
    return Analysis(
        cascade.name, rank, parts, _product(cascade, parts),
        tuple(_pass(cascade, made, number) for number in sorted(made.runs)),
        tuple(_traffic(cascade, made)), tuple(stored), _product(cascade, tuple(free)),
        held_words(cascade, bare), state_words(cascade, parts),
    )  # fmt: skip


def parts_of(cascade: Cascade, rank: str) -> tuple[str, ...]:
    """Return the ranks of the statements that a rank is, the outermost first.

    Raises
    ------
    GraphError
        If there is no such rank; names those there are.
    """
    if rank in cascade.partitions:
        return cascade.partitions[rank]
    if rank not in cascade.sizes:
        legal = ", ".join((*cascade.partitions, *cascade.sizes))
        raise GraphError(f"cascade `{cascade.name}` has no rank `{rank}`; legal: {legal}")
    return (rank,)


def _product(cascade: Cascade, ranks: tuple[str, ...]) -> int:
    size = 1
    for rank in ranks:
        size *= cascade.sizes[rank]
    return size


def _pass(cascade: Cascade, made: Schedule, number: int) -> Pass:
    running = [one for one in cascade.einsums if one.name in made.runs[number]]
    return Pass(
        number,
        tuple(one.name for one in running),
        tuple(name for name in cascade.tensors if number in made.reads.get(name, ())),
        tuple(name for name in cascade.tensors if number in made.writes.get(name, ())),
        any(set(made.group) <= set(one.ranks) for one in running),
    )


def _traffic(cascade: Cascade, made: Schedule) -> list[TensorTraffic]:
    """Return what crosses the edge: along the rank as scheduled, all else once."""
    found, rank = [], made.group[0]
    for name, tensor in cascade.tensors.items():
        reads, writes = len(made.reads.get(name, ())), len(made.writes.get(name, ()))
        read_as = [
            (one, o) for one in cascade.readers(name) for o in one.operands if o.tensor == name
        ]
        maker = cascade.maker(name)
        if maker is None:
            reads = max(reads, int(any(not streams(one, o, rank) for one, o in read_as)))
        else:
            if whole(cascade, name, rank):  # written along this rank, read by another
                reads = max(reads, 1)
            if tensor.kind == "output" or reads:  # what is read was written, perhaps before
                writes = max(writes, 1)
        if reads or writes:
            named = [maker.made] if maker else [o for _, o in read_as]
            on = any(along(one, rank) is not None for one in named)
            found.append(
                TensorTraffic(name, tensor.elements, tensor.size_bytes, reads, writes, on)
            )
    return found
