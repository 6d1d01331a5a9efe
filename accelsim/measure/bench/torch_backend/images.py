"""Convolutions of images, channels first or last in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch.nn import functional

from accelsim.measure.bench.case import Case
from accelsim.measure.bench.torch_backend.operation import Operation
from accelsim.measure.bench.torch_backend.tensors import Tensors

__all__ = ["OPERATIONS"]


def _operands(of: Case, make: Tensors) -> tuple[Any, ...]:
    batch, c_in, c_out, kh, kw, h_in, w_in = of.sizes(
        "batch", "c_in", "c_out", "kh", "kw", "h_in", "w_in"
    )
    per_group = c_in // of.size("groups", 1)
    image = make.normal(batch, c_in, h_in, w_in)
    weight = make.normal(c_out, per_group, kh, kw, scale=(per_group * kh * kw) ** -0.5)
    if of.impl == "torch.channels_last":
        last = torch.channels_last
        return image.to(memory_format=last), weight.to(memory_format=last)
    return image, weight


def _conv(of: Case, image: Any, weight: Any) -> Any:
    stride, pad = of.sizes("stride_h", "stride_w"), of.sizes("pad_h", "pad_w")
    return functional.conv2d(image, weight, None, stride, pad, 1, of.size("groups", 1))


def _small(of: Case) -> Case:
    if of.size("groups", 1) > 1:
        return of.changed(batch=1, h_in=min(of.size("h_in"), 12), w_in=min(of.size("w_in"), 12))
    return of.changed(
        batch=1, c_in=min(of.size("c_in"), 40), c_out=min(of.size("c_out"), 48),
        h_in=min(of.size("h_in"), 12), w_in=min(of.size("w_in"), 12),
    )  # fmt: skip


OPERATIONS: Final[Mapping[str, Operation]] = {
    "conv": Operation(
        _operands, {"torch.nchw": _conv, "torch.channels_last": _conv}, "torch.nchw", _small
    ),
}
