"""Parts of convolutional networks that diffusion UNets and autoencoders share.

Images are tensors of batch x channels x height x width; transformers see the same elements as
batch x (height x width) rows of channels.
"""

from __future__ import annotations

from typing import NamedTuple

from accelsim.workload.build import BlockBuilder
from accelsim.workload.tensor import packed_bytes

__all__ = ["Image", "add_concat", "add_group_norm", "add_resnet", "add_upsample", "halved"]


class Image(NamedTuple):
    """Sizes of a batch of feature maps."""

    batch: int
    height: int
    width: int

    @property
    def positions(self) -> int:
        """Positions of one image."""
        return self.height * self.width

    @property
    def rows(self) -> int:
        """Positions of all images."""
        return self.batch * self.positions

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


def halved(image: Image) -> Image:
    """Return the sizes after a convolution of stride 2, rounded up."""
    return Image(image.batch, (image.height + 1) // 2, (image.width + 1) // 2)


def add_group_norm(
    body: BlockBuilder, name: str, x: str, image: Image, channels: int, *, silu: bool = True
) -> str:
    """Add a group norm with scale and shift, and the SiLU after it."""
    weights = (body.vector(f"{name}.weight", channels), body.vector(f"{name}.bias", channels))
    x = body.norm(name, x, image.rows, channels, "groupnorm", weights)
    if not silu:
        return x
    return body.elementwise(f"{name}_silu", "silu", (x,), image.rows, channels, label="activation")


def add_resnet(
    body: BlockBuilder, name: str, x: str, image: Image, channels: tuple[int, int],
    time: tuple[str, int] | None = None,
) -> str:  # fmt: skip
    """Add two convolutions with norms, the step's embedding between them, and the shortcut.

    Parameters
    ----------
    channels : (int, int)
        Channels of input and output.
    time : (str, int), optional
        The step's embedding, after its SiLU, and its width.
    """
    inside, outside = channels
    y = add_group_norm(body, f"{name}.norm1", x, image, inside)
    y = body.conv(
        f"{name}.conv1", y, image.batch, channels, image.size, (3, 3), shard="out_channels"
    )
    if time is not None:
        embedded, width = time
        shift = body.linear(
            f"{name}.time_emb_proj", embedded, image.batch, outside, width, bias=True
        )
        y = body.elementwise(
            f"{name}.time_sum", "add", (y, shift), image.rows, outside, label="residual"
        )
    y = add_group_norm(body, f"{name}.norm2", y, image, outside)
    y = body.conv(
        f"{name}.conv2", y, image.batch, (outside, outside), image.size, (3, 3),
        shard="in_channels",
    )  # fmt: skip
    if inside != outside:
        x = body.conv(f"{name}.shortcut", x, image.batch, channels, image.size, (1, 1))
    return body.elementwise(f"{name}.sum", "add", (x, y), image.rows, outside, label="residual")


def add_concat(
    body: BlockBuilder, name: str, parts: tuple[str, ...], image: Image, channels: int
) -> str:
    """Add the concatenation of feature maps along their channels."""
    y = body.activation(name, image.batch, channels, *image.size)
    size = packed_bytes(image.rows * channels, body.dtypes.activation)
    body.operator(name, "transfer", {"size_bytes": size}, parts, (y,), "copy")
    return y


def add_upsample(
    body: BlockBuilder, name: str, x: str, image: Image, channels: int, *, conv: bool = True
) -> str:
    """Add the repetition of every position to the sizes of `image`, and a convolution."""
    y = body.activation(f"{name}.repeat", image.batch, channels, *image.size)
    size = packed_bytes(image.rows * channels, body.dtypes.activation)
    body.operator(f"{name}.repeat", "transfer", {"size_bytes": size}, (x,), (y,), "resize")
    if not conv:
        return y
    return body.conv(f"{name}.conv", y, image.batch, (channels, channels), image.size, (3, 3))
