"""The transformer with which HunyuanVideo refines its text, conditioned on step and mean token."""

from __future__ import annotations

from accelsim.workload.build import BlockBuilder
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_norm
from accelsim.workload.families._dense import Dense, add_self_attention, add_sum
from accelsim.workload.families._diffusion import (
    FREQUENCIES,
    add_embedder,
    add_gated_sum,
    add_mlp2,
    embedder_parameters,
    mlp_parameters,
)
from accelsim.workload.graph import Block

__all__ = ["add_refiner", "refiner_parameters"]

_STEP = "refiner_embedding"


def add_refiner(
    dtypes: Dtypes, batch: int, tokens: int, width: int, hidden: int, heads: int, layers: int
) -> tuple[Block, Block]:
    """Return the blocks that bring a text to the stream ``context``.

    Parameters
    ----------
    batch, tokens : int
        Texts and the tokens of each.
    width, hidden, heads, layers : int
        Width of the text, of the stream, heads and layers.
    """
    rows = batch * tokens
    body = BlockBuilder("refiner.in", dtypes)
    text = body.activation("text", rows, width)
    step = add_embedder(body, "refiner_time", "refiner_step", batch, FREQUENCIES, hidden)
    pooled = body.activation("text_mean", batch, width)
    dims = {"rows": batch, "columns": width, "terms": tokens}
    body.operator(
        "text_mean", "reduce", dims, (text,), (pooled,), "reduce", None, {"function": "mean"}
    )
    y = add_mlp2(body, "refiner_pooled", pooled, batch, (width, hidden, hidden), "silu")
    step = add_sum(body, "refiner_sum", step, y, batch, hidden)
    body.elementwise(_STEP, "silu", (step,), batch, hidden, label="activation")
    x = body.linear("refiner_proj", text, rows, hidden, width, bias=True)
    first = body.block(1, {"context": x}, frozenset({_STEP}))
    body = BlockBuilder("refiner.layers", dtypes)
    x = body.activation("context", rows, hidden)
    step = body.activation(_STEP, batch, hidden)
    gates = body.linear("gates", step, batch, 2 * hidden, hidden, bias=True)
    y = add_norm(body, "norm1", x, rows, hidden, "layernorm")
    y = add_self_attention(body, y, batch, tokens, Dense(hidden, heads, hidden // heads))
    x = add_gated_sum(body, "attention_sum", x, y, gates, rows, hidden)
    y = add_norm(body, "norm2", x, rows, hidden, "layernorm")
    y = add_mlp2(body, "mlp", y, rows, (hidden, 4 * hidden, hidden), "silu", shard=True)
    x = add_gated_sum(body, "mlp_sum", x, y, gates, rows, hidden)
    return first, body.block(layers, {"context": x}, frozenset({_STEP}))


def refiner_parameters(width: int, hidden: int, layers: int) -> int:
    """Return the parameters of the refiner."""
    layer = 4 * hidden * (hidden + 1) + 4 * hidden + mlp_parameters(hidden, 4 * hidden, hidden)
    layer += 2 * hidden * (hidden + 1)
    total = embedder_parameters(hidden) + mlp_parameters(width, hidden, hidden)
    return total + hidden * (width + 1) + layers * layer
