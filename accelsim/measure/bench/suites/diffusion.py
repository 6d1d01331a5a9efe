"""Convolutions of Stable Diffusion 1.5's UNet, and blocks of it and of a diffusion transformer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from accelsim.measure.bench.case import Case, case

__all__ = ["ABOUT", "cases", "conv", "dit_layer", "unet_layer"]

ABOUT: Final = "convolutions of the SD 1.5 UNet, a UNet pair of blocks, a DiT block"

_CONVS: Final = (
    # c_in, c_out, kernel, side, stride at 512x512 (latents of 64): conv_in, levels, shortcuts.
    (4, 320, 3, 64, 1), (320, 320, 3, 64, 1), (320, 320, 3, 64, 2), (320, 640, 3, 32, 1),
    (640, 640, 3, 32, 1), (640, 640, 3, 32, 2), (640, 1280, 3, 16, 1), (1280, 1280, 3, 16, 1),
    (1280, 1280, 3, 16, 2), (1280, 1280, 3, 8, 1), (2560, 1280, 3, 8, 1), (2560, 1280, 3, 16, 1),
    (1920, 1280, 3, 16, 1), (1920, 640, 3, 32, 1), (1280, 640, 3, 32, 1), (960, 640, 3, 32, 1),
    (960, 320, 3, 64, 1), (640, 320, 3, 64, 1), (320, 4, 3, 64, 1), (320, 640, 1, 32, 1),
    (640, 1280, 1, 16, 1), (2560, 1280, 1, 8, 1), (1920, 640, 1, 32, 1), (960, 320, 1, 64, 1),
    (320, 320, 1, 64, 1),
)  # fmt: skip

_IMAGES: Final = (
    # Of other networks: ResNet-50's stem, a depthwise layer of MobileNet, ConvNeXt's 7x7.
    (3, 64, 7, 224, 2, 1), (64, 64, 3, 56, 1, 1), (512, 512, 3, 7, 1, 1), (256, 64, 1, 56, 1, 1),
    (384, 384, 3, 14, 1, 384), (192, 192, 7, 56, 1, 192),
)  # fmt: skip


def conv(
    dtype: str, impl: str, batch: int, shape: tuple[int, int, int, int, int], groups: int = 1,
    notes: str = "",
) -> Case:  # fmt: skip
    """Return a convolution of (c_in, c_out, kernel, side, stride), padded to keep its size."""
    c_in, c_out, kernel, side, stride = shape
    return case(
        "conv", dtype, impl, subop="fwd", notes=notes, batch=batch, c_in=c_in, c_out=c_out,
        kh=kernel, kw=kernel, h_in=side, w_in=side, stride_h=stride, stride_w=stride,
        pad_h=kernel // 2, pad_w=kernel // 2, groups=groups,
    )  # fmt: skip


def unet_layer(dtype: str, batch: int, width: int, side: int) -> Case:
    """Return a residual and transformer block of Stable Diffusion 1.5."""
    return case(
        "layer", dtype, "torch.module", subop="unet", notes="sd15-unet", batch=batch,
        heads=8, head_dim=width // 8, c_in=width, c_out=width, h_in=side, w_in=side,
    )  # fmt: skip


def dit_layer(dtype: str, batch: int, length: int, hidden: int, heads: int) -> Case:
    """Return a block of a diffusion transformer."""
    return case(
        "layer", dtype, "torch.module", subop="dit", notes="dit-xl-2", batch=batch, heads=heads,
        head_dim=hidden // heads, q_len=length, kv_len=length, hidden=hidden, inter=4 * hidden,
    )  # fmt: skip


def cases(device: str) -> Iterator[Case]:
    """Yield the suite."""
    kinds = (("fp16", "torch.nchw"), ("fp16", "torch.channels_last"), ("fp32", "torch.nchw"))
    for dtype, impl in (*kinds, ("tf32", "torch.nchw"), ("bf16", "torch.channels_last")):
        for batch in (1, 2, 8, 16) if dtype == "fp16" else (2, 8):
            for shape in _CONVS:
                yield conv(dtype, impl, batch, shape, notes="sd15-unet")
            for c_in, c_out, kernel, side, stride, groups in _IMAGES:
                shape = (c_in, c_out, kernel, side, stride)
                yield conv(dtype, impl, batch, shape, groups, "resnet50, mobilenet, convnext")
    for dtype in ("fp16", "bf16", "fp32"):
        for batch in (1, 2, 8):
            for width, side in ((320, 64), (640, 32), (1280, 16)):
                yield unet_layer(dtype, batch, width, side)
            for length in (256, 1024):
                yield dit_layer(dtype, batch, length, 1152, 16)
