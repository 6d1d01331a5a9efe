"""Figures per token that publications print."""

from __future__ import annotations

import pytest

from accelsim.report._published import KV_BYTES, STEP3
from accelsim.workload import decode, load_model, workload
from accelsim.workload.families.unet import stage_lengths
from accelsim.workload.published import decoding_cost, training_flops


@pytest.mark.parametrize("name", KV_BYTES)
def test_kv_bytes_per_token_are_the_published_ones(name: str) -> None:
    """At BF16, to the byte."""
    assert workload(name, decode(1, 1)).kv_bytes_per_token == KV_BYTES[name] * 1000


@pytest.mark.parametrize("name", STEP3)
def test_a_decoded_token_costs_what_step3_prints(name: str) -> None:
    """Three printed digits; the latent's width for contexts, and Llama 4's bytes, aside."""
    published, note = STEP3[name]
    short, long = decoding_cost(name, 8192), decoding_cost(name, 32768)
    latent = load_model(name).parameters.attention == "latent"
    widths = 1152 / 1088 if latent else 1.0
    ours = (
        short.kv_bytes, long.kv_bytes, widths * short.attention_flops,
        widths * long.attention_flops, short.linear_flops, short.ffn_flops,
    )  # fmt: skip
    first = 2 if "chunked" in note else 0
    assert list(ours[first:]) == pytest.approx(published[first:], rel=5e-3)


def test_training_a_token_takes_what_deepseek_prints() -> None:
    """155 and 250 GFLOP at sequences of 4096; LLaMA-3.1-405B within 1.5 %."""
    assert round(training_flops("deepseek-v2", 4096) / 1e9) == 155
    assert round(training_flops("deepseek-v3", 4096) / 1e9) == 250
    assert training_flops("llama3.1-405b", 4096) == pytest.approx(2448e9, rel=0.015)


def test_a_unets_lengths_fall_by_four_per_stage() -> None:
    """4096, 1024, 256 and 64 positions of a 512x512 image, there and back."""
    from accelsim.workload import Extent, forward

    lengths = stage_lengths(workload("sd15-unet", forward(1, extent=Extent(512, 512))))
    down, middle, up = lengths[:6], lengths[6], lengths[7:]
    assert down == [4096, 4096, 1024, 1024, 256, 256]
    assert middle == 64
    assert up == [256] * 3 + [1024] * 3 + [4096] * 3
