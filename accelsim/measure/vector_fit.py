"""Fits the scalars of kernels without products: what functions share, then each one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from accelsim.cost._gpu_calibration import Calibration, ClockScalars, VectorScalars
from accelsim.measure import kernels
from accelsim.measure.fit import BOUNDS, rounded
from accelsim.measure.section_fit import LEAST, Rows, Times, eager, search, told

__all__ = ["fit_vectors"]

_SHARE: Final = (0.02, 1.0)  # of the memory bandwidth that a function's kernel reaches
_ROW: Final = (0.0, 20e-6)  # time of a row's thread block, s
_TOLD: Final = 0.002  # difference in mean error from which rows tell a scalar
_ROWWISE: Final = frozenset({"softmax", "layernorm", "rmsnorm"})


def fit_vectors(
    made: Calibration, parts: Sequence[Rows], notes: dict[str, str], who: str
) -> Calibration:
    """Fit what all functions share, then each one's share of the bandwidth and time of a row."""
    mine = [p for p in parts if p.op in kernels.VECTORS and p.fitted.sum() >= LEAST]
    if not mine:
        return made
    names = [p.variant or p.op for p in mine]
    prepared = [
        kernels.vectors(p.subset(), p.op, name, p.gpu, p.bandwidth)
        for p, name in zip(mine, names, strict=True)
    ]
    common = {name: getattr(made.vector, name) for name in BOUNDS["vector"]}
    if any(map(eager, mine)):
        common["l2_bytes_per_clock"] = _cached(names, mine, prepared, common)
    else:
        common = _common_vector(names, mine, prepared)
    shares: dict[str, float] = {}
    blocks: dict[str, float] = {}
    clocks: dict[str, ClockScalars] = {}
    for name, part, times in zip(names, mine, prepared, strict=True):
        bounds = {"share": _SHARE, **({"row_s": _ROW} if name in _ROWWISE else {})}
        found, clock, _ = search(
            _one_function(name, common), bounds, made.vector, [part], [times], {part.op: name}
        )
        shares[name] = found.memory_efficiency
        blocks |= found.row_s
        clocks |= clock
    best = max(shares.values())
    vector = VectorScalars(
        memory_efficiency=best, **common, row_s=dict(sorted(blocks.items())),
        efficiency={name: rounded([share / best])[0] for name, share in sorted(shares.items())},
    )  # fmt: skip
    notes["vector"] = f"{who}: {told(mine)}"
    return made.model_copy(update={"vector": vector, "clock": {**made.clock, **clocks}})


def _one_function(
    name: str, common: Mapping[str, float]
) -> Callable[[Mapping[str, float]], VectorScalars]:
    """Return what makes the scalars of one function from its own values and the common ones."""

    def build(values: Mapping[str, float]) -> VectorScalars:
        chosen = {key: values.get(key, common[key]) for key in common}
        row_s = {name: values["row_s"]} if "row_s" in values else {}
        return VectorScalars.model_construct(
            None, memory_efficiency=values["share"], **chosen, row_s=row_s, efficiency={}
        )

    return build


def _cached(
    names: Sequence[str], parts: Sequence[Rows], prepared: Sequence[Times],
    common: Mapping[str, float],
) -> float:  # fmt: skip
    """Return the L2 cache's rate, by the median function that a clock with launches shows it in.

    Where a slow and a fast cache explain the rows alike, as when launches hide all kernels that
    fit it, the rate keeps its value.
    """
    key = "l2_bytes_per_clock"
    low, high = BOUNDS["vector"][key]
    seen = []
    for name, part, times in zip(names, parts, prepared, strict=True):
        if name in _ROWWISE:
            continue
        build = _one_function(name, common)
        ends = [
            search(build, {"share": _SHARE, key: (end, end)}, None, [part], [times])[2]
            for end in (low, high)
        ]
        if abs(ends[0] - ends[1]) > _TOLD:
            bounds = {"share": _SHARE, key: (low, high)}
            found, _, _ = search(build, bounds, None, [part], [times])
            seen.append(found.l2_bytes_per_clock)
    return float(np.median(seen)) if seen else common[key]


def _common_vector(
    names: Sequence[str], parts: Sequence[Rows], prepared: Sequence[Times]
) -> dict[str, float]:
    """Return start, smoothness and rate of the L2 cache as all functions together show them."""

    def build(values: Mapping[str, float]) -> VectorScalars:
        common = {name: values[name] for name in BOUNDS["vector"]}
        shares = {name: values[f"share {name}"] for name in names}
        best = max(shares.values())
        return VectorScalars.model_construct(
            None, memory_efficiency=best, **common, row_s={},
            efficiency={name: share / best for name, share in shares.items()},
        )  # fmt: skip

    bounds = {**BOUNDS["vector"], **{f"share {name}": _SHARE for name in names}}
    found, _, _ = search(build, bounds, None, parts, prepared)
    return {name: getattr(found, name) for name in BOUNDS["vector"]}
