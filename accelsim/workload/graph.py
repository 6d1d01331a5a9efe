"""The workload graph: operators over tensors, in blocks that repeat, chained into a workload.

A repeated layer is one block with a count, never copied text; everything is immutable, so a
workload may be shared between threads, cached, pickled and hashed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from accelsim.errors import GraphError
from accelsim.workload.frozen import EMPTY, FrozenMap
from accelsim.workload.tensor import Role, Tensor

__all__ = [
    "Block",
    "Operator",
    "Workload",
    "recalled",
    "resident_bytes",
    "saved",
    "to_networkx",
    "weight_elements",
]


def _freeze(owner: object, *fields: str) -> None:
    """Turn the named mapping fields of a frozen dataclass into `FrozenMap`."""
    for field in fields:
        value = getattr(owner, field)
        if type(value) is not FrozenMap:
            object.__setattr__(owner, field, FrozenMap(value))


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: a canonical kind, named integer dims, and the tensors it reads and writes.

    Parameters
    ----------
    name : str
        Unique within its block.
    kind : str
        A file name of `accelsim/workload/ops`; that file documents the dims.
    dims : mapping of str to int
        Sizes that decide work and traffic; each at least 1.
    inputs, outputs : tuple of str
        Names of tensors of the block.
    label : str
        Class of the operator in counts and tables: ``linear``, ``lm_head``, ``experts``,
        ``attention``, ``norm``, ... ; the kind where empty.
    shard : str, optional
        The dim that tensor parallelism divides; None where every device repeats the operator.
        Dividing a dim in the kind's ``REDUCED`` leaves partial sums, so an all-reduce of the
        output follows.
    attributes : mapping
        What is no size: ``causal``, ``function``, ... ; the kind's file documents them.

    Examples
    --------
    >>> Operator("up", "matmul", {"batch": 1, "m": 4, "n": 8, "k": 2}, ("x", "w"), ("y",)).label
    'matmul'
    """

    name: str
    kind: str
    dims: Mapping[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    label: str = ""
    shard: str | None = None
    attributes: Mapping[str, Any] = EMPTY

    def __post_init__(self) -> None:
        _freeze(self, "dims", "attributes")
        if not self.label:
            object.__setattr__(self, "label", self.kind)


@dataclass(frozen=True, slots=True)
class Block:
    """A body of operators that repeats `count` times, each repetition with its own weights.

    Parameters
    ----------
    name : str
        Unique within the workload.
    count : int
        Number of repetitions, at least 1.
    operators : tuple of Operator
        In topological order.
    tensors : mapping of str to Tensor
        Every tensor that an operator names.
    carry : mapping of str to str
        What flows on: stream name -> tensor of this block that holds the stream at its end.
        The next repetition and the next block read it under the stream's name.
    shared : frozenset of str
        Tensors with one storage for all repetitions and for every block that shares the same
        name: tied or reused weights, and activations that a later block reads by name.
    recalls : tuple of str
        Earlier blocks of as many repetitions whose tensors this one finds again, those of the
        last repetition first: weights, and activations kept for a backward pass.  A tensor of
        the same name has its storage there.

    Raises
    ------
    GraphError
        If the count is below 1.
    """

    name: str
    count: int
    operators: tuple[Operator, ...]
    tensors: Mapping[str, Tensor]
    carry: Mapping[str, str] = EMPTY
    shared: frozenset[str] = frozenset()
    recalls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.count < 1:
            raise GraphError(f"block `{self.name}`: count {self.count} is below 1")
        _freeze(self, "tensors", "carry")


@dataclass(frozen=True, slots=True)
class Workload:
    """A chain of blocks: one forward pass of a model in one phase.

    Parameters
    ----------
    name : str
        Model name.
    blocks : tuple of Block
        In order of execution.
    parameters, active_parameters : int
        All parameters, and those that one token uses (fewer where experts are routed).
    kv_bytes_per_token : int
        Bytes by which the KV cache of one sequence grows per token, without bound.
    phase : str
        What the pass does, for example ``decode 16x1 past 1023``.
    batch, tokens : int
        Sequences (or images) and new tokens in the pass.
    state_bytes_per_sequence : int
        Bytes of a sequence that stop growing: recurrent state, sliding-window KV cache when full.
    inputs, outputs : tuple of str
        Tensors that come from and go to the host.
    conventions : mapping of str to str
        Choices that change the counts: ``logits``, ``attention``, ``routing``, ...
    idle_parameters : int
        Of the parameters, those that the pass does not touch, so that no block holds them: an
        encoder's in decoding, what a cached denoising step leaves out.
    """

    name: str
    blocks: tuple[Block, ...]
    parameters: int
    active_parameters: int
    kv_bytes_per_token: int
    phase: str
    batch: int
    tokens: int
    state_bytes_per_sequence: int = 0
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    conventions: Mapping[str, str] = EMPTY
    idle_parameters: int = 0

    def __post_init__(self) -> None:
        _freeze(self, "conventions")

    def operators(self) -> Iterator[tuple[Block, Operator]]:
        """Yield each operator of each block once, with its block (which has the count)."""
        for block in self.blocks:
            for operator in block.operators:
                yield block, operator


def recalled(workload: Workload, block: Block) -> frozenset[str]:
    """Return the tensors of a block that have their storage in an earlier one that it recalls."""
    if not block.recalls:
        return frozenset()
    held = {name for b in workload.blocks if b.name in block.recalls for name in b.tensors}
    return frozenset(held & block.tensors.keys())


def saved(workload: Workload) -> Iterator[tuple[Block, Tensor]]:
    """Yield each activation that a later block recalls, with the block that keeps it."""
    for source in workload.blocks:
        readers = [block for block in workload.blocks if source.name in block.recalls]
        for name, tensor in source.tensors.items():
            again = any(name in block.tensors for block in readers)
            if again and tensor.role is Role.ACTIVATION:
                yield source, tensor


def _storages(workload: Workload) -> Iterator[tuple[Tensor, int]]:
    """Yield each tensor that outlives the pass and its number of copies; shared ones once."""
    seen: set[str] = set()
    for block in workload.blocks:
        again = recalled(workload, block)
        for name, tensor in block.tensors.items():
            if tensor.role is Role.ACTIVATION or name in seen or name in again:
                continue
            if name in block.shared:
                seen.add(name)
                yield tensor, 1
            else:
                yield tensor, block.count


def resident_bytes(workload: Workload) -> dict[Role, int]:
    """Return the bytes that stay in memory over the pass, by role; shared tensors once.

    The KV cache is the one at the end of the pass, new tokens included.
    """
    total = {Role.WEIGHT: 0, Role.KV_CACHE: 0, Role.STATE: 0}
    for tensor, copies in _storages(workload):
        total[tensor.role] += tensor.size_bytes * copies
    return total


def weight_elements(workload: Workload) -> int:
    """Return the elements of all weights: the parameters that are not idle, if legal."""
    return sum(t.elements * n for t, n in _storages(workload) if t.role is Role.WEIGHT)


def to_networkx(workload: Workload) -> Any:
    """Return the workload as a ``networkx.MultiDiGraph`` for drawing and inspection.

    Notes
    -----
    Nodes are ``block/operator`` with the attributes ``kind``, ``label``, ``dims`` and ``count``;
    edges carry the tensor's name.  Edges from one block to the next follow the carried streams;
    those from a repetition to the next have ``repeats=True``.
    """
    import networkx

    graph = networkx.MultiDiGraph(name=workload.name)
    streams: dict[str, str] = {}  # stream or shared tensor -> node that made it
    for block in workload.blocks:
        made: dict[str, str] = {}
        readers: list[tuple[str, str]] = []
        for operator in block.operators:
            node = f"{block.name}/{operator.name}"
            graph.add_node(
                node, kind=operator.kind, label=operator.label, dims=dict(operator.dims),
                count=block.count,
            )  # fmt: skip
            for tensor in operator.inputs:
                source = made.get(tensor) or streams.get(tensor)
                if source:
                    graph.add_edge(source, node, tensor=tensor)
                if tensor in block.carry and tensor not in made:
                    readers.append((tensor, node))
            made.update(dict.fromkeys(operator.outputs, node))
        if block.count > 1:
            for stream, node in readers:
                tensor = block.carry[stream]
                graph.add_edge(made[tensor], node, tensor=tensor, repeats=True)
        streams |= {name: node for name, node in made.items() if name in block.shared}
        streams |= {s: made[t] for s, t in block.carry.items() if t in made}
    return graph
