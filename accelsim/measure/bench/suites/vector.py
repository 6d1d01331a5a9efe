"""Memory-bound operators over sizes that go from inside the L2 cache to far beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from accelsim.measure.bench.case import Case, case

__all__ = ["ABOUT", "cases", "rows_case"]

ABOUT: Final = (
    "norms, softmax, activations, elementwise, rotary and token embedding, 64 KB to 1 GB"
)

_ELEMENTS: Final = tuple(2**power for power in range(14, 29))
_ROWS: Final = ("softmax", "layernorm", "rmsnorm", "gelu", "silu_mul")


def rows_case(op: str, dtype: str, rows: int, cols: int, subop: str = "") -> Case:
    """Return the case of an operator on rows."""
    return case(op, dtype, "torch.eager", subop=subop, rows=rows, cols=cols)


def cases(device: str) -> Iterator[Case]:
    """Yield the suite."""
    for dtype in ("bf16", "fp32", "fp16"):
        sizes = _ELEMENTS if dtype == "bf16" else _ELEMENTS[::3]
        for elements in sizes:
            for op in _ROWS:
                for cols in (1024, 4096, 16384) if dtype == "bf16" else (4096,):
                    yield rows_case(op, dtype, max(1, elements // cols), cols)
            for subop in ("add", "mul", "relu", "add_scalar", "tanh"):
                yield rows_case("elementwise", dtype, max(1, elements // 4096), 4096, subop)
    yield from _odd()
    yield from _embeddings()


def _odd() -> Iterator[Case]:
    for op in _ROWS:
        for rows, cols in (
            (1, 4096),
            (7, 4096),
            (128, 50257),
            (1000, 1000),
            (4096, 77),
            (197, 768),
        ):
            yield rows_case(op, "bf16", rows, cols)
            yield rows_case(op, "fp32", rows, cols)


def _embeddings() -> Iterator[Case]:
    for rows in (1, 8, 64, 256, 1024, 4096, 16384, 65536):
        for heads, kv_heads, width in ((32, 8, 128), (64, 8, 128), (12, 12, 64)):
            yield case(
                "rope", "bf16", "torch.eager", rows=rows, heads=heads, kv_heads=kv_heads,
                head_dim=width,
            )  # fmt: skip
        for cols, table_rows in ((768, 50257), (4096, 128256)):
            yield case(
                "embedding", "bf16", "torch.eager", rows=rows, cols=cols, table_rows=table_rows
            )
