"""The blocks of a vision transformer: patches with positions, layers, and heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelsim.workload.build import BlockBuilder
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import Experts, add_experts, add_mlp, add_norm
from accelsim.workload.families._dense import Dense, add_self_attention, add_sum
from accelsim.workload.families._vision import add_positions
from accelsim.workload.graph import Block
from accelsim.workload.repeat import repeats
from accelsim.workload.tensor import Role, packed_bytes

if TYPE_CHECKING:
    from accelsim.workload.families.vit import VitConfig

__all__ = ["add_end", "add_layers", "add_patches", "add_vit_layer"]


def add_patches(config: VitConfig, dtypes: Dtypes, batch: int, patches: tuple[int, int]) -> Block:
    """Return the block that turns an image into tokens with positions."""
    h, side = config.hidden_size, config.patch_size
    size = (patches[0] * side, patches[1] * side)
    body = BlockBuilder("patches", dtypes)
    x = body.activation("image", batch, config.num_channels, *size)
    x = body.conv(
        "patch_embed", x, batch, (config.num_channels, h), size, (side, side), stride=side,
        padding=0, bias=config.patch_bias,
    )  # fmt: skip
    tokens, extra = patches[0] * patches[1], config.extra_tokens
    if extra:
        x = _join_learned(body, ("extra", "tokens"), x, batch, (extra, tokens), h)
    x = add_positions(body, x, batch, patches, config.grid, extra, h)
    if config.register_tokens:
        sizes = (config.register_tokens, tokens + extra)
        x = _join_learned(body, ("registers", "all_tokens"), x, batch, sizes, h)
    if config.first_norm:
        x = add_norm(body, "first_norm", x, batch * (tokens + config.tokens_besides), h,
                     "layernorm")  # fmt: skip
    return body.block(1, {"hidden": x})


def _join_learned(
    body: BlockBuilder, names: tuple[str, str], x: str, batch: int, sizes: tuple[int, int], h: int
) -> str:
    """Put learned tokens, as many as the first size, before those of every image."""
    name, joined = names
    learned, tokens = sizes
    weight = body.tensor(f"{name}.weight", (learned, h), body.dtypes.activation, Role.WEIGHT)
    y = body.activation(name, batch * learned, h)
    dims = {"rows": batch * learned, "columns": h, "table_rows": learned}
    body.operator(name, "gather", dims, (weight,), (y,), "embedding")
    made = body.activation(joined, batch * (learned + tokens), h)
    size = packed_bytes(batch * (learned + tokens) * h, body.dtypes.activation)
    body.operator(joined, "transfer", {"size_bytes": size}, (y, x), (made,), "copy")
    return made


def add_vit_layer(
    body: BlockBuilder, config: VitConfig, x: str, batch: int, tokens: int, *, moe: bool = False
) -> str:
    """Add attention and MLP (or experts), each after a norm; return the stream."""
    h, rows, heads = config.hidden_size, batch * tokens, config.num_attention_heads
    y = add_norm(body, "attention_norm", x, rows, h, "layernorm")
    shape = Dense(h, heads, h // heads, qkv_bias=config.qkv_bias)
    y = add_self_attention(body, y, batch, tokens, shape)
    x = _add_scaled(body, config, "attention", x, y, rows)
    y = add_norm(body, "mlp_norm", x, rows, h, "layernorm")
    if moe:
        experts = Experts(config.num_local_experts, config.num_experts_per_tok,
                          config.moe_intermediate_size or 0, bias=True)  # fmt: skip
        y = add_experts(body, y, rows, h, experts, activation=config.activation, gated=False)
    else:
        y = add_mlp(body, y, rows, h, config.intermediate_size, activation=config.activation,
                    gated=config.gated, bias=True)  # fmt: skip
    return _add_scaled(body, config, "mlp", x, y, rows)


def _add_scaled(
    body: BlockBuilder, config: VitConfig, name: str, x: str, y: str, rows: int
) -> str:
    h = config.hidden_size
    if config.layer_scale:
        scale = body.vector(f"{name}_scale", h)
        y = body.elementwise(f"{name}_scaled", "mul", (y, scale), rows, h, label="residual")
    return add_sum(body, f"{name}_residual", x, y, rows, h)


def add_layers(config: VitConfig, dtypes: Dtypes, batch: int, tokens: int) -> tuple[Block, ...]:
    """Return the layers; with experts, those are in every second layer."""
    moe = config.num_local_experts > 0
    plan = repeats([moe and layer % 2 == 1 for layer in range(config.num_hidden_layers)])
    blocks = []
    for number, (kinds, count) in enumerate(plan):
        body = BlockBuilder("layers" if len(plan) == 1 else f"layers.{number}", dtypes)
        x = body.activation("hidden", batch * tokens, config.hidden_size)
        for place, kind in enumerate(kinds):
            body.prefix = "" if len(kinds) == 1 else f"{place}."
            x = add_vit_layer(body, config, x, batch, tokens, moe=kind)
        blocks.append(body.block(count, {"hidden": x}))
    return tuple(blocks)


def add_end(config: VitConfig, dtypes: Dtypes, batch: int, tokens: int) -> Block:
    """Return the last norm and the head."""
    h, rows, head = config.hidden_size, batch * tokens, config.head
    body = BlockBuilder("end", dtypes)
    x = body.activation("hidden", rows, h)
    late = head in ("class_token", "projection")  # CLIP's norm is of the class token alone
    if not late:
        x = add_norm(body, "final_norm", x, rows, h, "layernorm")
    if head == "none":
        return body.block(1)
    for number in range(config.classifiers if head == "classifier" else 1):
        suffix = f".{number}" if number else ""
        ids = body.activation("class_positions", batch, dtype="int32")
        y = body.gather(f"select{suffix}", x, ids, (batch, h, rows), label="select")
        if late:
            y = add_norm(body, "final_norm", y, batch, h, "layernorm")
        if head == "projection":
            body.linear("projection", y, batch, config.projection_dim or 0, h)
        elif head == "pooler":
            y = body.linear("pooler_linear", y, batch, h, h, bias=True)
            body.elementwise("pooler", "tanh", (y,), batch, h, label="activation")
        elif head == "class_and_mean":
            y = _add_mean(body, x, y, batch, tokens - config.tokens_besides, h)
            body.linear("classifier", y, batch, config.num_classes, 2 * h, bias=True)
        elif head == "classifier":
            body.linear(f"classifier{suffix}", y, batch, config.num_classes, h, bias=True)
    return body.block(1)


def _add_mean(body: BlockBuilder, x: str, y: str, batch: int, patches: int, h: int) -> str:
    """Add the mean of the patches and join it to the class token."""
    mean, made = body.activation("mean", batch, h), body.activation("joined", batch, 2 * h)
    dims = {"rows": batch, "columns": h, "terms": patches}
    # Only the patches are read, not the tokens besides them.
    how = {"function": "mean", "window": True}
    body.operator("mean", "reduce", dims, (x,), (mean,), "pool", None, how)
    size = packed_bytes(batch * 2 * h, body.dtypes.activation)
    body.operator("joined", "transfer", {"size_bytes": size}, (y, mean), (made,), "copy")
    return made
