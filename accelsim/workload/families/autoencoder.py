"""Autoencoders of latent diffusion (AutoencoderKL): from an image to its latent, and back."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final, Literal

from accelsim.config import Count, Spec
from accelsim.errors import ConfigError
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._dense import Dense, add_self_attention, add_sum
from accelsim.workload.families._image import (
    Image,
    add_group_norm,
    add_resnet,
    add_upsample,
)
from accelsim.workload.graph import Block, Workload, weight_elements
from accelsim.workload.phase import Extent, Phase

__all__ = [
    "INPUT",
    "PHASES",
    "AutoencoderConfig",
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


class AutoencoderConfig(Spec):
    """A convolutional encoder and decoder with attention in the middle, as AutoencoderKL."""

    direction: Literal["decode", "encode"] = "decode"
    """What a pass does: latents to images, or images to latents."""
    sample_size: Count = 512
    """Side of the image, where a pass does not say."""
    in_channels: Count = 3
    """Channels of the image."""
    latent_channels: Count = 4
    """Channels of the latent."""
    block_out_channels: tuple[Count, ...] = (128, 256, 512, 512)
    """Channels of each resolution, the finest first."""
    layers_per_block: Count = 2
    """Residual layers of a resolution in the encoder; the decoder has one more."""
    use_quant_conv: bool = True
    """A convolution of one tap on each side of the latent."""
    mid_block_add_attention: bool = True
    """Attention over all positions in the middle."""

    @property
    def scale(self) -> int:
        """Pixels per latent, along a side."""
        return int(2 ** (len(self.block_out_channels) - 1))


Config: Final = AutoencoderConfig


def default_extent(config: AutoencoderConfig) -> Extent:
    """Return the size that the model was trained for, in pixels."""
    return Extent(config.sample_size, config.sample_size)


@lru_cache(maxsize=512)
def build(
    config: AutoencoderConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "autoencoder",
) -> Workload:
    """Return one pass through the encoder or the decoder; the other's weights are idle.

    Parameters
    ----------
    config : AutoencoderConfig
        The model.
    phase : Phase
        ``forward``; frames of a video are images of their own.
    dtypes, conventions, name
        As for every family.

    Raises
    ------
    ConfigError
        If the image is no whole number of latents.
    """
    del conventions
    extent = phase.extent or default_extent(config)
    if extent.height % config.scale or extent.width % config.scale:
        raise ConfigError(
            f"{extent} is no multiple of the {config.scale} pixels of a latent of `{name}`",
            path="workload.height",
        )
    images = phase.batch * extent.frames
    write = _decode if config.direction == "decode" else _encode
    blocks = tuple(write(config, Image(images, extent.height, extent.width), dtypes))
    total = parameter_count(config)
    whole = Workload(
        name=name, blocks=blocks, parameters=total, active_parameters=total,
        kv_bytes_per_token=0, phase=str(phase), batch=phase.batch,
        tokens=images * extent.height * extent.width,
        inputs=("latents" if config.direction == "decode" else "image",),
        outputs=("conv_out" if config.direction == "decode" or not config.use_quant_conv
                 else "quant_conv",),
        conventions={"image": str(extent), "pass": config.direction},
    )  # fmt: skip
    return replace(whole, idle_parameters=total - weight_elements(whole))


def _open(name: str, dtypes: Dtypes, image: Image, channels: int) -> tuple[BlockBuilder, str]:
    body = BlockBuilder(name, dtypes)
    return body, body.activation("hidden", image.batch, channels, *image.size)


def _middle(config: AutoencoderConfig, dtypes: Dtypes, image: Image) -> Block:
    """Return the middle: residual layer, attention with one head, residual layer."""
    channels = config.block_out_channels[-1]
    body, x = _open("mid", dtypes, image, channels)
    x = add_resnet(body, "mid.resnet.0", x, image, (channels, channels))
    if config.mid_block_add_attention:
        y = add_group_norm(body, "mid.attention.norm", x, image, channels, silu=False)
        shape = Dense(channels, 1, channels)
        y = add_self_attention(body, y, image.batch, image.positions, shape, prefix="mid.")
        x = add_sum(body, "mid.attention.sum", x, y, image.rows, channels)
    x = add_resnet(body, "mid.resnet.1", x, image, (channels, channels))
    return body.block(1, {"hidden": x})


def _scaled(image: Image, by: int) -> Image:
    return Image(image.batch, image.height // by, image.width // by)


def _decode(config: AutoencoderConfig, full: Image, dtypes: Dtypes) -> list[Block]:
    widths, latent = config.block_out_channels, config.latent_channels
    image = _scaled(full, config.scale)
    body = BlockBuilder("conv_in", dtypes)
    x = body.activation("latents", image.batch, latent, *image.size)
    if config.use_quant_conv:
        x = body.conv("post_quant_conv", x, image.batch, (latent, latent), image.size, (1, 1))
    x = body.conv("conv_in", x, image.batch, (latent, widths[-1]), image.size, (3, 3))
    blocks = [body.block(1, {"hidden": x}), _middle(config, dtypes, image)]
    before = widths[-1]
    for number, width in enumerate(reversed(widths)):
        for layer in range(config.layers_per_block + 1):
            body, x = _open(f"up.{number}.{layer}", dtypes, image, before)
            x = add_resnet(body, f"up.{number}.{layer}", x, image, (before, width))
            blocks.append(body.block(1, {"hidden": x}))
            before = width
        if number < len(widths) - 1:
            larger = Image(image.batch, 2 * image.height, 2 * image.width)
            body, x = _open(f"up.{number}.upsample", dtypes, image, width)
            x = add_upsample(body, f"up.{number}.upsample", x, larger, width)
            blocks.append(body.block(1, {"hidden": x}))
            image = larger
    body, x = _open("conv_out", dtypes, image, before)
    x = add_group_norm(body, "conv_norm_out", x, image, before)
    body.conv("conv_out", x, image.batch, (before, config.in_channels), image.size, (3, 3))
    return [*blocks, body.block(1)]


def _encode(config: AutoencoderConfig, image: Image, dtypes: Dtypes) -> list[Block]:
    widths, moments = config.block_out_channels, 2 * config.latent_channels
    body = BlockBuilder("conv_in", dtypes)
    x = body.activation("image", image.batch, config.in_channels, *image.size)
    x = body.conv("conv_in", x, image.batch, (config.in_channels, widths[0]), image.size, (3, 3))
    blocks, before = [body.block(1, {"hidden": x})], widths[0]
    for level, width in enumerate(widths):
        for layer in range(config.layers_per_block):
            body, x = _open(f"down.{level}.{layer}", dtypes, image, before)
            x = add_resnet(body, f"down.{level}.{layer}", x, image, (before, width))
            blocks.append(body.block(1, {"hidden": x}))
            before = width
        if level < len(widths) - 1:
            small = _scaled(image, 2)
            body, x = _open(f"down.{level}.downsample", dtypes, image, width)
            # Padded on one side only, so the output is half the input.
            x = body.conv(
                f"down.{level}.downsample", x, image.batch, (width, width), image.size, (3, 3),
                stride=2, output=small.size,
            )  # fmt: skip
            blocks.append(body.block(1, {"hidden": x}))
            image = small
    blocks.append(_middle(config, dtypes, image))
    body, x = _open("conv_out", dtypes, image, before)
    x = add_group_norm(body, "conv_norm_out", x, image, before)
    x = body.conv("conv_out", x, image.batch, (before, moments), image.size, (3, 3))
    if config.use_quant_conv:
        body.conv("quant_conv", x, image.batch, (moments, moments), image.size, (1, 1))
    return [*blocks, body.block(1)]


def _resnet(inside: int, outside: int) -> int:
    total = 2 * inside + 9 * inside * outside + 2 * outside + 9 * outside * outside + 2 * outside
    return total + (inside * outside + outside if inside != outside else 0)


@lru_cache(maxsize=256)
def parameter_count(config: AutoencoderConfig) -> int:
    """Return the parameters of encoder and decoder by a closed form."""
    widths, latent, image = config.block_out_channels, config.latent_channels, config.in_channels
    last, moments = widths[-1], 2 * config.latent_channels
    middle = 2 * _resnet(last, last)
    middle += (2 * last + 4 * last * (last + 1)) * config.mid_block_add_attention
    total = 2 * middle + (9 * image + 1) * widths[0] + (9 * latent + 1) * last
    total += 2 * last + (9 * last + 1) * moments + 2 * widths[0] + (9 * widths[0] + 1) * image
    if config.use_quant_conv:
        total += moments * (moments + 1) + latent * (latent + 1)
    before = widths[0]
    for level, width in enumerate(widths):
        total += _resnet(before, width) + (config.layers_per_block - 1) * _resnet(width, width)
        total += (9 * width + 1) * width * (level < len(widths) - 1)
        before = width
    for level, width in enumerate(reversed(widths)):
        total += _resnet(before, width) + config.layers_per_block * _resnet(width, width)
        total += (9 * width + 1) * width * (level < len(widths) - 1)
        before = width
    return total


active_parameter_count = parameter_count
