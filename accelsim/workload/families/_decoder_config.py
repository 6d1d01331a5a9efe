"""The fields of a decoder-only transformer, which layers it has, and how many parameters.

Field names are those of Hugging Face configurations wherever one exists.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Nonnegative, Spec, Whole
from accelsim.workload.families._routing import Routing
from accelsim.workload.repeat import repeats

__all__ = [
    "DecoderConfig",
    "LayerKind",
    "layer_kinds",
    "layer_plan",
]

LayerType = Literal["full_attention", "sliding_attention", "chunked_attention"]


class LayerKind(NamedTuple):
    """What distinguishes one layer of a model from another."""

    sliding: bool
    moe: bool
    chunked: bool = False


class DecoderConfig(Spec):
    """A decoder-only transformer: attention and an MLP per layer, each behind a norm."""

    hidden_size: Count
    """Width of the residual stream."""
    num_hidden_layers: Count
    """Number of layers."""
    num_attention_heads: Count
    """Query heads."""
    num_key_value_heads: Count | None = None
    """KV heads: as many as query heads where absent, fewer for grouped-query, 1 multi-query."""
    head_dim: Count | None = None
    """Width of a head; hidden_size / num_attention_heads where absent."""
    intermediate_size: Count | None = None
    """Width of the dense MLP; needed unless every layer is a mixture of experts."""
    vocab_size: Count
    """Rows of the embedding table and of the output head."""
    max_position_embeddings: Count | None = None
    """Longest sequence the model was made for; rows of the table of learned positions."""

    activation: Literal["relu", "gelu", "gelu_tanh", "silu"]
    """Function between the MLP's matrices."""
    gated: bool
    """Three MLP matrices, ``down(act(gate(x)) * up(x))``, rather than two."""
    norm: Literal["layernorm", "rmsnorm"]
    """A layer norm has a scale and a shift, an RMS norm a scale."""
    positions: Literal["rotary", "learned", "none"] = "rotary"
    """How positions enter: rotation of query and key, or a table added to the embedding."""
    position_offset: Whole = 0
    """Rows of the position table before position 0 (2 in OPT)."""
    qkv_bias: bool = False
    """Biases on the query, key and value projections."""
    output_bias: bool = False
    """Bias on the attention's output projection."""
    mlp_bias: bool = False
    """Biases on the dense MLP's matrices."""
    qk_norm: bool = False
    """RMS norm over each query and key head, before the rotation."""
    attention_sinks: bool = False
    """One learned sink per query head in the softmax."""
    tie_word_embeddings: bool = False
    """The output head is the embedding table."""

    lm_head_bias: bool = False
    """Bias on the output head."""
    parallel: bool = False
    """Attention and MLP read the same stream, side by side, rather than one after the other."""
    parallel_norms: Literal[1, 2] = 1
    """Norms of a parallel layer: one for both, or one each."""
    post_norms: bool = False
    """Norms also after attention and MLP, before their residual sums (Gemma 2)."""
    bidirectional: bool = False
    """A token sees also those after it; the model runs ``forward`` passes (LLaDA)."""

    attention: Literal["standard", "latent"] = "standard"
    """Keys and values of each KV head, or one latent for all heads (MLA)."""
    q_lora_rank: Count | None = None
    """Rank of the query projection, two matrices with a norm between; one matrix where absent."""
    kv_lora_rank: Count | None = None
    """Width of the latent of keys and values."""
    qk_nope_head_dim: Count | None = None
    """Width of a head's key without rotation, of latent attention."""
    qk_rope_head_dim: Count | None = None
    """Width of the rotated key that all heads share, of latent attention."""
    v_head_dim: Count | None = None
    """Width of a head's value, of latent attention."""

    attention_chunk_size: Count | None = None
    """A token of a chunked layer attends only within its chunk of so many tokens."""
    sliding_window: Count | None = None
    """A token of a sliding layer attends to at most this many tokens, itself included."""
    layer_types: tuple[LayerType, ...] | None = None
    """Attention of each layer, or a pattern that repeats; all alike where absent."""

    num_local_experts: Whole = 0
    """Routed experts of a mixture-of-experts layer; 0 for a dense model."""
    num_experts_per_tok: Whole = 0
    """Routed experts that a token uses."""
    moe_intermediate_size: Count | None = None
    """Width of one routed expert."""
    num_shared_experts: Whole = 0
    """Experts that every token uses besides."""
    shared_expert_intermediate_size: Count | None = None
    """Width of all shared experts together; num_shared_experts x moe_intermediate_size where
    absent."""
    shared_expert_gate: bool = False
    """The shared experts' output is scaled by a learned sigmoid of the token."""
    router_bias: bool = False
    """Bias on the router."""
    expert_bias: bool = False
    """Biases on the routed experts' matrices."""
    routing: Routing = Routing()
    """How tokens spread over the routed experts."""
    expert_capacity_factor: Nonnegative = 0.0
    """Rows that every expert computes, over the mean; tokens beyond them are dropped.  0 for as
    many rows as are routed."""
    decoder_sparse_step: Count = 1
    """Every how many layers there is a mixture of experts rather than a dense MLP."""
    mlp_only_layers: tuple[Whole, ...] = ()
    """Layers with a dense MLP, by number from 0."""
    first_k_dense_replace: Whole = 0
    """How many of the first layers have a dense MLP."""

    @property
    def kv_heads(self) -> int:
        """KV heads."""
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def head_width(self) -> int:
        """Width of a query, key and value head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def shared_width(self) -> int:
        """Width of the shared experts together, 0 without any."""
        if self.shared_expert_intermediate_size:
            return self.shared_expert_intermediate_size
        return self.num_shared_experts * (self.moe_intermediate_size or 0)

    @model_validator(mode="after")
    def _consistent(self) -> DecoderConfig:
        for problem in (*_attention_problems(self), *_moe_problems(self)):
            raise PydanticCustomError("model", "{problem}", {"problem": problem})
        return self


def _attention_problems(config: DecoderConfig) -> list[str]:
    heads, problems = config.num_attention_heads, []
    if config.head_dim is None and config.hidden_size % heads:
        problems.append(
            f"hidden_size {config.hidden_size} does not divide over num_attention_heads {heads};"
            " give head_dim if heads are not hidden_size / num_attention_heads wide"
        )
    if heads % config.kv_heads:
        problems.append(
            f"num_attention_heads {heads} does not divide over num_key_value_heads"
            f" {config.kv_heads}"
        )
    if config.positions == "learned" and config.max_position_embeddings is None:
        problems.append("learned positions need max_position_embeddings")
    types = config.layer_types or ()
    if types and config.num_hidden_layers % len(types):
        problems.append(
            f"layer_types has {len(types)} entries, which do not divide num_hidden_layers"
            f" {config.num_hidden_layers}"
        )
    if "sliding_attention" in types and config.sliding_window is None:
        problems.append("layer_types names sliding_attention, but sliding_window is missing")
    if config.sliding_window and types and "sliding_attention" not in types:
        problems.append("sliding_window is given, but layer_types has no sliding_attention")
    if ("chunked_attention" in types) != (config.attention_chunk_size is not None):
        problems.append("layer_types chunked_attention and attention_chunk_size go together")
    return problems + _latent_problems(config)


def _latent_problems(config: DecoderConfig) -> list[str]:
    sizes = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    missing = [name for name in sizes if getattr(config, name) is None]
    if config.attention == "latent":
        return [f"latent attention needs {', '.join(missing)}"] if missing else []
    given = [name for name in sizes if name not in missing]
    return [f"{', '.join(given)} without `attention: latent`"] if given else []


def _moe_problems(config: DecoderConfig) -> list[str]:
    experts, top_k, problems = config.num_local_experts, config.num_experts_per_tok, []
    if experts and not 1 <= top_k <= experts:
        problems.append(
            f"num_experts_per_tok {top_k} is not between 1 and num_local_experts {experts}"
        )
    if experts and config.moe_intermediate_size is None:
        problems.append("num_local_experts needs moe_intermediate_size")
    given = set(config.model_fields_set) & {
        "num_experts_per_tok", "num_shared_experts", "shared_expert_intermediate_size",
        "shared_expert_gate", "router_bias", "expert_bias",
    }  # fmt: skip
    unused = sorted(name for name in given if getattr(config, name))
    if not experts and unused:
        problems.append(f"{', '.join(unused)} without num_local_experts")
    if config.routing.counts and len(config.routing.counts) != experts:
        problems.append(
            f"the routing trace counts {len(config.routing.counts)} experts, there are {experts}"
        )
    if config.shared_expert_gate and not config.shared_width:
        problems.append("shared_expert_gate without shared experts")
    if config.intermediate_size is None and any(not k.moe for k in _kinds(config)):
        problems.append("layers with a dense MLP need intermediate_size")
    return problems


def _kinds(config: DecoderConfig) -> tuple[LayerKind, ...]:
    types = config.layer_types or (
        ("sliding_attention",) if config.sliding_window else ("full_attention",)
    )
    return tuple(
        LayerKind(
            sliding=types[layer % len(types)] == "sliding_attention",
            chunked=types[layer % len(types)] == "chunked_attention",
            moe=config.num_local_experts > 0
            and layer >= config.first_k_dense_replace
            and layer not in config.mlp_only_layers
            and (layer + 1) % config.decoder_sparse_step == 0,
        )
        for layer in range(config.num_hidden_layers)
    )


@lru_cache(maxsize=1024)
def layer_kinds(config: DecoderConfig) -> tuple[LayerKind, ...]:
    """Return the kind of each layer in order."""
    return _kinds(config)


@lru_cache(maxsize=1024)
def layer_plan(config: DecoderConfig) -> tuple[tuple[tuple[LayerKind, ...], int], ...]:
    """Return the repeated bodies of layers and their counts.

    Examples
    --------
    >>> dims = dict(hidden_size=8, num_attention_heads=2, intermediate_size=16, vocab_size=32)
    >>> kinds = dict(activation="silu", gated=True, norm="rmsnorm", num_hidden_layers=4)
    >>> layer_plan(DecoderConfig(**dims, **kinds))
    (((LayerKind(sliding=False, moe=False, chunked=False),), 4),)
    """
    return repeats(layer_kinds(config))
