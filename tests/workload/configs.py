"""Random decoder configurations and phases for property tests, and a small fixed one."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from accelsim.workload import Phase, SequenceGroup, mixed
from accelsim.workload.families.decoder import DecoderConfig

law = settings(deadline=None, max_examples=60)
"""Settings of the property tests: a shared machine may pause, so no deadline."""

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 100,
    "activation": "silu",
    "gated": True,
    "norm": "rmsnorm",
}
SMALL_MOE: dict[str, Any] = {
    **SMALL,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
}


@st.composite
def decoder_fields(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the fields of a legal decoder with every option."""
    kv_heads = draw(st.integers(1, 4))
    learned = draw(st.booleans())
    layers = draw(st.integers(1, 6))
    fields = {
        "hidden_size": draw(st.integers(1, 40)),
        "num_hidden_layers": layers,
        "num_attention_heads": kv_heads * draw(st.integers(1, 3)),
        "num_key_value_heads": kv_heads,
        "head_dim": draw(st.integers(1, 16)),
        "intermediate_size": draw(st.integers(1, 50)),
        "vocab_size": draw(st.integers(1, 200)),
        "max_position_embeddings": draw(st.integers(1, 300)),
        "activation": draw(st.sampled_from(["relu", "gelu", "gelu_tanh", "silu"])),
        "norm": draw(st.sampled_from(["layernorm", "rmsnorm"])),
        "positions": "learned" if learned else draw(st.sampled_from(["rotary", "none"])),
        "position_offset": draw(st.integers(0, 2)),
    }
    flags = ("gated", "qkv_bias", "output_bias", "mlp_bias", "qk_norm", "attention_sinks",
             "tie_word_embeddings")  # fmt: skip
    fields |= {flag: draw(st.booleans()) for flag in flags}
    if draw(st.booleans()):
        fields["sliding_window"] = draw(st.integers(1, 20))
        pattern = draw(st.sampled_from([None, ("sliding_attention", "full_attention")]))
        if pattern and layers % 2 == 0:
            fields["layer_types"] = pattern
    return fields | (draw(expert_fields(layers)) if draw(st.booleans()) else {})


@st.composite
def expert_fields(draw: st.DrawFn, layers: int) -> dict[str, Any]:
    """Draw the fields that make a decoder a mixture of experts."""
    experts = draw(st.integers(1, 9))
    shared = draw(st.integers(0, 2))
    return {
        "num_local_experts": experts,
        "num_experts_per_tok": draw(st.integers(1, experts)),
        "moe_intermediate_size": draw(st.integers(1, 30)),
        "num_shared_experts": shared,
        "shared_expert_gate": shared > 0 and draw(st.booleans()),
        "router_bias": draw(st.booleans()),
        "expert_bias": draw(st.booleans()),
        "decoder_sparse_step": draw(st.integers(1, 3)),
        "first_k_dense_replace": draw(st.integers(0, 2)),
        "mlp_only_layers": tuple(draw(st.sets(st.integers(0, layers - 1), max_size=2))),
    }


def decoders() -> st.SearchStrategy[DecoderConfig]:
    """Draw legal decoders."""
    return decoder_fields().map(lambda fields: DecoderConfig(**fields))


def groups() -> st.SearchStrategy[SequenceGroup]:
    """Draw groups of sequences."""
    return st.builds(SequenceGroup, st.integers(1, 4), st.integers(1, 12), st.integers(0, 40))


def phases() -> st.SearchStrategy[Phase]:
    """Draw mixed phases of one to three groups."""
    return st.lists(groups(), min_size=1, max_size=3).map(mixed)
