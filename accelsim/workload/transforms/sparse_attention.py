"""Sparse attention: only some blocks of the query-key matrix are computed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Fraction
from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.transforms._rewrite import map_blocks, with_note
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "SparseAttention", "window_density"]


def window_density(size: tuple[int, ...], window: tuple[int, ...]) -> float:
    """Return the share of pairs that a sliding window keeps, in any number of dimensions.

    Parameters
    ----------
    size : tuple of int
        Tokens per dimension: (height, width) of an image, (frames, height, width) of a video.
    window : tuple of int
        Tokens that one attends to per dimension, centred on itself and moved inwards at the
        borders, so that all tokens see equally many (sliding tile attention).

    Examples
    --------
    >>> round(window_density((30, 48, 80), (18, 24, 24)), 4)
    0.09
    """
    return math.prod(min(1.0, w / s) for s, w in zip(size, window, strict=True))


class SparseAttention(Transform):
    """Masks blocks of long attentions; the pairs left out become `masked_macs`.

    A published density is given as such; a local window of an image or a video is given by its
    size and that of the token grid.
    """

    paper: ClassVar[str] = "PAROAttention, arXiv 2506.16054: density 0.2 to 0.3 in CogVideoX, FLUX"

    kind: Literal["sparse_attention"] = "sparse_attention"
    density: Fraction | None = None
    """Share of blocks computed; 0.3 unless a window is given."""
    grid: tuple[Count, ...] = ()
    """Tokens per dimension of the image or video."""
    window: tuple[Count, ...] = ()
    """Tokens per dimension that one attends to."""
    from_length: Count = 1024
    """Attentions with fewer keys stay dense."""
    cross: bool = False
    """Whether attentions of unequal query and key length (to a text) are masked as well."""

    @model_validator(mode="after")
    def _one_of_two(self) -> SparseAttention:
        problem = ""
        if len(self.grid) != len(self.window):
            problem = "`grid` and `window` need as many dimensions"
        elif self.grid and self.density is not None:
            problem = "either `density`, or `grid` and `window`"
        elif self.density == 0:
            problem = "a density of 0 leaves no attention"
        if problem:
            raise PydanticCustomError("density", "{problem}", {"problem": problem})
        return self

    @property
    def kept(self) -> float:
        """Share of the pairs that is computed."""
        if self.grid:
            return window_density(self.grid, self.window)
        return 0.3 if self.density is None else self.density

    def apply(self, workload: Workload) -> Workload:
        """Return the pass with masked attentions."""
        changed = map_blocks(workload, self._block)
        return with_note(changed, "sparse_attention", f"density {self.kept:.3g} of blocks")

    def _block(self, block: Block) -> Block:
        return replace(block, operators=tuple(map(self._operator, block.operators)))

    def _operator(self, operator: Operator) -> Operator:
        if operator.kind != "attention" or operator.dims["kv_len"] < self.from_length:
            return operator
        if operator.dims["q_len"] != operator.dims["kv_len"] and not self.cross:
            return operator
        density = operator.attributes.get("density", 1.0) * self.kept
        return replace(operator, attributes={**operator.attributes, "density": density})


TRANSFORM: Final = SparseAttention
