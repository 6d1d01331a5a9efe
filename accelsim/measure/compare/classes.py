"""Operator classes, what each row computes and moves, and which limit it stands under.

Strata part rows that a launch, the memory or the arithmetic bounds, because an error means
something else in each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.measure.compare.table import row_groups
from accelsim.measure.gpus import board, boards
from accelsim.measure.split import COLLECTIVES

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "APART", "CLASSES", "COMPUTE", "LAUNCH", "LINK", "LINKS", "MEMORY", "STRATA", "UNKNOWN",
    "classes", "floors_us", "roofline_us", "strata",
]  # fmt: skip

LINKS: Final = "collective"
"""Class of collectives, which are of links and no kernels."""

CLASSES: Final[Mapping[str, str]] = {
    **dict.fromkeys(COLLECTIVES, LINKS),
    "gemm": "gemm",
    "bmm": "bmm",
    "conv": "convolution",
    "attention_prefill": "attention, prefill",
    "attention_decode": "attention, decode",
    "attention_mixed": "attention, mixed",
    "moe": "moe",
    "softmax": "softmax",
    "layernorm": "norm",
    "rmsnorm": "norm",
    "gelu": "elementwise",
    "silu_mul": "elementwise",
    "elementwise": "elementwise",
    "rope": "elementwise",
    "embedding": "embedding",
    "rnn": "recurrent",
    "sampler": "sampling",
}
"""Operator of a table -> class it is scored in; one that is not listed is its own class."""

LAUNCH, MEMORY, COMPUTE, LINK, UNKNOWN = "launch", "memory", "compute", "link", "unknown"
STRATA: Final = (LAUNCH, MEMORY, COMPUTE, LINK, UNKNOWN)
"""What bounds a row; collectives by their link, ``unknown`` where there is no datasheet figure."""

APART: Final = ("cache_resident", "winograd_fft")
"""Flags of rows that are scored apart and never in the headline."""

_VECTOR: Final = frozenset({"softmax", "norm", "elementwise", "embedding", "sampling"})
_TENSOR_FORMATS: Final[Mapping[str, str]] = {"int8_wo": "bf16", "sq_int8": "int8"}
_ELEMENT_BYTES: Final[Mapping[str, float]] = {
    "fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "fp8": 1, "int8": 1, "nvfp4": 0.5625,
}  # fmt: skip
"""Bytes per element; nvfp4 has an fp8 scale for every 16 (NVIDIA, Blackwell tuning guide)."""

_FLOOR_QUANTILE: Final = 0.01  # not the very smallest, which is one lucky row of thousands
_LAUNCH_BOUND: Final = 2.0  # times the floor


def classes(table: pd.DataFrame) -> NDArray[np.object_]:
    """Return the operator class of every row."""
    return _mapped(table["op"], lambda op: CLASSES.get(op, op))


def floors_us(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return for every row the smallest latency of its source, clock, operator and GPU, in us.

    It is the 1 % quantile of their latencies: what a launch and this clock cost at least.
    """
    groups = table.groupby(["source", "timing", "op", "gpu"], observed=True)["latency_us"]
    floors = groups.transform("quantile", _FLOOR_QUANTILE)
    return floors.to_numpy(np.float64)


def roofline_us(table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return datasheet compute and memory time of every row, in us.

    Returns
    -------
    compute_us, memory_us : ndarray of float64
        Operations over the peak of the row's format, and bytes, each operand once, over the
        memory bandwidth. NaN where the board is not known, the row does not tell its sizes, or
        the operator is a collective. Vector operators are held to the rate outside tensor cores,
        and without a count of operations to their bytes alone.
    """
    flops, moved = _work(table)
    kind = classes(table)
    vector = np.isin(kind, list(_VECTOR))
    flops = np.where(vector & np.isnan(flops) & ~np.isnan(moved), 0.0, flops)
    peak, rate, bandwidth = _datasheet(table)
    link = kind == LINKS
    compute = np.where(link, np.nan, flops / np.where(vector, rate, peak))
    memory = np.where(link, np.nan, moved / bandwidth)
    return compute * 1e6, memory * 1e6


def strata(
    table: pd.DataFrame,
    floor_us: NDArray[np.float64],
    compute_us: NDArray[np.float64],
    memory_us: NDArray[np.float64],
) -> NDArray[np.object_]:
    """Return what bounds every row, one of `STRATA`.

    A row below twice the floor of its campaign measures the launch, unless the datasheet time is
    more than half of it (a campaign may have no small rows); of the others the larger datasheet
    time decides.
    """
    found = np.where(compute_us > memory_us, COMPUTE, MEMORY).astype(object)
    found[np.isnan(compute_us) | np.isnan(memory_us)] = UNKNOWN
    latency = table["latency_us"].to_numpy()
    busy = np.fmax(compute_us, memory_us) > latency / 2  # False without a datasheet time
    found[(latency < _LAUNCH_BOUND * floor_us) & ~busy] = LAUNCH
    found[classes(table) == LINKS] = LINK
    return found


def _mapped(column: pd.Series[str], function: Callable[[str], Any]) -> NDArray[np.object_]:
    """Return a function of each row's text, called once for every distinct text."""
    import pandas as pd

    codes, texts = pd.factorize(column)
    values: NDArray[np.object_] = np.empty(len(texts), dtype=np.object_)
    values[:] = [function(str(text)) for text in texts]
    mapped: NDArray[np.object_] = values[codes]
    return mapped


def _datasheet(
    table: pd.DataFrame,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return peak of the row's format, rate outside tensor cores (FLOP/s) and bandwidth (B/s)."""
    peak, rate, bandwidth = (np.full(len(table), np.nan) for _ in range(3))
    for (name, dtype), rows in row_groups(table, ("gpu", "dtype")).items():
        if name not in boards():
            continue
        gpu, bytes_per_s = board(name)
        rate[rows], bandwidth[rows] = gpu.vector_flops, bytes_per_s
        listed = gpu.multiplied(_TENSOR_FORMATS.get(dtype, dtype))
        if listed:
            peak[rows] = gpu.peak_flops[listed]
    return peak, rate, bandwidth


def _work(table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return operations and bytes (each operand once) of every row: the table's, or computed."""
    flops, moved = (table[name].to_numpy(np.float64, copy=True) for name in ("flops", "bytes_min"))
    width = _mapped(table["dtype"], lambda name: _ELEMENT_BYTES.get(name, np.nan))
    for op, count in _COUNTS.items():
        rows = np.flatnonzero((table["op"] == op).to_numpy() & (np.isnan(flops) | np.isnan(moved)))
        if rows.size:
            own_flops, own_bytes = count(table.iloc[rows], width[rows].astype(np.float64))
            flops[rows] = np.where(np.isnan(flops[rows]), own_flops, flops[rows])
            moved[rows] = np.where(np.isnan(moved[rows]), own_bytes, moved[rows])
    return flops, moved


def _product(
    rows: pd.DataFrame, width: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    b = rows["b"].fillna(1).to_numpy()
    m, n, k = (rows[name].to_numpy() for name in "mnk")
    return 2 * b * m * n * k, b * (m * k + k * n + m * n) * width


def _experts(
    rows: pd.DataFrame, width: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the counts of gated experts: the weights of those that can be hit, once."""
    tokens, hidden, topk = (rows[name].to_numpy() for name in ("rows", "hidden", "topk"))
    tp, ep = (rows[name].fillna(1).to_numpy() for name in ("tp", "ep"))
    weights = 3 * hidden * rows["inter"].to_numpy() / tp
    routed = tokens * topk / ep
    hit = rows["active_experts"].fillna(np.inf).to_numpy()
    hit = np.minimum(np.minimum(hit, rows["experts"].to_numpy() / ep), np.maximum(routed, 1))
    return 2 * routed * weights, hit * weights * width + 2 * 2 * tokens * hidden


def _mixed(
    rows: pd.DataFrame, width: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the counts of one causal prefill chunk and `n_decode` single queries."""
    names = ("heads", "kv_heads", "head_dim", "q_len", "kv_len", "n_decode", "kv_decode")
    heads, kv_heads, size, q, kv, n, keys = (rows[name].fillna(0).to_numpy() for name in names)
    pairs = q * kv - q * (q - 1) / 2 + n * keys
    moved = 2 * (q + n) * heads + 2 * (kv + n * keys) * kv_heads
    return 4 * heads * size * pairs, moved * size * width


_COUNTS: Final = {
    "gemm": _product, "bmm": _product, "moe": _experts, "attention_mixed": _mixed,
}  # fmt: skip
