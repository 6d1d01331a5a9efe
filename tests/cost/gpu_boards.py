"""A calibration of round figures, and boards that have it: tests of laws do not follow refits."""

from __future__ import annotations

from typing import Any, Final

from accelsim.cost import Work
from accelsim.cost.gpu import Calibration, Gpu
from accelsim.measure.gpus import board

_PRODUCT: Final = {
    "compute_efficiency": 0.9, "memory_efficiency": 0.8, "start_s": 3e-6, "smoothness": 3.0,
    "edge_elements": 10.0, "fill_elements": 50.0, "sustained_clock": 0.9, "combine_s": 1e-6,
    "camping": 0.05,
}  # fmt: skip
_LIBRARY: Final = {
    "prefill": {
        "compute_efficiency": 1.1, "start_s": 4e-6, "smoothness": 2.0, "edge_elements": 40.0,
        "block_s": 1e-6, "tail": 0.5, "packed": True,
    },
    "decode": {
        "memory_efficiency": 0.75, "start_s": 4e-6, "block_s": 1e-6, "combine_s": 3e-6,
        "resident": 1.5, "lone": 0.85, "most_splits": 64.0, "shortest_split": 64.0,
        "split_alone": True,
    },
    "grouped": {
        "compute_efficiency": 0.7, "memory_efficiency": 0.85, "start_s": 12e-6,
        "smoothness": 2.0, "edge_elements": 20.0, "fill_elements": 60.0, "sustained_clock": 0.9,
        "permute_passes": 3.0,
    },
}  # fmt: skip

PLAIN: Final = Calibration.model_validate(
    {
        "tensor": _PRODUCT, "simt": _PRODUCT | {"edge_elements": 4.0},
        "convolution": {
            "implicit": 0.8, "winograd": 0.8, "winograd_4x4": 0.7, "fill_elements": 20.0,
        },
        "vector": {
            "memory_efficiency": 0.85, "start_s": 2e-6, "smoothness": 2.5,
            "l2_bytes_per_clock": 32.0,
        },
        "libraries": {"sglang": _LIBRARY, "vllm": _LIBRARY},
        "fitted_on": {}, "split": "none: made up for tests", "error": "none",
    }
)  # fmt: skip
"""Scalars as plausible as any, and nobody's."""


def changed(section: str, calibration: Calibration = PLAIN, **scalars: Any) -> Calibration:
    """Return a calibration with other scalars in one section.

    Parameters
    ----------
    section : str
        ``tensor``, or ``sglang.decode`` for a library's.
    calibration : Calibration, optional
        What to change.
    **scalars
        The scalars that differ.
    """
    data = calibration.model_dump()
    part = data
    for name in section.split("."):
        part = part["libraries"][name] if name in data["libraries"] else part[name]
    part.update(scalars)
    return Calibration.model_validate(data)


def calibrated(name: str, calibration: Calibration = PLAIN) -> tuple[Gpu, float]:
    """Return a board's GPU with a calibration of a test, and its datasheet bandwidth, byte/s."""
    gpu, bandwidth = board(name)
    return gpu.model_copy(update={"calibration": calibration, "library": ""}), bandwidth


def product(m: int, n: int, k: int, batch: int = 1, dtype: str = "fp16", bits: int = 16) -> Work:
    """Return the work of a product by weights; several are experts, a matrix each."""
    return Work(
        "matmul", dtype=dtype, batch=batch, m=m, n=n, k=k, bits_a=bits, bits_b=bits, bits_c=bits,
        weight_bytes=batch * n * k * bits // 8, input_bytes=batch * m * k * bits // 8,
        output_bytes=batch * m * n * bits // 8, macs=batch * m * n * k,
    )  # fmt: skip


def strided(m: int, n: int, k: int, batch: int, dtype: str = "fp16", bits: int = 16) -> Work:
    """Return the work of a strided batch of products of activations."""
    return Work(
        "matmul", dtype=dtype, batch=batch, m=m, n=n, k=k, bits_a=bits, bits_b=bits, bits_c=bits,
        input_bytes=batch * m * k * bits // 8, kv_bytes=batch * n * k * bits // 8,
        output_bytes=batch * m * n * bits // 8, macs=batch * m * n * k,
    )  # fmt: skip


def convolved(
    images: int, channels: int, filters: int, side: int, width: int = 3, fast: bool = True,
    dtype: str = "fp16", bits: int = 16,
) -> Work:  # fmt: skip
    """Return the work of a convolution that keeps the size of its square images."""
    m, k, grid = images * side * side, channels * width * width, side if fast else 0
    return Work(
        "conv", height=grid, width=grid, dtype=dtype, m=m, n=filters, k=k,
        bits_a=bits, bits_b=bits, bits_c=bits,
        weight_bytes=k * filters * bits // 8, input_bytes=m * channels * bits // 8,
        output_bytes=m * filters * bits // 8, macs=m * filters * k,
    )  # fmt: skip


def attending(
    q_len: int, kv_len: int, causal: bool = True, batch: int = 1, kv: int = 8, heads: int = 32,
    function: str = "", dtype: str = "fp16", bits: int = 16,
) -> Work:  # fmt: skip
    """Return the work of attention with heads of 128."""
    queries, keys = batch * heads * q_len * 128, batch * kv * kv_len * 128
    return Work(
        "attention", function, dtype=dtype, batch=batch, heads=heads, kv_heads=kv, q_len=q_len,
        kv_len=kv_len, head_dim=128, value_dim=128, causal=causal, bits_a=bits, bits_b=bits,
        bits_c=bits, input_bytes=queries * bits // 8, output_bytes=queries * bits // 8,
        kv_bytes=2 * keys * bits // 8, macs=2 * queries * kv_len,
    )  # fmt: skip
