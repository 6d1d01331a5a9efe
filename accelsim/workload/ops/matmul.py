"""Matrix products: linear layers, batched products of activations, and grouped expert products.

C[b, m, n] = sum over k of A[b, m, k] B[b, k, n], plus an optional bias of n elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.errors import GraphError
from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops._shape import require_elements, require_inputs
from accelsim.workload.tensor import Role, Tensor

__all__ = ["DIMS", "OPTIONAL_DIMS", "REDUCED", "check", "counts", "example", "operands"]

DIMS: Final = ("batch", "m", "n", "k")
"""Independent products, rows of A and C, columns of B and C, and the summed dimension."""
OPTIONAL_DIMS: Final = ("experts", "active_experts")
"""Grouped products: the `m` rows are spread over `active_experts` of `experts` weight matrices.

MACs stay ``m * n * k`` whichever experts are hit; the weights read are ``active_experts * k * n``.
"""
REDUCED: Final = frozenset({"k"})


def operands(
    operator: Operator, tensors: Mapping[str, Tensor]
) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Return the names of A (several where it is concatenated by rows), of B, and of biases.

    Notes
    -----
    With a weight among the inputs, the first weight is B, later ones are biases, and all other
    inputs make up A.  Without one there are two inputs, A and B.
    """
    weights = [name for name in operator.inputs if tensors[name].role is Role.WEIGHT]
    if not weights:
        return operator.inputs[:1], operator.inputs[1], ()
    rows = tuple(name for name in operator.inputs if tensors[name].role is not Role.WEIGHT)
    return rows, weights[0], tuple(weights[1:])


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` where the tensors are not those of the product."""
    require_inputs(operator, 2, 99)
    dims = operator.dims
    matrices = dims["batch"]
    if ("experts" in dims) != ("active_experts" in dims):
        raise GraphError(f"matmul `{operator.name}`: experts and active_experts go together")
    if "experts" in dims:
        active, matrices = dims["active_experts"], dims["experts"]
        if active > min(matrices, dims["m"]) or dims["batch"] != 1:
            raise GraphError(
                f"matmul `{operator.name}`: {active} active experts of {matrices} for"
                f" {dims['m']} rows and batch {dims['batch']} (must be 1)"
            )
    left, right, biases = operands(operator, tensors)
    weighted = tensors[right].role is Role.WEIGHT
    if not weighted and len(operator.inputs) != 2:
        raise GraphError(f"matmul `{operator.name}`: without a weight it has two inputs, A and B")
    # A product of activations may read a part of a fused tensor (the query of a QKV), and so may
    # a linear layer with the attribute `part`.
    a, b = dims["batch"] * dims["m"] * dims["k"], matrices * dims["k"] * dims["n"]
    whole = weighted and not operator.attributes.get("part")
    require_elements(operator, tensors, left, a, exactly=whole)
    require_elements(operator, tensors, (right,), b, exactly=weighted)
    for bias in biases:
        require_elements(operator, tensors, (bias,), matrices * dims["n"])
    require_elements(operator, tensors, operator.outputs, dims["batch"] * dims["m"] * dims["n"])


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the counts; a bias costs one add per output element.

    Notes
    -----
    The attribute ``masked_macs`` says how many MACs a causal mask discards (score and context
    products of an expanded attention).
    """
    dims = operator.dims
    batch, m, n, k = dims["batch"], dims["m"], dims["n"], dims["k"]
    matrices = dims.get("active_experts", batch)
    left, right, biases = operands(operator, tensors)
    reads = [(tensors[left[0]], batch * m * k), (tensors[right], matrices * k * n)]
    reads += [(tensors[bias], matrices * n) for bias in biases]
    sparsity, macs = tensors[right].sparsity, batch * m * n * k
    return tally(
        macs=macs,
        zero_macs=0 if sparsity is None else macs - round(macs * sparsity.density),
        masked_macs=operator.attributes.get("masked_macs", 0),
        vector_ops=len(biases) * batch * m * n,
        reads=reads,
        writes=((tensors[operator.outputs[0]], batch * m * n),),
    )


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return a small linear layer with bias."""
    tensors = {
        "x": Tensor("x", (4, 16), "bf16", Role.ACTIVATION),
        "w": Tensor("w", (8, 16), "bf16", Role.WEIGHT),
        "b": Tensor("b", (8,), "bf16", Role.WEIGHT),
        "y": Tensor("y", (4, 8), "bf16", Role.ACTIVATION),
    }
    dims = {"batch": 1, "m": 4, "n": 8, "k": 16}
    return Operator("up", "matmul", dims, ("x", "w", "b"), ("y",), "linear", "n"), tensors
