"""Matrix products: linear layers, plain and batched products, fp8 and int8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch.nn import functional

from accelsim.measure.bench.case import Case
from accelsim.measure.bench.timing import Unsupported
from accelsim.measure.bench.torch_backend.operation import Operation
from accelsim.measure.bench.torch_backend.tensors import Tensors

__all__ = ["OPERATIONS"]


def _linear_operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    """Return A (m, k), the weight (n, k) as a linear layer stores it, and a bias where asked."""
    m, n, k = of.sizes("m", "n", "k")
    left, weight = make.normal(m, k), make.normal(n, k)
    bias = make.normal(n) if of.subop == "linear_bias" else None
    return left, weight, bias


def _linear(of: Case, left: Any, weight: Any, bias: Any) -> Any:
    return functional.linear(left, weight, bias)


def _scaled(of: Case, left: Any, weight: Any, bias: Any) -> Any:
    """fp8 with a scale of 1 per tensor; B column-major and fast accumulation, as libraries use."""
    one = _one(left.device)
    found = torch._scaled_mm(
        left, weight.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
    )
    return found[0] if isinstance(found, tuple) else found  # torch 2.4 gave the maximum, too


_ONES: Final[dict[Any, Any]] = {}


def _one(device: Any) -> Any:
    if device not in _ONES:
        _ONES[device] = torch.ones((), device=device)
    return _ONES[device]


def _whole(of: Case, left: Any, weight: Any, bias: Any) -> Any:
    m, n, k = of.sizes("m", "n", "k")
    if left.is_cuda and (m <= 16 or n % 8 or k % 8):
        raise Unsupported("torch._int_mm on CUDA needs m > 16 and n, k in multiples of 8")
    return torch._int_mm(left, weight.t())


def _small_linear(of: Case) -> Case:
    m, n, k = of.sizes("m", "n", "k")
    # Odd sizes stay odd: they take other kernels.  m above 16 is what int8 asks for.
    return of.changed(
        m=m if m < 64 else 64 + m % 16, n=min(n, 128 + n % 16), k=min(k, 256 + k % 16)
    )


def _batched_operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    b, m, n, k = of.sizes("b", "m", "n", "k")
    return make.normal(b, m, k), make.normal(b, k, n)


def _batched(of: Case, left: Any, right: Any) -> Any:
    return torch.bmm(left, right)


def _plain_operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    m, n, k = of.sizes("m", "n", "k")
    return make.normal(m, k), make.normal(k, n)


def _gemm_operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    if of.subop == "NN":
        left, right = _plain_operands(of, make)
        return left, right.t(), None  # `_linear` transposes back: B then is row-major
    return _linear_operands(of, make)


def _small_batched(of: Case) -> Case:
    b, m, n, k = of.sizes("b", "m", "n", "k")
    return of.changed(b=min(b, 3), m=min(m, 64), n=min(n, 64), k=min(k, 64))


OPERATIONS: Final[Mapping[str, Operation]] = {
    "gemm": Operation(
        _gemm_operands,
        {"torch.linear": _linear, "torch._scaled_mm": _scaled, "torch._int_mm": _whole},
        "torch.linear", _small_linear,
    ),
    "bmm": Operation(_batched_operands, {"torch.bmm": _batched}, "torch.bmm", _small_batched),
}  # fmt: skip
