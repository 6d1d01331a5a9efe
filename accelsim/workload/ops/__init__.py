"""The operator kinds, one file each: dims, shape rule and counts; the file name is the kind.

To add a kind, add a file with ``DIMS``, ``OPTIONAL_DIMS``, ``REDUCED``, ``check``, ``counts`` and
``example``; a kind that can also run as simpler operators adds ``expand``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from accelsim.errors import GraphError
from accelsim.registry import module, names
from accelsim.workload.graph import Operator
from accelsim.workload.tensor import Tensor

if TYPE_CHECKING:
    from accelsim.workload.counts import Counts

__all__ = ["Expansion", "OperatorRules", "check", "expand", "kinds", "rules"]

Expansion = Callable[
    [Operator, Mapping[str, Tensor]], tuple[tuple[Operator, ...], dict[str, Tensor]]
]
"""Operator and tensors -> the same work as simpler operators, and the tensors between them."""


class OperatorRules(Protocol):
    """What the file of an operator kind provides."""

    DIMS: tuple[str, ...]
    """Dims that every operator of the kind has."""
    OPTIONAL_DIMS: tuple[str, ...]
    """Dims that it may have."""
    REDUCED: frozenset[str]
    """Dims that are summed over: devices that divide one hold partial sums of the output."""

    def check(self, operator: Operator, tensors: Mapping[str, Tensor]) -> None:
        """Raise `GraphError` where dims and tensors do not fit each other."""

    def counts(self, operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
        """Return work and compulsory traffic."""

    def example(self) -> tuple[Operator, dict[str, Tensor]]:
        """Return a small legal operator and its tensors, for documentation and tests."""


def kinds() -> tuple[str, ...]:
    """Return the built-in kinds, sorted.

    Examples
    --------
    >>> "matmul" in kinds()
    True
    """
    return names("operator")


def rules(kind: str) -> OperatorRules:
    """Return the rules of an operator kind.

    Raises
    ------
    UnknownNameError
        If neither a file nor an installed entry point has that name.
    """
    return cast(OperatorRules, module("operator", kind))


def expand(kind: str) -> Expansion | None:
    """Return the function that writes an operator of `kind` as simpler ones, None if it has none.

    Examples
    --------
    >>> expand("matmul") is None
    True
    """
    found: Any = module("operator", kind)
    return cast("Expansion | None", getattr(found, "expand", None))


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Check one operator: legal dims, a shard among them, known tensors, and the kind's own rule.

    Raises
    ------
    GraphError
        Names the operator and what does not fit.
    UnknownNameError
        If no file has the operator's kind.
    """
    kind = rules(operator.kind)
    where = f"{operator.kind} `{operator.name}`"
    missing = [name for name in kind.DIMS if name not in operator.dims]
    if missing:
        raise GraphError(f"{where}: dims {', '.join(missing)} are missing")
    for name, size in operator.dims.items():
        if name not in kind.DIMS and name not in kind.OPTIONAL_DIMS:
            legal = ", ".join((*kind.DIMS, *kind.OPTIONAL_DIMS))
            raise GraphError(f"{where}: unknown dim `{name}`; legal: {legal}")
        if type(size) is not int or size < 1:
            raise GraphError(f"{where}: dim {name} is {size!r}, not a whole number of at least 1")
    if operator.shard is not None and operator.shard not in operator.dims:
        raise GraphError(f"{where}: shard `{operator.shard}` is not among its dims")
    for name in (*operator.inputs, *operator.outputs):
        if name not in tensors:
            raise GraphError(f"{where}: tensor `{name}` does not exist in its block")
    if not operator.outputs:
        raise GraphError(f"{where}: has no output")
    kind.check(operator, tensors)
