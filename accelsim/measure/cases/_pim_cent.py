"""Decoder blocks of CENT on GDDR6-AiM: products, elementwise operations and vector exchanges.

The block's order of operations and its placement are CENT's; every cycle comes from the units.
"""

from __future__ import annotations

from functools import cache
from math import ceil

from accelsim.cost import Work
from accelsim.cost.dram import Dram
from accelsim.cost.pim_bank import PimBank
from accelsim.measure.cases._pim_parts import Answer, Row, memory, unit, whole
from accelsim.workload import load_model
from accelsim.workload.families.decoder import DecoderConfig

__all__ = ["answer"]


def answer(row: Row) -> Answer:
    """Return the block latency in ms; tokens and their energy are a system's."""
    if row["metric"] != "block_pim_latency":
        return "cent token", None, "links, norms and energy of whole devices: a system, not a unit"
    config = _config(row["model"].lower())
    parallel = whole(row["system"].split("TP")[1].split()[0])
    dram = memory("gddr6_aim")
    # The simulator's all-bank refresh loops over ranks; GDDR6 has none, so it sends no refresh.
    units = unit("gddr6_aim_pim").model_copy(update={"refresh": "none"})
    cycles = _block_cycles(config, whole(row["seq_len"]), parallel, units, dram)
    return "cent block", cycles / dram.clock * 1e3, ""


@cache
def _config(name: str) -> DecoderConfig:
    found = load_model(name).parameters
    if not isinstance(found, DecoderConfig):
        raise ValueError(f"`{name}` is no decoder")
    return found


def _block_cycles(
    model: DecoderConfig, length: int, parallel: int, units: PimBank, dram: Dram
) -> float:
    """Return the cycles of one decoder block for one token on one of `parallel` devices."""
    works = _products(model, length, parallel) + _elementwise(model, length, units, dram)
    return units.cycles(works, dram) + _exchanges(model, length, units, dram)


def _sizes(model: DecoderConfig) -> tuple[int, int, int, int, int]:
    """Return hidden size, query heads, KV heads, head size and the feed-forward's inner size."""
    heads, hidden = model.num_attention_heads, model.hidden_size
    inner = model.intermediate_size or 4 * hidden
    width = model.head_dim or hidden // heads
    return hidden, heads, model.num_key_value_heads or heads, width, inner


def _products(model: DecoderConfig, length: int, parallel: int) -> list[Work]:
    """Return the matrix products: projections over all devices, values on one."""
    hidden, heads, kv_heads, width, inner = _sizes(model)
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


def _elementwise(model: DecoderConfig, length: int, units: PimBank, dram: Dram) -> list[Work]:
    """Return the multiplications in the banks, and the sums of squares as one-column products.

    Rotation holds the whole vector in every bank group; a head's scores lie in one group.
    """
    hidden, heads, kv_heads, _, inner = _sizes(model)
    groups = (units.elementwise.units if units.elementwise else 1) * dram.total_channels
    squares = Work("matmul", m=1, n=dram.total_channels * dram.banks_per_channel, k=16)

    def mul(elements: int) -> Work:
        return Work("elementwise", "mul", n=elements)

    scores = mul(length * groups * ceil(heads / groups))
    rotated = [mul(hidden * groups), mul(hidden * kv_heads // heads * groups)]
    gated = [mul(inner)] * 2
    return [squares, mul(hidden), mul(hidden)] * 2 + rotated + [scores] * 2 + gated


def _exchanges(model: DecoderConfig, length: int, units: PimBank, dram: Dram) -> int:
    """Return the cycles of vectors that the controller writes to banks and reads back."""
    hidden, heads, kv_heads, width, inner = _sizes(model)
    banks = dram.total_channels * dram.banks_per_channel
    groups = banks // 4

    def moved(elements: int, over: int, vectors: int = 1) -> int:
        return units.scatter_cycles(2 * elements, over, dram, vectors)

    norm = moved(hidden, banks // 2, 2) + moved(hidden, groups, 2) + moved(hidden, groups)
    norm += 4 * units.copy_cycles(2 * ceil(hidden / groups), dram)
    rotary = moved(2 * hidden, groups, 2) + moved(2 * hidden * kv_heads // heads, groups, 2)
    stored = moved(kv_heads * width, 1)
    stored += ceil(kv_heads / dram.total_channels) * ceil(width / 16) * moved(16, 1)
    over = min(heads, groups)
    scores = 2 * (moved(length * heads, over, 2) + moved(length * heads, over))
    gate = moved(inner, groups, 2) + 2 * moved(inner, groups)
    gate += 4 * units.copy_cycles(2 * ceil(inner / groups), dram)
    return 2 * norm + rotary + stored + scores + gate
