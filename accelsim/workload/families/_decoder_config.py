"""The fields of a decoder-only transformer, which layers it has, and how many parameters.

Field names are those of Hugging Face configurations wherever one exists.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec, Whole
from accelsim.workload.repeat import repeats

__all__ = [
    "DecoderConfig",
    "LayerKind",
    "active_parameter_count",
    "layer_kinds",
    "layer_plan",
    "parameter_count",
]

LayerType = Literal["full_attention", "sliding_attention"]


class LayerKind(NamedTuple):
    """What distinguishes one layer of a model from another."""

    sliding: bool
    moe: bool


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
    return problems


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
    (((LayerKind(sliding=False, moe=False),), 4),)
    """
    return repeats(layer_kinds(config))


def _mlp(config: DecoderConfig, width: int, bias: bool) -> int:
    """Return the parameters of an MLP of one width."""
    into = 2 if config.gated else 1
    biases = into * width + config.hidden_size if bias else 0
    return (into + 1) * config.hidden_size * width + biases


def _expert(config: DecoderConfig) -> int:
    return _mlp(config, config.moe_intermediate_size or 0, config.expert_bias)


def _norm(config: DecoderConfig) -> int:
    return config.hidden_size * (2 if config.norm == "layernorm" else 1)


def _layer(config: DecoderConfig, kind: LayerKind) -> int:
    h, d = config.hidden_size, config.head_width
    query, keys = config.num_attention_heads * d, config.kv_heads * d
    total = h * (query + 2 * keys) + query * h + 2 * _norm(config)
    total += (query + 2 * keys) * config.qkv_bias + h * config.output_bias
    total += 2 * d * config.qk_norm + config.num_attention_heads * config.attention_sinks
    if not kind.moe:
        return total + _mlp(config, config.intermediate_size or 0, config.mlp_bias)
    experts = config.num_local_experts
    total += experts * (_expert(config) + h + config.router_bias)
    return total + _mlp(config, config.shared_width, False) + h * config.shared_expert_gate


@lru_cache(maxsize=1024)
def parameter_count(config: DecoderConfig) -> int:
    """Return the number of parameters by a closed form; a tied head counts once."""
    h = config.hidden_size
    total = config.vocab_size * h * (1 if config.tie_word_embeddings else 2) + _norm(config)
    if config.positions == "learned":
        total += ((config.max_position_embeddings or 0) + config.position_offset) * h
    return total + sum(_layer(config, kind) for kind in layer_kinds(config))


@lru_cache(maxsize=1024)
def active_parameter_count(config: DecoderConfig) -> int:
    """Return the parameters that one token uses: all but the routed experts it does not choose."""
    idle = config.num_local_experts - config.num_experts_per_tok
    layers = sum(kind.moe for kind in layer_kinds(config))
    return parameter_count(config) - layers * idle * _expert(config)
