"""What the back-end knows of an operator: operands, implementations, and its small case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from accelsim.measure.bench.case import Case
from accelsim.measure.bench.torch_backend.tensors import Tensors

__all__ = ["Operation"]


def _nothing(of: Case) -> AbstractContextManager[Any]:
    return nullcontext()


@dataclass(frozen=True)
class Operation:
    """How torch computes an operator.

    Parameters
    ----------
    operands : callable
        ``(case, tensors) -> tuple`` of what the implementations take, drawn in a fixed order.
    runs : mapping of str to callable
        Implementation -> ``(case, *operands) -> tensor``.
    reference : str
        Implementation that checks the others, in float64 on the CPU.
    small : callable
        Returns a case small enough for that.
    around : callable
        Returns a context in which the case runs; entered once, outside every clock.
    """

    operands: Callable[[Case, Tensors], tuple[Any, ...]]
    runs: Mapping[str, Callable[..., Any]]
    reference: str
    small: Callable[[Case], Case]
    around: Callable[[Case], AbstractContextManager[Any]] = _nothing
