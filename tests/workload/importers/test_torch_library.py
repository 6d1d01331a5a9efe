"""Real models of transformers, diffusers and timm agree with the builders."""

from __future__ import annotations

import resource
import time
from typing import Any

import pytest

from accelsim.workload import decode, flop_split, forward, prefill, workload
from accelsim.workload.conventions import Conventions
from accelsim.workload.importers.torch import causal_lm, compare, from_torch
from accelsim.workload.phase import Extent, Phase
from tests.workload.importers.torch_models import MODELS

for package in ("torch", "transformers", "diffusers", "timm"):
    pytest.importorskip(package, reason=f"{package} is not installed; it is not needed to run")

POINTS: list[tuple[str, Phase, dict[str, int]]] = [
    *((n, prefill(1, 512), {"seq_len": 512}) for n in ("gpt2", "llama2-7b", "mamba-130m")),
    *((n, prefill(3, 40), {"batch": 3, "seq_len": 40}) for n in ("mixtral-8x7b", "mamba-130m")),
    *((n, decode(4, 1000), {"batch": 4, "seq_len": 1, "past_len": 1000})
      for n in ("gpt2", "llama2-7b", "mixtral-8x7b", "mamba-130m")),
    ("mixtral-8x7b", prefill(1, 512), {"seq_len": 512}),
    ("bert-base", forward(2, 128), {"batch": 2, "seq_len": 128}),
    ("vit-b16", forward(2), {"batch": 2}),
    ("sd15-unet", forward(2), {"batch": 2}),
    ("dit-xl-2", forward(2, extent=Extent(256, 256)), {"batch": 2}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "phase", "arguments"), POINTS, ids=[f"{name} {phase}" for name, phase, _ in POINTS]
)
def test_the_built_and_the_extracted_graph_agree(
    name: str, phase: Phase, arguments: dict[str, int]
) -> None:
    """FLOPs by class, weight bytes, operators by kind, columns, and totals of the model."""
    extracted = from_torch(MODELS[name], arguments=arguments)
    built = workload(name, phase, conventions=Conventions(logits="all"))
    assert compare(built, extracted).differences() == {}
    for field in (
        "parameters", "active_parameters", "kv_bytes_per_token", "state_bytes_per_sequence",
        "batch",
    ):  # fmt: skip
        assert getattr(extracted, field) == getattr(built, field), field


@pytest.mark.parametrize("name", ["llama2-7b", "sd15-unet"])
def test_extraction_is_quick_and_small(name: str) -> None:
    """Within 60 s and 4 GB, imports and all (the process has done more by now)."""
    start = time.perf_counter()
    from_torch(MODELS[name])
    assert time.perf_counter() - start < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4e6  # kilobytes on Linux


@pytest.mark.parametrize(("name", "layers"), [("gpt2", 12), ("llama2-7b", 32), ("vit-b16", 12)])
def test_repeated_layers_are_one_block(name: str, layers: int) -> None:
    """The body of a transformer is written once."""
    counts = [block.count for block in from_torch(MODELS[name]).blocks]
    assert layers in counts
    assert len(counts) == 3


def test_sliding_windows_come_from_the_configuration() -> None:
    """The window is only in a mask, which has no data; the module's own number says it."""
    import torch
    import transformers

    config = transformers.MistralConfig(
        hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=1000, sliding_window=16,
    )  # fmt: skip

    def make(past_len: int = 0) -> Any:
        model = transformers.MistralForCausalLM(config).to(torch.bfloat16)
        return causal_lm(model, seq_len=1 if past_len else 64, past_len=past_len)

    full = from_torch(make)
    (attention,) = [o for _, o in full.operators() if o.kind == "attention"]
    assert attention.attributes == {"causal": True, "window": 16}
    assert attention.dims["kv_heads"] == 2
    unmasked = flop_split(full, unmasked=True)["attention"]
    assert unmasked == 4 * 2 * 4 * (16 * 17 // 2 + 48 * 16) * 128
    (step,) = [
        o for _, o in from_torch(make, arguments={"past_len": 500}).operators()
        if o.kind == "attention"
    ]  # fmt: skip
    assert step.dims["kv_len"] == 16


def small_t5() -> Any:
    """An encoder-decoder with relative position biases."""
    import torch
    import transformers

    config = transformers.T5Config(d_model=64, d_kv=16, d_ff=128, num_layers=3, num_heads=4)
    ids = torch.zeros(2, 24, dtype=torch.long)
    model = transformers.T5ForConditionalGeneration(config)
    return model, {"input_ids": ids, "decoder_input_ids": ids[:, :8], "use_cache": True}


def small_llama() -> Any:
    """Grouped queries and a tied head."""
    import transformers

    config = transformers.LlamaConfig(
        hidden_size=128, intermediate_size=256, num_hidden_layers=5, num_attention_heads=8,
        num_key_value_heads=2, vocab_size=500, tie_word_embeddings=True,
    )  # fmt: skip
    return causal_lm(transformers.LlamaForCausalLM(config), batch=3, seq_len=17)


def timm_model(name: str) -> Any:
    """An image network of timm."""
    import timm
    import torch

    return timm.create_model(name), (torch.zeros(2, 3, 224, 224),)


def swin() -> Any:
    """Windowed attention that the module writes out, with a learned bias per pair."""
    return timm_model("swin_tiny_patch4_window7_224")


def resnet18() -> Any:
    """Convolutions, batch norms, overlapping pooling."""
    return timm_model("resnet18")


@pytest.mark.parametrize("make", [small_t5, small_llama, swin, resnet18])
def test_extraction_counts_what_torch_counts(make: Any) -> None:
    """FLOPs equal those of torch's own counter, parameters those of the module."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        module, inputs = make()
        args, kwargs = ((), inputs) if isinstance(inputs, dict) else (inputs, {})
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module.eval()(*args, **kwargs)
    extracted = from_torch(make)
    assert sum(flop_split(extracted).values()) == counter.get_total_flops()
    assert extracted.parameters == sum(p.numel() for p in module.parameters())
