"""How many parameters a diffusion UNet has, by closed forms that know nothing of its graph."""

from __future__ import annotations

from functools import lru_cache

from accelsim.workload.families._unet_config import UnetConfig

__all__ = ["active_parameter_count", "parameter_count"]


def _conv(inside: int, outside: int, taps: int) -> int:
    return outside * (inside * taps + 1)


def _resnet(config: UnetConfig, inside: int, outside: int) -> int:
    time = 4 * config.block_out_channels[0]
    total = 2 * inside + _conv(inside, outside, 9) + outside * (time + 1)
    total += 2 * outside + _conv(outside, outside, 9)
    return total + (_conv(inside, outside, 1) if inside != outside else 0)


def _layer(width: int, context: int) -> int:
    """Return the parameters of one transformer layer; `context` of 0 has no cross attention."""
    own = 3 * width * width + _conv(width, width, 1) + 2 * width
    other = width * width + 2 * context * width + _conv(width, width, 1) + 2 * width
    mlp = 2 * width + 8 * width * (width + 1) + width * (4 * width + 1)
    return own + mlp + (other if context else 0)


def _transformer(config: UnetConfig, width: int, depth: int) -> int:
    if not depth:
        return 0
    ends = 2 * width + 2 * _conv(width, width, 1)
    return ends + depth * _layer(width, config.cross_attention_dim)


def _motion(config: UnetConfig, width: int) -> int:
    """Return the parameters of a temporal transformer: two self attentions and an MLP."""
    if not config.motion:
        return 0
    attention = 4 * width * width + width + 2 * width
    mlp = 2 * width + 8 * width * (width + 1) + width * (4 * width + 1)
    return 2 * width + 2 * _conv(width, width, 1) + 2 * attention + mlp


@lru_cache(maxsize=256)
def parameter_count(config: UnetConfig) -> int:
    """Return the number of parameters."""
    widths, depths = config.block_out_channels, config.transformer_layers_per_block
    first, time, last = widths[0], 4 * widths[0], widths[-1]
    total = _conv(config.in_channels, first, 9) + _conv(first, config.out_channels, 9) + 2 * first
    total += time * (first + 1) + time * (time + 1)
    if config.added_dim:
        total += time * (config.added_dim + 1) + time * (time + 1)
    skips, before = [first], first
    for level, width in enumerate(widths):
        for _ in range(config.layers_per_block):
            total += _resnet(config, before, width) + _motion(config, width)
            total += _transformer(config, width, depths[level])
            before = width
            skips.append(width)
        if level < len(widths) - 1:
            total += _conv(width, width, 9)
            skips.append(width)
    total += 2 * _resnet(config, last, last) + _transformer(config, last, config.mid_layers)
    total += _motion(config, last) * config.motion_mid
    for level in reversed(range(len(widths))):
        for _ in range(config.layers_per_block + 1):
            total += _resnet(config, before + skips.pop(), widths[level])
            total += _transformer(config, widths[level], depths[level])
            total += _motion(config, widths[level])
            before = widths[level]
        total += _conv(before, before, 9) if level else 0
    return total


active_parameter_count = parameter_count
