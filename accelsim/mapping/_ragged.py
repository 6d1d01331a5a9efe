"""One kernel for the decoding requests of all lengths, on units that launch kernels.

Kernels of attention take requests of different lengths at once and split long ones, so that a
batch costs as one of equal lengths does, not as a kernel for each length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from accelsim.cost import Setting, Unit, Work

if TYPE_CHECKING:
    from accelsim.mapping.plan import Step

__all__ = ["ragged", "together"]


def together(works: Sequence[Work]) -> Work:
    """Return decoding attention over groups of requests as one over requests of the mean length.

    Parameters
    ----------
    works : sequence of Work
        Attention of one new token per request, alike but for requests and cached tokens.

    Examples
    --------
    >>> one = Work("attention", batch=3, heads=8, kv_heads=8, q_len=1, kv_len=100, macs=30)
    >>> both = together([one, replace(one, batch=1, kv_len=500, macs=50)])
    >>> both.batch, both.kv_len, both.macs
    (4, 200, 80)
    """
    batch = sum(work.batch for work in works)

    def mean(name: str) -> int:
        total: int = sum(work.batch * getattr(work, name) for work in works)
        return round(total / batch)

    summed = ("kv_bytes", "input_bytes", "output_bytes", "macs", "vector_ops")
    return replace(
        works[0], batch=batch, kv_len=mean("kv_len"), kv_seen=mean("kv_seen"),
        **{name: sum(getattr(work, name) for work in works) for name in summed},
    )  # fmt: skip


def ragged(
    steps: Sequence[Step], units: Mapping[str, Unit], settings: Mapping[str, Setting]
) -> tuple[Step, ...]:
    """Return a block's steps with one launch for decoding attention of all lengths.

    Parameters
    ----------
    steps : sequence of Step
        Of one block.
    units, settings : mapping
        Unit name -> unit, and what surrounds it.

    Notes
    -----
    The kernel's time is shared out over the groups by their cache bytes.  Prompts of different
    lengths stay kernels of their own: their work grows with the square of the length, so that no
    mean stands for them.

    References
    ----------
    Kwon et al., "Efficient memory management for large language model serving with
    PagedAttention", SOSP 2023, section 5.1; Dao, "FlashAttention-2", 2023 (``varlen``).
    """
    found = list(steps)
    alike: dict[tuple[str, Work], list[int]] = {}
    for i, step in enumerate(steps):
        work, estimate = step.work, step.estimate
        decodes = work.kind == "attention" and work.q_len == 1 and work.kv_bytes > 0
        if decodes and estimate.includes_memory and estimate.launch_ps:
            alike.setdefault((step.unit, _shape(work)), []).append(i)
    for (name, _), mine in alike.items():
        if len(mine) > 1:
            _launch_once(found, mine, units[name], settings[name])
    return tuple(found)


def _shape(work: Work) -> Work:
    """Return what works have in common that one kernel does together."""
    return replace(
        work, batch=1, kv_len=1, kv_seen=0, kv_bytes=0, input_bytes=0, output_bytes=0, macs=0,
        vector_ops=0,
    )  # fmt: skip


def _launch_once(steps: list[Step], mine: Sequence[int], unit: Unit, setting: Setting) -> None:
    """Give the steps `mine` of `steps` their parts of one kernel's time and a single launch."""
    whole = unit.estimate(together([steps[i].work for i in mine]), setting)
    total = sum(steps[i].work.kv_bytes for i in mine)
    done = 0
    for n, i in enumerate(mine):
        before = whole.compute_ps * done // total
        done += steps[i].work.kv_bytes
        estimate = replace(
            steps[i].estimate, compute_ps=whole.compute_ps * done // total - before,
            launch_ps=0 if n else whole.launch_ps, choice=whole.choice,
        )  # fmt: skip
        steps[i] = replace(steps[i], estimate=estimate)
