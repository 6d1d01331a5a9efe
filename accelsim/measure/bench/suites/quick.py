"""A little of every suite, in under two minutes on a GPU: does all work, and roughly how fast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from accelsim.measure.bench.case import Case, case
from accelsim.measure.bench.suites._models import MOE
from accelsim.measure.bench.suites.attention import decode, prefill
from accelsim.measure.bench.suites.diffusion import conv, dit_layer, unet_layer
from accelsim.measure.bench.suites.gemm import product
from accelsim.measure.bench.suites.layers import text_layer
from accelsim.measure.bench.suites.moe import experts_case
from accelsim.measure.bench.suites.scan import selective, ssd
from accelsim.measure.bench.suites.vector import rows_case

__all__ = ["ABOUT", "cases"]

ABOUT: Final = "a little of everything, under two minutes on a GPU"


def cases(device: str) -> Iterator[Case]:
    """Yield the suite."""
    for dtype in ("bf16", "fp16", "fp8", "int8", "tf32", "fp32"):
        for m, n, k in ((32, 512, 512), (17, 4096, 4096), (128, 4096, 4096), (2048, 4096, 4096)):
            yield product(dtype, m, n, k)
    yield product("bf16", 8192, 8192, 8192)
    yield product("bf16", 1000, 1000, 1000)
    yield from (case("bmm", d, "torch.bmm", b=12, m=512, n=512, k=64) for d in ("bf16", "fp32"))
    for op in ("softmax", "layernorm", "rmsnorm", "gelu", "silu_mul"):
        yield from (rows_case(op, "bf16", rows, 4096) for rows in (64, 2048, 32768))
    yield from (rows_case("elementwise", "fp32", 2048, 4096, f) for f in ("add", "relu"))
    yield case("rope", "bf16", "torch.eager", rows=2048, heads=32, kv_heads=8, head_dim=128)
    yield case("embedding", "bf16", "torch.eager", rows=2048, cols=4096, table_rows=32000)
    for impl in ("sdpa.flash", "sdpa.cudnn", "sdpa.math", "unfused"):
        yield prefill(impl, "bf16", 1, (32, 8, 128), 1024)
        yield decode(impl, "bf16", 8, (32, 8, 128), 4096)
    yield prefill("sdpa.efficient", "bf16", 1, (32, 32, 128), 1024)
    name, *sizes = MOE[2]
    for impl in ("grouped_mm", "loop"):
        yield experts_case(impl, "balanced", 64, name, tuple(sizes))
    yield selective("sequential", 1, 64, 1536)
    yield selective("associative", 1, 512, 1536)
    yield ssd(1, 1024, 24, 128)
    for dtype, impl in (("fp16", "torch.channels_last"), ("fp32", "torch.nchw")):
        yield conv(dtype, impl, 1, (320, 320, 3, 64, 1))
    yield unet_layer("fp16", 1, 320, 64)
    yield dit_layer("bf16", 1, 256, 1152, 16)
    yield text_layer("llama3-8b", "bf16", 1, 512, 512)
    yield text_layer("deepseek-v2-lite", "bf16", 8, 1, 1024)
    yield text_layer("bert-base", "fp32", 8, 128, 128)
