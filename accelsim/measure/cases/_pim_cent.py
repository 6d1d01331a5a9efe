"""Decoder blocks of CENT on GDDR6-AiM: products, elementwise operations and vector exchanges.

The block's order of operations and its placement are CENT's; every cycle comes from the units.
"""

from __future__ import annotations

from functools import cache
from math import ceil

from accelsim.cost import Work
from accelsim.cost.dram import Dram
from accelsim.cost.pim_bank import PimBank
from accelsim.measure.cases._pim_cent_token import Block, Move, Sizes, token_mj, token_ms
from accelsim.measure.cases._pim_parts import Answer, Row, memory, unit, whole
from accelsim.workload import load_model
from accelsim.workload.families.decoder import DecoderConfig

__all__ = ["answer", "block_of"]


def answer(row: Row) -> Answer:
    """Return a block's or a token's latency in ms, or a token's energy in mJ."""
    metric = row["metric"]
    if metric not in ("block_pim_latency", "token_latency", "token_energy"):
        return "cent token", None, f"unknown figure `{metric}`"
    config = _config(row["model"].lower())
    parallel = whole(row["system"].split("TP")[1].split()[0])
    devices, length = whole(row["system"].split()[0]), whole(row["seq_len"])
    dram = memory("gddr6_aim")
    # The simulator's all-bank refresh loops over ranks; GDDR6 has none, so it sends no refresh.
    units = unit("gddr6_aim_pim").model_copy(update={"refresh": "none"})
    block = block_of(config, length, parallel, units, dram)
    block_ms = _block_cycles(block, units, dram) / dram.clock * 1e3
    if metric == "block_pim_latency":
        return "cent block", block_ms, ""
    if metric == "token_latency":
        return "cent token latency", token_ms(block, block_ms, devices, units, dram), ""
    return "cent token energy", token_mj(block, block_ms, units, dram), ""


@cache
def _config(name: str) -> DecoderConfig:
    found = load_model(name).parameters
    if not isinstance(found, DecoderConfig):
        raise ValueError(f"`{name}` is no decoder")
    return found


def _block_cycles(block: Block, units: PimBank, dram: Dram) -> float:
    """Return the cycles of one decoder block for one token on one of its devices."""
    moved = sum(
        move.times * units.scatter_cycles(move.size_bytes, move.over, dram, move.vectors)
        for move in block.moves
    )
    copied = sum(times * units.copy_cycles(size, dram) for times, size in block.copies)
    return units.cycles(block.works, dram) + moved + copied


def block_of(
    model: DecoderConfig, length: int, parallel: int, units: PimBank, dram: Dram
) -> Block:
    """Return what one decoder block asks of a device for one token, `length` tokens cached."""
    sizes = _sizes(model)
    moves, copies = _exchanges(sizes, length, dram)
    return Block(
        sizes, model.num_hidden_layers, model.vocab_size, length, parallel,
        _products(sizes, length, parallel), _elementwise(sizes, length, units, dram),
        moves, copies,
    )  # fmt: skip


def _sizes(model: DecoderConfig) -> Sizes:
    heads, hidden = model.num_attention_heads, model.hidden_size
    inner = model.intermediate_size or 4 * hidden
    width = model.head_dim or hidden // heads
    return Sizes(hidden, heads, model.num_key_value_heads or heads, width, inner)


def _products(sizes: Sizes, length: int, parallel: int) -> list[Work]:
    """Return the matrix products: projections over all devices, values on one."""
    hidden, heads, kv_heads, width, inner = sizes
    groups = heads // kv_heads

    def gemv(outputs: int, inputs: int) -> Work:
        return Work("matmul", m=1, n=ceil(outputs / parallel), k=inputs)

    tokens = ceil(length / parallel)
    return [
        gemv(heads * width, hidden), gemv(kv_heads * width, hidden),
        gemv(kv_heads * width, hidden),
        Work("matmul", "score", batch=kv_heads, m=groups, n=tokens, k=width, kv_heads=kv_heads),
        Work("matmul", "context", batch=kv_heads, m=groups, n=width, k=length, kv_heads=kv_heads),
        gemv(hidden, heads * width), gemv(inner, hidden), gemv(inner, hidden), gemv(hidden, inner),
    ]  # fmt: skip


def _elementwise(sizes: Sizes, length: int, units: PimBank, dram: Dram) -> list[Work]:
    """Return the multiplications in the banks, and the sums of squares as one-column products.

    Rotation holds the whole vector in every bank group; a head's scores lie in one group.
    """
    hidden, heads, kv_heads, _, inner = sizes
    groups = (units.elementwise.units if units.elementwise else 1) * dram.total_channels
    squares = Work("matmul", m=1, n=dram.total_channels * dram.banks_per_channel, k=16)

    def mul(elements: int) -> Work:
        return Work("elementwise", "mul", n=elements)

    scores = mul(length * groups * ceil(heads / groups))
    rotated = [mul(hidden * groups), mul(hidden * kv_heads // heads * groups)]
    gated = [mul(inner)] * 2
    return [squares, mul(hidden), mul(hidden)] * 2 + rotated + [scores] * 2 + gated


def _exchanges(sizes: Sizes, length: int, dram: Dram) -> tuple[list[Move], list[tuple[int, int]]]:
    """Return the vectors that the controller writes to banks and reads back, and the copies."""
    hidden, heads, kv_heads, width, inner = sizes
    banks = dram.total_channels * dram.banks_per_channel
    groups = banks // 4

    def moved(times: int, elements: int, over: int, vectors: int = 1) -> Move:
        return Move(times, 2 * elements, over, vectors)

    norm = [moved(2, hidden, banks // 2, 2), moved(2, hidden, groups, 2), moved(2, hidden, groups)]
    rotary = [moved(1, 2 * hidden, groups, 2)]
    rotary += [moved(1, 2 * hidden * kv_heads // heads, groups, 2)]
    stored = [moved(1, kv_heads * width, 1)]
    stored += [moved(ceil(kv_heads / dram.total_channels) * ceil(width / 16), 16, 1)]
    over = min(heads, groups)
    scores = [moved(2, length * heads, over, 2), moved(2, length * heads, over)]
    gate = [moved(1, inner, groups, 2), moved(2, inner, groups)]
    copies = [(8, 2 * ceil(hidden / groups)), (4, 2 * ceil(inner / groups))]
    return norm + rotary + stored + scores + gate, copies
