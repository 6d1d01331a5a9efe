"""Convolutional networks for images: ResNet, MobileNet-V2, ConvNeXt and VGG."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec
from accelsim.errors import ConfigError
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._convnet_blocks import Stage, write, written_parameters
from accelsim.workload.graph import Workload
from accelsim.workload.phase import Extent, Phase

__all__ = [
    "INPUT",
    "PHASES",
    "Config",
    "ConvnetConfig",
    "active_parameter_count",
    "build",
    "default_extent",
    "parameter_count",
]

PHASES: Final = ("forward",)
INPUT: Final = "image"

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()


class ConvnetConfig(Spec):
    """A stem, stages of equal blocks, and a classifier."""

    block: Literal["basic", "bottleneck", "inverted", "convnext", "vgg"]
    """ResNet-18's and ResNet-50's residual blocks, MobileNet-V2's, ConvNeXt's, or VGG's plain
    convolutions."""
    image_size: Count = 224
    """Side of the image, where a pass does not say."""
    num_channels: Count = 3
    """Channels of the image."""
    stem: Count
    """Channels of the stem; of `vgg` unused, give the first stage's."""
    stages: tuple[Stage, ...]
    """Stages in order."""
    head_channels: Count | None = None
    """Channels of a last convolution before the classifier (MobileNet-V2)."""
    fully_connected: tuple[Count, ...] = ()
    """Widths of fully connected layers before the classifier (VGG)."""
    num_classes: Count = 1000
    """Outputs of the classifier."""
    time_steps: Count = 1
    """Steps over which a spiking network sees the image; 1 for an ordinary one."""

    @model_validator(mode="after")
    def _consistent(self) -> ConvnetConfig:
        problem = ""
        if self.fully_connected and self.block != "vgg":
            problem = "fully_connected is VGG's"
        elif self.time_steps > 1 and self.block != "vgg":
            problem = "time_steps: spiking networks are built of `vgg` blocks"
        if problem:
            raise PydanticCustomError("model", "{problem}", {"problem": problem})
        return self


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

    Raises
    ------
    ConfigError
        If the image is a video, or too small for the network.
    """
    del conventions
    extent = phase.extent or default_extent(config)
    if extent.frames > 1:
        raise ConfigError(f"`{name}` sees images, not videos", path="workload.frames")
    blocks = write(config, dtypes, phase.batch, extent)
    total = parameter_count(config)
    notes = {"image": str(extent), "batch norm": "its own operator, not folded"}
    if config.time_steps > 1:
        notes["spikes"] = f"{config.time_steps} steps; inputs of 1 bit after the first layer"
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
        outputs=("classifier",),
        conventions=notes,
    )


@lru_cache(maxsize=256)
def parameter_count(config: ConvnetConfig) -> int:
    """Return the number of parameters by a closed form."""
    return written_parameters(config)


active_parameter_count = parameter_count
