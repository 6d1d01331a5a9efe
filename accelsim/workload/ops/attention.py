"""Scaled dot-product attention as one fused operator, and the same work as separate operators.

Each of `heads` query heads attends over the keys and values of one of `kv_heads` heads: as many
(multi-head), fewer (grouped-query), or one (multi-query).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.errors import GraphError
from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops._shape import require_elements, require_inputs
from accelsim.workload.ops.softmax import OPS_PER_ELEMENT
from accelsim.workload.tensor import Role, Tensor

__all__ = [
    "DIMS",
    "OPTIONAL_DIMS",
    "REDUCED",
    "check",
    "counts",
    "example",
    "expand",
    "unmasked_pairs",
]

DIMS: Final = ("batch", "heads", "kv_heads", "q_len", "kv_len", "head_dim", "value_dim")
"""Sequences, query and KV heads, new and attended tokens, width of a key and of a value.

Attributes: ``causal`` (bool, default False; the new tokens are the last of those attended),
``window`` (int, optional: a token sees at most that many, itself included), ``chunk`` (int,
optional: it sees only tokens of its own chunk of that many positions), and ``density`` (float,
optional: the share of the remaining pairs that a block mask keeps), ``bias`` (bool: the last
input is added to the scores, one value per head and pair), and ``shared_kv`` (bool: values are
the first ``value_dim`` columns of the keys, read once).

Inputs are query, key and value, one sink per head where there are sinks, and the bias.
"""
OPTIONAL_DIMS: Final = ()
REDUCED: Final = frozenset({"kv_len"})


def unmasked_pairs(operator: Operator) -> int:
    """Return the query-key pairs of one head of one sequence that no mask discards.

    Notes
    -----
    With ``past = kv_len - q_len``, query i of 1 .. q_len sees ``min(past + i, window)`` keys:
    ``q_len * past + q_len (q_len + 1) / 2`` pairs without a window.

    Examples
    --------
    >>> operator, _ = example()
    >>> operator.dims["q_len"], operator.dims["kv_len"], unmasked_pairs(operator)
    (2, 5, 9)
    """
    new, attended = operator.dims["q_len"], operator.dims["kv_len"]
    density = float(operator.attributes.get("density", 1.0))
    if not operator.attributes.get("causal", False):
        return round(new * attended * density)
    past = attended - new
    chunk = operator.attributes.get("chunk")
    if chunk:
        return round(_chunked_pairs(past, new, chunk) * density)
    window = operator.attributes.get("window") or attended
    growing = max(0, min(new, window - past))
    pairs = growing * past + growing * (growing + 1) // 2 + (new - growing) * window
    return pairs if density == 1.0 else round(pairs * density)


def _chunked_pairs(past: int, new: int, chunk: int) -> int:
    """Return the pairs of `new` tokens after `past` where each sees its own chunk up to itself."""

    def until(tokens: int) -> int:
        full, rest = divmod(tokens, chunk)
        return full * chunk * (chunk + 1) // 2 + rest * (rest + 1) // 2

    return until(past + new) - until(past)


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` unless inputs are query, key, value, and optionally sinks and a bias."""
    require_inputs(operator, 3, 5)
    dims, attributes = operator.dims, operator.attributes
    if dims["heads"] % dims["kv_heads"]:
        raise GraphError(
            f"attention `{operator.name}`: {dims['heads']} heads do not divide over"
            f" {dims['kv_heads']} KV heads"
        )
    if attributes.get("causal", False):
        if dims["q_len"] > dims["kv_len"]:
            raise GraphError(
                f"attention `{operator.name}`: causal with q_len {dims['q_len']} above kv_len"
                f" {dims['kv_len']}"
            )
    elif attributes.get("window") or attributes.get("chunk"):
        raise GraphError(f"attention `{operator.name}`: a window or chunk needs causal=True")
    if not 0 < attributes.get("density", 1.0) <= 1:
        raise GraphError(
            f"attention `{operator.name}`: density {attributes['density']} is not in (0, 1]"
        )
    query = dims["batch"] * dims["heads"] * dims["q_len"]
    keys = dims["batch"] * dims["kv_heads"] * dims["kv_len"]
    parts = (query * dims["head_dim"], keys * dims["head_dim"], keys * dims["value_dim"])
    for name, needed in zip(operator.inputs, parts, strict=False):
        require_elements(operator, tensors, (name,), needed, exactly=False)
    sinks, biases = _extra(operator)
    require_elements(operator, tensors, sinks, len(sinks) * dims["heads"])
    pairs = dims["heads"] * dims["q_len"] * dims["kv_len"]
    for name in biases:
        if tensors[name].elements % pairs:
            require_elements(operator, tensors, (name,), pairs)
    require_elements(operator, tensors, operator.outputs, query * dims["value_dim"])


def _extra(operator: Operator) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the sinks and of the bias, each empty where there is none."""
    rest = operator.inputs[3:]
    return (rest[:-1], rest[-1:]) if operator.attributes.get("bias") else (rest, ())


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the counts of the fused operator: no score is written to memory.

    Notes
    -----
    MACs are ``batch heads q_len kv_len (head_dim + value_dim)``, mask or no mask; the softmax
    costs `softmax.OPS_PER_ELEMENT` vector operations per score.
    """
    dims = operator.dims
    sequences, heads = dims["batch"], dims["heads"]
    query, keys = sequences * heads * dims["q_len"], sequences * dims["kv_heads"] * dims["kv_len"]
    pairs = dims["q_len"] * dims["kv_len"]
    macs_per_pair = sequences * heads * (dims["head_dim"] + dims["value_dim"])
    q, k, v = (tensors[name] for name in operator.inputs[:3])
    reads = [(q, query * dims["head_dim"]), (k, keys * dims["head_dim"])]
    if not operator.attributes.get("shared_kv"):
        reads.append((v, keys * dims["value_dim"]))
    reads += [(tensors[name], tensors[name].elements) for name in operator.inputs[3:]]
    return tally(
        macs=pairs * macs_per_pair,
        masked_macs=(pairs - unmasked_pairs(operator)) * macs_per_pair,
        vector_ops=OPS_PER_ELEMENT * sequences * heads * pairs,
        reads=reads,
        writes=((tensors[operator.outputs[0]], query * dims["value_dim"]),),
    )


def expand(
    operator: Operator, tensors: Mapping[str, Tensor]
) -> tuple[tuple[Operator, ...], dict[str, Tensor]]:
    """Return the attention as score product, softmax and context product.

    The query heads that share a KV head become rows of one product, so keys and values are read
    once per KV head: ``batch * kv_heads`` products of ``heads / kv_heads * q_len`` rows.  MACs,
    masked MACs and KV traffic stay; the scores add activation traffic.

    Returns
    -------
    operators : tuple of Operator
        To stand in place of `operator`.
    tensors : dict of str to Tensor
        The scores and probabilities between them.
    """
    dims = operator.dims
    products = dims["batch"] * dims["kv_heads"]
    rows = dims["heads"] // dims["kv_heads"] * dims["q_len"]
    query, key, value, *extra = operator.inputs
    scores, probabilities = f"{operator.name}.scores", f"{operator.name}.probabilities"
    shape, dtype = (products, rows, dims["kv_len"]), tensors[operator.outputs[0]].dtype
    between = {
        name: Tensor(name, shape, dtype, Role.ACTIVATION) for name in (scores, probabilities)
    }
    softmax = Operator(
        f"{operator.name}.softmax", "softmax",
        {"rows": products * rows, "columns": dims["kv_len"]},
        (scores, *extra), (probabilities,), operator.label,
        "rows" if operator.shard == "heads" else None, operator.attributes,
    )  # fmt: skip
    parts = (
        _product(operator, "score", ("kv_len", "head_dim"), (query, key), (scores,)),
        softmax,
        _product(
            operator, "context", ("value_dim", "kv_len"), (probabilities, value), operator.outputs
        ),
    )
    return parts, between


def _product(
    operator: Operator,
    name: str,
    sizes: tuple[str, str],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
) -> Operator:
    """Return the score or context product of an attention; `sizes` names its n and k."""
    dims = operator.dims
    n, k = (dims[size] for size in sizes)
    masked = dims["q_len"] * dims["kv_len"] - unmasked_pairs(operator)
    width = k if sizes[0] == "kv_len" else n
    attributes = {
        **operator.attributes,
        "function": name,
        "masked_macs": dims["batch"] * dims["heads"] * masked * width,
    }
    batch, m = dims["batch"] * dims["kv_heads"], dims["heads"] // dims["kv_heads"] * dims["q_len"]
    return Operator(
        f"{operator.name}.{name}", "matmul", {"batch": batch, "m": m, "n": n, "k": k},
        inputs, outputs, operator.label,
        "batch" if operator.shard == "heads" else None, attributes,
    )  # fmt: skip


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return grouped-query attention of 2 new tokens after 3 cached ones."""
    dims = dict(zip(DIMS, (2, 4, 2, 2, 5, 8, 8), strict=True))
    tensors = {
        "q": Tensor("q", (4, 32), "bf16", Role.ACTIVATION),
        "k": Tensor("k", (2, 2, 5, 8), "bf16", Role.KV_CACHE),
        "v": Tensor("v", (2, 2, 5, 8), "bf16", Role.KV_CACHE),
        "context": Tensor("context", (4, 32), "bf16", Role.ACTIVATION),
    }
    operator = Operator(
        "attention", "attention", dims, ("q", "k", "v"), ("context",), "attention", "heads",
        {"causal": True},
    )  # fmt: skip
    return operator, tensors
