"""How a matrix lies over channels, banks and rows, and what passes over the rows that makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from accelsim.config import Count, Spec
from accelsim.cost._component import Work
from accelsim.cost._pim_cycles import (
    COLUMNS,
    COMMANDS,
    LOADS,
    MACS,
    REPEAT,
    REST_COMMANDS,
    REST_MACS,
    RESULTS,
    ROWS,
    SWITCHES,
    TILES,
    Passes,
)
from accelsim.errors import ConfigError, InfeasibleError
from accelsim.jit import kernel

__all__ = [
    "Placement",
    "Product",
    "Tiling",
    "check_banks",
    "check_capacity",
    "passes",
    "place",
    "products",
    "queued_passes",
    "vectors",
]


class Placement(Spec):
    """How a matrix lies over the banks."""

    over_channels: Literal["matrices", "sequences", "outputs"]
    """What the channels share out: matrices, sequences with all their heads, or the outputs of
    one matrix."""
    outputs_over: Count
    """Units (banks, bank groups, ...) of a channel that split the outputs (n)."""
    reduction_over: Count = 1
    """Units of a channel that split the reduction (k), their partial sums added outside."""
    lanes: Literal["reduction", "outputs"] = "reduction"
    """What the elements of one MAC command run along."""
    heads_share_rows: bool = False
    """Whether a row holds a token's elements of several heads, side by side."""
    results_at_once: Count = 1
    """Results that are read in one change to register mode: as many as the units have
    accumulators for, or as the schedule uses."""
    reload_vector: bool = False
    """Whether each tile of outputs loads its part of the vector anew."""

    @property
    def banks(self) -> int:
        """Units of a channel that take part."""
        return self.outputs_over * self.reduction_over


@dataclass(frozen=True, slots=True)
class Product:
    """Equal products C[n] = B[n,k] a[k]: `matrices` of them, `heads` per sequence (0: unknown)."""

    function: str
    matrices: int
    heads: int
    n: int
    k: int


@dataclass(frozen=True, slots=True)
class Tiling:
    """What the banks hold at a time, in elements and in MACs."""

    vector_elements: int  # 0: all
    outputs_per_tile: int  # 0: all
    lanes: int
    macs_per_row: int
    whole_results: bool  # a command carries all MACs of a result
    outputs_stationary: bool
    single_results: bool = False  # the read of a result is a command of its own


def check_banks(name: str, placement: Placement, in_turn: int, banks: int) -> None:
    """Raise unless a placement's units share out the banks of a channel evenly.

    Raises
    ------
    ConfigError
        If units times the banks that each reads in turn do not divide the channel's banks.
    """
    used = placement.banks * in_turn
    if banks % used:
        raise ConfigError(
            f"pim_bank: `{name}` puts {placement.banks} units of {in_turn} banks on a channel of"
            f" {banks} banks",
            hint="units x `banks_in_turn` must divide the banks of a channel",
        )


def check_capacity(
    done: Passes, reads: int, placement: Placement, row: float, held: float
) -> None:
    """Raise unless the busiest channel's rows fit its share of the memory.

    Parameters
    ----------
    done : Passes
        What the channel works through in `reads` passes.
    reads : int
    placement : Placement
    row : float
        Bytes of a row in a bank; a matrix's last row counts whole.
    held : float
        Bytes that a channel holds.

    Raises
    ------
    InfeasibleError
    """
    visits = done[:, ROWS] + (done[:, REST_MACS] > 0)
    rows = int((done[:, REPEAT] * done[:, TILES] * visits).sum()) // reads
    needed = rows * placement.banks * row
    if needed > held:
        raise InfeasibleError("one channel's banks", needed, held, "bytes", "rows count whole")


def products(work: Work) -> tuple[Product, ...]:
    """Return the products of a work: one, or score and context of an attention."""
    if work.kind != "attention":
        return (Product(work.function, work.batch, work.kv_heads, work.n, work.k),)
    matrices, width = work.batch * work.kv_heads, work.value_dim or work.head_dim
    return (
        Product("score", matrices, work.kv_heads, work.kv_len, work.head_dim),
        Product("context", matrices, work.kv_heads, width, work.kv_len),
    )


def vectors(work: Work) -> int:
    """Return the vectors that meet each matrix: query heads of a KV head times new tokens."""
    if work.kind != "attention":
        return work.m
    return -(-work.heads // max(1, work.kv_heads)) * max(1, work.q_len)


def place(product: Product, placement: Placement, channels: int) -> tuple[Product, int]:
    """Return what the busiest channel holds, and how many channels split one matrix's outputs."""
    if placement.over_channels == "outputs":
        return product, channels
    if placement.over_channels == "sequences" and product.heads:
        sequences = -(-product.matrices // product.heads)
        matrices = -(-sequences // channels) * product.heads
    else:
        matrices = -(-product.matrices // channels)
    return Product(product.function, matrices, product.heads, product.n, product.k), 1


def passes(product: Product, placement: Placement, tiling: Tiling, split: int, m: int) -> Passes:
    """Return the passes of a product on one channel, for `m` vectors per matrix.

    Parameters
    ----------
    product : Product
        What the channel holds.
    placement, tiling : Placement, Tiling
    split : int
        Channels that share the outputs of one matrix.
    m : int
        Vectors per matrix, each a pass of its own.
    """
    found = np.empty((2, COLUMNS), np.int64)
    spread = _spread(placement, tiling, split, m)
    used = _fill(spread, product.matrices, product.heads, product.n, product.k, found, 0)
    return found[:used]


def queued_passes(
    product: Product, sizes: Passes, first: Passes, placement: Placement, tiling: Tiling, m: int
) -> tuple[Passes, Passes]:
    """Return the passes of products that differ in n and k alone, queue after queue.

    Parameters
    ----------
    product : Product
        Matrices, and heads, of each.
    sizes : ndarray of int64, shape (products, 2)
        n and k.
    first : ndarray of int64, shape (queues + 1,)
        Where each queue begins in `sizes`, and the end.
    placement, tiling : Placement, Tiling
    m : int
        Vectors per matrix.

    Returns
    -------
    passes, first : ndarray of int64
        The passes, and where each queue begins in them.
    """
    spread = _spread(placement, tiling, 1, m)
    return _fill_all(spread, product.matrices, product.heads, sizes, first)


class _Spread(NamedTuple):
    """Placement and tiling as numbers."""

    outputs_over: int
    reduction_over: int
    along_outputs: int
    heads_share_rows: int
    results_at_once: int
    reload: int
    vector_elements: int
    outputs_per_tile: int
    lanes: int
    macs_per_row: int
    whole_results: int
    stationary: int
    single_results: int
    split: int
    vectors: int


def _spread(placement: Placement, tiling: Tiling, split: int, m: int) -> _Spread:
    return _Spread(
        placement.outputs_over, placement.reduction_over, int(placement.lanes == "outputs"),
        int(placement.heads_share_rows), placement.results_at_once,
        int(placement.reload_vector or tiling.outputs_stationary), tiling.vector_elements,
        tiling.outputs_per_tile, tiling.lanes, tiling.macs_per_row, int(tiling.whole_results),
        int(tiling.outputs_stationary), int(tiling.single_results), split, m,
    )  # fmt: skip


@kernel
def _fill(s: _Spread, matrices: int, heads: int, n: int, k: int, found: Passes, at: int) -> int:
    """Write the passes of one product from row `at` on, and return the row after them."""
    outputs = -(-n // (s.outputs_over * s.split))
    k = -(-k // s.reduction_over)
    part = min(s.vector_elements or k, k)
    packed = 1
    if s.heads_share_rows:
        packed = max(1, min(heads or matrices, (s.vector_elements or k) // k))
    per_tile = min(s.outputs_per_tile or outputs, outputs)
    tiles = -(-outputs // per_tile)
    repeat = -(-matrices // packed) * s.vectors
    start = at
    for last in range(2):
        parts, elements = (1, k % part) if last else (k // part, part)
        if parts == 0 or elements == 0:
            continue
        row = found[at]
        row[REPEAT], row[LOADS], row[TILES] = repeat * parts, tiles if s.reload else 1, tiles
        _fill_tile(s, elements, per_tile, packed, row)
        row[RESULTS] = 0 if s.stationary else repeat * parts * tiles * packed
        if s.stationary and at == start:
            row[RESULTS] = repeat * tiles
        row[SWITCHES] = -(-row[RESULTS] // min(s.results_at_once, tiles))
        at += 1
    return at


@kernel
def _fill_tile(s: _Spread, k: int, outputs: int, packed: int, row: Passes) -> None:
    """Write full rows, MACs and commands of each, and MACs and commands of the rest."""
    if s.along_outputs:
        per_result, results = k, -(-outputs // s.lanes) * packed
    else:
        per_result, results = -(-k // s.lanes), outputs * packed
    per_row = s.macs_per_row
    per_command = min(per_result, per_row) if s.whole_results else 1
    macs = per_result * results
    rest = macs % per_row
    row[ROWS], row[MACS], row[COMMANDS] = macs // per_row, per_row, -(-per_row // per_command)
    row[REST_MACS], row[REST_COMMANDS] = rest, -(-rest // per_command)
    if s.single_results:
        row[COMMANDS] += -(-per_row // per_result)
        row[REST_COMMANDS] += -(-rest // per_result)


@kernel
def _fill_all(
    s: _Spread, matrices: int, heads: int, sizes: Passes, first: Passes
) -> tuple[Passes, Passes]:
    """Return the passes of all products, and where each queue begins in them."""
    found = np.empty((2 * sizes.shape[0], COLUMNS), np.int64)
    begins = np.zeros(first.shape[0], np.int64)
    at = 0
    for q in range(first.shape[0] - 1):
        for i in range(first[q], first[q + 1]):
            at = _fill(s, matrices, heads, sizes[i, 0], sizes[i, 1], found, at)
        begins[q + 1] = at
    return found[:at], begins
