"""What T5 and its kin say in their configurations, as fields of an encoder-decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from accelsim.errors import nearest
from accelsim.workload.importers._hf_fields import Fields

__all__ = ["HARMLESS", "MODEL_TYPES"]

_HARMLESS: Final = """
    classifier_dropout decoder_start_token_id dense_act_fn dropout_rate initializer_factor
    is_gated_act output_past relative_attention_max_distance scalable_attention
"""
HARMLESS: Final = frozenset(_HARMLESS.split())
"""Fields without influence on shapes."""

_FUNCTIONS: Final[Mapping[str, tuple[str, bool]]] = {
    "relu": ("relu", False),
    "gelu": ("gelu", False),
    "gelu_new": ("gelu_tanh", False),
    "gated-gelu": ("gelu_tanh", True),  # gelu_new, says configuration_t5.py
    "gated-silu": ("silu", True),
}
"""``feed_forward_proj`` -> function of the MLP, and whether it gates."""


def _t5_like(
    prefix: str, *, tied: bool, function: str, per_layer: bool = False
) -> Callable[[Fields], dict[str, Any]]:
    """Return the reader of a type.

    Parameters
    ----------
    prefix : str
        Of the names of its classes.
    tied : bool
        Whether the output head is the embedding table in files that do not say.
    function : str
        Default of ``feed_forward_proj``.
    per_layer : bool
        Whether each layer has its own table of relative biases.
    """

    def read(fields: Fields) -> dict[str, Any]:
        whole = f"{prefix}ForConditionalGeneration"
        architecture = (fields.get("architectures") or [whole])[0]
        if architecture != whole:
            raise fields.error(
                "architectures", f"`{architecture}` is not supported here", f"legal: {whole}"
            )
        fields.get("is_encoder_decoder")
        name = fields.get("feed_forward_proj", function)
        if name not in _FUNCTIONS:
            raise fields.error(
                "feed_forward_proj", f"`{name}` is not supported", nearest(name, _FUNCTIONS)
            )
        activation, gated = _FUNCTIONS[name]
        layers = fields.need("num_layers")
        return {
            "d_model": fields.need("d_model"),
            "num_layers": layers,
            "num_decoder_layers": fields.get("num_decoder_layers", layers),
            "num_heads": fields.need("num_heads"),
            "d_kv": fields.need("d_kv"),
            "d_ff": fields.need("d_ff"),
            "vocab_size": fields.need("vocab_size"),
            "activation": activation,
            "gated": gated,
            "tie_word_embeddings": fields.get("tie_word_embeddings", tied),
            "relative_attention_num_buckets": fields.get("relative_attention_num_buckets", 32),
            "relative_bias_per_layer": per_layer,
            "context_len": fields.get("n_positions", 512),
        }

    return read


MODEL_TYPES: Final[Mapping[str, Callable[[Fields], dict[str, Any]]]] = {
    "mt5": _t5_like("MT5", tied=False, function="gated-gelu"),
    "t5": _t5_like("T5", tied=True, function="relu"),
    "umt5": _t5_like("UMT5", tied=True, function="gated-gelu", per_layer=True),
}
"""Model type -> the function that maps its fields."""
