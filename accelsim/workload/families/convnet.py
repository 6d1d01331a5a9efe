"""Convolutional networks for images: ResNet, MobileNet, EfficientNet, ConvNeXt, VGG, AlexNet.

Batch norms are operators of their own, with weights; VGG's blocks can be spiking neurons.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from accelsim.errors import ConfigError
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._convnet_config import ConvnetConfig, Stage
from accelsim.workload.families._convnet_count import written_parameters
from accelsim.workload.families._convnet_write import last_grid, write
from accelsim.workload.graph import Workload
from accelsim.workload.phase import Extent, Phase

__all__ = [
    "INPUT",
    "PHASES",
    "Config",
    "ConvnetConfig",
    "Stage",
    "active_parameter_count",
    "build",
    "default_extent",
    "parameter_count",
]

PHASES: Final = ("forward",)
INPUT: Final = "image"

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()

Config: Final = ConvnetConfig


def default_extent(config: ConvnetConfig) -> Extent:
    """Return the size of the image where a pass does not say."""
    return Extent(config.image_size, config.image_size)


@lru_cache(maxsize=512)
def build(
    config: ConvnetConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "convnet",
) -> Workload:
    """Return one pass over ``phase.batch`` images; parameters as for every family.

    Notes
    -----
    A spiking network sees the image in each of its steps (direct encoding).  The steps of a layer
    follow each other before the next layer begins, as a larger batch, so that membrane potentials
    stay in the unit; products with spikes have the attribute ``spikes``: they are additions.

    Raises
    ------
    ConfigError
        If the image is a video, or too small for the network.
    """
    del conventions
    extent = phase.extent or default_extent(config)
    if extent.frames > 1:
        raise ConfigError(f"`{name}` sees images, not videos", path="workload.frames")
    blocks, made = write(config, dtypes, phase.batch, extent)
    total = parameter_count(config)
    return Workload(
        name=name,
        blocks=blocks,
        parameters=total,
        active_parameters=total,
        kv_bytes_per_token=0,
        phase=str(phase),
        batch=phase.batch,
        tokens=phase.batch,
        inputs=("image",),
        outputs=(made,),
        conventions=_notes(config, extent),
    )


def _notes(config: ConvnetConfig, extent: Extent) -> dict[str, str]:
    notes = {"image": str(extent)}
    if config.block == "vgg":
        if extent != default_extent(config):
            height, width = last_grid(config)
            notes["classifier"] = f"behind a pooling to its {height}x{width} positions"
    elif config.block != "convnext":
        notes["batch norm"] = "its own operator, not folded"
    if config.spiking:
        notes["spikes"] = (
            f"{config.time_steps} steps, each with the image; products behind the first layer are"
            " additions, counted as MACs"
        )
    return notes


@lru_cache(maxsize=256)
def parameter_count(config: ConvnetConfig) -> int:
    """Return the number of parameters by a closed form."""
    return written_parameters(config)


active_parameter_count = parameter_count
