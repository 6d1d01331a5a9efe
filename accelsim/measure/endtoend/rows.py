"""A row of an end-to-end table, and its figure as milliseconds of one pass or one generation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelsim.errors import ConfigError, Location

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Row", "measured_ms", "read_rows"]

COLUMNS: Final = (
    "source", "gpu", "n_devices", "model", "phase", "batch", "seq_in", "seq_out", "dtype", "impl",
    "metric", "value", "notes",
)  # fmt: skip
"""Columns that a table of end-to-end measurements must have."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure.

    Attributes
    ----------
    number : int
        Place in the table.
    seq_in, seq_out : int
        Tokens read and made; resolution and steps of a diffusion model.  0 where not given.
    batch : int
        Over all devices; 0 where not given.
    metric, value
        What was measured, in the metric's own unit.
    """

    number: int
    source: str
    gpu: str
    n_devices: int
    model: str
    phase: str
    batch: int
    seq_in: int
    seq_out: int
    dtype: str
    impl: str
    metric: str
    value: float
    notes: str

    def note(self, name: str) -> str:
        """Return what the notes say about a name (``tp=8``); empty where nothing."""
        found = re.search(rf"\b{name}=([\w.]+)", self.notes)
        return found[1] if found else ""

    @property
    def ways(self) -> int:
        """Tensor-parallel devices that the notes state; all where they state none."""
        return int(self.note("tp") or self.n_devices)


def read_rows(path: str | Path) -> list[Row]:
    """Read a table.

    Parameters
    ----------
    path : str or Path
        Comma-separated values with `COLUMNS`, compressed or not.

    Raises
    ------
    ConfigError
        If the file is missing or lacks a column.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise ConfigError("no such file", Location(str(path)))
    table = pd.read_csv(path)
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise ConfigError(
            f"columns {', '.join(missing)} are missing", Location(str(path)),
            hint=f"a table of end-to-end measurements has {', '.join(COLUMNS)}",
        )  # fmt: skip
    return list(_rows(table))


def _rows(table: pd.DataFrame) -> Iterator[Row]:
    whole = {"n_devices", "batch", "seq_in", "seq_out"}
    for number, values in enumerate(table[list(COLUMNS)].itertuples(index=False, name=None)):
        data: dict[str, Any] = {}
        for name, value in zip(COLUMNS, values, strict=True):
            missing = value != value  # NaN
            if name in whole:
                data[name] = 0 if missing else int(value)
            else:
                data[name] = ("" if missing else value) if name != "value" else float(value)
        yield Row(number=number, **data)


def _per_s(scale: Callable[[Row], float]) -> Callable[[Row], float | None]:
    """Return the milliseconds in which so many are made at a rate of `value` per second."""
    return lambda row: 1e3 * scale(row) / row.value if scale(row) else None


_UNITS: Final[Mapping[str, Callable[[Row], float | None]]] = {
    "latency_ms": lambda row: row.value,
    "fw_latency_ms": lambda row: row.value,
    "bw_latency_ms": lambda row: row.value,
    "tpot_ms": lambda row: row.value,
    "tpot_p50_ms": lambda row: row.value,
    "ttft_ms": lambda row: row.value,
    "tokens_per_s": _per_s(lambda row: row.batch),
    "unet_iters_per_s": _per_s(lambda row: 1),
    "sequences_per_s": _per_s(lambda row: row.batch * row.n_devices),  # batch is per GPU
    "images_per_s": _per_s(lambda row: row.batch * row.n_devices),
    "tokens_per_s_per_gpu": _per_s(lambda row: row.batch * row.seq_in / row.n_devices),
}


def measured_ms(row: Row) -> float | str:
    """Return a row's figure as milliseconds, or why it has none.

    Examples
    --------
    >>> row = Row(
    ...     0, "lab", "T4", 2, "net", "training", 4, 8, 0, "fp32", "", "images_per_s", 100.0, ""
    ... )
    >>> measured_ms(row)
    80.0
    """
    if row.metric.startswith("op_ms:"):
        return row.value
    if row.metric not in _UNITS:
        return f"the metric {row.metric} is no time of a pass"
    found = _UNITS[row.metric](row)
    return "the table does not give the batch" if found is None else found
