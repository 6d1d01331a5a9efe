"""Attention by named kernels: prefill and decode, grouped heads, 16 to 32768 tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from accelsim.measure.bench.case import Case, case
from accelsim.measure.bench.suites._models import ATTENTION

__all__ = ["ABOUT", "cases", "decode", "prefill"]

ABOUT: Final = "fused (flash, efficient, cudnn, math) and unfused attention, prefill and decode"

_LENGTHS: Final = (16, 64, 128, 256, 512, 1000, 1024, 2048, 4096, 8192, 16384, 32768)
_DECODED: Final = (16, 128, 512, 1024, 2000, 4096, 8192, 16384, 32768)


def prefill(
    impl: str, dtype: str, batch: int, heads: tuple[int, int, int], length: int,
    causal: bool = True, notes: str = "",
) -> Case:  # fmt: skip
    """Return the case of new tokens that attend to one another."""
    return _case("attention_prefill", impl, dtype, batch, heads, (length, length), causal, notes)


def decode(
    impl: str, dtype: str, batch: int, heads: tuple[int, int, int], kv_len: int, notes: str = ""
) -> Case:
    """Return the case of one new token per sequence."""
    return _case("attention_decode", impl, dtype, batch, heads, (1, kv_len), True, notes)


def _case(
    op: str, impl: str, dtype: str, batch: int, heads: tuple[int, int, int],
    lengths: tuple[int, int], causal: bool, notes: str,
) -> Case:  # fmt: skip
    return case(
        op, dtype, impl, subop="" if causal else "encoder", notes=notes, batch=batch,
        heads=heads[0], kv_heads=heads[1], head_dim=heads[2], q_len=lengths[0],
        kv_len=lengths[1], causal=int(causal),
    )  # fmt: skip


def cases(device: str) -> Iterator[Case]:
    """Yield the suite."""
    for name, *sizes in ATTENTION:
        heads = (sizes[0], sizes[1], sizes[2])
        for length in _LENGTHS:
            for batch in (1, 4, 16):
                if batch * length <= 32768:
                    yield from _prefills(name, batch, heads, length)
        for kv_len in _DECODED:
            for batch in (1, 2, 8, 16, 32, 64):
                if batch * kv_len <= 1_048_576:
                    yield from _decodes(name, batch, heads, kv_len)
    for batch, length in ((1, 1024), (8, 512), (2, 2048), (1, 8192)):
        yield prefill("sdpa.flash", "fp16", batch, (32, 32, 128), length, notes="fp16")


def _prefills(name: str, batch: int, heads: tuple[int, int, int], length: int) -> Iterator[Case]:
    yield prefill("sdpa.flash", "bf16", batch, heads, length, notes=name)
    yield prefill("sdpa.cudnn", "bf16", batch, heads, length, notes=name)
    if heads[0] == heads[1]:
        yield prefill("sdpa.efficient", "bf16", batch, heads, length, notes=name)
        yield prefill("sdpa.flash", "bf16", batch, heads, length, causal=False, notes=name)
        if length <= 2048:
            yield prefill("sdpa.efficient", "fp32", batch, heads, length, notes=name)
    if batch * length <= 8192 and length <= 4096:
        yield prefill("unfused", "bf16", batch, heads, length, notes=name)
        if batch == 1:
            yield prefill("sdpa.math", "bf16", batch, heads, length, notes=name)


def _decodes(name: str, batch: int, heads: tuple[int, int, int], kv_len: int) -> Iterator[Case]:
    yield decode("sdpa.flash", "bf16", batch, heads, kv_len, name)
    if batch in {1, 16}:
        yield decode("sdpa.cudnn", "bf16", batch, heads, kv_len, name)
        if batch * kv_len <= 65536:
            yield decode("unfused", "bf16", batch, heads, kv_len, name)
