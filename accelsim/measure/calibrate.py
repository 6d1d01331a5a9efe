"""Fits the scalars of the GPU kernel model to one campaign's measurements on one board.

`calibrate` fits every section that the campaign has rows for; the rest keeps the scalars that the
board has already.  Rows of the test split are never fitted on, only scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.cost._gpu_calibration import (
    Calibration,
    FormatScalars,
    LibraryScalars,
)
from accelsim.errors import ConfigError
from accelsim.measure import kernels
from accelsim.measure.fit import Score, score
from accelsim.measure.gpus import board
from accelsim.measure.rows import usable
from accelsim.measure.section_fit import LEAST, Rows, Times, fit_section, row_parts, told
from accelsim.measure.split import split
from accelsim.measure.vector_fit import fit_vectors

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Fit", "calibrate"]


_SHELVES: Final[tuple[Literal["library", "rows", "fixed"], ...]] = ("library", "rows", "fixed")
_CHUNKS: Final = ("attention_prefill", "attention_mixed")


@dataclass(frozen=True, slots=True)
class Fit:
    """A calibration and how far it is from the measurements.

    Attributes
    ----------
    calibration : Calibration
        The scalars.
    scores : mapping
        (operator, number format, library or "") -> ("fit" or "test") -> Score.
    """

    calibration: Calibration
    scores: Mapping[tuple[str, str, str], Mapping[str, Score]]


def calibrate(
    table: pd.DataFrame, gpu_name: str, source: str, fitted: NDArray[np.bool_] | None = None,
    rule: str = "",
) -> Fit:  # fmt: skip
    """Fit every section that a campaign has rows for, and score it on the rows kept back.

    Parameters
    ----------
    table : pandas.DataFrame
        Measured operators in the columns of `docs/measured-data.md`, of any boards and sources.
    gpu_name : str
        Board, as in the table's ``gpu`` and the component files.
    source : str
        Campaign, as in the table's ``source``.
    fitted : ndarray of bool, optional
        Rows that may be fitted on; `accelsim.measure.split.split` unless given.
    rule : str, optional
        How they were chosen, in words.

    Raises
    ------
    ConfigError
        If no row of the board and source can be modelled, or too few may be fitted on.
    UnknownNameError
        If no component file lists the board.

    Notes
    -----
    Minimises the mean of |ln(predicted/measured)| over equally many rows of each octave of
    latency. Where the clock sees more than kernels, what it adds is one constant per operator,
    fitted with the section; the kernels' own start keeps its value.
    """
    gpu, bandwidth = board(gpu_name)
    if fitted is None:
        fitted, rule = split(table)
    mine = np.flatnonzero(
        table["gpu"].eq(gpu_name).to_numpy()
        & table["source"].eq(source).to_numpy()
        & usable(table)
    )
    parts = list(row_parts(table.iloc[mine], fitted[mine], gpu, bandwidth))
    if not parts:
        raise ConfigError(f"no rows of {gpu_name} by {source} that the kernel model covers")
    scalars = gpu.calibration.model_copy(deep=True)
    made = scalars.model_copy(
        update={"gpu": gpu_name, "campaign": source, "clock": {}, "split": rule}
    )
    notes: dict[str, str] = {}  # of this campaign alone: typical scalars count measured sections
    steps = (_fit_products, _fit_formats, fit_vectors, _fit_libraries)
    for step in steps:
        made = step(made, parts, notes, f"{gpu_name}, {source}")
    if not notes:
        most = max(int(p.fitted.sum()) for p in parts)
        raise ConfigError(
            f"too few rows of {gpu_name} by {source} to fit: {most} of one operator and format,"
            f" of {LEAST} needed",
            hint="a third of the shape families is kept to test; measure more shapes",
        )
    scores = _scores(made, parts)
    made = made.model_copy(update={"fitted_on": notes, "error": _summary(scores)})
    return Fit(made, scores)


def _fit_products(
    made: Calibration, parts: Sequence[Rows], notes: dict[str, str], who: str
) -> Calibration:
    for section in ("tensor", "simt", "convolution"):
        mine = [p for p in parts if _section(p) == section and p.fitted.sum() >= LEAST]
        if not mine:
            continue
        prepared = [_prepared(p, made) for p in mine]
        found, clock, _ = fit_section(section, getattr(made, section), mine, prepared)
        if section == "convolution" and not any(
            p.gpu.arithmetic(p.dtype) == "tensor" for p in mine
        ):
            found = found.model_copy(update={"implicit_tensor": None})
        notes[section] = f"{who}: {told(mine)}"
        made = made.model_copy(update={section: found, "clock": {**made.clock, **clock}})
    return made


def _prepared(part: Rows, made: Calibration) -> Times:
    """Return what predicts the rows to fit of products, or of convolutions beside products."""
    given = part.subset(), part.dtype, part.gpu, part.bandwidth
    if part.op != "conv":
        return kernels.products(*given)
    times = kernels.convolutions(*given)
    beside = getattr(made, part.gpu.arithmetic(part.dtype))
    return lambda own: times(own, beside)


def _section(part: Rows) -> str:
    """Return the section of the calibration that rows of products set; empty for others."""
    if part.op == "conv":
        return "convolution" if part.dtype in kernels.UNQUANTISED else ""
    if part.op not in ("gemm", "bmm"):
        return ""
    return part.gpu.arithmetic(part.dtype) if part.dtype in kernels.UNQUANTISED else "format"


def _fit_formats(
    made: Calibration, parts: Sequence[Rows], notes: dict[str, str], who: str
) -> Calibration:
    """Fit each quantised format beside the section that its products run in."""
    formats = dict(made.formats)
    for part in parts:
        if _section(part) != "format" or part.fitted.sum() < LEAST:
            continue
        times = kernels.products(part.subset(), part.dtype, part.gpu, part.bandwidth)
        section = getattr(made, part.gpu.arithmetic(kernels.FORMATS[part.dtype][0]))

        def beside(f: FormatScalars, times: Times = times, c: Any = section) -> Any:
            return times(c, f)

        tried = []
        for tiles in _SHELVES:
            before = FormatScalars(efficiency=1.0, start_s=0.0, tiles=tiles)
            tried.append(fit_section("format", before, [part], [beside]))
        found, clock, _ = min(tried, key=lambda one: one[2])
        if clock and (usual := made.clock_of(part.op)):  # the rest is what the format costs
            later = clock[part.op].launch_s - usual.launch_s
            found = found.model_copy(update={"start_s": max(0.0, later)})
        name = kernels.FORMAT_OF.get(part.dtype, part.dtype)
        formats[name] = found
        notes[f"formats.{name}"] = who
    return made.model_copy(update={"formats": formats})


def _fit_libraries(
    made: Calibration, parts: Sequence[Rows], notes: dict[str, str], who: str
) -> Calibration:
    """Fit attention and experts of each library; one that lacks a part keeps the typical one."""
    names = sorted(
        {p.variant for p in parts if p.variant and p.op not in kernels.VECTORS},
        key=_most_rows(parts),
    )
    typical = next(iter(made.libraries.values()))
    libraries: dict[str, LibraryScalars] = {}
    for name in names:
        mine = [p for p in parts if p.variant == name and p.fitted.sum() >= LEAST]
        if not mine:
            continue
        one = typical.model_copy(update={"clock": {}})
        for section, step in (
            ("decode", _fit_decode), ("prefill", _fit_prefill), ("grouped", _fit_grouped)
        ):  # fmt: skip
            changed = step(one, mine, made)
            if changed is not None:
                one = changed
                notes[f"{name}.{section}"] = f"{who}, {name}"
        libraries[name] = one
    if not libraries:
        return made
    return made.model_copy(update={"libraries": libraries})


def _most_rows(parts: Sequence[Rows]) -> Callable[[str], tuple[int, str]]:
    return lambda name: (-sum(len(p.measured) for p in parts if p.variant == name), name)


def _fit_decode(
    one: LibraryScalars, parts: Sequence[Rows], made: Calibration
) -> LibraryScalars | None:
    mine = [p for p in parts if p.op == "attention_decode"]
    if not mine:
        return None
    prepared = [kernels.decodes(p.subset(), p.dtype, p.gpu, p.bandwidth) for p in mine]
    tried = []
    for alone in (True, False):
        before = one.decode.model_copy(update={"split_alone": alone})
        found, clock, loss = fit_section("decode", before, mine, prepared)
        tried.append((loss, found, clock))
    _, found, clock = min(tried, key=lambda one: one[0])
    return one.model_copy(update={"decode": found, "clock": {**one.clock, **clock}})


def _fit_prefill(
    one: LibraryScalars, parts: Sequence[Rows], made: Calibration
) -> LibraryScalars | None:
    mine = []
    for p in parts:
        if p.op in _CHUNKS:
            if p.op == "attention_prefill":  # the decode kernel runs rows of few queries
                p = replace(p, fitted=p.fitted & ~kernels.attends(p.table))
            mine += [p] if p.fitted.sum() >= LEAST else []
    if not mine:
        return None
    prepared = []
    for p in mine:
        prepare = kernels.mixed if p.op == "attention_mixed" else kernels.prefills
        times = prepare(p.subset(), p.dtype, p.gpu, p.bandwidth)
        prepared.append(lambda c, times=times: times(c, one.decode))
    tried = []
    for packed in (True, False):
        before = one.prefill.model_copy(update={"packed": packed})
        found, clock, loss = fit_section("prefill", before, mine, prepared)
        tried.append((loss, found, clock))
    _, found, clock = min(tried, key=lambda one: one[0])
    return one.model_copy(update={"prefill": found, "clock": {**one.clock, **clock}})


def _fit_grouped(
    one: LibraryScalars, parts: Sequence[Rows], made: Calibration
) -> LibraryScalars | None:
    mine = [p for p in parts if p.op == "moe" and p.dtype in kernels.UNQUANTISED]
    if not mine:
        return None
    prepared = []
    for p in mine:
        times = kernels.experts(p.subset(), p.dtype, p.variant, p.gpu, p.bandwidth)
        prepared.append(lambda c, times=times: times(c, made.vector))
    found, clock, _ = fit_section("grouped", one.grouped, mine, prepared)
    return one.model_copy(update={"grouped": found, "clock": {**one.clock, **clock}})


def _scores(
    made: Calibration, parts: Sequence[Rows]
) -> dict[tuple[str, str, str], dict[str, Score]]:
    from accelsim.measure.predict import clock_s, part_s

    found = {}
    for p in parts:
        times = part_s(p.table, p.op, p.dtype, p.variant, made, p.gpu, p.bandwidth)
        clock = made.clock_of(p.op, p.variant)
        times = times + (clock_s(clock, times) if clock else 0.0)
        sides = {"fit": p.fitted, "test": ~p.fitted}
        found[p.op, p.dtype, p.variant] = {
            side: score(times[rows], p.measured[rows])
            for side, rows in sides.items()
            if rows.any()
        }
    return found


def _summary(scores: Mapping[tuple[str, str, str], Mapping[str, Score]]) -> str:
    """Return the test errors of every operator in one sentence."""
    told = []
    for (op, dtype, variant), sides in sorted(scores.items()):
        side = "test" if "test" in sides else "fit"
        name = " ".join(part for part in (dtype, op, variant) if part)
        told.append(f"{name} {sides[side].mape:.1%}" + ("" if side == "test" else " (fitted)"))
    return "MAPE on rows not fitted: " + ", ".join(told)
