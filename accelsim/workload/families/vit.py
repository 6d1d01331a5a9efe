"""Vision transformers: ViT, DeiT, CLIP's image encoder, DINOv2, and M3ViT with experts."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec, Whole
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._diffusion import mlp_parameters
from accelsim.workload.families._vision import patches_of
from accelsim.workload.families._vit_blocks import add_end, add_layers, add_patches
from accelsim.workload.graph import Workload
from accelsim.workload.phase import Extent, Phase

__all__ = [
    "INPUT",
    "PHASES",
    "Config",
    "VitConfig",
    "active_parameter_count",
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
    register_tokens: Whole = 0
    """Further tokens without positions (DINOv2 with registers)."""
    qkv_bias: bool = True
    """Biases on query, key and value."""
    activation: Literal["gelu", "gelu_tanh", "quick_gelu", "silu"] = "gelu"
    """Function between the MLP's matrices."""
    gated: bool = False
    """An MLP of three matrices, whose gate the function is of (the largest DINOv2)."""
    patch_bias: bool = True
    """Bias on the patches' convolution."""
    first_norm: bool = False
    """A norm before the first layer (CLIP)."""
    layer_scale: bool = False
    """A learned scale of what attention and MLP add (DINOv2)."""
    mask_token: bool = False
    """A learned token for masked patches, which inference does not use (DINOv2)."""
    head: Literal[
        "classifier", "class_and_mean", "pooler", "class_token", "projection", "none"
    ] = "classifier"
    """A linear layer on the class token, or on it and the mean of the patches (DINOv2); a linear
    layer and tanh on the class token (the bare ViT of transformers); the class token's norm alone
    (CLIP), or with a projection; or the norm of all tokens."""
    num_classes: Count = 1000
    """Outputs of the classifier."""
    projection_dim: Count | None = None
    """Width of the projection."""
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

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along height and width that the table of positions is made for."""
        return self.size.height // self.patch_size, self.size.width // self.patch_size

    @property
    def tokens_besides(self) -> int:
        """Tokens besides the patches."""
        return self.extra_tokens + self.register_tokens

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
        elif self.head == "projection" and self.projection_dim is None:
            problem = "head `projection` needs projection_dim"
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
        ``forward``; for another extent than the model's own the table of positions is resized in
        the pass, as DINOv2 does.
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
    tokens = patches[0] * patches[1] + config.tokens_besides
    notes = {"image": f"{extent}, {tokens} tokens"}
    if patches != config.grid:
        notes["positions"] = f"resized in the pass, from those of {config.size}"
    return Workload(
        name=name,
        blocks=(
            add_patches(config, dtypes, phase.batch, patches),
            *add_layers(config, dtypes, phase.batch, tokens),
            add_end(config, dtypes, phase.batch, tokens),
        ),
        parameters=parameter_count(config),
        active_parameters=active_parameter_count(config),
        kv_bytes_per_token=0,
        phase=str(phase),
        batch=phase.batch,
        tokens=phase.batch * tokens,
        inputs=("image", *(["class_positions"] if config.head != "none" else [])),
        outputs=_outputs(config),
        conventions=notes,
        idle_parameters=_idle(config),
    )


def _outputs(config: VitConfig) -> tuple[str, ...]:
    if config.head in ("none", "class_token"):
        return ("final_norm",)
    if config.head in ("pooler", "projection"):
        return (config.head,)
    count = config.classifiers if config.head == "classifier" else 1
    return tuple(f"classifier.{n}" if n else "classifier" for n in range(count))


def _routers(config: VitConfig) -> int:
    """Return the parameters of one task's routers."""
    layers = config.num_hidden_layers // 2 if config.num_local_experts else 0
    return layers * config.hidden_size * config.num_local_experts


def _idle(config: VitConfig) -> int:
    """Return the parameters that a pass leaves alone: the mask token, routers of other tasks."""
    return config.hidden_size * config.mask_token + (config.num_tasks - 1) * _routers(config)


def patch_parameters(config: VitConfig) -> int:
    """Return the parameters of patches, extra tokens and positions."""
    h, side = config.hidden_size, config.patch_size
    total = h * (config.num_channels * side * side + config.patch_bias)
    positions = config.grid[0] * config.grid[1] + config.extra_tokens
    total += (positions + config.tokens_besides) * h
    return total + h * config.mask_token + 2 * h * config.first_norm


def layer_parameters(config: VitConfig, *, moe: bool = False) -> int:
    """Return the parameters of one layer, with the routers of all tasks."""
    h, wide = config.hidden_size, config.intermediate_size
    total = 4 * h * h + h + 3 * h * config.qkv_bias + 4 * h + 2 * h * config.layer_scale
    if not moe:
        return total + mlp_parameters(h, wide, h) + (wide * (h + 1) if config.gated else 0)
    expert = mlp_parameters(h, config.moe_intermediate_size or 0, h)
    return total + config.num_local_experts * (expert + config.num_tasks * h)


def _head_parameters(config: VitConfig) -> int:
    h = config.hidden_size
    return {
        "classifier": config.classifiers * config.num_classes * (h + 1),
        "class_and_mean": config.num_classes * (2 * h + 1),
        "pooler": h * (h + 1),
        "projection": h * (config.projection_dim or 0),
    }.get(config.head, 0)


@lru_cache(maxsize=256)
def parameter_count(config: VitConfig) -> int:
    """Return the number of parameters by a closed form."""
    moe = config.num_hidden_layers // 2 if config.num_local_experts else 0
    total = patch_parameters(config) + 2 * config.hidden_size + _head_parameters(config)
    total += (config.num_hidden_layers - moe) * layer_parameters(config)
    return total + (moe * layer_parameters(config, moe=True) if moe else 0)


@lru_cache(maxsize=256)
def active_parameter_count(config: VitConfig) -> int:
    """Return the parameters that one token uses."""
    if not config.num_local_experts:
        return parameter_count(config)
    expert = mlp_parameters(config.hidden_size, config.moe_intermediate_size or 0,
                            config.hidden_size)  # fmt: skip
    idle = config.num_local_experts - config.num_experts_per_tok
    return parameter_count(config) - config.num_hidden_layers // 2 * idle * expert
