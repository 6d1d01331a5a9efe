"""Searches what to keep in memory between passes, and which sums wait, for the fewest words."""

from __future__ import annotations

from itertools import combinations
from typing import Final

from accelsim.workload._cascade_core import Cascade
from accelsim.workload._passes_analysis import Analysis, analyse, parts_of
from accelsim.workload._passes_levels import along, levels

__all__ = ["cheapest"]

_MOST_SUBSETS: Final = 12
"""Tensors of which every subset is tried as what is kept (4096 subsets)."""


def cheapest(cascade: Cascade, rank: str) -> Analysis:
    """Return the analysis with the fewest words, by what is kept and which sums wait.

    Notes
    -----
    Every subset of the tensors that later traversals read is tried where there are at most 12; of
    more, tensors are added one by one as long as the words get fewer.  Then each Einsum is put off
    to a later traversal where that saves a read and adds no traversal.  The second step, and the
    first beyond 12 tensors, need not end at the least.
    """
    parts = parts_of(cascade, rank)
    found = levels(cascade, parts[0])
    candidates = [
        one.made.tensor
        for one in cascade.einsums
        if all(along(one.made, part) is not None for part in parts)
        and any(
            found.einsums[reader.name] > found.einsums[one.name]
            for reader in cascade.readers(one.made.tensor)
        )
    ]
    if len(candidates) <= _MOST_SUBSETS:
        subsets = [s for n in range(len(candidates) + 1) for s in combinations(candidates, n)]
        best = min((analyse(cascade, rank, s) for s in subsets), key=lambda one: one.words)
    else:
        best = _added(cascade, rank, candidates)
    return _put_off(cascade, best)


def _added(cascade: Cascade, rank: str, candidates: list[str]) -> Analysis:
    """Keep one more tensor as long as the words get fewer."""
    best = analyse(cascade, rank)
    while True:
        rest = [name for name in candidates if name not in best.stored]
        tried = [analyse(cascade, rank, (*best.stored, name)) for name in rest]
        better = min(tried, key=lambda one: one.words, default=best)
        if better.words >= best.words:
            return best
        best = better


def _put_off(cascade: Cascade, best: Analysis) -> Analysis:
    """Let Einsums wait for a later traversal as long as the words get fewer."""
    last, waiting = len(best.passes), dict[str, int]()
    for one in reversed(cascade.einsums):
        if best.parts[0] not in one.ranks:
            continue
        for number in range(2, last + 1):
            given = waiting | {one.name: number}
            tried = analyse(cascade, best.rank, best.stored, given)
            if len(tried.passes) <= last and tried.words < best.words:
                best, waiting = tried, given
    return best
