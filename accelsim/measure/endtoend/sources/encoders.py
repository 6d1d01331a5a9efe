"""Encoders and vision networks: FasterTransformer's guides, NVIDIA's examples, TensorRT's demo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from accelsim.measure.endtoend.recipe import Pass, Recipe
from accelsim.measure.endtoend.rows import Row
from accelsim.measure.endtoend.sources.generate import GENERATION
from accelsim.workload.transforms import Transform
from accelsim.workload.transforms.eager import Eager
from accelsim.workload.transforms.training import Training

__all__ = ["SOURCES"]

_VISION: Final[Mapping[str, str]] = {
    "vit-b16-224": "vit-b16", "vit-b16-384": "vit-b16-384", "vit-l16-224": "vit-l16",
    "vit-l16-384": "vit-l16-384", "swin-tiny-v1": "swin-tiny",
    "resnet50-v1.5": "resnet50", "efficientnet-b0": "efficientnet-b0",
}  # fmt: skip
_FORMATS: Final = ("fp32", "tf32", "fp16", "bf16")
_PLAIN: Final = Eager(compose_activations=False)
_PROJECTED: Final = Eager(compose_activations=False, separate_projections=True)
# Products apart with scale and mask in their neighbours, heads permuted by copies: XLA, and
# FasterTransformer where it has no fused attention, which it has in FP16 up to 512 tokens.
_APART: Final = Eager(scale=False, mask=False, copies="all", compose_activations=False)
_LONGEST_FUSED: Final = 512
_IMAGES: Final = Eager(mask=False, compose_activations=False)


def _launch(impl: str) -> str:
    if impl.startswith("torchscript"):
        return "script"
    if impl.startswith("tensorflow"):
        return "compiled"
    if impl in ("torch", "pytorch", "pytorch-amp", "PyTorch") or impl.startswith("pytorch-"):
        return "python"
    return "native"


def _attention(row: Row, launch: str) -> tuple[Transform, ...]:
    """Return how a framework other than PyTorch runs an encoder's attention."""
    if launch == "script":
        return (_PROJECTED,)
    windows = row.model.startswith("swin")  # of 49 tokens each
    fused = row.dtype == "fp16" and (windows or row.seq_in <= _LONGEST_FUSED)
    return () if fused and launch == "native" else (_APART,)


def _faster_transformer(row: Row) -> Recipe | str:
    if row.phase == "generate":
        return GENERATION(row)
    if row.dtype not in _FORMATS:
        return f"{row.dtype}: which layers run in it is not stated"
    launch = _launch(row.impl)
    if row.model == "bert-base":
        transforms = _attention(row, launch)
        keep = (("embedding", 0), ("head", 0))
        one = Pass("bert-base", "forward", row.batch, row.seq_in, dtype=row.dtype, keep=keep,
                   transforms=transforms)  # fmt: skip
    elif row.model in _VISION:
        transforms = (_IMAGES,) if launch == "python" else _attention(row, launch)
        one = Pass(_VISION[row.model], "forward", row.batch, dtype=row.dtype,
                   transforms=transforms)  # fmt: skip
    else:
        return f"the library has no model `{row.model}`"
    return Recipe(row.gpu, (one,), launch)


def _examples(row: Row) -> Recipe | str:
    """Return a pass of NVIDIA's deep-learning examples: PyTorch, one process per GPU."""
    if row.phase == "inference" and row.metric == "images_per_s":
        return "the metric images_per_s follows from latency_ms of the same run"
    if row.batch < 1:
        return "the table does not give the batch"
    training = (Training(),) if row.phase == "training" else ()
    if row.phase == "training" and row.n_devices > 1:
        return "data parallel over several GPUs: the exchange of gradients is not mapped"
    if row.model == "bert-large":
        if row.impl == "pytorch-pretrain" and row.phase == "training" and row.batch > 128:
            return "the batch is accumulated over micro-batches whose number is not stated"
        eager = Eager(compose_activations=False, separate_projections=True, dropout=bool(training))
        one = Pass("bert-large", "forward", row.batch, row.seq_in, dtype=row.dtype,
                   transforms=(eager, *training))  # fmt: skip
    elif row.model in _VISION:
        one = Pass(_VISION[row.model], "forward", row.batch, dtype=row.dtype,
                   transforms=(_IMAGES, *training))  # fmt: skip
    else:
        return f"the library has no model `{row.model}`"
    return Recipe(row.gpu, (one,), "python")


def _deberta(row: Row) -> Recipe | str:
    return f"`{row.model}`: disentangled attention is in no family of the library"


SOURCES: Final[Mapping[str, Callable[[Row], Recipe | str]]] = {
    "fastertransformer": _faster_transformer,
    "nvidia-dle": _examples,
    "tensorrt-demo": _deberta,
}
