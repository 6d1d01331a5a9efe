"""Hybrids of attention and state-space layers: Jamba, Zamba2, Bamba and their kin.

Layers follow a pattern; attention may also be a block shared by several layers that reads the
stream beside the embedding, as in Zamba2.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal, NamedTuple

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec, Whole
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import (
    Attention,
    Experts,
    add_cached_attention,
    add_experts,
    add_mlp,
    add_norm,
)
from accelsim.workload.families._language import TABLE, add_embedding, add_head, end_inputs
from accelsim.workload.families._scan_layer import Mamba, Mamba2, add_mamba, add_mamba2
from accelsim.workload.families._shared_attention import (
    EMBEDDED,
    SharedAttention,
    add_shared_attention,
    shared_names,
)
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Phase
from accelsim.workload.repeat import repeats
from accelsim.workload.tensor import packed_bytes

__all__ = [
    "PHASES",
    "Config",
    "HybridConfig",
    "active_parameter_count",
    "build",
    "parameter_count",
]

PHASES: Final = ("decode", "prefill", "mixed")

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()


class LayerKind(NamedTuple):
    """What distinguishes one layer from another."""

    mixer: str
    moe: bool
    shared: int = -1
    """Number of the shared attention block before the mixer; -1 for none."""


class HybridConfig(Spec):
    """A language model whose layers attend or scan."""

    hidden_size: Count
    """Width of the residual stream."""
    num_hidden_layers: Count
    """Number of layers."""
    vocab_size: Count
    """Rows of the embedding table."""
    tie_word_embeddings: bool = False
    """The output head is the embedding table."""
    layer_types: tuple[Literal["attention", "mamba", "mamba2"], ...]
    """Mixer of each layer, or a pattern that repeats."""
    intermediate_size: Count
    """Width of the MLP."""
    mlp_every_layer: bool = True
    """An MLP follows every mixer; in Zamba2 only the shared block has one."""
    activation: Literal["silu", "gelu", "gelu_tanh"] = "silu"
    """Function of the gated MLPs."""

    num_attention_heads: Count
    """Query heads."""
    num_key_value_heads: Count | None = None
    """KV heads; as many as query heads where absent."""
    head_dim: Count | None = None
    """Width of a head; hidden_size / num_attention_heads where absent."""
    rotary: bool = False
    """Rotation of query and key."""

    state_size: Count = 16
    """States per channel or head."""
    conv_kernel: Count = 4
    """Taps of the causal convolution."""
    expand: Count = 2
    """Width of the mixer over hidden_size."""
    time_step_rank: Count | None = None
    """Rank of Mamba's step size; hidden_size / 16 rounded up where absent."""
    scan_heads: Count | None = None
    """Heads of Mamba-2."""
    scan_groups: Count = 1
    """Groups of heads of Mamba-2 that share B and C."""
    chunk_size: Count = 256
    """Tokens of a chunk of the scan."""

    num_local_experts: Whole = 0
    """Routed experts of a mixture-of-experts layer; 0 for none."""
    num_experts_per_tok: Whole = 0
    """Routed experts that a token uses."""
    expert_layer_period: Count = 2
    """Every how many layers there is a mixture of experts."""
    expert_layer_offset: Whole = 1
    """First layer with one."""

    shared_attention_layers: tuple[Whole, ...] = ()
    """Layers before whose mixer a shared attention block runs."""
    shared_blocks: Count = 1
    """Shared attention blocks, used in turn."""
    adapter_rank: Whole = 0
    """Rank of each such layer's own adapter of the shared MLP."""

    @property
    def kv_heads(self) -> int:
        """KV heads."""
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def head_width(self) -> int:
        """Width of a head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @model_validator(mode="after")
    def _consistent(self) -> HybridConfig:
        inner, problem = self.expand * self.hidden_size, ""
        if self.num_hidden_layers % len(self.layer_types or (0,)):
            problem = (
                f"layer_types has {len(self.layer_types)} entries, which do not divide"
                f" num_hidden_layers {self.num_hidden_layers}"
            )
        elif "mamba2" in self.layer_types and inner % (self.scan_heads or inner + 1):
            problem = f"scan_heads {self.scan_heads} do not divide the mixer's width {inner}"
        elif any(layer >= self.num_hidden_layers for layer in self.shared_attention_layers):
            problem = f"shared_attention_layers go beyond layer {self.num_hidden_layers - 1}"
        elif self.num_local_experts and not self.num_experts_per_tok:
            problem = "num_local_experts needs num_experts_per_tok"
        if problem:
            raise PydanticCustomError("model", "{problem}", {"problem": problem})
        return self

    def mamba(self) -> Mamba:
        """Return the sizes of a Mamba mixer; its step size, B and C have norms (Jamba)."""
        rank = self.time_step_rank or -(-self.hidden_size // 16)
        inner = self.expand * self.hidden_size
        return Mamba(self.hidden_size, inner, self.state_size, self.conv_kernel, rank,
                     norms="weighted")  # fmt: skip

    def mamba2(self) -> Mamba2:
        """Return the sizes of a Mamba-2 mixer."""
        heads = self.scan_heads or 1
        width = self.expand * self.hidden_size // heads
        return Mamba2(self.hidden_size, heads, width, self.state_size, self.scan_groups,
                      self.conv_kernel, self.chunk_size)  # fmt: skip

    def attends(self) -> Attention:
        """Return the sizes of an attention layer."""
        return Attention(self.hidden_size, self.num_attention_heads, self.kv_heads,
                         self.head_width, rotary=self.rotary)  # fmt: skip

    def experts(self) -> Experts:
        """Return the sizes of a mixture of experts."""
        return Experts(self.num_local_experts, self.num_experts_per_tok, self.intermediate_size)

    def shares(self) -> SharedAttention:
        """Return the sizes of the shared attention block."""
        return SharedAttention(
            self.hidden_size, self.num_attention_heads, self.kv_heads, self.head_width,
            self.intermediate_size, self.adapter_rank, self.activation, self.rotary,
        )  # fmt: skip


Config: Final = HybridConfig


@lru_cache(maxsize=1024)
def layer_kinds(config: HybridConfig) -> tuple[LayerKind, ...]:
    """Return the kind of each layer in order."""
    types, kinds = config.layer_types, []
    for layer in range(config.num_hidden_layers):
        moe = (
            config.num_local_experts > 0
            and layer % config.expert_layer_period == config.expert_layer_offset
        )
        shared = -1
        if layer in config.shared_attention_layers:
            shared = config.shared_attention_layers.index(layer) % config.shared_blocks
        kinds.append(LayerKind(types[layer % len(types)], moe, shared))
    return tuple(kinds)


@lru_cache(maxsize=512)
def build(
    config: HybridConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "hybrid",
) -> Workload:
    """Return one pass of the model; parameters as for every family."""
    vocabulary, h, tied = config.vocab_size, config.hidden_size, config.tie_word_embeddings
    kinds = layer_kinds(config)
    attending = sum(kind.mixer == "attention" for kind in kinds)
    attending += len(config.shared_attention_layers)
    shared = {TABLE} if tied else set()
    embedded = "hidden"
    if config.shared_attention_layers:
        shared.add(EMBEDDED)
        embedded = EMBEDDED
    return Workload(
        name=name,
        blocks=(
            add_embedding(phase, dtypes, vocabulary, h, frozenset(shared), embedded),
            *_layers(config, phase, dtypes, conventions),
            add_head(phase, dtypes, conventions, vocabulary, h, norm="rmsnorm", tied=tied),
        ),
        parameters=parameter_count(config),
        active_parameters=active_parameter_count(config),
        kv_bytes_per_token=packed_bytes(
            attending * 2 * config.kv_heads * config.head_width, dtypes.kv_cache
        ),
        phase=str(phase),
        batch=phase.batch,
        tokens=phase.tokens,
        state_bytes_per_sequence=sum(_state_bytes(config, kind, dtypes) for kind in kinds),
        inputs=end_inputs(phase, conventions),
        outputs=("lm_head",),
        conventions={
            "logits": conventions.logits,
            "ssd": conventions.ssd if "mamba2" in config.layer_types else "-",
            "causal_conv": conventions.causal_conv,
        },
    )


def _state_bytes(config: HybridConfig, kind: LayerKind, dtypes: Dtypes) -> int:
    if kind.mixer == "attention":
        return 0
    shape = config.mamba() if kind.mixer == "mamba" else config.mamba2()
    return shape.state_bytes(dtypes.state, dtypes.activation)


def _layers(
    config: HybridConfig, phase: Phase, dtypes: Dtypes, conventions: Conventions
) -> tuple[Block, ...]:
    plan = repeats(layer_kinds(config))
    blocks = []
    for number, (kinds, count) in enumerate(plan):
        body = BlockBuilder("layers" if len(plan) == 1 else f"layers.{number}", dtypes)
        x = body.activation("hidden", phase.tokens, config.hidden_size)
        shared: set[str] = set()
        for place, kind in enumerate(kinds):
            body.prefix = "" if len(kinds) == 1 else f"{place}."
            x = _add_layer(body, config, kind, phase, x, conventions)
            if kind.shared >= 0:
                shared |= shared_names(kind.shared)
        blocks.append(body.block(count, {"hidden": x}, frozenset(shared)))
    return tuple(blocks)


def _add_layer(
    body: BlockBuilder, config: HybridConfig, kind: LayerKind, phase: Phase, x: str,
    conventions: Conventions,
) -> str:  # fmt: skip
    tokens, h = phase.tokens, config.hidden_size
    y = x
    if kind.shared >= 0:
        y = add_shared_attention(body, x, phase, config.shares(), kind.shared)
    y = add_norm(body, "input_norm", y, tokens, h, "rmsnorm")
    if kind.mixer == "mamba":
        y = add_mamba(body, y, phase, config.mamba(), conventions)
    elif kind.mixer == "mamba2":
        y = add_mamba2(body, y, phase, config.mamba2(), conventions)
    else:
        y = add_cached_attention(body, y, phase, config.attends())
    x = body.elementwise("mixer_residual", "add", (x, y), tokens, h, label="residual")
    if not config.mlp_every_layer:
        return x
    y = add_norm(body, "mlp_norm", x, tokens, h, "rmsnorm")
    act, width = config.activation, config.intermediate_size
    if kind.moe:
        y = add_experts(body, y, tokens, h, config.experts(), activation=act, gated=True)
    else:
        y = add_mlp(body, y, tokens, h, width, activation=act, gated=True, bias=False)
    return body.elementwise("mlp_residual", "add", (x, y), tokens, h, label="residual")


def _layer(config: HybridConfig, kind: LayerKind) -> int:
    h = config.hidden_size
    if kind.mixer == "attention":
        query, keys = (
            n * config.head_width for n in (config.num_attention_heads, config.kv_heads)
        )
        total = 2 * h * (query + keys)
    else:
        total = (config.mamba() if kind.mixer == "mamba" else config.mamba2()).parameters
    total += h
    if config.mlp_every_layer:
        mlp = 3 * h * config.intermediate_size
        total += h + (config.num_local_experts * (mlp + h) if kind.moe else mlp)
    return total + (config.shares().own_parameters if kind.shared >= 0 else 0)


@lru_cache(maxsize=1024)
def parameter_count(config: HybridConfig) -> int:
    """Return the number of parameters by a closed form; shared blocks count once."""
    h = config.hidden_size
    total = config.vocab_size * h * (1 if config.tie_word_embeddings else 2) + h
    if config.shared_attention_layers:
        total += config.shared_blocks * config.shares().shared_parameters
    return total + sum(_layer(config, kind) for kind in layer_kinds(config))


@lru_cache(maxsize=1024)
def active_parameter_count(config: HybridConfig) -> int:
    """Return the parameters that one token uses."""
    idle = config.num_local_experts - config.num_experts_per_tok
    layers = sum(kind.moe for kind in layer_kinds(config))
    expert = 3 * config.hidden_size * config.intermediate_size
    return parameter_count(config) - layers * idle * expert
