"""Sizes of real models that several suites take their shapes from, after the library's files."""

from __future__ import annotations

from typing import Final

__all__ = ["ATTENTION", "MATRICES", "MOE", "TOKENS"]

MATRICES: Final[tuple[tuple[str, int, int], ...]] = (
    # Weight matrix as (name, n, k): outputs and inputs of a linear layer; tpN is one of N shards.
    ("llama3-8b qkv", 6144, 4096), ("llama3-8b o", 4096, 4096),
    ("llama3-8b gate_up", 28672, 4096), ("llama3-8b down", 4096, 14336),
    ("llama3-8b lm_head", 128256, 4096),
    ("llama3-70b qkv tp4", 2560, 8192), ("llama3-70b o tp4", 8192, 2048),
    ("llama3-70b gate_up tp4", 14336, 8192), ("llama3-70b down tp4", 8192, 7168),
    ("llama3-70b gate_up", 57344, 8192), ("llama3-70b down", 8192, 28672),
    ("qwen2.5-7b qkv", 4608, 3584), ("qwen2.5-7b gate_up", 37888, 3584),
    ("qwen2.5-7b down", 3584, 18944),
    ("gpt3-175b qkv tp8", 4608, 12288), ("gpt3-175b o tp8", 12288, 1536),
    ("gpt3-175b up tp8", 6144, 12288), ("gpt3-175b down tp8", 12288, 6144),
    ("gpt2 qkv", 2304, 768), ("gpt2 o", 768, 768), ("gpt2 up", 3072, 768),
    ("gpt2 down", 768, 3072), ("gpt2 lm_head", 50257, 768),
    ("deepseek-v3 q_a kv_a", 2112, 7168), ("deepseek-v3 q_b", 24576, 1536),
    ("deepseek-v3 o", 7168, 16384), ("deepseek-v3 expert up", 4096, 7168),
    ("mamba-2.8b in", 10240, 2560), ("mamba-2.8b x", 192, 5120), ("mamba-2.8b out", 2560, 5120),
    ("mixtral-8x7b router", 8, 4096),
)  # fmt: skip

TOKENS: Final = (
    1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096,
    6144, 8192,
)  # fmt: skip

ATTENTION: Final[tuple[tuple[str, int, int, int], ...]] = (
    # name, heads, KV heads, head width
    ("llama3-8b", 32, 8, 128), ("llama3-70b", 64, 8, 128), ("llama2-7b", 32, 32, 128),
    ("bert-base", 12, 12, 64), ("gpt3-175b tp8", 12, 12, 128), ("qwen2.5-0.5b", 14, 2, 64),
)  # fmt: skip

MOE: Final[tuple[tuple[str, int, int, int, int], ...]] = (
    # name, hidden, inter, experts, experts per token
    ("mixtral-8x7b", 4096, 14336, 8, 2), ("qwen3-30b-a3b", 2048, 768, 128, 8),
    ("deepseek-v2-lite", 2048, 1408, 64, 6), ("deepseek-v3", 7168, 2048, 256, 8),
)  # fmt: skip
