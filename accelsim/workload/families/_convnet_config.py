"""What a convolutional network is made of: a stem, stages of equal blocks, and a classifier."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Fraction, Spec, Whole

__all__ = ["ConvnetConfig", "Layer", "Stage", "layers"]

_FUNCTIONS: Final = {"inverted": "relu6", "separable": "relu6", "convnext": "gelu"}
"""Block -> its usual function; ReLU of the others."""


class Stage(Spec):
    """Blocks of one kind at one resolution."""

    channels: Count
    """Channels that a block leaves."""
    blocks: Count
    """Number of blocks."""
    stride: Count = 1
    """Stride of the first block; of ConvNeXt of the layer before it."""
    kernel: Count = 3
    """Side of the kernels; of bottlenecks and ConvNeXt their own."""
    expansion: Count = 4
    """Inner channels of an inverted block over its input's."""
    pool: Whole = 2
    """Side of the pooling behind the stage, whose stride is 2; 0 for none (VGG, AlexNet)."""
    padding: Whole | None = None
    """Padding of the convolutions; half the kernel where absent (VGG, AlexNet)."""


class ConvnetConfig(Spec):
    """A stem, stages of equal blocks, and a classifier."""

    block: Literal["basic", "bottleneck", "inverted", "separable", "convnext", "vgg"]
    """ResNet-18's and ResNet-50's residual blocks; MobileNet-V2's and EfficientNet's, and
    MobileNet-V1's; ConvNeXt's; or the plain convolutions of VGG and AlexNet."""
    image_size: Count = 224
    """Side of the image, where a pass does not say."""
    num_channels: Count = 3
    """Channels of the image."""
    stem: Count | None = None
    """Channels of the stem; `vgg` has none."""
    stem_patch: Count = 4
    """Side of ConvNeXt's first patches."""
    stages: tuple[Stage, ...]
    """Stages in order."""
    groups: Count = 1
    """Groups of a bottleneck's middle convolution (ResNeXt)."""
    reduction: Count = 4
    """Channels of a bottleneck over its inner ones (2 in wide networks)."""
    stride_first: bool = False
    """A bottleneck strides in its first convolution, not in the middle one."""
    squeeze: Whole = 0
    """Input channels of an inverted block over those of its squeeze and excitation; 0 for none
    (4 in EfficientNet)."""
    layer_scale: bool = True
    """A learned scale of what a ConvNeXt block adds."""
    activation: Literal["relu", "relu6", "silu", "gelu"] | None = None
    """Function of the blocks, where it is not the usual one."""
    head_channels: Count | None = None
    """Channels of a last convolution before the classifier (MobileNet-V2)."""
    fully_connected: tuple[Count, ...] = ()
    """Widths of fully connected layers before the classifier (VGG)."""
    bias: bool = True
    """Biases of plain convolutions and of fully connected layers."""
    num_classes: Whole = 1000
    """Outputs of the classifier; 0 for none."""
    time_steps: Count = 1
    """Steps over which a spiking network sees the image; 1 for an ordinary one."""
    spike_density: Fraction = 1.0
    """Share of neurons that spike in a step: what an event-driven array makes use of."""

    @property
    def function(self) -> str:
        """Function of the blocks."""
        return self.activation or _FUNCTIONS.get(self.block, "relu")

    @property
    def spiking(self) -> bool:
        """Whether neurons fire over time."""
        return self.time_steps > 1

    @model_validator(mode="after")
    def _consistent(self) -> ConvnetConfig:
        problem = ""
        if self.fully_connected and self.block != "vgg":
            problem = "fully_connected is VGG's"
        elif self.time_steps > 1 and self.block != "vgg":
            problem = "time_steps: spiking networks are built of `vgg` blocks"
        elif self.stem is None and self.block != "vgg":
            problem = f"block `{self.block}` needs the channels of its stem"
        elif self.block == "vgg" and not self.num_classes:
            problem = "`vgg` needs num_classes"
        elif self.block == "bottleneck":
            wrong = [s.channels for s in self.stages
                     if s.channels % (self.reduction * self.groups)]  # fmt: skip
            if wrong:
                problem = (
                    f"{wrong[0]} channels do not divide by reduction {self.reduction} x groups"
                    f" {self.groups}"
                )
        if problem:
            raise PydanticCustomError("model", "{problem}", {"problem": problem})
        return self


class Layer(NamedTuple):
    """One block: channels of its input and output, its stride, and the stage it is of."""

    inside: int
    outside: int
    stride: int
    stage: Stage
    pooled: bool


def layers(config: ConvnetConfig, number: int, channels: int) -> list[tuple[Layer, int]]:
    """Return the blocks of a stage, equal ones together with their number.

    Parameters
    ----------
    number, channels : int
        The stage, and the channels that it gets.
    """
    stage, found = config.stages[number], list[tuple[Layer, int]]()
    apart = config.block == "convnext"  # its stride and its channels change in a layer before
    for block in range(stage.blocks):
        last = block == stage.blocks - 1
        layer = Layer(
            stage.channels if apart or block else channels, stage.channels,
            1 if apart or block else stage.stride, stage,
            config.block == "vgg" and last and stage.pool > 0,
        )  # fmt: skip
        if found and found[-1][0] == layer:
            found[-1] = (layer, found[-1][1] + 1)
        else:
            found.append((layer, 1))
    return found
