"""Predicts measured operators: kernel time, and what the campaign's clock adds to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import ArchitectureSpec
from accelsim.config import library, load_resolved, validate
from accelsim.cost._gpu_calibration import Calibration, ClockScalars
from accelsim.cost.gpu import Gpu
from accelsim.measure import kernels
from accelsim.measure.gpus import board, boards
from accelsim.measure.kernels import FORMATS, VECTORS, Seconds
from accelsim.measure.links import collective_s
from accelsim.measure.rows import MODELLED, groups
from accelsim.measure.split import COLLECTIVES
from accelsim.measure.units import unit_s

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Prediction", "campaigns", "clock_s", "part_s", "predict"]

_REASONS: Final[Mapping[str, str]] = {
    "rnn": "recurrent networks are not modelled",
    "sampler": "sampling is not modelled",
}


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted times, an entry per row of the table.

    Attributes
    ----------
    kernel_us : ndarray of float64
        Time inside the kernels, us; NaN where the row is not modelled.
    added_us : ndarray of float64
        What the clock of the row's campaign adds, us.
    reason : ndarray of str
        Why a row is not modelled; empty where it is.
    """

    kernel_us: NDArray[np.float64]
    added_us: NDArray[np.float64]
    reason: NDArray[np.object_]

    @property
    def latency_us(self) -> NDArray[np.float64]:
        """What the campaign's clock would show, us."""
        return self.kernel_us + self.added_us


@cache
def campaigns() -> Mapping[tuple[str, str], Calibration]:
    """Return (board, campaign) -> shipped calibration."""
    found = {}
    folder = library.library_root() / "arch" / "components"
    for path in sorted(folder.glob("calibration_*.yaml")):
        one = validate(load_resolved(path), Calibration)
        if one.gpu:  # else the medians of a chip
            found[one.gpu, one.campaign] = one
    return found


def predict(
    table: pd.DataFrame, calibrations: Mapping[tuple[str, str], Calibration] | None = None,
    architecture: ArchitectureSpec | None = None,
) -> Prediction:  # fmt: skip
    """Predict every row of a table of measured operators.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns as in `docs/measured-data.md`.
    calibrations : mapping, optional
        (board, campaign) -> scalars that come before the shipped ones.
    architecture : ArchitectureSpec, optional
        What rows of boards that no GPU component lists ran on; see `accelsim.measure.units`.

    Notes
    -----
    A row takes the calibration of its board and campaign; without one that of the board, and for
    the clock the median of what the same campaign's clock adds on other boards.
    """
    known = {**campaigns(), **(calibrations or {})}
    size = len(table)
    kernel, added = np.full(size, np.nan), np.zeros(size)
    reason: NDArray[np.object_] = np.full(size, "", dtype=object)
    owner = table["gpu"].astype(str) + "\0" + table["source"].astype(str)
    for name, rows in owner.groupby(owner, observed=True).indices.items():
        gpu_name, source = str(name).split("\0")
        part = table.iloc[rows]
        if gpu_name not in boards() and architecture is not None:
            seconds, reason[rows] = unit_s(part, architecture)
            kernel[rows] = seconds * 1e6
            continue
        if gpu_name not in boards():
            reason[rows] = f"no component file lists the board {gpu_name}"
            continue
        gpu, bandwidth = board(gpu_name)
        chosen = known.get((gpu_name, source), gpu.calibration)
        chosen_clock = _clock_of(known, gpu_name, source)
        for (op, dtype, variant), inner in groups(part).items():
            here = rows[inner]
            if op in COLLECTIVES:
                seconds, reason[here] = collective_s(part.iloc[inner], gpu_name)
                kernel[here] = seconds * 1e6
                continue
            told = _refusal(op, dtype, gpu)
            if told:
                reason[here] = told
                continue
            times = part_s(part.iloc[inner], op, dtype, variant, chosen, gpu, bandwidth)
            kernel[here] = times * 1e6
            added[here] = clock_s(chosen_clock(op, variant), times) * 1e6
    unknown = np.isnan(kernel) & (reason == "")
    reason[unknown] = "the row does not tell its sizes"
    return Prediction(kernel, added, reason)


def _refusal(op: str, dtype: str, gpu: Gpu) -> str:
    if op not in MODELLED:
        return _REASONS.get(op, f"operator {op} is not modelled")
    if dtype not in FORMATS:
        return f"number format {dtype} is not known"
    if op not in VECTORS and not gpu.multiplied(FORMATS[dtype][0]):
        return f"no rate for {dtype}"
    return ""


def _clock_of(
    known: Mapping[tuple[str, str], Calibration], gpu_name: str, source: str
) -> Callable[[str, str], ClockScalars]:
    """Return what finds the constants of an operator's clock: the campaign's own, or typical.

    Typical are the medians over the boards that the same campaign measured.
    """
    own = known.get((gpu_name, source))
    every = [own] if own else [c for (_, name), c in known.items() if name == source]

    def find(op: str, variant: str) -> ClockScalars:
        seen = [found for one in every if (found := one.clock_of(op, variant))]
        if not seen:
            return ClockScalars(launch_s=0.0)
        return ClockScalars(
            launch_s=median(c.launch_s for c in seen), least_s=median(c.least_s for c in seen)
        )

    return find


def clock_s(clock: ClockScalars, kernel: Seconds) -> Seconds:
    """Return what a clock adds to kernels, s."""
    return np.maximum(clock.launch_s, clock.least_s - kernel)


def part_s(
    table: pd.DataFrame, op: str, dtype: str, variant: str, c: Calibration, gpu: Gpu,
    bandwidth: float,
) -> Seconds:  # fmt: skip
    """Return the kernel time of rows of one operator, format and variant, s.

    Parameters
    ----------
    table : pandas.DataFrame
        The rows.
    op, dtype, variant : str
        What they have in common; see `accelsim.measure.rows.groups`.
    c : Calibration
        Scalars.
    gpu, bandwidth
        The board; see `accelsim.measure.gpus.board`.
    """
    if op in VECTORS:
        function = variant or op
        return kernels.vectors(table, op, function, gpu, bandwidth)(c.vector)
    own = c.libraries.get(variant) or next(iter(c.libraries.values()))
    if op == "moe":
        return kernels.experts(table, dtype, variant, gpu, bandwidth)(own.grouped, c.vector)
    if op == "attention_mixed":
        return kernels.mixed(table, dtype, gpu, bandwidth)(own.prefill, own.decode)
    if op.startswith("attention"):
        times = kernels.prefills(table, dtype, gpu, bandwidth)(own.prefill, own.decode)
        few = kernels.attends(table) | (op == "attention_decode")
        if few.any():
            times[few] = kernels.decodes(table[few], dtype, gpu, bandwidth)(own.decode)
        return times
    section = getattr(c, gpu.arithmetic(FORMATS[dtype][0]))
    extra = c.formats.get(kernels.FORMAT_OF.get(dtype, dtype))
    if op == "conv":
        return kernels.convolutions(table, dtype, gpu, bandwidth)(c.convolution, section, extra)
    return kernels.products(table, dtype, gpu, bandwidth)(section, extra)
