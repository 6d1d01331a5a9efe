"""A second closed form of decoder models, written by hand from the papers, matrix by matrix.

It reads the plain fields of a configuration and shares no code with the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def layer_is_moe(f: Mapping[str, Any], i: int) -> bool:
    if not f.get("num_local_experts"):
        return False
    if i < f.get("first_k_dense_replace", 0) or i in f.get("mlp_only_layers", ()):
        return False
    return (i + 1) % f.get("decoder_sparse_step", 1) == 0


def layer_window(f: Mapping[str, Any], i: int) -> int | None:
    window, types = f.get("sliding_window"), f.get("layer_types")
    if not window:
        return None
    return window if not types or types[i % len(types)] == "sliding_attention" else None


def widths(f: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Return hidden size, width of all query heads, of all key heads, and of one head."""
    heads = f["num_attention_heads"]
    d = f.get("head_dim") or f["hidden_size"] // heads
    return f["hidden_size"], heads * d, (f.get("num_key_value_heads") or heads) * d, d


def shared_width(f: Mapping[str, Any]) -> int:
    many = f.get("num_shared_experts", 0) * (f.get("moe_intermediate_size") or 0)
    return f.get("shared_expert_intermediate_size") or many


def parameters(f: Mapping[str, Any]) -> dict[str, int]:
    """Return the parameters: all, and those that one token uses."""
    h, q, kv, d = widths(f)
    norm = 2 * h if f["norm"] == "layernorm" else h
    total = f["vocab_size"] * h + norm
    if not f.get("tie_word_embeddings"):
        total += f["vocab_size"] * h
    if f.get("positions") == "learned":
        total += (f["max_position_embeddings"] + f.get("position_offset", 0)) * h
    idle = 0
    for i in range(f["num_hidden_layers"]):
        total += h * q + h * kv + h * kv + q * h + norm + norm
        if f.get("qkv_bias"):
            total += q + kv + kv
        if f.get("output_bias"):
            total += h
        if f.get("qk_norm"):
            total += d + d
        if f.get("attention_sinks"):
            total += f["num_attention_heads"]
        if not layer_is_moe(f, i):
            wide = f["intermediate_size"]
            total += h * wide + wide * h
            total += h * wide if f["gated"] else 0
            if f.get("mlp_bias"):
                total += wide + h + (wide if f["gated"] else 0)
            continue
        wide, experts = f["moe_intermediate_size"], f["num_local_experts"]
        expert = h * wide + wide * h + (h * wide if f["gated"] else 0)
        if f.get("expert_bias"):
            expert += wide + h + (wide if f["gated"] else 0)
        total += experts * expert + experts * h
        total += experts if f.get("router_bias") else 0
        total += (3 if f["gated"] else 2) * h * shared_width(f)
        total += h if f.get("shared_expert_gate") else 0
        idle += (experts - f["num_experts_per_tok"]) * expert
    return {"params": total, "params_active": total - idle}


def seen(past: int, new: int, window: int | None) -> int:
    """Count query-key pairs one by one."""
    return sum(
        1
        for query in range(past, past + new)
        for key in range(query + 1)
        if window is None or query - key < window
    )


def flops(f: Mapping[str, Any], groups: list[tuple[int, int, int]]) -> dict[str, int]:
    """Return the FLOPs of a pass with logits of every token.

    Parameters
    ----------
    f : mapping
        Fields of the model.
    groups : list of (count, q_len, past_len)
        The sequences.
    """
    h, q, kv, _ = widths(f)
    tokens = sum(count * new for count, new, _ in groups)
    out = dict.fromkeys(("linear", "experts", "attn", "attn_causal"), 0)
    out["lm_head"] = 2 * tokens * h * f["vocab_size"]
    matrices = 3 if f["gated"] else 2
    for i in range(f["num_hidden_layers"]):
        out["linear"] += 2 * tokens * (h * q + 2 * h * kv + q * h)
        if layer_is_moe(f, i):
            out["linear"] += 2 * tokens * h * f["num_local_experts"]
            out["linear"] += 2 * tokens * matrices * h * shared_width(f)
            out["linear"] += 2 * tokens * h if f.get("shared_expert_gate") else 0
            one = 2 * matrices * h * f["moe_intermediate_size"]
            out["experts"] += tokens * f["num_experts_per_tok"] * one
        else:
            out["linear"] += 2 * tokens * matrices * h * f["intermediate_size"]
        window = layer_window(f, i)
        for count, new, past in groups:
            kept = past if window is None else min(past, window - 1)
            out["attn"] += 2 * count * new * (kept + new) * q * 2
            out["attn_causal"] += 2 * count * seen(past, new, window) * q * 2
    out["total"] = out["linear"] + out["lm_head"] + out["experts"] + out["attn"]
    return out
