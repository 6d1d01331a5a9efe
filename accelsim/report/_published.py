"""The published figures that the workload report compares with, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from accelsim.workload import Extent, Request

__all__ = ["DIFFUSION", "KV_BYTES", "STEP3", "TECHNIQUES", "TRAINING", "Network", "Technique"]

KV_BYTES: Final[Mapping[str, float]] = {
    "deepseek-v3": 70.272,
    "qwen2.5-72b": 327.680,
    "llama3.1-405b": 516.096,
}
"""Model -> kB of KV cache per token at BF16; arXiv 2505.09343, table 1."""

_LATENT: Final = "published with the latent's width for scores and contexts, 576 + 576"

STEP3: Final[Mapping[str, tuple[tuple[float, ...], str]]] = {
    "deepseek-v3": ((2.88e8, 1.15e9, 1.47e11, 5.89e11, 2.28e10, 4.84e10), _LATENT),
    "kimi-k2": ((2.88e8, 1.15e9, 7.37e10, 2.95e11, 1.23e10, 4.84e10), _LATENT),
    "qwen3-235b-a22b": ((7.89e8, 3.15e9, 2.52e10, 1.01e11, 1.34e10, 2.84e10), ""),
    "qwen3-32b": ((1.07e9, 4.29e9, 1.72e10, 6.87e10, 1.21e10, 5.03e10), ""),
    "llama4-maverick": (
        (1.01e9, 2.21e9, 8.05e9, 1.41e10, 6.04e9, 2.42e10),
        "the printed KV bytes are those of 36 chunked and 24 full layers; the model has 12",
    ),
    "ernie-4.5-300b": ((9.06e8, 3.62e9, 1.45e10, 5.80e10, 1.63e10, 7.61e10), ""),
    "pangu-pro-72b": ((8.05e8, 3.22e9, 8.05e9, 3.22e10, 6.04e9, 2.38e10), ""),
    "step-3": ((2.56e8, 1.02e9, 3.27e10, 1.31e11, 2.07e10, 5.33e10), ""),
}
"""Model -> KV bytes at 8K and 32K, attention FLOPs at both, linear and FFN FLOPs, and a note;
arXiv 2507.19427, tables 2 and 3."""

TRAINING: Final[Mapping[str, tuple[float, str]]] = {
    "deepseek-v2": (155, ""),
    "deepseek-v3": (250, ""),
    "qwen2.5-72b": (394, "what the publication leaves out of 6 x 72.7 G is not stated"),
    "llama3.1-405b": (2448, ""),
}
"""Model -> GFLOP per token of training, and a note; arXiv 2505.09343, table 2."""


class Network(NamedTuple):
    """A published figure of one network evaluation."""

    what: str
    model: str
    extent: Extent | None
    text: int | None
    published: float
    flops_per_unit: float
    labels: tuple[str, ...] = ()
    note: str = ""


_GMAC: Final = 2e9

DIFFUSION: Final = (
    Network("Stable Diffusion 1.5 UNet, 512x512, GMAC", "sd15-unet", None, 77, 339, _GMAC,
            ("linear", "conv"), "the published figure leaves attention out"),
    Network("DiT-XL/2, 256x256, GMAC", "dit-xl-2", None, None, 118.64, _GMAC, (),
            "published as Gflops; diffusers' embedder per layer included"),
    Network("ResNet-50, 224x224, GMAC", "resnet50", None, None, 4.089, _GMAC),
    Network("ViT-B/16, 224x224, GMAC", "vit-b16", None, None, 17.56, _GMAC),
    Network("DeiT-S, 224x224, GMAC", "deit-small", None, None, 4.60, _GMAC),
)  # fmt: skip
"""Figures of one evaluation; arXiv 2112.10752 (by DeepCache), 2212.09748, timm's tables."""


class Technique(NamedTuple):
    """A technique with its paper's setting, and what the paper reports."""

    what: str
    published: str
    model: str
    transform: Mapping[str, Any]
    note: str = ""
    seq_len: int = 1024
    request: Request = Request()


_TAYLOR: Final = {"kind": "step_caching", "skip": ("double", "single"), "interval": 6}
_LONG: Final = Request(output_len=128)

TECHNIQUES: Final = (
    Technique("DeepCache, interval 5, SD 1.5", "2.3x latency", "sd15",
              {"kind": "step_caching"}, "arXiv 2312.00858"),
    Technique("DeepCache, interval 10, LDM-4", "4.1x latency at other settings", "ldm4",
              {"kind": "step_caching", "interval": 10}, "arXiv 2312.00858"),
    Technique("TaylorSeer, interval 6, FLUX.1-dev", "4.99x, latency 3.53x", "flux-dev", _TAYLOR,
              "arXiv 2503.06923; the first steps that run in full are not published per model"),
    Technique("TaylorSeer, interval 6, HunyuanVideo", "5.00x, latency 4.65x", "hunyuanvideo-720p",
              _TAYLOR, "arXiv 2503.06923"),
    Technique("Delta-DiT, PixArt", "1.6x latency at 20 steps", "pixart-alpha-1024px",
              {"kind": "step_caching", "skip": ("layers",), "share": 0.75, "interval": 2},
              "arXiv 2406.01125"),
    Technique("Bottleneck Sampling, FLUX.1-dev", "3x latency", "flux-dev",
              {"kind": "resolution_schedule"}, "arXiv 2503.18940"),
    Technique("LCM, 4 steps without guidance, SD 1.5", "-", "sd15",
              {"kind": "step_distillation", "distil_guidance": True}, "arXiv 2310.04378"),
    Technique("Sparse attention, density 0.3, HunyuanVideo", "1.9-2.7x latency with INT8",
              "hunyuanvideo-720p", {"kind": "sparse_attention"}, "arXiv 2506.16054"),
    Technique("DuoAttention, Llama-2-7B at 100K", "2.18x decode latency, 2.55x memory",
              "llama2-7b", {"kind": "kv_head_classes", "retrieval": 0.25},
              "arXiv 2410.10819; prefill included here", 100_000, Request(output_len=16)),
    Technique("W4A16, groups of 128, Llama-3-8B", "-", "llama3-8b", {"kind": "number_formats"},
              "arXiv 2306.00978", 1024, _LONG),
    Technique("2:4 weights, Llama-3-8B", "-", "llama3-8b", {"kind": "weight_sparsity"},
              "arXiv 2301.00774; no unit here skips zeros, so only bytes save time", 1024, _LONG),
    Technique("SVD to 80 %, Llama-2-7B", "-", "llama2-7b", {"kind": "low_rank_weights"},
              "arXiv 2403.07378", 1024, _LONG),
    Technique("LoRA, rank 8, Llama-2-7B", "-", "llama2-7b", {"kind": "lora"},
              "arXiv 2106.09685", 1024, _LONG),
    Technique("Speculative decoding, Qwen2.5 0.5B for 32B", "2-3x latency", "qwen2.5-32b",
              {"kind": "speculative", "draft": "qwen2.5-0.5b"},
              "arXiv 2211.17192; acceptance 0.8", 1024, _LONG),
    Technique("ToMe, 8 tokens per layer, ViT-L", "about 2x throughput", "vit-l16",
              {"kind": "token_reduction"}, "arXiv 2210.09461; one image"),
)  # fmt: skip
"""Techniques; published figures are those of the papers named."""
