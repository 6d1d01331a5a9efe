"""UNets of latent diffusion: Stable Diffusion 1.5, 2.1 and XL, LDM, AnimateDiff.

Blocks are named ``time``, ``conv_in``, ``down.I.J``, ``down.I.downsample``, ``mid.*``, ``up.I.J``,
``up.I.upsample`` and ``conv_out``: I counts resolutions from the finest on the way down and from
the coarsest on the way up, J the layers of one.  Long skips are the tensors ``skip.N``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from accelsim.errors import ConfigError
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._image import (
    Image,
    add_concat,
    add_group_norm,
    add_resnet,
    add_upsample,
    halved,
)
from accelsim.workload.families._unet_config import UnetConfig
from accelsim.workload.families._unet_count import active_parameter_count, parameter_count
from accelsim.workload.families._unet_transformer import CONTEXT, add_motion, add_transformer
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Extent, Phase
from accelsim.workload.tensor import packed_bytes

__all__ = [
    "INPUT",
    "PHASES",
    "Config",
    "UnetConfig",
    "active_parameter_count",
    "build",
    "default_extent",
    "parameter_count",
    "stage_lengths",
]

PHASES: Final = ("forward",)
INPUT: Final = "image"
Config: Final = UnetConfig

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()
_TIME: Final = "time_embedding"


def default_extent(config: UnetConfig) -> Extent:
    """Return the size that the model was trained for, in pixels."""
    side = config.sample_size * config.vae_scale
    return Extent(side, side, config.motion_frames if config.motion else 1)


@lru_cache(maxsize=512)
def build(
    config: UnetConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "unet",
) -> Workload:
    """Return one evaluation of the network on ``phase.batch`` latents.

    Parameters
    ----------
    config : UnetConfig
        The model.
    phase : Phase
        ``forward``; its extent is that of the image, its context the text's tokens.
    dtypes, conventions, name
        As for every family.

    Raises
    ------
    ConfigError
        If the image is no whole number of latents, or has frames and the network no motion.
    """
    del conventions
    extent = phase.extent or default_extent(config)
    _check(config, extent, name)
    text = phase.context_len or config.text_tokens
    writer = _Writer(config, dtypes, phase.batch, extent, text)
    return Workload(
        name=name,
        blocks=tuple(writer.blocks()),
        parameters=parameter_count(config),
        active_parameters=parameter_count(config),
        kv_bytes_per_token=0,
        phase=str(phase),
        batch=phase.batch,
        tokens=writer.top.rows,
        inputs=writer.inputs(),
        outputs=("conv_out",),
        conventions={"image": str(extent), "text": f"{text} tokens",
                     "guidance": "twice the batch"},
    )  # fmt: skip


def _check(config: UnetConfig, extent: Extent, name: str) -> None:
    scale = config.vae_scale
    if extent.height % scale or extent.width % scale:
        raise ConfigError(
            f"{extent} is no multiple of the {scale} pixels of a latent of `{name}`",
            path="workload.height",
        )
    if extent.frames > 1 and not config.motion:
        raise ConfigError(
            f"`{name}` makes images, not {extent.frames} frames", path="workload.frames"
        )


def stage_lengths(workload: Workload) -> list[int]:
    """Return the tokens of each self-attention in order: the length by stage of a UNet."""
    return [
        operator.dims["q_len"]
        for block, operator in workload.operators()
        if operator.kind == "attention" and operator.name.endswith("self_attention")
        for _ in range(block.count)
    ]


class _Writer:
    """Writes the blocks in order, remembering the skips that are still open."""

    def __init__(
        self, config: UnetConfig, dtypes: Dtypes, batch: int, extent: Extent, text: int
    ) -> None:
        self.config, self.dtypes, self.text = config, dtypes, text
        self.sequences, self.frames = batch, extent.frames
        scale = config.vae_scale
        self.top = Image(batch * extent.frames, extent.height // scale, extent.width // scale)
        self.skips: list[tuple[str, int, Image]] = []
        self.done: list[Block] = []

    def inputs(self) -> tuple[str, ...]:
        """Return what comes from the host."""
        names = ["latents", "timestep"]
        names += [CONTEXT] * bool(self.config.cross_attention_dim)
        return (*names, *(["added_conditions"] if self.config.added_dim else []))

    def blocks(self) -> list[Block]:
        """Return all blocks."""
        config, image = self.config, self.top
        channels = config.block_out_channels
        self.time()
        body = self.body("conv_in")
        x = body.activation("latents", image.batch, config.in_channels, *image.size)
        x = body.conv(
            "conv_in", x, image.batch, (config.in_channels, channels[0]), image.size, (3, 3)
        )
        self.skip(body, x, channels[0], image)
        before = channels[0]
        for level, width in enumerate(channels):
            for layer in range(config.layers_per_block):
                self.layer(f"down.{level}.{layer}", (before, width), image, level)
                before = width
            if level < len(channels) - 1:
                image = self.downsample(f"down.{level}.downsample", width, image)
        self.middle(channels[-1], image)
        self.up(image)
        self.end()
        return self.done

    def body(self, name: str) -> BlockBuilder:
        """Return the builder of a block."""
        return BlockBuilder(name, self.dtypes)

    def close(
        self, body: BlockBuilder, x: str, count: int = 1, shared: tuple[str, ...] = ()
    ) -> None:
        """Add the block, whose result flows on as ``hidden``."""
        self.done.append(body.block(count, {"hidden": x}, frozenset(shared)))

    def skip(self, body: BlockBuilder, x: str, channels: int, image: Image) -> None:
        """Close a block whose result is also read on the way up."""
        self.skips.append((x, channels, image))
        self.close(body, x, 1, (x, _TIME, CONTEXT))

    def time(self) -> None:
        """Embed the step, and what else conditions the whole network."""
        config, batch = self.config, self.sequences
        width, inside = 4 * config.block_out_channels[0], config.block_out_channels[0]
        body = self.body("time")
        x = body.activation("timestep", batch, inside)
        x = body.linear("time_linear_1", x, batch, width, inside, bias=True)
        x = body.elementwise("time_silu", "silu", (x,), batch, width, label="activation")
        x = body.linear("time_linear_2", x, batch, width, width, bias=True)
        if config.added_dim:
            y = body.activation("added_conditions", batch, config.added_dim)
            y = body.linear("added_linear_1", y, batch, width, config.added_dim, bias=True)
            y = body.elementwise("added_silu", "silu", (y,), batch, width, label="activation")
            y = body.linear("added_linear_2", y, batch, width, width, bias=True)
            x = body.elementwise("added_sum", "add", (x, y), batch, width, label="residual")
        if self.frames > 1:
            size = packed_bytes(self.top.batch * width, self.dtypes.activation)
            y = body.activation("time_frames", self.top.batch, width)
            body.operator("time_frames", "transfer", {"size_bytes": size}, (x,), (y,), "copy")
            x, batch = y, self.top.batch
        # Every residual layer starts from the SiLU of the embedding.
        x = body.elementwise(_TIME, "silu", (x,), batch, width, label="activation")
        self.done.append(body.block(1, {}, frozenset({x})))

    def layer(
        self, name: str, channels: tuple[int, int], image: Image, level: int, *, down: bool = True
    ) -> None:
        """Add a residual layer, its transformer and its motion module."""
        depth = self.config.transformer_layers_per_block[level]
        body = self.body(name)
        x = body.activation("hidden", image.batch, channels[0], *image.size)
        if not down:
            skip, more, _ = self.skips.pop()
            y = body.activation(skip, image.batch, more, *image.size)
            channels = (channels[0] + more, channels[1])
            x = add_concat(body, f"{name}.concat", (x, y), image, channels[0])
        x = self.resnet(body, f"{name}.resnet", x, image, channels)
        if depth:
            body, x = self.transformer(body, name, x, image, channels[1], level, depth)
        if self.config.motion:
            x = add_motion(
                body, f"{name}.motion", x, image, channels[1], self.frames,
                self.config.motion_heads,
            )  # fmt: skip
        if down:
            self.skip(body, x, channels[1], image)
        else:
            self.close(body, x, 1, self.shared())

    def shared(self) -> tuple[str, ...]:
        """Return the tensors that blocks read by name."""
        return (_TIME, CONTEXT, *(f"{name}" for name, _, _ in self.skips), *self.gone)

    @property
    def gone(self) -> tuple[str, ...]:
        """Return the skips that were read already."""
        return tuple(name for name in self.made if name not in {s for s, _, _ in self.skips})

    @property
    def made(self) -> tuple[str, ...]:
        """Return every skip."""
        return tuple(
            name for block in self.done for name in block.shared if name not in (_TIME, CONTEXT)
        )

    def resnet(
        self, body: BlockBuilder, name: str, x: str, image: Image, channels: tuple[int, int]
    ) -> str:
        """Add a residual layer."""
        width = 4 * self.config.block_out_channels[0]
        time = body.activation(_TIME, image.batch, width)
        return add_resnet(body, name, x, image, channels, (time, width))

    def transformer(
        self, body: BlockBuilder, name: str, x: str, image: Image, channels: int, level: int,
        depth: int,
    ) -> tuple[BlockBuilder, str]:  # fmt: skip
        """Add a transformer; return the block that is open after it, and the result."""
        residual = x
        y = add_group_norm(body, f"{name}.transformer.norm", x, image, channels, silu=False)
        y = self.project(body, f"{name}.transformer.proj_in", y, image, channels)
        if depth > 1:  # layers of one kind repeat in a block of their own
            self.close(body, y, 1, (residual, *self.shared()))
            body = self.body(f"{name}.layers")
            y = body.activation("hidden", image.batch, channels, *image.size)
        heads = self.config.heads(level)
        y = add_transformer(
            body, f"{name}.transformer", y, image, channels, heads,
            self.config.cross_attention_dim, self.text,
        )  # fmt: skip
        if depth > 1:
            self.close(body, y, depth, (CONTEXT,))
            body = self.body(f"{name}.end")
            y = body.activation("hidden", image.batch, channels, *image.size)
            residual = body.activation(residual, image.batch, channels, *image.size)
        y = self.project(body, f"{name}.transformer.proj_out", y, image, channels)
        return body, body.elementwise(
            f"{name}.transformer.sum", "add", (residual, y), image.rows, channels,
            label="residual",
        )  # fmt: skip

    def project(self, body: BlockBuilder, name: str, x: str, image: Image, channels: int) -> str:
        """Add a projection of every position: a linear layer, or a convolution of one tap."""
        if self.config.use_linear_projection:
            return body.linear(name, x, image.rows, channels, channels, bias=True)
        return body.conv(name, x, image.batch, (channels, channels), image.size, (1, 1))

    def downsample(self, name: str, channels: int, image: Image) -> Image:
        """Add a convolution of stride 2; return the sizes after it."""
        body = self.body(name)
        x = body.activation("hidden", image.batch, channels, *image.size)
        small = halved(image)
        x = body.conv(
            name, x, image.batch, (channels, channels), image.size, (3, 3), stride=2, padding=1
        )
        self.skip(body, x, channels, small)
        return small

    def middle(self, channels: int, image: Image) -> None:
        """Add the middle: residual layer, transformer, residual layer."""
        config = self.config
        body = self.body("mid")
        x = body.activation("hidden", image.batch, channels, *image.size)
        x = self.resnet(body, "mid.resnet.0", x, image, (channels, channels))
        if config.mid_layers:
            last = len(config.block_out_channels) - 1
            body, x = self.transformer(body, "mid", x, image, channels, last, config.mid_layers)
        if config.motion and config.motion_mid:
            x = add_motion(
                body, "mid.motion", x, image, channels, self.frames, config.motion_heads
            )
        x = self.resnet(body, "mid.resnet.1", x, image, (channels, channels))
        self.close(body, x, 1, self.shared())

    def up(self, image: Image) -> None:
        """Add the way up, to the sizes of each skip."""
        widths = self.config.block_out_channels
        before = widths[-1]
        for number, level in enumerate(reversed(range(len(widths)))):
            for layer in range(self.config.layers_per_block + 1):
                image = self.skips[-1][2]
                self.layer(
                    f"up.{number}.{layer}", (before, widths[level]), image, level, down=False
                )
                before = widths[level]
            if level:
                larger = self.skips[-1][2]
                body = self.body(f"up.{number}.upsample")
                x = body.activation("hidden", image.batch, before, *image.size)
                x = add_upsample(body, f"up.{number}.upsample", x, larger, before)
                self.close(body, x)

    def end(self) -> None:
        """Add the last norm and convolution."""
        config, image, channels = self.config, self.top, self.config.block_out_channels[0]
        body = self.body("conv_out")
        x = body.activation("hidden", image.batch, channels, *image.size)
        x = add_group_norm(body, "conv_norm_out", x, image, channels)
        body.conv("conv_out", x, image.batch, (channels, config.out_channels), image.size, (3, 3))
        self.done.append(body.block(1))
