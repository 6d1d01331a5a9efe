"""Times of measured operators by the GPU kernel model, whole tables at once.

A function per operator class prepares the rows of one board and number format and returns a
function of the scalars: predictions call it once, fits thousands of times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.cost._gpu_attention import DECODE_QUERIES
from accelsim.cost._gpu_calibration import (
    ConvolutionScalars,
    DecodeScalars,
    FormatScalars,
    GroupedScalars,
    PrefillScalars,
    ProductScalars,
    VectorScalars,
)
from accelsim.cost._gpu_product import MOST_SPLITS, TILES
from accelsim.cost._gpu_vector import row_kernel, softmax_instructions
from accelsim.cost.gpu import Gpu
from accelsim.measure._loops import (
    convolution_s,
    decode_s,
    experts_s,
    mixed_s,
    prefill_s,
    product_s,
    vector_s,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FORMATS", "FORMAT_OF", "UNQUANTISED", "VECTORS", "Seconds", "attends", "column",
    "convolutions", "decodes", "experts", "mixed", "prefills", "products", "vectors",
]  # fmt: skip

Seconds = NDArray[np.float64]

FORMATS: Final[Mapping[str, tuple[str, float, float]]] = {
    "fp32": ("fp32", 4, 4), "tf32": ("tf32", 4, 4), "fp16": ("fp16", 2, 2),
    "bf16": ("bf16", 2, 2), "fp8": ("fp8", 1, 1), "int8": ("int8", 1, 1),
    "sq_int8": ("int8", 1, 1), "int8_wo": ("bf16", 2, 1), "int4_wo": ("bf16", 2, 0.5),
    "nvfp4": ("nvfp4", 0.5625, 0.5625),
}  # fmt: skip
"""Format of a table -> format multiplied in, bytes per activation and per weight."""

FORMAT_OF: Final[Mapping[str, str]] = {"sq_int8": "int8"}
"""Format of a table -> entry of `Calibration.formats`, where their names differ."""

UNQUANTISED: Final = frozenset({"fp32", "tf32", "fp16", "bf16"})
"""Formats whose products are those of a section of the calibration, with nothing beside."""

VECTORS: Final = frozenset({
    "softmax", "layernorm", "rmsnorm", "gelu", "silu_mul", "elementwise", "rope", "embedding",
})  # fmt: skip
"""Operators that stream their operands without products."""

# How the scripts of aiconfigurator hand experts to devices is not documented; of the two ways this
# one predicts SGLang's rows better (26 against 28 %) and those of vLLM and TensorRT-LLM worse.
_CONTIGUOUS: Final = frozenset({"sglang"})


def column(table: pd.DataFrame, name: str, default: int = 1) -> NDArray[np.int64]:
    """Return a column of sizes; `default` where a row leaves it empty."""
    values = table[name].to_numpy(np.float64, na_value=np.nan) if name in table else None
    if values is None:
        return np.full(len(table), default, dtype=np.int64)
    return np.where(np.isnan(values), default, values).astype(np.int64)


def _widths(dtype: str) -> tuple[float, float, float]:
    """Return the bytes of an element of activations, weights and results."""
    _, a, b = FORMATS[dtype]
    return float(a), float(b), float(max(a, 2))


def products(
    table: pd.DataFrame, dtype: str, gpu: Gpu, bandwidth: float
) -> Callable[..., Seconds]:
    """Prepare ``gemm`` and ``bmm`` rows of one format.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of one board.
    dtype : str
        Their format, a key of `FORMATS`.
    gpu : Gpu
        The board's GPU.
    bandwidth : float
        Datasheet memory bandwidth, byte/s.

    Returns
    -------
    callable
        From `ProductScalars`, and `FormatScalars` where the format is quantised, to times in s,
        one per row.
    """
    widths = _widths(dtype)
    b, m, n, k = (column(table, name) for name in "bmnk")
    moved = (b * m * k * widths[0], b * n * k * widths[1], b * m * n * widths[2])
    times_of: Any = product_s  # compiled: takes the arrays that stars unpack
    single, batched, *chip = _chip(gpu, FORMATS[dtype][0])

    def times(c: ProductScalars, extra: FormatScalars | None = None) -> Seconds:
        scalars = _scalars(c, extra, gpu, dtype, bandwidth)
        shelf = (single, batched, MOST_SPLITS)
        if extra is not None and extra.tiles != "library":
            shelf = (TILES[extra.tiles], batched, 1)
        found: Seconds = times_of(b, m, n, k, *moved, *widths, *shelf, *chip, *scalars, c.camping)
        return found

    return times


def _chip(gpu: Gpu, name: str) -> tuple[Any, ...]:
    """Return what products of a format know of a GPU: tiles, multiprocessors, peak, L2 cache."""
    return gpu.tiles(name), gpu.tiles(name, batched=True), gpu.sms, gpu.peak(name), gpu.l2_bytes


def _scalars(
    c: ProductScalars, extra: FormatScalars | None, gpu: Gpu, dtype: str, bandwidth: float
) -> tuple[float, ...]:
    """Return bandwidth and scalars of products of a format, in the order of `matmul`'s."""
    share, start = (extra.efficiency, extra.start_s) if extra else (1.0, 0.0)
    listed = gpu.multiplied(FORMATS[dtype][0])
    slower, wider = gpu.against_reference(listed, gpu.arithmetic(listed))
    return (
        bandwidth * c.memory_efficiency, c.compute_efficiency * share, c.start_s + start,
        c.smoothness, c.edge_elements * slower * wider, c.fill_elements * slower,
        gpu.sustained_clock(c, listed), c.combine_s,
    )  # fmt: skip


def convolutions(
    table: pd.DataFrame, dtype: str, gpu: Gpu, bandwidth: float
) -> Callable[..., Seconds]:
    """Prepare ``conv`` rows of one format: `ConvolutionScalars` first, then as `products`."""
    names = ("batch", "c_in", "c_out", "kh", "kw", "h_in", "w_in", "stride_h", "stride_w")
    images, c_in, n, kh, kw, high, wide, down, across = (column(table, x) for x in names)
    pad_h, pad_w = column(table, "pad_h", 0), column(table, "pad_w", 0)
    height = np.maximum((high + 2 * pad_h - kh) // down + 1, 1)
    width = np.maximum((wide + 2 * pad_w - kw) // across + 1, 1)
    widths, k = _widths(dtype), c_in * kh * kw
    sizes = np.stack([images, height, width, n, k], axis=1)
    held = (images * c_in * high * wide, k * n, images * height * width * n)
    memory = np.stack([count * each for count, each in zip(held, widths, strict=True)], axis=1)
    fast = (kh == 3) & (kw == 3) & (down == 1) & (across == 1)
    arithmetic = gpu.arithmetic(FORMATS[dtype][0])
    fast &= arithmetic == "simt"
    times_of: Any = convolution_s  # compiled, as above
    listed = gpu.multiplied(FORMATS[dtype][0])
    slower, _ = gpu.against_reference(listed, arithmetic)
    chip = _chip(gpu, FORMATS[dtype][0])

    def times(
        own: ConvolutionScalars, c: ProductScalars, extra: FormatScalars | None = None
    ) -> Seconds:
        scalars = _scalars(c, extra, gpu, dtype, bandwidth)
        found: Seconds = times_of(
            sizes, fast, memory, *widths, *chip,
            own.gathered(arithmetic), own.winograd, own.winograd_4x4,
            own.fill_elements * slower, *scalars[:5], *scalars[6:],
        )  # fmt: skip
        return found

    return times


def _sizes(table: pd.DataFrame, queries: str = "q_len", keys: str = "kv_len") -> NDArray[np.int64]:
    """Return batch, heads, KV heads, new and attended tokens, widths of key and value."""
    names = ("batch", "heads", "kv_heads", queries, keys, "head_dim", "head_dim")
    return np.stack([column(table, name) for name in names], axis=1)


def _attended_bytes(sizes: NDArray[np.int64], width: float) -> Seconds:
    batch, heads, kv_heads, q, kv, dim, _ = sizes.T
    return np.asarray(2.0 * width * batch * dim * (heads * q + kv_heads * kv))


def attends(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which attention rows have so few queries that the decode kernel runs them."""
    return column(table, "q_len") <= DECODE_QUERIES


def prefills(
    table: pd.DataFrame, dtype: str, gpu: Gpu, bandwidth: float
) -> Callable[[PrefillScalars, DecodeScalars], Seconds]:
    """Prepare attention rows of whole query tiles; see `products`."""
    sizes, width = _sizes(table), FORMATS[dtype][1]
    moved, causal = _attended_bytes(sizes, width), column(table, "causal", 0) == 1
    chip = (gpu.sms, gpu.peak(FORMATS[dtype][0]), gpu.vector_flops, gpu.special_per_s())

    def times(c: PrefillScalars, d: DecodeScalars) -> Seconds:
        found: Seconds = prefill_s(
            sizes, causal, moved, *chip, bandwidth * d.memory_efficiency, c.compute_efficiency,
            c.start_s, c.smoothness, c.edge_elements, c.block_s, c.tail, c.packed,
        )  # fmt: skip
        return found

    return times


def decodes(
    table: pd.DataFrame, dtype: str, gpu: Gpu, bandwidth: float
) -> Callable[[DecodeScalars], Seconds]:
    """Prepare attention rows of few queries; see `products`."""
    sizes = _sizes(table)
    if table["op"].eq("attention_decode").all():
        sizes[:, 3] = 1
    return _decodes(sizes, dtype, gpu, bandwidth)


def _decodes(
    sizes: NDArray[np.int64], dtype: str, gpu: Gpu, bandwidth: float
) -> Callable[[DecodeScalars], Seconds]:
    width = FORMATS[dtype][1]
    moved, peak = _attended_bytes(sizes, width), gpu.peak(FORMATS[dtype][0])

    def times(d: DecodeScalars) -> Seconds:
        found: Seconds = decode_s(
            sizes, width, moved, gpu.sms, peak, bandwidth * d.memory_efficiency, d.start_s,
            d.block_s, d.combine_s, d.resident, d.lone, d.most_splits, d.shortest_split,
            d.split_alone,
        )  # fmt: skip
        return found

    return times


def mixed(
    table: pd.DataFrame, dtype: str, gpu: Gpu, bandwidth: float
) -> Callable[[PrefillScalars, DecodeScalars], Seconds]:
    """Prepare rows of one prefill chunk beside decoding sequences; see `products`.

    A library that packs heads has two kernels for them, one after the other; else one runs all.
    """
    chunk = prefills(table, dtype, gpu, bandwidth)
    sizes, others = _sizes(table, "q_len", "kv_decode"), column(table, "n_decode", 0)
    sizes[:, 0], sizes[:, 3] = others, 1
    steps = _decodes(np.maximum(sizes, 1), dtype, gpu, bandwidth)
    whole, width = _sizes(table), FORMATS[dtype][1]
    moved = _attended_bytes(whole, width) + np.where(others > 0, _attended_bytes(sizes, width), 0)
    causal = column(table, "causal", 0) == 1
    chip = (gpu.sms, gpu.peak(FORMATS[dtype][0]), gpu.vector_flops, gpu.special_per_s())

    def times(c: PrefillScalars, d: DecodeScalars) -> Seconds:
        if c.packed:
            return np.asarray(chunk(c, d) + np.where(others > 0, steps(d) - d.start_s, 0.0))
        found: Seconds = mixed_s(
            whole, causal, moved, others, sizes[:, 4], *chip, bandwidth * d.memory_efficiency,
            c.compute_efficiency, c.start_s, c.smoothness, c.edge_elements, c.block_s, c.tail,
        )  # fmt: skip
        return found

    return times


def experts(
    table: pd.DataFrame, dtype: str, variant: str, gpu: Gpu, bandwidth: float
) -> Callable[[GroupedScalars, VectorScalars], Seconds]:
    """Prepare ``moe`` rows: two grouped products and the activation between; see `products`.

    A row whose ``subop`` is ``power_law_A`` loads its experts by a power law of exponent A;
    `variant` is the library whose script drew the loads.
    """
    names = ("rows", "hidden", "inter", "experts", "topk", "tp", "ep")
    sizes = [column(table, name) for name in names]
    law = table["subop"].astype(str).str.extract(r"power_law_([\d.]+)")[0]
    alpha, active = law.astype(float).fillna(0.0).to_numpy(), column(table, "active_experts", 0)
    name, widths = FORMATS[dtype][0], _widths(dtype)
    slower, wider = gpu.against_reference(gpu.multiplied(name), gpu.arithmetic(name))
    routed = sizes[0] * sizes[4] / sizes[6] * sizes[2] / sizes[5]
    layer_s: Any = experts_s  # compiled, as above
    gated = vector_times(3 * routed * widths[2], 5 * routed, "silu_mul", gpu, bandwidth)

    def times(c: GroupedScalars, v: VectorScalars) -> Seconds:
        found: Seconds = layer_s(
            *sizes, alpha, active, variant in _CONTIGUOUS, *widths, gpu.sms, gpu.peak(name),
            bandwidth * c.memory_efficiency, c.compute_efficiency, c.start_s, c.smoothness,
            c.edge_elements * slower * wider, c.fill_elements * slower, c.sustained_clock,
            c.permute_passes,
        )  # fmt: skip
        return np.asarray(found + gated(v))

    return times


def vectors(
    table: pd.DataFrame, op: str, function: str, gpu: Gpu, bandwidth: float
) -> Callable[[VectorScalars], Seconds]:
    """Prepare rows of one operator of `VECTORS` and one function; see `products`."""
    moved = table["bytes_min"].to_numpy(np.float64, na_value=np.nan)
    operations = np.nan_to_num(table["flops"].to_numpy(np.float64, na_value=np.nan))
    columns, rows = column(table, "cols"), column(table, "rows")
    if op == "softmax":
        each = np.array([softmax_instructions(x) for x in columns])
        operations = 2.0 * each * rows * columns
    return vector_times(moved, operations, function, gpu, bandwidth, rows, columns)


def vector_times(
    moved: Seconds, operations: Seconds, function: str, gpu: Gpu, bandwidth: float,
    rows: NDArray[np.int64] | None = None, columns: NDArray[np.int64] | None = None,
) -> Callable[[VectorScalars], Seconds]:  # fmt: skip
    """Return `accelsim.cost._gpu_vector.vector` over arrays of bytes and operations."""
    count = np.ones(moved.size) if rows is None else np.maximum(rows, 1).astype(np.float64)
    runs = np.zeros((moved.size, 2))
    if columns is not None:
        threads = gpu.threads_per_sm
        runs = np.array([row_kernel(function, n, threads) for n in columns.tolist()])
        runs = runs.reshape(-1, 2)
    row_bytes = moved / 2.0 / count  # half of the bytes are read
    arithmetic = operations / gpu.vector_flops
    chip = (gpu.sms, gpu.shared_memory_bytes, gpu.l2_bytes)

    def times(v: VectorScalars) -> Seconds:
        share = v.memory_efficiency * v.efficiency.get(function, 1.0)
        cached = v.l2_bytes_per_clock * gpu.sms * gpu.frequency_hz
        found: Seconds = vector_s(
            arithmetic, moved, count, row_bytes, runs, *chip,
            bandwidth * share, cached * share,
            v.start_s, v.smoothness, v.row_s.get(function, 0.0),
        )  # fmt: skip
        return np.where(np.isnan(moved), np.nan, found)

    return times
