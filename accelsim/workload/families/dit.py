"""Diffusion transformers of one stream: DiT, PixArt, Wan and Open-Sora.

Image or video tokens attend to themselves, and to the text by cross attention.  Blocks are
``conditioning``, ``patches``, ``layers`` (counted, the ones that caching skips) and ``end``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from accelsim.config import Count
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_norm
from accelsim.workload.families._dense import (
    Dense,
    add_cross_attention,
    add_self_attention,
    add_sum,
)
from accelsim.workload.families._diffusion import (
    FREQUENCIES,
    Grid,
    LatentConfig,
    add_embedder,
    add_gated_sum,
    add_mlp2,
    add_modulated_norm,
    default_extent,
    denoiser,
    embedder_parameters,
    grid_of,
    mlp_parameters,
)
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Phase
from accelsim.workload.tensor import Role, packed_bytes

__all__ = [
    "INPUT",
    "PHASES",
    "Config",
    "DitConfig",
    "active_parameter_count",
    "build",
    "default_extent",
    "parameter_count",
]

PHASES: Final = ("forward",)
INPUT: Final = "image"

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()
_MODULATION: Final = "modulation"
_STEP: Final = "step_embedding"
_TEXT: Final = "text_proj_2"
_FIRST: Final = "first."


class DitConfig(LatentConfig):
    """A diffusion transformer whose text, if any, is attended to by cross attention."""

    ffn_dim: Count
    """Width of the MLP."""
    conditioning: Literal["per_layer", "shared"] = "shared"
    """Each layer has its own linear layer of shifts and scales (DiT), or one serves all, with a
    table of offsets per layer (PixArt)."""
    embedder_per_layer: bool = False
    """Each layer has its own embedding of step and class, as diffusers' DiT."""
    num_classes: Count | None = None
    """Rows of the table of classes, the one for none included."""
    size_embedding: Count | None = None
    """Width of each of the two embeddings of the image's size and aspect (PixArt at 1024)."""
    scalar_embeddings: Count = 1
    """Embedded numbers of a request: the step, and in Open-Sora the frame rate."""
    text_dim: Count | None = None
    """Width of the text that is attended to; no cross attention where absent."""
    text_tokens: Count = 512
    """Tokens of the text, where a pass does not say."""
    cross_norm: bool = False
    """A norm with weights before cross attention."""
    qk_norm: Literal["", "rmsnorm", "rmsnorm_all", "layernorm"] = ""
    """Norm of query and key: over each head, or over all heads together."""
    cross_qk_norm: bool = False
    """Norm of query and key also in cross attention."""
    rotary: bool = False
    """Rotation of query and key in self attention."""
    temporal: bool = False
    """After each layer over the positions of a frame comes one over the frames of a position."""


Config: Final = DitConfig


@lru_cache(maxsize=512)
def build(
    config: DitConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "dit",
) -> Workload:
    """Return one evaluation of the network.

    Parameters
    ----------
    config : DitConfig
        The model.
    phase : Phase
        ``forward``; its extent is that of the image or video, its context the text's tokens.
    dtypes, conventions, name
        As for every family.

    Raises
    ------
    ConfigError
        If the image or video is no whole number of tokens.
    """
    del conventions
    extent = phase.extent or default_extent(config)
    grid = grid_of(config, extent, name)
    text = (phase.context_len or config.text_tokens) if config.text_dim else 0
    writer = _Writer(config, dtypes, phase.batch, grid, text)
    inputs = ["latents", *(f"scalar.{i}" for i in range(config.scalar_embeddings))]
    inputs += ["class_ids"] * (config.num_classes is not None)
    inputs += ["sizes", "aspect"] * (config.size_embedding is not None)
    inputs += ["text"] * bool(text)
    return denoiser(
        name, phase, writer.blocks(), parameter_count(config), inputs, (extent, grid, text)
    )


class _Writer:
    """Writes the blocks of one pass."""

    def __init__(
        self, config: DitConfig, dtypes: Dtypes, batch: int, grid: Grid, text: int
    ) -> None:
        self.config, self.dtypes, self.batch = config, dtypes, batch
        self.grid, self.text, self.rows = grid, text, batch * grid.tokens

    def blocks(self) -> tuple[Block, ...]:
        """Return all blocks."""
        count = self.config.num_layers
        if not self.config.embedder_per_layer:
            return (self.conditioning(), self.patches(), self.layers("layers", count), self.end())
        # The end embeds the step once more with the first layer's weights.
        several = (self.layers("layers", count - 1),) if count > 1 else ()
        return (self.patches(), self.layers("layers.first", 1, _FIRST), *several, self.end())

    def embed(self, body: BlockBuilder, own: str = "") -> str:
        """Add the embedding of step, class and sizes; weights are those of `own`."""
        config, h, batch = self.config, self.config.hidden, self.batch
        x = ""
        for number in range(config.scalar_embeddings):
            source = f"scalar.{number}"
            y = add_embedder(body, f"{own}embed.{number}", source, batch, FREQUENCIES, h)
            x = add_sum(body, f"{own}embed.{number}_sum", x, y, batch, h) if x else y
        if config.num_classes:
            ids = body.activation("class_ids", batch, dtype="int32")
            shape = (config.num_classes, h)
            table = body.tensor(f"{own}classes.weight", shape, self.dtypes.weight, Role.WEIGHT)
            y = body.gather(f"{own}classes", table, ids, (batch, h, shape[0]), label="embedding")
            x = add_sum(body, f"{own}class_sum", x, y, batch, h)
        if config.size_embedding:
            width = config.size_embedding
            sizes = add_embedder(body, "size", "sizes", 2 * batch, FREQUENCIES, width)
            aspect = add_embedder(body, "ratio", "aspect", batch, FREQUENCIES, width)
            y = body.activation("size_join", batch, 3 * width)
            size = packed_bytes(batch * 3 * width, self.dtypes.activation)
            body.operator(
                "size_join", "transfer", {"size_bytes": size}, (sizes, aspect), (y,), "copy"
            )
            x = add_sum(body, "size_sum", x, y, batch, h)
        return x

    def conditioning(self) -> Block:
        """Embed the step, make the shifts and scales of all layers, project the text."""
        config, h = self.config, self.config.hidden
        body = BlockBuilder("conditioning", self.dtypes)
        x = self.embed(body)
        shared = {x}
        step = body.elementwise(_STEP, "silu", (x,), self.batch, h, label="activation")
        shared.add(step)
        if config.conditioning == "shared":
            shared.add(body.linear(_MODULATION, step, self.batch, 6 * h, h, bias=True))
        if config.text_dim:
            given = body.activation("text", self.batch * self.text, config.text_dim)
            y = add_mlp2(
                body, "text_proj", given, self.batch * self.text, (config.text_dim, h, h),
                "gelu_tanh",
            )  # fmt: skip
            shared.add(y)
        return body.block(1, {}, frozenset(shared))

    def patches(self) -> Block:
        """Turn latents into tokens, and add the embedding of their positions."""
        config, grid = self.config, self.grid
        t, p, q = config.patch_size
        body = BlockBuilder("patches", self.dtypes)
        size = (grid.frames * t, grid.height * p, grid.width * q)
        x = body.activation("latents", self.batch, config.in_channels, *size)
        x = body.conv(
            "patch_embed", x, self.batch, (config.in_channels, config.hidden), size, (t, p, q),
            stride=(t, p, q), padding=0,
        )  # fmt: skip
        x = body.elementwise("positions", "add", (x,), self.rows, config.hidden, label="embedding")
        return body.block(1, {"hidden": x})

    def layers(self, name: str, count: int, own: str = "") -> Block:
        """Return `count` repeated layers, whose embedding of the step has the prefix `own`."""
        config, h = self.config, self.config.hidden
        body = BlockBuilder(name, self.dtypes)
        x = body.activation("hidden", self.rows, h)
        grid = self.grid
        if config.temporal:
            space = (self.batch * grid.frames, grid.height * grid.width)
            x = self.layer(body, "spatial_", x, *space)
            x = self.layer(body, "temporal_", x, self.rows // grid.frames, grid.frames)
        else:
            x = self.layer(body, own, x, self.batch, grid.tokens)
        shared = {_MODULATION, _STEP, _TEXT, *(self.embedder_weights() if own else ())}
        return body.block(count, {"hidden": x}, frozenset(shared))

    def embedder_weights(self) -> tuple[str, ...]:
        """Return the weights that embed the step in the first layer and at the end."""
        layers = [f"{_FIRST}embed.{n}_{i}.{kind}" for n in range(self.config.scalar_embeddings)
                  for i in (1, 2) for kind in ("weight", "bias")]  # fmt: skip
        return (*layers, f"{_FIRST}classes.weight")

    def modulation(self, body: BlockBuilder, prefix: str) -> str:
        """Add what makes the shifts, scales and gates of one layer."""
        config, h = self.config, self.config.hidden
        if config.conditioning == "shared":
            table = body.tensor(
                f"{prefix}scale_shift_table", (6, h), self.dtypes.activation, Role.WEIGHT
            )
            given = body.activation(_MODULATION, self.batch, 6 * h)
            return body.elementwise(
                f"{prefix}offsets", "add", (given, table), self.batch, 6 * h, label="modulation"
            )
        if config.embedder_per_layer:
            x = self.embed(body, prefix)
            step = body.elementwise(
                f"{prefix}step", "silu", (x,), self.batch, h, label="activation"
            )
        else:
            step = body.activation(_STEP, self.batch, h)
        return body.linear(f"{prefix}modulation", step, self.batch, 6 * h, h, bias=True)

    def layer(self, body: BlockBuilder, prefix: str, x: str, sequences: int, length: int) -> str:
        """Add attention over `sequences` of `length` tokens, over the text, and an MLP."""
        config, h, rows = self.config, self.config.hidden, self.rows
        shape = Dense(
            h, config.num_attention_heads, config.attention_head_dim, qk_norm=config.qk_norm,
            rope=config.rotary,
        )  # fmt: skip
        shifts = self.modulation(body, prefix)
        y = add_modulated_norm(body, f"{prefix}norm1", x, shifts, rows, h)
        y = add_self_attention(body, y, sequences, length, shape, prefix=prefix)
        x = add_gated_sum(body, f"{prefix}attention_sum", x, y, shifts, rows, h)
        if config.text_dim:
            y = x
            if config.cross_norm:
                y = add_norm(body, f"{prefix}cross_norm", x, rows, h, "layernorm")
            text = body.activation(_TEXT, self.batch * self.text, h)
            cross = Dense(
                h, config.num_attention_heads, config.attention_head_dim,
                qk_norm=config.qk_norm if config.cross_qk_norm else "",
            )  # fmt: skip
            y = add_cross_attention(
                body, y, text, self.batch, (self.grid.tokens, self.text), cross,
                prefix=f"{prefix}cross_",
            )  # fmt: skip
            x = add_sum(body, f"{prefix}cross_sum", x, y, rows, h)
        y = add_modulated_norm(body, f"{prefix}norm2", x, shifts, rows, h)
        y = add_mlp2(
            body, f"{prefix}mlp", y, rows, (h, config.ffn_dim, h), "gelu_tanh", shard=True
        )
        return add_gated_sum(body, f"{prefix}mlp_sum", x, y, shifts, rows, h)

    def end(self) -> Block:
        """Add the last norm with its own shift and scale, and the projection to latents."""
        config, h = self.config, self.config.hidden
        body = BlockBuilder("end", self.dtypes)
        x = body.activation("hidden", self.rows, h)
        if config.conditioning == "shared":
            table = body.tensor(
                "end.scale_shift_table", (2, h), self.dtypes.activation, Role.WEIGHT
            )
            step = body.activation(self.step_name, self.batch, h)
            shifts = body.activation("end_offsets", self.batch, 2 * h)
            dims = {"rows": self.batch, "columns": 2 * h, "operands": 2}
            body.operator(
                "end_offsets", "elementwise", dims, (table, step), (shifts,), "modulation", None,
                {"function": "add", "part": True},
            )  # fmt: skip
        else:
            if config.embedder_per_layer:
                # diffusers embeds the step once more, with the first layer's weights.
                step = self.embed(body, _FIRST)
                step = body.elementwise("end_step", "silu", (step,), self.batch, h,
                                        label="activation")  # fmt: skip
            else:
                step = body.activation(_STEP, self.batch, h)
            shifts = body.linear("end_modulation", step, self.batch, 2 * h, h, bias=True)
        x = add_modulated_norm(body, "end_norm", x, shifts, self.rows, h)
        t, p, q = config.patch_size
        body.linear("proj_out", x, self.rows, t * p * q * config.out_channels, h, bias=True)
        return body.block(1, shared=frozenset({_STEP, self.step_name, *self.embedder_weights()}))

    @property
    def step_name(self) -> str:
        """Name of the embedding of step, class and sizes."""
        if self.config.size_embedding:
            return "size_sum"
        if self.config.num_classes:
            return "class_sum"
        last = self.config.scalar_embeddings - 1
        return f"embed.{last}_sum" if last else "embed.0_2"


def _embedding(config: DitConfig) -> int:
    """Return the parameters that embed step, class and sizes."""
    total = config.scalar_embeddings * embedder_parameters(config.hidden)
    total += (config.num_classes or 0) * config.hidden
    if config.size_embedding:
        total += 2 * embedder_parameters(config.size_embedding)
    return total


def _norms(config: DitConfig) -> int:
    """Return the parameters of the norms of one attention's query and key."""
    kind, _, every = config.qk_norm.partition("_")
    width = config.hidden if every else config.attention_head_dim
    return {"": 0, "rmsnorm": 2, "layernorm": 4}[kind] * width


def _layer(config: DitConfig) -> int:
    h, shared = config.hidden, config.conditioning == "shared"
    total = 4 * h * (h + 1) + _norms(config) + mlp_parameters(h, config.ffn_dim, h)
    total += 6 * h if shared else 6 * h * (h + 1)
    total += _embedding(config) * config.embedder_per_layer
    if config.text_dim:
        total += 4 * h * (h + 1) + _norms(config) * config.cross_qk_norm
        total += 2 * h * config.cross_norm
    return total


@lru_cache(maxsize=256)
def parameter_count(config: DitConfig) -> int:
    """Return the number of parameters by a closed form."""
    h, (t, p, q) = config.hidden, config.patch_size
    total = h * (t * p * q * config.in_channels + 1)
    total += (h + 1) * t * p * q * config.out_channels
    total += config.num_layers * (2 if config.temporal else 1) * _layer(config)
    total += 0 if config.embedder_per_layer else _embedding(config)
    if config.conditioning == "shared":
        total += 6 * h * (h + 1) + 2 * h
    else:
        total += 2 * h * (h + 1)
    return total + (mlp_parameters(config.text_dim, h, h) if config.text_dim else 0)


active_parameter_count = parameter_count
