"""Reads vidur's profiles of layers and of collectives.

Times are sums of CUDA kernel durations in ms with a resolution of 1 us, median of 20, fp16, of
one tensor-parallel shard, so neither launches nor communication are inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from accelsim.errors import ConfigError, Location
from accelsim.measure.imports._files import integers, matches, numbers, read_csv, refuse
from accelsim.measure.imports._table import Imported, combine, part

__all__ = ["prefill_attention", "read"]

_LAYOUT: Final = (
    "data/profiling/compute/GPU/ORG/MODEL/{mlp,attention}.csv and "
    "data/profiling/network/SYSTEM/{all_reduce,send_recv}.csv"
)
# The A100 is a PCIe part (Azure NC96ads, its docs); that the H100 is an SXM one is inferred
# from the 132 multiprocessors that steps of its GEMM times show.
_BOARDS: Final = {"a100": "A100-PCIe-80GB", "a40": "A40", "h100": "H100-SXM5-80GB"}
_BIASED: Final = {"microsoft/phi-2": "bias", "Qwen/Qwen-72B": "qkv_bias"}
"""Models whose products add a bias (vidur/profiling/common/model_config.py)."""
_SHAPE: Final = (
    "n_head", "n_kv_head", "n_embd", "n_expanded_embd", "use_gated_mlp", "num_tokens",
    "num_tensor_parallel_workers",
)  # fmt: skip
_TIMED: Final = (
    "emb", "input_layernorm", "attn_pre_proj", "attn_rope", "attn_post_proj",
    "post_attention_layernorm", "mlp_up_proj", "mlp_act", "mlp_down_proj", "add",
)  # fmt: skip
_CLOCK: Final = {"dtype": "fp16", "stat": "median", "timing": "kernel"}
_IMPL: Final = "sarathi/torch"
_STATS: Final = {"latency_us": "median", "lat_min_us": "min", "lat_std_us": "std"}


def read(folder: Path) -> Imported:
    """Return the measurements of a checkout of vidur.

    Raises
    ------
    ConfigError
        If the folder holds none of the files, or a file is not in the expected form.
    """
    patterns = (r"compute/([^/]+)/([^/]+/[^/]+)/(mlp|attention)\.csv",
                r"network/([^/]+)/(all_reduce|send_recv)\.csv")  # fmt: skip
    found = matches(folder, patterns, "vidur", _LAYOUT)
    parts: list[pd.DataFrame] = []
    dropped: dict[str, int] = {}
    copies = _copied([path for path, match in found if match[2] == "send_recv"])
    for path, match in found:
        board = _board(path, match[1])
        if match.lastindex == 2:
            rows = _collective(path, board, match[1])
            if path in copies:
                dropped["send_recv of an A100 that is another board's file"] = len(rows)
            else:
                parts.append(rows)
        elif match[3] == "mlp":
            parts += _layers(path, board, match[2])
        else:
            rows, decoding = prefill_attention(path, gpu=board, impl=_IMPL, notes=match[2])
            parts.append(rows)
            reason = "decode attention whose kv_cache_size may be of the whole batch"
            dropped[reason] = dropped.get(reason, 0) + decoding
    return combine(parts, source="vidur", files=len(found), dropped=dropped)


def _board(path: Path, folder: str) -> str:
    """Return the board of a folder of compute or network profiles; DGX machines have SXM parts."""
    name, _, system = folder.partition("_")
    if name not in _BOARDS:
        raise ConfigError(f"`{folder}` is no known board", Location(str(path)),
                          hint=f"folders begin with {', '.join(_BOARDS)}")  # fmt: skip
    return "A100-SXM4-80GB" if (name, system) == ("a100", "dgx") else _BOARDS[name]


def _copied(paths: list[Path]) -> set[Path]:
    """Return the A100 files that are byte for byte another board's.

    At commit 7d47513 the pairwise A100 file is the H100's: 343 GB/s on a 300 GB/s link.
    """
    contents: dict[bytes, list[Path]] = {}
    for path in paths:
        contents.setdefault(path.read_bytes(), []).append(path)
    return {
        path
        for same in contents.values()
        if len({p.parent.name.partition("_")[0] for p in same}) > 1
        for path in same
        if path.parent.name.startswith("a100")
    }


def _times(frame: pd.DataFrame, path: Path, name: str) -> dict[str, pd.Series[float]]:
    return {
        column: numbers(frame, path, f"time_stats.{name}.{stat}") * 1e3
        for column, stat in _STATS.items()
    }


def _layers(path: Path, board: str, model: str) -> list[pd.DataFrame]:
    """Return the rows of one mlp.csv, an operator after the other."""
    columns = {name: [f"time_stats.{name}.{stat}" for stat in _STATS.values()] for name in _TIMED}
    # A model without rotary embedding or second norm (a parallel block) has no time for them.
    sometimes = {"attn_rope", "post_attention_layernorm", "emb"}
    frame = read_csv(
        path, [*_SHAPE, *(c for n in _TIMED if n not in sometimes for c in columns[n])],
        optional=[c for n in sometimes for c in columns[n]],
    )  # fmt: skip
    parts = []
    for name, shape in _shapes(frame, path).items():
        if not set(columns[name]) <= set(frame.columns):
            continue
        rows = frame[frame[columns[name][0]].notna()] if name in sometimes else frame
        if rows.empty:
            continue
        fixed = {key: value[rows.index] if isinstance(value, pd.Series) else value
                 for key, value in shape.items()}  # fmt: skip
        biased = model in _BIASED and name.endswith("_proj")
        notes = f"{model}; {_BIASED[model]}" if biased else model
        times = _times(rows, path, name)
        parts.append(
            part(rows.index, gpu=board, impl=_IMPL, notes=notes, **fixed, **times, **_CLOCK)
        )
    return parts


def _shapes(frame: pd.DataFrame, path: Path) -> Mapping[str, dict[str, Any]]:
    """Return operator and dimensions of each timed step on one of the parallel workers."""
    heads, kv_heads, hidden, inner, tokens, tp = (
        integers(frame, path, name)
        for name in ("n_head", "n_kv_head", "n_embd", "n_expanded_embd", "num_tokens",
                     "num_tensor_parallel_workers")
    )  # fmt: skip
    for name, values in (("n_head", heads), ("num_tensor_parallel_workers", tp)):
        refuse((values == 0).to_numpy(), frame, path, name, "at least 1")
    gated = frame["use_gated_mlp"].astype(str).str.lower() == "true"
    width = hidden // heads
    second = "time_stats.post_attention_layernorm.median"
    parallel = second not in frame or frame[second].isna().all()
    product: dict[str, Any] = {"op": "gemm", "m": tokens}
    norm: dict[str, Any] = {"op": "layernorm" if parallel else "rmsnorm", "rows": tokens,
                            "cols": hidden}  # fmt: skip
    return {
        "emb": {"op": "embedding", "rows": tokens, "cols": hidden},
        "input_layernorm": norm,
        "attn_pre_proj": {**product, "n": (heads + 2 * kv_heads) * width // tp, "k": hidden},
        "attn_rope": {"op": "rope", "rows": tokens, "heads": heads // tp,
                      "kv_heads": kv_heads // tp, "head_dim": width},
        "attn_post_proj": {**product, "n": hidden, "k": heads * width // tp},
        "post_attention_layernorm": norm,
        "mlp_up_proj": {**product, "n": (1 + gated.astype(int)) * inner // tp, "k": hidden},
        "mlp_act": {"op": gated.map({True: "silu_mul", False: "gelu"}), "rows": tokens,
                    "cols": inner // tp},
        "mlp_down_proj": {**product, "n": hidden, "k": inner // tp},
        # The parallel block adds attention, feed-forward and residual at once.
        "add": {"op": "elementwise", "subop": "add3" if parallel else "add", "rows": tokens,
                "cols": hidden},
    }  # fmt: skip


def prefill_attention(
    path: Path, *, gpu: str, impl: str, notes: str, with_tp: bool = False
) -> tuple[pd.DataFrame, int]:
    """Return the prefill rows of an attention profile in vidur's form, and how many decode.

    Parameters
    ----------
    path : Path
        attention.csv, times in ms.
    gpu, impl, notes : str
        Common columns.
    with_tp : bool, optional
        Whether to state the tensor-parallel degree, of which the row is one shard.

    Notes
    -----
    ``kv_cache_size`` counts the keys before the chunk, so the last query sees
    ``kv_cache_size + prefill_chunk_size``.
    """
    shape = ("n_embd", "n_q_head", "n_kv_head", "num_tensor_parallel_workers", "batch_size",
             "prefill_chunk_size", "kv_cache_size", "is_prefill")  # fmt: skip
    timed = [f"time_stats.attn_prefill.{stat}" for stat in _STATS.values()]
    frame = read_csv(path, [*shape, *timed])
    prefill = frame["is_prefill"].astype(str).str.lower() == "true"
    rows = frame[prefill]
    hidden, heads, kv_heads, tp, batch, chunk, past = (
        integers(rows, path, name) for name in shape[:-1]
    )
    for name, values in (("n_q_head", heads), ("num_tensor_parallel_workers", tp)):
        refuse((values == 0).to_numpy(), rows, path, name, "at least 1")
    parallel = {"tp": tp} if with_tp else {}
    found = part(
        rows.index, gpu=gpu, op="attention_prefill", impl=impl, notes=notes, causal=1,
        batch=batch, heads=heads // tp, kv_heads=kv_heads // tp, head_dim=hidden // heads,
        q_len=chunk, kv_len=past + chunk, **parallel, **_times(rows, path, "attn_prefill"),
        **_CLOCK,
    )  # fmt: skip
    return found, int((~prefill).sum())


def _collective(path: Path, board: str, system: str) -> pd.DataFrame:
    """Return the rows of one collective; its size column is in bytes."""
    name = path.stem
    columns = ("num_workers", "size", "devices_per_node")
    timed = [f"time_stats.{name}.{stat}" for stat in _STATS.values()]
    frame = read_csv(path, [*columns, *timed])
    ranks, size, per_node = (integers(frame, path, column) for column in columns)
    machine = "NVSwitch DGX" if system.endswith("dgx") else "pairwise NVLink + PCIe"
    crosses = ranks > per_node
    notes = machine + "; " + per_node.astype(str) + " per node"
    return part(
        frame.index, gpu=board, op=name.replace("all_reduce", "allreduce"), impl="nccl",
        subop=crosses.map({True: "inter_node", False: "intra_node"}), bytes=size, n_devices=ranks,
        notes=notes.where(~crosses, notes + "; crosses nodes"),
        **_times(frame, path, name), **_CLOCK,
    )  # fmt: skip
