"""Simulates every row of an end-to-end table beside what was measured, or says why it cannot.

The result is one DataFrame row per table row, in the table's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from accelsim.errors import AccelsimError, InfeasibleError
from accelsim.measure.endtoend.launch import LAUNCH
from accelsim.measure.endtoend.recipe import Recipe, Simulation, simulate
from accelsim.measure.endtoend.rows import Row, measured_ms
from accelsim.measure.gpus import architecture_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FRAME_COLUMNS", "compare", "kind_of", "recipe_of"]

FRAME_COLUMNS: Final = (
    "row", "source", "gpu", "n_devices", "model", "kind", "batch", "seq_in", "seq_out", "dtype",
    "impl", "metric", "measured_ms", "simulated_ms", "error", "roofline_ms", "host_ms", "stratum",
    "fitted", "dominant", "reason",
)  # fmt: skip
"""Columns of the comparison.  `kind` is the phase, and the part of it that the metric times;
`error` is simulated over measured, less 1; `stratum` is ``launch`` where measured is more than
`LAUNCH_RATIO` rooflines or launching decides the simulated time; `fitted` tells rows that a
launch constant was taken from; `dominant` is the operator class with most device time; `reason`
why a row has no simulation."""

_PARTS: Final = {"fw": "forward", "bw": "backward", "ttft": "first token", "tpot": "token",
                 "op": "operator"}  # fmt: skip
"""Begin of a metric -> the part of the phase that it times."""

LAUNCH_RATIO: Final = 5.0
"""Measured time over roofline above which a row is about launching rather than about the device
(PyTorch BERT at batch 1 is 60 to 240 rooflines)."""

HOST_SHARE: Final = 0.8
"""Time of all launches over simulated time from which on the host is what the device waits for."""


def recipe_of(row: Row) -> Recipe | str:
    """Return what a row ran, or why the library cannot say.

    Parameters
    ----------
    row : Row
        Of any source.
    """
    found = _sources().get(row.source)
    if found is None:
        return f"no recipes for the source {row.source}"
    if not architecture_name(row.gpu):
        return f"no architecture file of the board {row.gpu}"
    return found(row)


@cache
def _sources() -> Mapping[str, Callable[[Row], Recipe | str]]:
    from accelsim.measure.endtoend.sources import SOURCES

    return SOURCES


def compare(rows: Iterable[Row], progress: Callable[[int], None] | None = None) -> pd.DataFrame:
    """Return every row with its simulation.

    Parameters
    ----------
    rows : iterable of Row
        Of any sources.
    progress : callable, optional
        Called with the number of rows done.

    Returns
    -------
    pandas.DataFrame
        Columns `FRAME_COLUMNS`.
    """
    import pandas as pd

    records = []
    for done, row in enumerate(rows, 1):
        records.append(_record(row))
        if progress is not None:
            progress(done)
    return pd.DataFrame(records, columns=list(FRAME_COLUMNS))


def _record(row: Row) -> dict[str, Any]:
    record: dict[str, Any] = {
        "row": row.number, "source": row.source, "gpu": row.gpu, "n_devices": row.n_devices,
        "model": row.model, "kind": kind_of(row), "batch": row.batch, "seq_in": row.seq_in,
        "seq_out": row.seq_out, "dtype": row.dtype, "impl": row.impl, "metric": row.metric,
        "fitted": False, "reason": "",
    }  # fmt: skip
    recipe = recipe_of(row)
    if isinstance(recipe, str):
        return record | {"reason": recipe}
    measured = measured_ms(row)
    if isinstance(measured, str):
        return record | {"reason": measured}
    try:
        found = simulate(recipe)
    except InfeasibleError as error:
        short = f"the batch does not fit the {error.resource} at once"
        return record | {"measured_ms": measured, "reason": short}
    except AccelsimError as error:
        told = getattr(error, "message", str(error))  # without the place in a file of the library
        return record | {"measured_ms": measured, "reason": f"cannot be simulated: {told}"}
    constant = row.batch == 1 and row.source in LAUNCH[recipe.launch].fitted_on
    return record | {
        "fitted": constant and measured > LAUNCH_RATIO * found.roofline_ms,
        "measured_ms": measured, "simulated_ms": found.latency_ms,
        "error": found.latency_ms / measured - 1, "roofline_ms": found.roofline_ms,
        "host_ms": found.host_ms, "stratum": _stratum(measured, found),
        "dominant": _dominant(found),
    }  # fmt: skip


def kind_of(row: Row) -> str:
    """Return what a row measures: its phase, and which part of it.

    Examples
    --------
    >>> row = Row(
    ...     0, "lab", "T4", 1, "net", "training", 4, 8, 0, "fp32", "", "fw_latency_ms", 1.0, ""
    ... )
    >>> kind_of(row)
    'training, forward'
    """
    part = _PARTS.get(row.metric.partition("_")[0])
    return f"{row.phase}, {part}" if part else row.phase


def _stratum(measured: float, found: Simulation) -> str:
    launching = found.roofline_ms > 0 and measured > LAUNCH_RATIO * found.roofline_ms
    return "launch" if launching or found.host_ms > HOST_SHARE * found.latency_ms else "device"


def _dominant(found: Simulation) -> str:
    """Return the operator class with the most time on the device, and its share."""
    total = sum(found.by_class.values())
    if not total:
        return ""
    name = max(found.by_class, key=lambda key: found.by_class[key])
    return f"{name} {found.by_class[name] / total:.0%}"
