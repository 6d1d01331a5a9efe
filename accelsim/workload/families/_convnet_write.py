"""Writes a convolutional network as blocks: stem, stages, classifier."""

from __future__ import annotations

from dataclasses import replace

from accelsim.workload.build import BlockBuilder
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_norm
from accelsim.workload.families._convnet_blocks import SPIKE, add_block, add_spikes
from accelsim.workload.families._convnet_config import ConvnetConfig, layers
from accelsim.workload.families._image import Image
from accelsim.workload.families._vision import add_classifier, add_conv_bn, add_pool, strided
from accelsim.workload.graph import Block
from accelsim.workload.phase import Extent

__all__ = ["last_grid", "write"]


def write(
    config: ConvnetConfig, dtypes: Dtypes, batch: int, extent: Extent
) -> tuple[tuple[Block, ...], str]:
    """Return the blocks of one pass, and the name of its output.

    Raises
    ------
    ConfigError
        If the image is too small.
    """
    image = Image(batch * config.time_steps, extent.height, extent.width)
    blocks: list[Block] = []
    image, channels = _stem(config, dtypes, image, blocks)
    for number, stage in enumerate(config.stages):
        if config.block == "convnext" and (stage.stride > 1 or channels != stage.channels):
            image = _downsample(config, number, dtypes, image, channels, blocks)
        plan = layers(config, number, channels)
        for place, (layer, count) in enumerate(plan):
            name = f"stage.{number}" + (f".{place}" if len(plan) > 1 else "")
            body = BlockBuilder(name, dtypes)
            source = "hidden" if blocks else "image"
            spikes = SPIKE if config.spiking and blocks else ""
            x = body.activation(source, image.batch, layer.inside, *image.size, dtype=spikes)
            x, image = add_block(body, config, layer, x, image)
            blocks.append(body.block(count, {"hidden": x}))
        channels = stage.channels
    head, made = _head(config, dtypes, image, channels)
    marked = (_marked(block, config.spike_density) for block in (*blocks, head))
    return tuple(marked), made


def _marked(block: Block, density: float) -> Block:
    """Mark the products with spikes: an addition of the weight, or nothing."""
    marks: dict[str, object] = {"spikes": True}
    if density < 1.0:
        marks["spike_density"] = density
    operators = tuple(
        replace(one, attributes={**one.attributes, **marks})
        if one.kind in ("conv", "matmul") and block.tensors[one.inputs[0]].dtype == SPIKE
        else one
        for one in block.operators
    )
    return replace(block, operators=operators)


def _stem(
    config: ConvnetConfig, dtypes: Dtypes, image: Image, blocks: list[Block]
) -> tuple[Image, int]:
    """Add the stem, if there is one; return the sizes and the channels behind it."""
    if config.stem is None or config.block == "vgg":
        return image, config.num_channels
    body, channels = BlockBuilder("stem", dtypes), (config.num_channels, config.stem)
    x = body.activation("image", image.batch, config.num_channels, *image.size)
    if config.block == "convnext":
        side = config.stem_patch
        made = strided(image, side, side, 0)
        x = body.conv("stem", x, image.batch, channels, image.size, (side, side), stride=side,
                      padding=0)  # fmt: skip
        x, image = add_norm(body, "stem_norm", x, made.rows, config.stem, "layernorm"), made
    elif config.block in ("inverted", "separable"):
        x, image = add_conv_bn(body, "stem", x, image, channels, 3, stride=2,
                               activation=config.function)  # fmt: skip
    else:
        x, image = add_conv_bn(body, "stem", x, image, channels, 7, stride=2,
                               activation=config.function)  # fmt: skip
        x, image = add_pool(body, "max_pool", x, image, config.stem, padding=1)
    blocks.append(body.block(1, {"hidden": x}))
    return image, config.stem


def _downsample(
    config: ConvnetConfig, number: int, dtypes: Dtypes, image: Image, channels: int,
    blocks: list[Block],
) -> Image:  # fmt: skip
    """Add ConvNeXt's norm and convolution before a stage."""
    stage = config.stages[number]
    body, side = BlockBuilder(f"stage.{number}.downsample", dtypes), stage.stride
    made = strided(image, side, side, 0)
    x = body.activation("hidden", image.batch, channels, *image.size)
    x = add_norm(body, "norm", x, image.rows, channels, "layernorm")
    x = body.conv(
        "downsample", x, image.batch, (channels, stage.channels), image.size, (side, side),
        stride=side, padding=0,
    )  # fmt: skip
    blocks.append(body.block(1, {"hidden": x}))
    return made


def _head(config: ConvnetConfig, dtypes: Dtypes, image: Image, channels: int) -> tuple[Block, str]:
    body = BlockBuilder("head", dtypes)
    spikes = SPIKE if config.spiking else ""
    x = body.activation("hidden", image.batch, channels, *image.size, dtype=spikes)
    if config.block == "vgg":
        return _fully_connected(body, config, x, image, channels)
    if config.head_channels:
        wide = (channels, config.head_channels)
        x, image = add_conv_bn(body, "last_conv", x, image, wide, 1, activation=config.function)
        channels = config.head_channels
    norm = config.block == "convnext"
    made = add_classifier(body, x, image, channels, config.num_classes, norm=norm)
    return body.block(1), made


def _fully_connected(
    body: BlockBuilder, config: ConvnetConfig, x: str, image: Image, channels: int
) -> tuple[Block, str]:
    """Add VGG's fully connected layers; a spiking network sums its steps at the end."""
    own, rows = last_grid(config), image.batch
    if image.size != own:
        x = _adapted(body, config, x, image, own, channels)
    width = channels * own[0] * own[1]
    for number, wide in enumerate(config.fully_connected):
        x = body.linear(f"fc{number}", x, rows, wide, width, bias=config.bias, shard="n")
        if config.spiking:
            x = add_spikes(body, f"fc{number}_spikes", x, rows, wide)
        else:
            x = body.elementwise(f"fc{number}_relu", "relu", (x,), rows, wide, label="activation")
        width = wide
    name = "steps" if config.spiking else "classifier"
    x = body.linear(name, x, rows, config.num_classes, width, bias=config.bias)
    if config.spiking:
        images = rows // config.time_steps
        y = body.activation("classifier", images, config.num_classes)
        dims = {"rows": images, "columns": config.num_classes, "terms": config.time_steps}
        how = {"function": "sum"}
        body.operator("classifier", "reduce", dims, (x,), (y,), "reduce", None, how)
    return body.block(1), "classifier"


def _adapted(
    body: BlockBuilder, config: ConvnetConfig, x: str, image: Image, own: tuple[int, int],
    channels: int,
) -> str:  # fmt: skip
    """Add the pooling to the positions that the fully connected layers are made for."""
    function, dtype = ("max", SPIKE) if config.spiking else ("mean", "")
    y = body.activation("adaptive_pool", image.batch, channels, *own, dtype=dtype)
    window = -(-image.height // own[0]) * -(-image.width // own[1])
    dims = {"rows": image.batch * own[0] * own[1], "columns": channels, "terms": window}
    how = {"function": function, "window": True}
    body.operator("adaptive_pool", "reduce", dims, (x,), (y,), "pool", None, how)
    return y


def last_grid(config: ConvnetConfig) -> tuple[int, int]:
    """Return the positions that plain stages leave of the model's own image."""
    image = Image(1, config.image_size, config.image_size)
    for stage in config.stages:
        padding = (stage.kernel - 1) // 2 if stage.padding is None else stage.padding
        for block in range(stage.blocks):
            image = strided(image, stage.kernel, 1 if block else stage.stride, padding)
        image = strided(image, stage.pool, 2, 0) if stage.pool else image
    return image.size
