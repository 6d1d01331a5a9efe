"""Fits one section of a calibration to rows of one board: its scalars, and what the clock adds.

`calibrate` says which sections there are and in which order; `fit` samples rows and finds minima.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.cost._gpu_calibration import ClockScalars
from accelsim.cost.gpu import Gpu
from accelsim.measure.fit import BOUNDS, SHARES, Bounds, minimum, rounded, sample
from accelsim.measure.rows import EAGER, groups

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LEAST", "Rows", "Times", "eager", "fit_section", "row_parts", "search", "told"]

LEAST: Final = 12
"""Rows of an operator and format below which nothing is fitted."""

_ROWS: Final = 2000  # fitted rows of an operator and format
_CLOCK: Final = (0.0, 400e-6)  # what an eager clock may add, s
_PULL: Final = 1e-3  # weight of a share's distance from 1, which decides where rows do not tell it
_REFERENCE: Final = 1e-6  # octaves of latency are counted in us

Times = Callable[..., NDArray[np.float64]]
"""From scalars of a section to the time of each prepared row, s."""


def row_parts(
    table: pd.DataFrame, fitted: NDArray[np.bool_], gpu: Gpu, bandwidth: float
) -> Iterator[Rows]:
    """Yield the rows of each operator, format and variant.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of one board and campaign.
    fitted : ndarray of bool
        Which of them a fit may use.
    gpu, bandwidth
        The board; see `accelsim.measure.gpus.board`.
    """
    for (op, dtype, variant), rows in groups(table).items():
        part = table.iloc[rows]
        measured = part["latency_us"].to_numpy(np.float64) * 1e-6
        yield Rows(op, dtype, variant, fitted[rows], measured, part, gpu, bandwidth)


def fit_section(
    section: str, before: Any, parts: Sequence[Rows], prepared: Sequence[Times]
) -> tuple[Any, dict[str, ClockScalars], float]:
    """Return a section's scalars as rows show them, the constants of their clock, and the loss.

    Parameters
    ----------
    section : str
        Entry of `accelsim.measure.fit.BOUNDS`.
    before : Spec
        The section's scalars so far, which give those that are not fitted.
    parts : sequence of Rows
        The rows, of which `Rows.subset` has chosen those to fit.
    prepared : sequence of callable
        What predicts the chosen rows of each part.
    """
    kept = {k: v for k, v in before.model_dump().items() if k not in BOUNDS[section]}
    kept |= {"watts_per_tflops": 0.0} if "watts_per_tflops" in kept else {}

    def build(values: Mapping[str, float]) -> Any:
        chosen = {name: values[name] for name in BOUNDS[section]}
        return type(before).model_construct(**kept, **chosen)

    found, clock, loss = search(build, BOUNDS[section], before, parts, prepared)
    return type(before).model_validate(found.model_dump()), clock, loss


def search(
    build: Callable[[Mapping[str, float]], Any], bounds: Bounds, before: Any,
    parts: Sequence[Rows], prepared: Sequence[Times], names: Mapping[str, str] | None = None,
) -> tuple[Any, dict[str, ClockScalars], float]:  # fmt: skip
    """Minimise the loss over some scalars and the constants of the clock.

    Parameters
    ----------
    build : callable
        From values of the scalars in `bounds` to what `prepared` takes.
    bounds : mapping
        Scalar -> least and greatest value.
    before : Spec or None
        Where a ``start_s`` that cannot be told from the clock's constant is taken from.
    parts, prepared
        As in `fit_section`.
    names : mapping, optional
        Operator -> what its clock is listed under, where that is not its name.

    Returns
    -------
    tuple
        What `build` makes of the best values, the constants by operator, and the loss: the mean
        of |ln(predicted/measured)|.
    """
    clocked = sorted({p.op for p in parts if _clocked(p)})
    events = sorted({p.op for p in parts if eager(p)})
    limits = dict(bounds)
    if clocked and "start_s" in limits:  # the kernel's own start cannot be told from the clock's
        limits["start_s"] = (before.start_s, before.start_s)
    limits |= {f"launch {op}": _CLOCK for op in clocked} | {f"least {op}": _CLOCK for op in events}
    keys, measured = list(limits), [p.measured[p.chosen] for p in parts]

    def loss(x: NDArray[np.float64]) -> float:
        values = dict(zip(keys, x.tolist(), strict=True))
        scalars, errors = build(values), []
        untold = _PULL * sum(abs(np.log(values[name])) for name in SHARES & bounds.keys())
        for part, times, seen in zip(parts, prepared, measured, strict=True):
            shown = times(scalars) + values.get(f"launch {part.op}", 0.0)
            shown = np.maximum(shown, values.get(f"least {part.op}", 0.0))
            errors.append(np.abs(np.log(shown / seen)))
        return float(np.concatenate(errors).mean() + untold)

    best, least = minimum(loss, list(limits.values()))
    values = dict(zip(keys, rounded(best.tolist()), strict=True))
    clock = {
        (names or {}).get(op, op): ClockScalars(
            launch_s=values[f"launch {op}"], least_s=values.get(f"least {op}", 0.0)
        )
        for op in clocked
    }
    return build(values), clock, least


def _clocked(part: Rows) -> bool:
    """Return whether the campaign's clock shows more than the kernel: attention is never alone."""
    return eager(part) or part.op.startswith("attention")


def eager(part: Rows) -> bool:
    """Return whether the campaign's clock sees launches."""
    return part.table["timing"].iloc[0] in EAGER


@dataclass(slots=True)
class Rows:
    """The rows of one operator, format and library, with what predicts them."""

    op: str
    dtype: str
    variant: str
    fitted: NDArray[np.bool_]
    measured: NDArray[np.float64]
    table: pd.DataFrame
    gpu: Gpu
    bandwidth: float
    chosen: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def subset(self) -> pd.DataFrame:
        """Return the rows to fit: some of each octave of latency."""
        known = np.flatnonzero(self.fitted)
        self.chosen = known[sample(self.measured[known] / _REFERENCE, _ROWS)]
        return self.table.iloc[self.chosen]


def told(parts: Sequence[Rows]) -> str:
    """Return formats and operators of rows in words."""
    return ", ".join(sorted({f"{p.dtype} {p.op}" for p in parts}))
