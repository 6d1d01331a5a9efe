"""Operations and least traffic of measured operators, what they amount to per second, and flags.

A row is counted from its dimensions alone, so a mapping of dimensions that is wrong shows as a
rate above the board's peak; rows above it are flagged where physics explains them, else dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.measure.gpus import board, boards

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["above_peak", "with_rates"]

_Array = NDArray[np.float64]
_Counts = tuple[_Array, _Array]

# Bytes per element of activations, weights and results. nvfp4 carries one fp8 scale per 16.
_BYTES: Final[Mapping[str, tuple[float, float, float]]] = {
    "fp32": (4, 4, 4), "fp16": (2, 2, 2), "bf16": (2, 2, 2), "fp8": (1, 1, 2),
    "nvfp4": (0.5625, 0.5625, 2), "int8": (1, 1, 2), "int8_wo": (2, 1, 2), "sq_int8": (1, 1, 2),
}  # fmt: skip

# Format in which the products of a quantised format run, where that is not its own name.
_MULTIPLIED: Final = {"int8_wo": "bf16", "sq_int8": "int8"}

# Operations per element and tensors moved (in and out) of row-wise operators.
_PER_ELEMENT: Final[Mapping[str, tuple[float, float]]] = {
    "softmax": (5, 2), "layernorm": (7, 2), "rmsnorm": (4, 2), "gelu": (8, 2), "silu_mul": (6, 3),
}  # fmt: skip
_UNARY: Final = ("relu", "tanh", "add_scalar", "div_scalar", "mul_scalar", "pow_scalar")
_GATES: Final = {"vanilla": 1.0, "gru": 3.0, "lstm": 4.0}

DRAM_ALLOWANCE, FLOPS_ALLOWANCE, RESIDENT_CACHES = 1.05, 1.10, 2.0
"""Measured over datasheet bandwidth and peak that may be clock or rounding; caches of working
set below which traffic need not reach DRAM (the figures of the validation protocol)."""


def with_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with flops, bytes_min, tflops, gbps, frac_flops and frac_bw filled in.

    Parameters
    ----------
    table : DataFrame
        Rows in the columns of `accelsim.measure.imports._table.COLUMNS`.

    Returns
    -------
    DataFrame
        1 MAC counts as 2 operations; bytes_min reads and writes every operand once; collectives
        count the bytes of a ring per rank. Fractions are of the board's dense peak and datasheet
        bandwidth, missing for boards that no component file lists.
    """
    flops, moved = np.full(len(table), np.nan), np.full(len(table), np.nan)
    for op, places in table.groupby("op", observed=True).indices.items():
        if str(op) in _COUNTS:
            flops[places], moved[places] = _COUNTS[str(op)](table.iloc[places])
    seconds = table["latency_us"].to_numpy(np.float64) * 1e-6
    peak, bandwidth = _limits(table)
    local = ~table["bytes"].notna().to_numpy()  # collectives use links, not DRAM
    rates = {
        "flops": flops, "bytes_min": moved,
        "tflops": flops / seconds * 1e-12, "gbps": moved / seconds * 1e-9,
        "frac_flops": flops / seconds / peak,
        "frac_bw": np.where(local, moved / seconds / bandwidth, np.nan),
    }  # fmt: skip
    return table.assign(**rates)


def above_peak(table: pd.DataFrame) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Return each row's flag, and which rows nothing explains.

    Parameters
    ----------
    table : DataFrame
        Rows with the columns of `with_rates`.

    Returns
    -------
    flag : ndarray of str
        Empty, ``cache_resident`` (above DRAM bandwidth with at most two last-level caches of
        data), ``over_peak_bw_5pct``, ``winograd_fft`` (a convolution above the peak) or
        ``over_rated_boost`` (at most 10 % above it).
    impossible : ndarray of bool
        Rows above a peak by more: mislabelled or mistyped.
    """
    share_bw, share_flops = (table[c].to_numpy(np.float64) for c in ("frac_bw", "frac_flops"))
    moved = table["bytes_min"].to_numpy(np.float64)
    caches = moved / _by_board(table, lambda gpu, _: float(gpu.l2_bytes))
    convolution = (table["op"] == "conv").to_numpy()
    flag: NDArray[np.object_] = np.full(len(table), "", dtype=object)
    with np.errstate(invalid="ignore"):
        fast, dense = share_bw > 1.0, share_flops > 1.0
        resident = fast & (caches <= RESIDENT_CACHES)
        slightly = fast & ~resident & (share_bw <= DRAM_ALLOWANCE)
        boosted = dense & ~convolution & (share_flops <= FLOPS_ALLOWANCE)
    flag[boosted] = "over_rated_boost"
    flag[dense & convolution] = "winograd_fft"
    flag[slightly] = "over_peak_bw_5pct"
    flag[resident] = "cache_resident"
    impossible = (fast & ~resident & ~slightly) | (dense & ~convolution & ~boosted)
    return flag, impossible


def _limits(table: pd.DataFrame) -> tuple[_Array, _Array]:
    """Return peak FLOP/s for the row's format and datasheet byte/s, missing where unknown."""
    peak = np.full(len(table), np.nan)
    kinds = table["gpu"].astype(str) + " " + table["dtype"].astype(str)
    for kind, places in table.groupby(kinds.to_numpy()).indices.items():
        name, _, dtype = str(kind).rpartition(" ")
        if name in boards():
            gpu, _ = board(name)
            form = gpu.multiplied(_MULTIPLIED.get(dtype, dtype))
            peak[places] = gpu.peak_flops[form] if form else np.nan
    return peak, _by_board(table, lambda _, bandwidth: bandwidth)


def _by_board(table: pd.DataFrame, value: Callable[[Any, float], float]) -> _Array:
    found = {str(n): value(*board(str(n))) for n in table["gpu"].unique() if str(n) in boards()}
    return np.asarray(table["gpu"].astype(str).map(found), np.float64)


def _dims(rows: pd.DataFrame, *names: str) -> list[_Array]:
    return [rows[name].to_numpy(np.float64, na_value=np.nan) for name in names]


def _widths(rows: pd.DataFrame) -> tuple[_Array, _Array, _Array]:
    """Return bytes per element of activations, weights and results."""
    sizes = [rows["dtype"].astype(str).map({d: s[i] for d, s in _BYTES.items()}) for i in range(3)]
    a, b, c = (np.asarray(s, np.float64) for s in sizes)
    return a, b, c


def _product(rows: pd.DataFrame) -> _Counts:
    batch, m, n, k = _dims(rows, "b", "m", "n", "k")
    batch = np.nan_to_num(batch, nan=1.0)  # only bmm has it
    a, b, c = _widths(rows)
    return 2 * batch * m * n * k, batch * (m * k * a + n * k * b + m * n * c)


def _row_wise(rows: pd.DataFrame) -> _Counts:
    operations, tensors = _PER_ELEMENT[str(rows["op"].iloc[0])]
    elements = np.multiply(*_dims(rows, "rows", "cols"))
    return operations * elements, tensors * elements * _widths(rows)[0]


def _elementwise(rows: pd.DataFrame) -> _Counts:
    subop = rows["subop"].astype(str)
    tensors = np.where(subop.isin(_UNARY), 2.0, np.where(subop == "add3", 4.0, 3.0))
    elements = np.multiply(*_dims(rows, "rows", "cols"))
    return elements, tensors * elements * _widths(rows)[0]


def _embedding(rows: pd.DataFrame) -> _Counts:
    elements = np.multiply(*_dims(rows, "rows", "cols"))
    return np.full(len(rows), np.nan), 2 * elements * _widths(rows)[0]


def _rope(rows: pd.DataFrame) -> _Counts:
    tokens, heads, kv_heads, width = _dims(rows, "rows", "heads", "kv_heads", "head_dim")
    moved = 2 * tokens * (heads + kv_heads) * width * _widths(rows)[0]
    return np.full(len(rows), np.nan), moved


def _attention(rows: pd.DataFrame) -> _Counts:
    names = ("batch", "heads", "kv_heads", "head_dim", "q_len", "kv_len", "causal")
    batch, heads, kv_heads, width, q_len, kv_len, causal = _dims(rows, *names)
    scores = q_len * kv_len - np.where(causal == 1, q_len * (q_len - 1) / 2, 0.0)
    moved = batch * width * (2 * heads * q_len + 2 * kv_heads * kv_len) * _widths(rows)[0]
    return 4 * batch * heads * width * scores, moved


def _convolution(rows: pd.DataFrame) -> _Counts:
    batch, c_in, c_out, kh, kw = _dims(rows, "batch", "c_in", "c_out", "kh", "kw")
    height, width = _dims(rows, "h_in", "w_in")
    stride_h, stride_w, pad_h, pad_w = _dims(rows, "stride_h", "stride_w", "pad_h", "pad_w")
    high = (height + 2 * pad_h - kh) // stride_h + 1
    wide = (width + 2 * pad_w - kw) // stride_w + 1
    a, b, c = _widths(rows)
    # A stride above the filter size skips inputs, which need not be read.
    touched = np.minimum(height, high * kh) * np.minimum(width, wide * kw)
    weights, results = c_out * c_in * kh * kw, batch * c_out * high * wide
    moved = batch * c_in * touched * a + weights * b + results * c
    return 2 * results * c_in * kh * kw, moved


def _experts(rows: pd.DataFrame) -> _Counts:
    tokens, topk, hidden, inter, tp, ep = _dims(
        rows, "rows", "topk", "hidden", "inter", "tp", "ep"
    )
    share = tp * np.nan_to_num(ep, nan=1.0)
    # Gated: three matrices. Which experts are loaded depends on the routing, so no bytes.
    return 6 * tokens * topk * hidden * inter / share, np.full(len(rows), np.nan)


def _recurrent(rows: pd.DataFrame) -> _Counts:
    batch, steps, hidden = _dims(rows, "batch", "q_len", "hidden")
    gates = rows["subop"].astype(str).map(_GATES).to_numpy(np.float64)
    return 2 * gates * batch * steps * hidden**2, np.full(len(rows), np.nan)


def _collective(rows: pd.DataFrame) -> _Counts:
    size, ranks = _dims(rows, "bytes", "n_devices")
    op = str(rows["op"].iloc[0])
    # A ring sends each rank's share once round to gather, and twice to reduce and gather.
    rounds = 2.0 if op == "allreduce" else 1.0
    moved = size if op == "send_recv" else size * rounds * (ranks - 1) / ranks
    return np.full(len(rows), np.nan), moved


_COUNTS: Final[Mapping[str, Callable[[Any], _Counts]]] = {
    "gemm": _product, "bmm": _product, "elementwise": _elementwise, "embedding": _embedding,
    "rope": _rope, "attention_prefill": _attention, "attention_decode": _attention,
    "conv": _convolution, "moe": _experts, "rnn": _recurrent,
    **dict.fromkeys(_PER_ELEMENT, _row_wise),
    **dict.fromkeys(("send_recv", "allreduce", "allgather", "reducescatter", "alltoall"),
                    _collective),
}  # fmt: skip
