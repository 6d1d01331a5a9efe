"""CogVideoX: text and video as one sequence with weights in common, modulated apart.

Blocks are ``conditioning``, ``layers`` (counted, the ones that caching skips) and ``end``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from accelsim.config import Count
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_norm
from accelsim.workload.families._dense import Dense, add_self_attention
from accelsim.workload.families._diffusion import (
    LatentConfig,
    add_gated_sum,
    add_mlp2,
    add_modulated_norm,
    default_extent,
    denoiser,
    grid_of,
    mlp_parameters,
)
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Phase
from accelsim.workload.tensor import packed_bytes

__all__ = [
    "INPUT",
    "PHASES",
    "CogVideoXConfig",
    "Config",
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


class CogVideoXConfig(LatentConfig):
    """A video diffusion transformer over text and video tokens together."""

    attention_head_dim: Count = 64
    """Width of a head; times heads the width of the stream."""
    in_channels: Count = 16
    """Channels of the latent."""
    out_channels: Count = 16
    """Channels of the prediction."""
    time_embed_dim: Count = 512
    """Width of the step's embedding."""
    text_embed_dim: Count = 4096
    """Width of the text's tokens."""
    max_text_seq_length: Count = 226
    """Tokens of the text, where a pass does not say."""
    rotary: bool = False
    """Rotation of query and key; an added table without weights otherwise."""
    sample_size: tuple[Count, Count] = (480, 720)
    """Height and width in pixels, where a pass does not say."""
    sample_frames: Count = 49
    """Frames, where a pass does not say."""
    vae_frames: Count = 4
    """Frames per latent; the first has its own."""


Config: Final = CogVideoXConfig


@lru_cache(maxsize=512)
def build(
    config: CogVideoXConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "cogvideox",
) -> Workload:
    """Return one evaluation of the network.

    Parameters
    ----------
    config : CogVideoXConfig
        The model.
    phase : Phase
        ``forward``; its extent is that of the video, its context the text's tokens.
    dtypes, conventions, name
        As for every family.

    Raises
    ------
    ConfigError
        If the video is no whole number of tokens.
    """
    del conventions
    extent = phase.extent or default_extent(config)
    grid = grid_of(config, extent, name)
    text = phase.context_len or config.max_text_seq_length
    batch, length = phase.batch, grid.tokens + text
    t, p, q = config.patch_size
    size = (grid.frames * t, grid.height * p, grid.width * q)
    blocks = (
        _conditioning(config, dtypes, batch, size, grid.tokens, text),
        _layers(config, dtypes, batch, length),
        _end(config, dtypes, batch, length, grid.tokens),
    )
    inputs = ["latents", "text", "step"]
    return denoiser(name, phase, blocks, parameter_count(config), inputs, (extent, grid, text))


def _conditioning(
    config: CogVideoXConfig, dtypes: Dtypes, batch: int, size: tuple[int, ...], tokens: int,
    text: int,
) -> Block:  # fmt: skip
    h, width = config.hidden, config.time_embed_dim
    body = BlockBuilder("conditioning", dtypes)
    step = add_mlp2(
        body, "step_embed", body.activation("step", batch, h), batch, (h, width, width), "silu"
    )
    body.elementwise(_STEP, "silu", (step,), batch, width, label="activation")
    x = body.activation("latents", batch, config.in_channels, *size)
    x = body.conv(
        "patch_embed", x, batch, (config.in_channels, h), size, config.patch_size,
        stride=config.patch_size, padding=0,
    )  # fmt: skip
    y = body.activation("text", batch * text, config.text_embed_dim)
    y = body.linear("text_proj", y, batch * text, h, config.text_embed_dim, bias=True)
    joined = body.activation("joined", batch * (tokens + text), h)
    moved = packed_bytes(batch * (tokens + text) * h, dtypes.activation)
    body.operator("joined", "transfer", {"size_bytes": moved}, (y, x), (joined,), "copy")
    return body.block(1, {"hidden": joined}, frozenset({_STEP}))


def _layers(config: CogVideoXConfig, dtypes: Dtypes, batch: int, length: int) -> Block:
    h, rows, width = config.hidden, batch * length, config.time_embed_dim
    body = BlockBuilder("layers", dtypes)
    x = body.activation("hidden", rows, h)
    shape = Dense(h, config.num_attention_heads, config.attention_head_dim, qk_norm="layernorm",
                  rope=config.rotary)  # fmt: skip
    for part in ("attention", "mlp"):
        step = body.activation(_STEP, batch, width)
        shifts = body.linear(f"{part}_modulation", step, batch, 6 * h, width, bias=True)
        y = add_modulated_norm(body, f"{part}_norm", x, shifts, rows, h, affine=True)
        if part == "attention":
            y = add_self_attention(body, y, batch, length, shape)
        else:
            y = add_mlp2(body, "mlp", y, rows, (h, 4 * h, h), "gelu_tanh", shard=True)
        x = add_gated_sum(body, f"{part}_sum", x, y, shifts, rows, h)
    return body.block(config.num_layers, {"hidden": x}, frozenset({_STEP}))


def _end(config: CogVideoXConfig, dtypes: Dtypes, batch: int, length: int, tokens: int) -> Block:
    h, rows, width = config.hidden, batch * tokens, config.time_embed_dim
    body = BlockBuilder("end", dtypes)
    x = body.activation("hidden", batch * length, h)
    x = add_norm(body, "norm_final", x, batch * length, h, "layernorm")
    y = body.activation("video", rows, h)
    moved = packed_bytes(rows * h, dtypes.activation)
    body.operator("video", "transfer", {"size_bytes": moved}, (x,), (y,), "copy")
    step = body.activation(_STEP, batch, width)
    shifts = body.linear("end_modulation", step, batch, 2 * h, width, bias=True)
    y = add_modulated_norm(body, "norm_out", y, shifts, rows, h, affine=True)
    t, p, q = config.patch_size
    body.linear("proj_out", y, rows, t * p * q * config.out_channels, h, bias=True)
    return body.block(1, shared=frozenset({_STEP}))


@lru_cache(maxsize=256)
def parameter_count(config: CogVideoXConfig) -> int:
    """Return the number of parameters by a closed form."""
    h, width, (t, p, q) = config.hidden, config.time_embed_dim, config.patch_size
    layer = 2 * (6 * h * (width + 1) + 2 * h) + 4 * h * (h + 1) + 4 * config.attention_head_dim
    layer += mlp_parameters(h, 4 * h, h)
    total = config.num_layers * layer + h * (t * p * q * config.in_channels + 1)
    total += h * (config.text_embed_dim + 1) + mlp_parameters(h, width, width)
    total += 2 * h + 2 * h * (width + 1) + 2 * h
    return total + (h + 1) * t * p * q * config.out_channels


active_parameter_count = parameter_count
