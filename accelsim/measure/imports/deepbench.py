"""Reads DeepBench results: its spreadsheets, their sheets saved as CSV, or the benchmarks' tables.

Times are means over a timed loop of calls back to back, in ms unless the heading says us.  Tables
are recognised by their headings anywhere in a sheet, for sheets differ from board to board.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import pandas as pd

from accelsim.errors import ConfigError, Location, MissingExtraError
from accelsim.measure.imports._files import matches
from accelsim.measure.imports._table import Imported, combine, part

__all__ = ["read"]

_LAYOUT: Final = "results/{train,inference}/**/DeepBench_*.xlsx, or sheets of these as .csv"
_BOARDS: Final = {
    "NV_TitanX_Pascal": "TITANX-Pascal", "NV_TitanXp": "TITANXp", "NV_TitanX": "TITANX-Maxwell",
    "NV_1080Ti": "GTX1080Ti", "NV_M40": "M40", "NV_P100": "P100-PCIe-16GB",
    "NV_V100": "V100-SXM2-16GB", "NV_T4": "T4", "AMD_MI25": "MI25", "AMD_VegaFE": "VegaFE",
    "IA_KNL7250": "KNL7250",
}  # fmt: skip
"""Names in files -> boards; of several that fit the longest counts. The V100 is a DGX-1's."""
_LIBRARIES: Final = {"NV": "cublas/cudnn", "AMD": "rocblas/miopen", "IA": "mkl"}

_WORDS: Final[Mapping[str, str]] = {
    "m": r"m", "n": r"n|batch( size)?", "k": r"k|(number|#|no\.?) of filters|filters",
    "ta": r"(a|op a)[ _]?(t|trans|transpose|transposed)",
    "tb": r"(b|op b)[ _]?(t|trans|transpose|transposed)",
    "w": r"w|input w(idth)?", "h": r"h|input h(eight)?", "c": r"c|channels?",
    "s": r"s|f[ _]w|filter (size )?w(idth)?", "r": r"r|f[ _]h|filter (size )?h(eight)?",
    "pw": r"pad(ding)?[ _]w", "ph": r"pad(ding)?[ _]h",
    "sw": r"(stride[ _]w|w[ _]?stride|horizontal stride)",
    "sh": r"(stride[ _]h|h[ _]?stride|vertical stride)",
    "p": r"p|output h(eight)?", "q": r"q|output w(idth)?",
    "hidden": r"hidden( units| size)?|hidden_size", "steps": r"time[ _]?steps?",
    "kind": r"(rnn[ _]|recurrent )?type", "precision": r"precision",
    "floats": r"size|(number|#|no\.?) of floats|floats",
    "ranks": r"((number|#|no\.?) of )?(gpus|processors|ranks)",
    "time": r"time|total time", "fwd": r"(fwd|forward)([ _]time)?",
    "bwd_input": r"(bwd|backward)[ _](w\.?r\.?t\.? )?inputs?([ _]time)?",
    "bwd_weight": r"(bwd|backward)[ _](w\.?r\.?t\.? )?(param(eter)?|weight|filter)s?([ _]time)?",
}  # fmt: skip
_HEADINGS: Final = {name: re.compile(pattern) for name, pattern in _WORDS.items()}

_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "conv": ("w", "h", "c", "n", "k", "s", "r", "pw", "ph", "sw", "sh", "fwd"),
    "rnn": ("hidden", "n", "steps", "fwd"),
    "allreduce": ("floats", "ranks", "time"),
    "gemm": ("m", "n", "k", "time"),
}
"""Headings that a table must have, most telling first."""
_UNITS: Final = {"us": 1.0, "usec": 1.0, "ms": 1e3, "msec": 1e3, "s": 1e6, "sec": 1e6}
_TIMES: Final = ("time", "fwd", "bwd_input", "bwd_weight")
_FORMATS: Final = {
    "int8": ("int8",), "fp16": ("half", "float16", "fp16", "mixed", "tensorcore"),
    "fp32": ("float", "fp32", "single"),
}  # fmt: skip
"""Number formats by words of a cell or of a sheet's name, most telling first."""
_FLOAT_BYTES = 4  # all-reduce sizes count fp32 numbers


def read(folder: Path) -> Imported:
    """Return the measurements of a checkout of DeepBench.

    Raises
    ------
    ConfigError
        If the folder holds none of the files, a board is unknown, or a cell is no number.
    MissingExtraError
        If there is a spreadsheet and openpyxl is absent.
    """
    found = matches(folder, (r"(DeepBench_[^/]+)\.(?:xlsx|csv)",), "DeepBench", _LAYOUT)
    rows: list[dict[str, Any]] = []
    dropped: dict[str, int] = {}
    for path, match in found:
        board, library = _board(path, match[1])
        run = "inference" if "inference" in path.absolute().as_posix() else "training"
        notes = f"{_stem(match[1])} {run}"
        common = {"gpu": board, "impl": library, "notes": notes}
        before = len(rows)
        for sheet, cells in _sheets(path):
            for kind, columns, line, cell in _tables(cells):
                dtype = _dtype(sheet, kind, run, cell)
                rows += _RECORDS[kind](cell, columns, _Place(path, sheet, line), dtype, common)
        if len(rows) == before:
            raise ConfigError(
                "no table of products, convolutions, recurrent layers or all-reduces found",
                Location(str(path)),
                hint="headings such as M, N, K, Time (msec); or W, H, C, N, K, S, R, pad_w, "
                "pad_h, stride_w, stride_h, fwd_time (usec)",
            )
    parts = []
    for op in dict.fromkeys(str(row["op"]) for row in rows):
        frame = pd.DataFrame([row for row in rows if row["op"] == op])
        values: dict[str, Any] = {str(name): frame[name] for name in frame.columns}
        parts.append(part(frame.index, stat="mean", timing="loop", **values))
    return combine(parts, source="deepbench", files=len(found), dropped=dropped)


def _stem(name: str) -> str:
    """Return the name of the workbook, without that of a sheet."""
    named = max((b for b in _BOARDS if name.startswith(f"DeepBench_{b}")), key=len, default="")
    return f"DeepBench_{named}" if named else name


def _board(path: Path, name: str) -> tuple[str, str]:
    named = _stem(name).removeprefix("DeepBench_")
    if named not in _BOARDS:
        raise ConfigError(f"`{name}` is no known board", Location(str(path)),
                          hint=f"DeepBench_ and one of {', '.join(_BOARDS)}")  # fmt: skip
    return _BOARDS[named], _LIBRARIES[named.partition("_")[0]]


def _sheets(path: Path) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield name and cells of each sheet; of a CSV file its own name."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield path.stem, [[cell.strip() for cell in row] for row in csv.reader(file)]
        return
    try:
        sheets = pd.read_excel(path, sheet_name=None, header=None, dtype=str, engine="openpyxl")
    except ImportError:
        raise MissingExtraError(
            "openpyxl", "deepbench", "reading a DeepBench spreadsheet"
        ) from None
    except (BadZipFile, OSError, ValueError, KeyError) as error:
        raise ConfigError("no spreadsheet", Location(str(path)), hint=str(error)) from None
    for name, frame in sheets.items():
        yield str(name), frame.fillna("").to_numpy(str).tolist()


def _tables(
    cells: Sequence[Sequence[str]],
) -> Iterator[tuple[str, Mapping[str, tuple[int, float]], int, dict[str, str]]]:
    """Yield kind, columns (place and factor to us), line and values of each row of each table."""
    kind, columns = "", dict[str, tuple[int, float]]()
    for line, row in enumerate(cells, start=1):
        headed = _headings(row)
        fits = next((k for k, need in _KINDS.items() if set(need) <= set(headed)), "")
        if fits:
            kind, columns = fits, headed
        elif kind:
            values = {
                n: row[at].strip() if at < len(row) else "" for n, (at, _) in columns.items()
            }
            first = values[_KINDS[kind][0]]
            if first and (
                re.fullmatch(r"[\d.,]+", first) or any(_number(v) for v in values.values())
            ):
                yield kind, columns, line, values
            else:  # a blank line or a caption ends a table
                kind = ""


def _headings(row: Sequence[str]) -> dict[str, tuple[int, float]]:
    """Return what each cell of a row heads, and the factor of its unit to us."""
    found: dict[str, tuple[int, float]] = {}
    for at, cell in enumerate(row):
        text = cell.strip().lower()
        unit = re.search(r"\(([a-z]+)\)", text)
        bare = re.sub(r"\s*\((?:[a-z]+)\)\s*", " ", text).strip()
        if unit and unit[1] in ("w", "h"):  # "Pad (h)"
            bare = f"{bare} {unit[1]}"
        name = next((n for n, pattern in _HEADINGS.items() if pattern.fullmatch(bare)), "")
        if name and name not in found:
            found[name] = (at, _UNITS.get(unit[1], 1e3) if unit else 1e3)
    return found


class _Place:
    """Where a row stands, for errors."""

    def __init__(self, path: Path, sheet: str, line: int) -> None:
        self.location = Location(str(path), line)
        self.sheet = "" if path.suffix == ".csv" else f" of sheet `{sheet}`"


def _number(text: str) -> bool:
    return bool(re.fullmatch(r"\d+(\.\d*)?([eE][-+]?\d+)?", text.replace(",", "")))


def _read(values: Mapping[str, str], name: str, place: _Place) -> float:
    text = values.get(name, "")
    if not _number(text):
        raise ConfigError(f"found `{text}` in line {place.location.line}{place.sheet}",
                          place.location, path=name, hint="a number")  # fmt: skip
    return float(text.replace(",", ""))


def _times(
    values: Mapping[str, str], columns: Mapping[str, tuple[int, float]], place: _Place
) -> dict[str, float]:
    """Return the times of a row in us; empty cells and dashes are not measured."""
    return {
        name: _read(values, name, place) * columns[name][1]
        for name in _TIMES
        if values.get(name, "").lower() not in ("", "-", "n/a", "na", "0")
    }


def _dtype(sheet: str, kind: str, run: str, values: Mapping[str, str]) -> str:
    """Return the number format of a row: its own column, else the sheet's name, else the run's."""
    for text in (values.get("precision", ""), sheet):
        word = re.sub(r"[^a-z0-9]", "", text.lower())
        for dtype, names in _FORMATS.items():
            if any(name in word for name in names):
                return dtype
    return "int8" if run == "inference" and kind in ("gemm", "conv") else "fp32"


_Records = list[dict[str, Any]]


def _gemm(
    values: Mapping[str, str], columns: Any, place: _Place, dtype: str, common: Mapping[str, Any]
) -> _Records:
    m, n, k = (_read(values, name, place) for name in "mnk")
    layout = "".join("T" if values.get(t, "").lower() in ("t", "1", "true", "yes") else "N"
                     for t in ("ta", "tb"))  # fmt: skip
    return [{**common, "op": "gemm", "subop": layout, "dtype": dtype, "m": m, "n": n, "k": k,
             "latency_us": time} for time in _times(values, columns, place).values()]  # fmt: skip


def _conv(
    values: Mapping[str, str], columns: Any, place: _Place, dtype: str, common: Mapping[str, Any]
) -> _Records:
    w, h, c, n, k, s, r, pw, ph, sw, sh = (
        _read(values, name, place) for name in _KINDS["conv"][:-1]
    )
    if values.get("p") and values.get("q"):
        s, r = _filter(w, h, s, r, (pw, ph, sw, sh), values, place)
    dims = {"batch": n, "c_in": c, "c_out": k, "kh": r, "kw": s, "h_in": h, "w_in": w,
            "stride_h": sh, "stride_w": sw, "pad_h": ph, "pad_w": pw}  # fmt: skip
    times = _times(values, columns, place)
    return [
        {**common, "op": "conv", "subop": name, "dtype": dtype, **dims, "latency_us": time}
        for name, time in times.items()
        if name != "time"
    ]


def _filter(
    w: float, h: float, s: float, r: float, window: tuple[float, ...],
    values: Mapping[str, str], place: _Place,
) -> tuple[float, float]:  # fmt: skip
    """Return filter width and height in the order that the stated output size confirms."""
    pw, ph, sw, sh = window
    stated = (_read(values, "q", place), _read(values, "p", place))
    for across, down in ((s, r), (r, s)):
        size = ((w + 2 * pw - across) // sw + 1, (h + 2 * ph - down) // sh + 1)
        if stated in (size, size[::-1]):
            return across, down
    message = f"output of {stated[0]:g} x {stated[1]:g} does not follow from the input"
    raise ConfigError(message, place.location, path="p", hint="check filter, padding and stride")


def _rnn(
    values: Mapping[str, str], columns: Any, place: _Place, dtype: str, common: Mapping[str, Any]
) -> _Records:
    hidden, batch, steps = (_read(values, name, place) for name in ("hidden", "n", "steps"))
    kind = (values.get("kind") or place.sheet or str(place.location.file)).lower()
    subop = next((name for name in ("lstm", "gru", "vanilla") if name in kind), "")
    if not subop:
        raise ConfigError(f"found `{kind}`", place.location, path="type",
                          hint="vanilla, lstm or gru")  # fmt: skip
    times = _times(values, columns, place)
    return [{**common, "op": "rnn", "subop": subop, "dtype": "fp32" if dtype == "int8" else dtype,
             "batch": batch, "q_len": steps, "hidden": hidden, "latency_us": times["fwd"]}
            ] if "fwd" in times else []  # fmt: skip


def _all_reduce(
    values: Mapping[str, str], columns: Any, place: _Place, dtype: str, common: Mapping[str, Any]
) -> _Records:
    size, ranks = (_read(values, name, place) for name in ("floats", "ranks"))
    return [{**common, "op": "allreduce", "dtype": "fp32", "bytes": size * _FLOAT_BYTES,
             "n_devices": ranks, "latency_us": time}
            for time in _times(values, columns, place).values()]  # fmt: skip


_RECORDS: Final = {"gemm": _gemm, "conv": _conv, "rnn": _rnn, "allreduce": _all_reduce}
