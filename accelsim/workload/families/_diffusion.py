"""Parts of diffusion transformers: latents as tokens, embeddings of the step, modulation.

A step's embedding shifts, scales and gates the stream (adaptive layer norm); one linear layer
makes all shifts, scales and gates of a layer.
"""

from __future__ import annotations

from typing import NamedTuple

from accelsim.config import Count, Spec
from accelsim.errors import ConfigError
from accelsim.workload.build import BlockBuilder
from accelsim.workload.families._dense import add_plain_norm
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Extent, Phase

__all__ = [
    "Grid",
    "LatentConfig",
    "add_embedder",
    "add_gated_sum",
    "add_mlp2",
    "add_modulated_norm",
    "default_extent",
    "denoiser",
    "embedder_parameters",
    "grid_of",
    "mlp_parameters",
]

FREQUENCIES = 256
"""Width of the sinusoids that a step's number is turned into."""

Patch = tuple[Count, Count, Count]
"""Latents per token: frames, height, width."""


class LatentConfig(Spec):
    """What diffusion transformers have in common: latents cut into tokens."""

    num_attention_heads: Count
    """Heads."""
    attention_head_dim: Count
    """Width of a head; times heads the width of the stream."""
    num_layers: Count
    """Number of repeated layers."""
    in_channels: Count
    """Channels of the latent."""
    out_channels: Count
    """Channels of the prediction."""
    patch_size: Patch = (1, 2, 2)
    """Latents per token: frames, height, width."""
    sample_size: tuple[Count, Count]
    """Height and width in pixels, where a pass does not say."""
    sample_frames: Count = 1
    """Frames, where a pass does not say."""
    vae_scale: Count = 8
    """Pixels per latent, along a side."""
    vae_frames: Count = 1
    """Frames per latent; the first has its own."""

    @property
    def hidden(self) -> int:
        """Width of the stream."""
        return self.num_attention_heads * self.attention_head_dim


def default_extent(config: LatentConfig) -> Extent:
    """Return the size that the model makes by default."""
    return Extent(*config.sample_size, config.sample_frames)


class Grid(NamedTuple):
    """Tokens of one image or video: frames, height, width."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """Tokens of one image or video."""
        return self.frames * self.height * self.width


def grid_of(config: LatentConfig, extent: Extent, name: str) -> Grid:
    """Return the tokens that an image or a video becomes.

    Parameters
    ----------
    config : LatentConfig
        Sizes of latents and of tokens.
    extent : Extent
        Size in pixels and frames.
    name : str
        Name of the model, for the error.

    Raises
    ------
    ConfigError
        If the sizes do not divide.
    """
    patch, vae_scale, vae_frames = config.patch_size, config.vae_scale, config.vae_frames
    latent_frames, rest = divmod(extent.frames - 1, vae_frames)
    frames = latent_frames + 1
    if rest:
        raise ConfigError(
            f"{extent.frames} frames: `{name}` makes 1 + a multiple of {vae_frames}",
            path="workload.frames",
        )
    sides = []
    for side, size, per in (
        ("height", extent.height, patch[1]),
        ("width", extent.width, patch[2]),
    ):
        if size % (vae_scale * per):
            raise ConfigError(
                f"{size} is no multiple of {vae_scale * per}, the pixels of a token of `{name}`",
                path=f"workload.{side}",
            )
        sides.append(size // (vae_scale * per))
    if frames % patch[0]:
        raise ConfigError(
            f"{frames} latent frames are no multiple of the patch's {patch[0]}",
            path="workload.frames",
        )
    return Grid(frames // patch[0], *sides)


def denoiser(
    name: str, phase: Phase, blocks: tuple[Block, ...], parameters: int, inputs: list[str],
    sizes: tuple[Extent, Grid, int], guidance: str = "twice the batch",
) -> Workload:  # fmt: skip
    """Return one evaluation of a diffusion transformer.

    Parameters
    ----------
    sizes : (Extent, Grid, int)
        Image or video, its tokens, and the tokens of the text.
    guidance : str
        How classifier-free guidance enters.
    """
    extent, grid, text = sizes
    return Workload(
        name=name,
        blocks=blocks,
        parameters=parameters,
        active_parameters=parameters,
        kv_bytes_per_token=0,
        phase=str(phase),
        batch=phase.batch,
        tokens=phase.batch * grid.tokens,
        inputs=tuple(inputs),
        outputs=("proj_out",),
        conventions={
            "extent": f"{extent}, {grid.tokens} tokens",
            "text": f"{text} tokens",
            "guidance": guidance,
        },
    )


def add_mlp2(
    body: BlockBuilder, name: str, x: str, rows: int, sizes: tuple[int, int, int], function: str,
    *, bias: bool = True, shard: bool = False,
) -> str:  # fmt: skip
    """Add two linear layers with a function between; `sizes` are input, middle and output."""
    inside, middle, outside = sizes
    x = body.linear(f"{name}_1", x, rows, middle, inside, bias=bias, shard="n" if shard else None)
    x = body.elementwise(
        f"{name}_act", function, (x,), rows, middle, label="activation",
        shard="columns" if shard else None,
    )  # fmt: skip
    return body.linear(
        f"{name}_2", x, rows, outside, middle, bias=bias, shard="k" if shard else None
    )


def mlp_parameters(inside: int, middle: int, outside: int) -> int:
    """Return the parameters of two linear layers with biases."""
    return middle * (inside + 1) + outside * (middle + 1)


def add_embedder(
    body: BlockBuilder, name: str, source: str, rows: int, width: int, hidden: int
) -> str:
    """Add the embedding of a number that comes from the host as sinusoids."""
    x = body.activation(source, rows, width)
    return add_mlp2(body, name, x, rows, (width, hidden, hidden), "silu")


def embedder_parameters(hidden: int, width: int = FREQUENCIES) -> int:
    """Return the parameters of an embedding of a number."""
    return mlp_parameters(width, hidden, hidden)


def _mixed(
    body: BlockBuilder, name: str, function: str, inputs: tuple[str, ...], rows: int, columns: int
) -> str:
    y = body.activation(name, rows, columns)
    dims = {"rows": rows, "columns": columns, "operands": len(inputs)}
    attributes = {"function": function, "part": True}
    body.operator(name, "elementwise", dims, inputs, (y,), "modulation", None, attributes)
    return y


def add_modulated_norm(
    body: BlockBuilder, name: str, x: str, modulation: str, rows: int, columns: int,
    *, affine: bool = False,
) -> str:  # fmt: skip
    """Add a layer norm and the shift and scale that `modulation` holds."""
    if affine:
        weights = (body.vector(f"{name}.weight", columns), body.vector(f"{name}.bias", columns))
        y = body.norm(name, x, rows, columns, "layernorm", weights)
    else:
        y = add_plain_norm(body, name, x, rows, columns)
    return _mixed(body, f"{name}_modulated", "modulate", (y, modulation), rows, columns)


def add_gated_sum(
    body: BlockBuilder, name: str, x: str, y: str, modulation: str, rows: int, columns: int
) -> str:
    """Add ``x + gate y``, with the gate that `modulation` holds."""
    return _mixed(body, name, "gated_add", (x, y, modulation), rows, columns)
