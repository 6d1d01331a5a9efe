"""Fits the scalars of the GPU kernel model to one campaign's measurements on one board.

`calibrate` fits every section that the campaign has rows for; the rest keeps the scalars that the
board has already.  Rows of the test split are never fitted on, only scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.cost._gpu_calibration import (
    Calibration,
    ClockScalars,
    FormatScalars,
    LibraryScalars,
    VectorScalars,
)
from accelsim.errors import ConfigError
from accelsim.measure import kernels
from accelsim.measure.fit import BOUNDS, Score, rounded, score
from accelsim.measure.gpus import board
from accelsim.measure.rows import usable
from accelsim.measure.section_fit import Rows, Times, eager, fit_section, row_parts, search
from accelsim.measure.split import split

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Fit", "calibrate"]

_LEAST: Final = 12  # rows below which a section is not fitted

_SHARE: Final = (0.02, 1.0)  # of the memory bandwidth that a function's kernel reaches
_ROW: Final = (0.0, 20e-6)  # time of a row's thread block, s
_TOLD: Final = 0.002  # difference in mean error from which rows tell a scalar
_ROWWISE: Final = frozenset({"softmax", "layernorm", "rmsnorm"})

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
    MissingExtraError
        Without scipy.
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
    steps = (_fit_products, _fit_formats, _fit_vectors, _fit_libraries)
    for step in steps:
        made = step(made, parts, notes, f"{gpu_name}, {source}")
    if not notes:
        most = max(int(p.fitted.sum()) for p in parts)
        raise ConfigError(
            f"too few rows of {gpu_name} by {source} to fit: {most} of one operator and format,"
            f" of {_LEAST} needed",
            hint="a third of the shape families is kept to test; measure more shapes",
        )
    scores = _scores(made, parts)
    made = made.model_copy(update={"fitted_on": notes, "error": _summary(scores)})
    return Fit(made, scores)


def _fit_products(
    made: Calibration, parts: Sequence[Rows], notes: dict[str, str], who: str
) -> Calibration:
    for section in ("tensor", "simt", "convolution"):
        mine = [p for p in parts if _section(p) == section and p.fitted.sum() >= _LEAST]
        if not mine:
            continue
        prepared = [kernels.products(p.subset(), p.dtype, p.gpu, p.bandwidth) for p in mine]
        found, clock, _ = fit_section(section, getattr(made, section), mine, prepared)
        notes[section] = f"{who}: {_told(mine)}"
        made = made.model_copy(update={section: found, "clock": {**made.clock, **clock}})
    return made


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
    before, formats = FormatScalars(efficiency=1.0, start_s=0.0), dict(made.formats)
    for part in parts:
        if _section(part) != "format" or part.fitted.sum() < _LEAST:
            continue
        times = kernels.products(part.subset(), part.dtype, part.gpu, part.bandwidth)
        section = getattr(made, part.gpu.arithmetic(kernels.FORMATS[part.dtype][0]))

        def beside(f: FormatScalars, times: Times = times, c: Any = section) -> Any:
            return times(c, f)

        found, clock, _ = fit_section("format", before, [part], [beside])
        if clock and (usual := made.clock_of(part.op)):  # the rest is what the format costs
            later = clock[part.op].launch_s - usual.launch_s
            found = found.model_copy(update={"start_s": max(0.0, later)})
        name = kernels.FORMAT_OF.get(part.dtype, part.dtype)
        formats[name] = found
        notes[f"formats.{name}"] = who
    return made.model_copy(update={"formats": formats})


def _fit_vectors(
    made: Calibration, parts: Sequence[Rows], notes: dict[str, str], who: str
) -> Calibration:
    """Fit what all functions share, then each one's share of the bandwidth and time of a row."""
    mine = [p for p in parts if p.op in kernels.VECTORS and p.fitted.sum() >= _LEAST]
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
    notes["vector"] = f"{who}: {_told(mine)}"
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
        mine = [p for p in parts if p.variant == name and p.fitted.sum() >= _LEAST]
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
            mine += [p] if p.fitted.sum() >= _LEAST else []
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


def _told(parts: Sequence[Rows]) -> str:
    """Return formats and operators in words."""
    return ", ".join(sorted({f"{p.dtype} {p.op}" for p in parts}))


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
