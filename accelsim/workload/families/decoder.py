"""Decoder-only transformers: GPT-2, OPT, Llama, Mistral, Mixtral, Qwen, gpt-oss and their kin.

Multi-head, grouped-query or multi-query attention, full or sliding; gated or plain MLPs; mixtures
of experts with shared experts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from accelsim.errors import ConfigError
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_norm
from accelsim.workload.families._decoder_config import (
    DecoderConfig,
    LayerKind,
    layer_kinds,
    layer_plan,
)
from accelsim.workload.families._decoder_count import (
    active_parameter_count,
    latent_shape,
    parameter_count,
)
from accelsim.workload.families._decoder_layer import add_layer
from accelsim.workload.families._routing import expected_experts
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Phase
from accelsim.workload.tensor import Role, packed_bytes

__all__ = [
    "PHASES",
    "Config",
    "DecoderConfig",
    "LayerKind",
    "active_parameter_count",
    "build",
    "expected_experts",
    "layer_kinds",
    "parameter_count",
]

Config: Final = DecoderConfig
PHASES: Final = ("decode", "prefill", "mixed", "forward")

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()
_TABLE: Final = "embed_tokens.weight"


@lru_cache(maxsize=512)
def build(
    config: DecoderConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "decoder",
) -> Workload:
    """Return one forward pass of a decoder as a workload.

    Parameters
    ----------
    config : DecoderConfig
        The model.
    phase : Phase
        New and past tokens of the sequences.
    dtypes : Dtypes
        Number formats by role.
    conventions : Conventions
        What is counted where implementations differ.
    name : str
        Name of the workload.

    Returns
    -------
    Workload
        Blocks ``embedding``, ``layers`` (one per repeated body) and ``head``.

    Examples
    --------
    >>> from accelsim.workload.phase import decode
    >>> config = DecoderConfig(
    ...     hidden_size=64,
    ...     num_hidden_layers=4,
    ...     num_attention_heads=4,
    ...     intermediate_size=128,
    ...     vocab_size=100,
    ...     activation="silu",
    ...     gated=True,
    ...     norm="rmsnorm",
    ... )
    >>> [(block.name, block.count) for block in build(config, decode(1, 15)).blocks]
    [('embedding', 1), ('layers', 4), ('head', 1)]
    """
    if phase.kind == "forward" and not config.bidirectional:
        raise ConfigError(f"`{name}` is causal; it runs decode, prefill and mixed", path="phase")
    learned = config.positions == "learned"
    select = conventions.logits == "last" and phase.tokens != phase.batch
    return Workload(
        name=name,
        blocks=(
            _embedding(config, phase, dtypes),
            *_layers(config, phase, dtypes, conventions.mla),
            _head(config, phase, dtypes, select),
        ),
        parameters=parameter_count(config),
        active_parameters=active_parameter_count(config),
        kv_bytes_per_token=_kv_bytes(config, dtypes, sliding=False),
        phase=str(phase),
        batch=phase.batch,
        tokens=phase.tokens,
        state_bytes_per_sequence=_kv_bytes(config, dtypes, sliding=True),
        inputs=("input_ids",) + ("position_ids",) * learned + ("last_positions",) * select,
        outputs=("lm_head",),
        conventions=_conventions(config, phase, conventions),
    )


def _conventions(config: DecoderConfig, phase: Phase, chosen: Conventions) -> dict[str, str]:
    """Return the choices that change the counts."""
    conventions: dict[str, str] = {
        "logits": chosen.logits,
        "attention": "full; masked MACs counted apart",
    }
    if config.num_local_experts:
        conventions["routing"] = str(config.routing)
        if config.expert_capacity_factor:
            conventions["capacity"] = f"{config.expert_capacity_factor:g}; tokens beyond dropped"
    if config.attention == "latent":
        absorbed = any(map(latent_shape(config, chosen.mla).absorbs, phase.groups))
        conventions["mla"] = "absorbed" if absorbed else "expanded"
    limit = config.max_position_embeddings
    if limit and phase.longest > limit:
        conventions["positions"] = f"{phase.longest} tokens, beyond the model's {limit}"
    return conventions


def _kv_bytes(config: DecoderConfig, dtypes: Dtypes, *, sliding: bool) -> int:
    """Return KV bytes per token over the full layers, or per sequence over full windows."""
    kinds = layer_kinds(config)
    if config.attention == "latent":
        each = latent_shape(config).cached
    else:
        each = 2 * config.kv_heads * config.head_width
    tokens = sum(not (kind.sliding or kind.chunked) for kind in kinds)
    if sliding:
        tokens = sum(kind.sliding for kind in kinds) * ((config.sliding_window or 1) - 1)
        tokens += sum(kind.chunked for kind in kinds) * ((config.attention_chunk_size or 1) - 1)
    return packed_bytes(tokens * each, dtypes.kv_cache)


def _embedding(config: DecoderConfig, phase: Phase, dtypes: Dtypes) -> Block:
    body = BlockBuilder("embedding", dtypes)
    tokens, h, rows = phase.tokens, config.hidden_size, config.vocab_size
    ids = body.activation("input_ids", tokens, dtype="int32")
    table = body.tensor(_TABLE, (rows, h), dtypes.embedding_dtype, Role.WEIGHT)
    learned = config.positions == "learned"
    x = body.gather(
        "embed_tokens" if learned else "hidden", table, ids, (tokens, h, rows),
        label="embedding", shard="table_rows",
    )  # fmt: skip
    if learned:
        rows = (config.max_position_embeddings or 0) + config.position_offset
        ids = body.activation("position_ids", tokens, dtype="int32")
        positions = body.tensor(
            "embed_positions.weight", (rows, h), dtypes.embedding_dtype, Role.WEIGHT
        )
        y = body.gather("embed_positions", positions, ids, (tokens, h, rows), label="embedding")
        x = body.elementwise("hidden", "add", (x, y), tokens, h, label="embedding")
    return body.block(1, {"hidden": x}, _shared(config))


def _layers(config: DecoderConfig, phase: Phase, dtypes: Dtypes, form: str) -> tuple[Block, ...]:
    plan = layer_plan(config)
    blocks = []
    for number, (kinds, count) in enumerate(plan):
        body = BlockBuilder("layers" if len(plan) == 1 else f"layers.{number}", dtypes)
        x = body.activation("hidden", phase.tokens, config.hidden_size)
        for place, kind in enumerate(kinds):
            body.prefix = "" if len(kinds) == 1 else f"{place}."
            x = add_layer(body, config, kind, phase, x, form)
        blocks.append(body.block(count, {"hidden": x}))
    return tuple(blocks)


def _head(config: DecoderConfig, phase: Phase, dtypes: Dtypes, select: bool) -> Block:
    body = BlockBuilder("head", dtypes)
    tokens, h, rows = phase.tokens, config.hidden_size, config.vocab_size
    x = body.activation("hidden", tokens, h)
    x = add_norm(body, "final_norm", x, tokens, h, config.norm)
    m = tokens
    if select:
        m = phase.batch
        last = body.activation("last_positions", m, dtype="int32")
        x = body.gather("select", x, last, (m, h, tokens), label="select")
    tied = config.tie_word_embeddings
    weight = body.tensor(
        _TABLE if tied else "lm_head.weight", (rows, h), dtypes.embedding_dtype, Role.WEIGHT
    )
    logits = body.activation("lm_head", m, rows)
    dims = {"batch": 1, "m": m, "n": rows, "k": h}
    inputs: tuple[str, ...] = (x, weight)
    if config.lm_head_bias:
        inputs += (body.vector("lm_head.bias", rows),)
    body.operator("lm_head", "matmul", dims, inputs, (logits,), "lm_head", "n")
    return body.block(1, shared=_shared(config))


def _shared(config: DecoderConfig) -> frozenset[str]:
    """Return the tensors that embedding and head have in common."""
    return frozenset({_TABLE}) if config.tie_word_embeddings else frozenset()
