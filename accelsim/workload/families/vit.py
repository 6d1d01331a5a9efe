"""Vision transformers: ViT, DeiT, CLIP's image encoder, DINOv2, and M3ViT with experts."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec, Whole
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import Experts, add_experts, add_norm
from accelsim.workload.families._dense import Dense, add_self_attention, add_sum
from accelsim.workload.families._diffusion import add_mlp2, mlp_parameters
from accelsim.workload.families._vision import patches_of
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Extent, Phase
from accelsim.workload.repeat import repeats
from accelsim.workload.tensor import Role, packed_bytes

__all__ = [
    "INPUT",
    "PHASES",
    "Config",
    "VitConfig",
    "active_parameter_count",
    "add_patches",
    "add_vit_layer",
    "build",
    "default_extent",
    "layer_parameters",
    "parameter_count",
    "patch_parameters",
]

PHASES: Final = ("forward",)
INPUT: Final = "image"

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()


class VitConfig(Spec):
    """A transformer over the patches of an image."""

    hidden_size: Count
    """Width of the residual stream."""
    num_hidden_layers: Count
    """Number of layers."""
    num_attention_heads: Count
    """Heads."""
    intermediate_size: Count
    """Width of the MLP."""
    image_size: Count | tuple[Count, Count] = 224
    """Side, or height and width, that the table of positions is made for."""
    patch_size: Count = 16
    """Side of a patch in pixels."""
    num_channels: Count = 3
    """Channels of the image."""
    extra_tokens: Whole = 1
    """Tokens besides the patches: the class, and DeiT's distillation."""
    activation: Literal["gelu", "gelu_tanh", "quick_gelu"] = "gelu"
    """Function between the MLP's matrices."""
    patch_bias: bool = True
    """Bias on the patches' convolution."""
    first_norm: bool = False
    """A norm before the first layer (CLIP)."""
    layer_scale: bool = False
    """A learned scale of what attention and MLP add (DINOv2)."""
    mask_token: bool = False
    """A learned token for masked patches, which inference does not use (DINOv2)."""
    head: Literal["classifier", "class_token", "none"] = "classifier"
    """A linear layer on the class token, its norm alone (CLIP), or the norm of all tokens."""
    num_classes: Count = 1000
    """Outputs of the classifier."""
    classifiers: Count = 1
    """Classifiers, one per extra token (2 in distilled DeiT)."""
    num_local_experts: Whole = 0
    """Experts of every second layer, from the second on (M3ViT); 0 for none."""
    num_experts_per_tok: Whole = 0
    """Experts that a token uses."""
    moe_intermediate_size: Count | None = None
    """Width of one expert."""
    num_tasks: Count = 1
    """Tasks, each with routers of its own; a pass runs one."""

    @property
    def size(self) -> Extent:
        """Image that the table of positions is made for."""
        given = self.image_size
        return Extent(given, given) if isinstance(given, int) else Extent(*given)

    @model_validator(mode="after")
    def _consistent(self) -> VitConfig:
        problem = ""
        if self.hidden_size % self.num_attention_heads:
            problem = (
                f"hidden_size {self.hidden_size} does not divide over num_attention_heads"
                f" {self.num_attention_heads}"
            )
        elif self.head != "none" and not self.extra_tokens:
            problem = f"head `{self.head}` reads the class token, so extra_tokens must be 1"
        elif self.num_local_experts and not (
            self.num_experts_per_tok and self.moe_intermediate_size
        ):
            problem = "num_local_experts needs num_experts_per_tok and moe_intermediate_size"
        if problem:
            raise PydanticCustomError("model", "{problem}", {"problem": problem})
        return self


Config: Final = VitConfig


def default_extent(config: VitConfig) -> Extent:
    """Return the size that the table of positions is made for."""
    return config.size


@lru_cache(maxsize=512)
def build(
    config: VitConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "vit",
) -> Workload:
    """Return one pass over ``phase.batch`` images.

    Parameters
    ----------
    config : VitConfig
        The model.
    phase : Phase
        ``forward``; for another extent than the model's own the table of positions is resized
        beforehand.
    dtypes, conventions, name
        As for every family.

    Raises
    ------
    ConfigError
        If the image is no whole number of patches.
    """
    del conventions
    extent = phase.extent or config.size
    patches = patches_of(extent, config.patch_size, name)
    tokens = patches[0] * patches[1] + config.extra_tokens
    return Workload(
        name=name,
        blocks=(
            add_patches(config, dtypes, phase.batch, patches),
            *_layers(config, dtypes, phase.batch, tokens),
            _end(config, dtypes, phase.batch, tokens),
        ),
        parameters=parameter_count(config),
        active_parameters=active_parameter_count(config),
        kv_bytes_per_token=0,
        phase=str(phase),
        batch=phase.batch,
        tokens=phase.batch * tokens,
        inputs=("image", *(["class_positions"] if config.head != "none" else [])),
        outputs=_outputs(config),
        conventions={"image": f"{extent}, {tokens} tokens"},
        idle_parameters=_idle(config, extent),
    )


def _outputs(config: VitConfig) -> tuple[str, ...]:
    if config.head != "classifier":
        return ("final_norm",)
    return tuple(f"classifier.{n}" if n else "classifier" for n in range(config.classifiers))


def _routers(config: VitConfig) -> int:
    """Return the parameters of one task's routers."""
    layers = config.num_hidden_layers // 2 if config.num_local_experts else 0
    return layers * config.hidden_size * config.num_local_experts


def _positions(config: VitConfig, extent: Extent) -> int:
    """Return the rows of the table of positions that an image of some size uses."""
    side = config.patch_size
    return extent.height // side * (extent.width // side) + config.extra_tokens


def _idle(config: VitConfig, extent: Extent) -> int:
    """Return the parameters that a pass leaves alone: mask, other tasks, a resized table."""
    mask = config.hidden_size * config.mask_token
    table = _positions(config, config.size) - _positions(config, extent)
    return mask + (config.num_tasks - 1) * _routers(config) + table * config.hidden_size


def add_patches(config: VitConfig, dtypes: Dtypes, batch: int, patches: tuple[int, int]) -> Block:
    """Return the block that turns an image into tokens with positions."""
    h, side = config.hidden_size, config.patch_size
    tokens = patches[0] * patches[1] + config.extra_tokens
    size = (patches[0] * side, patches[1] * side)
    body = BlockBuilder("patches", dtypes)
    x = body.activation("image", batch, config.num_channels, *size)
    x = body.conv(
        "patch_embed", x, batch, (config.num_channels, h), size, (side, side), stride=side,
        padding=0, bias=config.patch_bias,
    )  # fmt: skip
    if config.extra_tokens:
        extra = body.tensor(
            "extra_tokens", (config.extra_tokens, h), dtypes.activation, Role.WEIGHT
        )
        y = body.activation("extra", batch * config.extra_tokens, h)
        dims = {"rows": batch * config.extra_tokens, "columns": h,
                "table_rows": config.extra_tokens}  # fmt: skip
        body.operator("extra", "gather", dims, (extra,), (y,), "embedding")
        joined = body.activation("tokens", batch * tokens, h)
        moved = packed_bytes(batch * tokens * h, dtypes.activation)
        body.operator("tokens", "transfer", {"size_bytes": moved}, (y, x), (joined,), "copy")
        x = joined
    table = body.tensor("positions", (tokens, h), dtypes.activation, Role.WEIGHT)
    x = body.elementwise("position_sum", "add", (x, table), batch * tokens, h, label="embedding")
    if config.first_norm:
        x = add_norm(body, "first_norm", x, batch * tokens, h, "layernorm")
    return body.block(1, {"hidden": x})


def add_vit_layer(
    body: BlockBuilder, config: VitConfig, x: str, batch: int, tokens: int, *, moe: bool = False
) -> str:
    """Add attention and MLP (or experts), each after a norm; return the stream."""
    h, rows, heads = config.hidden_size, batch * tokens, config.num_attention_heads
    y = add_norm(body, "attention_norm", x, rows, h, "layernorm")
    y = add_self_attention(body, y, batch, tokens, Dense(h, heads, h // heads))
    x = _add_scaled(body, config, "attention", x, y, rows)
    y = add_norm(body, "mlp_norm", x, rows, h, "layernorm")
    if moe:
        shape = Experts(config.num_local_experts, config.num_experts_per_tok,
                        config.moe_intermediate_size or 0, bias=True)  # fmt: skip
        y = add_experts(body, y, rows, h, shape, activation=config.activation, gated=False)
    else:
        sizes = (h, config.intermediate_size, h)
        y = add_mlp2(body, "mlp", y, rows, sizes, config.activation, shard=True)
    return _add_scaled(body, config, "mlp", x, y, rows)


def _add_scaled(
    body: BlockBuilder, config: VitConfig, name: str, x: str, y: str, rows: int
) -> str:
    h = config.hidden_size
    if config.layer_scale:
        scale = body.vector(f"{name}_scale", h)
        y = body.elementwise(f"{name}_scaled", "mul", (y, scale), rows, h, label="residual")
    return add_sum(body, f"{name}_residual", x, y, rows, h)


def _layers(config: VitConfig, dtypes: Dtypes, batch: int, tokens: int) -> tuple[Block, ...]:
    moe = config.num_local_experts > 0
    plan = repeats([moe and layer % 2 == 1 for layer in range(config.num_hidden_layers)])
    blocks = []
    for number, (kinds, count) in enumerate(plan):
        body = BlockBuilder("layers" if len(plan) == 1 else f"layers.{number}", dtypes)
        x = body.activation("hidden", batch * tokens, config.hidden_size)
        for place, kind in enumerate(kinds):
            body.prefix = "" if len(kinds) == 1 else f"{place}."
            x = add_vit_layer(body, config, x, batch, tokens, moe=kind)
        blocks.append(body.block(count, {"hidden": x}))
    return tuple(blocks)


def _end(config: VitConfig, dtypes: Dtypes, batch: int, tokens: int) -> Block:
    h, rows = config.hidden_size, batch * tokens
    body = BlockBuilder("end", dtypes)
    x = body.activation("hidden", rows, h)
    if config.head != "class_token":
        x = add_norm(body, "final_norm", x, rows, h, "layernorm")
    if config.head == "none":
        return body.block(1)
    for number in range(config.classifiers if config.head == "classifier" else 1):
        suffix = f".{number}" if number else ""
        ids = body.activation("class_positions", batch, dtype="int32")
        y = body.gather(f"select{suffix}", x, ids, (batch, h, rows), label="select")
        if config.head == "class_token":
            add_norm(body, "final_norm", y, batch, h, "layernorm")
        else:
            body.linear(f"classifier{suffix}", y, batch, config.num_classes, h, bias=True)
    return body.block(1)


def patch_parameters(config: VitConfig) -> int:
    """Return the parameters of patches, extra tokens and positions."""
    h, side = config.hidden_size, config.patch_size
    total = h * (config.num_channels * side * side + config.patch_bias)
    total += (config.extra_tokens + _positions(config, config.size)) * h
    return total + h * config.mask_token + 2 * h * config.first_norm


def layer_parameters(config: VitConfig, *, moe: bool = False) -> int:
    """Return the parameters of one layer, with the routers of all tasks."""
    h = config.hidden_size
    total = 4 * h * (h + 1) + 4 * h + 2 * h * config.layer_scale
    if not moe:
        return total + mlp_parameters(h, config.intermediate_size, h)
    expert = mlp_parameters(h, config.moe_intermediate_size or 0, h)
    return total + config.num_local_experts * (expert + config.num_tasks * h)


@lru_cache(maxsize=256)
def parameter_count(config: VitConfig) -> int:
    """Return the number of parameters by a closed form."""
    h = config.hidden_size
    moe = config.num_hidden_layers // 2 if config.num_local_experts else 0
    total = patch_parameters(config) + 2 * h
    total += (config.num_hidden_layers - moe) * layer_parameters(config)
    total += moe * layer_parameters(config, moe=True) if moe else 0
    if config.head == "classifier":
        total += config.classifiers * config.num_classes * (h + 1)
    return total


@lru_cache(maxsize=256)
def active_parameter_count(config: VitConfig) -> int:
    """Return the parameters that one token uses."""
    if not config.num_local_experts:
        return parameter_count(config)
    expert = mlp_parameters(config.hidden_size, config.moe_intermediate_size or 0,
                            config.hidden_size)  # fmt: skip
    idle = config.num_local_experts - config.num_experts_per_tok
    return parameter_count(config) - config.num_hidden_layers // 2 * idle * expert
