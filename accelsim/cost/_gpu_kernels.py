"""Times of GPU kernels: tiled matrix products, fused attention, and bandwidth-bound kernels.

Scalars in, scalars out. `gpu` chooses the kernel for an operator and turns times into estimates.
"""

from __future__ import annotations

import numpy as np

from accelsim.jit import kernel

__all__ = ["attention", "matmul", "smooth_max", "vector"]

# Output tiles of one thread block (rows, columns), and pieces the reduction is cut into.  The
# tiles are those that CUTLASS generates for tensor cores from Ampere on, and the 16- and 32-row
# ones of TensorRT-LLM's decode GEMMs.  Twice as many tiles, or more split factors, change the
# error on held-out shapes by less than 0.1 % (reports/calibration).
TILES = np.array(
    [(256, 128), (128, 256), (128, 128), (128, 64), (64, 128), (64, 64), (32, 64), (16, 64)]
)
SPLITS = np.array([1, 2, 4, 8, 16])
SPLIT_K_MIN = 256  # a shorter reduction per thread block would be all prologue
SLAB_K = 32  # depth of one shared-memory stage; two stages overlap loads with arithmetic
STAGES = 2
FRAGMENT = 16  # side of the register tile that a tensor-core instruction works on
PARTIAL_BYTES = 8.0  # a partial sum is written and read again, in fp32

# Fused attention of FlashAttention-2: query rows per thread block, padded where fewer are there,
# and key columns per step. Its decode kernel takes the smaller tile, packs the query heads of one
# KV head into it, and splits the keys; the other one does neither.
QUERY_TILE = 128
DECODE_TILE = 64
KEY_TILE = 64
DECODE_QUERIES = 16  # new tokens per sequence up to which the decode kernel runs
KV_SPLITS = np.array([1, 2, 4, 8, 16, 32, 64])
KV_SPLIT_MIN = 256  # keys per split below which FlashDecoding does not split further
# Per score, besides the exponential: maximum, scale-and-subtract, sum, conversion, each one fp32
# instruction (FlashAttention-2, algorithm 1).
SCORE_INSTRUCTIONS = 4.0


@kernel
def smooth_max(x: float, y: float, p: float) -> float:
    """Return (x^p + y^p)^(1/p): at least the larger, at most the sum.

    Examples
    --------
    >>> smooth_max(3.0, 4.0, 2.0), smooth_max(0.0, 2.0, 3.0)
    (5.0, 2.0)
    """
    high, low = max(x, y), min(x, y)
    if low <= 0.0:
        return high
    return float(high * (1.0 + (low / high) ** p) ** (1.0 / p))


@kernel
def _reread(
    m: int, n: int, k: int, bytes_a: float, bytes_b: float, tm: int, tn: int, sms: int, l2: float
) -> tuple[float, float]:
    """Return how often each operand of one product crosses the memory interface.

    Thread blocks run in roughly square groups of one wave. A group streams its rows of A and its
    columns of B once; what does not stay in the L2 cache is read again by the next group. Half of
    the cache is taken as useful for one operand, the other half streams.
    """
    size_a, size_b = m * k * bytes_a, k * n * bytes_b
    if size_a + size_b <= l2:
        return 1.0, 1.0
    rows, columns = -(-m // tm), -(-n // tn)
    wide = max(1.0, min(np.floor(np.sqrt(sms * tm / tn)), columns))
    high = max(1.0, min(np.floor(sms / wide), rows))
    wide = max(wide, min(np.floor(sms / high), columns))
    again_a = 1.0 if size_a <= l2 / 2 else np.ceil(columns / wide)
    again_b = 1.0 if size_b <= l2 / 2 else np.ceil(rows / high)
    kept_b = 1.0 if wide * tn * k * bytes_b <= l2 / 2 else again_b  # column by column of groups
    kept_a = 1.0 if high * tm * k * bytes_a <= l2 / 2 else again_a  # row by row of groups
    if again_a * size_a + kept_b * size_b <= kept_a * size_a + again_b * size_b:
        return again_a, kept_b
    return kept_a, again_b


@kernel
def matmul(
    batch: int, m: int, n: int, k: int, bytes_a: float, bytes_b: float, bytes_c: float,
    memory_a: float, memory_b: float, memory_c: float,
    sms: int, peak: float, shared: float, l2: float, bandwidth: float,
    efficiency: float, start: float, p: float, edge: float, rounding: float, fill: float,
) -> tuple[float, int, int, int, float, float, float, float]:  # fmt: skip
    """Time of `batch` products C[m,n] = A[m,k] B[k,n], by the fastest tile and split of k.

    Parameters
    ----------
    batch, m, n, k : int
        Iteration space; a group of experts is a batch, so each pads its rows to tiles.
    bytes_a, bytes_b, bytes_c : float
        Bytes per element.
    memory_a, memory_b, memory_c : float
        Compulsory bytes of each operand over the memory interface, all products together.
    sms : int
        Streaming multiprocessors.
    peak, bandwidth : float
        Datasheet rate (FLOP/s) and attainable memory bandwidth (byte/s).
    shared, l2 : float
        Shared memory per multiprocessor and L2 cache, bytes.
    efficiency, start, p, edge, rounding, fill : float
        Calibration: e_c, t0 (s), p, c (elements), a, k0 (elements); see `gpu.Calibration`.

    Returns
    -------
    tuple
        Time (s), tile rows, tile columns, splits, re-reads of A and of B, bytes from L2 to
        shared memory, bytes from shared memory to registers.

    Notes
    -----
    t = t0 + (t_comp^p + t_mem^p)^(1/p);
    t_comp = w 2 tm tn (k/s + k0) (1 + c (1/tm + 1/tn)) SMs / (peak e_c) with x tiles per
    multiprocessor and w = a ceil(x) + (1 - a) max(x, 1); t_mem = bytes / bandwidth, with s > 1
    partial sums written and read once.

    References
    ----------
    A. Kerr et al., CUTLASS, https://github.com/NVIDIA/cutlass (tiles, split-K).
    """
    best, best_m, best_n, best_split = np.inf, 0, 0, 1
    compulsory = memory_a + memory_b + memory_c
    rate = peak * efficiency / sms
    for j in range(SPLITS.size):
        split = SPLITS[j]
        if split > 1 and k < split * SPLIT_K_MIN:
            break
        compute, tile_m, tile_n = np.inf, 0, 0
        for i in range(TILES.shape[0]):
            tm, tn = TILES[i, 0], TILES[i, 1]
            if i < TILES.shape[0] - 1 and (
                STAGES * SLAB_K * (tm * bytes_a + tn * bytes_b) > shared
            ):
                continue
            per_sm = batch * split * (-(-m // tm)) * (-(-n // tn)) / sms
            waves = rounding * np.ceil(per_sm) + (1.0 - rounding) * max(per_sm, 1.0)
            block = 2.0 * tm * tn * (k / split + fill) * (1.0 + edge * (1.0 / tm + 1.0 / tn))
            if waves * block / rate < compute:
                compute, tile_m, tile_n = waves * block / rate, tm, tn
        partial = PARTIAL_BYTES * batch * m * n * split if split > 1 else 0.0
        time = smooth_max(compute, (compulsory + partial) / bandwidth, p)
        if time < best:
            best, best_m, best_n, best_split = time, tile_m, tile_n, split
            best_compute, best_partial = compute, partial
    again_a, again_b = _reread(m, n, k, bytes_a, bytes_b, best_m, best_n, sms, l2)
    moved = again_a * memory_a + again_b * memory_b + memory_c + best_partial
    time = start + smooth_max(best_compute, moved / bandwidth, p)
    rows, columns = -(-m // best_m), -(-n // best_n)
    output = batch * m * n * bytes_c
    from_l2 = batch * k * (columns * m * bytes_a + rows * n * bytes_b) + output + best_partial
    small_m, small_n = -(-m // FRAGMENT), -(-n // FRAGMENT)
    from_shared = batch * k * (small_n * m * bytes_a + small_m * n * bytes_b) + output
    return time, best_m, best_n, best_split, again_a, again_b, from_l2, from_shared


@kernel
def _key_steps(
    rows: int, group: int, kv_len: int, hidden: int, causal: bool, tile: int
) -> tuple[float, float]:
    """Return the steps of `KEY_TILE` keys of all row tiles together and of the longest one.

    `rows` are queries times the heads that share a KV head (`group`), ordered by query; query i
    sees the first `hidden` + i + 1 keys when causal.
    """
    tiles = -(-rows // tile)
    every = -(-kv_len // KEY_TILE)
    if not causal:
        return float(tiles * every), float(every)
    total, longest = 0, 0
    for t in range(tiles):
        last_query = -(-min(rows, (t + 1) * tile) // group)
        steps = -(-min(kv_len, hidden + last_query) // KEY_TILE)
        total += steps
        longest = max(longest, steps)
    return float(total), float(longest)


@kernel
def attention(
    batch: int, heads: int, kv_heads: int, q_len: int, kv_len: int, head_dim: int, value_dim: int,
    causal: bool, memory_bytes: float,
    sms: int, peak: float, vector_flops: float, special: float, bandwidth: float,
    efficiency: float, start: float, p: float, edge: float, rounding: float, fill: float,
) -> tuple[float, int, int, float, int]:  # fmt: skip
    """Time of fused attention that never writes its scores, by the fastest split of the keys.

    Parameters
    ----------
    batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim : int
        Sequences, query and KV heads, new and attended tokens, widths of key and value.
    causal : bool
        The last query sees all `kv_len` keys and each earlier one a key less.
    memory_bytes : float
        Compulsory bytes: queries, keys, values, outputs.
    sms, peak, bandwidth
        As in `matmul`.
    vector_flops, special : float
        fp32 FLOP/s outside the tensor cores (two per instruction); exponentials per second.
    efficiency, start, p, edge, rounding, fill : float
        Calibration, the same as for `matmul`.

    Returns
    -------
    tuple
        Time (s), query tile, splits of the keys, scores computed (with padding), thread blocks.

    Notes
    -----
    A thread block holds one tile of queries and walks the keys that it can see, so causal tiles
    above the diagonal cost nothing. A step costs its two products at the rate of `matmul` plus the
    softmax of its scores, one exponential and four fp32 instructions each, which the tensor cores
    wait for. Blocks differ in length under a causal mask: the unit is busy for the larger of total
    work over SMs and the longest block. In decode the queries of the heads that share a KV head
    are packed into one tile, and keys may be split over blocks whose partial outputs a second
    kernel adds.

    References
    ----------
    T. Dao, FlashAttention-2, 2023, arXiv:2307.08691 (tiles, causal skipping).
    T. Dao et al., Flash-Decoding for long-context inference, 2023 (KV split).
    J. Shah et al., FlashAttention-3, 2024, arXiv:2407.08608 (exponentials bound the softmax).
    """
    best, best_split = np.inf, 1
    rate = peak * efficiency / sms
    group = max(1, heads // max(1, kv_heads))
    hidden = max(0, kv_len - q_len)
    output = 4.0 * batch * heads * q_len * (value_dim + 1)
    per_score = 1.0 / (special / sms) + 2.0 * SCORE_INSTRUCTIONS / (vector_flops / sms)
    decode = q_len <= DECODE_QUERIES
    share = group if decode else 1
    streams, rows = batch * heads // share, q_len * share
    tile = DECODE_TILE if decode else QUERY_TILE
    tiles = -(-rows // tile)
    total, longest = _key_steps(rows, share, kv_len, hidden, causal, tile)
    product = 2.0 * tile * KEY_TILE * (head_dim + value_dim) / rate
    product *= 1.0 + edge / tile  # only keys and values are fed; queries stay
    prologue = product * fill / (head_dim + value_dim)
    step = product + tile * KEY_TILE * per_score
    for j in range(KV_SPLITS.size):
        split = KV_SPLITS[j]
        if split > 1 and (not decode or kv_len < split * KV_SPLIT_MIN):
            break
        blocks = streams * tiles * split
        work = streams * (total * step + tiles * split * prologue)
        longest_block = longest * step / split + prologue
        compute = rounding * np.ceil(blocks / sms) * work / blocks
        compute += (1.0 - rounding) * max(work / sms, longest_block)
        extra = 2.0 * split * output if split > 1 else 0.0
        time = smooth_max(compute, (memory_bytes + extra) / bandwidth, p)
        time += start if split > 1 else 0.0  # the kernel that adds the splits
        if time < best:
            best, best_split = time, split
    area = streams * total * tile * KEY_TILE
    return start + best, tile, best_split, area, streams * tiles * best_split


@kernel
def vector(
    operations: float, memory_bytes: float, vector_flops: float, bandwidth: float,
    floor: float, p: float,
) -> float:  # fmt: skip
    """Time (s) of a kernel that streams its operands once: norm, softmax, elementwise, gather.

    Parameters
    ----------
    operations, vector_flops : float
        Elementwise operations, and their rate per second.
    memory_bytes, bandwidth : float
        Compulsory bytes and attainable byte/s.
    floor : float
        Time of the smallest kernel, s.
    p : float
        Exponent of the smooth maximum.

    Notes
    -----
    t = floor + ((operations / vector_flops)^p + (bytes / bandwidth)^p)^(1/p).
    """
    return floor + smooth_max(operations / vector_flops, memory_bytes / bandwidth, p)
