"""What configurations of vision networks in transformers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from accelsim.workload.importers._hf_fields import Fields

__all__ = ["COMMON", "classes", "function", "head_of", "pair", "square"]

_COMMON: Final = """
    apply_layernorm drop_path_rate encoder_stride hidden_dropout_prob image_mean image_std
    initializer_factor label_smoothing layer_norm_eps layer_scale_init_value layerscale_value
    out_features out_indices pooler_act reshape_hidden_states stage_names num_stages
    semantic_loss_ignore_index
"""
COMMON: Final = frozenset(_COMMON.split())
"""Fields without influence on shapes, and those that only backbones of other networks have."""

_FUNCTIONS: Final[Mapping[str, str]] = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu",
    "relu6": "relu6", "silu": "silu", "swish": "silu", "quick_gelu": "quick_gelu",
}  # fmt: skip


def function(fields: Fields, default: str) -> str:
    """Return the function that ``hidden_act`` names.

    Raises
    ------
    ConfigError
        If it is none that is supported.
    """
    name = fields.get("hidden_act", default)
    if name not in _FUNCTIONS:
        raise fields.error(
            "hidden_act", f"function `{name}` is not supported", f"legal: {', '.join(_FUNCTIONS)}"
        )
    return _FUNCTIONS[name]


def head_of(fields: Fields, heads: Mapping[str, str]) -> str:
    """Return what stands for the first architecture named; for the first known without any.

    Raises
    ------
    ConfigError
        If the architecture is none of them.
    """
    named = fields.get("architectures")
    architecture = named[0] if named else next(iter(heads))
    if architecture not in heads:
        raise fields.error(
            "architectures", f"the head of `{architecture}` is not supported",
            f"legal: {', '.join(heads)}",
        )  # fmt: skip
    return heads[architecture]


def classes(fields: Fields) -> int:
    """Return the number of labels: as stated, as many as have a name, or 2 as in transformers."""
    named = fields.get("id2label")
    return int(fields.get("num_labels") or (len(named) if named else 2))


def pair(fields: Fields, name: str, default: int) -> tuple[int, int]:
    """Return height and width, of one number or two."""
    value: Any = fields.get(name, default)
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def square(fields: Fields, name: str, default: int) -> int:
    """Return the side of a square.

    Raises
    ------
    ConfigError
        If height and width differ.
    """
    height, width = pair(fields, name, default)
    if height != width:
        raise fields.error(name, f"{height}x{width} is no square, which is not supported")
    return height
