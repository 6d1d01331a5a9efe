"""Encoder-decoder transformers: T5 and its kin.

The decoder attends to its own cache and to keys and values of the source, which the encoder's
pass makes once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from accelsim.config import Count, Spec
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
    "EncDecConfig",
    "active_parameter_count",
    "build",
    "parameter_count",
]

PHASES: Final = ("decode", "prefill", "forward")

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()
_TABLE: Final = "shared.weight"


class EncDecConfig(Spec):
    """An encoder and a decoder with RMS norms, relative positions and no biases, as T5."""

    d_model: Count
    """Width of the residual streams."""
    num_layers: Count
    """Layers of the encoder."""
    num_decoder_layers: Count
    """Layers of the decoder."""
    num_heads: Count
    """Heads."""
    d_kv: Count
    """Width of a head."""
    d_ff: Count
    """Width of the MLP."""
    vocab_size: Count
    """Rows of the embedding table, which encoder and decoder share."""
    activation: str = "relu"
    """Function between the MLP's matrices."""
    gated: bool = False
    """Three MLP matrices rather than two."""
    tie_word_embeddings: bool = True
    """The output head is the embedding table."""
    relative_attention_num_buckets: Count = 32
    """Rows of the tables of relative biases, one for encoder and one for decoder."""
    context_len: Count = 512
    """Source tokens, where a pass does not say."""


Config: Final = EncDecConfig


@lru_cache(maxsize=512)
def build(
    config: EncDecConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "encdec",
) -> Workload:
    """Return one pass of an encoder-decoder.

    Parameters
    ----------
    config : EncDecConfig
        The model.
    phase : Phase
        ``forward`` and ``prefill`` run the encoder over ``context_len`` source tokens and the
        decoder over the new ones; ``decode`` runs the decoder alone, over its cache and that of
        the source.
    dtypes, conventions, name
        As for every family.

    Raises
    ------
    ConfigError
        If there is more than one group of sequences.
    """
    if len(phase.groups) != 1:
        raise ConfigError("sequences of one length are needed", path="phase")
    source = phase.context_len or config.context_len
    blocks = (*(() if phase.kind == "decode" else _encoder(config, phase, dtypes, source)),
              *_decoder(config, phase, dtypes, source, conventions))  # fmt: skip
    select = conventions.logits == "last" and phase.tokens != phase.batch
    inputs = ["decoder_ids", "decoder_distances"]
    inputs += ["source_ids", "source_distances"] * (phase.kind != "decode")
    per_token = packed_bytes(
        2 * config.num_decoder_layers * config.num_heads * config.d_kv, dtypes.kv_cache
    )
    return Workload(
        name=name,
        blocks=blocks,
        parameters=parameter_count(config),
        active_parameters=parameter_count(config),
        kv_bytes_per_token=per_token,
        phase=str(phase),
        batch=phase.batch,
        tokens=phase.tokens,
        state_bytes_per_sequence=per_token * source,
        inputs=(*inputs, *(["last_positions"] if select else [])),
        outputs=("lm_head",),
        conventions={"logits": conventions.logits, "source": f"{source} tokens"},
        idle_parameters=_idle(config) if phase.kind == "decode" else 0,
    )


def _mlp(body: BlockBuilder, config: EncDecConfig, x: str, rows: int) -> str:
    """Add norm, MLP and residual sum."""
    y = add_norm(body, "mlp_norm", x, rows, config.d_model, "rmsnorm")
    y = add_mlp(
        body, y, rows, config.d_model, config.d_ff,
        activation=config.activation, gated=config.gated, bias=False,
    )  # fmt: skip
    return add_sum(body, "mlp_residual", x, y, rows, config.d_model)


def _shape(config: EncDecConfig) -> Dense:
    return Dense(config.d_model, config.num_heads, config.d_kv, qkv_bias=False, output_bias=False)


def _embedding(
    body: BlockBuilder, config: EncDecConfig, ids: str, rows: int, pairs: int, side: str
) -> tuple[str, str]:
    """Add look-ups of tokens and of the relative bias; return both."""
    size = (rows, config.d_model, config.vocab_size)
    table = body.tensor(
        _TABLE, (config.vocab_size, config.d_model), body.dtypes.embedding_dtype, Role.WEIGHT
    )
    x = body.gather(
        f"{side}_embed", table, body.activation(ids, rows, dtype="int32"), size, label="embedding"
    )
    buckets, heads = config.relative_attention_num_buckets, config.num_heads
    weight = body.tensor(
        f"{side}_bias.weight", (buckets, heads), body.dtypes.activation, Role.WEIGHT
    )
    distances = body.activation(f"{side}_distances", pairs, dtype="int32")
    bias = body.gather(
        f"{side}_bias", weight, distances, (pairs, heads, buckets), label="embedding"
    )
    return x, bias


def _encoder(config: EncDecConfig, phase: Phase, dtypes: Dtypes, source: int) -> tuple[Block, ...]:
    rows, h = phase.batch * source, config.d_model
    body = BlockBuilder("encoder.embedding", dtypes)
    x, bias = _embedding(body, config, "source_ids", rows, source * source, "source")
    first = body.block(1, {"source": x}, frozenset({_TABLE, bias}))
    body = BlockBuilder("encoder.layers", dtypes)
    x, bias = (
        body.activation("source", rows, h),
        body.activation(bias, source**2, config.num_heads),
    )
    y = add_norm(body, "attention_norm", x, rows, h, "rmsnorm")
    o = add_self_attention(body, y, phase.batch, source, _shape(config), bias=bias)
    x = add_sum(body, "attention_residual", x, o, rows, h)
    x = _mlp(body, config, x, rows)
    layers = body.block(config.num_layers, {"source": x}, frozenset({bias}))
    body = BlockBuilder("encoder.end", dtypes)
    x = add_norm(body, "encoded", body.activation("source", rows, h), rows, h, "rmsnorm")
    return first, layers, body.block(1, {}, frozenset({x}))


def _decoder(
    config: EncDecConfig, phase: Phase, dtypes: Dtypes, source: int, conventions: Conventions
) -> tuple[Block, ...]:
    rows, h, group = phase.tokens, config.d_model, phase.groups[0]
    pairs = group.q_len * group.kv_len
    body = BlockBuilder("embedding", dtypes)
    x, bias = _embedding(body, config, "decoder_ids", rows, pairs, "decoder")
    first = body.block(1, {"hidden": x}, frozenset({_TABLE, bias}))
    body = BlockBuilder("layers", dtypes)
    x, bias = body.activation("hidden", rows, h), body.activation(bias, pairs, config.num_heads)
    y = add_norm(body, "attention_norm", x, rows, h, "rmsnorm")
    x = add_sum(
        body, "attention_residual", x, _self_attention(body, config, phase, y, bias), rows, h
    )
    y = add_norm(body, "cross_norm", x, rows, h, "rmsnorm")
    y, encoded = _cross_attention(body, config, phase, source, y)
    x = add_sum(body, "cross_residual", x, y, rows, h)
    x = _mlp(body, config, x, rows)
    layers = body.block(config.num_decoder_layers, {"hidden": x}, frozenset({bias, *encoded}))
    return first, layers, _head(config, phase, dtypes, conventions)


def _self_attention(
    body: BlockBuilder, config: EncDecConfig, phase: Phase, x: str, bias: str
) -> str:
    """Add causal attention over the cache, which new keys and values are appended to."""
    group, heads, d = phase.groups[0], config.num_heads, config.d_kv
    rows, inner, dtype = phase.tokens, heads * d, body.dtypes.kv_cache
    qkv = body.linear("qkv_proj", x, rows, 3 * inner, config.d_model, shard="n")
    shape = (group.count, heads, group.kv_len, d)
    cache = tuple(body.tensor(f"{n}_cache", shape, dtype, Role.KV_CACHE) for n in "kv")
    size = packed_bytes(2 * rows * inner, dtype)
    body.operator(
        "kv_append", "transfer", {"size_bytes": size}, (qkv,), cache, "kv_append", "size_bytes"
    )
    context = body.attention(
        "attention", (qkv, *cache, bias), group.count, heads, (group.q_len, group.kv_len), d,
        attributes={"causal": True, "bias": True},
    )  # fmt: skip
    return body.linear("o_proj", context, rows, config.d_model, inner, shard="k")


def _cross_attention(
    body: BlockBuilder, config: EncDecConfig, phase: Phase, source: int, x: str
) -> tuple[str, tuple[str, ...]]:
    """Add attention over the source; return its output and the encoder's where it is read."""
    group, heads, d = phase.groups[0], config.num_heads, config.d_kv
    rows, inner, dtype = phase.tokens, heads * d, body.dtypes.kv_cache
    q = body.linear("cross_q_proj", x, rows, inner, config.d_model, shard="n")
    shape = (group.count, heads, source, d)
    cache = tuple(body.tensor(f"cross_{n}_cache", shape, dtype, Role.STATE) for n in "kv")
    weight = body.tensor(
        "cross_kv_proj.weight", (2 * inner, config.d_model), body.dtypes.weight, Role.WEIGHT
    ) if phase.kind != "decode" else ""  # fmt: skip
    encoded: tuple[str, ...] = ()
    if weight:
        tokens = group.count * source
        encoded = (body.activation("encoded", tokens, config.d_model),)
        kv = body.activation("cross_kv_proj", tokens, 2 * inner)
        dims = {"batch": 1, "m": tokens, "n": 2 * inner, "k": config.d_model}
        body.operator("cross_kv_proj", "matmul", dims, (*encoded, weight), (kv,), "linear", "n")
        size = packed_bytes(2 * tokens * inner, dtype)
        body.operator(
            "cross_kv_write", "transfer", {"size_bytes": size}, (kv,), cache, "kv_append",
            "size_bytes",
        )  # fmt: skip
    context = body.attention(
        "cross_attention", (q, *cache), group.count, heads, (group.q_len, source), d
    )
    return body.linear("cross_o_proj", context, rows, config.d_model, inner, shard="k"), encoded


def _head(config: EncDecConfig, phase: Phase, dtypes: Dtypes, conventions: Conventions) -> Block:
    body = BlockBuilder("head", dtypes)
    rows, h, vocabulary = phase.tokens, config.d_model, config.vocab_size
    x = add_norm(body, "final_norm", body.activation("hidden", rows, h), rows, h, "rmsnorm")
    m = rows
    if conventions.logits == "last" and rows != phase.batch:
        m = phase.batch
        last = body.activation("last_positions", m, dtype="int32")
        x = body.gather("select", x, last, (m, h, rows), label="select")
    tied = config.tie_word_embeddings
    weight = body.tensor(
        _TABLE if tied else "lm_head.weight", (vocabulary, h), dtypes.embedding_dtype, Role.WEIGHT
    )
    logits = body.activation("lm_head", m, vocabulary)
    dims = {"batch": 1, "m": m, "n": vocabulary, "k": h}
    body.operator("lm_head", "matmul", dims, (x, weight), (logits,), "lm_head", "n")
    return body.block(1, shared=frozenset({_TABLE}) if tied else frozenset())


def _part(config: EncDecConfig) -> tuple[int, int, int]:
    """Return the parameters of an attention, of an MLP, and of a table of relative biases."""
    attention = 4 * config.d_model * config.num_heads * config.d_kv
    mlp = (3 if config.gated else 2) * config.d_model * config.d_ff
    return attention, mlp, config.relative_attention_num_buckets * config.num_heads


def _idle(config: EncDecConfig) -> int:
    """Return the parameters that decoding does not touch: the encoder, cross keys and values."""
    attention, mlp, bias = _part(config)
    encoder = config.num_layers * (attention + mlp + 2 * config.d_model) + bias + config.d_model
    return encoder + config.num_decoder_layers * attention // 2


@lru_cache(maxsize=1024)
def parameter_count(config: EncDecConfig) -> int:
    """Return the number of parameters by a closed form; the tied tables count once."""
    attention, mlp, bias = _part(config)
    h = config.d_model
    encoder = config.num_layers * (attention + mlp + 2 * h)
    decoder = config.num_decoder_layers * (2 * attention + mlp + 3 * h)
    tables = config.vocab_size * h * (1 if config.tie_word_embeddings else 2)
    return encoder + decoder + tables + 2 * bias + 2 * h


active_parameter_count = parameter_count
