"""The transformers of a UNet: over the positions of an image, and over the frames of a video."""

from __future__ import annotations

from accelsim.workload.build import BlockBuilder
from accelsim.workload.families._blocks import add_norm
from accelsim.workload.families._dense import (
    Dense,
    add_cross_attention,
    add_self_attention,
    add_sum,
)
from accelsim.workload.families._image import Image, add_group_norm
from accelsim.workload.tensor import packed_bytes

__all__ = ["CONTEXT", "add_motion", "add_transformer"]

CONTEXT = "context"
"""Name of the text that conditions the network."""


def add_transformer(
    body: BlockBuilder, name: str, x: str, image: Image, width: int, heads: int,
    context_width: int, text: int,
) -> str:  # fmt: skip
    """Add one layer: attention over positions, over the text, and a gated MLP."""
    shape = Dense(width, heads, width // heads, qkv_bias=False)
    rows = image.rows
    y = add_norm(body, f"{name}.norm1", x, rows, width, "layernorm")
    y = add_self_attention(body, y, image.batch, image.positions, shape, prefix=f"{name}.self_")
    x = add_sum(body, f"{name}.self_sum", x, y, rows, width)
    if context_width:
        y = add_norm(body, f"{name}.norm2", x, rows, width, "layernorm")
        context = body.activation(CONTEXT, image.batch * text, context_width)
        other = Dense(width, heads, width // heads, qkv_bias=False, context_width=context_width)
        y = add_cross_attention(
            body, y, context, image.batch, (image.positions, text), other, prefix=f"{name}.cross_"
        )
        x = add_sum(body, f"{name}.cross_sum", x, y, rows, width)
    return _add_mlp(body, name, x, rows, width)


def _add_mlp(body: BlockBuilder, name: str, x: str, rows: int, width: int) -> str:
    """Add norm, gated MLP of four times the width, and residual sum."""
    y = add_norm(body, f"{name}.norm3", x, rows, width, "layernorm")
    y = body.linear(f"{name}.geglu", y, rows, 8 * width, width, bias=True, shard="n")
    y = body.elementwise(
        f"{name}.gelu", "gelu_mul", (y,), rows, 4 * width, operands=2, label="activation",
        shard="columns",
    )  # fmt: skip
    y = body.linear(f"{name}.down", y, rows, width, 4 * width, bias=True, shard="k")
    return add_sum(body, f"{name}.mlp_sum", x, y, rows, width)


def add_motion(
    body: BlockBuilder, name: str, x: str, image: Image, width: int, frames: int, heads: int
) -> str:
    """Add a temporal transformer: each position attends over the frames, twice.

    References
    ----------
    AnimateDiff, arXiv 2307.04725; diffusers AnimateDiffTransformer3D.
    """
    rows, sequences = image.rows, image.rows // frames
    residual = x
    shape = Dense(width, heads, width // heads, qkv_bias=False)
    y = add_group_norm(body, f"{name}.norm", x, image, width, silu=False)
    size = packed_bytes(rows * width, body.dtypes.activation)
    turned = body.activation(f"{name}.to_frames", rows, width)
    body.operator(f"{name}.to_frames", "transfer", {"size_bytes": size}, (y,), (turned,), "copy")
    y = body.linear(f"{name}.proj_in", turned, rows, width, width, bias=True)
    for part in ("attention1", "attention2"):
        z = add_norm(body, f"{name}.{part}_norm", y, rows, width, "layernorm")
        z = add_self_attention(body, z, sequences, frames, shape, prefix=f"{name}.{part}_")
        y = add_sum(body, f"{name}.{part}_sum", y, z, rows, width)
    y = _add_mlp(body, name, y, rows, width)
    y = body.linear(f"{name}.proj_out", y, rows, width, width, bias=True)
    back = body.activation(f"{name}.to_images", rows, width)
    body.operator(f"{name}.to_images", "transfer", {"size_bytes": size}, (y,), (back,), "copy")
    return add_sum(body, f"{name}.sum", residual, back, rows, width)
