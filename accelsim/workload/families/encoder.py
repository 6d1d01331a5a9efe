"""Encoders without a cache: BERT, RoBERTa, XLM, CLIP's and T5's text encoders, Transformer-XL.

Norms before or after each part, learned, relative or recurrent positions, an optional head.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec, Whole
from accelsim.errors import ConfigError
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_mlp, add_norm
from accelsim.workload.families._dense import Dense, add_self_attention, add_sum
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Phase
from accelsim.workload.tensor import Role, packed_bytes

__all__ = [
    "PHASES",
    "Config",
    "EncoderConfig",
    "active_parameter_count",
    "build",
    "parameter_count",
]

PHASES: Final = ("forward",)

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()
_TABLE: Final = "embed_tokens.weight"
_BIAS: Final = "position_bias"


class EncoderConfig(Spec):
    """A transformer that reads a text in one pass."""

    hidden_size: Count
    """Width of the residual stream."""
    num_hidden_layers: Count
    """Number of layers."""
    num_attention_heads: Count
    """Heads."""
    head_dim: Count | None = None
    """Width of a head; hidden_size / num_attention_heads where absent."""
    intermediate_size: Count
    """Width of the MLP."""
    vocab_size: Count
    """Rows of the embedding table."""
    max_position_embeddings: Count | None = None
    """Rows of the table of learned positions."""
    type_vocab_size: Whole = 0
    """Rows of the table of token types."""
    activation: Literal["relu", "gelu", "gelu_tanh", "quick_gelu", "silu"]
    """Function between the MLP's matrices."""
    gated: bool = False
    """Three MLP matrices rather than two."""
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    """Kind of norm."""
    norm_first: bool
    """Norms before attention and MLP rather than after their residual sums."""
    embedding_norm: bool = False
    """A norm after the embedding."""
    final_norm: bool = False
    """A norm after the last layer."""
    attention_bias: bool = True
    """Biases on the attention's projections."""
    mlp_bias: bool = True
    """Biases on the MLP."""
    causal: bool = False
    """A token sees only those before it."""
    positions: Literal["learned", "relative", "recurrent", "none"] = "learned"
    """A table added to the embedding; a bias on the scores by distance, as in T5; keys of
    distances and a memory of the segment before, as in Transformer-XL."""
    relative_attention_num_buckets: Count = 32
    """Rows of the table of relative biases."""
    relative_bias_per_layer: bool = False
    """Each layer has its own table of relative biases (umT5), rather than the first for all."""
    memory_len: Whole = 0
    """Tokens of the segment before that are attended to, in Transformer-XL."""
    head: Literal["none", "mlm", "lm", "projection"] = "none"
    """BERT's prediction of masked tokens, a tied output head, or a projection of one token."""
    head_bias: bool = True
    """Bias on the output head."""
    projection_dim: Count | None = None
    """Width of the projection."""

    @property
    def head_width(self) -> int:
        """Width of a head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @model_validator(mode="after")
    def _consistent(self) -> EncoderConfig:
        problem = ""
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            problem = (
                f"hidden_size {self.hidden_size} does not divide over num_attention_heads"
                f" {self.num_attention_heads}"
            )
        elif self.positions == "learned" and self.max_position_embeddings is None:
            problem = "learned positions need max_position_embeddings"
        elif self.memory_len and self.positions != "recurrent":
            problem = "memory_len needs recurrent positions"
        elif (self.head == "projection") != (self.projection_dim is not None):
            problem = "head `projection` and projection_dim go together"
        if problem:
            raise PydanticCustomError("model", "{problem}", {"problem": problem})
        return self


Config: Final = EncoderConfig


@lru_cache(maxsize=512)
def build(
    config: EncoderConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "encoder",
) -> Workload:
    """Return one pass of an encoder over ``phase.groups[0]``.

    Parameters
    ----------
    config : EncoderConfig
        The model.
    phase : Phase
        A ``forward`` of sequences of equal length.
    dtypes, conventions, name
        As for every family; ``conventions.logits`` concerns a head.

    Raises
    ------
    ConfigError
        If the text is longer than the table of positions.
    """
    group = phase.groups[0]
    limit = config.max_position_embeddings
    if config.positions == "learned" and limit and group.q_len > limit:
        raise ConfigError(
            f"{group.q_len} tokens, but `{name}` has positions for {limit}", path="seq_len"
        )
    layers = _layers(config, phase, dtypes)
    return Workload(
        name=name,
        blocks=(_embedding(config, phase, dtypes), layers, *_end(config, phase, dtypes)),
        parameters=parameter_count(config),
        active_parameters=parameter_count(config),
        kv_bytes_per_token=0,
        phase=str(phase),
        batch=phase.batch,
        tokens=phase.tokens,
        inputs=_inputs(config),
        outputs=(_output(config),),
        conventions={"attention": "causal" if config.causal else "bidirectional",
                     "logits": "all" if config.head in ("mlm", "lm") else "none"},
    )  # fmt: skip


def _inputs(config: EncoderConfig) -> tuple[str, ...]:
    names = ["input_ids"]
    names += ["position_ids"] * (config.positions == "learned")
    names += ["token_types"] * (config.type_vocab_size > 0)
    names += ["distances"] * (config.positions == "relative")
    names += ["memory", "distance_embedding"] * (config.positions == "recurrent")
    names += ["end_positions"] * (config.head == "projection")
    return tuple(names)


def _output(config: EncoderConfig) -> str:
    if config.head == "none":
        return "final_norm" if config.final_norm else "hidden"
    return {"mlm": "lm_head", "lm": "lm_head", "projection": "projection"}[config.head]


def _embedding(config: EncoderConfig, phase: Phase, dtypes: Dtypes) -> Block:
    body = BlockBuilder("embedding", dtypes)
    tokens, h = phase.tokens, config.hidden_size
    parts = [("embed_tokens", config.vocab_size, "input_ids")]
    if config.positions == "learned":
        parts.append(("embed_positions", config.max_position_embeddings or 0, "position_ids"))
    if config.type_vocab_size:
        parts.append(("embed_types", config.type_vocab_size, "token_types"))
    x = ""
    for name, rows, ids in parts:
        indices = body.activation(ids, tokens, dtype="int32")
        shape = (rows, h)
        table = body.tensor(f"{name}.weight", shape, dtypes.embedding_dtype, Role.WEIGHT)
        y = body.gather(name, table, indices, (tokens, h, rows), label="embedding")
        added = f"{name}_sum"
        x = body.elementwise(added, "add", (x, y), tokens, h, label="embedding") if x else y
    if config.embedding_norm:
        x = add_norm(body, "embedding_norm", x, tokens, h, config.norm)
    shared = {_TABLE} if config.head in ("mlm", "lm") else set()
    if config.positions == "relative" and not config.relative_bias_per_layer:
        shared.add(_add_bias(body, config, phase.groups[0].q_len))
    return body.block(1, {"hidden": x}, frozenset(shared))


def _add_bias(body: BlockBuilder, config: EncoderConfig, length: int) -> str:
    """Add the look-up of a bias for each head and pair; return its name."""
    heads, rows = config.num_attention_heads, config.relative_attention_num_buckets
    ids = body.activation("distances", length * length, dtype="int32")
    table = body.tensor(f"{_BIAS}.weight", (rows, heads), body.dtypes.activation, Role.WEIGHT)
    size = (length * length, heads, rows)
    return body.gather(_BIAS, table, ids, size, label="embedding")


def _layers(config: EncoderConfig, phase: Phase, dtypes: Dtypes) -> Block:
    body = BlockBuilder("layers", dtypes)
    tokens, h, group = phase.tokens, config.hidden_size, phase.groups[0]
    x = body.activation("hidden", tokens, h)
    y = add_norm(body, "attention_norm", x, tokens, h, config.norm) if config.norm_first else x
    o = _add_attention(body, config, group.count, group.q_len, y)
    x = add_sum(body, "attention_residual", x, o, tokens, h)
    if not config.norm_first:
        x = add_norm(body, "attention_norm", x, tokens, h, config.norm)
    y = add_norm(body, "mlp_norm", x, tokens, h, config.norm) if config.norm_first else x
    y = add_mlp(
        body, y, tokens, h, config.intermediate_size,
        activation=config.activation, gated=config.gated, bias=config.mlp_bias,
    )  # fmt: skip
    x = add_sum(body, "mlp_residual", x, y, tokens, h)
    if not config.norm_first:
        x = add_norm(body, "mlp_norm", x, tokens, h, config.norm)
    shared = config.positions == "relative" and not config.relative_bias_per_layer
    return body.block(
        config.num_hidden_layers, {"hidden": x}, frozenset({_BIAS}) if shared else frozenset()
    )


def _add_attention(
    body: BlockBuilder, config: EncoderConfig, batch: int, length: int, x: str
) -> str:
    if config.positions == "recurrent":
        return _add_recurrent_attention(body, config, batch, length, x)
    shape = Dense(
        config.hidden_size, config.num_attention_heads, config.head_width,
        qkv_bias=config.attention_bias, output_bias=config.attention_bias,
        attributes={"causal": True} if config.causal else {},
    )  # fmt: skip
    bias = ""
    if config.positions == "relative":
        if config.relative_bias_per_layer:
            bias = _add_bias(body, config, length)
        else:
            heads = config.num_attention_heads
            bias = body.activation(_BIAS, length * length, heads)
    return add_self_attention(body, x, batch, length, shape, bias=bias)


def _add_recurrent_attention(
    body: BlockBuilder, config: EncoderConfig, batch: int, length: int, x: str
) -> str:
    """Add Transformer-XL's attention over memory and segment, with keys of distances.

    Notes
    -----
    Keys and values are made for memory and segment, keys of distances for as many positions; the
    scores are q k + q r, the second a product of its own (label ``attention``).
    """
    h, heads, d = config.hidden_size, config.num_attention_heads, config.head_width
    inner, attended = heads * d, length + config.memory_len
    rows = batch * attended
    if config.memory_len:
        memory = body.activation("memory", batch * config.memory_len, h)
        both = body.activation("memory_and_segment", rows, h)
        size = packed_bytes(rows * h, body.dtypes.activation)
        body.operator("join", "transfer", {"size_bytes": size}, (memory, x), (both,), "copy")
    else:
        both = x
    q = body.linear("q_proj", x, batch * length, inner, h, shard="n")
    kv = body.linear("kv_proj", both, rows, 2 * inner, h, shard="n")
    distance = body.activation("distance_embedding", attended, h)
    r = body.linear("r_proj", distance, attended, inner, h, shard="n")
    bias = body.activation("distance_scores", batch * heads, length, attended)
    dims = {"batch": heads, "m": batch * length, "n": attended, "k": d}
    body.operator("distance_scores", "matmul", dims, (q, r), (bias,), "attention", "batch")
    context = body.attention(
        "attention", (q, kv, kv, bias), batch, heads, (length, attended), d,
        attributes={"bias": True, **({"causal": True} if config.causal else {})},
    )  # fmt: skip
    return body.linear("o_proj", context, batch * length, h, inner, shard="k")


def _end(config: EncoderConfig, phase: Phase, dtypes: Dtypes) -> tuple[Block, ...]:
    """Return the final norm and the head, where there are any."""
    if not config.final_norm and config.head == "none":
        return ()
    body = BlockBuilder("head", dtypes)
    tokens, h = phase.tokens, config.hidden_size
    x = body.activation("hidden", tokens, h)
    if config.final_norm:
        x = add_norm(body, "final_norm", x, tokens, h, config.norm)
    if config.head == "projection":
        ends = body.activation("end_positions", phase.batch, dtype="int32")
        x = body.gather("select", x, ends, (phase.batch, h, tokens), label="select")
        body.linear("projection", x, phase.batch, config.projection_dim or 0, h)
    if config.head == "mlm":
        x = body.linear("transform", x, tokens, h, h, bias=True)
        x = body.elementwise(
            "transform_activation", config.activation, (x,), tokens, h, label="activation"
        )
        x = add_norm(body, "transform_norm", x, tokens, h, config.norm)
    if config.head in ("mlm", "lm"):
        rows = config.vocab_size
        table = body.tensor(_TABLE, (rows, h), dtypes.embedding_dtype, Role.WEIGHT)
        logits = body.activation("lm_head", tokens, rows)
        inputs: tuple[str, ...] = (x, table)
        if config.head_bias:
            inputs += (body.vector("lm_head.bias", rows),)
        dims = {"batch": 1, "m": tokens, "n": rows, "k": h}
        body.operator("lm_head", "matmul", dims, inputs, (logits,), "linear", "n")
    shared = frozenset({_TABLE}) if config.head in ("mlm", "lm") else frozenset[str]()
    return (body.block(1, shared=shared),)


@lru_cache(maxsize=1024)
def parameter_count(config: EncoderConfig) -> int:
    """Return the number of parameters by a closed form; a tied head counts once."""
    h, inner = config.hidden_size, config.num_attention_heads * config.head_width
    norm = h * (2 if config.norm == "layernorm" else 1)
    projections = 5 if config.positions == "recurrent" else 4
    layer = projections * h * inner + (3 if config.gated else 2) * h * config.intermediate_size
    layer += 2 * norm
    if config.attention_bias and config.positions != "recurrent":
        layer += 3 * inner + h
    if config.mlp_bias:
        layer += (2 if config.gated else 1) * config.intermediate_size + h
    bias = config.relative_attention_num_buckets * config.num_attention_heads
    relative = config.positions == "relative"
    layer += bias * (relative and config.relative_bias_per_layer)
    tables = config.vocab_size + config.type_vocab_size
    tables += (config.max_position_embeddings or 0) * (config.positions == "learned")
    total = tables * h + config.num_hidden_layers * layer
    total += bias * (relative and not config.relative_bias_per_layer)
    total += norm * (config.embedding_norm + config.final_norm)
    if config.head == "mlm":
        total += h * h + h + norm
    if config.head in ("mlm", "lm"):
        total += config.vocab_size * config.head_bias
    return total + h * (config.projection_dim or 0)


active_parameter_count = parameter_count
