"""How a matrix lies over channels, banks and rows, and what passes over the rows that makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from accelsim.config import Count, Spec
from accelsim.cost._component import Work
from accelsim.cost._pim_cycles import (
    REPEAT,
    REST_MACS,
    RESULTS,
    ROWS,
    SWITCHES,
    TILES,
    Passes,
)
from accelsim.errors import ConfigError, InfeasibleError

__all__ = [
    "Placement",
    "Product",
    "Tiling",
    "check_banks",
    "check_capacity",
    "passes",
    "place",
    "products",
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
    outputs = -(-product.n // (placement.outputs_over * split))
    k = -(-product.k // placement.reduction_over)
    part = min(tiling.vector_elements or k, k)
    packed = 1
    if placement.heads_share_rows:
        fitting = (tiling.vector_elements or k) // k
        packed = max(1, min(product.heads or product.matrices, fitting))
    per_tile = min(tiling.outputs_per_tile or outputs, outputs)
    tiles = -(-outputs // per_tile)
    repeat = -(-product.matrices // packed) * m
    loads = tiles if tiling.outputs_stationary or placement.reload_vector else 1
    full, last = divmod(k, part)
    found = []
    for parts, elements in ((full, part), (1, last)):
        if not parts or not elements:
            continue
        row = _tile(elements, per_tile, packed, placement, tiling)
        results = 0 if tiling.outputs_stationary else repeat * parts * tiles * packed
        found.append([repeat * parts, loads, tiles, *row, results, 0])
    if tiling.outputs_stationary:
        found[0][RESULTS] = repeat * tiles
    for run in found:
        together = min(placement.results_at_once, tiles)
        run[SWITCHES] = -(-run[RESULTS] // together)
    return np.array(found, np.int64)


def _tile(
    k: int, outputs: int, packed: int, placement: Placement, tiling: Tiling
) -> tuple[int, int, int, int, int]:
    """Return full rows, MACs and commands of each, and MACs and commands of the rest."""
    if placement.lanes == "reduction":
        per_result, results = -(-k // tiling.lanes), outputs * packed
    else:
        per_result, results = k, -(-outputs // tiling.lanes) * packed
    per_row = tiling.macs_per_row
    per_command = min(per_result, per_row) if tiling.whole_results else 1
    rows, rest = divmod(per_result * results, per_row)
    commands, rest_commands = -(-per_row // per_command), -(-rest // per_command)
    if tiling.single_results:
        commands += -(-per_row // per_result)
        rest_commands += -(-rest // per_result)
    return rows, per_row, commands, rest, rest_commands
