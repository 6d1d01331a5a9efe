"""Reads the measured operators that LLMCompass ships as the real-hardware side of its figure 5.

Every number was taken by the host's clock around a call and a synchronisation, so 20 to 45 us of
host time are inside; matmul is in ms, softmax, layernorm and GELU in 1e9 elements/s, the
transformer layer in s and the all-reduce in us.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, Final

import pandas as pd

from accelsim.errors import ConfigError, Location
from accelsim.measure.imports._files import integers, matches, numbers, read_csv, refuse
from accelsim.measure.imports._table import Imported, combine, end_to_end, part

__all__ = ["read"]

_LAYOUT: Final = "ae/figure5/*/real_hardware/*.csv and ae/figure5/h/test_allreduce.py"
_BOARDS: Final = {"A100": "A100-SXM4-80GB", "MI210": "MI210"}
# run_on_gpu of the repository uses fp16, but its script simulates the MI210 rows as fp32.
_DTYPES: Final = {
    "A100": ("fp16", "fp16 in run_on_gpu"),
    "MI210": ("fp32", "dtype inferred fp32 (artifact simulates fp32); script text says fp16"),
}
_STEPS: Final = (
    "Q_K_V", "Q_mul_K", "A_mul_V", "Wo_proj", "W1_proj", "W2_proj", "Softmax", "LayerNorm_MHA",
    "LayerNorm_FFN", "GeLU", "AllReduce_MHA", "AllReduce_FFN",
)  # fmt: skip
"""Lines of a transformer file (ae/figure5/ijkl/plot_transformer.py)."""
_HIDDEN, _HEADS, _RANKS, _BATCH, _PROMPT, _OUTPUT = 12288, 96, 4, 8, 2048, 1024
"""GPT-3 layer of ae/figure5/ijkl/test_transformer.py."""
_CLOCK: Final = {"impl": "torch", "stat": "median", "timing": "wallclock_sync"}
_FIRST_BYTES = 8  # the all-reduce list doubles from here


def read(folder: Path) -> Imported:
    """Return the measurements of a checkout of LLMCompass.

    Raises
    ------
    ConfigError
        If the folder holds none of the files, or a file is not in the expected form.
    """
    names = "transformer|transformerAR|matmul|softmax|layernorm|gelu"
    patterns = (rf"real_hardware/({names})_(\w+)\.csv", r"figure5/h/(test_allreduce)\.py")
    found = matches(folder, patterns, "LLMCompass", _LAYOUT)
    parts: list[pd.DataFrame] = []
    layers: list[dict[str, Any]] = []
    for path, match in found:
        what = match[1]
        if what == "test_allreduce":
            parts.append(_all_reduce(path))
        elif what.startswith("transformer"):
            ops, rows = _layer(path, "decode" if what == "transformerAR" else "prefill")
            parts += ops
            layers += rows
        else:
            parts.append(_products(path, match[2]) if what == "matmul" else
                         _rates(path, what, match[2]))  # fmt: skip
    e2e = end_to_end(layers, "llmcompass") if layers else None
    return combine(parts, source="llmcompass", files=len(found), e2e=e2e)


def _board(path: Path, name: str) -> str:
    if name not in _BOARDS:
        raise ConfigError(f"`{name}` is no known board", Location(str(path)),
                          hint=f"files end in _{', _'.join(_BOARDS)}.csv")  # fmt: skip
    return _BOARDS[name]


def _products(path: Path, name: str) -> pd.DataFrame:
    """Read lines ``M, N, K, <t>ms, <r>Tflops``."""
    frame = read_csv(path, ("M", "N", "K", "latency", "throughput"), header=False)
    suffixed = frame["latency"].astype(str).str.strip()
    bare = ~suffixed.str.endswith("ms").to_numpy(bool)
    refuse(bare, frame, path, "latency", "a number of milliseconds followed by ms")
    frame = frame.assign(latency=suffixed.str.removesuffix("ms"))
    return part(
        frame.index, gpu=_board(path, name), dtype="bf16", op="gemm",
        m=integers(frame, path, "M"), n=integers(frame, path, "N"), k=integers(frame, path, "K"),
        latency_us=numbers(frame, path, "latency") * 1e3,
        notes="torch.bfloat16 in run_on_gpu; host launch+sync included",
        **{**_CLOCK, "impl": "torch.matmul"},
    )  # fmt: skip


def _rates(path: Path, op: str, name: str) -> pd.DataFrame:
    """Read lines ``M, N, <1e9 elements/s>``, of GELU without N."""
    shape = ("N",) if op == "gelu" else ("M", "N")
    frame = read_csv(path, (*shape, "throughput"), header=False)
    cols = integers(frame, path, "N")
    rows = integers(frame, path, "M") if "M" in shape else pd.Series(1, index=frame.index)
    rate = numbers(frame, path, "throughput")
    refuse((rate <= 0).to_numpy(), frame, path, "throughput", "1e9 elements/s, above 0")
    board = _board(path, name)
    dtype, notes = ("fp16", "") if op == "gelu" else _DTYPES[name]
    return part(
        frame.index, gpu=board, dtype=dtype, op=op, rows=rows, cols=cols,
        latency_us=rows * cols / rate * 1e-3, notes=notes, **_CLOCK,
    )  # fmt: skip


def _all_reduce(path: Path) -> pd.DataFrame:
    """Read the one literal list of measured times in the script, in us for 8 B, 16 B, ..."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ConfigError("no Python file", Location(str(path)), hint=str(error)) from None
    lists = []
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple) and len(node.elts) >= 16:
            values = [e.value for e in node.elts if isinstance(e, ast.Constant)]
            if len(values) == len(node.elts) and any(isinstance(v, float) for v in values):
                lists.append(values)
    if len(lists) != 1:
        raise ConfigError(
            f"{len(lists)} lists of numbers with a fraction", Location(str(path)),
            hint="one list of at least 16 measured times in us, for 8 bytes and doubling",
        )  # fmt: skip
    times = pd.Series([float(value) for value in lists[0] if isinstance(value, int | float)])
    return part(
        times.index, gpu=_BOARDS["A100"], dtype="fp16", op="allreduce", impl="nccl", stat="mean",
        timing="nccl", n_devices=_RANKS, bytes=_FIRST_BYTES * 2**times.index.to_numpy(),
        latency_us=times, notes="4xA100, NVLink3",
    )  # fmt: skip


def _layer(path: Path, phase: str) -> tuple[list[pd.DataFrame], list[dict[str, Any]]]:
    """Read a GPT-3 layer: one time in s on each line, in the order of `_STEPS`."""
    name = re.sub(r".*_", "", path.stem)
    frame = read_csv(path, ("seconds",), header=False)
    if len(frame) != len(_STEPS):
        raise ConfigError(f"{len(frame)} times", Location(str(path)),
                          hint=f"{len(_STEPS)} lines: {', '.join(_STEPS)}")  # fmt: skip
    seconds = dict(zip(_STEPS, numbers(frame, path, "seconds"), strict=True))
    rows = _layer_rows(phase)
    common = {"gpu": _board(path, name), **_CLOCK}
    parts = []
    for step, row in rows.items():
        share = 3 if step == "Q_K_V" else 1
        notes = f"GPT-3 layer TP4 {phase}; {_REMARKS.get(step, '')}"
        index = pd.RangeIndex(1)
        microseconds = seconds[step] * 1e6 / share
        parts.append(part(index, **common, **row, latency_us=microseconds, notes=notes))
    shared = {
        "gpu": common["gpu"], "n_devices": _RANKS, "model": "gpt3-175b", "phase": f"layer_{phase}",
        "batch": _BATCH, "seq_in": _PROMPT, "seq_out": _OUTPUT if phase == "decode" else 0,
        "dtype": "fp16", "impl": "torch-tp4",
        "notes": "one transformer layer; sum of separately timed ops, not a fused run",
    }  # fmt: skip
    values = {"latency_ms": sum(seconds.values()), **{f"op_ms:{s}": t for s, t in seconds.items()}}
    return parts, [{**shared, "metric": m, "value": t * 1e3} for m, t in values.items()]


_REMARKS: Final = {
    "Q_K_V": "one of three equal projections (sum/3)",
    "LayerNorm_MHA": "launch overhead subtracted by the artifact",
    "LayerNorm_FFN": "launch overhead subtracted by the artifact",
}


def _layer_rows(phase: str) -> dict[str, dict[str, Any]]:
    """Return operator and dimensions of each step on one of the tensor-parallel ranks."""
    queries, keys = (1, _PROMPT + _OUTPUT) if phase == "decode" else (_PROMPT, _PROMPT)
    tokens, width = _BATCH * queries, _HIDDEN // _HEADS
    heads, share = _BATCH * _HEADS // _RANKS, _HIDDEN // _RANKS
    product: dict[str, Any] = {"dtype": "bf16", "op": "gemm", "m": tokens}
    batched: dict[str, Any] = {"dtype": "fp16", "op": "bmm", "b": heads, "m": queries}
    wide: dict[str, Any] = {"dtype": "fp16", "rows": tokens, "cols": _HIDDEN}
    reduce: dict[str, Any] = {
        "dtype": "fp16", "op": "allreduce", "bytes": tokens * _HIDDEN * 2, "n_devices": _RANKS
    }  # fmt: skip
    return {
        "Q_K_V": {**product, "subop": "q_proj", "n": share, "k": _HIDDEN},
        "Q_mul_K": {**batched, "n": keys, "k": width},
        "A_mul_V": {**batched, "n": width, "k": keys},
        "Wo_proj": {**product, "n": _HIDDEN, "k": share},
        "W1_proj": {**product, "n": 4 * share, "k": _HIDDEN},
        "W2_proj": {**product, "n": _HIDDEN, "k": 4 * share},
        "Softmax": {"dtype": "fp16", "op": "softmax", "rows": heads * queries, "cols": keys},
        "LayerNorm_MHA": {**wide, "op": "layernorm"},
        "LayerNorm_FFN": {**wide, "op": "layernorm"},
        "GeLU": {**wide, "op": "gelu", "cols": 4 * share},
        "AllReduce_MHA": reduce,
        "AllReduce_FFN": reduce,
    }
