"""Measured GPU operator latencies, one operator per row, against the GPU kernel model.

Rows name their board, campaign and clock; a board that no component file lists, or an operator
that the model does not have, is counted as unsupported with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from accelsim.cost import Work
from accelsim.measure.cases._case import Case
from accelsim.measure.gpus import board, boards

__all__ = ["COLUMNS", "NAME", "OVERHEAD_US", "predict"]

NAME: Final = "GPU operator latencies"
"""What the format is called in reports."""

COLUMNS: Final = frozenset(
    {
        "source", "gpu", "dtype", "op", "m", "n", "k", "rows", "batch", "heads", "q_len",
        "kv_len", "latency_us", "timing", "bytes_min", "flag",
    }
)  # fmt: skip
"""Columns that identify the format."""

OVERHEAD_US: Final[Mapping[tuple[str, str], Mapping[str, float]]] = {
    # Kernel time only: nothing to add.
    ("vidur", "kernel"): {},
    ("llmservingsim", "kernel"): {},
    # Replay of one operator from a graph. The smallest product takes 2.4 us, less than the model's
    # own; the smallest attention 10 to 14 us, of which about 4 us is the kernel.
    ("aiconfigurator", "cuda_graph"): {"attention_prefill": 8.0, "attention_decode": 8.0},
    # One eager call between two events: the smallest operators seen on A100 take 25 us
    # (elementwise), 30 us (bmm) and 52 us (linear with bias), less the kernel's own 2 or 4 us.
    ("neusight", "cuda_event_eager"): {
        "gemm": 48.0, "bmm": 26.0, "elementwise": 23.0, "gelu": 23.0, "softmax": 23.0,
        "layernorm": 43.0,
    },
    # Host clock around call and synchronise: the constants that LLMCompass itself adds
    # (hardware_model/compute_module.py, A100: matmul, softmax, layer norm, GELU).
    ("llmcompass", "wallclock_sync"): {
        "gemm": 21.0, "bmm": 21.0, "softmax": 12.0, "layernorm": 45.0, "gelu": 45.0,
    },
}  # fmt: skip
"""(source, clock) -> operator -> microseconds that the clock adds to the kernel.

Taken from the smallest latencies that each campaign shows, never fitted per GPU or operator size.
"""

# Format in the table -> format multiplied in, bits of activations, of weights.
_FORMATS: Final[Mapping[str, tuple[str, int, int]]] = {
    "fp32": ("fp32", 32, 32), "fp16": ("fp16", 16, 16), "bf16": ("bf16", 16, 16),
    "fp8": ("fp8", 8, 8), "int8": ("int8", 8, 8), "sq_int8": ("int8", 8, 8),
    "int8_wo": ("bf16", 16, 8), "nvfp4": ("nvfp4", 4, 4),
}  # fmt: skip

_VECTOR_KINDS: Final[Mapping[str, str]] = {
    "softmax": "softmax", "layernorm": "norm", "rmsnorm": "norm", "gelu": "elementwise",
    "elementwise": "elementwise", "silu_mul": "elementwise", "rope": "elementwise",
    "embedding": "gather",
}  # fmt: skip

_NOT_MODELLED: Final[Mapping[str, str]] = {
    "conv": "convolution: Winograd and FFT kernels do fewer operations than counted",
    "attention_mixed": "prefill and decode sequences in one kernel",
    "rnn": "recurrent networks",
    "sampler": "sampling",
}


def predict(rows: Sequence[dict[str, str]]) -> list[Case]:
    """Return one case per row: latency in us, kernel and what its clock adds.

    Parameters
    ----------
    rows : sequence of dict
        Column -> text, at least `COLUMNS`.
    """
    return [_case(number, row) for number, row in enumerate(rows)]


def _case(number: int, row: Mapping[str, str]) -> Case:
    source, name, op = row["source"], row["gpu"], row["op"]
    expected = float(row["latency_us"])
    label = f"{number}: {op} {_shape(row)}".rstrip()
    group = f"{op} {row['dtype']}, {name}, {source}"
    reason = _reason(row)
    if reason:
        return Case(label, group, "latency_us", expected, None, reason)
    gpu, bandwidth = board(name)
    kernels = _KERNELS.get(op, _vector)(row)
    refused = next((reason for work in kernels if (reason := gpu.refusal(work))), "")
    if refused:
        return Case(label, group, "latency_us", expected, None, refused)
    added = OVERHEAD_US[source, row["timing"]].get(op, 0.0)
    if added > expected / 2:
        group += ", mostly launch"
    kernel_us = sum(gpu.run(work, bandwidth).compute_ps for work in kernels) / 1e6
    return Case(label, group, "latency_us", expected, added + kernel_us)


def _reason(row: Mapping[str, str]) -> str:
    """Return why the row has no prediction, before the GPU itself is asked."""
    op, clock = row["op"], (row["source"], row["timing"])
    if row["gpu"] not in boards():
        return f"no component file lists the board {row['gpu']}"
    if op in _NOT_MODELLED:
        return _NOT_MODELLED[op]
    if op not in _KERNELS and op not in _VECTOR_KINDS:
        return f"{op} is not a GPU operator"
    if op == "moe" and row.get("subop", "").startswith("power_law"):
        return "experts of unequal load, whose loads the row does not tell"
    if row["dtype"] not in _FORMATS:
        return f"number format {row['dtype']}"
    if clock not in OVERHEAD_US:
        return f"what the clock of {clock[0]} ({clock[1]}) adds to a kernel is not known"
    if row["flag"] == "cache_resident":
        return "operands stay in the last-level cache between repeats"
    return ""


def _shape(row: Mapping[str, str]) -> str:
    names = ("b", "m", "n", "k", "rows", "cols", "batch", "heads", "q_len", "kv_len")
    return "x".join(row[name] for name in names if row.get(name))


def _whole(row: Mapping[str, str], name: str, default: int = 1) -> int:
    text = row.get(name, "")
    return int(float(text)) if text else default


def _product(row: Mapping[str, str]) -> list[Work]:
    return [_matmul(row["dtype"], *(_whole(row, name) for name in ("b", "m", "n", "k")))]


def _matmul(format_: str, batch: int, m: int, n: int, k: int) -> Work:
    dtype, bits_a, bits_b = _FORMATS[format_]
    bits_c = max(bits_a, 16)
    return Work(
        "matmul", dtype=dtype, batch=batch, m=m, n=n, k=k,
        bits_a=bits_a, bits_b=bits_b, bits_c=bits_c, macs=batch * m * n * k,
        weight_bytes=batch * n * k * bits_b // 8, input_bytes=batch * m * k * bits_a // 8,
        output_bytes=batch * m * n * bits_c // 8,
    )  # fmt: skip


def _experts(row: Mapping[str, str]) -> list[Work]:
    """Return the two products and the activation of equally loaded experts on one device."""
    hidden, inter = _whole(row, "hidden"), _whole(row, "inter") // _whole(row, "tp")
    local = max(1, _whole(row, "experts") // _whole(row, "ep"))
    routed = max(1, _whole(row, "rows") * _whole(row, "topk") // _whole(row, "ep"))
    active = _whole(row, "active_experts", min(local, routed))
    each, dtype = -(-routed // active), row["dtype"]
    gated = 3 * routed * inter * 2  # gate and up read, product written, 16 bits each
    return [
        _matmul(dtype, active, each, 2 * inter, hidden),
        Work("elementwise", "silu_mul", input_bytes=gated),
        _matmul(dtype, active, each, hidden, inter),
    ]


def _attention(row: Mapping[str, str]) -> list[Work]:
    names = ("batch", "heads", "kv_heads", "q_len", "kv_len", "head_dim")
    batch, heads, kv_heads, q_len, kv_len, width = (_whole(row, name) for name in names)
    dtype, bits, _ = _FORMATS[row["dtype"]]
    queries, keys = batch * heads * q_len * width, batch * kv_heads * kv_len * width
    work = Work(
        "attention", dtype=dtype, batch=batch, bits_a=bits, bits_b=bits, bits_c=bits,
        heads=heads, kv_heads=kv_heads, q_len=q_len, kv_len=kv_len,
        head_dim=width, value_dim=width, causal=_whole(row, "causal", 0) == 1,
        kv_bytes=2 * keys * bits // 8, input_bytes=queries * bits // 8,
        output_bytes=queries * bits // 8, macs=2 * queries * kv_len,
    )  # fmt: skip
    return [work]


def _vector(row: Mapping[str, str]) -> list[Work]:
    size = _whole(row, "bytes_min")  # each operand once, as the table states it
    operations = _whole(row, "flops", 0)
    return [Work(_VECTOR_KINDS[row["op"]], row["op"], input_bytes=size, vector_ops=operations)]


_KERNELS: Final[Mapping[str, Callable[[Mapping[str, str]], list[Work]]]] = {
    "moe": _experts,
    "gemm": _product,
    "bmm": _product,
    "attention_prefill": _attention,
    "attention_decode": _attention,
}
