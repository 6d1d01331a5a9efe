"""Matrix products: weights of real models over token counts, squares, odd sizes, batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from accelsim.measure.bench.case import Case, case
from accelsim.measure.bench.suites._models import MATRICES, TOKENS

__all__ = ["ABOUT", "cases", "product"]

ABOUT: Final = (
    "linear layers of real models x 1..8192 tokens, squares, odd sizes, batched products"
)

_IMPL: Final = {"fp8": "torch._scaled_mm", "int8": "torch._int_mm"}
_HALVES: Final = ("bf16", "fp16")


def product(dtype: str, m: int, n: int, k: int, notes: str = "", subop: str = "") -> Case:
    """Return the case of one product in the implementation that its format has."""
    impl = _IMPL.get(dtype, "torch.linear")
    return case("gemm", dtype, impl, subop=subop, notes=notes, m=m, n=n, k=k)


def cases(device: str) -> Iterator[Case]:
    """Yield the suite."""
    yield from _models()
    yield from _squares()
    yield from _odd()
    yield from _batched()


def _models() -> Iterator[Case]:
    for name, n, k in MATRICES:
        yield from (product("bf16", m, n, k, name) for m in TOKENS)
    for number, (name, n, k) in enumerate(MATRICES):
        if number % 2:
            yield from (product("fp16", m, n, k, name) for m in TOKENS[::2])
        if n % 16 == 0 and k % 16 == 0 and n * k < 300e6:
            yield from (product("fp8", m, n, k, name) for m in TOKENS[::2])
        if number % 3 == 0 and n % 16 == 0:
            yield from (product("int8", m, n, k, name) for m in TOKENS[5::2])
        if number % 3 == 1 and n * k < 150e6:
            yield from (product(d, m, n, k, name) for d in ("fp32", "tf32") for m in TOKENS[::3])
        if number % 5 == 0:
            yield from (product("bf16", m, n, k, name, "linear_bias") for m in TOKENS[4::4])


def _squares() -> Iterator[Case]:
    for size in (
        64,
        128,
        256,
        384,
        512,
        768,
        1024,
        1536,
        2048,
        3072,
        4096,
        6144,
        8192,
        12288,
        16384,
    ):
        for dtype in ("bf16", "fp16", "fp8", "int8", "tf32", "fp32"):
            if dtype not in {"fp32", "tf32"} or size <= 8192:
                yield product(dtype, size, size, size, "square")
        if size <= 8192:
            yield product("bf16", size, size, size, "square, B row-major", "NN")


def _odd() -> Iterator[Case]:
    """Yield sizes beside those that tiles divide, and long thin and short wide products."""
    for size in (127, 129, 255, 257, 1000, 1023, 1025, 2000, 4095, 4097, 5000):
        yield from (product(d, size, size, size, "odd") for d in (*_HALVES, "fp32"))
    for m in (1, 33, 65, 100, 130, 200, 260, 300, 500, 1000, 1100, 1300, 2100, 3000, 4200):
        yield product("bf16", m, 4096, 4096, "odd rows")
        yield product("fp16", m, 5120, 5120, "odd rows")
    for k in (32, 64, 128, 256, 1024, 4096, 16384, 65536):
        yield product("bf16", 256, 256, k, "depth")
        yield product("bf16", 4096, 4096, k, "depth")


def _batched() -> Iterator[Case]:
    for b in (1, 8, 12, 32, 96, 256):
        for m, n, k in (
            (128, 128, 64), (512, 512, 64), (512, 64, 512), (1024, 1024, 64), (1, 1024, 128),
            (1, 128, 1024), (64, 64, 64), (1024, 64, 1024), (2048, 2048, 128), (16, 512, 128),
        ):  # fmt: skip
            for dtype in ("bf16", "fp32") if m * n < 1e6 else ("bf16",):
                yield case("bmm", dtype, "torch.bmm", b=b, m=m, n=n, k=k)
