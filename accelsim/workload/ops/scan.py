"""Scans along the sequence: selective state spaces, state-space duality, gated linear attention.

Each head carries a state of ``head_dim x state_dim`` from token to token; `groups` of heads share
their input and output matrices B and C.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from accelsim.errors import GraphError
from accelsim.workload.counts import Counts, tally
from accelsim.workload.graph import Operator
from accelsim.workload.ops._shape import attribute, require_elements, require_inputs
from accelsim.workload.tensor import Role, Tensor

__all__ = ["ALGORITHMS", "DIMS", "OPTIONAL_DIMS", "REDUCED", "check", "counts", "example"]

DIMS: Final = ("batch", "q_len", "heads", "head_dim", "state_dim", "groups")
"""Sequences, new tokens, heads, width of a head's input, width of its state, groups of heads.

Attributes: ``algorithm``; ``per_head`` (bool, of ``ssd``: C B^T once per head and not once per
group); ``resumes`` (bool: the state read is that of earlier tokens).

Inputs are the activations (x, B, C, gates), weights (A, D), and the states last.  States are
updated in place: the operator reads them where it resumes, and writes them.
"""
OPTIONAL_DIMS: Final = ("chunk",)
REDUCED: Final[frozenset[str]] = frozenset()

ALGORITHMS: Final[Mapping[str, str]] = {
    "selective": "Mamba, arXiv 2312.00752, algorithm 2",
    "ssd": "Mamba-2, arXiv 2405.21060, listing 1",
    "linear": "gated linear attention, arXiv 2312.06635, chunked form",
}
"""Algorithm -> paper."""


def _states(operator: Operator, tensors: Mapping[str, Tensor]) -> list[str]:
    return [name for name in operator.inputs if tensors[name].role is Role.STATE]


def check(operator: Operator, tensors: Mapping[str, Tensor]) -> None:
    """Raise `GraphError` where algorithm or tensors do not fit."""
    algorithm = attribute(operator, "algorithm", ALGORITHMS)
    require_inputs(operator, 2, 99)
    dims = operator.dims
    if dims["heads"] % dims["groups"]:
        raise GraphError(
            f"scan `{operator.name}`: {dims['heads']} heads do not divide over"
            f" {dims['groups']} groups"
        )
    if algorithm != "selective" and dims["q_len"] > 1 and "chunk" not in dims:
        raise GraphError(f"scan `{operator.name}`: {algorithm} of many tokens needs a chunk")
    states = _states(operator, tensors)
    if not states:
        raise GraphError(f"scan `{operator.name}`: none of its inputs is a state")
    size = dims["batch"] * dims["heads"] * dims["head_dim"] * dims["state_dim"]
    require_elements(operator, tensors, tuple(states[-1:]), size)
    rows = dims["batch"] * dims["q_len"] * dims["heads"] * dims["head_dim"]
    require_elements(operator, tensors, operator.outputs, rows)


def _work(operator: Operator) -> tuple[int, int]:
    """Return MACs and vector operations of all sequences together."""
    dims = operator.dims
    heads, p, n, s = (dims[name] for name in ("heads", "head_dim", "state_dim", "q_len"))
    algorithm = operator.attributes["algorithm"]
    if s == 1 or algorithm == "selective":
        # Per token and state element: the product C h, and two for the decay, two for B x.
        macs = s * heads * p * n * (2 if algorithm == "linear" else 1)
        return dims["batch"] * macs, dims["batch"] * s * heads * p * (7 * n + 2)
    q = dims["chunk"]
    chunks = -(-s // q)
    if algorithm == "linear":
        macs = chunks * heads * q * (q * (n + p) + 2 * n * p)
        return dims["batch"] * macs, dims["batch"] * chunks * heads * (q * q + 2 * q * n)
    scores = heads if operator.attributes.get("per_head") else dims["groups"]
    macs = chunks * (scores * q * q * n + heads * q * q * p + 2 * heads * q * n * p)
    macs += heads * (chunks + 1) ** 2 * n * p
    return dims["batch"] * macs, dims["batch"] * chunks * heads * (3 * q * q + q * p)


def counts(operator: Operator, tensors: Mapping[str, Tensor]) -> Counts:
    """Return the counts.

    Notes
    -----
    ``selective``, and every algorithm for one token: the C h product is matmul-class, ``S H P N``
    MACs (twice that for ``linear``, whose update is an outer product too); decay and update are
    ``7 S H P N + 2 S H P`` vector operations (VMamba's convention for the whole scan, less the
    product).

    ``ssd`` in c chunks of Q tokens: ``c G Q^2 N + c H Q^2 P + 2 c H Q N P + H (c + 1)^2 N P``
    MACs, with H in place of G where ``per_head``.

    ``linear`` in chunks: ``c H Q (Q (N + P) + 2 N P)`` MACs.
    """
    macs, operations = _work(operator)
    made = operator.outputs[0]
    dims = operator.dims
    states = _states(operator, tensors)
    resumes = operator.attributes.get("resumes", True)
    reads = [
        (tensors[name], tensors[name].elements)
        for name in operator.inputs
        if name not in states or resumes
    ]
    written = dims["batch"] * dims["q_len"] * dims["heads"] * dims["head_dim"]
    return tally(
        macs=macs,
        vector_ops=operations,
        reads=reads,
        writes=[(tensors[made], written), *((tensors[s], tensors[s].elements) for s in states)],
    )


def example() -> tuple[Operator, dict[str, Tensor]]:
    """Return a selective scan of 4 tokens over 8 channels with 16 states each."""
    tensors = {
        "x": Tensor("x", (4, 8), "bf16", Role.ACTIVATION),
        "bc": Tensor("bc", (4, 32), "bf16", Role.ACTIVATION),
        "a": Tensor("a", (8, 16), "fp32", Role.WEIGHT),
        "state": Tensor("state", (1, 8, 16), "fp32", Role.STATE),
        "y": Tensor("y", (4, 8), "bf16", Role.ACTIVATION),
    }
    dims = dict(zip(DIMS, (1, 4, 8, 1, 16, 1), strict=True))
    operator = Operator(
        "scan", "scan", dims, ("x", "bc", "a", "state"), ("y",), "scan", "heads",
        {"algorithm": "selective"},
    )  # fmt: skip
    return operator, tensors
