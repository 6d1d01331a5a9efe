"""What operators do and move: MACs, elementwise operations, and bytes by role of the tensor.

Each kind counts itself (`accelsim/workload/ops`); this file adds up.  Bytes are compulsory
traffic: every operand once, every result once, no matter the tiling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from accelsim.workload.graph import Operator, Workload
from accelsim.workload.ops import rules
from accelsim.workload.tensor import Role, Tensor

__all__ = ["Counts", "counts", "flop_split", "tally", "totals"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Work and compulsory traffic of an operator, a block or a workload.

    Attributes
    ----------
    macs : int
        Multiply-accumulates of matmul-class work; attention counts every query-key pair.
    masked_macs : int
        Of these, the ones a causal mask or a sliding window discards.
    zero_macs : int
        Of the others, the ones whose weight is a zero that sparsity leaves out.
    vector_ops : int
        Elementwise operations (add, multiply, compare, exp, ... one each); the file of each
        kind states its count per element.
    weight_read_bytes, activation_read_bytes, activation_write_bytes, kv_read_bytes, \
kv_write_bytes, state_read_bytes, state_write_bytes : int
        Bytes by role of the tensor.

    Examples
    --------
    >>> one = Counts(macs=8, weight_read_bytes=4)
    >>> (one + one * 2).flops
    48
    """

    macs: int = 0
    masked_macs: int = 0
    zero_macs: int = 0
    vector_ops: int = 0
    weight_read_bytes: int = 0
    activation_read_bytes: int = 0
    activation_write_bytes: int = 0
    kv_read_bytes: int = 0
    kv_write_bytes: int = 0
    state_read_bytes: int = 0
    state_write_bytes: int = 0

    @property
    def flops(self) -> int:
        """Floating-point operations of matmul-class work, 2 per MAC."""
        return 2 * self.macs

    @property
    def effectual_flops(self) -> int:
        """Floating-point operations that neither a mask nor a zero weight makes superfluous."""
        return 2 * (self.macs - self.masked_macs - self.zero_macs)

    @property
    def read_bytes(self) -> int:
        """Bytes read, of every role."""
        return (
            self.weight_read_bytes
            + self.activation_read_bytes
            + self.kv_read_bytes
            + self.state_read_bytes
        )

    @property
    def write_bytes(self) -> int:
        """Bytes written, of every role."""
        return self.activation_write_bytes + self.kv_write_bytes + self.state_write_bytes

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.macs + other.macs,
            self.masked_macs + other.masked_macs,
            self.zero_macs + other.zero_macs,
            self.vector_ops + other.vector_ops,
            self.weight_read_bytes + other.weight_read_bytes,
            self.activation_read_bytes + other.activation_read_bytes,
            self.activation_write_bytes + other.activation_write_bytes,
            self.kv_read_bytes + other.kv_read_bytes,
            self.kv_write_bytes + other.kv_write_bytes,
            self.state_read_bytes + other.state_read_bytes,
            self.state_write_bytes + other.state_write_bytes,
        )

    def __mul__(self, times: int) -> Counts:
        return Counts(
            self.macs * times,
            self.masked_macs * times,
            self.zero_macs * times,
            self.vector_ops * times,
            self.weight_read_bytes * times,
            self.activation_read_bytes * times,
            self.activation_write_bytes * times,
            self.kv_read_bytes * times,
            self.kv_write_bytes * times,
            self.state_read_bytes * times,
            self.state_write_bytes * times,
        )

    __rmul__ = __mul__


_WEIGHT, _ACTIVATION, _KV_CACHE = Role.WEIGHT, Role.ACTIVATION, Role.KV_CACHE

Access = tuple[Tensor, int]
"""A tensor and how many of its elements are read or written."""


def tally(
    macs: int = 0,
    masked_macs: int = 0,
    zero_macs: int = 0,
    vector_ops: int = 0,
    reads: Iterable[Access] = (),
    writes: Iterable[Access] = (),
) -> Counts:
    """Return the counts of an operator from its work and the elements it reads and writes.

    Parameters
    ----------
    macs, masked_macs, zero_macs, vector_ops : int
        As in `Counts`.
    reads, writes : iterable of (Tensor, int)
        Tensor and number of its elements; role and dtype decide the rest.
    """
    weight, activation, cache, state = _by_role(reads)
    _, activation_written, cache_written, state_written = _by_role(writes)
    return Counts(
        macs,
        masked_macs,
        zero_macs,
        vector_ops,
        weight,
        activation,
        activation_written,
        cache,
        cache_written,
        state,
        state_written,
    )


def _by_role(accesses: Iterable[Access]) -> tuple[int, int, int, int]:
    """Return the bytes of weights, activations, KV cache and state."""
    # Role by role: a dict by Role would hash its members, which is slow in Python.
    weight = activation = cache = state = 0
    for tensor, elements in accesses:
        size, role = tensor.bytes_of(elements), tensor.role
        if role is _ACTIVATION:
            activation += size
        elif role is _WEIGHT:
            weight += size
        elif role is _KV_CACHE:
            cache += size
        else:
            state += size
    return weight, activation, cache, state


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the work and traffic of one operator.

    Parameters
    ----------
    operator : Operator
        Of any registered kind.
    tensors : mapping of str to Tensor
        The tensors of its block.

    Raises
    ------
    UnknownNameError
        If no file has the operator's kind.
    """
    return rules(operator.kind).counts(operator, tensors)


def totals(workload: Workload) -> Counts:
    """Return the work and traffic of a whole workload, repetitions included."""
    total = Counts()
    for block in workload.blocks:
        body = Counts()
        for operator in block.operators:
            body += counts(operator, block.tensors)
        total += body * block.count
    return total


def flop_split(workload: Workload, *, unmasked: bool = False) -> dict[str, int]:
    """Return the matmul-class FLOPs of a workload by operator label.

    Parameters
    ----------
    workload : Workload
        Any.
    unmasked : bool
        Leave out the work that causal masks and sliding windows discard.

    Returns
    -------
    dict of str to int
        Labels without matmul-class work are absent; 1 MAC is 2 FLOPs.
    """
    split: dict[str, int] = {}
    for block, operator in workload.operators():
        one = counts(operator, block.tensors)
        macs = one.macs - one.masked_macs if unmasked else one.macs
        if macs:
            split[operator.label] = split.get(operator.label, 0) + 2 * macs * block.count
    return split
