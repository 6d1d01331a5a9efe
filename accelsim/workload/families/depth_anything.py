"""Depth Anything: a DINOv2 encoder, a DPT neck that fuses four of its layers, a head for depth.

References
----------
Depth Anything, arXiv 2401.10891 and 2406.09414; DPT, arXiv 2103.13413.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families import vit
from accelsim.workload.families._image import Image
from accelsim.workload.families._vision import patches_of
from accelsim.workload.families._vit_blocks import add_patches, add_vit_layer
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Extent, Phase
from accelsim.workload.tensor import packed_bytes

__all__ = [
    "INPUT",
    "PHASES",
    "Config",
    "DepthConfig",
    "active_parameter_count",
    "build",
    "default_extent",
    "parameter_count",
]

PHASES: Final = ("forward",)
INPUT: Final = "image"

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()


class DepthConfig(vit.VitConfig):
    """A DINOv2 encoder with the sizes of a DPT neck and head."""

    out_layers: tuple[Count, Count, Count, Count]
    """Layers, from 1, whose outputs the neck reads."""
    neck_hidden_sizes: tuple[Count, Count, Count, Count]
    """Channels that those become."""
    fusion_hidden_size: Count
    """Channels of the fused maps."""
    head_hidden_size: Count = 32
    """Channels of the head."""
    metric: bool = False
    """Depths in metres: a sigmoid, scaled, in place of the last ReLU."""

    @model_validator(mode="after")
    def _reads_layers(self) -> DepthConfig:
        layers = self.out_layers
        if sorted(set(layers)) != list(layers) or layers[-1] > self.num_hidden_layers:
            raise PydanticCustomError(
                "model",
                "out_layers {layers} are not increasing, or beyond num_hidden_layers {last}",
                {"layers": str(list(layers)), "last": self.num_hidden_layers},
            )
        return self


Config: Final = DepthConfig
_FACTORS: Final = (4, 2, 1, -2)
"""How the maps are resized: by transposed convolutions of 4 and 2, not, by a stride of 2."""


def default_extent(config: DepthConfig) -> Extent:
    """Return the size that the table of positions is made for."""
    return config.size


@lru_cache(maxsize=512)
def build(
    config: DepthConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "depth_anything",
) -> Workload:
    """Return one pass over ``phase.batch`` images; parameters as for every family.

    Raises
    ------
    ConfigError
        If the image is no whole number of patches.
    """
    del conventions
    extent = phase.extent or config.size
    grid = patches_of(extent, config.patch_size, name)
    image, tokens = Image(phase.batch, *grid), grid[0] * grid[1] + config.tokens_besides
    blocks = [add_patches(config, dtypes, phase.batch, grid)]
    done, maps = 0, []
    for number, layer in enumerate(config.out_layers):
        body = BlockBuilder(f"layers.{number}", dtypes)
        x = body.activation("hidden", phase.batch * tokens, config.hidden_size)
        x = add_vit_layer(body, config, x, phase.batch, tokens)
        blocks.append(body.block(layer - done, {"hidden": x}))
        done = layer
        blocks.append(_reassemble(config, dtypes, number, image, tokens))
        maps.append(_resized(image, _FACTORS[number]))
    blocks += _fuse(config, dtypes, maps, Image(phase.batch, extent.height, extent.width))
    total = parameter_count(config)
    notes = {"image": f"{extent}, {tokens} tokens"}
    if grid != config.grid:
        notes["positions"] = f"resized in the pass, from those of {config.size}"
    return Workload(
        name=name, blocks=tuple(blocks), parameters=total, active_parameters=total,
        kv_bytes_per_token=0, phase=str(phase), batch=phase.batch, tokens=phase.batch * tokens,
        inputs=("image",), outputs=("depth",), conventions=notes, idle_parameters=_unused(config),
    )  # fmt: skip


def _resized(image: Image, factor: int) -> Image:
    if factor > 0:
        return Image(image.batch, image.height * factor, image.width * factor)
    return Image(image.batch, (image.height + 1) // 2, (image.width + 1) // 2)


def _reassemble(
    config: DepthConfig, dtypes: Dtypes, number: int, image: Image, tokens: int
) -> Block:
    """Turn the tokens of a layer into a map of its own size and channels."""
    h, c, factor = config.hidden_size, config.neck_hidden_sizes[number], _FACTORS[number]
    body = BlockBuilder(f"reassemble.{number}", dtypes)
    x = body.activation("hidden", image.batch * tokens, h)
    weights = (body.vector("norm.weight", h), body.vector("norm.bias", h))
    x = body.norm("norm", x, image.batch * tokens, h, "layernorm", weights)
    y = body.activation("map", image.batch, h, *image.size)
    size = packed_bytes(image.rows * h, dtypes.activation)
    body.operator("map", "transfer", {"size_bytes": size}, (x,), (y,), "copy")
    y = body.conv("projection", y, image.batch, (h, c), image.size, (1, 1))
    made = _resized(image, factor)
    if factor > 1:
        y = body.conv(
            "resize", y, image.batch, (c, c), image.size, (factor, factor), stride=factor,
            padding=0, transposed=True,
        )  # fmt: skip
    elif factor < 0:
        y = body.conv("resize", y, image.batch, (c, c), image.size, (3, 3), stride=2, padding=1)
    f = config.fusion_hidden_size
    name = f"map.{number}"
    body.conv(name, y, image.batch, (c, f), made.size, (3, 3), bias=False)
    # The encoder's norm is one for all layers that the neck reads.
    return body.block(1, {}, frozenset({"norm.weight", "norm.bias", name}))


def _unit(body: BlockBuilder, name: str, x: str, image: Image, f: int) -> str:
    """Add a residual unit of two convolutions before which there is a ReLU each."""
    y = x
    for number in (1, 2):
        y = body.elementwise(f"{name}.relu{number}", "relu", (y,), image.rows, f,
                             label="activation")  # fmt: skip
        y = body.conv(f"{name}.conv{number}", y, image.batch, (f, f), image.size, (3, 3))
    return body.elementwise(f"{name}.sum", "add", (x, y), image.rows, f, label="residual")


def _interpolate(body: BlockBuilder, name: str, x: str, image: Image, channels: int) -> str:
    """Add a bilinear resize to the sizes of `image`."""
    y = body.activation(name, image.batch, channels, *image.size)
    dims = {"rows": image.rows, "columns": channels, "operands": 1}
    attributes = {"function": "interpolate", "part": True}
    body.operator(name, "elementwise", dims, (x,), (y,), "resize", None, attributes)
    return y


def _fuse(config: DepthConfig, dtypes: Dtypes, maps: list[Image], full: Image) -> list[Block]:
    """Fuse the maps from the coarsest on, then make the depth of every pixel."""
    f, blocks = config.fusion_hidden_size, []
    for place, number in enumerate(reversed(range(len(maps)))):
        image = maps[number]
        body = BlockBuilder(f"fusion.{place}", dtypes)
        x = body.activation(f"map.{number}", image.batch, f, *image.size)
        if place:
            before = body.activation("fused", image.batch, f, *image.size)
            x = _unit(body, "unit1", x, image, f)
            x = body.elementwise("sum", "add", (before, x), image.rows, f, label="residual")
        x = _unit(body, "unit2", x, image, f)
        target = maps[number - 1] if number else Image(image.batch, 2 * image.height,
                                                       2 * image.width)  # fmt: skip
        x = _interpolate(body, "resize", x, target, f)
        x = body.conv("projection", x, image.batch, (f, f), target.size, (1, 1))
        blocks.append(body.block(1, {"fused": x}, frozenset({f"map.{number}"})))
    body = BlockBuilder("head", dtypes)
    last = Image(full.batch, 2 * maps[0].height, 2 * maps[0].width)
    x = body.activation("fused", last.batch, f, *last.size)
    x = body.conv("conv1", x, last.batch, (f, f // 2), last.size, (3, 3))
    x = _interpolate(body, "upsample", x, full, f // 2)
    hidden = config.head_hidden_size
    x = body.conv("conv2", x, full.batch, (f // 2, hidden), full.size, (3, 3))
    x = body.elementwise("relu", "relu", (x,), full.rows, hidden, label="activation")
    x = body.conv("conv3", x, full.batch, (hidden, 1), full.size, (1, 1))
    if config.metric:
        x = body.elementwise("sigmoid", "sigmoid", (x,), full.rows, 1, label="activation")
    last_function = "scale" if config.metric else "relu"
    body.elementwise("depth", last_function, (x,), full.rows, 1, label="activation")
    return [*blocks, body.block(1)]


def _unused(config: DepthConfig) -> int:
    """Return the parameters that no pass uses.

    They are the first fusion's unit for a second map, which it does not get, layers behind the
    last that is read, and the token for masked patches.
    """
    f, layers = config.fusion_hidden_size, config.num_hidden_layers - config.out_layers[-1]
    unused = 2 * f * (9 * f + 1) + layers * vit.layer_parameters(config)
    return unused + config.hidden_size * config.mask_token


@lru_cache(maxsize=256)
def parameter_count(config: DepthConfig) -> int:
    """Return the number of parameters by a closed form."""
    h, f = config.hidden_size, config.fusion_hidden_size
    total = vit.patch_parameters(config) + 2 * h
    total += config.num_hidden_layers * vit.layer_parameters(config)
    for c, factor in zip(config.neck_hidden_sizes, _FACTORS, strict=True):
        taps = {4: 16, 2: 4, 1: 0, -2: 9}[factor]
        total += c * (h + 1) + (c * (c * taps + 1) if taps else 0) + 9 * c * f
    total += 4 * (4 * f * (9 * f + 1) + f * (f + 1))
    hidden = config.head_hidden_size
    total += f // 2 * (9 * f + 1) + hidden * (9 * (f // 2) + 1) + hidden + 1
    return total


active_parameter_count = parameter_count
