"""Shares sequences of different lengths out over the channels of a memory that computes.

A unit whose channels each hold whole sequences is as slow as its busiest channel; which sequences
meet on a channel is the policy's choice.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from accelsim.cost import Setting, Unit
from accelsim.mapping._ragged import ragged

if TYPE_CHECKING:
    from accelsim.mapping.plan import Step

__all__ = ["Balance", "assign", "balanced"]

Balance = Literal["even", "round_robin", "greedy"]


def assign(costs: Sequence[int], channels: int, balance: Balance) -> list[int]:
    """Return the channel of each sequence.

    Parameters
    ----------
    costs : sequence of int
        What each sequence costs its channel, in any unit.
    channels : int
        Channels, at least 1.
    balance : {"round_robin", "greedy"}
        In order of arrival, or the costliest first, each to the channel with the least load.

    References
    ----------
    Heo et al., NeuPIMs, ASPLOS 2024, section 6.2 (greedy min-load bin packing).

    Examples
    --------
    >>> assign([5, 1, 1, 4], 2, "round_robin"), assign([5, 1, 1, 4], 2, "greedy")
    ([0, 1, 0, 1], [0, 1, 0, 1])
    >>> assign([5, 1, 4, 1], 2, "round_robin"), assign([5, 1, 4, 1], 2, "greedy")
    ([0, 1, 0, 1], [0, 1, 1, 0])
    """
    if balance != "greedy":
        return [i % channels for i in range(len(costs))]
    loads = [(0, channel) for channel in range(channels)]
    chosen = [0] * len(costs)
    for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        load, channel = heapq.heappop(loads)
        chosen[i] = channel
        heapq.heappush(loads, (load + costs[i], channel))
    return chosen


def balanced(
    steps: Sequence[Step],
    units: Mapping[str, Unit],
    settings: Mapping[str, Setting],
    balance: Balance,
) -> tuple[Step, ...]:
    """Return a block's steps with the times that sharing sequences out over channels gives.

    Attention kernels over several lengths become one launch (`accelsim.mapping._ragged`).

    Parameters
    ----------
    steps : sequence of Step
        Of one block; products of score and context, one pair per group of equal lengths.
    units, settings : mapping
        Unit name -> unit, and what surrounds it.
    balance : {"even", "round_robin", "greedy"}
        ``even`` leaves every group to fill the channels by itself.

    Notes
    -----
    Scores and contexts are phases of their own: each lasts as long as its busiest channel.  That
    time is shared out over the groups in proportion to what each puts into the channels.
    """
    if balance == "even":
        return ragged(steps, units, settings)
    found = list(ragged(steps, units, settings))
    for name in units:
        mine = [i for i, step in enumerate(steps) if _spread(step, name, units[name])]
        if mine:
            _rebalance(found, mine, units[name], settings[name], balance)
    return tuple(found)


def _spread(step: Step, name: str, unit: Unit) -> bool:
    """Return whether the unit's channels share out whole sequences of this step."""
    placement = getattr(unit, step.work.function, None) if step.unit == name else None
    return getattr(placement, "over_channels", "") == "sequences"


_PARTS: Final = ("score", "context")


def _rebalance(
    steps: list[Step], mine: Sequence[int], unit: Unit, setting: Setting, balance: Balance
) -> None:
    """Give the steps `mine` of `steps` the times of their parts of the busiest channel."""
    channels = int(getattr(setting.memory, "total_channels", 1))
    groups: dict[int, dict[str, tuple[int, int, int]]] = {}
    works = [steps[i].work for i in mine]
    sides = len({work.function for work in works})
    sequences_met = sum(max(1, w.batch // max(1, w.kv_heads)) for w in works) // sides
    met = max(1, min(channels, sequences_met))
    for i in mine:
        work = steps[i].work
        count = max(1, work.batch // max(1, work.kv_heads))
        # One a channel, as far as they go: what others write meanwhile is in the estimate.
        alone = replace(work, batch=max(1, work.kv_heads) * met)
        each_ps = unit.estimate(alone, setting).compute_ps
        groups.setdefault(steps[i].group, {})[work.function] = (i, count, each_ps)
    sequences = [g for g, parts in groups.items() for _ in range(next(iter(parts.values()))[1])]
    costs = [sum(each for _, _, each in groups[g].values()) for g in sequences]
    where = assign(costs, channels, balance)
    for part in _PARTS:
        loads, total = [0] * channels, 0
        for g, channel in zip(sequences, where, strict=True):
            each_ps = groups[g].get(part, (0, 0, 0))[2]
            loads[channel] += each_ps
            total += each_ps
        for parts in groups.values():
            if part in parts:
                i, count, each_ps = parts[part]
                time_ps = -(-max(loads) * count * each_ps // max(1, total))
                before = steps[i].estimate
                held_ps = before.held_ps * time_ps // max(1, before.compute_ps)
                estimate = replace(before, compute_ps=time_ps, held_ps=held_ps)
                steps[i] = replace(steps[i], estimate=estimate)
