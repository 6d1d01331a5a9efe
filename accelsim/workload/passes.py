"""How often a cascade must go through a rank, what that moves, and what it must hold on chip.

Everything follows from the statements: a value combined over a rank is there when all of the rank
has been visited, so that what needs both the value and the rank visits it again.
"""

from __future__ import annotations

from accelsim.workload._cascade_core import Cascade
from accelsim.workload._passes_analysis import Analysis, Pass, TensorTraffic, analyse
from accelsim.workload._passes_search import cheapest

__all__ = [
    "Analysis",
    "Pass",
    "TensorTraffic",
    "analyse",
    "analyse_all",
    "cheapest",
    "unfused_words",
]


def analyse_all(cascade: Cascade) -> tuple[Analysis, ...]:
    """Return the analysis of every rank, partitions in place of the ranks that they divide."""
    inner = {part for parts in cascade.partitions.values() for part in parts}
    ranks = [*cascade.partitions, *(rank for rank in cascade.sizes if rank not in inner)]
    return tuple(analyse(cascade, rank) for rank in ranks)


def unfused_words(cascade: Cascade) -> int:
    """Return the words moved when every Einsum reads its operands and writes its result."""
    total = 0
    for one in cascade.einsums:
        named = dict.fromkeys((*(o.tensor for o in one.operands), one.made.tensor))
        total += sum(cascade.tensors[name].elements for name in named) * one.times
    return total
