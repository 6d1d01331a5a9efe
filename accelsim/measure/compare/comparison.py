"""Sets every measured row beside its prediction, the trivial baselines and what bounds it.

A `Comparison` holds all that reports and summaries draw on, one array entry per row of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from accelsim import arch as architectures
from accelsim.errors import UnknownNameError
from accelsim.measure.compare.baselines import baselines
from accelsim.measure.compare.calibrations import Named, read_calibrations
from accelsim.measure.compare.causes import Evidence, causes, evidence
from accelsim.measure.compare.classes import APART, classes, floors_us, roofline_us, strata
from accelsim.measure.compare.table import read_measured
from accelsim.measure.gpus import boards
from accelsim.measure.split import split

if TYPE_CHECKING:
    import pandas as pd

    from accelsim.cost.gpu import Calibration

__all__ = ["Comparison", "Predicted", "Predictor", "compare", "compare_file"]


class Predicted(Protocol):
    """What a predictor gives for a table: arrays with one entry per row."""

    @property
    def kernel_us(self) -> NDArray[np.float64]:
        """Time inside the kernel, us; NaN where the row is not modelled."""

    @property
    def added_us(self) -> NDArray[np.float64]:
        """What the clock of the row's source adds, us."""

    @property
    def reason(self) -> NDArray[Any]:
        """Why the row is not modelled; empty where it is."""


Predictor = Callable[["pd.DataFrame", "Mapping[tuple[str, str], Calibration] | None"], Predicted]
"""Table and calibrations by (GPU, source) -> prediction: `accelsim.measure.predict.predict`."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every row of a table with its prediction; arrays have one entry per row.

    Attributes
    ----------
    table : pandas.DataFrame
        The measured rows.
    kind, stratum : ndarray of str
        Operator class, and what bounds the row.
    fitted : ndarray of bool
        Rows that calibrations may be fitted on; the others test.
    rule : str
        How they were chosen.
    measured, predicted, kernel, added : ndarray of float64
        Latency measured, predicted, and the two parts of the latter, us; the prediction is NaN
        where the row is not modelled.
    reason : ndarray of str
        Why not.
    choice : ndarray of str
        Kernel or tile that the model chose, where it says.
    floor, compute, memory : ndarray of float64
        Smallest latency of the row's campaign, datasheet compute and memory time, us.
    baselines : mapping of str to ndarray of float64
        Prediction of every baseline, us.
    cause : ndarray of str
        Likely cause of the row's error.
    evidence : Evidence
        What causes were named by.
    calibrations : tuple of Named
        Those that the user named.
    """

    table: pd.DataFrame
    kind: NDArray[np.object_]
    stratum: NDArray[np.object_]
    fitted: NDArray[np.bool_]
    rule: str
    measured: NDArray[np.float64]
    predicted: NDArray[np.float64]
    kernel: NDArray[np.float64]
    added: NDArray[np.float64]
    reason: NDArray[np.object_]
    choice: NDArray[np.object_]
    floor: NDArray[np.float64]
    compute: NDArray[np.float64]
    memory: NDArray[np.float64]
    baselines: Mapping[str, NDArray[np.float64]]
    cause: NDArray[np.object_]
    evidence: Evidence
    calibrations: tuple[Named, ...] = ()

    @property
    def apart(self) -> NDArray[np.bool_]:
        """Rows whose flag keeps them out of the headline."""
        found: NDArray[np.bool_] = self.table["flag"].isin(APART).to_numpy()
        return found

    @property
    def modelled(self) -> NDArray[np.bool_]:
        """Rows with a prediction."""
        found: NDArray[np.bool_] = ~np.isnan(self.predicted)
        return found

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Rows with a prediction that are not kept apart."""
        return self.modelled & ~self.apart

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Rows that headlines count: scored and not fitted on."""
        return self.scored & ~self.fitted


def compare_file(
    file: str | Path,
    calibrations: Iterable[str | Path] = (),
    *,
    architecture: str = "",
    predictor: Predictor | None = None,
) -> Comparison:
    """Read a table of measured operators, predict every row and set both side by side.

    Parameters
    ----------
    file : str or Path
        CSV, gzipped CSV or Parquet.
    calibrations : iterable of path, optional
        Calibration files; for other GPUs and sources the shipped scalars hold.
    architecture : str, optional
        What ran the rows of boards that are no known GPUs, such as a CPU.
    predictor : callable, optional
        What predicts; the GPU kernel model unless given.

    Raises
    ------
    ConfigError
        If a file is malformed.
    UnknownNameError
        If no row's GPU is known.
    """
    table = read_measured(file)
    named = read_calibrations(calibrations)
    names = sorted(map(str, table["gpu"].unique()))
    if not architecture and not any(name in boards() for name in names):
        raise UnknownNameError("board", names[0], boards())
    if predictor is None:
        from accelsim.measure.predict import predict

        other = architectures.load(architecture) if architecture else None
        predictor = partial(predict, architecture=other)
    scalars = {key: one.calibration for key, one in named.items()}
    return compare(table, predictor(table, scalars or None), tuple(named.values()))


def compare(
    table: pd.DataFrame, prediction: Predicted, calibrations: tuple[Named, ...] = ()
) -> Comparison:
    """Set measured rows beside a prediction of them.

    Parameters
    ----------
    table : pandas.DataFrame
        As `read_measured` gives it.
    prediction : Predicted
        Of its rows.
    calibrations : tuple of Named, optional
        What the prediction was made with, for the record.
    """
    fitted, rule = split(table)
    floor = floors_us(table)
    compute, memory = roofline_us(table)
    stratum = strata(table, floor, compute, memory)
    kernel, added = prediction.kernel_us, prediction.added_us
    predicted = np.asarray(kernel + added, dtype=np.float64)
    found = evidence(table, predicted, floor, memory, stratum)
    reason = np.asarray(prediction.reason, dtype=object)
    unexplained = np.isnan(predicted) & (reason == "")
    choice = getattr(prediction, "choice", None)
    return Comparison(
        table, classes(table), stratum, fitted, rule,
        table["latency_us"].to_numpy(np.float64), predicted, kernel, added,
        np.where(unexplained, "no prediction", reason),
        np.full(len(table), "", object) if choice is None else np.asarray(choice, dtype=object),
        floor, compute, memory,
        # Rows kept apart must not bend the constants of the others.
        baselines(table, np.maximum(compute, memory), fitted & ~table["flag"].isin(APART)),
        causes(table, stratum, found), found, calibrations,
    )  # fmt: skip
