"""The GPU kernels over whole tables: each loop calls one cost model once per measured row."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelsim.cost._gpu_attention import QUERY_TILES, decode, mixed, prefill
from accelsim.cost._gpu_convolution import convolution
from accelsim.cost._gpu_product import grouped, matmul
from accelsim.cost._gpu_vector import vector
from accelsim.jit import kernel

__all__ = [
    "convolution_s",
    "decode_s",
    "experts_s",
    "loads",
    "mixed_s",
    "prefill_s",
    "product_s",
    "vector_s",
]


@kernel
def product_s(
    b: Any, m: Any, n: Any, k: Any, memory_a: Any, memory_b: Any, memory_c: Any,
    bytes_a: float, bytes_b: float, bytes_c: float, single: Any, batched: Any,
    most: int, sms: int, peak: float, l2: float, bandwidth: float,
    efficiency: float, start: float, p: float, edge: float, fill: float, clock: float,
    combine: float, camping: float,
) -> Any:  # fmt: skip
    """Return the time of every product, s; arrays in the order of `matmul`'s parameters."""
    out = np.empty(m.size)
    for i in range(m.size):
        tiles = batched if b[i] > 1 else single
        out[i] = matmul(
            b[i], m[i], n[i], k[i], bytes_a, bytes_b, bytes_c,
            memory_a[i], memory_b[i], memory_c[i], tiles, most, sms, peak, l2, bandwidth,
            efficiency, start, p, edge, fill, clock, combine, camping,
        )[0]  # fmt: skip
    return out


@kernel
def convolution_s(
    sizes: Any, fast: Any, memory: Any, bytes_a: float, bytes_b: float, bytes_c: float,
    tiles: Any, batched: Any, sms: int, peak: float, l2: float,
    implicit: float, winograd: float, winograd_4x4: float, fill: float,
    bandwidth: float, efficiency: float, start: float, p: float, edge: float, clock: float,
    combine: float,
) -> Any:  # fmt: skip
    """Return the time of every convolution, s; `sizes` has images, height, width, n and k."""
    out = np.empty(fast.size)
    for i in range(fast.size):
        s, held = sizes[i], memory[i]
        out[i] = convolution(
            1, s[0], s[1], s[2], s[3], s[4], bytes_a, bytes_b, bytes_c, held[0], held[1], held[2],
            fast[i], tiles, batched, sms, peak, l2, implicit, winograd, winograd_4x4, fill,
            bandwidth, efficiency, start, p, edge, clock, combine,
        )[0]  # fmt: skip
    return out


@kernel
def prefill_s(
    sizes: Any, causal: Any, moved: Any,
    sms: int, peak: float, vector_flops: float, special: float, bandwidth: float,
    efficiency: float, start: float, p: float, edge: float, block: float, tail: float,
    packed: bool,
) -> Any:  # fmt: skip
    """Return the time of every prefill, s; `sizes` has the seven of `prefill` as columns."""
    out = np.empty(moved.size)
    for i in range(moved.size):
        s = sizes[i]
        out[i] = prefill(
            s[0], s[1], s[2], s[3], s[4], s[5], s[6], causal[i], moved[i],
            sms, peak, vector_flops, special, bandwidth,
            efficiency, start, p, edge, block, tail, packed,
        )[0]  # fmt: skip
    return out


@kernel
def mixed_s(
    sizes: Any, causal: Any, moved: Any, others: Any, keys: Any,
    sms: int, peak: float, vector_flops: float, special: float, bandwidth: float,
    efficiency: float, start: float, p: float, edge: float, block: float, tail: float,
) -> Any:  # fmt: skip
    """Return the time of every prefill with decoding sequences in its kernel, s."""
    out = np.empty(moved.size)
    for i in range(moved.size):
        s = sizes[i]
        out[i] = mixed(
            s[0], s[1], s[2], s[3], s[4], s[5], s[6], causal[i], moved[i], others[i], keys[i],
            sms, peak, vector_flops, special, bandwidth,
            efficiency, start, p, edge, block, tail, QUERY_TILES[-1], 1,
        )[0]  # fmt: skip
    return out


@kernel
def decode_s(
    sizes: Any, width: float, moved: Any, sms: int, peak: float, bandwidth: float,
    start: float, block: float, combine: float, resident: float, lone: float,
    most: float, shortest: float, split_alone: bool,
) -> Any:  # fmt: skip
    """Return the time of every decode, s; `sizes` has the seven of `decode` as columns."""
    out = np.empty(moved.size)
    for i in range(moved.size):
        s = sizes[i]
        out[i] = decode(
            s[0], s[1], s[2], s[3], s[4], s[5], s[6], width, moved[i], sms, peak, bandwidth,
            start, block, combine, resident, lone, most, shortest, split_alone,
        )[0]  # fmt: skip
    return out


@kernel
def loads(
    tokens: int, topk: int, experts: int, devices: int, alpha: float, contiguous: bool
) -> Any:  # fmt: skip
    """Return the rows of every expert on the device that has the most.

    Parameters
    ----------
    tokens, topk, experts, devices : int
        Tokens, experts per token, experts in all and devices that share them.
    alpha : float
        Exponent of a power law whose quantiles the loads follow; 0 loads all alike.
    contiguous : bool
        A device holds experts that follow each other by load, not every `devices`-th.

    Returns
    -------
    ndarray of float64, shape (experts / devices,)
        Whole rows, of the device with the fullest expert, which all wait for.

    Notes
    -----
    The density x^-alpha is taken from 1 to 0.8 tokens, the form of aiconfigurator's collector; a
    load is at most one row per token.
    """
    total, local = float(tokens * topk), max(1, experts // devices)
    every = np.empty(experts)
    if alpha <= 0.0:
        every[:] = total / experts
    else:
        power = 1.0 - alpha if abs(1.0 - alpha) > 1e-6 else 1e-6
        high = max(2.0, 0.8 * tokens) ** power
        for i in range(experts):
            every[i] = ((high - 1.0) * (1.0 - (i + 0.5) / experts) + 1.0) ** (1.0 / power)
        every *= total / every.sum()
        every = np.minimum(every, tokens)
    out = np.empty(local)
    running, given = 0.0, 0.0
    for i in range(local):
        running += every[i if contiguous else i * devices]
        out[i] = np.round(running) - given
        given += out[i]
    if given <= 0.0:
        out[0] = 1.0
    return out


@kernel
def experts_s(
    tokens: Any, hidden: Any, inter: Any, experts: Any, topk: Any, tp: Any, ep: Any, alpha: Any,
    active: Any, contiguous: bool, bytes_a: float, bytes_b: float, bytes_c: float,
    sms: int, peak: float, bandwidth: float,
    efficiency: float, start: float, p: float, edge: float, fill: float, clock: float,
    passes: float,
) -> Any:  # fmt: skip
    """Return the time of every layer of gated experts on one device, s: two grouped products."""
    out = np.empty(tokens.size)
    for i in range(tokens.size):
        rows = loads(tokens[i], topk[i], experts[i], ep[i], alpha[i], contiguous)
        if active[i] > 0:  # the row tells how many experts were hit
            rows = loads(tokens[i], topk[i], active[i], 1, 0.0, contiguous)
        inner = inter[i] // tp[i]
        routed = tokens[i] * topk[i]  # a device sorts those of all devices
        time = 2.0 * start + passes * routed * hidden[i] * bytes_a / bandwidth
        for n, k in ((2 * inner, hidden[i]), (hidden[i], inner)):
            time += grouped(
                rows, n, k, bytes_a, bytes_b, bytes_c, sms, peak, bandwidth,
                efficiency, p, edge, fill, clock,
            )[0]  # fmt: skip
        out[i] = time
    return out


@kernel
def vector_s(
    busy: Any, moved: Any, rows: Any, row_bytes: Any, runs: Any, sms: int, shared: float,
    l2: float, bandwidth: float, l2_bandwidth: float, start: float, p: float, row: float,
) -> Any:  # fmt: skip
    """Return the time of every kernel without products, s; `runs` is of `row_kernel`."""
    out = np.empty(moved.size)
    for i in range(moved.size):
        out[i] = vector(
            busy[i], moved[i], rows[i], row_bytes[i], runs[i, 0], runs[i, 1], sms, shared, l2,
            bandwidth, l2_bandwidth, start, p, row,
        )[0]  # fmt: skip
    return out
