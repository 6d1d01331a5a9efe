"""How frameworks start kernels, and what the host spends on each: one constant per kind.

Kernels wait for their launch on a host that runs ahead where it can, so a constant decides only
rows whose kernels are shorter than it: small batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["ATTENTION", "LAUNCH", "Launch"]


@dataclass(frozen=True, slots=True)
class Launch:
    """A way of launching.

    Attributes
    ----------
    mode : str
        Launch mode of the GPU model: ``eager`` or ``graph``.
    host_s : float, optional
        Host time per kernel in seconds; the architecture's own where absent.
    rationale : str
        Where the figure is from.
    fitted_on : tuple of str
        Sources whose rows of batch 1 it was taken from.
    """

    mode: Literal["graph", "eager"]
    host_s: float | None
    rationale: str
    fitted_on: tuple[str, ...] = ()


LAUNCH: Final[Mapping[str, Launch]] = {
    "graph": Launch("graph", None, "CUDA graphs, or one compiled program: the architecture's gap"),
    "native": Launch(
        "eager", None,
        "C++ runtime that keeps ahead of the GPU (FasterTransformer, TensorRT, TurboMind): the"
        " architecture's gap of a stream",
    ),
    "compiled": Launch(
        "eager", 12e-6,
        "compiled graph run by a framework (TensorFlow XLA): BERT-base on A100",
        ("fastertransformer",),
    ),
    "script": Launch(
        "eager", 22e-6,
        "graph executor (TorchScript): BERT-base, median of A10, A100, V100 and T4",
        ("fastertransformer",),
    ),
    "server": Launch(
        "eager", 35e-6,
        "serving engine in Python without CUDA graphs (DeepSpeed-MII, vLLM of 2023): decoding"
        " of 7-8 B models divided over four A100, median",
        ("llm-inference-bench", "splitwise"),
    ),
    "python": Launch(
        "eager", 68e-6,
        "PyTorch modules called from Python: median over boards and networks (Swin, ViT, ResNet,"
        " EfficientNet, SD 1.4 and 1.5)",
        ("fastertransformer", "nvidia-dle", "lambda-diffusers", "diffusers-docs", "stable-fast"),
    ),
}  # fmt: skip
"""Kind of framework -> how it launches.

The figures above an architecture's own are host time per operator of the graph, not per kernel:
views, casts and the framework's bookkeeping are in them.  Each is one number for all GPUs and
networks, taken from rows of batch 1 that run more than five rooflines long; such rows are a
stratum of their own in the scores, since they were fitted on.
"""

ATTENTION: Final[Mapping[str, float]] = {"flash-2": 1.0, "flash-1": 0.5}
"""Generation of fused attention kernels -> speed over that of FlashAttention-2 and FlashInfer,
which the GPU model's scalars were measured on.  FlashAttention, its port to Triton, xFormers' and
``scaled_dot_product_attention`` before PyTorch 2.2 are of the first: FlashAttention-2 is around
twice as fast (T. Dao, arXiv 2307.08691, abstract)."""
