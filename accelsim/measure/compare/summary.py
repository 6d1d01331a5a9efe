"""Sums a comparison up: the headline, error tables by class, GPU and source, causes, worst rows.

Everything is plain data with the keys that ``accelsim validate measured --json`` prints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.measure.compare.baselines import BASELINES
from accelsim.measure.compare.causes import CAUSES, why
from accelsim.measure.compare.classes import APART, LINKS, STRATA
from accelsim.measure.compare.comparison import Comparison
from accelsim.measure.compare.scores import WITHIN, score
from accelsim.measure.compare.table import DIMENSIONS

__all__ = ["KEYS", "shape_of", "summary", "worst_rows"]

KEYS: Final = (
    "file", "rows", "modelled", "not_modelled", "split", "calibrations", "headline", "table",
    "operators", "strata", "apart", "causes", "worst",
)  # fmt: skip
"""Keys of a summary, in order."""

_WORST: Final = 30
_WORST_EACH: Final = 2  # of one class, GPU and source, so that one bad campaign does not fill it
_MACRO: Final = ("mape", "median", "p90", "within_20", "kendall")

_Rows = NDArray[np.int64]


def summary(found: Comparison, file: str | Path = "") -> dict[str, Any]:
    """Return the figures of a comparison; errors are shares of one, times are in us.

    Parameters
    ----------
    found : Comparison
        All rows.
    file : str or Path, optional
        What the rows were read from, for the record.

    Returns
    -------
    dict
        With the `KEYS`. NaN stands where a set of rows is empty.

    Notes
    -----
    The headline is a macro-average: the mean over cells of (GPU, class) of a cell's error on test
    rows, so that a campaign of many rows counts no more than a small one. Each baseline stands
    beside accelsim's figure for the very rows that the baseline has.  Collectives have a stratum
    of their own and are not in the headline.
    """
    refused = found.reason[~found.modelled]
    cells = _cells(found, ("gpu", "source"), found.modelled)
    named = [
        {
            "file": one.file.name, "gpu": one.gpu, "source": one.source, "split": one.split,
            # A campaign may be told by its software, too: source/software.
            "rows": len(cells.get((one.gpu, one.source.split("/")[0]), ())),
        }
        for one in found.calibrations
    ]  # fmt: skip
    values = {
        "file": Path(file).name,
        "rows": len(found.table),
        "modelled": int(found.modelled.sum()),
        "not_modelled": {
            "count": int(refused.size),
            "reasons": dict(Counter(map(str, refused)).most_common()),
        },
        "split": {
            "rule": found.rule,
            "fit_rows": int(found.fitted.sum()),
            "test_rows": int((~found.fitted).sum()),
        },
        "calibrations": named,
        "headline": _headline(found),
        "table": _tabled(found, ("class", "gpu", "source", "dtype")),
        "operators": _tabled(found, ("op", "gpu", "source")),
        "strata": _strata(found),
        "apart": _apart(found),
        "causes": _causes(found),
        "worst": worst_rows(found),
    }
    return {key: values[key] for key in KEYS}


def worst_rows(found: Comparison) -> list[dict[str, Any]]:
    """Return the scored rows that are furthest off, at most two of a class, GPU and source.

    Half of the measured time is as far off as twice it.
    """
    rows = np.flatnonzero(found.scored & (found.predicted > 0))
    distance = np.abs(np.log(found.predicted[rows] / found.measured[rows]))
    order = rows[np.argsort(-distance, kind="stable")]
    taken: Counter[tuple[str, str, str]] = Counter()
    worst = []
    for i in map(int, order):
        row = found.table.iloc[i]
        cell = str(found.kind[i]), str(row["gpu"]), str(row["source"])
        if taken[cell] == _WORST_EACH:
            continue
        taken[cell] += 1
        cause = str(found.cause[i])
        worst.append({
            "row": i, "class": cell[0], "gpu": cell[1], "source": cell[2],
            "dtype": str(row["dtype"]), "shape": shape_of(row), "stratum": str(found.stratum[i]),
            "fitted": bool(found.fitted[i]), "measured_us": float(found.measured[i]),
            "predicted_us": float(found.predicted[i]), "added_us": float(found.added[i]),
            "error": float(found.predicted[i] / found.measured[i] - 1),
            "choice": str(found.choice[i]), "cause": cause,
            "why": why(found.table, i, cause, found.evidence),
        })  # fmt: skip
        if len(worst) == _WORST:
            break
    return worst


def shape_of(row: Any) -> str:
    """Return an operator and its sizes as text: ``gemm m=8 n=4096 k=4096``."""
    op = str(row["op"])
    names = DIMENSIONS.get(op, ("rows", "cols", "heads", "kv_heads", "head_dim", "hidden"))
    sizes = [f"{name}={row[name]:.0f}" for name in names if row[name] == row[name]]
    return " ".join([op, *sizes])


def _keys(found: Comparison, names: Sequence[str]) -> list[NDArray[np.object_]]:
    columns: dict[str, NDArray[np.object_]] = {"class": found.kind, "stratum": found.stratum}
    for name in names:
        if name not in columns:
            columns[name] = found.table[name].to_numpy(dtype=object)
    return [columns[name] for name in names]


def _cells(
    found: Comparison, names: Sequence[str], mask: NDArray[np.bool_]
) -> dict[tuple[str, ...], _Rows]:
    """Return the rows of a mask by their values of some columns, in the order of the values."""
    import pandas as pd

    at = np.flatnonzero(mask)
    if not at.size:
        return {}
    keys = [pd.Categorical(values[at]) for values in _keys(found, names)]
    frame = pd.DataFrame(dict(zip(names, keys, strict=True)))
    groups = frame.groupby(list(names), observed=True, sort=True).indices
    return {
        tuple(map(str, key if isinstance(key, tuple) else (key,))): at[np.asarray(rows)]
        for key, rows in sorted(groups.items())
    }


def _compared(found: Comparison, rows: _Rows) -> dict[str, dict[str, Any]]:
    """Return the error of each baseline on its rows, and accelsim's on the same."""
    compared = {}
    for name in BASELINES:
        guess = found.baselines[name][rows]
        known = rows[~np.isnan(guess)]
        theirs = score(found.baselines[name][known], found.measured[known], ranked=False)
        ours = score(found.predicted[known], found.measured[known], ranked=False)
        compared[name] = {"rows": theirs.rows, "mape": theirs.mape, "accelsim_mape": ours.mape}
    return compared


def _tabled(found: Comparison, names: Sequence[str]) -> list[dict[str, Any]]:
    lines, scored = [], found.scored
    for key, rows in _cells(found, names, ~found.apart).items():
        known = rows[scored[rows]]
        test, fit = known[~found.fitted[known]], known[found.fitted[known]]
        lines.append({
            **dict(zip(names, key, strict=True)),
            "rows": int(rows.size), "not_modelled": int(rows.size - known.size),
            "test": asdict(score(found.predicted[test], found.measured[test])),
            "fit": asdict(score(found.predicted[fit], found.measured[fit])),
            "baselines": _compared(found, test),
        })  # fmt: skip
    return lines


def _macro(found: Comparison, mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the mean over cells of (GPU, class), of accelsim and beside each baseline."""
    cells = list(_cells(found, ("gpu", "class"), mask).values())
    scores = [asdict(score(found.predicted[rows], found.measured[rows])) for rows in cells]
    compared = [_compared(found, rows) for rows in cells]
    beside = {}
    for name in BASELINES:
        have = [one[name] for one in compared if one[name]["rows"]]
        beside[name] = {
            "cells": len(have),
            "rows": sum(one["rows"] for one in have),
            "mape": _mean([one["mape"] for one in have]),
            "accelsim_mape": _mean([one["accelsim_mape"] for one in have]),
        }
    return {
        "cells": len(cells),
        "rows": int(mask.sum()),
        **{name: _mean([one[name] for one in scores]) for name in _MACRO},
        "bias": _mean([abs(one["bias"]) for one in scores]),
        "baselines": beside,
    }


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _headline(found: Comparison) -> dict[str, Any]:
    kernels = found.kind != LINKS  # collectives have no roofline to stand beside
    whole = _macro(found, found.tested & kernels)
    whole["fit_mape"] = _macro(found, found.scored & found.fitted & kernels)["mape"]
    present = [name for name in STRATA if (found.stratum[found.tested] == name).any()]
    whole["strata"] = {
        name: _macro(found, found.tested & (found.stratum == name)) for name in present
    }
    return whole


def _strata(found: Comparison) -> list[dict[str, Any]]:
    names = ("class", "gpu", "source", "stratum")
    return [
        {
            **dict(zip(names, key, strict=True)),
            "test": asdict(score(found.predicted[rows], found.measured[rows])),
            "baselines": _compared(found, rows),
        }
        for key, rows in _cells(found, names, found.tested).items()
    ]


def _apart(found: Comparison) -> list[dict[str, Any]]:
    """Return the rows kept out of the headline: by flag, class, GPU and source."""
    lines = []
    names = ("flag", "class", "gpu", "source")
    for key, rows in _cells(found, names, found.table["flag"].isin(APART).to_numpy()).items():
        known = score(found.predicted[rows], found.measured[rows])
        lines.append({
            **dict(zip(names, key, strict=True)),
            "rows": int(rows.size), "score": asdict(known), "baselines": _compared(found, rows),
        })  # fmt: skip
    return lines


def _causes(found: Comparison) -> dict[str, dict[str, Any]]:
    """Return how often each cause is named, over scored rows and over those more than 20 % off."""
    cause, error = found.cause[found.scored], found.evidence.error[found.scored]
    far = error > WITHIN
    return {
        name: {
            "meaning": meaning,
            "rows": int((cause == name).sum()),
            "far_rows": int(((cause == name) & far).sum()),
            "mape": _mean(error[cause == name].tolist()),
        }
        for name, meaning in CAUSES.items()
        if (cause == name).any()
    }
