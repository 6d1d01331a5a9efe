"""The fields of a diffusion UNet, named as in diffusers' configurations."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec, Whole

__all__ = ["UnetConfig"]


class UnetConfig(Spec):
    """A UNet with transformers at some of its resolutions."""

    sample_size: Count
    """Side of the latent that the model was trained for."""
    vae_scale: Count = 8
    """Pixels per latent, along a side."""
    in_channels: Count = 4
    """Channels of the latent."""
    out_channels: Count = 4
    """Channels of the prediction."""
    block_out_channels: tuple[Count, ...]
    """Channels of each resolution, the finest first."""
    layers_per_block: Count = 2
    """Residual layers of a resolution on the way down; one more on the way up."""
    transformer_layers_per_block: tuple[Whole, ...]
    """Depth of each resolution's transformers; 0 for none."""
    mid_layers: Whole = 1
    """Depth of the middle's transformer."""
    num_attention_heads: tuple[Count, ...] = ()
    """Heads of each resolution, or one number for all."""
    attention_head_dim: Count | None = None
    """Width of a head, from which heads follow, where num_attention_heads is absent."""
    cross_attention_dim: Whole = 768
    """Width of the text that conditions the transformers; 0 for none."""
    text_tokens: Count = 77
    """Tokens of the text, where a pass does not say."""
    use_linear_projection: bool = False
    """Transformers begin and end with a linear layer rather than a convolution."""
    added_dim: Whole = 0
    """Width of what is embedded beside the step: pooled text and image sizes of SDXL."""
    motion: bool = False
    """A temporal transformer follows every layer (AnimateDiff)."""
    motion_heads: Count = 8
    """Heads of the temporal transformers."""
    motion_frames: Count = 16
    """Frames, where a pass does not say."""
    motion_mid: bool = True
    """The middle has a temporal transformer too."""

    def heads(self, level: int) -> int:
        """Return the heads at a resolution."""
        if self.attention_head_dim:
            return self.block_out_channels[level] // self.attention_head_dim
        given = self.num_attention_heads
        return given[level] if len(given) > 1 else given[0]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        levels, problem = len(self.block_out_channels), ""
        if len(self.transformer_layers_per_block) != levels:
            problem = (
                f"transformer_layers_per_block has {len(self.transformer_layers_per_block)}"
                f" entries, block_out_channels {levels}"
            )
        elif bool(self.num_attention_heads) == bool(self.attention_head_dim):
            problem = "give either num_attention_heads or attention_head_dim"
        elif len(self.num_attention_heads) not in (0, 1, levels):
            problem = f"num_attention_heads needs 1 or {levels} entries"
        if problem:
            raise PydanticCustomError("model", "{problem}", {"problem": problem})
        return self
