"""Reads aiconfigurator's performance tables of serving kernels and collectives.

Times are in ms, of CUDA-graph replay over up to six copies of the weights: no launch is inside,
and caches are warm as far as the copies fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from accelsim.measure.imports._files import integers, matches, numbers, read_csv, read_parquet
from accelsim.measure.imports._table import Imported, combine, part

__all__ = ["read"]

_LAYOUT: Final = "systems/data/SYSTEM/FAMILY/BACKEND/VERSION/*_perf.parquet (or .txt, older)"
_BOARDS: Final = {
    "a100_sxm": "A100-SXM4-80GB", "h100_sxm": "H100-SXM5-80GB", "h200_sxm": "H200-SXM-141GB",
    "b200_sxm": "B200-SXM", "b300_sxm": "B300-SXM", "gb200": "GB200", "gb300": "GB300",
    "gb200_sxm": "GB200", "l40s": "L40S", "rtx_pro_6000_server": "RTXPRO6000",
}  # fmt: skip
_DTYPES: Final = {
    "bfloat16": "bf16", "bf16": "bf16", "float16": "fp16", "half": "fp16", "fp16": "fp16",
    "fp8": "fp8", "nvfp4": "nvfp4", "int8_wo": "int8_wo", "sq": "sq_int8", "sq_int8": "sq_int8",
}  # fmt: skip
_WHOLE: Final = ("bf16", "fp16")
_COLLECTIVES: Final = {
    "all_reduce": "allreduce", "all_gather": "allgather", "alltoall": "alltoall",
    "reduce_scatter": "reducescatter",
}  # fmt: skip
_ELEMENT_BYTES = 2  # message_size counts elements of 16 bits
_OTHER: Final = "tables of operators that have no counterpart here"


def read(folder: Path) -> Imported:
    """Return the measurements of a checkout of aiconfigurator.

    Left out and counted: block-scaled and integer-4 formats, attention with a window, a prefix
    or a quantised cache, TRT-LLM 1.0.0's decode attention on the A100 (up to 1.7 times the DRAM
    peak: its cache is fp8, labelled bf16), and collectives that a newer version republishes.

    Raises
    ------
    ConfigError
        If the folder holds none of the files, or a file is not in the expected form.
    MissingExtraError
        If a table is Parquet and pyarrow is absent.
    """
    pattern = r"data/([^/]+)/(?:[^/]+/)?([^/]+)/([^/]+)/(\w+)_perf\.(?:parquet|csv|txt)"
    found = matches(folder, (pattern,), "aiconfigurator", _LAYOUT)
    parts: list[pd.DataFrame] = []
    dropped: dict[str, int] = {}
    for path, match in sorted(found, key=lambda f: (f[1][1], f[1][4], f[1][2], _age(f[1][3]))):
        system, backend, version, name = match.groups()
        if name not in _READERS:
            _count(dropped, _OTHER, 1)
        elif system not in _BOARDS:
            _count(dropped, f"tables of `{system}`, whose board is not known", 1)
        else:
            common = {"gpu": _BOARDS[system], "impl": f"{backend}-{version}", "stat": "mean"}
            columns, optional, make = _READERS[name]
            read_file = read_parquet if path.suffix == ".parquet" else read_csv
            frame = read_file(path, (*columns, "latency"), optional=optional)
            times = numbers(frame, path, "latency") * 1e3
            rows = make(frame.assign(latency=times), path, common, dropped)
            if name == "generation_attention" and (system, backend, version) == _MISLABELLED:
                _count(dropped, "decode attention of TRT-LLM on A100, mislabelled", len(rows))
            else:
                parts.append(rows)
    table = _without_republished(parts, dropped)
    return combine(table, source="aiconfigurator", files=len(found), dropped=dropped)


_MISLABELLED: Final = ("a100_sxm", "trtllm", "1.0.0")


def _count(dropped: dict[str, int], reason: str, rows: int) -> None:
    if rows:
        dropped[reason] = dropped.get(reason, 0) + rows


def _age(version: str) -> list[tuple[int, str]]:
    """Return a key that sorts versions by their numbers."""
    return [(int(digits or 0), text) for digits, text in re.findall(r"(\d+)|(\D+)", version)]


def _kept(
    frame: pd.DataFrame, column: str, dropped: dict[str, int]
) -> tuple[pd.DataFrame, pd.Series[str]]:
    """Return the rows whose number format has a name here, and that name."""
    names = frame[column].astype(str).str.strip()
    for other in names[~names.isin(list(_DTYPES))].unique():
        _count(dropped, f"rows of format `{other}`", int((names == other).sum()))
    chosen = names.isin(list(_DTYPES))
    return frame[chosen], names[chosen].map(_DTYPES)


def _products(
    frame: pd.DataFrame, path: Path, common: Mapping[str, Any], dropped: dict[str, int]
) -> pd.DataFrame:
    frame, dtype = _kept(frame, "gemm_dtype", dropped)
    m, n, k = (integers(frame, path, name) for name in "mnk")
    return part(frame.index, op="gemm", dtype=dtype, m=m, n=n, k=k, timing="cuda_graph",
                latency_us=frame["latency"], **common)  # fmt: skip


def _attention(
    frame: pd.DataFrame, path: Path, common: Mapping[str, Any], dropped: dict[str, int],
    *, phase: str,
) -> pd.DataFrame:  # fmt: skip
    """Return prefill, decode or encoder rows; decoding, a query sees isl + step keys."""
    frame, dtype = _kept(frame, "attn_dtype", dropped)
    whole = dtype.isin(_WHOLE)
    if "kv_cache_dtype" in frame:
        whole &= frame["kv_cache_dtype"].astype(str).str.strip().map(_DTYPES).isin(_WHOLE)
    _count(dropped, "attention in a quantised format", int((~whole).sum()))
    plain = whole.copy()
    if "window_size" in frame:
        plain &= numbers(frame, path, "window_size", missing=True).fillna(0) <= 0
    if phase == "context" and "step" in frame:
        plain &= numbers(frame, path, "step", missing=True).fillna(0) == 0
    _count(dropped, "attention with a window or prefix", int((whole & ~plain).sum()))
    frame, dtype = frame[plain], dtype[plain]
    batch, length, heads, width = (
        integers(frame, path, name) for name in ("batch_size", "isl", "num_heads", "head_dim")
    )
    grouped = "num_key_value_heads" in frame and phase != "encoder"
    decode = phase == "generation"
    notes = frame["kernel_source"].astype(str) if "kernel_source" in frame else ""
    return part(
        frame.index, dtype=dtype, op="attention_decode" if decode else "attention_prefill",
        subop="encoder" if phase == "encoder" else "", batch=batch, heads=heads, head_dim=width,
        kv_heads=integers(frame, path, "num_key_value_heads") if grouped else heads,
        q_len=1 if decode else length,
        kv_len=length + integers(frame, path, "step") if decode else length,
        causal=0 if phase == "encoder" else 1, timing="cuda_graph", notes=notes,
        latency_us=frame["latency"], **common,
    )  # fmt: skip


def _experts(
    frame: pd.DataFrame, path: Path, common: Mapping[str, Any], dropped: dict[str, int]
) -> pd.DataFrame:
    frame, dtype = _kept(frame, "moe_dtype", dropped)
    names = {"rows": "num_tokens", "hidden": "hidden_size", "inter": "inter_size", "topk": "topk",
             "experts": "num_experts", "tp": "moe_tp_size", "ep": "moe_ep_size"}  # fmt: skip
    dims: dict[str, Any] = {ours: integers(frame, path, name) for ours, name in names.items()}
    return part(frame.index, op="moe", dtype=dtype, subop=frame["distribution"].astype(str),
                timing="cuda_graph", latency_us=frame["latency"], **dims, **common)  # fmt: skip


def _all_reduce(
    frame: pd.DataFrame, path: Path, common: Mapping[str, Any], dropped: dict[str, int]
) -> pd.DataFrame:
    frame, dtype = _kept(frame, "allreduce_dtype", dropped)
    kernel = frame["kernel_source"].astype(str)
    eager = kernel.str.endswith("_eager").map({True: "eager", False: "nccl/graph"})
    return _collective(frame, path, op="allreduce", dtype=dtype, subop=kernel, timing=eager,
                       **common)  # fmt: skip


def _nccl(
    frame: pd.DataFrame, path: Path, common: Mapping[str, Any], dropped: dict[str, int]
) -> pd.DataFrame:
    frame, dtype = _kept(frame, "nccl_dtype", dropped)
    op = frame["op_name"].astype(str).str.strip().map(_COLLECTIVES)
    _count(dropped, "collectives that have no counterpart here", int(op.isna().sum()))
    known = op.notna()
    return _collective(frame[known], path, op=op[known], dtype=dtype[known], subop="NCCL",
                       timing="nccl/graph", **common)  # fmt: skip


def _collective(frame: pd.DataFrame, path: Path, **columns: Any) -> pd.DataFrame:
    size = integers(frame, path, "message_size") * _ELEMENT_BYTES
    ranks = integers(frame, path, "num_gpus")
    return part(frame.index, bytes=size, n_devices=ranks, latency_us=frame["latency"], **columns)


def _without_republished(parts: list[pd.DataFrame], dropped: dict[str, int]) -> list[pd.DataFrame]:
    """Drop collectives that an older version of the same software lists with the same time."""
    kept = []
    seen: dict[str, pd.DataFrame] = {}
    for rows in parts:
        if "bytes" not in rows or rows.empty:
            kept.append(rows)
            continue
        same = ["gpu", "dtype", "op", "subop", "bytes", "n_devices", "latency_us"]
        stem = str(rows["impl"].iloc[0]).partition("-")[0]
        older = seen.get(stem, rows.iloc[:0])
        known = pd.MultiIndex.from_frame(rows[same]).isin(pd.MultiIndex.from_frame(older[same]))
        _count(dropped, "collectives republished by a newer version", int(known.sum()))
        seen[stem] = pd.concat([older, rows[~known]]) if len(older) else rows
        kept.append(rows[~known])
    return kept


def _phase(name: str) -> Callable[..., pd.DataFrame]:
    def make(*given: Any) -> pd.DataFrame:
        return _attention(*given, phase=name)

    return make


_HEADS: Final = ("attn_dtype", "batch_size", "isl", "num_heads", "head_dim")
_CACHED: Final = (*_HEADS, "num_key_value_heads", "kv_cache_dtype")
_SOURCES: Final = ("kernel_source", "window_size")

_READERS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...], Callable[..., Any]]]] = {
    "gemm": (("gemm_dtype", "m", "n", "k"), (), _products),
    "context_attention": (_CACHED, (*_SOURCES, "step"), _phase("context")),
    "generation_attention": ((*_CACHED, "step"), _SOURCES, _phase("generation")),
    "encoder_attention": (_HEADS, ("kernel_source",), _phase("encoder")),
    "moe": (
        ("moe_dtype", "num_tokens", "hidden_size", "inter_size", "topk", "num_experts",
         "moe_tp_size", "moe_ep_size", "distribution"), (), _experts),
    "custom_allreduce": (
        ("allreduce_dtype", "num_gpus", "message_size", "kernel_source"), (), _all_reduce),
    "nccl": (("nccl_dtype", "num_gpus", "message_size", "op_name"), (), _nccl),
}  # fmt: skip
"""Table -> columns it must have besides latency, columns it may have, and what makes rows of it
(the loaders of aiconfigurator_core/sdk/operations read the same columns)."""
