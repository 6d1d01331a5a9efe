"""Encoders without a cache: BERT, RoBERTa, XLM, CLIP's and T5's text encoders, Transformer-XL.

Norms before or after each part, learned, relative or recurrent positions, an optional head.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_mlp, add_norm
from accelsim.workload.families._dense import Dense, add_self_attention, add_sum
from accelsim.workload.families._encoder_config import EncoderConfig, parameter_count
from accelsim.workload.families._encoder_head import TABLE, end, outputs, selected, tied
from accelsim.workload.families._encoder_recurrent import add_recurrent_attention
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

Config: Final = EncoderConfig
PHASES: Final = ("forward",)

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()
_BIAS: Final = "position_bias"

active_parameter_count = parameter_count


@lru_cache(maxsize=512)
def build(
    config: EncoderConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "encoder",
) -> Workload:
    """Return one pass of an encoder as a workload.

    Parameters
    ----------
    config : EncoderConfig
        The model.
    phase : Phase
        A ``forward`` of sequences of equal length; its ``context_len`` is the memory of a
        Transformer-XL.
    dtypes : Dtypes
        Number formats by role.
    conventions : Conventions
        ``logits`` concerns heads that predict words: ``last`` is one position per sequence.
    name : str
        Name of the workload.

    Returns
    -------
    Workload
        Blocks ``embedding``, ``layers``, and ``head`` where there is a final norm or a head.

    Examples
    --------
    >>> from accelsim.workload.phase import forward
    >>> config = EncoderConfig(
    ...     hidden_size=64,
    ...     num_hidden_layers=4,
    ...     num_attention_heads=4,
    ...     intermediate_size=128,
    ...     vocab_size=100,
    ...     max_position_embeddings=32,
    ...     activation="gelu",
    ...     norm_first=False,
    ... )
    >>> [(block.name, block.count) for block in build(config, forward(1, 16)).blocks]
    [('embedding', 1), ('layers', 4)]
    """
    memory = _memory(config, phase)
    state = packed_bytes(
        config.num_hidden_layers * memory * config.hidden_size, dtypes.activation
    )  # fmt: skip
    return Workload(
        name=name,
        blocks=(
            _embedding(config, phase, dtypes),
            _layers(config, phase, dtypes),
            *end(config, phase, dtypes, conventions),
        ),
        parameters=parameter_count(config),
        active_parameters=parameter_count(config),
        kv_bytes_per_token=0,
        phase=str(phase),
        batch=phase.batch,
        tokens=phase.tokens,
        state_bytes_per_sequence=state,
        inputs=_inputs(config, selected(config, phase, conventions)),
        outputs=outputs(config),
        conventions=_conventions(config, phase, conventions),
    )


def _memory(config: EncoderConfig, phase: Phase) -> int:
    """Return the tokens of earlier segments that one attends to."""
    if config.positions != "recurrent":
        return 0
    return config.memory_len if phase.context_len is None else phase.context_len


def _inputs(config: EncoderConfig, chosen: str) -> tuple[str, ...]:
    names = ["input_ids"]
    names += ["position_ids"] * (config.positions == "learned")
    names += ["token_types"] * (config.type_vocab_size > 0)
    names += ["distances"] * (config.positions == "relative")
    names += ["distance_embedding"] * (config.positions == "recurrent")
    return (*names, chosen) if chosen else tuple(names)


def _conventions(config: EncoderConfig, phase: Phase, chosen: Conventions) -> dict[str, str]:
    """Return the choices that change the counts."""
    masks = "full; masked MACs counted apart" if config.causal else "bidirectional"
    conventions: dict[str, str] = {"attention": masks}
    if config.predicts or config.head == "adaptive":
        conventions["logits"] = chosen.logits
    if config.head == "adaptive":
        conventions["vocabulary"] = "every input word of the first cluster; logits of all clusters"
    if config.positions == "recurrent":
        memory = _memory(config, phase)
        conventions["memory"] = f"{memory} tokens; keys and values made anew, queries of new ones"
    limit = config.max_position_embeddings
    if limit and phase.longest > limit:
        conventions["positions"] = f"{phase.longest} tokens, beyond the model's {limit}"
    return conventions


def _embedding(config: EncoderConfig, phase: Phase, dtypes: Dtypes) -> Block:
    body = BlockBuilder("embedding", dtypes)
    tokens, h, shared = phase.tokens, config.hidden_size, tied(config)
    if config.cutoffs:
        # Words are sorted by frequency: the first cluster stands for all of them.
        words = config.cutoffs[0]
        x = _add_lookup(body, "embed_words", f"{TABLE}.0", "input_ids", (tokens, h, words))
        x = body.linear("embed_projection.0", x, tokens, h, h)
        x = body.elementwise("embed_scale", "scale", (x,), tokens, h, label="embedding")
    else:
        size = (tokens, h, config.vocab_size)
        x = _add_lookup(body, "embed_tokens", TABLE, "input_ids", size)
    for name, rows, ids in _added(config):
        y = _add_lookup(body, name, f"{name}.weight", ids, (tokens, h, rows))
        x = body.elementwise(f"{name}_sum", "add", (x, y), tokens, h, label="embedding")
    if config.embedding_norm:
        x = add_norm(body, "embedding_norm", x, tokens, h, config.norm)
    if config.positions == "relative" and not config.relative_bias_per_layer:
        shared |= {_add_bias(body, config, phase.groups[0].q_len)}
    return body.block(1, {"hidden": x}, shared)


def _added(config: EncoderConfig) -> tuple[tuple[str, int, str], ...]:
    """Return name, rows and indices of the tables that are added to the words."""
    found: tuple[tuple[str, int, str], ...] = ()
    if config.positions == "learned":
        rows = (config.max_position_embeddings or 0) + config.position_offset
        found += (("embed_positions", rows, "position_ids"),)
    if config.type_vocab_size:
        found += (("embed_types", config.type_vocab_size, "token_types"),)
    return found


def _add_lookup(
    body: BlockBuilder, name: str, table: str, ids: str, size: tuple[int, int, int]
) -> str:
    """Add a look-up in a table of weights; `size` is rows taken, columns, rows of the table."""
    rows, columns, table_rows = size
    dtype = body.dtypes.embedding_dtype
    weight = body.tensor(table, (table_rows, columns), dtype, Role.WEIGHT)
    indices = body.activation(ids, rows, dtype="int32")
    return body.gather(name, weight, indices, size, label="embedding")


def _add_bias(body: BlockBuilder, config: EncoderConfig, length: int) -> str:
    """Add the look-up of a bias for each head and pair; return its name."""
    heads, rows = config.num_attention_heads, config.relative_attention_num_buckets
    ids = body.activation("distances", length * length, dtype="int32")
    table = body.tensor(f"{_BIAS}.weight", (rows, heads), body.dtypes.activation, Role.WEIGHT)
    size = (length * length, heads, rows)
    return body.gather(_BIAS, table, ids, size, label="embedding")


def _layers(config: EncoderConfig, phase: Phase, dtypes: Dtypes) -> Block:
    body = BlockBuilder("layers", dtypes)
    tokens, h, first = phase.tokens, config.hidden_size, config.norm_first
    x = body.activation("hidden", tokens, h)
    y = add_norm(body, "attention_norm", x, tokens, h, config.norm) if first else x
    o = _add_attention(body, config, phase, y)
    x = add_sum(body, "attention_residual", x, o, tokens, h)
    if not first:
        x = add_norm(body, "attention_norm", x, tokens, h, config.norm)
    y = add_norm(body, "mlp_norm", x, tokens, h, config.norm) if first else x
    y = add_mlp(
        body, y, tokens, h, config.intermediate_size,
        activation=config.activation, gated=config.gated, bias=config.mlp_bias,
    )  # fmt: skip
    x = add_sum(body, "mlp_residual", x, y, tokens, h)
    if not first:
        x = add_norm(body, "mlp_norm", x, tokens, h, config.norm)
    once = config.positions == "relative" and not config.relative_bias_per_layer
    shared = frozenset({_BIAS}) if once else frozenset[str]()
    return body.block(config.num_hidden_layers, {"hidden": x}, shared)


def _add_attention(body: BlockBuilder, config: EncoderConfig, phase: Phase, x: str) -> str:
    batch, length = phase.groups[0].count, phase.groups[0].q_len
    if config.positions == "recurrent":
        lengths = (length, _memory(config, phase))
        return add_recurrent_attention(body, config, batch, lengths, x)
    shape = Dense(
        config.hidden_size, config.num_attention_heads, config.head_width,
        qkv_bias=config.attention_bias, output_bias=config.attention_bias,
        attributes={"causal": True} if config.causal else {},
    )  # fmt: skip
    bias = ""
    if config.positions == "relative":
        bias = (
            _add_bias(body, config, length)
            if config.relative_bias_per_layer
            else body.activation(_BIAS, length * length, config.num_attention_heads)
        )
    return add_self_attention(body, x, batch, length, shape, bias=bias)
