"""Runs a paper's sweeps and studies and computes its published figures from their rows.

Rows are kept as those of any sweep, so that a stopped reproduction goes on where it was.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from accelsim.explore.axes import MAIN_AXES
from accelsim.explore.frames import to_frame
from accelsim.explore.papers import BUSY, LARGEST, LINES, Figure, PaperSpec, Selection
from accelsim.explore.runner import keys, run
from accelsim.explore.store import Store
from accelsim.explore.studies import load_study, study_rows
from accelsim.explore.sweep import SweepSpec, load_sweep

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Answer", "Reproduction", "answer", "reproduce", "rows_of"]

Values = tuple[float, float]
"""Lowest and highest; equal where there is one value."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one published figure.

    Attributes
    ----------
    figure : Figure
        What is published, and how ours is computed.
    ours : (float, float) or None
        Our value, or lowest and highest of a range; None where the sweeps have no rows for it.
    points : int
        Rows, or pairs of rows, that it is computed from.
    reason : str
        Why there is no value.
    """

    figure: Figure
    ours: Values | None
    points: int
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over the paper's; of a range the ratio of the geometric middles."""
        if self.ours is None or min(self.ours) <= 0:
            return None
        return math.sqrt(math.prod(self.ours) / math.prod(self.figure.published))


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A paper, its figures and what ours are.

    Attributes
    ----------
    paper : PaperSpec
    answers : tuple of Answer
        In the order of the paper's figures.
    counts : Counter
        Status -> points of the sweeps and studies.
    reasons : Counter
        Text -> points without a result for that reason.
    wall_s : float
        Duration of what had to be evaluated.
    """

    paper: PaperSpec
    answers: tuple[Answer, ...]
    counts: Counter[str]
    reasons: Counter[str]
    wall_s: float


def reproduce(
    paper: PaperSpec, folder: Path, *, jobs: int | None = None, quiet: bool = False,
    retry_failed: bool = False,
) -> Reproduction:  # fmt: skip
    """Run a paper's sweeps as far as they have no rows yet, and compute its figures.

    Studies take seconds at most, and are always evaluated.

    Parameters
    ----------
    paper : PaperSpec
    folder : Path
        Where the rows are kept: ``SWEEP.sqlite`` for each sweep.
    jobs : int, optional
        Worker processes; all cores unless given.
    quiet : bool
        Show no progress.
    retry_failed : bool
        Evaluate points again whose row says that they failed.

    Raises
    ------
    StoreError
        If the rows cannot be read or written.
    """
    counts, reasons = Counter[str](), Counter[str]()
    wall_s = 0.0
    frames = []
    for name in paper.sweeps:
        sweep = load_sweep(name)
        store = folder / f"{sweep.name}.sqlite"
        tally = run(sweep, store=store, jobs=jobs, quiet=quiet, retry_failed=retry_failed)
        counts.update({str(status): n for status, n in tally.counts.items()})
        reasons.update({text: n for (_, text), n in tally.reasons.items()})
        wall_s += tally.wall_s
        frames.append(rows_of(sweep, store, busy=any(map(_needs_busy, paper.figures))))
    for name in paper.studies:
        started = time.perf_counter()
        frames.append(study_rows(load_study(name)))
        counts.update(frames[-1]["status"])
        reasons.update(text for text in frames[-1]["error"] if text)
        wall_s += time.perf_counter() - started
    import pandas as pd

    rows = pd.concat(frames, ignore_index=True)
    answers = tuple(answer(figure, rows) for figure in paper.figures)
    return Reproduction(paper, answers, counts, reasons, wall_s)


def _needs_busy(figure: Figure) -> bool:
    return figure.metric.startswith(BUSY)


def rows_of(sweep: SweepSpec, store: Path, *, busy: bool) -> pd.DataFrame:
    """Return a sweep's rows with its name, and with parts of the time that resources are busy.

    Parameters
    ----------
    sweep : SweepSpec
    store : Path
        Its rows.
    busy : bool
        Whether to read the breakdowns.
    """
    with Store(store) as opened:
        frame = to_frame(opened, keys(sweep))
        frame.insert(0, "sweep", sweep.name)
        if "tpot_s" in frame:
            frame["decode_tokens_per_s"] = frame["batch"] / frame["tpot_s"]
        if not busy:
            return frame
        parts: list[dict[str, float]] = []
        for key, status, latency_s in zip(
            frame["key"], frame["status"], frame["latency_s"], strict=True
        ):
            found = opened.breakdown(key) if status == "done" else {}
            parts.append(_busy_parts(dict(found.get("busy_s", {})), latency_s))
    import pandas as pd

    return frame.join(pd.DataFrame(parts, index=frame.index))


def _busy_parts(busy_s: Mapping[str, float], latency_s: float) -> dict[str, float]:
    """Return the part of the time that each resource is busy, the mean over pipeline stages."""
    found: dict[str, list[float]] = {}
    for name, spent_s in busy_s.items():
        found.setdefault(name.rpartition(": ")[2], []).append(spent_s / latency_s)
    return {BUSY + name: sum(parts) / len(parts) for name, parts in found.items()}


def answer(figure: Figure, rows: pd.DataFrame) -> Answer:
    """Compute a figure from rows.

    Parameters
    ----------
    figure : Figure
    rows : pandas.DataFrame
        Of the paper's sweeps and studies, as `rows_of` and `study_rows` give them.
    """
    if figure.metric not in rows:
        return Answer(figure, None, 0, f"no row has {figure.metric}")
    mine = _chosen(rows, figure.of, figure.metric)
    if mine.empty:
        return Answer(figure, None, 0, _why_none(rows, figure.of))
    if figure.over is None:
        values = [float(v) for v in mine[figure.metric]]
        if figure.summary in LINES:
            return _line(figure, [float(v) for v in mine[figure.along]], values)
        return Answer(figure, _summary(figure, values), len(values))
    theirs = _chosen(rows, figure.over, figure.metric)
    if theirs.empty:
        return Answer(figure, None, 0, _why_none(rows, figure.over))
    pairs, reason = _pairs(figure, mine, theirs)
    reason = reason or _open_ended(rows, figure.of) or _open_ended(rows, figure.over)
    if reason or not pairs:
        return Answer(figure, None, 0, reason or "no two rows agree on the other axes")
    if figure.summary == "crossing":
        crossing = _crossing(pairs)
        return Answer(figure, crossing, len(pairs), "" if crossing else "never")
    if figure.summary == "ratio_of_means":
        ratios = [sum(a for _, a, _ in pairs) / sum(b for _, _, b in pairs)]
    else:
        ratios = [a / b for _, a, b in pairs]
    ratios = [1.0 - ratio for ratio in ratios] if figure.saving else ratios
    return Answer(figure, _summary(figure, ratios), len(pairs))


def _chosen(rows: pd.DataFrame, selection: Selection, metric: str) -> pd.DataFrame:
    """Return the evaluated rows that a selection means."""
    import pandas as pd

    usable = rows[(rows["status"] == "done") & rows[metric].notna()]
    parts = []
    for part in selection:
        found = _of_axes(usable, part)
        if part.get("batch") == (LARGEST,) and len(found):
            axes = [axis for axis in _axes(rows) if axis != "batch"]
            groups = found.groupby(axes, dropna=False)["batch"]
            found = found[found["batch"] == groups.transform("max")]
        parts.append(found)
    joined = pd.concat(parts)
    return joined[~joined.index.duplicated()]


def _of_axes(rows: pd.DataFrame, part: Mapping[str, tuple[Any, ...]]) -> pd.DataFrame:
    """Return the rows whose axes have the values of one part of a selection."""
    for axis, values in part.items():
        if values != (LARGEST,):
            rows = rows[rows[axis].isin(list(values))]
    return rows


def _open_ended(rows: pd.DataFrame, selection: Selection) -> str:
    """Return why a largest batch is none: no larger one was tried and did not fit."""
    for part in selection:
        if part.get("batch") != (LARGEST,):
            continue
        meant = _of_axes(rows, part)
        axes = [axis for axis in _axes(rows) if axis != "batch"]
        for _, group in meant.groupby(axes, dropna=False):
            fits = group[group["status"] == "done"]["batch"].max()
            beyond = group[group["status"] == "infeasible"]["batch"].max()
            if not beyond > fits:
                return f"batch {fits} fits, and no larger one was tried that does not"
    return ""


def _why_none(rows: pd.DataFrame, selection: Selection) -> str:
    """Return what became of the points that a selection means."""
    texts = Counter[str]()
    for part in selection:
        texts.update(str(text) for text in _of_axes(rows, part)["error"] if text)
    return texts.most_common(1)[0][0] if texts else "no such point"


def _axes(rows: pd.DataFrame) -> list[str]:
    """Return the columns that say which point a row is."""
    dotted = ("model.", "arch.", "mapping.", "workload.")
    return [str(c) for c in rows if c in MAIN_AXES or str(c).startswith(dotted)]


Pair = tuple[Any, float, float]
"""Value of the axis `along`, ours, theirs."""


def _pairs(figure: Figure, mine: pd.DataFrame, theirs: pd.DataFrame) -> tuple[list[Pair], str]:
    """Return pairs of rows that differ only in axes that tell both sides apart."""
    free = _apart(figure, mine, theirs)
    shared = [axis for axis in _axes(mine) if axis not in free]
    index = {_place(row, shared): row for row in theirs.to_dict("records")}
    if len(index) < len(theirs):
        return [], f"several rows of `over` agree on {', '.join(shared)}"
    pairs: list[Pair] = []
    for row in mine.to_dict("records"):
        other = index.get(_place(row, shared))
        if other is not None and float(other[figure.metric]) > 0:
            ours, base = float(row[figure.metric]), float(other[figure.metric])
            pairs.append((row.get(figure.along), ours, base))
    return pairs, ""


def _apart(figure: Figure, mine: pd.DataFrame, theirs: pd.DataFrame) -> set[str]:
    """Return axes that either side names with values of its own, or has alone."""
    sides = [figure.of, figure.over or ()]
    axes = {axis for side in sides for part in side for axis in part}
    named = {a for a in axes if len({tuple(part.get(a) for part in side) for side in sides}) > 1}
    solved = any(part.get("batch") == (LARGEST,) for side in sides for part in side)
    # A batch that is only narrowed down is still the same batch on both sides.
    named = named | {"batch"} if solved else named - {"batch", "seq_len", "model"}
    # A design may bring its own policy along, a technique its own variant of a model.
    for axis in ("arch", "mapping", "model"):
        named = named | {axis} if set(mine[axis]).isdisjoint(theirs[axis]) else named
    for axis in _axes(mine):
        if axis.startswith(("arch.", "mapping.")):
            here, there = mine[axis].notna().any(), theirs[axis].notna().any()
            named |= {axis} if here != there else set()
    return named


def _place(row: Mapping[Any, Any], axes: Sequence[str]) -> tuple[str, ...]:
    return tuple(_text(row[axis]) for axis in axes)


def _text(value: Any) -> str:
    """Return a value as text; equal numbers equal, whatever their type (1, 1.0)."""
    import pandas as pd

    if isinstance(value, str):
        return value
    return "" if pd.isna(value) else f"{float(value):.12g}"


def _crossing(pairs: Sequence[Pair]) -> Values | None:
    """Return the smallest value from which on the mean ratio is at least 1."""
    ratios: dict[Any, list[float]] = {}
    for at, ours, theirs in pairs:
        ratios.setdefault(at, []).append(ours / theirs)
    found: float | None = None
    for at in sorted(ratios, reverse=True):
        if sum(ratios[at]) < len(ratios[at]):
            break
        found = float(at)
    return None if found is None else (found, found)


def _line(figure: Figure, along: Sequence[float], values: Sequence[float]) -> Answer:
    """Return slope or intercept of the straight line of least squares."""
    if len(set(along)) < len(along) or len(along) < 2:
        reason = f"{len(along)} rows have {len(set(along))} values of {figure.along}"
        return Answer(figure, None, len(along), f"{reason}; a line needs one row each, and two")
    slope, intercept = np.polyfit(along, values, 1)
    found = float(slope if figure.summary == "slope" else intercept)
    return Answer(figure, (found, found), len(values))


_SUMMARIES: Final[Mapping[str, Callable[[Sequence[float]], Values]]] = {
    "mean": lambda v: (sum(v) / len(v),) * 2,
    "ratio_of_means": lambda v: (sum(v) / len(v),) * 2,
    "geomean": lambda v: (math.exp(sum(map(math.log, v)) / len(v)),) * 2,
    "max": lambda v: (max(v),) * 2,
    "min": lambda v: (min(v),) * 2,
    "range": lambda v: (min(v), max(v)),
}


def _summary(figure: Figure, values: Sequence[float]) -> Values:
    return _SUMMARIES[figure.summary](values)
