"""Times of fused attention on a GPU: prefill by tiles of queries, decode by splits of the keys.

Scalars in, scalars out.  Each scalar's meaning and source stand in `_gpu_calibration`.
"""

from __future__ import annotations

import numpy as np

from accelsim.cost._gpu_product import smooth_max
from accelsim.jit import kernel

__all__ = [
    "BACKWARD_EFFICIENCY",
    "DECODE_QUERIES",
    "SCORE_INSTRUCTIONS",
    "decode",
    "decode_tile",
    "mixed",
    "prefill",
]

# Query rows per thread block, of which the smallest that holds all rows of a sequence is taken
# (FlashInfer, FlashAttention-2), and keys per step.
QUERY_TILES = np.array([16, 32, 64, 128])
HEAD_STEP = 32  # kernels exist for head widths that are multiples of it
KEY_TILE = 64
DECODE_QUERIES = 16  # new tokens per sequence up to which the decode kernel runs
# FlashAttention-2's own figures on A100: forward up to 73 % of the peak, backward up to 63 %.
BACKWARD_EFFICIENCY = 63 / 73
KV_SPLITS = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 48, 64])
# Per score, besides the exponential: maximum, scale-and-subtract, sum, conversion, each one fp32
# instruction (FlashAttention-2, algorithm 1).
SCORE_INSTRUCTIONS = 4.0


@kernel
def _tile(rows: int) -> int:
    """Return the smallest tile of queries that holds `rows`, at most the largest."""
    for i in range(QUERY_TILES.size - 1):
        if rows <= QUERY_TILES[i]:
            return int(QUERY_TILES[i])
    return int(QUERY_TILES[-1])


@kernel
def _key_steps(
    rows: int, group: int, kv_len: int, hidden: int, causal: bool, tile: int
) -> tuple[float, float]:
    """Return the steps of `KEY_TILE` keys of all row tiles together and of the longest one.

    `rows` are queries times the heads packed into them (`group`), ordered by query; query i sees
    the first `hidden` + i + 1 keys when causal.
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
def prefill(
    batch: int, heads: int, kv_heads: int, q_len: int, kv_len: int, head_dim: int, value_dim: int,
    causal: bool, memory_bytes: float,
    sms: int, peak: float, vector_flops: float, special: float, bandwidth: float,
    efficiency: float, start: float, p: float, edge: float, block_s: float, tail: float,
    packed: bool,
) -> tuple[float, int, float, int]:  # fmt: skip
    """Time of fused attention over whole tiles of queries, which never writes its scores.

    Parameters
    ----------
    batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim : int
        Sequences, query and KV heads, new and attended tokens, widths of key and value.
    causal : bool
        The last query sees all `kv_len` keys and each earlier one a key less.
    memory_bytes : float
        Compulsory bytes: queries, keys, values, outputs.
    sms, peak, bandwidth
        As in `_gpu_product.matmul`.
    vector_flops, special : float
        fp32 FLOP/s outside the tensor cores (two per instruction); exponentials per second.
    efficiency, start, p, edge, block_s, tail, packed
        Calibration; see `_gpu_calibration.PrefillScalars`.

    Returns
    -------
    tuple
        Time (s), query tile, scores computed (with padding), thread blocks.

    Notes
    -----
    A thread block holds one tile of queries and walks the keys that it can see, so causal tiles
    above the diagonal cost nothing. A step costs its two products plus the softmax of its scores,
    one exponential and four fp32 instructions each, which the tensor cores wait for. Blocks start
    longest first; on average the share `tail` of the longest is left when the others have ended.

    References
    ----------
    T. Dao, FlashAttention-2, 2023, arXiv:2307.08691 (tiles, causal skipping).
    J. Shah et al., FlashAttention-3, 2024, arXiv:2407.08608 (exponentials bound the softmax).
    Z. Ye et al., FlashInfer, 2025, arXiv:2501.01005 (grouped heads packed into query tiles).
    """
    share = max(1, heads // max(1, kv_heads)) if packed else 1
    rows = q_len * share
    return mixed(
        batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim, causal, memory_bytes, 0, 0,
        sms, peak, vector_flops, special, bandwidth,
        efficiency, start, p, edge, block_s, tail, _tile(rows), share,
    )  # fmt: skip


@kernel
def mixed(
    batch: int, heads: int, kv_heads: int, q_len: int, kv_len: int, head_dim: int, value_dim: int,
    causal: bool, memory_bytes: float, others: int, other_keys: int,
    sms: int, peak: float, vector_flops: float, special: float, bandwidth: float,
    efficiency: float, start: float, p: float, edge: float, block_s: float, tail: float,
    tile: int, share: int,
) -> tuple[float, int, float, int]:  # fmt: skip
    """Time of a prefill whose kernel also takes sequences that decode, one query each.

    Parameters
    ----------
    others, other_keys : int
        Decoding sequences, and the keys of each.
    tile, share : int
        Query rows per thread block, and query heads packed into them.

    Notes
    -----
    The other parameters and the result are those of `prefill`. A variable-length kernel
    (FlashAttention-2 in vLLM) gives every head of a decoding sequence a block of its own, a whole
    tile for one row, and splits no keys: a single long sequence can outlast all others.
    """
    streams, rows = batch * heads // share, q_len * share
    tiles = -(-rows // tile)
    total, longest = _key_steps(rows, share, kv_len, max(0, kv_len - q_len), causal, tile)
    per_score = 1.0 / (special / sms) + 2.0 * SCORE_INSTRUCTIONS / (vector_flops / sms)
    padded = HEAD_STEP * (-(-head_dim // HEAD_STEP) + -(-value_dim // HEAD_STEP))
    products = 2.0 * padded * sms / peak
    fed = (products + per_score) * (1.0 + edge * (1.0 / tile - 1.0 / QUERY_TILES[-1]))
    step = tile * KEY_TILE * max(products, fed / efficiency)
    each_other = float(-(-other_keys // KEY_TILE)) if others > 0 else 0.0
    blocks = streams * tiles + others * heads
    steps = streams * total + others * heads * each_other
    each = blocks / sms
    lone = max(longest, each_other) * step + block_s
    compute = lone
    if each > 1.0:
        work = (steps * step + blocks * block_s) / sms
        compute = max(lone, work + tail * lone * min(1.0, each - 1.0))
    time = start + smooth_max(compute, memory_bytes / bandwidth, p)
    return time, tile, steps * tile * KEY_TILE, blocks


@kernel
def decode_tile(heads: int, kv_heads: int, q_len: int) -> int:
    """Return the rows of a block of `decode`: the queries of the heads that share a KV head.

    Examples
    --------
    >>> decode_tile(32, 32, 1), decode_tile(64, 2, 1), decode_tile(128, 1, 8)
    (16, 32, 64)
    """
    return min(_tile(max(1, heads // max(1, kv_heads)) * q_len), 64)


@kernel
def decode(
    batch: int, heads: int, kv_heads: int, q_len: int, kv_len: int, head_dim: int, value_dim: int,
    bytes_kv: float, memory_bytes: float,
    sms: int, peak: float, bandwidth: float,
    start: float, block_s: float, combine_s: float, resident: float, lone: float,
    most: float, shortest: float, split_alone: bool, overlapped: bool = False,
) -> tuple[float, int, float, int]:  # fmt: skip
    """Time of attention of few new tokens per sequence, by the fastest split of the keys.

    Parameters
    ----------
    batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim : int
        As in `prefill`; `q_len` at most `DECODE_QUERIES`.
    bytes_kv : float
        Bytes of one key or value element.
    memory_bytes : float
        Compulsory bytes: queries, keys, values, outputs.
    sms, peak, bandwidth
        As in `_gpu_product.matmul`; `bandwidth` is what the kernel attains.
    start, block_s, combine_s, resident, lone, most, shortest, split_alone, overlapped
        Calibration; see `_gpu_calibration.DecodeScalars`.

    Returns
    -------
    tuple
        Time (s), splits of the keys, scores computed (with padding), thread blocks.

    Notes
    -----
    The queries of the heads that share a KV head are packed into one tile. Blocks run in waves of
    `resident` per multiprocessor. One alone on its multiprocessor takes `lone` times what the
    multiprocessor's share of the bandwidth would allow, so a single one is not much slower than
    several. With splits a second kernel adds partial outputs.

    References
    ----------
    T. Dao et al., Flash-Decoding for long-context inference, 2023 (KV split).
    """
    best, best_split, scores, count = np.inf, 1, 0.0, 0
    share = max(1, heads // max(1, kv_heads))
    tile = decode_tile(heads, kv_heads, q_len)
    high = -(-share * q_len // tile)
    width = head_dim + value_dim
    partial = 8.0 * batch * heads * q_len * (value_dim + 1)
    for j in range(KV_SPLITS.size):
        split = KV_SPLITS[j]
        if split > 1 and (
            split > most or kv_len < split * shortest or (share == 1 and not split_alone)
        ):
            break
        blocks = batch * kv_heads * high * split
        keys = -(-kv_len // split)
        keys = -(-keys // KEY_TILE) * KEY_TILE
        stream = width * keys * bytes_kv * sms / bandwidth
        products = 2.0 * tile * keys * width * sms / peak
        after = 0.0 if overlapped else products
        alone = max(stream * lone + after, products)
        each = blocks / sms
        time = block_s + alone
        if each > 1.0:
            waves = np.ceil(each / resident)
            time = waves * (block_s + max(alone, stream * min(resident, each / waves) + after))
        if split > 1:
            time += combine_s + partial * split / bandwidth
        if time < best:
            best, best_split, count = time, split, blocks
            scores = float(blocks * tile * keys)
    rest = max(0.0, memory_bytes - batch * kv_heads * kv_len * width * bytes_kv)
    return start + best + rest / bandwidth, best_split, scores, count
