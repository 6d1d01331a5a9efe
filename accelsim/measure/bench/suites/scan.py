"""Scans of Mamba (selective) and Mamba-2 (duality) in plain torch, token counts 1 to 8192."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from accelsim.measure.bench.case import Case, case

__all__ = ["ABOUT", "cases", "selective", "ssd"]

ABOUT: Final = "selective scan token by token and in parallel; SSD in chunks as batched products"


def selective(impl: str, batch: int, length: int, channels: int, dtype: str = "bf16") -> Case:
    """Return the case of a selective scan with 16 states per channel."""
    return case(
        "scan", dtype, impl, subop="selective", batch=batch, q_len=length, heads=channels,
        head_dim=1, state=16, groups=1,
    )  # fmt: skip


def ssd(batch: int, length: int, heads: int, chunk: int, dtype: str = "bf16") -> Case:
    """Return the case of Mamba-2's scan with heads of 64 and 128 states."""
    return case(
        "scan", dtype, "chunked", subop="ssd", batch=batch, q_len=length, heads=heads,
        head_dim=64, state=128, groups=1, chunk=chunk,
    )  # fmt: skip


def cases(device: str) -> Iterator[Case]:
    """Yield the suite."""
    for channels in (1536, 4096, 5120):  # mamba-130m, -1.4b, -2.8b
        for batch in (1, 8):
            for length in (1, 16, 64, 256, 512, 1024, 2048, 4096):
                if length <= 512:
                    yield selective("sequential", batch, length, channels)
                if length > 1:
                    yield selective("associative", batch, length, channels)
    for heads in (24, 64, 80):  # mamba2-130m, -1.3b, -2.7b
        for batch in (1, 4, 8):
            for length in (256, 512, 1024, 2048, 4096, 8192):
                for chunk in (64, 128, 256):
                    yield ssd(batch, length, heads, chunk)
