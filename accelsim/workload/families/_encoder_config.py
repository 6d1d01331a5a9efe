"""The fields of a transformer that reads a text in one pass, and how many parameters it has.

Field names are those of Hugging Face configurations wherever one exists.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Spec, Whole

__all__ = ["Cluster", "EncoderConfig", "clusters", "parameter_count"]


class Cluster(NamedTuple):
    """Words of an adaptive embedding that share a width."""

    words: int
    width: int


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
    """Longest text the model was made for; rows of the table of learned positions."""
    position_offset: Whole = 0
    """Rows of the position table before position 0 (2 in RoBERTa)."""
    type_vocab_size: Whole = 0
    """Rows of the table of token types, or of languages."""
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
    """Tokens of the segments before that are attended to, in Transformer-XL; ``context_len`` of a
    pass stands above it."""
    same_length: bool = False
    """Every token sees as many as the memory holds, rather than also all before it."""
    cutoffs: tuple[Count, ...] = ()
    """Where clusters of an adaptive embedding begin, words being sorted by frequency."""
    div_val: Count = 1
    """The width of a cluster's embedding is that of the one before divided by this."""
    head: Literal["none", "mlm", "lm", "adaptive", "projection", "pooler"] = "none"
    """BERT's prediction of masked tokens, a plain output head, an adaptive softmax, a projection
    of one token, or BERT's dense layer on the first token."""
    head_bias: bool = True
    """Bias on the output head."""
    tie_word_embeddings: bool = True
    """The output head is the embedding table."""
    projection_dim: Count | None = None
    """Width of the projection."""

    @property
    def head_width(self) -> int:
        """Width of a head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def predicts(self) -> bool:
        """Whether there is one product with the whole vocabulary at the end."""
        return self.head in ("mlm", "lm")

    @model_validator(mode="after")
    def _consistent(self) -> EncoderConfig:
        for problem in (*_attention_problems(self), *_head_problems(self)):
            raise PydanticCustomError("model", "{problem}", {"problem": problem})
        return self


def _attention_problems(config: EncoderConfig) -> list[str]:
    problems, recurrent = [], config.positions == "recurrent"
    if config.head_dim is None and config.hidden_size % config.num_attention_heads:
        problems.append(
            f"hidden_size {config.hidden_size} does not divide over num_attention_heads"
            f" {config.num_attention_heads}; give head_dim if heads are of another width"
        )
    if config.positions == "learned" and config.max_position_embeddings is None:
        problems.append("learned positions need max_position_embeddings")
    if (config.memory_len or config.same_length) and not recurrent:
        problems.append("memory_len and same_length need recurrent positions")
    if config.same_length and not (config.causal and config.memory_len):
        problems.append("same_length needs causal and memory_len")
    if recurrent and (config.norm_first or config.attention_bias):
        problems.append("recurrent positions need norm_first false and attention_bias false")
    return problems


def _head_problems(config: EncoderConfig) -> list[str]:
    problems, adaptive = [], config.head == "adaptive"
    if (config.head == "projection") != (config.projection_dim is not None):
        problems.append("head `projection` and projection_dim go together")
    if adaptive != bool(config.cutoffs):
        problems.append("head `adaptive` and cutoffs go together")
    bounds = (0, *config.cutoffs, config.vocab_size)
    if any(first >= last for first, last in pairwise(bounds)):
        problems.append(f"cutoffs {list(config.cutoffs)} do not rise up to vocab_size")
    elif adaptive and min(cluster.width for cluster in clusters(config)) < 1:
        problems.append(f"div_val {config.div_val} leaves the last cluster no width")
    if not config.tie_word_embeddings and not config.predicts:
        problems.append("tie_word_embeddings false needs head `mlm` or `lm`")
    return problems


def clusters(config: EncoderConfig) -> tuple[Cluster, ...]:
    """Return words and width of each cluster of an adaptive embedding.

    Examples
    --------
    >>> dims = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> dims |= dict(intermediate_size=16, vocab_size=100, activation="relu", norm_first=False)
    >>> clusters(EncoderConfig(**dims, positions="none", head="adaptive", cutoffs=[20], div_val=4))
    (Cluster(words=20, width=8), Cluster(words=80, width=2))
    """
    bounds = (0, *config.cutoffs, config.vocab_size)
    return tuple(
        Cluster(last - first, config.hidden_size // config.div_val**number)
        for number, (first, last) in enumerate(pairwise(bounds))
    )


def _norm(config: EncoderConfig) -> int:
    return config.hidden_size * (2 if config.norm == "layernorm" else 1)


def _layer(config: EncoderConfig) -> int:
    h, inner = config.hidden_size, config.num_attention_heads * config.head_width
    matrices, width = (3 if config.gated else 2), config.intermediate_size
    total = 4 * h * inner + matrices * h * width + 2 * _norm(config)
    total += (3 * inner + h) * config.attention_bias
    total += ((matrices - 1) * width + h) * config.mlp_bias
    if config.positions == "recurrent":
        total += h * inner + 2 * inner  # projection of distances; biases of both score products
    if config.positions == "relative" and config.relative_bias_per_layer:
        total += config.relative_attention_num_buckets * config.num_attention_heads
    return total


def _embedding(config: EncoderConfig) -> int:
    h, total = config.hidden_size, config.type_vocab_size * config.hidden_size
    if config.cutoffs:
        total += sum(cluster.width * (cluster.words + h) for cluster in clusters(config))
    else:
        total += config.vocab_size * h
    if config.positions == "learned":
        total += ((config.max_position_embeddings or 0) + config.position_offset) * h
    if config.positions == "relative" and not config.relative_bias_per_layer:
        total += config.relative_attention_num_buckets * config.num_attention_heads
    return total + _norm(config) * config.embedding_norm


def _head(config: EncoderConfig) -> int:
    h, total = config.hidden_size, 0
    if config.head == "mlm":
        total += h * h + h + _norm(config)
    if config.predicts:
        total += config.vocab_size * config.head_bias
        total += config.vocab_size * h * (not config.tie_word_embeddings)
    if config.head == "adaptive":
        # The first projection is its own; cluster vectors and biases; one bias per word.
        total += h * h + len(config.cutoffs) * (h + 1) + config.vocab_size
    if config.head == "pooler":
        total += h * h + h
    return total + h * (config.projection_dim or 0)


@lru_cache(maxsize=1024)
def parameter_count(config: EncoderConfig) -> int:
    """Return the number of parameters by a closed form; what is tied counts once."""
    layers = config.num_hidden_layers * _layer(config)
    return _embedding(config) + layers + _norm(config) * config.final_norm + _head(config)
