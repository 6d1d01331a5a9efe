"""The fields of an encoder-decoder, and how many parameters it has and leaves idle in decoding."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from accelsim.config import Count, Spec

__all__ = ["EncDecConfig", "idle_count", "parameter_count"]


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
    activation: Literal["relu", "gelu", "gelu_tanh", "silu"] = "relu"
    """Function between the MLP's matrices."""
    gated: bool = False
    """Three MLP matrices rather than two."""
    tie_word_embeddings: bool = True
    """The output head is the embedding table."""
    relative_attention_num_buckets: Count = 32
    """Rows of the tables of relative biases."""
    relative_bias_per_layer: bool = False
    """Each layer has its own table of relative biases (umT5), rather than one for the encoder and
    one for the decoder."""
    context_len: Count = 512
    """Source tokens, where a pass does not say."""

    @property
    def inner(self) -> int:
        """Width of all heads together."""
        return self.num_heads * self.d_kv


def _attention(config: EncDecConfig) -> int:
    return 4 * config.d_model * config.inner


def _mlp(config: EncDecConfig) -> int:
    return (3 if config.gated else 2) * config.d_model * config.d_ff


def _biases(config: EncDecConfig, layers: int) -> int:
    table = config.relative_attention_num_buckets * config.num_heads
    return table * (layers if config.relative_bias_per_layer else 1)


def _encoder(config: EncDecConfig) -> int:
    h, layers = config.d_model, config.num_layers
    return layers * (_attention(config) + _mlp(config) + 2 * h) + h + _biases(config, layers)


@lru_cache(maxsize=1024)
def parameter_count(config: EncDecConfig) -> int:
    """Return the number of parameters by a closed form; the tied tables count once."""
    h, layers = config.d_model, config.num_decoder_layers
    decoder = layers * (2 * _attention(config) + _mlp(config) + 3 * h) + h
    tables = config.vocab_size * h * (1 if config.tie_word_embeddings else 2)
    return _encoder(config) + decoder + _biases(config, layers) + tables


@lru_cache(maxsize=1024)
def idle_count(config: EncDecConfig) -> int:
    """Return the parameters that the decoder alone does not touch.

    They are those of the encoder, and of the projections that make keys and values of the source.
    """
    return _encoder(config) + config.num_decoder_layers * 2 * config.d_model * config.inner
