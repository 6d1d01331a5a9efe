"""Attention-free language models: Mamba, Falcon Mamba, Mamba-2 and gated linear attention."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec, Whole
from accelsim.workload.build import BlockBuilder
from accelsim.workload.conventions import Conventions
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.families._blocks import add_mlp, add_norm
from accelsim.workload.families._language import TABLE, add_embedding, add_head, end_inputs
from accelsim.workload.families._scan_layer import (
    Gla,
    Mamba,
    Mamba2,
    add_gla,
    add_mamba,
    add_mamba2,
)
from accelsim.workload.graph import Block, Workload
from accelsim.workload.phase import Phase

__all__ = [
    "PHASES",
    "Config",
    "StateSpaceConfig",
    "active_parameter_count",
    "build",
    "parameter_count",
]

PHASES: Final = ("decode", "prefill", "mixed")

_BF16: Final = Dtypes()
_DEFAULT: Final = Conventions()


class StateSpaceConfig(Spec):
    """A language model of one kind of scanning layers."""

    mixer: Literal["mamba", "mamba2", "gla"]
    """Selective state space, state-space duality, or gated linear attention."""
    hidden_size: Count
    """Width of the residual stream."""
    num_hidden_layers: Count
    """Number of layers."""
    vocab_size: Count
    """Rows of the embedding table."""
    tie_word_embeddings: bool = True
    """The output head is the embedding table."""
    norm: Literal["layernorm", "rmsnorm"] = "rmsnorm"
    """Kind of norm."""
    intermediate_size: Count | None = None
    """Width of the mixer; of `gla` that of the MLP, and needed there."""
    state_size: Count = 16
    """States per channel (Mamba) or per head (Mamba-2)."""
    conv_kernel: Count = 4
    """Taps of the causal convolution."""
    time_step_rank: Count | None = None
    """Rank of Mamba's step size; hidden_size / 16 rounded up where absent."""
    use_bias: bool = False
    """Biases on the mixer's projections."""
    use_conv_bias: bool = True
    """Bias on the convolution."""
    plain_norms: bool = False
    """Norms without weights of step size, B and C (Falcon Mamba)."""
    num_heads: Count | None = None
    """Heads of Mamba-2 or of linear attention."""
    head_dim: Count = 64
    """Width of a head of Mamba-2."""
    n_groups: Count = 1
    """Groups of heads that share B and C."""
    chunk_size: Count = 256
    """Tokens of a chunk of the scan."""
    expand_k: float = 0.5
    """Width of all keys of linear attention, over hidden_size."""
    expand_v: float = 1.0
    """Width of all values of linear attention, over hidden_size."""
    gate_low_rank_dim: Whole = 16
    """Rank of linear attention's forget gate."""

    @property
    def inner(self) -> int:
        """Width of the mixer."""
        return self.intermediate_size or 2 * self.hidden_size

    @model_validator(mode="after")
    def _consistent(self) -> StateSpaceConfig:
        problem = ""
        if self.mixer != "mamba" and self.num_heads is None:
            problem = f"a {self.mixer} mixer needs num_heads"
        elif self.mixer == "mamba2" and (self.num_heads or 0) * self.head_dim != self.inner:
            problem = (
                f"num_heads {self.num_heads} x head_dim {self.head_dim} is not the mixer's width"
                f" {self.inner}"
            )
        elif self.mixer == "gla" and self.intermediate_size is None:
            problem = "gla needs intermediate_size"
        if problem:
            raise PydanticCustomError("model", "{problem}", {"problem": problem})
        return self

    def shape(self) -> Mamba | Mamba2 | Gla:
        """Return the sizes of the mixer."""
        h, heads = self.hidden_size, self.num_heads or 1
        if self.mixer == "mamba":
            rank = self.time_step_rank or -(-h // 16)
            norms = "plain" if self.plain_norms else ""
            return Mamba(h, self.inner, self.state_size, self.conv_kernel, rank, self.use_bias,
                         self.use_conv_bias, norms)  # fmt: skip
        if self.mixer == "mamba2":
            return Mamba2(h, heads, self.head_dim, self.state_size, self.n_groups,
                          self.conv_kernel, self.chunk_size, self.use_bias,
                          self.use_conv_bias)  # fmt: skip
        key, value = int(self.expand_k * h), int(self.expand_v * h)
        return Gla(h, heads, key, value, self.gate_low_rank_dim, self.chunk_size)


Config: Final = StateSpaceConfig


@lru_cache(maxsize=512)
def build(
    config: StateSpaceConfig,
    phase: Phase,
    *,
    dtypes: Dtypes = _BF16,
    conventions: Conventions = _DEFAULT,
    name: str = "state_space",
) -> Workload:
    """Return one pass of the model; parameters as for every family."""
    vocabulary, h = config.vocab_size, config.hidden_size
    tied = config.tie_word_embeddings
    shared = frozenset({TABLE}) if tied else frozenset[str]()
    state = config.shape().state_bytes(dtypes.state, dtypes.activation)
    return Workload(
        name=name,
        blocks=(
            add_embedding(phase, dtypes, vocabulary, h, shared),
            _layers(config, phase, dtypes, conventions),
            add_head(phase, dtypes, conventions, vocabulary, h, norm=config.norm, tied=tied),
        ),
        parameters=parameter_count(config),
        active_parameters=parameter_count(config),
        kv_bytes_per_token=0,
        phase=str(phase),
        batch=phase.batch,
        tokens=phase.tokens,
        state_bytes_per_sequence=config.num_hidden_layers * state,
        inputs=end_inputs(phase, conventions),
        outputs=("lm_head",),
        conventions={
            "logits": conventions.logits,
            "ssd": conventions.ssd if config.mixer == "mamba2" else "-",
            "causal_conv": conventions.causal_conv,
        },
    )


def _layers(
    config: StateSpaceConfig, phase: Phase, dtypes: Dtypes, conventions: Conventions
) -> Block:
    body = BlockBuilder("layers", dtypes)
    tokens, h = phase.tokens, config.hidden_size
    x = body.activation("hidden", tokens, h)
    y = add_norm(body, "input_norm", x, tokens, h, config.norm)
    shape = config.shape()
    if isinstance(shape, Mamba):
        y = add_mamba(body, y, phase, shape, conventions)
    elif isinstance(shape, Mamba2):
        y = add_mamba2(body, y, phase, shape, conventions)
    else:
        y = add_gla(body, y, phase, shape, conventions)
    x = body.elementwise("mixer_residual", "add", (x, y), tokens, h, label="residual")
    if config.mixer == "gla":
        y = add_norm(body, "mlp_norm", x, tokens, h, config.norm)
        y = add_mlp(body, y, tokens, h, config.inner, activation="silu", gated=True, bias=False)
        x = body.elementwise("mlp_residual", "add", (x, y), tokens, h, label="residual")
    return body.block(config.num_hidden_layers, {"hidden": x})


@lru_cache(maxsize=1024)
def parameter_count(config: StateSpaceConfig) -> int:
    """Return the number of parameters by a closed form; a tied head counts once."""
    h = config.hidden_size
    norm = h * (2 if config.norm == "layernorm" else 1)
    layer = config.shape().parameters + norm
    if config.mixer == "gla":
        layer += norm + 3 * h * config.inner
    tables = config.vocab_size * h * (1 if config.tie_word_embeddings else 2)
    return tables + norm + config.num_hidden_layers * layer


active_parameter_count = parameter_count
