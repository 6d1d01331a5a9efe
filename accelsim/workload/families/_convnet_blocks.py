"""The blocks of convolutional networks: how each kind is written, and its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelsim.config import Count, Spec, Whole
from accelsim.errors import ConfigError
from accelsim.workload.build import BlockBuilder
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_norm
from accelsim.workload.families._dense import add_sum
from accelsim.workload.families._diffusion import add_mlp2, mlp_parameters
from accelsim.workload.families._image import Image
from accelsim.workload.families._vision import (
    add_classifier,
    add_conv_bn,
    add_pool,
    conv_bn_parameters,
)
from accelsim.workload.graph import Block
from accelsim.workload.phase import Extent

if TYPE_CHECKING:
    from accelsim.workload.families.convnet import ConvnetConfig

__all__ = ["Stage", "write", "written_parameters"]


class Stage(Spec):
    """Blocks of one kind at one resolution."""

    channels: Count
    """Channels that a block leaves."""
    blocks: Count
    """Number of blocks."""
    stride: Count = 1
    """Stride of the first block; of ConvNeXt of the layer before it, of VGG of the pooling."""
    expansion: Whole = 4
    """Inner channels of an inverted block over its input's."""


def write(config: ConvnetConfig, dtypes: Dtypes, batch: int, extent: Extent) -> tuple[Block, ...]:
    """Return the blocks of one pass.

    Raises
    ------
    ConfigError
        If the image is too small.
    """
    image = Image(batch * config.time_steps, extent.height, extent.width)
    blocks: list[Block] = []
    x, image, channels = _stem(config, dtypes, image, blocks)
    del x
    for number, stage in enumerate(config.stages):
        if min(image.size) < stage.stride:
            raise ConfigError(
                f"{extent} leaves {image.height}x{image.width} positions before stage {number},"
                f" whose stride is {stage.stride}",
                path="workload.height",
            )
        image = _stage(config, stage, number, dtypes, image, channels, blocks)
        channels = stage.channels
    blocks.append(_head(config, dtypes, image, channels))
    return tuple(blocks)


def _stem(
    config: ConvnetConfig, dtypes: Dtypes, image: Image, blocks: list[Block]
) -> tuple[str, Image, int]:
    body = BlockBuilder("stem", dtypes)
    channels = (config.num_channels, config.stem)
    if config.block == "vgg":
        return "image", image, config.num_channels
    x = body.activation("image", image.batch, config.num_channels, *image.size)
    if config.block == "convnext":
        size = Image(image.batch, image.height // 4, image.width // 4)
        x = body.conv("stem", x, image.batch, channels, image.size, (4, 4), stride=4, padding=0)
        x, image = add_norm(body, "stem_norm", x, size.rows, config.stem, "layernorm"), size
    elif config.block == "inverted":
        x, image = add_conv_bn(body, "stem", x, image, channels, 3, stride=2, activation="relu6")
    else:
        x, image = add_conv_bn(body, "stem", x, image, channels, 7, stride=2)
        x, image = add_pool(body, "max_pool", x, image, config.stem)
    blocks.append(body.block(1, {"hidden": x}))
    return x, image, config.stem


def _stage(
    config: ConvnetConfig, stage: Stage, number: int, dtypes: Dtypes, image: Image,
    channels: int, blocks: list[Block],
) -> Image:  # fmt: skip
    if config.block == "convnext" and (stage.stride > 1 or channels != stage.channels):
        image = _downsample(stage, number, dtypes, image, channels, blocks)
        channels = stage.channels
    same = config.block == "convnext"
    rest = stage.blocks - (0 if same else 1)
    if not same:
        body = BlockBuilder(f"stage.{number}.first", dtypes)
        source = "image" if config.block == "vgg" and number == 0 else "hidden"
        spikes = "int1" if config.time_steps > 1 and number else ""
        x = body.activation(source, image.batch, channels, *image.size, dtype=spikes)
        x, image = _block(body, config, stage, x, image, channels, stage.stride)
        if config.block == "vgg" and stage.blocks == 1:
            x, image = add_pool(body, "pool", x, image, stage.channels, kernel=2, dtype=spikes)
        blocks.append(body.block(1, {"hidden": x}))
    if not rest:
        return image
    pooled = config.block == "vgg"
    counted = rest - 1 if pooled else rest
    for name, count in ((f"stage.{number}", counted), (f"stage.{number}.last", rest - counted)):
        if count:
            body = BlockBuilder(name, dtypes)
            spikes = "int1" if config.time_steps > 1 else ""
            x = body.activation("hidden", image.batch, stage.channels, *image.size, dtype=spikes)
            x, image = _block(body, config, stage, x, image, stage.channels, 1)
            if name.endswith("last"):
                x, image = add_pool(body, "pool", x, image, stage.channels, kernel=2, dtype=spikes)
            blocks.append(body.block(count, {"hidden": x}))
    return image


def _downsample(
    stage: Stage, number: int, dtypes: Dtypes, image: Image, channels: int, blocks: list[Block]
) -> Image:
    """Add ConvNeXt's norm and convolution between stages."""
    body = BlockBuilder(f"stage.{number}.downsample", dtypes)
    x = body.activation("hidden", image.batch, channels, *image.size)
    x = add_norm(body, "norm", x, image.rows, channels, "layernorm")
    side = stage.stride
    x = body.conv(
        "downsample", x, image.batch, (channels, stage.channels), image.size, (side, side),
        stride=side, padding=0,
    )  # fmt: skip
    blocks.append(body.block(1, {"hidden": x}))
    return Image(image.batch, image.height // side, image.width // side)


def _block(
    body: BlockBuilder, config: ConvnetConfig, stage: Stage, x: str, image: Image, channels: int,
    stride: int,
) -> tuple[str, Image]:  # fmt: skip
    if config.block == "vgg":
        return _plain(body, config, stage, x, image, channels)
    if config.block == "convnext":
        return _convnext(body, stage, x, image), image
    if config.block == "inverted":
        return _inverted(body, stage, x, image, channels, stride)
    return _residual(body, config, stage, x, image, channels, stride)


def _plain(
    body: BlockBuilder, config: ConvnetConfig, stage: Stage, x: str, image: Image, channels: int
) -> tuple[str, Image]:
    """Add a convolution and its function, with spikes of one bit in a spiking network."""
    y = body.conv(
        "conv", x, image.batch, (channels, stage.channels), image.size, (3, 3),
        shard="out_channels",
    )  # fmt: skip
    spiking = config.time_steps > 1
    made = body.activation(
        "spikes" if spiking else "relu", image.batch, stage.channels, *image.size,
        dtype="int1" if spiking else "",
    )  # fmt: skip
    dims = {"rows": image.rows, "columns": stage.channels, "operands": 1}
    function = {"function": "threshold" if spiking else "relu"}
    body.operator(made, "elementwise", dims, (y,), (made,), "activation", None, function)
    return made, image


def _convnext(body: BlockBuilder, stage: Stage, x: str, image: Image) -> str:
    """Add a depthwise convolution of 7x7, an MLP over channels, and the scaled residual."""
    c = stage.channels
    y = body.conv("depthwise", x, image.batch, (c, c), image.size, (7, 7), groups=c,
                  shard="groups")  # fmt: skip
    y = add_norm(body, "norm", y, image.rows, c, "layernorm")
    y = add_mlp2(body, "mlp", y, image.rows, (c, 4 * c, c), "gelu", shard=True)
    scale = body.vector("scale", c)
    y = body.elementwise("scaled", "mul", (y, scale), image.rows, c, label="residual")
    return add_sum(body, "residual", x, y, image.rows, c)


def _inverted(
    body: BlockBuilder, stage: Stage, x: str, image: Image, channels: int, stride: int
) -> tuple[str, Image]:
    """Add expansion, depthwise convolution and projection, with a residual where sizes allow."""
    inner, y, made = channels * stage.expansion, x, image
    if stage.expansion != 1:
        y, made = add_conv_bn(body, "expand", y, made, (channels, inner), 1, activation="relu6")
    y, made = add_conv_bn(
        body, "depthwise", y, made, (inner, inner), 3, stride=stride, groups=inner,
        activation="relu6",
    )  # fmt: skip
    y, made = add_conv_bn(body, "project", y, made, (inner, stage.channels), 1, activation="")
    if stride == 1 and channels == stage.channels:
        y = add_sum(body, "residual", x, y, made.rows, stage.channels)
    return y, made


def _residual(
    body: BlockBuilder, config: ConvnetConfig, stage: Stage, x: str, image: Image, channels: int,
    stride: int,
) -> tuple[str, Image]:  # fmt: skip
    """Add ResNet's block; the stride is that of its convolution of 3x3, as in torchvision."""
    c = stage.channels
    if config.block == "basic":
        y, made = add_conv_bn(body, "conv1", x, image, (channels, c), 3, stride=stride)
        y, made = add_conv_bn(body, "conv2", y, made, (c, c), 3, activation="")
    else:
        inner = c // 4
        y, made = add_conv_bn(body, "conv1", x, image, (channels, inner), 1)
        y, made = add_conv_bn(body, "conv2", y, made, (inner, inner), 3, stride=stride)
        y, made = add_conv_bn(body, "conv3", y, made, (inner, c), 1, activation="")
    if stride > 1 or channels != c:
        x, _ = add_conv_bn(body, "shortcut", x, image, (channels, c), 1, stride=stride,
                           activation="")  # fmt: skip
    y = add_sum(body, "residual", x, y, made.rows, c)
    y = body.elementwise("relu", "relu", (y,), made.rows, c, label="activation")
    return y, made


def _head(config: ConvnetConfig, dtypes: Dtypes, image: Image, channels: int) -> Block:
    body = BlockBuilder("head", dtypes)
    x = body.activation(
        "hidden", image.batch, channels, *image.size, dtype="int1" if config.time_steps > 1 else ""
    )
    if config.block == "vgg":
        return _fully_connected(body, config, x, image, channels)
    if config.head_channels:
        x, image = add_conv_bn(
            body, "last_conv", x, image, (channels, config.head_channels), 1, activation="relu6"
        )
        channels = config.head_channels
    norm = config.block == "convnext"
    add_classifier(body, x, image, channels, config.num_classes, norm=norm)
    return body.block(1)


def _fully_connected(
    body: BlockBuilder, config: ConvnetConfig, x: str, image: Image, channels: int
) -> Block:
    """Add VGG's fully connected layers; a spiking network averages its steps at the end."""
    rows, width = image.batch, channels * image.positions
    for number, wide in enumerate(config.fully_connected):
        x = body.linear(f"fc{number}", x, rows, wide, width, bias=True, shard="n")
        x = body.elementwise(f"fc{number}_relu", "relu", (x,), rows, wide, label="activation")
        width = wide
    last = "classifier" if config.time_steps == 1 else "classifier_steps"
    x = body.linear(last, x, rows, config.num_classes, width, bias=True)
    if config.time_steps > 1:
        y = body.activation("classifier", rows // config.time_steps, config.num_classes)
        dims = {"rows": rows // config.time_steps, "columns": config.num_classes,
                "terms": config.time_steps}  # fmt: skip
        how = {"function": "mean"}
        body.operator("classifier", "reduce", dims, (x,), (y,), "reduce", None, how)
    return body.block(1)


def written_parameters(config: ConvnetConfig) -> int:
    """Return the parameters by a closed form."""
    channels, total = config.stem, 0
    if config.block == "convnext":
        total += config.stem * (16 * config.num_channels + 1) + 2 * config.stem
    elif config.block == "vgg":
        channels = config.num_channels
    else:
        side = 3 if config.block == "inverted" else 7
        total += conv_bn_parameters((config.num_channels, config.stem), side)
    for stage in config.stages:
        total += _stage_parameters(config, stage, channels)
        channels = stage.channels
    if config.head_channels:
        total += conv_bn_parameters((channels, config.head_channels), 1)
        channels = config.head_channels
    width = channels
    if config.block == "vgg":
        halvings = 2 ** len(config.stages)
        width *= (config.image_size // halvings) ** 2
    for wide in config.fully_connected:
        total += wide * (width + 1)
        width = wide
    total += 2 * width if config.block == "convnext" else 0
    return total + config.num_classes * (width + 1)


def _stage_parameters(config: ConvnetConfig, stage: Stage, channels: int) -> int:
    c, n = stage.channels, stage.blocks
    if config.block == "vgg":
        return c * (9 * channels + 1) + (n - 1) * c * (9 * c + 1)
    if config.block == "convnext":
        between = stage.stride > 1 or channels != c
        total = (2 * channels + c * (channels * stage.stride**2 + 1)) * between
        return total + n * (50 * c + 2 * c + mlp_parameters(c, 4 * c, c) + c)
    if config.block == "inverted":
        return sum(_inverted_parameters(stage, channels if i == 0 else c) for i in range(n))
    total = 0
    for i in range(n):
        before = channels if i == 0 else c
        if config.block == "basic":
            total += conv_bn_parameters((before, c), 3) + conv_bn_parameters((c, c), 3)
        else:
            inner = c // 4
            total += conv_bn_parameters((before, inner), 1)
            total += conv_bn_parameters((inner, inner), 3) + conv_bn_parameters((inner, c), 1)
        if i == 0 and (stage.stride > 1 or before != c):
            total += conv_bn_parameters((before, c), 1)
    return total


def _inverted_parameters(stage: Stage, channels: int) -> int:
    inner = channels * stage.expansion
    total = conv_bn_parameters((inner, inner), 3, inner)
    total += conv_bn_parameters((inner, stage.channels), 1)
    return total + (conv_bn_parameters((channels, inner), 1) if stage.expansion != 1 else 0)
