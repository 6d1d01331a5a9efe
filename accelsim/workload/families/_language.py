"""The ends that language models share: the embedding of tokens, and the head that makes logits."""

from __future__ import annotations

from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_norm
from accelsim.workload.graph import Block
from accelsim.workload.phase import Phase
from accelsim.workload.tensor import Role

__all__ = ["TABLE", "add_embedding", "add_head", "end_inputs", "selects"]

TABLE = "embed_tokens.weight"
"""Name of the embedding table, which a tied head shares."""


def selects(phase: Phase, conventions: Conventions) -> bool:
    """Return whether logits are made of some of the new tokens only."""
    return conventions.logits == "last" and phase.tokens != phase.batch


def end_inputs(phase: Phase, conventions: Conventions) -> tuple[str, ...]:
    """Return what comes from the host."""
    return ("input_ids", *(["last_positions"] if selects(phase, conventions) else []))


def add_embedding(
    phase: Phase, dtypes: Dtypes, vocabulary: int, hidden: int, shared: frozenset[str],
    name: str = "hidden",
) -> Block:  # fmt: skip
    """Return the block that looks tokens up; it carries the stream ``hidden``.

    Parameters
    ----------
    shared : frozenset of str
        Tensors of the block that later ones read by name.
    name : str
        Name of the embedded tokens, for blocks that read them again.
    """
    body = BlockBuilder("embedding", dtypes)
    ids = body.activation("input_ids", phase.tokens, dtype="int32")
    table = body.tensor(TABLE, (vocabulary, hidden), dtypes.embedding_dtype, Role.WEIGHT)
    size = (phase.tokens, hidden, vocabulary)
    x = body.gather(name, table, ids, size, label="embedding", shard="table_rows")
    return body.block(1, {"hidden": x}, shared)


def add_head(
    phase: Phase, dtypes: Dtypes, conventions: Conventions, vocabulary: int, hidden: int,
    *, norm: str, tied: bool,
) -> Block:  # fmt: skip
    """Return the block of final norm and logits."""
    body = BlockBuilder("head", dtypes)
    m = phase.tokens
    x = add_norm(body, "final_norm", body.activation("hidden", m, hidden), m, hidden, norm)
    if selects(phase, conventions):
        m = phase.batch
        last = body.activation("last_positions", m, dtype="int32")
        x = body.gather("select", x, last, (m, hidden, phase.tokens), label="select")
    name = TABLE if tied else "lm_head.weight"
    weight = body.tensor(name, (vocabulary, hidden), dtypes.embedding_dtype, Role.WEIGHT)
    logits = body.activation("lm_head", m, vocabulary)
    dims = {"batch": 1, "m": m, "n": vocabulary, "k": hidden}
    body.operator("lm_head", "matmul", dims, (x, weight), (logits,), "lm_head", "n")
    return body.block(1, shared=frozenset({TABLE}) if tied else frozenset())
