"""Backward pass of attention as one fused operator, and the same work as separate operators.

As FlashAttention does it: scores are computed again rather than kept, so there are five products
of query length by key length where the forward pass has two (arXiv 2205.14135, algorithm 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.errors import GraphError
from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops import attention
from accelsim.workload.ops._shape import require_elements, require_inputs
from accelsim.workload.ops.attention import unmasked_pairs
from accelsim.workload.ops.elementwise import OPS_PER_ELEMENT
from accelsim.workload.ops.softmax import OPS_PER_ELEMENT as SOFTMAX_OPS
from accelsim.workload.tensor import Role, Tensor

__all__ = ["DIMS", "OPTIONAL_DIMS", "REDUCED", "check", "counts", "example", "expand"]

DIMS: Final = attention.DIMS
"""As of the forward operator, and so are the attributes but ``bias`` and ``shared_kv``.

Inputs are query, key, value, the output's gradient and the output; outputs are the gradients of
query, key and value, those of one fused tensor together.
"""
OPTIONAL_DIMS: Final = ()
REDUCED: Final[frozenset[str]] = frozenset()


def _sizes(dims: Mapping[str, int]) -> tuple[int, int, int, int]:
    """Return the elements of query, key, value and output."""
    query = dims["batch"] * dims["heads"] * dims["q_len"]
    keys = dims["batch"] * dims["kv_heads"] * dims["kv_len"]
    return (
        query * dims["head_dim"], keys * dims["head_dim"], keys * dims["value_dim"],
        query * dims["value_dim"],
    )  # fmt: skip


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` where the tensors are not those of an attention and its gradients."""
    require_inputs(operator, 5)
    query, key, value, output = _sizes(operator.dims)
    for name, needed in zip(operator.inputs, (query, key, value, output, output), strict=True):
        require_elements(operator, tensors, (name,), needed, exactly=False)
    require_elements(operator, tensors, operator.outputs, query + key + value)
    for name in ("bias", "shared_kv"):
        if operator.attributes.get(name):
            raise GraphError(f"attention_gradient `{operator.name}`: no rule for `{name}`")


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the counts of the fused operator.

    Notes
    -----
    MACs are ``batch heads q_len kv_len (3 head_dim + 2 value_dim)``: scores again, gradients of
    query and key; gradients of probabilities and value.
    """
    dims = operator.dims
    heads, pairs = dims["batch"] * dims["heads"], dims["q_len"] * dims["kv_len"]
    width = 3 * dims["head_dim"] + 2 * dims["value_dim"]
    query, key, value, output = _sizes(dims)
    read = zip(operator.inputs, (query, key, value, output, output), strict=True)
    vector = SOFTMAX_OPS + OPS_PER_ELEMENT["softmax_backward"]
    return tally(
        macs=heads * pairs * width,
        masked_macs=heads * (pairs - unmasked_pairs(operator)) * width,
        vector_ops=vector * heads * pairs,
        reads=[(tensors[name], elements) for name, elements in read],
        writes=[(tensors[name], tensors[name].elements) for name in operator.outputs],
    )


def expand(
    operator: Operator, tensors: Mapping[str, Tensor]
) -> tuple[tuple[Operator, ...], dict[str, Tensor]]:
    """Return it as five products, the softmax again and its gradient, and a copy of the results.

    Returns
    -------
    operators : tuple of Operator
        To stand in place of `operator`.
    tensors : dict of str to Tensor
        What is between them.
    """
    dims, name = operator.dims, operator.name
    products = dims["batch"] * dims["kv_heads"]
    rows = dims["heads"] // dims["kv_heads"] * dims["q_len"]
    length, wide, value_wide = dims["kv_len"], dims["head_dim"], dims["value_dim"]
    query, key, value, gradient, _ = operator.inputs
    dtype, shape = tensors[gradient].dtype, (products, rows, length)
    between: dict[str, Tensor] = {}

    def tensor(suffix: str, *size: int) -> str:
        made = f"{name}.{suffix}"
        between[made] = Tensor(made, size, dtype, Role.ACTIVATION)
        return made

    scores, probabilities = tensor("scores", *shape), tensor("probabilities", *shape)
    d_probabilities = tensor("probabilities.gradient", *shape)
    d_scores = tensor("scores.gradient", *shape)
    d_query = tensor("query.gradient", products, rows, wide)
    d_key = tensor("key.gradient", products, length, wide)
    d_value = tensor("value.gradient", products, length, value_wide)

    def product(suffix: str, size: tuple[int, int, int], a: str, b: str, out: str) -> Operator:
        return _product(operator, suffix, size, (a, b), out)

    parts = (
        product("score", (rows, length, wide), query, key, scores),
        _vector(operator, "softmax", "softmax", (scores,), probabilities, between),
        product("value_gradient", (length, value_wide, rows), probabilities, gradient, d_value),
        product(
            "probability_gradient", (rows, length, value_wide), gradient, value, d_probabilities
        ),
        _vector(
            operator, "softmax_gradient", "elementwise", (probabilities, d_probabilities),
            d_scores, between,
        ),
        product("query_gradient", (rows, wide, length), d_scores, key, d_query),
        product("key_gradient", (length, wide, rows), d_scores, query, d_key),
        Operator(
            f"{name}.copy", "transfer",
            {"size_bytes": sum(tensors[n].size_bytes for n in operator.outputs)},
            (d_query, d_key, d_value), operator.outputs, operator.label,
            "size_bytes" if operator.shard else None,
        ),
    )  # fmt: skip
    return parts, between


def _product(
    operator: Operator, suffix: str, size: tuple[int, int, int], inputs: tuple[str, str], out: str
) -> Operator:
    dims, (m, n, k) = operator.dims, size
    width = m * n * k // (dims["heads"] // dims["kv_heads"] * dims["q_len"] * dims["kv_len"])
    masked = dims["q_len"] * dims["kv_len"] - unmasked_pairs(operator)
    attributes = {
        **operator.attributes, "function": suffix,
        "masked_macs": dims["batch"] * dims["heads"] * masked * width,
    }  # fmt: skip
    return Operator(
        f"{operator.name}.{suffix}", "matmul",
        {"batch": dims["batch"] * dims["kv_heads"], "m": m, "n": n, "k": k}, inputs, (out,),
        operator.label, "batch" if operator.shard == "heads" else None, attributes,
    )  # fmt: skip


def _vector(
    operator: Operator, suffix: str, kind: str, inputs: tuple[str, ...], out: str,
    between: Mapping[str, Tensor],
) -> Operator:  # fmt: skip
    products, rows, length = between[out].shape
    dims = {"rows": products * rows, "columns": length}
    attributes: dict[str, str] = {}
    if kind == "elementwise":
        dims["operands"] = len(inputs)
        attributes["function"] = "softmax_backward"
    return Operator(
        f"{operator.name}.{suffix}", kind, dims, inputs, (out,), operator.label,
        "rows" if operator.shard == "heads" else None, attributes,
    )  # fmt: skip


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return the backward pass of causal grouped-query attention over 5 tokens."""
    dims = dict(zip(DIMS, (2, 4, 2, 5, 5, 8, 8), strict=True))
    tensors = {
        name: Tensor(name, (10, 32), "bf16", Role.ACTIVATION)
        for name in ("q", "context", "context.gradient", "q.gradient")
    }
    tensors |= {
        name: Tensor(name, (10, 16), "bf16", Role.ACTIVATION)
        for name in ("k", "v", "k.gradient", "v.gradient")
    }
    operator = Operator(
        "attention", "attention_gradient", dims, ("q", "k", "v", "context.gradient", "context"),
        ("q.gradient", "k.gradient", "v.gradient"), "attention", "heads", {"causal": True},
    )  # fmt: skip
    return operator, tensors
