"""Measured tables that the kernel model itself makes, with scalars for a fit to find again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from accelsim.cost.gpu import Calibration
from accelsim.measure.predict import predict
from tests.cost.gpu_boards import changed
from tests.measure.compare.standin import BASE, gemm, table

GPU: Final = "A40"
LAB: Final = "lab"

MATRICES: Final = [
    (1024, 4096), (4096, 4096), (11008, 4096), (4096, 11008), (5120, 5120), (15360, 5120),
    (2560, 10240), (1000, 333), (3072, 768), (768, 3072), (2048, 2048), (6144, 1536),
    (4160, 4032), (1088, 8128), (8256, 2112), (2112, 1984), (960, 3904),
]  # fmt: skip
"""Columns and terms of products, of which some start rows in the same memory channels.

Some families are fitted, the others test.
"""

KNOWN: Final = changed(
    "tensor", compute_efficiency=0.82, memory_efficiency=0.71, start_s=4.5e-6, smoothness=2.2,
    edge_elements=21.0, fill_elements=90.0, sustained_clock=0.83, camping=0.04,
    calibration=changed(
        "vllm.prefill", start_s=7e-6, calibration=changed("vllm.decode", start_s=7e-6)
    ),
)  # fmt: skip
"""Scalars that are neither the board's own nor the middle of the search.

Attention starts later than on the board itself, as its fit says with a constant of the clock.
"""


def products(**other: Any) -> list[dict[str, Any]]:
    """Return rows of products of every matrix with 1 to 8192 rows."""
    return [gemm(m, n, k, **other) for n, k in MATRICES for m in (1, 16, 64, 256, 512, 2048, 8192)]


def streams(op: str, sizes: Sequence[int], **other: Any) -> list[dict[str, Any]]:
    """Return rows of an operator that streams, with 16 to 65536 rows of each width."""
    return [
        {
            **BASE, "op": op, "rows": 4**power, "cols": cols, "flops": 4.0 * 4**power * cols,
            "bytes_min": 4.0 * 4**power * cols, "latency_us": 1.0, **other,
        }
        for cols in sizes
        for power in range(2, 9)
    ]  # fmt: skip


def attention(phase: str, **other: Any) -> list[dict[str, Any]]:
    """Return rows of one phase of attention, of several networks' heads."""
    return [
        {
            **BASE, "op": f"attention_{phase}", "batch": batch, "heads": heads, "kv_heads": kv,
            "head_dim": 128, "kv_len": length, "q_len": 1 if phase == "decode" else length,
            "causal": 1, "impl": "vllm-0.9", "latency_us": 1.0, **other,
        }
        for heads, kv in ((32, 8), (32, 32), (40, 40), (64, 8), (16, 2), (28, 4))
        for batch in (1, 4, 16)
        for length in (24, 48, 128, 512, 2048, 8192)
    ]  # fmt: skip


def experts(**other: Any) -> list[dict[str, Any]]:
    """Return rows of layers of experts."""
    return [
        {
            **BASE, "op": "moe", "rows": 4**power, "hidden": hidden, "inter": inter,
            "experts": count, "topk": topk, "tp": 1, "ep": 1, "impl": "vllm-0.9",
            "latency_us": 1.0, **other,
        }
        for hidden, inter, count, topk in (
            (4096, 14336, 8, 2), (2048, 768, 128, 8), (2048, 1408, 64, 6), (5120, 1536, 160, 6),
        )
        for power in range(7)
    ]  # fmt: skip


def measured(
    rows: list[dict[str, Any]], folder: Path, calibration: Calibration = KNOWN,
    gpu: str = GPU,
) -> pd.DataFrame:  # fmt: skip
    """Return rows as if a GPU with these scalars had been measured.

    Parameters
    ----------
    rows : list of dict
        All by `LAB`, with any latency.
    folder : Path
        A folder of the test.
    calibration : Calibration, optional
        The scalars.
    gpu : str, optional
        The board.
    """
    frame = table([row | {"gpu": gpu} for row in rows], folder)
    made = predict(frame, {(gpu, LAB): calibration})
    assert not made.reason.any()
    return frame.assign(latency_us=made.latency_us)
