"""Reads the layer profiles behind LLMServingSim: vLLM's in us, and the older ones of v0.

Times are of GPU kernels by module of one tensor-parallel shard; shapes come from the model
configurations of the same checkout.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from accelsim.errors import ConfigError, Location
from accelsim.measure.imports._files import integers, matches, numbers, read_csv, refuse
from accelsim.measure.imports._table import Imported, combine, part
from accelsim.measure.imports.vidur import prefill_attention

__all__ = ["read"]

_LAYOUT: Final = (
    "profiler/perf/GPU/ORG/MODEL/VARIANT/tpN/{dense,per_sequence,attention,moe}.csv, "
    "profiler/v0/perf_models/GPU/ORG/MODEL/**/{layers,attention}.csv and "
    "configs/model/ORG/MODEL.json"
)
# Which H100 v0 profiled is not said; the SXM part is taken.
_BOARDS: Final = {
    "RTXPRO6000": "RTXPRO6000", "RTX4090": "RTX4090", "RTX3090": "RTX3090", "A6000": "A6000",
    "H100": "H100-SXM5-80GB",
}  # fmt: skip
_NOT_A_GPU: Final = "TPU"
_NEW: Final = {"impl": "vllm-0.19", "stat": "mean", "timing": "kernel"}
_OLD: Final = {"impl": "hf-torch", "stat": "median", "timing": "kernel", "dtype": "fp16"}
_REMARKS: Final = {
    "layernorm": "; mean of plain and fused-residual RMSNorm",
    "final_layernorm": "; fused residual add",
    "qk_norm": "; mean of q_norm and k_norm calls, rows over-counted",
}
_VARIANTS: Final = ("bf16", "fp16", "fp8")


def read(folder: Path) -> Imported:
    """Return the measurements of a checkout of LLMServingSim.

    Left out and counted: v0's decode attention (its kv_cache_size is the total of a batch) and
    its layers other than products, and profiles of TPUs, whose weights stay on chip.

    Raises
    ------
    ConfigError
        If the folder holds none of the files, a model has no configuration, or a file is not in
        the expected form.
    """
    patterns = (
        r"profiler/perf/([^/]+)/([^/]+/[^/]+)/([^/]+)/tp(\d+)/(dense|per_sequence|attention|moe)\.csv",
        r"v0/perf_models/([^/]+)/([^/]+/[^/]+)/(?:.+/)?(layers|attention)\.csv",
    )
    found = matches(folder, patterns, "LLMServingSim", _LAYOUT)
    parts: list[pd.DataFrame] = []
    dropped: dict[str, int] = {}
    for path, match in found:
        name, model = match[1], match[2]
        if name.startswith(_NOT_A_GPU):
            _count(dropped, "files of TPUs, whose weights stay on chip between calls", 1)
            continue
        if name not in _BOARDS:
            raise ConfigError(f"`{name}` is no known board", Location(str(path)),
                              hint=f"one of {', '.join(_BOARDS)}")  # fmt: skip
        board, config = _BOARDS[name], _configuration(path, model)
        if match.lastindex == 3:
            parts.append(_old(path, match[3], board, model, config, dropped))
        else:
            variant, tp, kind = match[3], int(match[4]), match[5]
            if variant not in _VARIANTS:
                raise ConfigError(f"unknown variant `{variant}`", Location(str(path)),
                                  hint=f"one of {', '.join(_VARIANTS)}")  # fmt: skip
            common = {"gpu": board, "dtype": variant, "tp": tp, **_NEW}
            parts.append(_READERS[kind](path, model, config, common, dropped))
    return combine(parts, source="llmservingsim", files=len(found), dropped=dropped)


def _count(dropped: dict[str, int], reason: str, rows: int) -> None:
    dropped[reason] = dropped.get(reason, 0) + rows


def _configuration(path: Path, model: str) -> Mapping[str, int]:
    """Return the dimensions of a model from configs/model of the checkout that holds `path`."""
    top = next(p for p in path.absolute().parents if p.name == "profiler").parent
    file = top / "configs" / "model" / f"{model}.json"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} needs the shapes of {model}", Location(str(file)),
                          hint="point to the whole checkout") from None  # fmt: skip
    except ValueError as error:
        line = getattr(error, "lineno", 0)
        raise ConfigError("no JSON", Location(str(file), line), hint=str(error)) from None
    return _Dimensions(data if isinstance(data, dict) else {}, file)


class _Dimensions(dict[str, int]):
    """Dimensions under short names; one that the file lacks is an error that names it."""

    _KEYS: Final = {
        "hidden": ("hidden_size",), "heads": ("num_attention_heads",),
        "kv_heads": ("num_key_value_heads", "num_attention_heads"),
        "inner": ("intermediate_size",),
        "vocab": ("vocab_size",), "expert": ("moe_intermediate_size", "intermediate_size"),
        "experts": ("num_experts", "num_local_experts"), "topk": ("num_experts_per_tok",),
        "head_dim": ("head_dim",),
    }  # fmt: skip

    def __init__(self, data: Mapping[str, Any], file: Path) -> None:
        self._file = file
        found = {
            name: data[key]
            for name, keys in self._KEYS.items()
            for key in reversed(keys)
            if isinstance(data.get(key), int)
        }
        if "head_dim" not in found and found.get("heads"):
            found["head_dim"] = found.get("hidden", 0) // found["heads"]
        super().__init__(found)

    def __missing__(self, name: str) -> int:
        keys = self._KEYS[name]
        raise ConfigError(f"no `{keys[0]}`", Location(str(self._file)), path=keys[0],
                          hint="a whole number, as in Hugging Face configurations")  # fmt: skip


def _shape(layer: str, rows: Any, config: Mapping[str, int], tp: int) -> dict[str, Any]:
    """Return operator and dimensions of a layer on one of `tp` shards; empty if unknown."""
    width, heads, kv_heads = config["head_dim"], config["heads"] // tp, config["kv_heads"] // tp
    product = {"op": "gemm", "m": rows}
    norm = {"op": "rmsnorm", "rows": rows, "cols": config["hidden"]}
    match layer:
        case "embedding":
            return {"op": "embedding", "rows": rows, "cols": config["hidden"]}
        case "layernorm" | "final_layernorm":
            return norm
        case "qk_norm":
            return {**norm, "rows": rows * (heads + kv_heads), "cols": width}
        case "rotary_emb":
            return {"op": "rope", "rows": rows, "heads": heads, "kv_heads": kv_heads,
                    "head_dim": width}  # fmt: skip
        case "qkv_proj":
            return {**product, "n": (heads + 2 * kv_heads) * width, "k": config["hidden"]}
        case "q_proj":
            return {**product, "n": heads * width, "k": config["hidden"]}
        case "k_proj" | "v_proj":
            return {**product, "n": kv_heads * width, "k": config["hidden"]}
        case "o_proj":
            return {**product, "n": config["hidden"], "k": heads * width}
        case "gate_up_proj":
            return {**product, "n": 2 * config["inner"] // tp, "k": config["hidden"]}
        case "gate_proj" | "up_proj":
            return {**product, "n": config["inner"] // tp, "k": config["hidden"]}
        case "down_proj":
            return {**product, "n": config["hidden"], "k": config["inner"] // tp}
        case "act_fn":
            return {"op": "silu_mul", "rows": rows, "cols": config["inner"] // tp}
        case "lm_head":
            return {**product, "n": config["vocab"] // tp, "k": config["hidden"]}
        case "sampler":
            return {"op": "sampler", "rows": rows, "cols": config["vocab"]}
        case _:
            return {}


def _by_layer(
    path: Path, model: str, config: Mapping[str, int], common: Mapping[str, Any],
    dropped: dict[str, int],
) -> pd.DataFrame:  # fmt: skip
    """Read dense.csv (rows are tokens) or per_sequence.csv (rows are sequences)."""
    size = "tokens" if path.stem == "dense" else "sequences"
    frame = read_csv(path, ("layer", size, "time_us"))
    count, times = integers(frame, path, size), numbers(frame, path, "time_us")
    parts = []
    for layer, lines in frame.groupby("layer", sort=False).groups.items():
        shape = _shape(str(layer), count[lines], config, common["tp"])
        if not shape:
            _count(dropped, f"layers `{layer}`, which have no counterpart here", len(lines))
            continue
        notes = model + _REMARKS.get(str(layer), "")
        parts.append(
            part(lines, subop=layer, notes=notes, latency_us=times[lines], **shape, **common)
        )
    return pd.concat(parts) if parts else pd.DataFrame()


def _attention(
    path: Path, model: str, config: Mapping[str, int], common: Mapping[str, Any],
    dropped: dict[str, int],
) -> pd.DataFrame:  # fmt: skip
    """Read one prefill chunk together with requests that decode, either of which may be absent."""
    columns = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
    frame = read_csv(path, (*columns, "time_us"))
    chunk, past, decoding, seen = (integers(frame, path, name) for name in columns)
    only, mixed = (chunk == 0) & (decoding > 0), (chunk > 0) & (decoding > 0)
    idle = int(((chunk == 0) & (decoding == 0)).sum())
    if idle:
        _count(dropped, "attention without a request", idle)
    op = pd.Series("attention_prefill", index=frame.index)
    op = op.mask(only, "attention_decode").mask(mixed, "attention_mixed")
    rows = part(
        frame.index, op=op, notes=model, causal=1, batch=decoding.where(only, 1),
        heads=config["heads"] // common["tp"], kv_heads=config["kv_heads"] // common["tp"],
        head_dim=config["head_dim"], q_len=chunk.where(~only, 1),
        kv_len=(past + chunk).where(~only, seen), n_decode=decoding,
        kv_decode=seen.where(decoding > 0, 0), latency_us=numbers(frame, path, "time_us"),
        **common,
    )  # fmt: skip
    return rows[(chunk > 0) | (decoding > 0)]


def _experts(
    path: Path, model: str, config: Mapping[str, int], common: Mapping[str, Any],
    dropped: dict[str, int],
) -> pd.DataFrame:  # fmt: skip
    frame = read_csv(path, ("tokens", "activated_experts", "time_us"), optional=("ep",))
    ep = {"ep": integers(frame, path, "ep")} if "ep" in frame else {}
    return part(
        frame.index, op="moe", notes=model, rows=integers(frame, path, "tokens"),
        active_experts=integers(frame, path, "activated_experts"), hidden=config["hidden"],
        inter=config["expert"], experts=config["experts"], topk=config["topk"],
        latency_us=numbers(frame, path, "time_us"), **ep, **common,
    )  # fmt: skip


_READERS: Final = {
    "dense": _by_layer, "per_sequence": _by_layer, "attention": _attention, "moe": _experts,
}  # fmt: skip


def _old(
    path: Path, kind: str, board: str, model: str, config: Mapping[str, int],
    dropped: dict[str, int],
) -> pd.DataFrame:  # fmt: skip
    """Read a v0 profile: layers in ns, attention in vidur's form in ms."""
    notes = f"{model}; v0 profile"
    if kind == "attention":
        rows, decoding = prefill_attention(
            path, gpu=board, impl="flash-attn-2", notes=notes, with_tp=True
        )
        _count(dropped, "decode attention of v0, whose kv_cache_size is a batch's total", decoding)
        return rows
    frame = read_csv(path, ("layer_name", "input", "tp_size", "latency(ns)"))
    count, tp = integers(frame, path, "input"), integers(frame, path, "tp_size")
    times = numbers(frame, path, "latency(ns)") * 1e-3
    parts = []
    refuse((tp < 1).to_numpy(), frame, path, "tp_size", "at least 1")
    layers = frame["layer_name"].astype(str)
    for layer, ranks in dict.fromkeys(zip(layers, tp, strict=True)):
        lines = frame.index[(layers == layer) & (tp == ranks)]
        shape = _shape(layer, count[lines], config, int(ranks))
        if shape.get("op") != "gemm" or layer == "lm_head":
            _count(dropped, "layers of v0 other than a block's products", len(lines))
            continue
        parts.append(part(lines, gpu=board, subop=layer, tp=int(ranks), notes=notes,
                          latency_us=times[lines], **shape, **_OLD))  # fmt: skip
    return pd.concat(parts) if parts else pd.DataFrame()
