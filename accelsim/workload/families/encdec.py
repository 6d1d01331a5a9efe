"""Encoder-decoder transformers: T5, Flan-T5, mT5, umT5.

The decoder attends to its own cache and to keys and values of the source, which the encoder's
pass makes once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from accelsim.errors import ConfigError
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_mlp, add_norm
from accelsim.workload.families._dense import add_self_attention, add_sum
from accelsim.workload.families._encdec_attention import (
    ENCODED,
    add_source_attention,
    add_text_attention,
    dense,
)
from accelsim.workload.families._encdec_config import EncDecConfig, idle_count, parameter_count
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

Config: Final = EncDecConfig
PHASES: Final = ("decode", "prefill", "forward")

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()
_TABLE: Final = "shared.weight"

active_parameter_count = parameter_count


@lru_cache(maxsize=512)
def build(
    config: EncDecConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "encdec",
) -> Workload:
    """Return one pass of an encoder-decoder as a workload.

    Parameters
    ----------
    config : EncDecConfig
        The model.
    phase : Phase
        ``forward`` runs the encoder over ``context_len`` source tokens and the decoder over the
        new ones, without a cache; ``prefill`` the same, and writes both caches; ``decode``, and a
        prefill after past tokens, run the decoder alone over them.
    dtypes : Dtypes
        Number formats by role.
    conventions : Conventions
        What is counted where implementations differ.
    name : str
        Name of the workload.

    Returns
    -------
    Workload
        Blocks ``encoder.embedding``, ``encoder.layers`` and ``encoder.end`` where the encoder
        runs, then ``embedding``, ``layers`` and ``head``.

    Raises
    ------
    ConfigError
        If there is more than one group of sequences.

    Examples
    --------
    >>> from accelsim.workload.phase import decode
    >>> config = EncDecConfig(
    ...     d_model=64,
    ...     num_layers=3,
    ...     num_decoder_layers=2,
    ...     num_heads=4,
    ...     d_kv=16,
    ...     d_ff=128,
    ...     vocab_size=100,
    ... )
    >>> [(block.name, block.count) for block in build(config, decode(1, 15)).blocks]
    [('embedding', 1), ('layers', 2), ('head', 1)]
    """
    if len(phase.groups) != 1:
        raise ConfigError("an encoder-decoder needs sequences of equal length", path="phase")
    source = phase.context_len or config.context_len
    encodes = phase.kind != "decode" and not phase.groups[0].past_len
    select = conventions.logits == "last" and phase.tokens != phase.batch
    per_token = packed_bytes(2 * config.num_decoder_layers * config.inner, dtypes.kv_cache)
    return Workload(
        name=name,
        blocks=(
            *(_encoder(config, phase, dtypes, source) if encodes else ()),
            *_decoder(config, phase, dtypes, source, encodes),
            _head(config, phase, dtypes, select),
        ),
        parameters=parameter_count(config),
        active_parameters=parameter_count(config),
        kv_bytes_per_token=per_token,
        phase=str(phase),
        batch=phase.batch,
        tokens=phase.tokens,
        state_bytes_per_sequence=per_token * source,
        inputs=("source_ids", "source_distances") * encodes
        + ("decoder_ids", "decoder_distances")
        + ("last_positions",) * select,
        outputs=("lm_head",),
        conventions={
            "logits": conventions.logits,
            "attention": "full; masked MACs counted apart",
            "source": f"{source} tokens" + ("" if encodes else ", encoded by an earlier pass"),
        },
        idle_parameters=0 if encodes else idle_count(config),
    )


def _add_lookup(
    body: BlockBuilder, config: EncDecConfig, side: str, rows: int, pairs: int
) -> tuple[str, frozenset[str]]:
    """Add the look-up of tokens, and of the biases of all layers; return what is shared too."""
    size = (rows, config.d_model, config.vocab_size)
    dtype = body.dtypes.embedding_dtype
    table = body.tensor(_TABLE, (config.vocab_size, config.d_model), dtype, Role.WEIGHT)
    ids = body.activation(f"{side}_ids", rows, dtype="int32")
    x = body.gather(f"{side}_embed", table, ids, size, label="embedding")
    if config.relative_bias_per_layer:
        return x, frozenset({_TABLE})
    return x, frozenset({_TABLE, _add_bias(body, config, side, pairs)})


def _add_bias(body: BlockBuilder, config: EncDecConfig, side: str, pairs: int) -> str:
    """Add the look-up of a bias for each head and pair; return its name."""
    buckets, heads = config.relative_attention_num_buckets, config.num_heads
    dtype = body.dtypes.activation
    table = body.tensor(f"{side}_bias.weight", (buckets, heads), dtype, Role.WEIGHT)
    distances = body.activation(f"{side}_distances", pairs, dtype="int32")
    size = (pairs, heads, buckets)
    return body.gather(f"{side}_bias", table, distances, size, label="embedding")


def _layer_bias(
    body: BlockBuilder, config: EncDecConfig, side: str, pairs: int
) -> tuple[str, frozenset[str]]:
    """Return the bias of a layer, its own or that of all, and its name if it is that of all."""
    if config.relative_bias_per_layer:
        return _add_bias(body, config, side, pairs), frozenset()
    bias = body.activation(f"{side}_bias", pairs, config.num_heads)
    return bias, frozenset({bias})


def _add_mlp(body: BlockBuilder, config: EncDecConfig, x: str, rows: int) -> str:
    """Add norm, MLP and residual sum."""
    y = add_norm(body, "mlp_norm", x, rows, config.d_model, "rmsnorm")
    y = add_mlp(
        body, y, rows, config.d_model, config.d_ff,
        activation=config.activation, gated=config.gated, bias=False,
    )  # fmt: skip
    return add_sum(body, "mlp_residual", x, y, rows, config.d_model)


def _encoder(config: EncDecConfig, phase: Phase, dtypes: Dtypes, source: int) -> tuple[Block, ...]:
    rows, h, pairs = phase.batch * source, config.d_model, source * source
    body = BlockBuilder("encoder.embedding", dtypes)
    x, shared = _add_lookup(body, config, "source", rows, pairs)
    first = body.block(1, {"source": x}, shared)
    body = BlockBuilder("encoder.layers", dtypes)
    x = body.activation("source", rows, h)
    bias, shared = _layer_bias(body, config, "source", pairs)
    y = add_norm(body, "attention_norm", x, rows, h, "rmsnorm")
    o = add_self_attention(body, y, phase.batch, source, dense(config), bias=bias)
    x = add_sum(body, "attention_residual", x, o, rows, h)
    x = _add_mlp(body, config, x, rows)
    layers = body.block(config.num_layers, {"source": x}, shared)
    body = BlockBuilder("encoder.end", dtypes)
    x = add_norm(body, ENCODED, body.activation("source", rows, h), rows, h, "rmsnorm")
    return first, layers, body.block(1, shared=frozenset({x}))


def _decoder(
    config: EncDecConfig, phase: Phase, dtypes: Dtypes, source: int, encodes: bool
) -> tuple[Block, ...]:
    rows, h, group = phase.tokens, config.d_model, phase.groups[0]
    pairs = group.q_len * group.kv_len
    body = BlockBuilder("embedding", dtypes)
    x, shared = _add_lookup(body, config, "decoder", rows, pairs)
    first = body.block(1, {"hidden": x}, shared)
    body = BlockBuilder("layers", dtypes)
    x = body.activation("hidden", rows, h)
    bias, shared = _layer_bias(body, config, "decoder", pairs)
    y = add_norm(body, "attention_norm", x, rows, h, "rmsnorm")
    y = add_text_attention(body, config, phase, y, bias)
    x = add_sum(body, "attention_residual", x, y, rows, h)
    y = add_norm(body, "cross_norm", x, rows, h, "rmsnorm")
    y = add_source_attention(body, config, phase, source, y, encodes=encodes)
    x = add_sum(body, "cross_residual", x, y, rows, h)
    x = _add_mlp(body, config, x, rows)
    shared |= {ENCODED} if encodes else frozenset()
    return first, body.block(config.num_decoder_layers, {"hidden": x}, shared)


def _head(config: EncDecConfig, phase: Phase, dtypes: Dtypes, select: bool) -> Block:
    body = BlockBuilder("head", dtypes)
    m, h, vocabulary = phase.tokens, config.d_model, config.vocab_size
    x = add_norm(body, "final_norm", body.activation("hidden", m, h), m, h, "rmsnorm")
    if select:
        last = body.activation("last_positions", phase.batch, dtype="int32")
        x, m = body.gather("select", x, last, (phase.batch, h, m), label="select"), phase.batch
    tied = config.tie_word_embeddings
    weight = body.tensor(
        _TABLE if tied else "lm_head.weight", (vocabulary, h), dtypes.embedding_dtype, Role.WEIGHT
    )
    logits = body.activation("lm_head", m, vocabulary)
    dims = {"batch": 1, "m": m, "n": vocabulary, "k": h}
    body.operator("lm_head", "matmul", dims, (x, weight), (logits,), "lm_head", "n")
    return body.block(1, shared=frozenset({_TABLE}) if tied else frozenset())
