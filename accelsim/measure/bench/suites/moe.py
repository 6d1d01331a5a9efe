"""Layers of experts: grouped in one kernel or one after the other, even and uneven loads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from accelsim.measure.bench.case import Case, case
from accelsim.measure.bench.suites._models import MOE

__all__ = ["ABOUT", "cases", "experts_case"]

ABOUT: Final = "choice, dispatch, experts and combination; grouped_mm and loop; 1..8192 tokens"


def experts_case(impl: str, loads: str, rows: int, name: str, sizes: tuple[int, ...]) -> Case:
    """Return the case of one layer of experts in bf16."""
    hidden, inter, experts, topk = sizes
    known = {"active_experts": min(experts, rows * topk)} if loads == "balanced" else {}
    return case(
        "moe", "bf16", impl, subop=loads, notes=name, rows=rows, hidden=hidden, inter=inter,
        experts=experts, topk=topk, tp=1, ep=1, **known,
    )  # fmt: skip


def cases(device: str) -> Iterator[Case]:
    """Yield the suite."""
    for name, *sizes in MOE:
        for rows in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192):
            for loads in ("balanced", "random"):
                yield experts_case("grouped_mm", loads, rows, name, tuple(sizes))
            if rows in {1, 8, 64, 512, 4096}:
                yield experts_case("loop", "balanced", rows, name, tuple(sizes))
