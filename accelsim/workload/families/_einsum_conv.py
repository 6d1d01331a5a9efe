"""What convolution a product with affine indices is: windows, strides, channels and groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from accelsim.errors import GraphError
from accelsim.workload.families._einsum_text import Index, Reference

__all__ = ["conv_dims"]


def conv_dims(
    image: Reference,
    kernel: Reference,
    made: Reference,
    shape: Sequence[int],
    sizes: Mapping[str, int],
) -> tuple[dict[str, int], dict[str, Any]]:
    """Return dims and attributes of the convolution that a product with affine indices is.

    Parameters
    ----------
    image, kernel, made : Reference
        The operand with affine indices, the other, and the result.
    shape : sequence of int
        Sizes of the image, padding included.
    sizes : mapping of str to int
        Size of each rank.

    Raises
    ------
    GraphError
        If an affine index is no window, or there are more than three.
    """
    windows = [_window(index, made, kernel) for index in image.indices if index.rank is None]
    spatial = {rank for window in windows for rank in window[:2]}
    plain = [index.rank for index in image.indices if index.rank is not None]
    ranks = {rank for rank in (*plain, *kernel.ranks, *made.ranks) if rank not in spatial}

    def size(*, in_image: bool, in_kernel: bool, in_made: bool) -> int:
        return math.prod(
            sizes[rank]
            for rank in ranks
            if (rank in plain, rank in kernel.ranks, rank in made.ranks)
            == (in_image, in_kernel, in_made)
        )

    if len(windows) > 3:
        raise GraphError(f"`{image}` has {len(windows)} affine indices, at most 3 are legal")
    dims = {
        "batch": size(in_image=True, in_kernel=False, in_made=True),
        "groups": size(in_image=True, in_kernel=True, in_made=True),
        "in_channels": size(in_image=True, in_kernel=True, in_made=False),
        "out_channels": size(in_image=False, in_kernel=True, in_made=True),
    }
    inside = [n for n, i in zip(shape, image.indices, strict=True) if i.rank is None]
    grids = {
        "in": inside,
        "out": [sizes[window[0]] for window in windows],
        "kernel": [sizes[window[1]] for window in windows],
    }
    for which, given in grids.items():
        full = [1] * (2 - len(given)) + given
        sides = ("depth", "height", "width")[3 - len(full) :]
        dims |= {f"{which}_{side}": n for side, n in zip(sides, full, strict=True)}
    attributes: dict[str, Any] = {"stride": tuple(window[2] for window in windows)}
    if any(window[3] != 1 for window in windows):
        attributes["dilation"] = tuple(window[3] for window in windows)
    return dims, attributes


def _window(index: Index, made: Reference, kernel: Reference) -> tuple[str, str, int, int]:
    """Return the output rank and the kernel rank of an affine index, its stride and dilation."""
    if len(index.terms) == 2:
        for (stride, out), (dilation, inner) in (index.terms, index.terms[::-1]):
            if out in made.ranks and inner in kernel.ranks and inner not in made.ranks:
                return out, inner, stride, dilation
    raise GraphError(
        f"index `{index}` is not the sum of a rank of the result and one of the kernel"
    )
