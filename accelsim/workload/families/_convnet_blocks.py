"""The blocks of convolutional networks, one function per kind."""

from __future__ import annotations

from accelsim.workload.build import BlockBuilder
from accelsim.workload.families._blocks import add_norm
from accelsim.workload.families._convnet_config import ConvnetConfig, Layer
from accelsim.workload.families._dense import add_sum
from accelsim.workload.families._diffusion import add_mlp2
from accelsim.workload.families._image import Image
from accelsim.workload.families._vision import add_conv_bn, add_mean, add_pool, strided

__all__ = ["SPIKE", "add_block", "add_spikes"]

SPIKE = "int1"
"""Format of a spike."""


def add_block(
    body: BlockBuilder, config: ConvnetConfig, layer: Layer, x: str, image: Image
) -> tuple[str, Image]:
    """Add one block; return its result and the sizes behind it."""
    if config.block == "vgg":
        return _plain(body, config, layer, x, image)
    if config.block == "convnext":
        return _convnext(body, config, layer, x, image), image
    if config.block == "inverted":
        return _inverted(body, config, layer, x, image)
    if config.block == "separable":
        return _separable(body, config, layer, x, image)
    return _residual(body, config, layer, x, image)


def add_spikes(body: BlockBuilder, name: str, x: str, rows: int, columns: int) -> str:
    """Add leaky integrate-and-fire neurons: spikes of one bit from currents, step by step.

    All steps of a layer follow each other, so membrane potentials never leave the unit.
    """
    y = body.activation(name, rows, columns, dtype=SPIKE)
    dims = {"rows": rows, "columns": columns, "operands": 1}
    body.operator(name, "elementwise", dims, (x,), (y,), "activation", None, {"function": "lif"})
    return y


def _plain(
    body: BlockBuilder, config: ConvnetConfig, layer: Layer, x: str, image: Image
) -> tuple[str, Image]:
    """Add a convolution and its function, and the pooling behind the last of a stage."""
    kernel = layer.stage.kernel
    padding = (kernel - 1) // 2 if layer.stage.padding is None else layer.stage.padding
    made = strided(image, kernel, layer.stride, padding)
    y = body.conv(
        "conv", x, image.batch, (layer.inside, layer.outside), image.size, (kernel, kernel),
        stride=layer.stride, padding=padding, bias=config.bias, shard="out_channels",
    )  # fmt: skip
    if config.spiking:
        y = add_spikes(body, "spikes", y, made.rows, layer.outside)
    else:
        y = body.elementwise(config.function, config.function, (y,), made.rows, layer.outside,
                             label="activation")  # fmt: skip
    if layer.pooled:
        y, made = add_pool(body, "pool", y, made, layer.outside, kernel=layer.stage.pool,
                           dtype=SPIKE if config.spiking else "")  # fmt: skip
    return y, made


def _convnext(
    body: BlockBuilder, config: ConvnetConfig, layer: Layer, x: str, image: Image
) -> str:
    """Add a depthwise convolution of 7x7, an MLP over channels, and the scaled residual."""
    c = layer.outside
    y = body.conv("depthwise", x, image.batch, (c, c), image.size, (7, 7), groups=c,
                  shard="groups")  # fmt: skip
    y = add_norm(body, "norm", y, image.rows, c, "layernorm")
    y = add_mlp2(body, "mlp", y, image.rows, (c, 4 * c, c), config.function, shard=True)
    if config.layer_scale:
        scale = body.vector("scale", c)
        y = body.elementwise("scaled", "mul", (y, scale), image.rows, c, label="residual")
    return add_sum(body, "residual", x, y, image.rows, c)


def _inverted(
    body: BlockBuilder, config: ConvnetConfig, layer: Layer, x: str, image: Image
) -> tuple[str, Image]:
    """Add expansion, depthwise convolution and projection, with a residual where sizes allow."""
    inner, function, y, made = layer.inside * layer.stage.expansion, config.function, x, image
    if layer.stage.expansion != 1:
        y, made = add_conv_bn(body, "expand", y, made, (layer.inside, inner), 1,
                              activation=function)  # fmt: skip
    y, made = add_conv_bn(
        body, "depthwise", y, made, (inner, inner), layer.stage.kernel, stride=layer.stride,
        groups=inner, activation=function,
    )  # fmt: skip
    if config.squeeze:
        y = _squeezed(body, y, made, inner, layer.inside // config.squeeze, function)
    y, made = add_conv_bn(body, "project", y, made, (inner, layer.outside), 1, activation="")
    if layer.stride == 1 and layer.inside == layer.outside:
        y = add_sum(body, "residual", x, y, made.rows, layer.outside)
    return y, made


def _squeezed(
    body: BlockBuilder, x: str, image: Image, channels: int, inner: int, function: str
) -> str:
    """Add squeeze and excitation: the channels' means weigh the channels."""
    one = Image(image.batch, 1, 1)
    y = add_mean(body, x, image, channels)
    y = body.conv("squeeze", y, one.batch, (channels, inner), one.size, (1, 1))
    y = body.elementwise("squeeze_act", function, (y,), one.rows, inner, label="activation")
    y = body.conv("excite", y, one.batch, (inner, channels), one.size, (1, 1))
    y = body.elementwise("gate", "sigmoid", (y,), one.rows, channels, label="activation")
    return body.elementwise("gated", "mul", (x, y), image.rows, channels, label="activation")


def _separable(
    body: BlockBuilder, config: ConvnetConfig, layer: Layer, x: str, image: Image
) -> tuple[str, Image]:
    """Add a depthwise convolution and one over channels, each with batch norm and function."""
    x, made = add_conv_bn(
        body, "depthwise", x, image, (layer.inside, layer.inside), layer.stage.kernel,
        stride=layer.stride, groups=layer.inside, activation=config.function,
    )  # fmt: skip
    return add_conv_bn(body, "pointwise", x, made, (layer.inside, layer.outside), 1,
                       activation=config.function)  # fmt: skip


def _residual(
    body: BlockBuilder, config: ConvnetConfig, layer: Layer, x: str, image: Image
) -> tuple[str, Image]:
    """Add ResNet's block; the stride is that of its convolution of 3x3, as in torchvision."""
    inside, c, stride, function = layer.inside, layer.outside, layer.stride, config.function
    if config.block == "basic":
        y, made = add_conv_bn(body, "conv1", x, image, (inside, c), 3, stride=stride,
                              activation=function)  # fmt: skip
        y, made = add_conv_bn(body, "conv2", y, made, (c, c), 3, activation="")
    else:
        inner, first = c // config.reduction, stride if config.stride_first else 1
        y, made = add_conv_bn(body, "conv1", x, image, (inside, inner), 1, stride=first,
                              activation=function)  # fmt: skip
        y, made = add_conv_bn(body, "conv2", y, made, (inner, inner), 3, stride=stride // first,
                              groups=config.groups, activation=function)  # fmt: skip
        y, made = add_conv_bn(body, "conv3", y, made, (inner, c), 1, activation="")
    if stride > 1 or inside != c:
        x, _ = add_conv_bn(body, "shortcut", x, image, (inside, c), 1, stride=stride,
                           activation="")  # fmt: skip
    y = add_sum(body, "residual", x, y, made.rows, c)
    y = body.elementwise(function, function, (y,), made.rows, c, label="activation")
    return y, made
