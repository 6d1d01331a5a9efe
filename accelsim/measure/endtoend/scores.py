"""Scores a comparison: error by source, kind and GPU, with published predictors beside.

Rows that test the model are those of the ``device`` stratum that no constant was fitted on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from accelsim.measure.compare.scores import kendall, score

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KEYS", "PUBLISHED", "RULE", "rank_within", "scored", "summary", "tested"]

PUBLISHED: Final[Mapping[tuple[str, str, str], tuple[float, str]]] = {
    ("neusight", "inference", "A100-PCIe-40GB"): (0.065, "NeuSight"),
    ("neusight", "inference", "V100-PCIe-32GB"): (0.059, "NeuSight"),
    ("neusight", "inference", "T4"): (0.185, "NeuSight"),
    ("llmcompass", "layer_prefill", "A100-SXM4-80GB"): (0.021, "LLMCompass"),
    ("llmcompass", "layer_decode", "A100-SXM4-80GB"): (0.124, "LLMCompass"),
}
"""(source, kind, GPU) -> mean absolute error of the source's own predictor, and its name:
predictions shipped with the labels (sitar-lab/NeuSight, 6945927; PrincetonUniversity/LLMCompass,
2e015fd)."""

RULE: Final = (
    "rows of batch 1 that run more than five rooflines long, of the sources that a constant of the"
    " framework's launches was taken from, are fit rows; all others test.  No scalar of the kernel"
    " model was fitted on a row of this table"
)

KEYS: Final = (
    "file", "rows", "modelled", "not_modelled", "split", "headline", "table", "models", "worst",
)  # fmt: skip
"""Keys of a summary, in order; those of ``accelsim validate measured`` that apply."""

_WORST: Final = 30
_WORST_EACH: Final = 2  # of one source, kind and GPU


def scored(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a comparison that have a simulation."""
    return frame[frame["simulated_ms"].notna()]


def tested(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that test the device model: not fitted on, and not about launching."""
    done = scored(frame)
    return done[(done["stratum"] == "device") & ~done["fitted"].astype(bool)]


def summary(frame: pd.DataFrame, file: str | Path = "") -> dict[str, Any]:
    """Return the figures of a comparison: errors as shares of one, times in ms.

    Parameters
    ----------
    frame : pandas.DataFrame
        What `compare` returns.
    file : str or Path, optional
        What the rows were read from, for the record.

    Returns
    -------
    dict
        With the `KEYS`.

    Notes
    -----
    The headline is the mean over cells of (source, kind, GPU) of a cell's error on test rows; the
    rows that time operators, or parts of a pass that other rows time whole, have cells of their
    own and do not count in it.
    """
    done, left = scored(frame), frame[frame["simulated_ms"].isna()]
    told = left["source"].astype(str) + ": " + left["reason"].astype(str)
    reasons = dict(Counter(told.sort_values().tolist()).most_common())
    table = list(_table(frame))
    values = {
        "file": Path(file).name,
        "rows": len(frame),
        "modelled": len(done),
        "not_modelled": {
            "count": len(left),
            "reasons": reasons,
        },
        "split": {
            "rule": RULE,
            "fit_rows": int(done["fitted"].sum()),
            "launch_rows": int((done["stratum"] == "launch").sum()),
            "test_rows": len(tested(frame)),
        },
        "headline": _headline(table),
        "table": table,
        "models": list(_models(frame)),
        "worst": list(_worst(frame)),
    }
    return {key: values[key] for key in KEYS}


def rank_within(rows: pd.DataFrame) -> float:
    """Return the mean over models of Kendall's tau within a model's rows; NaN where none has any.

    Across models the order is nearly free: a larger one takes longer.
    """
    known = [
        tau
        for _, own in rows.groupby(["model", "metric"], sort=True)
        if len(own) > 2
        and not np.isnan(
            tau := kendall(own["simulated_ms"].to_numpy(), own["measured_ms"].to_numpy())
        )
    ]
    return float(np.mean(known)) if known else float("nan")


def _scores(rows: pd.DataFrame) -> dict[str, Any]:
    measured = rows["measured_ms"].to_numpy(float)
    found = score(rows["simulated_ms"].to_numpy(float), measured, ranked=False)
    return {**asdict(found), "kendall": rank_within(rows)}


def _baseline(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the error of the roofline, and ours, where there is one (not of single operators)."""
    known = rows[rows["roofline_ms"] > 0]
    measured = known["measured_ms"].to_numpy(float)
    theirs = score(known["roofline_ms"].to_numpy(float), measured, ranked=False)
    ours = score(known["simulated_ms"].to_numpy(float), measured, ranked=False)
    return {"rows": theirs.rows, "mape": theirs.mape, "accelsim_mape": ours.mape}


def _table(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for key, rows in frame.groupby(["kind", "gpu", "source"], sort=True):
        kind, gpu, source = (str(part) for part in key)
        done = scored(rows)
        if done.empty:
            continue
        test, fit = tested(rows), done[done["fitted"].astype(bool)]
        launch = done[(done["stratum"] == "launch") & ~done["fitted"].astype(bool)]
        mape, by = PUBLISHED.get((source, kind, gpu), (float("nan"), ""))
        yield {
            "kind": kind, "gpu": gpu, "source": source,
            "rows": len(rows), "not_modelled": len(rows) - len(done),
            "test": _scores(test), "launch": _scores(launch), "fit": _scores(fit),
            "baselines": {"roofline": _baseline(test)},
            "published": {"by": by, "mape": mape},
            "dominant": _most(test if len(test) else done),
        }  # fmt: skip


def _most(rows: pd.DataFrame) -> str:
    """Return the operator class that most often takes most of the device's time."""
    return str(rows["dominant"].str.rsplit(" ", n=1).str[0].mode().iat[0])


def _headline(table: list[dict[str, Any]]) -> dict[str, Any]:
    whole = [line for line in table if "," not in line["kind"] and line["test"]["rows"]]
    kinds = sorted({str(line["kind"]) for line in whole})
    return {
        **_mean(whole),
        "kinds": {kind: _mean([ln for ln in whole if ln["kind"] == kind]) for kind in kinds},
    }


def _mean(lines: list[dict[str, Any]]) -> dict[str, Any]:
    def mean(values: list[float]) -> float:
        known = [value for value in values if not np.isnan(value)]
        return float(np.mean(known)) if known else float("nan")

    names = ("mape", "median", "p90", "within_20", "kendall")
    return {
        "cells": len(lines),
        "rows": sum(line["test"]["rows"] for line in lines),
        **{name: mean([line["test"][name] for line in lines]) for name in names},
        "bias": mean([abs(line["test"]["bias"]) for line in lines]),
        "baselines": {
            "roofline": {"mape": mean([ln["baselines"]["roofline"]["mape"] for ln in lines])}
        },
    }


def _models(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    whole = tested(frame)
    for key, rows in whole.groupby(["kind", "model"], sort=True):
        kind, model = (str(part) for part in key)
        yield {
            "kind": kind, "model": model, "gpus": sorted(map(str, rows["gpu"].unique())),
            "test": _scores(rows), "baselines": {"roofline": _baseline(rows)},
        }  # fmt: skip


def _worst(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    rows = tested(frame)
    order = rows["error"].abs().sort_values(ascending=False, kind="stable").index
    seen: dict[tuple[Any, ...], int] = {}
    names = (
        "row", "source", "gpu", "n_devices", "model", "kind", "batch", "seq_in", "seq_out",
        "dtype", "impl", "metric", "measured_ms", "simulated_ms", "error", "dominant",
    )  # fmt: skip
    given = 0
    for at in order:
        row = rows.loc[at]
        key = (row["source"], row["kind"], row["gpu"])
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > _WORST_EACH:
            continue
        yield {
            name: row[name].item() if hasattr(row[name], "item") else row[name] for name in names
        }
        given += 1
        if given == _WORST:
            return
