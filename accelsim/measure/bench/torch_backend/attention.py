"""Attention by torch's fused kernels, each chosen by name, and by separate operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Final

import torch
from torch.nn import functional

from accelsim.measure.bench.case import Case
from accelsim.measure.bench.timing import Unsupported
from accelsim.measure.bench.torch_backend.operation import Operation
from accelsim.measure.bench.torch_backend.tensors import Tensors

__all__ = ["OPERATIONS", "attend"]

_BACKENDS: Final[Mapping[str, str]] = {
    "sdpa.flash": "FLASH_ATTENTION",
    "sdpa.efficient": "EFFICIENT_ATTENTION",
    "sdpa.cudnn": "CUDNN_ATTENTION",
    "sdpa.math": "MATH",
}
"""Implementation -> torch.nn.attention.SDPBackend."""


def _operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    """Return query, key and value: (batch, heads, length, width), heads beside width in memory."""
    batch, heads, kv_heads, width, q_len, kv_len = of.sizes(
        "batch", "heads", "kv_heads", "head_dim", "q_len", "kv_len"
    )
    shapes = ((q_len, heads), (kv_len, kv_heads), (kv_len, kv_heads))
    return tuple(make.normal(batch, *shape, width).transpose(1, 2) for shape in shapes)


@cache
def _groups_heads() -> bool:
    """Return whether this torch takes fewer KV heads (2.5 and newer)."""
    return "enable_gqa" in (functional.scaled_dot_product_attention.__doc__ or "")


def attend(query: Any, key: Any, value: Any, causal: bool) -> Any:
    """Return fused attention by whichever kernel torch chooses or the context prescribes.

    Parameters
    ----------
    query, key, value : Tensor
        (batch, heads, length, width); key and value may have fewer heads.
    causal : bool
        The new tokens are the last of those attended.
    """
    q_len, kv_len = query.shape[2], key.shape[2]
    options: dict[str, Any] = {}
    if key.shape[1] != query.shape[1]:
        if _groups_heads():
            options["enable_gqa"] = True
        else:
            times = query.shape[1] // key.shape[1]
            key, value = (t.repeat_interleave(times, dim=1) for t in (key, value))
    if causal and q_len == kv_len:
        options["is_causal"] = True
    elif causal and q_len > 1:
        mask = torch.ones(q_len, kv_len, dtype=torch.bool, device=query.device)
        options["attn_mask"] = mask.tril(kv_len - q_len)
    return functional.scaled_dot_product_attention(query, key, value, **options)


def _fused(of: Case, query: Any, key: Any, value: Any) -> Any:
    return attend(query, key, value, bool(of.size("causal", 0)))


def _unfused(of: Case, query: Any, key: Any, value: Any) -> Any:
    """Separate operators, as Hugging Face's eager attention: expanded heads, fp32 softmax."""
    times, q_len, kv_len = query.shape[1] // key.shape[1], query.shape[2], key.shape[2]
    if times > 1:
        key, value = (t.repeat_interleave(times, dim=1) for t in (key, value))
    scores = torch.matmul(query, key.transpose(2, 3)) * query.shape[-1] ** -0.5
    if of.size("causal", 0) and q_len > 1:
        hidden = torch.ones(q_len, kv_len, dtype=torch.bool, device=query.device)
        scores = scores.masked_fill(hidden.triu(kv_len - q_len + 1), float("-inf"))
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    return torch.matmul(functional.softmax(scores, -1, dtype=wide).to(query.dtype), value)


def _around(of: Case) -> AbstractContextManager[Any]:
    """Return the context that leaves torch the one kernel that the case names."""
    if of.impl not in _BACKENDS:
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    backend = getattr(SDPBackend, _BACKENDS[of.impl], None)
    if backend is None:
        raise Unsupported(f"torch {torch.__version__} has no {of.impl}")
    return sdpa_kernel(backend)  # type: ignore[no-any-return]


def _small(of: Case) -> Case:
    q_len, kv_len = of.sizes("q_len", "kv_len")
    kv_heads = of.size("kv_heads")
    kept = min(kv_heads, 2)
    return of.changed(
        batch=min(of.size("batch"), 2), kv_heads=kept,
        heads=kept * (of.size("heads") // kv_heads),
        q_len=min(q_len, 130), kv_len=min(kv_len, 130),
    )  # fmt: skip


_RUNS: Final[Mapping[str, Callable[..., Any]]] = {
    **dict.fromkeys(_BACKENDS, _fused), "unfused": _unfused,
}  # fmt: skip

OPERATIONS: Final[Mapping[str, Operation]] = {
    name: Operation(_operands, _RUNS, "unfused", _small, _around)
    for name in ("attention_prefill", "attention_decode")
}
