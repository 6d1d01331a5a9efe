"""The operators of the Python builder that work on images: (batch, channels, height, width).

One and three spatial dimensions work alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from accelsim.workload._author_core import Core
from accelsim.workload._author_value import Value, rows_columns
from accelsim.workload.tensor import packed_bytes

__all__ = ["Images"]

_SIDES: Final = ("depth", "height", "width")

Sizes = int | Sequence[int]
"""One number for all spatial dimensions, or one for each."""


def _grid(which: str, sizes: Sequence[int]) -> dict[str, int]:
    """Return the dims of one to three spatial sizes; height and width always."""
    full = (1,) * (2 - len(sizes)) + tuple(sizes)
    return {f"{which}_{side}": n for side, n in zip(_SIDES[3 - len(full) :], full, strict=True)}


def _each(sizes: Sizes, rank: int) -> tuple[int, ...]:
    return (sizes,) * rank if isinstance(sizes, int) else tuple(sizes)


class Images(Core):
    """Convolution, pooling, resizing, and the norms of images."""

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: Sizes,
        *,
        stride: Sizes = 1,
        padding: Sizes | None = None,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool | Value = True,
        transposed: bool = False,
        size: Sequence[int] | None = None,
        weight: Value | None = None,
        name: str = "conv",
    ) -> Value:
        """Add a convolution.

        Parameters
        ----------
        x : Value
            Of shape (batch, channels, ...) with one to three spatial dimensions.
        channels : int
            Of the result.
        kernel, stride, dilation : int or sequence of int
            For all spatial dimensions, or one number each.
        padding : int or sequence of int, optional
            On each side; what keeps the size of a stride of 1 unless given.
        groups : int
            Channel groups; as many as channels for a depthwise convolution.
        bias : bool or Value
            Add one weight per channel, or these.
        size : sequence of int, optional
            Spatial sizes of the result, where they do not follow from the rest.
        weight : Value, optional
            One that another operator uses, too.

        Raises
        ------
        GraphError
            If channels do not divide over the groups, or nothing is left of the image.
        """
        name = self.called(name)
        rank = len(x.shape) - 2
        if not 1 <= rank <= 3:
            raise self.error("conv", name, f"{x} is not (batch, channels, 1 to 3 spatial sizes)")
        inside = x.shape[1]
        if inside % groups or channels % groups:
            said = f"{inside} and {channels} channels do not divide into {groups} groups"
            raise self.error("conv", name, said)
        kernels, strides, dilations = (_each(n, rank) for n in (kernel, stride, dilation))
        made = size or _spatial(
            x.shape[2:], kernels, strides, padding, dilations, transposed=transposed
        )
        if min(made) < 1:
            raise self.error("conv", name, f"a kernel of {kernels} leaves nothing of {x}")
        shape = (channels, inside // groups, *kernels)
        inputs = [self._read(x), weight or self.weight(f"{name}.weight", shape)]
        if bias is not False:
            inputs.append(self.vector(f"{name}.bias", channels) if bias is True else bias)
        y = self.made(name, (x.shape[0], channels, *made), x.dtype)
        dims = {
            "batch": x.shape[0], "groups": groups,
            "in_channels": inside // groups, "out_channels": channels // groups,
            **_grid("in", x.shape[2:]), **_grid("out", made), **_grid("kernel", kernels),
        }  # fmt: skip
        attributes: dict[str, Any] = {"stride": strides}
        attributes |= {"dilation": dilations} if set(dilations) != {1} else {}
        attributes |= {"transposed": True} if transposed else {}
        self.operator(name, "conv", dims, inputs, (y,), label="conv", attributes=attributes)
        return y

    def _read(self, x: Value) -> Value:
        """Return an operand of which a part can be read, but nothing twice."""
        return x if x.distinct == x.elements else self.whole(x)

    def pool(
        self,
        x: Value,
        kernel: Sizes,
        *,
        function: str = "max",
        stride: Sizes | None = None,
        padding: Sizes = 0,
        size: Sequence[int] | None = None,
        name: str = "pool",
    ) -> Value:
        """Add max or mean pooling; the stride is the kernel unless given."""
        name = self.called(name)
        rank = len(x.shape) - 2
        kernels = _each(kernel, rank)
        strides = kernels if stride is None else _each(stride, rank)
        made = size or _spatial(x.shape[2:], kernels, strides, padding, (1,) * rank)
        if min(made) < 1:
            raise self.error("pool", name, f"a kernel of {kernels} leaves nothing of {x}")
        y = self.made(name, (*x.shape[:2], *made), x.dtype)
        rows, columns = rows_columns(y.shape)
        dims = {"rows": rows, "columns": columns, "terms": math.prod(kernels)}
        attributes: dict[str, Any] = {"function": function}
        if y.elements * dims["terms"] != x.elements:
            attributes["window"] = True
        self.operator(
            name, "reduce", dims, (self.whole(x),), (y,), label="pool", attributes=attributes
        )
        return y

    def resize(
        self, x: Value, size: Sequence[int], *, linear: bool = False, name: str = "resize"
    ) -> Value:
        """Add a change of the spatial sizes: by copying the nearest element, or interpolating."""
        name = self.called(name)
        y = self.made(name, (*x.shape[:2], *size), x.dtype)
        if linear:
            rows, columns = rows_columns(y.shape)
            dims = {"rows": rows, "columns": columns, "operands": 1}
            self.operator(
                name, "elementwise", dims, (self.whole(x),), (y,),
                label="resize", attributes={"function": "interpolate", "part": True},
            )  # fmt: skip
        else:
            moved = {"size_bytes": packed_bytes(y.elements, y.dtype)}
            self.operator(name, "transfer", moved, (self.whole(x),), (y,), label="resize")
        return y

    def batch_norm(self, x: Value, *, name: str = "norm") -> Value:
        """Add a batch norm over channels, its statistics constants: a scale and a shift each."""
        return self._channel_norm(x, "batchnorm", name)

    def group_norm(self, x: Value, *, name: str = "norm") -> Value:
        """Add a group norm with a scale and a shift per channel."""
        return self._channel_norm(x, "groupnorm", name)

    def instance_norm(self, x: Value, *, name: str = "norm") -> Value:
        """Add an instance norm with a scale and a shift per channel."""
        return self._channel_norm(x, "instancenorm", name)

    def _channel_norm(self, x: Value, function: str, name: str) -> Value:
        name = self.called(name)
        channels = x.shape[1]
        vectors = [self.vector(f"{name}.{part}", channels) for part in ("weight", "bias")]
        y = self.made(name, x.shape, x.dtype)
        dims = {"rows": x.elements // channels, "columns": channels}
        inputs = (self._read(x), *vectors)
        attributes = {"function": function}
        self.operator(name, "norm", dims, inputs, (y,), label="norm", attributes=attributes)
        return y


def _spatial(
    sizes: Sequence[int],
    kernels: Sequence[int],
    strides: Sequence[int],
    padding: Sizes | None,
    dilations: Sequence[int],
    *,
    transposed: bool = False,
) -> tuple[int, ...]:
    """Return the spatial sizes of a result."""
    reach = [d * (k - 1) + 1 for k, d in zip(kernels, dilations, strict=True)]
    pads = [r // 2 for r in reach] if padding is None else _each(padding, len(sizes))
    if transposed:
        grown = zip(sizes, strides, pads, reach, strict=True)
        return tuple((n - 1) * s - 2 * p + r for n, s, p, r in grown)
    sides = zip(sizes, strides, pads, reach, strict=True)
    return tuple((n + 2 * p - r) // s + 1 for n, s, p, r in sides)
