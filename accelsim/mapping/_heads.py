"""Links attention with the products around it, so that they run head by head side by side.

While one group of heads is in attention, the next is being projected and the one before is being
projected back: that pays where attention runs on a unit of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelsim.mapping.plan import Step

__all__ = ["linked"]


def linked(steps: Sequence[Step], group: int, most_chunks: int) -> tuple[Step, ...]:
    """Return a block's steps with attention and its projections in one group of chunks.

    Parameters
    ----------
    steps : sequence of Step
        Of one block.
    group : int
        Number of the group, above those in use.
    most_chunks : int
        Most groups of heads.

    Notes
    -----
    From the projections that make queries, keys and values to the one that takes the heads'
    outputs, as far as the steps stand side by side.  Each chunk is a group of heads; the last
    projection adds up its chunks' partial sums.

    References
    ----------
    Park et al., AttAcc, ASPLOS 2024, section 6 (head-level pipelining).
    """
    attention = [i for i, step in enumerate(steps) if _is_attention(step)]
    if not attention:
        return tuple(steps)
    first, last = _first(steps, attention), _last(steps, attention)
    heads = min(max(1, steps[i].work.kv_heads) for i in attention)
    chunks = max(1, min(most_chunks, heads))
    if chunks < 2 or last == first:
        return tuple(steps)
    return tuple(
        replace(step, group=group, chunks=chunks) if first <= i <= last else step
        for i, step in enumerate(steps)
    )


def _is_attention(step: Step) -> bool:
    parts = ("score", "context")
    return step.operator.kind == "attention" or step.work.function in parts


def _first(steps: Sequence[Step], attention: Sequence[int]) -> int:
    """Return the earliest step of a run of steps that lead from projections to attention."""
    wanted, first = {attention[0]}, attention[0]
    for i in range(attention[-1], -1, -1):
        if i < attention[0] and i not in wanted:
            break
        first = min(first, i)
        if i not in attention and steps[i].operator.kind == "matmul":
            continue  # what a projection reads is whole before it begins
        wanted.update(steps[i].here)
    return first


def _last(steps: Sequence[Step], attention: Sequence[int]) -> int:
    """Return the projection right after attention that takes its output; attention's own end."""
    end = attention[-1]
    for after, step in enumerate(steps[end + 1 : end + 2], end + 1):
        if step.operator.kind == "matmul" and set(step.here) & set(attention):
            return after
    return end
