"""One layer of each kind of network as a module with random weights, in prefill and decoding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from accelsim.measure.bench.case import Case, case
from accelsim.measure.bench.suites.diffusion import unet_layer

__all__ = ["ABOUT", "cases", "text_layer"]

ABOUT: Final = "one Llama, DeepSeek-V2, BERT, GPT-3, Mamba and UNet layer, prefill and decode"

_TEXT: Final = (
    # kind, model, hidden, inter, heads, KV heads, head width, latent
    ("gqa", "llama3-8b", 4096, 14336, 32, 8, 128, 0),
    ("gqa", "llama3-70b", 8192, 28672, 64, 8, 128, 0),
    ("gqa", "qwen2.5-0.5b", 896, 4864, 14, 2, 64, 0),
    ("mla", "deepseek-v2-lite", 2048, 10944, 16, 16, 128, 512),
    ("gpt", "gpt3-175b", 12288, 49152, 96, 96, 128, 0),
    ("gpt", "gpt2", 768, 3072, 12, 12, 64, 0),
    ("encoder", "bert-base", 768, 3072, 12, 12, 64, 0),
    ("encoder", "bert-large", 1024, 4096, 16, 16, 64, 0),
)  # fmt: skip

_PREFILLS: Final = ((1, 128), (1, 512), (1, 2048), (1, 8192), (8, 512), (8, 2048), (32, 128))
_DECODES: Final = ((1, 1024), (8, 1024), (32, 1024), (64, 2048), (8, 8192), (1, 32768))


def text_layer(model: str, dtype: str, batch: int, q_len: int, kv_len: int) -> Case:
    """Return the case of one layer of a language model by its name in this suite."""
    kind, name, hidden, inter, heads, kv_heads, width, latent = next(
        sizes for sizes in _TEXT if sizes[1] == model
    )
    known = {"state": latent} if latent else {}
    return case(
        "layer", dtype, "torch.module", subop=kind, notes=name, batch=batch, hidden=hidden,
        inter=inter, heads=heads, kv_heads=kv_heads, head_dim=width, q_len=q_len, kv_len=kv_len,
        causal=int(kind != "encoder"), **known,
    )  # fmt: skip


def cases(device: str) -> Iterator[Case]:
    """Yield the suite."""
    for dtype in ("bf16", "fp16", "fp32"):
        for kind, name, hidden, *_ in _TEXT:
            if dtype != "bf16" and hidden > 4096:
                continue
            for batch, length in _PREFILLS:
                yield text_layer(name, dtype, batch, length, length)
            if kind != "encoder":
                for batch, kv_len in _DECODES:
                    yield text_layer(name, dtype, batch, 1, kv_len)
    for hidden in (768, 2048, 2560):
        for batch, length in ((1, 256), (1, 1024), (1, 2048), (8, 512)):
            yield case(
                "layer", "bf16", "torch.module", subop="mamba", notes="mamba", batch=batch,
                q_len=length, hidden=hidden, inter=2 * hidden, state=16,
            )  # fmt: skip
    for width, side in ((320, 64), (640, 32), (1280, 16)):
        yield from (unet_layer("fp16", batch, width, side) for batch in (1, 2, 4, 16))
