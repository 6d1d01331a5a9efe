"""The parameters of convolutional networks by closed forms, apart from how they are written."""

from __future__ import annotations

from itertools import pairwise

from accelsim.workload.families._convnet_config import ConvnetConfig, Stage
from accelsim.workload.families._convnet_write import last_grid

__all__ = ["written_parameters"]


def written_parameters(config: ConvnetConfig) -> int:
    """Return the number of parameters."""
    channels, total = config.stem or 0, 0
    if config.block == "vgg":
        channels = config.num_channels
    elif config.block == "convnext":
        total = channels * (config.stem_patch**2 * config.num_channels + 1) + 2 * channels
    else:
        taps = 9 if config.block in ("inverted", "separable") else 49
        total = channels * (taps * config.num_channels + 2)
    for stage in config.stages:
        total += _stage(config, stage, channels)
        channels = stage.channels
    if config.head_channels:
        total += config.head_channels * (channels + 2)
        channels = config.head_channels
    if config.block == "convnext":
        total += 2 * channels
    return total + _classifier(config, channels)


def _classifier(config: ConvnetConfig, width: int) -> int:
    if config.block != "vgg":
        return config.num_classes * (width + 1)
    height, across = last_grid(config)
    widths = [width * height * across, *config.fully_connected, config.num_classes]
    return sum(b * (a + config.bias) for a, b in pairwise(widths))


def _stage(config: ConvnetConfig, stage: Stage, channels: int) -> int:
    """Return the parameters of a stage that gets so many channels."""
    c, n, taps = stage.channels, stage.blocks, stage.kernel**2
    first = [channels] + [c] * (n - 1)
    if config.block == "vgg":
        return sum(c * (taps * inside + config.bias) for inside in first)
    if config.block == "separable":
        return sum(inside * (taps + 2) + c * (inside + 2) for inside in first)
    if config.block == "inverted":
        return sum(_inverted(config, stage, inside) for inside in first)
    if config.block == "convnext":
        between = 2 * channels + c * (channels * stage.stride**2 + 1)
        one = 50 * c + 2 * c + 8 * c * c + 5 * c + c * config.layer_scale
        return n * one + (between if stage.stride > 1 or channels != c else 0)
    shortcut = c * (channels + 2) if stage.stride > 1 or channels != c else 0
    if config.block == "basic":
        return shortcut + sum(9 * c * (inside + c) + 4 * c for inside in first)
    inner = c // config.reduction
    middle = 9 * inner * inner // config.groups
    return shortcut + sum(inner * (inside + c) + middle + 4 * inner + 2 * c for inside in first)


def _inverted(config: ConvnetConfig, stage: Stage, inside: int) -> int:
    """Return the parameters of one inverted block."""
    inner = inside * stage.expansion
    total = inner * (stage.kernel**2 + 2) + stage.channels * (inner + 2)
    if stage.expansion != 1:
        total += inner * (inside + 2)
    if config.squeeze:
        squeezed = inside // config.squeeze
        total += squeezed * (inner + 1) + inner * (squeezed + 1)
    return total
