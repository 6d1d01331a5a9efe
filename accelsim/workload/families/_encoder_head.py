"""What follows the last layer of an encoder: a final norm, and one of several heads."""

from __future__ import annotations

from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_norm
from accelsim.workload.families._encoder_config import EncoderConfig, clusters
from accelsim.workload.graph import Block
from accelsim.workload.phase import Phase
from accelsim.workload.tensor import Role

__all__ = ["TABLE", "end", "outputs", "selected", "tied"]

TABLE = "embed_tokens.weight"
"""Name of the embedding table."""


def selected(config: EncoderConfig, phase: Phase, conventions: Conventions) -> str:
    """Return the input that says which token of each sequence the head sees; empty for all."""
    if phase.tokens == phase.batch or config.head == "none":
        return ""
    if config.head == "projection":
        return "end_positions"
    if config.head == "pooler":
        return "first_positions"
    return "masked_positions" if conventions.logits == "last" else ""


def outputs(config: EncoderConfig) -> tuple[str, ...]:
    """Return the names of the tensors that leave the pass."""
    if config.head == "none":
        return ("final_norm" if config.final_norm else "hidden",)
    if config.head == "adaptive":
        names = tuple(f"lm_head.{number}" for number in range(len(config.cutoffs) + 1))
        return (*names, "lm_head.clusters")
    return ("lm_head" if config.predicts else config.head,)


def tied(config: EncoderConfig) -> frozenset[str]:
    """Return the weights that embedding and head have in common."""
    if config.head == "adaptive":
        return frozenset({f"{TABLE}.0"})
    both = config.predicts and config.tie_word_embeddings
    return frozenset({TABLE}) if both else frozenset()


def end(
    config: EncoderConfig, phase: Phase, dtypes: Dtypes, conventions: Conventions
) -> tuple[Block, ...]:
    """Return the block of final norm and head, or none."""
    if not config.final_norm and config.head == "none":
        return ()
    body = BlockBuilder("head", dtypes)
    m, h = phase.tokens, config.hidden_size
    x = body.activation("hidden", m, h)
    if config.final_norm:
        x = add_norm(body, "final_norm", x, m, h, config.norm)
    chosen = selected(config, phase, conventions)
    if chosen:
        ids = body.activation(chosen, phase.batch, dtype="int32")
        x, m = body.gather("select", x, ids, (phase.batch, h, m), label="select"), phase.batch
    if config.head == "projection":
        body.linear("projection", x, m, config.projection_dim or 0, h)
    if config.head == "pooler":
        x = body.linear("dense", x, m, h, h, bias=True)
        body.elementwise("pooler", "tanh", (x,), m, h, label="activation")
    if config.head == "adaptive":
        _add_adaptive(body, config, x, m)
    if config.head == "mlm":
        x = body.linear("transform", x, m, h, h, bias=True)
        x = body.elementwise(
            "transform_activation", config.activation, (x,), m, h, label="activation"
        )
        x = add_norm(body, "transform_norm", x, m, h, config.norm)
    if config.predicts:
        name = TABLE if config.tie_word_embeddings else "lm_head.weight"
        # An encoder's head is no language model's: it counts as any other linear layer.
        _add_logits(body, "lm_head", x, (m, config.vocab_size, h), name, config.head_bias)
    return (body.block(1, shared=tied(config)),)


def _add_logits(
    body: BlockBuilder,
    name: str,
    x: str,
    size: tuple[int, int, int],
    weight: str,
    bias: bool,
    label: str = "linear",
) -> None:
    """Add the product with a table of words; `size` is m, n and k."""
    m, n, k = size
    inputs: tuple[str, ...] = (
        x,
        body.tensor(weight, (n, k), body.dtypes.embedding_dtype, Role.WEIGHT),
    )
    if bias:
        inputs += (body.vector(f"{name}.bias", n),)
    logits = body.activation(name, m, n)
    dims = {"batch": 1, "m": m, "n": n, "k": k}
    body.operator(name, "matmul", dims, inputs, (logits,), label, "n")


def _add_adaptive(body: BlockBuilder, config: EncoderConfig, x: str, m: int) -> None:
    """Add an adaptive softmax up to its logits, those of every cluster.

    Notes
    -----
    Words of a cluster have narrow vectors, tied to their embedding as is their projection, except
    that of the first cluster, which has its own (``tie_projs`` of transfo-xl-wt103).

    References
    ----------
    Grave et al., Efficient softmax approximation for GPUs, arXiv 1609.04309.
    """
    h = config.hidden_size
    for number, (words, width) in enumerate(clusters(config)):
        projection = "head_projection.0" if not number else f"embed_projection.{number}"
        narrow = body.linear(projection, x, m, width, h)
        table = f"{TABLE}.{number}"
        _add_logits(body, f"lm_head.{number}", narrow, (m, words, width), table, True, "lm_head")
        if not number:
            size = (m, len(config.cutoffs), h)
            _add_logits(body, "lm_head.clusters", narrow, size, "clusters.weight", True, "lm_head")
