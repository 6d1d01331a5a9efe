"""Stable Diffusion: whole generations, and iterations of the denoising network per second.

An iteration evaluates the network for all images of the batch with and without their text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from accelsim.measure.endtoend.recipe import Pass, Recipe
from accelsim.measure.endtoend.rows import Row
from accelsim.workload.transforms.eager import Eager

__all__ = ["SOURCES"]

_GUIDED: Final = 2
_TEXT: Final = 77
_UNETS: Final[Mapping[str, tuple[str, tuple[tuple[str, int], ...]]]] = {
    # SD 1.4 and 1.5 have the same network; inpainting adds the masked latent and the mask.
    "stable-diffusion-v1.4": ("sd15-unet", ()),
    "stable-diffusion-v1.5-txt2img": ("sd15-unet", ()),
    "stable-diffusion-v1.5-img2img": ("sd15-unet", ()),
    "stable-diffusion-v1.5-inpaint": ("sd15-unet", (("parameters.in_channels", 9),)),
    "sdxl": ("sdxl-unet", ()),
}
# diffusers: the scale is in the batched product (baddbmm), heads are permuted and copied.
_SUMS: Final = ("resnet.sum",)
_UNFUSED: Final = Eager(scale=False, mask=False, copies="all", layout="first", image_kernels=True,
                        separate_projections=True, rescaled=_SUMS)  # fmt: skip
_FUSED: Final = Eager(attention="fused", layout="first", image_kernels=True,
                      separate_projections=True, rescaled=_SUMS)  # fmt: skip
_LAST: Final = _FUSED.model_copy(update={"layout": "last", "rescaled": (*_SUMS, "o_proj")})
_AMPERE: Final = ("A10", "A40", "A6000", "A100", "RTX3090")
"""Boards that have TF32.  cuDNN takes it for FP32 convolutions unless told otherwise; that
products took it too follows from the rows: FP32 on A100 beats the roofline of FP32, and on every
Ampere board FP16 is 2.2 times as fast, as with TF32."""


def _unet(row: Row, times: int, eager: tuple[Eager, ...]) -> Pass:
    name, changes = _UNETS[row.model]
    return Pass(
        name, "forward", row.batch * _GUIDED, times=float(times), dtype=row.dtype, changes=changes,
        request=(("height", row.seq_in), ("width", row.seq_in), ("context_len", _TEXT)),
        transforms=eager, tf32=_tf32(row),
    )  # fmt: skip


def _tf32(row: Row) -> frozenset[str]:
    ampere = row.dtype == "fp32" and row.gpu.startswith(_AMPERE)
    return frozenset({"conv", "matmul", "attention"} if ampere else ())


def _generation(row: Row) -> Recipe | str:
    """Return text encoder, all steps, and decoder (lambda-diffusers)."""
    if row.model not in _UNETS:
        return f"the library has no model `{row.model}`"
    eager = (_FUSED if "xformers" in row.impl else _UNFUSED,)
    size = (("height", row.seq_in), ("width", row.seq_in))
    passes = (
        Pass("clip-l-text", "forward", row.batch * _GUIDED, _TEXT, dtype=row.dtype,
             transforms=(_UNFUSED,), tf32=_tf32(row)),
        _unet(row, row.seq_out, eager),
        Pass("sd-vae-decoder", "forward", row.batch, dtype=row.dtype, request=size,
             transforms=eager, tf32=_tf32(row)),
    )  # fmt: skip
    return Recipe(row.gpu, passes, "python", attention="flash-1")


def _iteration(row: Row) -> Recipe | str:
    """Return one denoising step (diffusers documentation, stable-fast)."""
    if row.model not in _UNETS:
        return f"the library has no model `{row.model}`"
    compiled = "compile" in row.impl or row.impl.startswith("stable-fast")
    if compiled:  # scaled_dot_product_attention in the graph, elementwise chains fused
        kernel = "flash-2" if row.impl.startswith("stable-fast") else "flash-1"
        return Recipe(row.gpu, (_unet(row, 1, ()),), "graph", attention=kernel)
    return Recipe(row.gpu, (_unet(row, 1, (_LAST,)),), "python", attention="flash-1")


SOURCES: Final[Mapping[str, Callable[[Row], Recipe | str]]] = {
    "lambda-diffusers": _generation,
    "diffusers-docs": _iteration,
    "stable-fast": _iteration,
}
