"""Parts of networks for images: convolutions with batch norm, pooling, patches, positions."""

from __future__ import annotations

from accelsim.errors import ConfigError
from accelsim.workload.build import BlockBuilder
from accelsim.workload.families._image import Image
from accelsim.workload.phase import Extent
from accelsim.workload.tensor import Role

__all__ = [
    "add_classifier",
    "add_conv_bn",
    "add_mean",
    "add_pool",
    "add_positions",
    "conv_bn_parameters",
    "patches_of",
    "strided",
]


def strided(image: Image, kernel: int, stride: int, padding: int) -> Image:
    """Return the sizes after a convolution or a pooling.

    Raises
    ------
    ConfigError
        If nothing is left.
    """
    height, width = ((side + 2 * padding - kernel) // stride + 1 for side in image.size)
    if min(height, width) < 1:
        raise ConfigError(
            f"the image is too small: {image.height}x{image.width} positions are left before a"
            f" window of {kernel}x{kernel}",
            path="workload.height",
        )
    return Image(image.batch, height, width)


def add_conv_bn(
    body: BlockBuilder, name: str, x: str, image: Image, channels: tuple[int, int], kernel: int,
    *, stride: int = 1, groups: int = 1, activation: str = "relu",
) -> tuple[str, Image]:  # fmt: skip
    """Add a convolution without bias, batch norm and a function; return result and sizes.

    The padding is half the kernel, so that a stride of 1 keeps the sizes.
    """
    padding = (kernel - 1) // 2
    made = strided(image, kernel, stride, padding)
    x = body.conv(
        name, x, image.batch, channels, image.size, (kernel, kernel), stride=stride,
        padding=padding, groups=groups, bias=False, shard="groups" if groups > 1 else None,
    )  # fmt: skip
    weights = (
        body.vector(f"{name}.bn.weight", channels[1]), body.vector(f"{name}.bn.bias", channels[1])
    )  # fmt: skip
    x = body.norm(f"{name}.bn", x, made.rows, channels[1], "batchnorm", weights)
    if activation:
        x = body.elementwise(
            f"{name}.{activation}", activation, (x,), made.rows, channels[1], label="activation"
        )
    return x, made


def conv_bn_parameters(channels: tuple[int, int], kernel: int, groups: int = 1) -> int:
    """Return the parameters of a convolution without bias and its batch norm."""
    inside, outside = channels
    return outside * (inside // groups) * kernel * kernel + 2 * outside


def add_pool(
    body: BlockBuilder, name: str, x: str, image: Image, channels: int, *, kernel: int = 3,
    stride: int = 2, padding: int = 0, function: str = "max", dtype: str = "",
) -> tuple[str, Image]:  # fmt: skip
    """Add a pooling; return result and sizes."""
    made = strided(image, kernel, stride, padding)
    y = body.activation(name, image.batch, channels, *made.size, dtype=dtype)
    dims = {"rows": made.rows, "columns": channels, "terms": kernel * kernel}
    attributes = {"function": function, "window": True}
    body.operator(name, "reduce", dims, (x,), (y,), "pool", None, attributes)
    return y, made


def add_mean(body: BlockBuilder, x: str, image: Image, channels: int) -> str:
    """Add the mean over all positions."""
    y = body.activation("pool", image.batch, channels)
    dims = {"rows": image.batch, "columns": channels, "terms": image.positions}
    body.operator("pool", "reduce", dims, (x,), (y,), "pool", None, {"function": "mean"})
    return y


def add_classifier(
    body: BlockBuilder, x: str, image: Image, channels: int, classes: int, *, norm: bool = False
) -> str:
    """Add the mean over all positions, a layer norm where there is one, and a linear layer.

    Without classes the linear layer is left out.
    """
    y = add_mean(body, x, image, channels)
    if norm:
        weights = (body.vector("norm.weight", channels), body.vector("norm.bias", channels))
        y = body.norm("norm", y, image.batch, channels, "layernorm", weights)
    if not classes:
        return y
    return body.linear("classifier", y, image.batch, classes, channels, bias=True)


def add_positions(
    body: BlockBuilder, x: str, batch: int, grid: tuple[int, int], own: tuple[int, int],
    extra: int, width: int,
) -> str:  # fmt: skip
    """Add the learned positions of the tokens, resized where the model's own grid is another.

    Parameters
    ----------
    grid, own : (int, int)
        Patches along height and width, of this image and of the table.
    extra : int
        Tokens besides the patches that have a position; they keep theirs.
    """
    rows, held = grid[0] * grid[1] + extra, own[0] * own[1] + extra
    table = body.tensor("positions", (held, width), body.dtypes.activation, Role.WEIGHT)
    if grid != own:
        made = body.activation("positions_resized", rows, width)
        dims = {"rows": rows, "columns": width, "operands": 1}
        how = {"function": "bicubic", "part": True}
        body.operator("positions_resized", "elementwise", dims, (table,), (made,), "resize", None,
                      how)  # fmt: skip
        table = made
    return body.elementwise("position_sum", "add", (x, table), batch * rows, width,
                            label="embedding")  # fmt: skip


def patches_of(extent: Extent, patch: int, name: str) -> tuple[int, int]:
    """Return how many patches of an image there are along height and width.

    Raises
    ------
    ConfigError
        If the image is no whole number of patches, or a video.
    """
    for side, size in (("height", extent.height), ("width", extent.width)):
        if size % patch:
            raise ConfigError(
                f"{size} is no multiple of the {patch} pixels of a patch of `{name}`",
                path=f"workload.{side}",
            )
    if extent.frames > 1:
        raise ConfigError(f"`{name}` sees images, not videos", path="workload.frames")
    return extent.height // patch, extent.width // patch
