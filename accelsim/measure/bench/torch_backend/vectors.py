"""Operators on rows: norms, softmax, activations, rotary and token embedding, elementwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch.nn import functional

from accelsim.measure.bench.case import Case
from accelsim.measure.bench.timing import Unsupported
from accelsim.measure.bench.torch_backend.operation import Operation
from accelsim.measure.bench.torch_backend.tensors import Tensors

__all__ = ["ELEMENTWISE", "OPERATIONS", "rms_norm", "rotate"]

ELEMENTWISE: Final[Mapping[str, Callable[..., Any]]] = {
    "add": torch.add,
    "mul": torch.mul,
    "div": torch.div,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "add_scalar": lambda x: x + 1.5,
    "mul_scalar": lambda x: x * 1.5,
}
"""Function of the column ``subop`` -> torch's."""

_TWO: Final = frozenset({"add", "mul", "div"})


def _rows(of: Case, make: Tensors) -> tuple[Any, ...]:
    return (make.normal(*of.sizes("rows", "cols")),)


def _softmax(of: Case, x: Any) -> Any:
    return functional.softmax(x, dim=-1)


def _norm_operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    rows, cols = of.sizes("rows", "cols")
    weight = make.uniform(cols, low=0.5, high=1.5)
    return make.normal(rows, cols), weight, make.normal(cols) if of.op == "layernorm" else None


def _layernorm(of: Case, x: Any, weight: Any, bias: Any) -> Any:
    return functional.layer_norm(x, x.shape[-1:], weight, bias)


def rms_norm(x: Any, weight: Any) -> Any:
    """Return the RMS norm of the last dimension (torch 2.4 and newer).

    Raises
    ------
    Unsupported
        If torch is older.
    """
    if not hasattr(functional, "rms_norm"):
        raise Unsupported(f"torch {torch.__version__} has no rms_norm")
    return functional.rms_norm(x, x.shape[-1:], weight, 1e-6)


def _rmsnorm(of: Case, x: Any, weight: Any, bias: Any) -> Any:
    return rms_norm(x, weight)


def _gelu(of: Case, x: Any) -> Any:
    return functional.gelu(x)


def _gated_operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    """Return gate and up side by side, as a fused projection leaves them."""
    rows, cols = of.sizes("rows", "cols")
    return (make.normal(rows, 2 * cols),)


def _silu_mul(of: Case, x: Any) -> Any:
    gate, up = x.chunk(2, dim=-1)
    return functional.silu(gate) * up


def _elementwise_operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    rows, cols = of.sizes("rows", "cols")
    if of.subop not in _TWO:
        return (make.normal(rows, cols),)
    return make.normal(rows, cols), make.uniform(rows, cols, low=0.5, high=1.5)


def _elementwise(of: Case, *operands: Any) -> Any:
    return ELEMENTWISE[of.subop](*operands)


def _rope_operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    rows, heads, kv_heads, width = of.sizes("rows", "heads", "kv_heads", "head_dim")
    angles = make.normal(rows, 1, width // 2)
    cos, sin = (
        torch.cat((f(angles.float()),) * 2, -1).to(make.dtype) for f in (torch.cos, torch.sin)
    )
    return make.normal(rows, heads, width), make.normal(rows, kv_heads, width), cos, sin


def rotate(x: Any, cos: Any, sin: Any) -> Any:
    """Return rotary embedding of the last dimension, its halves making the pairs."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def _rope(of: Case, query: Any, key: Any, cos: Any, sin: Any) -> Any:
    return rotate(query, cos, sin), rotate(key, cos, sin)


def _embedding_operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    rows, cols, table_rows = of.sizes("rows", "cols", "table_rows")
    return make.indices(table_rows, rows), make.normal(table_rows, cols)


def _embedding(of: Case, ids: Any, table: Any) -> Any:
    return functional.embedding(ids, table)


def _small(of: Case) -> Case:
    sizes = dict(of.dims)
    return of.changed(
        rows=min(of.size("rows"), 33), cols=min(sizes.get("cols", 1), 515),
        heads=min(sizes.get("heads", 1), 4), kv_heads=min(sizes.get("kv_heads", 1), 2),
        table_rows=min(sizes.get("table_rows", 1), 1000),
    )  # fmt: skip


def _one(operands: Callable[..., Any], run: Callable[..., Any]) -> Operation:
    return Operation(operands, {"torch.eager": run}, "torch.eager", _small)


OPERATIONS: Final[Mapping[str, Operation]] = {
    "softmax": _one(_rows, _softmax),
    "layernorm": _one(_norm_operands, _layernorm),
    "rmsnorm": _one(_norm_operands, _rmsnorm),
    "gelu": _one(_rows, _gelu),
    "silu_mul": _one(_gated_operands, _silu_mul),
    "elementwise": _one(_elementwise_operands, _elementwise),
    "embedding": _one(_embedding_operands, _embedding),
    "rope": _one(_rope_operands, _rope),
}
