"""AttAcc's whole systems: a row becomes a model, an architecture and a policy, and is evaluated.

The authors' simulator counts decoder layers alone, without embedding, head and rotation of
positions, and checks no capacity; so those operators of a result are summed that it has, and
memories are as large as a row needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from accelsim.errors import AccelsimError
from accelsim.evaluation import evaluate
from accelsim.measure.cases._pim_parts import Answer, Row, whole
from accelsim.result import OperatorRecord, Result

__all__ = ["answer"]

_DEVICES: Final = 8
_UNBOUNDED: Final = "2560 GiB"  # of each memory: the authors' simulator checks no capacity

# The authors' `src/config.py`: name -> library model, layers, width, heads.
_MODELS: Final[Mapping[str, tuple[str, int, int, int]]] = {
    "GPT-13B": ("gpt3-175b", 40, 5120, 40),
    "GPT-89B": ("gpt3-175b", 48, 12288, 96),
    "GPT-175B": ("gpt3-175b", 96, 12288, 96),
    "OPT-66B": ("gpt3-175b", 64, 9216, 72),
    "MT-76B": ("gpt3-175b", 60, 10240, 40),
    "MT-310B": ("gpt3-175b", 96, 16384, 128),
    "MT-530B": ("gpt3-175b", 105, 20480, 128),
    "MT-1008B": ("gpt3-175b", 128, 25600, 160),
    "LLAMA-7B": ("llama2-7b", 32, 4096, 32),
    "LLAMA-65B": ("llama2-7b", 80, 8192, 64),
}
# Their SwiGLU is 8/3 of the width; LLaMA's own, a little wider, divides among the devices.
_GATED: Final[Mapping[str, int]] = {"LLAMA-7B": 11008, "LLAMA-65B": 22016}
_FORMATS: Final[Mapping[str, str]] = {"1": "int8", "2": "fp16"}

# (GPU, placement of the units, power limit) -> architecture; without units the GPUs alone.
_SYSTEMS: Final[Mapping[tuple[str, str, str], str]] = {
    ("A100a", "", ""): "dgx-a100a",
    ("A100a", "bank", "1"): "attacc",
    ("A100a", "bank", "0"): "attacc-unlimited",
    ("A100a", "bg", "1"): "attacc-bank-group",
    ("A100a", "bg", "0"): "attacc-bank-group-unlimited",
    ("A100a", "buffer", "1"): "attacc-buffer",
    ("A100a", "buffer", "0"): "attacc-buffer",  # the pins' pace is below either limit
    ("H100", "", ""): "dgx-h100",
    ("H100", "bank", "1"): "attacc-h100",
}

_LEFT_OUT: Final = "rope"  # operators of a layer that the authors do not have
_ATTENTION: Final = "attention"  # in one kernel, or its products under such a name
_LINKS: Final = frozenset({"collective"})
_VECTORS: Final = frozenset({"norm", "elementwise"})


@lru_cache(maxsize=64)
def _result(
    model: str, arch: str, mapping: str, phase: str, batch: int, seq_len: int,
    overrides: tuple[tuple[str, Any], ...],
) -> Result:  # fmt: skip
    return evaluate(
        model, arch, mapping, phase=phase, batch=batch, seq_len=seq_len, overrides=dict(overrides)
    )


def answer(row: Row) -> Answer:
    """Return group, prediction and reason for one figure of a whole system.

    Parameters
    ----------
    row : mapping
        A row of level ``e2e_decode``.  A figure of a decode step is the mean over the steps from
        `lin` + 1 to `lin` + `lout` - 1 tokens; time is linear in them, so one step at their mean
        stands for all.
    """
    group = f"attacc system {row['metric']}"
    figure = _FIGURES.get(row["metric"])
    if figure is None:
        return group, None, f"unknown figure `{row['metric']}` of a system"
    arch = _SYSTEMS.get((row["gpu"], row["pim"], row["power_limited"]))
    if row["model"] not in _MODELS or row["bytes_per_elem"] not in _FORMATS:
        return group, None, f"no model for `{row['model']}`, {row['bytes_per_elem']} bytes"
    if arch is None or not row["system"].endswith(f" x{_DEVICES}"):
        return group, None, f"no architecture for `{row['system']}`, `{row['gpu']}`"
    try:
        return group, figure(_evaluated(row, arch)), ""
    except AccelsimError as error:
        return group, None, str(error)


def _model(name: str) -> tuple[str, dict[str, Any]]:
    """Return the library's model that stands for one of the authors', and its overrides."""
    base, layers, width, heads = _MODELS[name]
    sizes = {
        "num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads,
        "intermediate_size": _GATED.get(name, 4 * width),
    }  # fmt: skip
    if name in _GATED:
        sizes["num_key_value_heads"] = heads
    return base, {f"model.parameters.{key}": size for key, size in sizes.items()}


def _evaluated(row: Row, arch: str) -> Result:
    name, overrides = _model(row["model"])
    form = _FORMATS[row["bytes_per_elem"]]
    for part in ("weight", "activation", "kv_cache"):
        overrides[f"model.dtypes.{part}"] = form
    overrides["mapping.partition.tensor"] = _DEVICES
    overrides["arch.device.memories.hbm.capacity_bytes"] = _UNBOUNDED
    mapping = "roofline-best"
    if row["pim"]:
        overrides["arch.device.memories.attacc.capacity_bytes"] = _UNBOUNDED
        mapping = "gpu-pim-coprocess" if row["ff_opt"] == "1" else "gpu-pim"
        overrides["mapping.pipeline_heads"] = row["pipe_opt"] == "1"
    lin, lout = whole(row["lin"]), whole(row["lout"])
    phase, seq_len = "decode", lin + lout // 2 - 1  # the new token attends itself too
    if row["metric"] == "prefill_time":
        phase, seq_len = "prefill", lin
    if phase == "prefill" or not row["pim"]:  # three kernels, scores to memory and back
        overrides["mapping.attention"] = "unfused"
    if row["metric"] == "energy_per_step":
        # The authors charge the GPU with all feed-forward weights, also those that memory
        # multiplies, and a register the same for an operand of any width.
        mapping = "gpu-pim" if row["pim"] else mapping
        overrides["arch.device.units.sm.energy.register_pj_per_bit"] = (
            f"0.0675 / {8 * int(row['bytes_per_elem'])}"
        )
    return _result(
        name, arch, mapping, phase, whole(row["batch"]), seq_len, tuple(overrides.items())
    )


def _layers(result: Result) -> list[OperatorRecord]:
    return [r for r in result.operators if r.block == "layers" and _LEFT_OUT not in r.name]


def _milliseconds(result: Result, kinds: frozenset[str] | None = None) -> float:
    """Return the layers' time on the critical path."""
    chosen = (r for r in _layers(result) if kinds is None or r.kind in kinds)
    return 1e3 * float(sum(r.critical_s for r in chosen))


def _attends(record: OperatorRecord) -> bool:
    """Return whether an operator is an attention, or a product of one in three kernels."""
    return record.kind == _ATTENTION or (
        record.kind == "matmul" and record.name.startswith(f"{_ATTENTION}.")
    )


def _attention(result: Result) -> float:
    """Return the attention's own time (ms), of which head-level pipelining hides a part."""
    return 1e3 * sum(r.count * r.compute_s for r in _layers(result) if _attends(r))


def _products(result: Result) -> float:
    """Return the products' time (ms) without what runs beside attention, as the authors do."""
    return _milliseconds(result, frozenset({"matmul", _ATTENTION})) - _attention(result)


def _energy(result: Result) -> float:
    """Return the dynamic energy of the layers over all devices, mJ."""
    return _DEVICES * sum(r.count * r.energy_pj for r in _layers(result)) / 1e9


_FIGURES: Final[Mapping[str, Callable[[Result], float]]] = {
    "token_latency": _milliseconds,
    "prefill_time": _milliseconds,
    "throughput": lambda result: 1e3 * result.tokens / _milliseconds(result),
    "attention_time": _attention,
    "fc_time": _products,
    "comm_time": lambda result: _milliseconds(result, _LINKS),
    "etc_time": lambda result: _milliseconds(result, _VECTORS),
    "energy_per_step": _energy,
}
