"""Diffusion transformers with joint attention of text and image: SD3, FLUX, HunyuanVideo.

Blocks are ``conditioning``, ``patches``, ``double`` (text and image with weights of their own, the
counted ones that caching skips), ``single`` (both as one sequence, counted too) and ``end``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from accelsim.config import Count, Whole
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._dense import Dense, add_qk_norm, add_self_attention, add_sum
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
from accelsim.workload.families._refiner import add_refiner, refiner_parameters
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Phase
from accelsim.workload.tensor import packed_bytes

__all__ = [
    "INPUT",
    "PHASES",
    "Config",
    "MmditConfig",
    "active_parameter_count",
    "build",
    "default_extent",
    "parameter_count",
]

PHASES: Final = ("forward",)
INPUT: Final = "image"

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()
_STEP: Final = "step_embedding"


class MmditConfig(LatentConfig):
    """A multimodal diffusion transformer."""

    num_single_layers: Whole = 0
    """Layers over text and image as one sequence, after those."""
    patch_conv: bool = True
    """Latents become tokens by a convolution; by a linear layer over packed latents in FLUX."""
    text_dim: Count
    """Width of the text's tokens."""
    text_tokens: Count
    """Tokens of the text, where a pass does not say."""
    pooled_dim: Count
    """Width of the text's pooled vector."""
    guidance_embeds: bool = False
    """The guidance scale is an input of the network, which then runs without a second pass."""
    qk_norm: Literal["", "rmsnorm"] = ""
    """Norm of query and key over each head."""
    context_pre_only: bool = False
    """The last layer leaves the text as it is (SD3)."""
    dual_attention_layers: Whole = 0
    """First layers with a second attention over the image alone (SD3.5 medium)."""
    rotary: bool = False
    """Rotation of query and key."""
    refiner_layers: Whole = 0
    """Layers of a transformer that refines the text first (HunyuanVideo)."""


Config: Final = MmditConfig


@lru_cache(maxsize=512)
def build(
    config: MmditConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "mmdit",
) -> Workload:
    """Return one evaluation of the network.

    Parameters
    ----------
    config : MmditConfig
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
    text = phase.context_len or config.text_tokens
    inputs = ["latents", "text", "pooled", "scalar.0"]
    inputs += ["scalar.1"] * config.guidance_embeds
    inputs += ["refiner_step"] * (config.refiner_layers > 0)
    return denoiser(
        name, phase, _Writer(config, dtypes, phase.batch, grid, text).blocks(),
        parameter_count(config), inputs, (extent, grid, text),
        "distilled" if config.guidance_embeds else "twice the batch",
    )  # fmt: skip


class _Writer:
    """Writes the blocks of one pass."""

    def __init__(
        self, config: MmditConfig, dtypes: Dtypes, batch: int, grid: Grid, text: int
    ) -> None:
        self.config, self.dtypes, self.batch = config, dtypes, batch
        self.h, self.grid, self.text = config.hidden, grid, text
        self.rows = {"image": batch * grid.tokens, "text": batch * text}
        self.length = grid.tokens + text

    def blocks(self) -> tuple[Block, ...]:
        """Return all blocks."""
        config = self.config
        dual = config.dual_attention_layers
        plain = config.num_layers - dual - config.context_pre_only
        made = [*self.conditioning(), self.patches()]
        if dual:
            made.append(self.double("double.dual", dual, dual=True))
        if plain:
            made.append(self.double("double", plain))
        if config.context_pre_only:
            made.append(self.double("double.last", 1, last=True))
        if config.num_single_layers:
            made += [self.join(), self.single()]
        return (*made, self.end())

    def bytes(self, elements: int) -> dict[str, int]:
        """Return the dims of a transfer of activations."""
        return {"size_bytes": packed_bytes(elements, self.dtypes.activation)}

    def conditioning(self) -> tuple[Block, ...]:
        """Embed step, guidance and pooled text, and bring the text to the stream's width."""
        config, h, batch = self.config, self.h, self.batch
        body = BlockBuilder("conditioning", self.dtypes)
        x = add_embedder(body, "step", "scalar.0", batch, FREQUENCIES, h)
        if config.guidance_embeds:
            y = add_embedder(body, "guidance", "scalar.1", batch, FREQUENCIES, h)
            x = add_sum(body, "guidance_sum", x, y, batch, h)
        y = body.activation("pooled", batch, config.pooled_dim)
        y = add_mlp2(body, "pooled_proj", y, batch, (config.pooled_dim, h, h), "silu")
        x = add_sum(body, "pooled_sum", x, y, batch, h)
        # Every modulation starts from the SiLU of the embedding.
        body.elementwise(_STEP, "silu", (x,), batch, h, label="activation")
        if config.refiner_layers:
            first = body.block(1, {}, frozenset({_STEP}))
            return first, *add_refiner(
                self.dtypes, batch, self.text, config.text_dim, h, config.num_attention_heads,
                config.refiner_layers,
            )  # fmt: skip
        text = body.activation("text", self.rows["text"], config.text_dim)
        y = body.linear("context_embedder", text, self.rows["text"], h, config.text_dim,
                        bias=True)  # fmt: skip
        return (body.block(1, {"context": y}, frozenset({_STEP})),)

    def patches(self) -> Block:
        """Turn latents into tokens."""
        config, grid, (t, p, q) = self.config, self.grid, self.config.patch_size
        body = BlockBuilder("patches", self.dtypes)
        if config.patch_conv:
            size = (grid.frames * t, grid.height * p, grid.width * q)
            x = body.activation("latents", self.batch, config.in_channels, *size)
            x = body.conv(
                "patch_embed", x, self.batch, (config.in_channels, self.h), size, (t, p, q),
                stride=(t, p, q), padding=0,
            )  # fmt: skip
        else:
            packed = t * p * q * config.in_channels
            x = body.activation("latents", self.rows["image"], packed)
            x = body.linear("patch_embed", x, self.rows["image"], self.h, packed, bias=True)
        return body.block(1, {"hidden": x})

    def modulation(self, body: BlockBuilder, name: str, parts: int) -> str:
        """Add the linear layer that makes `parts` shifts, scales and gates."""
        step = body.activation(_STEP, self.batch, self.h)
        return body.linear(name, step, self.batch, parts * self.h, self.h, bias=True)

    def projected(self, body: BlockBuilder, side: str, x: str, shifts: str) -> tuple[str, str]:
        """Add norm, modulation and projections of one side; return its norm and projections."""
        rows, h = self.rows[side], self.h
        y = add_modulated_norm(body, f"{side}_norm1", x, shifts, rows, h)
        qkv = body.linear(f"{side}_qkv_proj", y, rows, 3 * h, h, bias=True, shard="n")
        shape = Dense(
            h, self.config.num_attention_heads, self.config.attention_head_dim,
            qk_norm=self.config.qk_norm,
        )  # fmt: skip
        return y, self.whole(body, f"{side}_qkv", qkv, rows, shape)

    def whole(self, body: BlockBuilder, name: str, qkv: str, rows: int, shape: Dense) -> str:
        """Add the norms of query and key; return what the attention's inputs are joined from."""
        return add_qk_norm(body, name, qkv, rows, shape, 2)

    def attend(self, body: BlockBuilder, parts: tuple[str, ...]) -> str:
        """Add the join of both sides, rotation, and attention over all tokens."""
        config, h, rows = self.config, self.h, self.batch * self.length
        qkv = body.activation("qkv", rows, 3 * h)
        body.operator("qkv", "transfer", self.bytes(rows * 3 * h), parts, (qkv,), "copy")
        qk = qkv
        if config.rotary:
            qk = body.elementwise(
                "rope", "rope", (qkv,), rows, 2 * h, label="rope", shard="columns"
            )
        return body.attention(
            "attention", (qk, qk, qkv), self.batch, config.num_attention_heads,
            (self.length, self.length), config.attention_head_dim,
        )  # fmt: skip

    def double(self, name: str, count: int, *, dual: bool = False, last: bool = False) -> Block:
        """Return layers in which text and image have weights of their own."""
        body = BlockBuilder(name, self.dtypes)
        streams = {
            "image": body.activation("hidden", self.rows["image"], self.h),
            "text": body.activation("context", self.rows["text"], self.h),
        }
        shifts = {
            "image": self.modulation(body, "image_modulation", 9 if dual else 6),
            "text": self.modulation(body, "text_modulation", 2 if last else 6),
        }
        made = {s: self.projected(body, s, x, shifts[s]) for s, x in streams.items()}
        context = self.attend(body, tuple(qkv for _, qkv in made.values()))
        for side in ("image",) if last else ("image", "text"):
            rows, h = self.rows[side], self.h
            y = body.activation(f"{side}_context", rows, h)
            body.operator(
                f"{side}_context", "transfer", self.bytes(rows * h), (context,), (y,), "copy"
            )
            y = body.linear(f"{side}_o_proj", y, rows, h, h, bias=True, shard="k")
            x = add_gated_sum(
                body, f"{side}_attention_sum", streams[side], y, shifts[side], rows, h
            )
            if dual and side == "image":
                x = self.second(body, x, streams[side], shifts[side])
            y = add_modulated_norm(body, f"{side}_norm2", x, shifts[side], rows, h)
            y = add_mlp2(body, f"{side}_mlp", y, rows, (h, 4 * h, h), "gelu_tanh", shard=True)
            streams[side] = add_gated_sum(body, f"{side}_mlp_sum", x, y, shifts[side], rows, h)
        carry = {"hidden": streams["image"]}
        if not last:
            carry["context"] = streams["text"]
        return body.block(count, carry, frozenset({_STEP}))

    def second(self, body: BlockBuilder, x: str, before: str, shifts: str) -> str:
        """Add the second attention, over the image alone, of the layer's input."""
        config, rows, h = self.config, self.rows["image"], self.h
        y = add_modulated_norm(body, "second_norm", before, shifts, rows, h)
        shape = Dense(
            h, config.num_attention_heads, config.attention_head_dim, qk_norm=config.qk_norm
        )
        y = add_self_attention(body, y, self.batch, self.grid.tokens, shape, prefix="second_")
        return add_gated_sum(body, "second_sum", x, y, shifts, rows, h)

    def join(self) -> Block:
        """Join text and image to one sequence."""
        body = BlockBuilder("join", self.dtypes)
        parts = (
            body.activation("context", self.rows["text"], self.h),
            body.activation("hidden", self.rows["image"], self.h),
        )
        rows = self.batch * self.length
        x = body.activation("joined", rows, self.h)
        body.operator("joined", "transfer", self.bytes(rows * self.h), parts, (x,), "copy")
        return body.block(1, {"stream": x})

    def single(self) -> Block:
        """Return layers over text and image as one sequence, attention beside the MLP."""
        config, h, rows = self.config, self.h, self.batch * self.length
        body = BlockBuilder("single", self.dtypes)
        x = body.activation("stream", rows, h)
        shifts = self.modulation(body, "modulation", 3)
        y = add_modulated_norm(body, "norm", x, shifts, rows, h)
        wide = body.linear("qkv_mlp_proj", y, rows, 7 * h, h, bias=True, shard="n")
        shape = Dense(
            h, config.num_attention_heads, config.attention_head_dim, qk_norm=config.qk_norm,
            rope=config.rotary,
        )  # fmt: skip
        qk = add_qk_norm(body, "qk", wide, rows, shape, 2)
        context = body.attention(
            "attention", (qk, qk, wide), self.batch, config.num_attention_heads,
            (self.length, self.length), config.attention_head_dim,
        )  # fmt: skip
        act = body.elementwise(
            "mlp_act", "gelu_tanh", (wide,), rows, 4 * h, label="activation", shard="columns"
        )
        y = body.linear("out_proj", (context, act), rows, h, 5 * h, bias=True, shard="k")
        x = add_gated_sum(body, "sum", x, y, shifts, rows, h)
        return body.block(config.num_single_layers, {"stream": x}, frozenset({_STEP}))

    def end(self) -> Block:
        """Add the last norm, its shift and scale, and the projection to latents."""
        config, h, rows = self.config, self.h, self.rows["image"]
        body = BlockBuilder("end", self.dtypes)
        if config.num_single_layers:
            stream = body.activation("stream", self.batch * self.length, h)
            x = body.activation("image", rows, h)
            body.operator("image", "transfer", self.bytes(rows * h), (stream,), (x,), "copy")
        else:
            x = body.activation("hidden", rows, h)
        shifts = self.modulation(body, "end_modulation", 2)
        x = add_modulated_norm(body, "end_norm", x, shifts, rows, h)
        t, p, q = config.patch_size
        body.linear("proj_out", x, rows, t * p * q * config.out_channels, h, bias=True)
        return body.block(1, shared=frozenset({_STEP}))


@lru_cache(maxsize=256)
def parameter_count(config: MmditConfig) -> int:
    """Return the number of parameters by a closed form."""
    h, (t, p, q) = config.hidden, config.patch_size
    norms = 2 * config.attention_head_dim * bool(config.qk_norm)
    side = 4 * h * (h + 1) + norms + mlp_parameters(h, 4 * h, h) + 6 * h * (h + 1)
    double = config.num_layers * 2 * side
    if config.context_pre_only:  # the last layer's text has keys, values, and two of six parts
        double -= h * (h + 1) + mlp_parameters(h, 4 * h, h) + 4 * h * (h + 1)
    double += config.dual_attention_layers * (4 * h * (h + 1) + norms + 3 * h * (h + 1))
    single = 3 * h * (h + 1) + 7 * h * (h + 1) + h * (5 * h + 1) + norms
    total = double + config.num_single_layers * single
    total += embedder_parameters(h) * (1 + config.guidance_embeds)
    total += mlp_parameters(config.pooled_dim, h, h)
    total += h * (t * p * q * config.in_channels + 1)
    total += 2 * h * (h + 1) + (h + 1) * t * p * q * config.out_channels
    if config.refiner_layers:
        return total + refiner_parameters(config.text_dim, h, config.refiner_layers)
    return total + h * (config.text_dim + 1)


active_parameter_count = parameter_count
