"""Real models of transformers, diffusers and timm as targets of an extraction, without weights.

Each function makes the module and the inputs of one pass, as `accelsim import torch` wants it:
``accelsim import torch tests/workload/importers/torch_models.py:llama2_7b --arg seq_len=512``.
The dimensions are those of the public configurations.
"""

from __future__ import annotations

from typing import Any

__all__ = ["MODELS", "bert_base", "dit_xl_2", "gpt2", "llama2_7b", "mamba_130m",
           "mixtral_8x7b", "sd15_unet", "vit_b16"]  # fmt: skip


def _torch() -> Any:
    """Return torch, with what a torchvision that does not fit it leaves undefined.

    torchvision from the package index does not load beside a CPU build of torch and would take
    transformers and timm down with it.
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except ModuleNotFoundError:
        pass
    except RuntimeError:  # "operator torchvision::nms does not exist"
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        _KEPT.append(library)
    return torch


_KEPT: list[Any] = []


def _language(name: str, config: Any, batch: int, seq_len: int, past_len: int) -> Any:
    import transformers

    from accelsim.workload.importers.torch import causal_lm

    model = getattr(transformers, name)(config).to(_torch().bfloat16)
    return causal_lm(model, batch=batch, seq_len=seq_len, past_len=past_len)


def gpt2(batch: int = 1, seq_len: int = 512, past_len: int = 0) -> Any:
    """openai-community/gpt2, the defaults of its class."""
    _torch()
    import transformers

    return _language("GPT2LMHeadModel", transformers.GPT2Config(), batch, seq_len, past_len)


def llama2_7b(batch: int = 1, seq_len: int = 512, past_len: int = 0) -> Any:
    """meta-llama/Llama-2-7b-hf."""
    _torch()
    import transformers

    config = transformers.LlamaConfig(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
        vocab_size=32000, max_position_embeddings=4096,
    )  # fmt: skip
    return _language("LlamaForCausalLM", config, batch, seq_len, past_len)


def mixtral_8x7b(batch: int = 1, seq_len: int = 512, past_len: int = 0) -> Any:
    """mistralai/Mixtral-8x7B-v0.1, its experts as a grouped product."""
    _torch()
    import transformers

    config = transformers.MixtralConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, num_local_experts=8, num_experts_per_tok=2, vocab_size=32000,
    )  # fmt: skip
    return _language("MixtralForCausalLM", config, batch, seq_len, past_len)


def mamba_130m(batch: int = 1, seq_len: int = 512, past_len: int = 0) -> Any:
    """state-spaces/mamba-130m-hf."""
    _torch()
    import transformers

    config = transformers.MambaConfig(hidden_size=768, num_hidden_layers=24, vocab_size=50280)
    return _language("MambaForCausalLM", config, batch, seq_len, past_len)


def bert_base(batch: int = 1, seq_len: int = 512) -> Any:
    """google-bert/bert-base-uncased with its head for masked words."""
    torch = _torch()
    import transformers

    model = transformers.BertForMaskedLM(transformers.BertConfig()).to(torch.bfloat16)
    return model, {"input_ids": torch.zeros(batch, seq_len, dtype=torch.long)}


def vit_b16(batch: int = 1) -> Any:
    """ViT-B/16 of timm at 224 x 224."""
    torch = _torch()
    import timm

    model = timm.create_model("vit_base_patch16_224").to(torch.bfloat16)
    return model, (torch.zeros(batch, 3, 224, 224, dtype=torch.bfloat16),)


def sd15_unet(batch: int = 1, side: int = 512, text: int = 77) -> Any:
    """The denoiser of runwayml/stable-diffusion-v1-5."""
    torch = _torch()
    import diffusers

    model = diffusers.UNet2DConditionModel(
        sample_size=64, cross_attention_dim=768, attention_head_dim=8
    ).to(torch.bfloat16)
    return model, {
        "sample": torch.zeros(batch, 4, side // 8, side // 8, dtype=torch.bfloat16),
        "timestep": torch.zeros(batch, dtype=torch.long),
        "encoder_hidden_states": torch.zeros(batch, text, 768, dtype=torch.bfloat16),
    }


def dit_xl_2(batch: int = 1, side: int = 256) -> Any:
    """facebook/DiT-XL-2-256."""
    torch = _torch()
    import diffusers

    model = diffusers.DiTTransformer2DModel(
        num_attention_heads=16, attention_head_dim=72, num_layers=28, sample_size=32,
        in_channels=4, out_channels=8, num_embeds_ada_norm=1000,
    ).to(torch.bfloat16)  # fmt: skip
    return model, {
        "hidden_states": torch.zeros(batch, 4, side // 8, side // 8, dtype=torch.bfloat16),
        "timestep": torch.zeros(batch, dtype=torch.long),
        "class_labels": torch.zeros(batch, dtype=torch.long),
    }


MODELS = {
    "gpt2": gpt2, "llama2-7b": llama2_7b, "mixtral-8x7b": mixtral_8x7b,
    "mamba-130m": mamba_130m, "bert-base": bert_base, "vit-b16": vit_b16,
    "sd15-unet": sd15_unet, "dit-xl-2": dit_xl_2,
}  # fmt: skip
"""Model of the library -> function that makes the same one in PyTorch."""
