"""The comparisons that the shape rules of the operator kinds are made of."""

from __future__ import annotations

from collections.abc import Mapping

from accelsim.errors import GraphError
from accelsim.workload.graph import Operator
from accelsim.workload.tensor import Tensor

__all__ = ["attribute", "require_elements", "require_inputs"]


def require_inputs(operator: Operator, least: int, most: int | None = None) -> None:
    """Raise unless the operator has between `least` and `most` inputs."""
    most = least if most is None else most
    if not least <= len(operator.inputs) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise GraphError(
            f"{operator.kind} `{operator.name}`: needs {wanted} inputs, has {len(operator.inputs)}"
        )


def require_elements(
    operator: Operator,
    tensors: Mapping[str, Tensor],
    names: tuple[str, ...],
    needed: int,
    *,
    exactly: bool = True,
) -> None:
    """Raise unless the named tensors together hold `needed` elements.

    Parameters
    ----------
    operator : Operator
        Whose dims need the elements.
    tensors : mapping of str to Tensor
        The tensors of its block.
    names : tuple of str
        Tensors that together make one operand.
    needed : int
        Elements by the operator's dims.
    exactly : bool
        False where the operator may read a part of the tensor (the query of a fused QKV).
    """
    held = sum(tensors[name].elements for name in names)
    if held == needed or (held > needed and not exactly):
        return
    what = " + ".join(f"{name}{list(tensors[name].shape)}" for name in names)
    dims = ", ".join(f"{name} {size}" for name, size in operator.dims.items())
    raise GraphError(
        f"{operator.kind} `{operator.name}`: {what} holds {held} elements, {needed} are needed"
        f" by its dims ({dims})"
    )


def attribute(operator: Operator, name: str, legal: Mapping[str, object]) -> str:
    """Return a text attribute of the operator, raising unless it is one of the legal ones."""
    value = operator.attributes.get(name)
    if value not in legal:
        raise GraphError(
            f"{operator.kind} `{operator.name}`: attribute {name} is {value!r};"
            f" legal: {', '.join(sorted(legal))}"
        )
    return str(value)
