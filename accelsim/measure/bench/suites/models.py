"""Blocks and whole passes of the workload library's models, from the exported graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from accelsim.measure.bench import graphs
from accelsim.measure.bench.case import Case, case

__all__ = ["ABOUT", "cases"]

ABOUT: Final = "each block and the whole pass of a dozen models of the library"


def cases(device: str) -> Iterator[Case]:
    """Yield the suite."""
    for graph in graphs.load().values():
        for block in graph.blocks:
            for impl in _impls(block.has_experts):
                yield case(
                    "block", graph.dtype, impl, subop=f"{graph.name}#{block.name}",
                    batch=graph.batch, count=block.count,
                )  # fmt: skip
        for impl in _impls(any(block.has_experts for block in graph.blocks)):
            yield case("model", graph.dtype, impl, subop=graph.name, batch=graph.batch)


def _impls(experts: bool) -> tuple[str, ...]:
    return ("torch.eager+loop", "torch.eager+grouped_mm") if experts else ("torch.eager",)
