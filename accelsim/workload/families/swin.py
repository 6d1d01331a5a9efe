"""Swin transformers: attention within windows, at four resolutions."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Positive, Spec, Whole
from accelsim.errors import ConfigError
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_norm
from accelsim.workload.families._dense import Dense, add_self_attention, add_sum
from accelsim.workload.families._diffusion import add_mlp2, mlp_parameters
from accelsim.workload.families._image import Image, halved
from accelsim.workload.families._vision import add_classifier, add_positions, patches_of
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
    mlp_ratio: Positive = 4.0
    """Width of the MLP over that of the stream."""
    qkv_bias: bool = True
    """Biases on query, key and value."""
    absolute_positions: bool = False
    """A learned position per patch besides the biases of the windows."""
    num_classes: Whole = 1000
    """Outputs of the classifier; 0 for none."""

    @model_validator(mode="after")
    def _consistent(self) -> SwinConfig:
        if len(self.depths) != len(self.num_heads):
            raise PydanticCustomError("model", "depths and num_heads need as many entries", {})
        for stage, heads in enumerate(self.num_heads):
            if self.embed_dim * 2**stage % heads:
                raise PydanticCustomError(
                    "model", "stage {stage} is {width} wide, which {heads} heads do not divide",
                    {"stage": stage, "width": self.embed_dim * 2**stage, "heads": heads},
                )  # fmt: skip
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
        If the tokens of a stage do not fill a window.
    """
    del conventions
    extent = phase.extent or default_extent(config)
    grid = patches_of(extent, config.patch_size, name)
    image, width = Image(phase.batch, *grid), config.embed_dim
    blocks = [_patches(config, dtypes, image)]
    for number, depth in enumerate(config.depths):
        if number:
            blocks.append(_merge(dtypes, number, image, 2 * width))
            image, width = halved(image), 2 * width
        if min(image.size) < config.window_size:
            raise ConfigError(
                f"{extent} gives stage {number} {image.height}x{image.width} tokens, less than"
                f" a window of {config.window_size}",
                path="workload.height",
            )
        blocks.append(_stage(config, dtypes, number, depth, image, width))
    body = BlockBuilder("head", dtypes)
    x = body.activation("hidden", image.rows, width)
    x = add_norm(body, "norm", x, image.rows, width, "layernorm")
    made = add_classifier(body, x, image, width, config.num_classes)
    blocks.append(body.block(1))
    total = parameter_count(config)
    return Workload(
        name=name, blocks=tuple(blocks), parameters=total, active_parameters=total,
        kv_bytes_per_token=0, phase=str(phase), batch=phase.batch,
        tokens=phase.batch * grid[0] * grid[1], inputs=("image",), outputs=(made,),
        conventions={"image": str(extent), "windows": "tokens are padded to whole windows"},
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
    if config.absolute_positions:
        own = config.image_size // side
        x = add_positions(body, x, image.batch, image.size, (own, own), 0, config.embed_dim)
    return body.block(1, {"hidden": x})


def _merge(dtypes: Dtypes, number: int, image: Image, width: int) -> Block:
    """Join each four neighbours of `image`, padded to even sides, to one token of `width`."""
    body, made = BlockBuilder(f"stage.{number}.merge", dtypes), halved(image)
    x = body.activation("hidden", image.rows, width // 2)
    y = body.activation("joined", made.rows, 2 * width)
    size = packed_bytes(made.rows * 2 * width, dtypes.activation)
    body.operator("joined", "transfer", {"size_bytes": size}, (x,), (y,), "copy")
    y = add_norm(body, "norm", y, made.rows, 2 * width, "layernorm")
    y = body.linear("reduction", y, made.rows, width, 2 * width)
    return body.block(1, {"hidden": y})


def _copied(body: BlockBuilder, name: str, x: str, rows: int, width: int) -> str:
    """Add the copy of tokens into windows, or out of them."""
    y = body.activation(name, rows, width)
    size = packed_bytes(rows * width, body.dtypes.activation)
    body.operator(name, "transfer", {"size_bytes": size}, (x,), (y,), "copy")
    return y


def _stage(
    config: SwinConfig, dtypes: Dtypes, number: int, depth: int, image: Image, width: int
) -> Block:
    heads, window = config.num_heads[number], config.window_size
    tokens, rows = window * window, image.rows
    windows = image.batch * -(-image.height // window) * -(-image.width // window)
    body = BlockBuilder(f"stage.{number}", dtypes)
    x = body.activation("hidden", rows, width)
    y = add_norm(body, "attention_norm", x, rows, width, "layernorm")
    y = _copied(body, "windows", y, windows * tokens, width)
    table = body.tensor("bias_table", ((2 * window - 1) ** 2, heads), dtypes.activation,
                        Role.WEIGHT)  # fmt: skip
    bias = body.activation("bias", heads, tokens, tokens)
    dims = {"rows": tokens * tokens, "columns": heads, "table_rows": (2 * window - 1) ** 2}
    body.operator("bias", "gather", dims, (table,), (bias,), "embedding")
    shape = Dense(width, heads, width // heads, qkv_bias=config.qkv_bias)
    y = add_self_attention(body, y, windows, tokens, shape, bias=bias)
    y = _copied(body, "image", y, rows, width)
    x = add_sum(body, "attention_residual", x, y, rows, width)
    y = add_norm(body, "mlp_norm", x, rows, width, "layernorm")
    y = add_mlp2(body, "mlp", y, rows, (width, _inner(config, width), width), "gelu", shard=True)
    x = add_sum(body, "mlp_residual", x, y, rows, width)
    return body.block(depth, {"hidden": x})


def _inner(config: SwinConfig, width: int) -> int:
    """Return the width of the MLP."""
    return int(config.mlp_ratio * width)


@lru_cache(maxsize=256)
def parameter_count(config: SwinConfig) -> int:
    """Return the number of parameters by a closed form."""
    width, total = config.embed_dim, 0
    total += width * (config.num_channels * config.patch_size**2 + 1) + 2 * width
    total += width * (config.image_size // config.patch_size) ** 2 * config.absolute_positions
    for number, depth in enumerate(config.depths):
        if number:
            total += 8 * width + 8 * width * width
            width *= 2
        table = (2 * config.window_size - 1) ** 2 * config.num_heads[number]
        layer = 4 * width * width + width + 3 * width * config.qkv_bias + 4 * width + table
        total += depth * (layer + mlp_parameters(width, _inner(config, width), width))
    return total + 2 * width + config.num_classes * (width + 1)


active_parameter_count = parameter_count
