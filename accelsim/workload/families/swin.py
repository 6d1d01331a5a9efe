"""Swin transformers: attention within windows, at four resolutions."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec
from accelsim.errors import ConfigError
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_norm
from accelsim.workload.families._dense import Dense, add_self_attention, add_sum
from accelsim.workload.families._diffusion import add_mlp2, mlp_parameters
from accelsim.workload.families._image import Image
from accelsim.workload.families._vision import add_classifier, patches_of
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Extent, Phase
from accelsim.workload.tensor import Role, packed_bytes

__all__ = [
    "INPUT",
    "PHASES",
    "Config",
    "SwinConfig",
    "active_parameter_count",
    "build",
    "default_extent",
    "parameter_count",
]

PHASES: Final = ("forward",)
INPUT: Final = "image"

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()


class SwinConfig(Spec):
    """A hierarchy of windowed transformers."""

    image_size: Count = 224
    """Side of the image, where a pass does not say."""
    patch_size: Count = 4
    """Side of a patch in pixels."""
    num_channels: Count = 3
    """Channels of the image."""
    embed_dim: Count
    """Width of the first stage; each further one is twice as wide."""
    depths: tuple[Count, ...]
    """Layers of each stage."""
    num_heads: tuple[Count, ...]
    """Heads of each stage."""
    window_size: Count = 7
    """Side of a window in tokens."""
    mlp_ratio: Count = 4
    """Width of the MLP over that of the stream."""
    num_classes: Count = 1000
    """Outputs of the classifier."""

    @model_validator(mode="after")
    def _consistent(self) -> SwinConfig:
        if len(self.depths) != len(self.num_heads):
            raise PydanticCustomError("model", "depths and num_heads need as many entries", {})
        return self


Config: Final = SwinConfig


def default_extent(config: SwinConfig) -> Extent:
    """Return the size of the image where a pass does not say."""
    return Extent(config.image_size, config.image_size)


@lru_cache(maxsize=512)
def build(
    config: SwinConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "swin",
) -> Workload:
    """Return one pass over ``phase.batch`` images; parameters as for every family.

    Raises
    ------
    ConfigError
        If the tokens of a stage are no whole number of windows.
    """
    del conventions
    extent = phase.extent or default_extent(config)
    grid = patches_of(extent, config.patch_size, name)
    image, width = Image(phase.batch, *grid), config.embed_dim
    blocks = [_patches(config, dtypes, image)]
    for number, depth in enumerate(config.depths):
        if number:
            image, width = Image(image.batch, image.height // 2, image.width // 2), 2 * width
            blocks.append(_merge(dtypes, number, image, width))
        if image.height % config.window_size or image.width % config.window_size:
            raise ConfigError(
                f"{extent} gives stage {number} {image.height}x{image.width} tokens, no whole"
                f" number of windows of {config.window_size}",
                path="workload.height",
            )
        blocks.append(_stage(config, dtypes, number, depth, image, width))
    body = BlockBuilder("head", dtypes)
    x = body.activation("hidden", image.rows, width)
    x = add_norm(body, "norm", x, image.rows, width, "layernorm")
    add_classifier(body, x, image, width, config.num_classes)
    blocks.append(body.block(1))
    total = parameter_count(config)
    return Workload(
        name=name, blocks=tuple(blocks), parameters=total, active_parameters=total,
        kv_bytes_per_token=0, phase=str(phase), batch=phase.batch,
        tokens=phase.batch * grid[0] * grid[1], inputs=("image",), outputs=("classifier",),
        conventions={"image": str(extent)},
    )  # fmt: skip


def _patches(config: SwinConfig, dtypes: Dtypes, image: Image) -> Block:
    body, side = BlockBuilder("patches", dtypes), config.patch_size
    size = (image.height * side, image.width * side)
    x = body.activation("image", image.batch, config.num_channels, *size)
    x = body.conv(
        "patch_embed", x, image.batch, (config.num_channels, config.embed_dim), size,
        (side, side), stride=side, padding=0,
    )  # fmt: skip
    x = add_norm(body, "patch_norm", x, image.rows, config.embed_dim, "layernorm")
    return body.block(1, {"hidden": x})


def _merge(dtypes: Dtypes, number: int, image: Image, width: int) -> Block:
    """Join each four neighbours to one token; `image` and `width` are those after it."""
    body = BlockBuilder(f"stage.{number}.merge", dtypes)
    x = body.activation("hidden", 4 * image.rows, width // 2)
    y = body.activation("joined", image.rows, 2 * width)
    size = packed_bytes(image.rows * 2 * width, dtypes.activation)
    body.operator("joined", "transfer", {"size_bytes": size}, (x,), (y,), "copy")
    y = add_norm(body, "norm", y, image.rows, 2 * width, "layernorm")
    y = body.linear("reduction", y, image.rows, width, 2 * width)
    return body.block(1, {"hidden": y})


def _stage(
    config: SwinConfig, dtypes: Dtypes, number: int, depth: int, image: Image, width: int
) -> Block:
    heads, window = config.num_heads[number], config.window_size
    tokens, rows = window * window, image.rows
    body = BlockBuilder(f"stage.{number}", dtypes)
    x = body.activation("hidden", rows, width)
    y = add_norm(body, "attention_norm", x, rows, width, "layernorm")
    size = packed_bytes(rows * width, dtypes.activation)
    parts = body.activation("windows", rows, width)
    body.operator("windows", "transfer", {"size_bytes": size}, (y,), (parts,), "copy")
    table = body.tensor("bias_table", ((2 * window - 1) ** 2, heads), dtypes.activation,
                        Role.WEIGHT)  # fmt: skip
    bias = body.activation("bias", heads, tokens, tokens)
    dims = {"rows": tokens * tokens, "columns": heads, "table_rows": (2 * window - 1) ** 2}
    body.operator("bias", "gather", dims, (table,), (bias,), "embedding")
    y = add_self_attention(
        body, parts, rows // tokens, tokens, Dense(width, heads, width // heads), bias=bias
    )
    x = add_sum(body, "attention_residual", x, y, rows, width)
    y = add_norm(body, "mlp_norm", x, rows, width, "layernorm")
    sizes = (width, config.mlp_ratio * width, width)
    y = add_mlp2(body, "mlp", y, rows, sizes, "gelu", shard=True)
    x = add_sum(body, "mlp_residual", x, y, rows, width)
    return body.block(depth, {"hidden": x})


@lru_cache(maxsize=256)
def parameter_count(config: SwinConfig) -> int:
    """Return the number of parameters by a closed form."""
    width, total = config.embed_dim, 0
    total += width * (config.num_channels * config.patch_size**2 + 1) + 2 * width
    for number, depth in enumerate(config.depths):
        if number:
            total += 8 * width + 8 * width * width
            width *= 2
        table = (2 * config.window_size - 1) ** 2 * config.num_heads[number]
        layer = 4 * width * (width + 1) + 4 * width + table
        total += depth * (layer + mlp_parameters(width, config.mlp_ratio * width, width))
    return total + 2 * width + config.num_classes * (width + 1)


active_parameter_count = parameter_count
