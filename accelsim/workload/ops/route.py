"""Routing of tokens to experts: softmax of the router's logits and choice of the top k."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.errors import GraphError
from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops import softmax
from accelsim.workload.ops._shape import require_elements, require_inputs
from accelsim.workload.tensor import Role, Tensor

__all__ = ["DIMS", "OPTIONAL_DIMS", "REDUCED", "check", "counts", "example"]

DIMS: Final = ("tokens", "experts", "top_k")
"""Tokens, experts to choose from, and experts chosen per token."""
OPTIONAL_DIMS: Final = ()
REDUCED: Final[frozenset[str]] = frozenset()


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` unless logits go in, and weights and indices of the chosen come out."""
    require_inputs(operator, 1)
    tokens, experts, top_k = (operator.dims[name] for name in DIMS)
    if top_k > experts or len(operator.outputs) != 2:
        raise GraphError(
            f"route `{operator.name}`: chooses {top_k} of {experts} experts into"
            f" {len(operator.outputs)} outputs (2 are needed: weights and indices)"
        )
    require_elements(operator, tensors, operator.inputs, tokens * experts)
    for name in operator.outputs:
        require_elements(operator, tensors, (name,), tokens * top_k)


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the counts: a softmax over the experts, and one comparison per expert and choice."""
    tokens, experts, top_k = (operator.dims[name] for name in DIMS)
    return tally(
        vector_ops=tokens * experts * (softmax.OPS_PER_ELEMENT + top_k),
        reads=((tensors[operator.inputs[0]], tokens * experts),),
        writes=[(tensors[name], tokens * top_k) for name in operator.outputs],
    )


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return the choice of 2 of 8 experts for 4 tokens."""
    tensors = {
        "logits": Tensor("logits", (4, 8), "bf16", Role.ACTIVATION),
        "weights": Tensor("weights", (4, 2), "bf16", Role.ACTIVATION),
        "indices": Tensor("indices", (4, 2), "int32", Role.ACTIVATION),
    }
    dims = {"tokens": 4, "experts": 8, "top_k": 2}
    return Operator("route", "route", dims, ("logits",), ("weights", "indices")), tensors
