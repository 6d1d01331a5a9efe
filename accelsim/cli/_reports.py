"""What the commands on sweeps write and print: tables, figures, a timeline, the Pareto front."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.cli._numbers import count, si
from accelsim.cli._output import table, write, writing
from accelsim.errors import ConfigError, UnknownNameError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from accelsim.explore import Row, SweepSpec
    from accelsim.explore.metrics import Sense

__all__ = ["chosen", "print_front", "write_front_files", "write_reports"]

DEFAULT_OBJECTIVES: dict[str, Sense] = {"latency_s": "min", "energy_per_token_j": "min"}
DEFAULT_GROUPS = ("model", "phase", "seq_len")


def write_reports(spec: SweepSpec, store: Path) -> tuple[list[Path], str]:
    """Write results, figures, front and one timeline; return the files, and a remark.

    Raises
    ------
    ConfigError
        If the folder cannot be written; the rows stay in the store.
    """
    from accelsim.explore import Store, export, keys, to_frame
    from accelsim.explore.pareto import front

    with Store(store) as results:  # not read-only: a reader cannot fold the log when it closes
        frame = to_frame(results, keys(spec))
        with writing(spec.folder):
            files, remark = export(frame, spec.folder)
        files += write_front_files(frame, spec, spec.folder)
        best = front(frame, spec.objectives, spec.front_per)
        if len(best):
            row = next(results.rows([best["key"].iloc[0]]))
            if row.phase == "generate":  # many passes: a timeline is of one
                return files, remark
            files.append(_write_timeline(row, spec.folder / "timeline.json.gz"))
    return files, remark


def write_front_files(frame: pd.DataFrame, spec: SweepSpec, folder: Path) -> list[Path]:
    """Write the figures and tables of the front; return the files."""
    from accelsim.report.figures import pareto_figures
    from accelsim.report.table import write_front

    with writing(folder):
        return [*pareto_figures(frame, spec, folder), *write_front(frame, spec, folder)]


def _write_timeline(row: Row, file: Path) -> Path:
    from accelsim.evaluation import evaluate
    from accelsim.result import write_trace

    result = evaluate(
        row.model, row.arch, row.mapping, phase=row.phase, batch=row.batch, seq_len=row.seq_len,
        overrides=json.loads(row.overrides),
    )  # fmt: skip
    with writing(file):
        write_trace(result, file)
    return file


def chosen(
    store: Path, name: str | None, minimise: Sequence[str], maximise: Sequence[str],
    per: Sequence[str] | None,
) -> tuple[SweepSpec, pd.DataFrame]:  # fmt: skip
    """Return what to compare and the rows to compare, from a sweep or from options.

    Raises
    ------
    ConfigError
        If an objective or an axis does not exist, or nothing in the store has a result.
    """
    from accelsim.explore import METRICS, Store, SweepSpec, keys, load_sweep, to_frame

    spec = load_sweep(name) if name else None
    for metric in (*minimise, *maximise):
        if metric not in METRICS:
            raise UnknownNameError("metric", metric, METRICS)
    objectives: dict[str, Sense] = dict.fromkeys(minimise, "min")
    objectives |= dict.fromkeys(maximise, "max")
    objectives = objectives or (dict(spec.objectives) if spec else DEFAULT_OBJECTIVES)
    if len(objectives) not in (2, 3):
        raise ConfigError(f"{len(objectives)} objectives; a front has two or three")
    with Store(store, read_only=True) as results:
        frame = to_frame(results, keys(spec) if spec else _latest(results.rows()))
    groups = tuple(per) if per else spec.front_per if spec else DEFAULT_GROUPS
    for axis in groups:
        if axis not in frame:
            raise ConfigError(
                f"no axis `{axis}`", path="--per", hint=nearest(axis, map(str, frame))
            )
    if frame.dropna(subset=list(objectives)).empty:
        stale = "the files or the code are newer than its rows: run the sweep again"
        raise ConfigError(f"{store}: no design has a result", hint=stale if spec else "")
    if spec is None:  # not validated: there is no space to be right or wrong about
        title, about = store.resolve().parent.name, f"Designs of {store}."
        spec = SweepSpec.model_construct(
            name=title, description=about, objectives=objectives, front_per=groups
        )
    return spec.model_copy(update={"objectives": objectives, "front_per": groups}), frame


def _latest(rows: Iterable[Row]) -> list[str]:
    """Return the keys of the rows, of each point the newest: files and code may have changed."""
    newest: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        point = row[2:9]
        if point not in newest or newest[point].created <= row.created:
            newest[point] = row
    return [row.key for row in newest.values()]


def print_front(best: pd.DataFrame, spec: SweepSpec) -> None:
    """Print the designs on the front, group by group; only axes that vary have a column."""
    from accelsim.explore import METRICS
    from accelsim.explore.axes import MAIN_AXES
    from accelsim.explore.pareto import groups
    from accelsim.report.style import shown

    changed = [str(name) for name in best if "." in str(name)]
    ordered = [*spec.front_per, *(name for name in MAIN_AXES if name not in spec.front_per)]
    axes = [name for name in ordered if name == "arch" or best[name].nunique(dropna=False) > 1]
    aims = ", ".join(f"{metric} ({sense})" for metric, sense in spec.objectives.items())
    write(f"{spec.name}: {len(best)} designs on the Pareto fronts of {aims}\n")
    rows: list[list[str]] = []
    for _, group in groups(best, spec.front_per):
        rows += [[""]] if rows else []
        rows += [
            [
                *(shown(row[axis]) for axis in axes), _changes(row, changed),
                *(_metric(row, metric) for metric in spec.objectives),
            ]
            for row in group.to_dict("records")
        ]  # fmt: skip
    texts = ("model", "arch", "mapping")
    heads = [(name.replace("seq_len", "tokens"), "~" if name in texts else "<") for name in axes]
    figures = [(METRICS[name].label, ">") for name in spec.objectives]
    write(table([*heads, ("changes" if changed else "", "~"), *figures], [("", rows)]))


def _changes(row: dict[Any, Any], paths: Iterable[str]) -> str:
    """Return the parameters that a design changes, by the last parts of their paths."""
    given = {path: row[path] for path in paths if row[path] is not None and row[path] == row[path]}
    return " ".join(f"{path.rpartition('.')[2]}={value}" for path, value in given.items())


def _metric(row: dict[Any, Any], name: str) -> str:
    from accelsim.explore import METRICS

    metric, value = METRICS[name], float(row[name])
    return si(value, metric.unit) if metric.prefixed else f"{count(value)} {metric.unit}".strip()
