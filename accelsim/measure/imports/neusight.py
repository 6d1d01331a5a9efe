"""Reads NeuSight's measured operators and its end-to-end labels.

Times are in ms, fp32 without TF32, one CUDA-event pair around one eager call (best 5 of 25), so
launch is inside; the files call the reduction N and the outputs K.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pandas as pd

from accelsim.errors import ConfigError, Location
from accelsim.measure.imports._files import integers, matches, numbers, read_csv
from accelsim.measure.imports._table import Imported, combine, end_to_end, part

__all__ = ["read"]

_LAYOUT: Final = (
    "scripts/asplos/data/dataset{,_amd}/{train,test}/**/*.csv and "
    "scripts/asplos/label/DEVICE/MODEL-{inf,train}-SEQ-BATCH[-OPTION].json"
)
_OPS: Final = {
    "bmm": ("bmm", ""), "linear": ("gemm", "linear_bias"),
    "softmax": ("softmax", ""), "ln": ("layernorm", ""), "layernorm": ("layernorm", ""),
    "gelu": ("gelu", ""),
    **{name: ("elementwise", name) for name in ("add", "div", "mul", "pow", "relu", "tanh")},
    **{f"{name}u": ("elementwise", f"{name}_scalar") for name in ("add", "div", "mul", "pow")},
}  # fmt: skip
"""OPName in lower case, without a leading ``vec`` -> operator; a final u: with a scalar."""

# Boards by words of the name that PyTorch reports; the first whose words all occur.
_BOARDS: Final = (
    (("a100", "pcie", "40gb"), "A100-PCIe-40GB"), (("a100", "80gb", "pcie"), "A100-PCIe-80GB"),
    (("a100", "sxm4", "40gb"), "A100-SXM4-40GB"), (("a100", "sxm4", "80gb"), "A100-SXM4-80GB"),
    (("h100", "hbm3"), "H100-SXM5-80GB"), (("h100", "pcie"), "H100-PCIe-80GB"),
    (("v100", "pcie", "32gb"), "V100-PCIe-32GB"), (("v100", "sxm2", "16gb"), "V100-SXM2-16GB"),
    (("v100", "sxm2", "32gb"), "V100-SXM2-32GB"), (("p100", "16gb"), "P100-PCIe-16GB"),
    (("l4",), "L4"), (("t4",), "T4"), (("p4",), "P4"),
    (("mi100",), "MI100"), (("mi210",), "MI210"), (("mi250",), "MI250-GCD"),
)  # fmt: skip

_KERNEL_CHARACTERS = 44  # enough to tell kernels apart; the rest are template arguments
_CLOCK: Final = {"dtype": "fp32", "stat": "mean", "timing": "cuda_event_eager"}
_DATASET = r"dataset(?:_amd)?/(train|test)/(?:.+/)?([^/]+)\.csv"
_LABEL = r"label/([^/]+)/([^/]+)-(inf|train)-(\d+)-(\d+)(?:-(\w+))?\.json"


def read(folder: Path) -> Imported:
    """Return the measurements of a checkout of NeuSight.

    Merged files that repeat the rows of per-device ones add nothing; the convolutions and the
    few fp16 products are left out and counted, for their columns are documented nowhere.

    Raises
    ------
    ConfigError
        If the folder holds none of the files, or a file is not in the expected form.
    """
    found = matches(folder, (_DATASET, _LABEL), "NeuSight", _LAYOUT)
    parts: list[pd.DataFrame] = []
    labels: list[dict[str, Any]] = []
    dropped: dict[str, int] = {}
    for path, match in found:
        if path.suffix == ".json":
            labels += _label(path, match)
        elif match[2].lower().startswith(("conv", "fp16")):
            reason = "files of convolutions or fp16 products, whose columns are not documented"
            dropped[reason] = dropped.get(reason, 0) + 1
        else:
            parts.append(_operators(path, match[1], dropped))
    parts = _without_repeats(parts, dropped)
    e2e = end_to_end(labels, "neusight") if labels else None
    return combine(parts, source="neusight", files=len(found), dropped=dropped, e2e=e2e)


def board_of(name: str) -> str:
    """Return the board of a device name as PyTorch reports it, or an empty text.

    Examples
    --------
    >>> board_of("NVIDIA A100-PCIE-40GB"), board_of("Tesla T4")
    ('A100-PCIe-40GB', 'T4')
    """
    words = set(re.findall(r"[a-z0-9]+", name.lower()))
    return next((board for needed, board in _BOARDS if words.issuperset(needed)), "")


def _operators(path: Path, split: str, dropped: dict[str, int]) -> pd.DataFrame:
    """Return the rows of one dataset file."""
    base, dims = ("OPName", "Device", "Latency"), ("B", "M", "N", "K", "H")
    frame = read_csv(path, base, optional=(*dims, "Kernel Name"))
    names = frame["OPName"].astype(str).str.strip().str.lower().str.removeprefix("vec")
    gpus = frame["Device"].astype(str).map(_boards(frame["Device"]))
    for reason, kept in (
        ("operators that have no counterpart here", names.isin(list(_OPS))),
        ("devices of unknown name", gpus != ""),
    ):
        if not kept.all():
            dropped[reason] = dropped.get(reason, 0) + int((~kept).sum())
    kept = names.isin(list(_OPS)) & (gpus != "")
    frame, names, gpus = frame[kept], names[kept], gpus[kept]
    if frame.empty:
        return pd.DataFrame()
    parts = []
    for product in (True, False):
        chosen = names.isin(["bmm", "linear"]) == product
        if chosen.any():
            shape = _product(frame[chosen], names[chosen], path) if product else (
                {"rows": _dimension(frame[chosen], path, "B"),
                 "cols": _dimension(frame[chosen], path, "H")})  # fmt: skip
            rows = frame[chosen]
            parts.append(part(
                rows.index, gpu=gpus[chosen], op=names[chosen].map(lambda n: _OPS[n][0]),
                subop=names[chosen].map(lambda n: _OPS[n][1]), impl=_kernels(rows),
                latency_us=numbers(rows, path, "Latency") * 1e3, notes=split, **shape, **_CLOCK,
            ))  # fmt: skip
    return pd.concat(parts)


def _boards(devices: pd.Series[Any]) -> dict[str, str]:
    return {str(name): board_of(str(name)) for name in devices.unique()}


def _product(frame: pd.DataFrame, names: pd.Series[str], path: Path) -> dict[str, Any]:
    """Return b, m, n, k: the file's N is the reduction, and a linear layer's B counts rows."""
    b, m, n, k = (_dimension(frame, path, name) for name in ("B", "M", "K", "N"))
    linear = names == "linear"
    return {"b": b.where(~linear), "m": m.where(~linear, b * m), "n": n, "k": k}


def _dimension(frame: pd.DataFrame, path: Path, name: str) -> pd.Series[int]:
    if name not in frame:
        needs = "B, M, N and K" if name in "MNK" else "B and H"
        hint = f"rows of OPName {frame.iloc[0]['OPName']} need {needs}"
        raise ConfigError(f"no column `{name}`", Location(str(path), 1), path=name, hint=hint)
    return integers(frame, path, name)


def _kernels(rows: pd.DataFrame) -> pd.Series[str]:
    """Return kernel names without return type, namespaces and template arguments."""
    if "Kernel Name" not in rows:
        return pd.Series("", index=rows.index)
    names = rows["Kernel Name"].astype(object).fillna("").astype(str).str.strip(" []'\"")
    bare = names.str.replace(r"[<(].*$", "", regex=True).str.split(r"[\s:]", regex=True).str[-1]
    return bare.str.slice(0, _KERNEL_CHARACTERS)


def _without_repeats(parts: list[pd.DataFrame], dropped: dict[str, int]) -> list[pd.DataFrame]:
    """Drop rows that another file repeats to the last digit; those repeated in one file stay."""
    filled = [p for p in parts if len(p)]
    if len(filled) < 2:
        return filled
    table = pd.concat(filled, keys=range(len(filled)))
    table["_file"] = table.index.get_level_values(0)
    own = [name for name in table.columns if name not in ("_file", "notes")]
    table["_nth"] = table.groupby(["_file", *own], dropna=False, sort=False).cumcount()
    repeated = table.duplicated([*own, "_nth"])
    if repeated.any():
        dropped["rows repeated by a merged file"] = int(repeated.sum())
    return [table[~repeated].drop(columns=["_file", "_nth"])]


def _label(path: Path, match: re.Match[str]) -> list[dict[str, Any]]:
    """Return the end-to-end rows of one label, whose name says model, mode, length and batch."""
    device, model, mode, length, batch, option = match.groups()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", 0)
        raise ConfigError("no JSON", Location(str(path), line), hint=str(error)) from None
    training, option = mode == "train", option or ""
    ranks = int(m[1]) if (m := re.match(r"(?:dp|tp|pp)(\d+)", option)) else 1
    fields = {"latency_ms": "e2e_latency"}
    if training and ranks == 1:
        fields |= {"fw_latency_ms": "fw_latency", "bw_latency_ms": "bwall_latency"}
    impl = {"": "hf-eager", "fusion": "hf-torch.compile"}.get(option, f"megatron-{option}")
    board = board_of(device)
    if not board:
        raise ConfigError(f"unknown device `{device}`", Location(str(path)),
                          hint=f"one of {', '.join(b for _, b in _BOARDS)}")  # fmt: skip
    shared = {
        "gpu": board, "n_devices": ranks, "model": model,
        "phase": "training" if training else "inference", "batch": int(batch),
        "seq_in": int(length), "seq_out": 0, "dtype": "fp32", "impl": impl,
        "notes": "forward+backward, no optimizer step" if training
        else "one full forward pass (prefill), no KV cache",
    }  # fmt: skip
    return [{**shared, "metric": m, "value": _field(data, f, path)} for m, f in fields.items()]


def _field(data: Any, name: str, path: Path) -> float:
    value = data.get(name) if isinstance(data, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigError(f"found `{value}`", Location(str(path)), path=name,
                          hint="a number of milliseconds above 0")  # fmt: skip
    return float(value)
