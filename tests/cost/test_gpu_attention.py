"""Fused attention on a GPU: tiles of queries, steps of keys, masks, splits, mixed batches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.cost._gpu_attention import (
    BACKWARD_EFFICIENCY,
    KEY_TILE,
    QUERY_TILES,
    decode,
    mixed,
    prefill,
)
from accelsim.measure.gpus import board
from tests.cost.gpu_boards import attending, calibrated

SMS, PEAK, WIDE = 100, 1e14, 1e30  # WIDE: a memory, or lanes, that never limit
A100, BANDWIDTH = calibrated("A100-PCIe-80GB")


def chunk(
    q_len: int, kv_len: int, batch: int = 1, heads: int = 32, kv: int = 8, causal: bool = True,
    moved: float = 0.0, bandwidth: float = WIDE, efficiency: float = 1.0, start: float = 0.0,
    edge: float = 0.0, block_s: float = 0.0, tail: float = 0.0, packed: bool = True,
    vector: float = WIDE, special: float = WIDE,
) -> tuple[float, int, float, int]:  # fmt: skip
    """Return what `prefill` makes of heads of 128 on an ideal GPU, but for what is named."""
    found: tuple[float, int, float, int] = prefill(
        batch, heads, kv, q_len, kv_len, 128, 128, causal, moved, SMS, PEAK, vector, special,
        bandwidth, efficiency, start, 4.0, edge, block_s, tail, packed,
    )  # fmt: skip
    return found


def token(
    kv_len: int, batch: int = 1, heads: int = 32, kv: int = 8, q_len: int = 1,
    bandwidth: float = 1e12, peak: float = 1e20, start: float = 0.0, block_s: float = 0.0,
    combine_s: float = 0.0, resident: float = 1.0, lone: float = 1.0, most: float = 64.0,
    shortest: float = 64.0, alone: bool = True,
) -> tuple[float, int, float, int]:  # fmt: skip
    """Return what `decode` makes of a GPU that the keys' bytes alone bound, but for what is named.

    Queries and outputs are taken to be no bytes.
    """
    held = 2.0 * batch * kv * kv_len * 256
    found: tuple[float, int, float, int] = decode(
        batch, heads, kv, q_len, kv_len, 128, 128, 2.0, held, SMS, peak, bandwidth, start,
        block_s, combine_s, resident, lone, most, shortest, alone,
    )  # fmt: skip
    return found


def visible(q_len: int, kv_len: int, group: int, tile: int) -> int:
    """Return the scores of one stream by walking over its tiles and keys, one by one."""
    hidden, total = kv_len - q_len, 0
    rows = [query for query in range(q_len) for _ in range(group)]
    for first in range(0, len(rows), tile):
        last = max(rows[first : first + tile])
        total += sum(1 for key in range(0, kv_len, KEY_TILE) if key <= hidden + last)
    return total * tile * KEY_TILE


@given(
    q_len=st.integers(1, 300), past=st.integers(0, 300), group=st.sampled_from([1, 3, 4, 8]),
)  # fmt: skip
def test_blocks_above_the_diagonal_are_skipped(q_len: int, past: int, group: int) -> None:
    """The scores computed are those of the blocks that the mask leaves, counted one by one."""
    _, tile, scores, blocks = chunk(q_len, q_len + past, heads=2 * group, kv=2)
    assert scores == 2 * visible(q_len, q_len + past, group, tile)
    assert blocks == 2 * -(-q_len * group // tile)
    every = chunk(q_len, q_len + past, heads=2 * group, kv=2, causal=False)[2]
    assert every == blocks * tile * -(-(q_len + past) // KEY_TILE) * KEY_TILE
    assert scores <= every


def test_a_long_causal_prefill_takes_half() -> None:
    """Of the one without a mask, and a quarter of the time at half the length."""
    whole, half = (chunk(8192, 8192, causal=causal)[0] for causal in (False, True))
    assert half / whole == pytest.approx(0.5, abs=0.01)
    assert chunk(4096, 4096)[0] / half == pytest.approx(0.25, rel=0.05)


def test_a_full_machine_reaches_the_peak() -> None:
    """Two products of 128 for each score, where neither lanes nor memory limit."""
    whole, scores = chunk(8192, 8192, causal=False)[0], 32 * 8192**2
    assert whole == pytest.approx(2 * scores * 256 / PEAK, rel=1e-6)
    assert chunk(8192, 8192, causal=False, efficiency=0.5)[0] == pytest.approx(2 * whole)
    assert chunk(8192, 8192, causal=False, efficiency=1.5)[0] == pytest.approx(whole)


def test_softmax_comes_on_top_of_the_products() -> None:
    """One exponential and some fp32 instructions per score, which the tensor cores wait for."""
    products, scores = chunk(8192, 8192, causal=False)[0], 32 * 8192**2
    special = chunk(8192, 8192, causal=False, special=1e13)[0]
    assert special - products == pytest.approx(scores / 1e13, rel=1e-6)
    assert chunk(8192, 8192, causal=False, vector=1e13)[0] > products + scores / 1e13


def test_tiles_follow_the_queries() -> None:
    """The smallest that holds a sequence's rows; packed heads that share keys are rows, too."""
    assert [chunk(q, 4096)[1] for q in (1, 4, 5, 8, 16, 32, 500)] == [16, 16, 32, 32, 64, 128, 128]
    assert [chunk(q, 4096, packed=False)[1] for q in (1, 17, 64, 65)] == [16, 32, 64, 128]


@given(q_len=st.integers(1, 700), past=st.integers(0, 2000), batch=st.integers(1, 8))
def test_packing_never_computes_more(q_len: int, past: int, batch: int) -> None:
    """Fewer blocks, each fuller."""
    packed, alone = (
        chunk(q_len, q_len + past, batch, causal=False, packed=packed) for packed in (True, False)
    )
    assert packed[2] <= alone[2]
    assert packed[3] <= alone[3]


@given(
    q_len=st.integers(1, 3000), past=st.integers(0, 3000), batch=st.integers(1, 20),
    causal=st.booleans(), more=st.integers(1, 2000),
)  # fmt: skip
def test_more_keys_or_sequences_never_take_less(
    q_len: int, past: int, batch: int, causal: bool, more: int
) -> None:
    """Neither earlier tokens nor another sequence make a prefill faster."""
    other = {"block_s": 1e-6, "tail": 0.5, "edge": 30.0}
    before = chunk(q_len, q_len + past, batch, causal=causal, **other)[0]
    slack = before * (1 - 1e-12)
    assert chunk(q_len, q_len + past + more, batch, causal=causal, **other)[0] >= slack
    assert chunk(q_len, q_len + past, batch + 1, causal=causal, **other)[0] >= slack


def test_the_longest_block_is_waited_for() -> None:
    """Few blocks take the time of one, in full; of many, the tail says how much is left over."""
    one = chunk(128, 8192, heads=1, kv=1)[0]
    assert chunk(128, 8192, heads=100, kv=100)[0] == pytest.approx(one)
    assert chunk(128, 8192, heads=150, kv=150)[0] == pytest.approx(1.5 * one)
    assert chunk(128, 8192, heads=150, kv=150, tail=0.4)[0] == pytest.approx(1.7 * one)
    assert chunk(128, 8192, heads=1000, kv=1000, tail=0.4)[0] == pytest.approx(10.4 * one)


def test_starts_and_blocks_are_paid() -> None:
    """The kernel's once, a block's by each multiprocessor as often as it runs one."""
    plain = chunk(128, 128, heads=1000, kv=1000)[0]
    slow = chunk(128, 128, heads=1000, kv=1000, start=5e-6, block_s=2e-6)[0]
    assert slow - plain == pytest.approx(5e-6 + 10 * 2e-6)


def test_a_slow_memory_bounds_the_prefill() -> None:
    """Then the time is bytes over bandwidth."""
    assert chunk(512, 512, moved=1e9, bandwidth=1e9)[0] == pytest.approx(1.0, rel=1e-6)


def together(others: int, keys: int, q_len: int = 512, packed: int = 1) -> float:
    """Return the time of a prefill beside sequences that decode, seconds."""
    found: float = mixed(
        1, 32, 8, q_len, q_len, 128, 128, True, 0.0, others, keys, SMS, PEAK, WIDE, WIDE, WIDE,
        1.0, 0.0, 4.0, 0.0, 0.0, 0.5, int(QUERY_TILES[-1]), packed,
    )[0]  # fmt: skip
    return found


def test_a_mixed_batch_without_decodes_is_a_prefill() -> None:
    """The kernel is the same, with unpacked heads."""
    assert together(0, 0) == chunk(512, 512, tail=0.5, packed=False)[0]


def test_decodes_lengthen_a_mixed_batch() -> None:
    """More or longer ones never take less; a single long one outlasts all others."""
    times = [together(others, 1024) for others in (0, 1, 8, 64, 256)]
    assert times == sorted(times)
    assert times[-1] > 4 * times[0]
    long = [together(1, keys) for keys in (100_000, 200_000, 400_000)]
    assert long[1] / long[0] == pytest.approx(2, rel=0.02)
    assert long[2] / long[1] == pytest.approx(2, rel=0.02)


def test_many_decodes_stream_their_keys() -> None:
    """With a block on every multiprocessor the time is bytes over bandwidth."""
    held = 2.0 * 100 * 8 * 4096 * 256
    assert token(4096, batch=100)[0] == pytest.approx(held / 1e12)
    assert token(4096, batch=100, bandwidth=2e12)[0] == pytest.approx(held / 2e12)
    assert token(4096, batch=100, start=5e-6)[0] == pytest.approx(5e-6 + held / 1e12)


def test_a_lone_long_sequence_is_split() -> None:
    """Unsplit, 8 KV heads keep 8 of 100 multiprocessors busy; with splits, nearly all."""
    unsplit, split = token(64 * 1200, most=1.0), token(64 * 1200)
    assert (unsplit[1], unsplit[3]) == (1, 8)
    assert split[1] == 12
    assert unsplit[0] / split[0] == pytest.approx(12, rel=0.01)


@pytest.mark.parametrize(
    ("limit", "most"),
    [({"most": 5.0}, 5), ({"shortest": 2048.0}, 4), ({"alone": False, "kv": 32}, 1)],
)
def test_libraries_limit_the_splits(limit: dict[str, float], most: int) -> None:
    """By number, by length, or to groups of heads."""
    assert token(8192)[1] > most
    assert token(8192, **limit)[1] <= most  # type: ignore[arg-type]
    assert token(8192, **{**limit, "alone": True, "kv": 8})[1] >= most  # type: ignore[arg-type]


@given(
    kv_len=st.integers(1, 100_000), batch=st.integers(1, 64), kv=st.sampled_from([1, 8, 32]),
    combine=st.floats(0, 1e-5),
)  # fmt: skip
def test_a_split_is_taken_only_where_it_pays(
    kv_len: int, batch: int, kv: int, combine: float
) -> None:
    """Never slower than unsplit, and never faster than all keys over the memory."""
    either, unsplit = (
        token(kv_len, batch, kv=kv, combine_s=combine, block_s=1e-6, most=most)[0]
        for most in (64.0, 1.0)
    )
    assert 2.0 * batch * kv * kv_len * 256 / 1e12 * (1 - 1e-9) <= either <= unsplit


def test_combining_costs_its_kernel() -> None:
    """Beside the partial outputs, which are written and read in fp32."""
    plain, combined = token(8192, most=2.0), token(8192, most=2.0, combine_s=1e-6)
    assert plain[1] == combined[1] == 2
    assert combined[0] - plain[0] == pytest.approx(1e-6)
    partial = 2 * 8.0 * 32 * 129
    assert plain[0] - token(8192, most=1.0)[0] / 2 == pytest.approx(partial / 1e12)


def test_heads_that_share_keys_read_them_once() -> None:
    """32 query heads on 8 KV heads take a quarter of the time of 32 on 32."""
    shared, own = (token(4096, batch=100, kv=kv)[0] for kv in (8, 32))
    assert own == pytest.approx(4 * shared)


def test_a_block_alone_draws_more_than_its_share() -> None:
    """`lone` shortens a machine that is not full, `resident` lets blocks run side by side."""
    few = token(4096, batch=5, most=1.0)[0]
    assert token(4096, batch=5, most=1.0, lone=0.7)[0] == pytest.approx(0.7 * few)
    full, half = token(4096, batch=25, most=1.0)[0], token(4096, batch=13, most=1.0)[0]
    assert half == pytest.approx(full)  # 104 blocks are two waves, as are 200
    assert token(4096, batch=13, most=1.0, resident=2.0)[0] == pytest.approx(1.04 / 2 * full)


@pytest.mark.parametrize("name", ["A100-SXM4-80GB", "A40", "H100-SXM5-80GB", "T4", "MI210"])
def test_the_order_of_magnitude_on_shipped_boards(name: str) -> None:
    """Long prefills reach a quarter to all of the peak, large decodes of the bandwidth."""
    gpu, bandwidth = board(name)
    long = gpu.run(attending(4096, 4096, batch=4), bandwidth)
    assert 0.25 < long.ideal_ps / long.compute_ps < 1
    tokens = attending(1, 8192, batch=64)
    assert 0.25 < tokens.kv_bytes / bandwidth * 1e12 / gpu.run(tokens, bandwidth).compute_ps < 1


def test_backward_is_slower_than_forward() -> None:
    """By the ratio of FlashAttention-2's own figures, on the same operations."""
    forward = A100.run(attending(4096, 4096, batch=4), BANDWIDTH).compute_ps
    backward = A100.run(attending(4096, 4096, batch=4, function="backward"), BANDWIDTH).compute_ps
    assert 1.05 < backward / forward <= 1 / BACKWARD_EFFICIENCY
